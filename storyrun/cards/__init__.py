"""Model cards: what each model on each provider takes, makes and costs.

A card is one file, `schemas/models/<provider>/<model>.json`: a JSON Schema that a job must meet in its JSON form, and
beside it, under `x-storyrun`, the facts that are no rules: family, modes, defaults, sizes, prices, sources. Adding a
model is adding a file. Inside `x-storyrun` a `$ref` means "the same, but for what stands beside it", so that cards
share tables and whole blocks.

What a schema cannot count (references over several names, the shape of a picture) is in `x-storyrun` too and judged in
`limits.py`.
"""

from __future__ import annotations

from storyrun.cards.limits import Shortfall, cautions, shortfalls
from storyrun.cards.money import price, rate
from storyrun.cards.shelf import (
    PROVIDERS,
    UnknownModel,
    accepts,
    choose,
    facts,
    load,
    permissive,
    rule,
    several_shots,
    size,
)

__all__ = [
    "PROVIDERS",
    "Shortfall",
    "UnknownModel",
    "accepts",
    "cautions",
    "choose",
    "facts",
    "load",
    "permissive",
    "price",
    "rate",
    "rule",
    "several_shots",
    "shortfalls",
    "size",
]
