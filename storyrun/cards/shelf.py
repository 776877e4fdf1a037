"""The cards themselves: reading them, choosing one, and what its schema says of a setting."""

from __future__ import annotations

import math
import posixpath
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from storyrun import validation
from storyrun.errors import UsageError
from storyrun.records import ModelCard, Price

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storyrun.records import Mode

PROVIDERS = ("tokenhub", "toapis", "dashscope")
"""Who sells. In this order the animatic looks for the model of a plan that names no provider."""

STARTS: Mapping[Mode, str] = MappingProxyType(
    {
        "text": "from text alone",
        "image": "from a first frame",
        "frames": "from a first and a last frame",
        "reference": "from references",
    }
)
"""What a clip is made from, in words, by mode."""

_ID = "https://storyrun.dev/schemas/"


class UnknownModel(UsageError):
    """The provider has no such model or family, or the family none for this mode."""


@cache
def load(provider: str) -> Mapping[str, ModelCard]:
    """The cards of one provider by model id, newer generations first; empty for a provider that is not there."""
    files = sorted((validation.folder() / "models" / provider).glob("*.json"), reverse=True)
    return MappingProxyType({file.stem: _card(provider, file.stem) for file in files})


def permissive() -> ModelCard:
    """The animatic's own card, for plans that name no model."""
    return load("animatic")["animatic"]


def facts(card: ModelCard) -> Mapping[str, Any]:
    """The card's `x-storyrun` block with what it shares filled in."""
    return _facts(schema_name(card))


@cache
def _facts(name: str) -> Mapping[str, Any]:
    block: Mapping[str, Any] = _filled(validation.schema(name)["x-storyrun"], name)
    return block


def schema_name(card: ModelCard) -> str:
    """The card's schema as `validation` calls it: models/tokenhub/wan2.7-t2v."""
    return str(card.schema["$id"]).removeprefix(_ID).removesuffix(".json")


# ── choosing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def choose(provider: str, wanted: str, mode: Mode) -> ModelCard:
    """The card of an exact id (or of one of its dated aliases), else of the family's model for this mode.

    An exact id is taken whatever the mode; `shortfalls` then says what it cannot do. A family never gives a flash,
    turbo or prime model unless it has no other. Raises UnknownModel.
    """
    card = _exact(provider, wanted) or _of_family(provider, wanted, mode)
    if card is None:
        raise _unknown(provider, wanted, mode)
    return card


def _exact(provider: str, wanted: str) -> ModelCard | None:
    """A dated alias is the same card under the alias's name: that is what goes into the request."""
    cards = load(provider)
    if wanted in cards:
        return cards[wanted]
    return next(
        (replace(card, model=wanted) for card in cards.values() if wanted in facts(card).get("aliases", ())), None
    )


def _of_family(provider: str, wanted: str, mode: Mode) -> ModelCard | None:
    able = [card for card in load(provider).values() if card.family == wanted and mode in card.modes]
    plain = [card for card in able if not re.search("flash|turbo|prime", card.model)]
    return next(iter(plain or able), None)


def _unknown(provider: str, wanted: str, mode: Mode) -> UnknownModel:
    from storyrun import nearest

    others = [name for name in PROVIDERS if name != provider]
    here = [card for card in load(provider).values() if card.family == wanted]
    if here:
        able = [f"{name} has {card.model}" for name in others if (card := _of_family(name, wanted, mode))]
        has = ", ".join(f"{card.model} ({' or '.join(STARTS[mode] for mode in card.modes)})" for card in here)
        sentence = f"{wanted} on {provider} makes no video {STARTS[mode]}"
        return UnknownModel(sentence, "; ".join([f"here it is {has}", *able]))
    knowing = [name for name in others if _exact(name, wanted) or wanted in _families(name)]
    hints = [f"{' and '.join(knowing)} {'has' if len(knowing) == 1 else 'have'} it"] if knowing else []
    hints.append(nearest.hint(wanted, list(dict.fromkeys([*_families(provider), *load(provider)]))))
    return UnknownModel(f"{provider} has no model or family `{wanted}`", "; ".join(filter(None, hints)))


def _families(provider: str) -> list[str]:
    return [card.family for card in load(provider).values()]


# ── what a schema says of one setting ────────────────────────────────────────────────────────────────────────────────


def accepts(card: ModelCard, mode: Mode, setting: str) -> bool:
    """Whether this mode of the model takes this scene setting at all.

    Settings go by their names in a job, so that `audio` is the switch and `audio_file` the file behind it.
    """
    return rule(card, mode, setting) is not False


def several_shots(card: ModelCard, mode: Mode) -> bool:
    """Whether several shots become one clip in this mode.

    A model whose API has a `shot_type` makes a single shot wherever that cannot be sent (wan2.6 on toapis with a first
    frame).
    """
    return card.multi_shot and (not card.shot_type_field or accepts(card, mode, "shot_type"))


def rule(card: ModelCard, mode: Mode, field: str) -> dict[str, Any] | Literal[False]:
    """What the card's schema says of one field of a job in this mode, in one piece; False where it is not taken.

    Rules that depend on other fields than `mode` are left out.
    """
    merged: dict[str, Any] = {}
    for schema, name in _rules(card.schema, schema_name(card), mode):
        said = schema.get("properties", {}).get(field)
        if said is False:
            return False
        for part, home in _rules(said, name, mode) if said else ():
            merged |= {key: _filled(value, home) for key, value in part.items() if key not in {"$ref", "allOf"}}
    return merged


def _rules(schema: Mapping[str, Any], name: str, mode: Mode) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every schema that holds for this mode: what `$ref`, `allOf` and an `if` on the mode lead to, then this one."""
    if "$ref" in schema:
        yield from _rules(*_follow(schema["$ref"], name), mode)
    for part in schema.get("allOf", ()):
        yield from _rules(part, name, mode)
    condition = schema.get("if", {})
    if condition.get("properties", {}).keys() == {"mode"} and condition["properties"]["mode"] == {"const": mode}:
        yield from _rules(schema["then"], name, mode)
    yield schema, name


def _follow(ref: str, name: str) -> tuple[Any, str]:
    """What a `$ref` in the schema `name` leads to, and the name of the schema that it stands in."""
    path, _, pointer = ref.partition("#")
    if path:
        name = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)).removesuffix(".json")
    node: Any = validation.schema(name)
    for key in pointer.split("/")[1:]:
        node = node[key]
    return node, name


def _filled(node: Any, name: str) -> Any:
    """A block of facts with its `$ref`s filled in; what stands beside a `$ref` wins."""
    if isinstance(node, list):
        return [_filled(item, name) for item in node]
    if not isinstance(node, dict):
        return node
    own = {key: _filled(value, name) for key, value in node.items() if key != "$ref"}
    if "$ref" not in node:
        return own
    shared = _filled(*_follow(node["$ref"], name))
    return shared | own if isinstance(shared, dict) else shared


# ── pixels ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def size(
    card: ModelCard, mode: Mode, resolution: str | None, ratio: str | None, frame_pixels: tuple[int, int] | None
) -> tuple[int, int] | None:
    """Pixels (width, height) of the clip to expect; None where they cannot be known.

    Unset resolution and ratio are the card's defaults. A first frame decides the shape, so there the ratio is ignored
    and the pixels are only what an animatic draws: even numbers, the frame's shape, about as many as the resolution has
    at 16:9. A real provider rounds in its own way. For references with a first frame of unknown pixels ask as for mode
    image.
    """
    table = card.sizes.get(resolution or card.default_resolution, {})
    if mode not in {"image", "frames"} and frame_pixels is None:
        return table.get(ratio or card.default_ratio)
    if frame_pixels is None or "16:9" not in table:
        return None
    width, height = table["16:9"]
    across, down = frame_pixels
    scale = math.sqrt(width * height / (across * down))
    return max(2, 2 * round(across * scale / 2)), max(2, 2 * round(down * scale / 2))


# ── reading a card ───────────────────────────────────────────────────────────────────────────────────────────────────


def _card(provider: str, model: str) -> ModelCard:
    name = f"models/{provider}/{model}"
    schema, block = validation.schema(name), _facts(name)
    defaults = block["defaults"]
    return ModelCard(
        provider=provider,
        model=model,
        family=block["family"],
        modes=tuple(block["modes"]),
        frame_rate=Fraction(block["frame_rate"]),
        default_seconds=Fraction(defaults["seconds"]),
        default_resolution=defaults["resolution"],
        default_ratio=defaults["aspect_ratio"],
        sizes={tier: {ratio: (w, h) for ratio, (w, h) in row.items()} for tier, row in block["sizes"].items()},
        multi_shot=block["multi_shot"],
        shot_type_field=block["shot_type_field"],
        sound=block["sound"],
        reference_words=block["reference_words"],
        prices=_prices(block["prices"]),
        billed_reference_seconds=Fraction(block["billed_reference_seconds"]),
        keeps_hours=block["keeps_hours"],
        free_when_failed=block["free_when_failed"],
        retires=block.get("retires"),
        warning=block.get("warning", ""),
        sources=tuple(block["sources"]),
        schema=schema,
    )


def _prices(rows: Sequence[Mapping[str, Any]]) -> tuple[Price, ...]:
    return tuple(
        Price(
            resolution=row["resolution"],
            currency=row["currency"],
            per_second=Decimal(row["per_second"]),
            audio=row.get("audio"),
            source=row["source"],
            as_of=row["as_of"],
        )
        for row in rows
    )
