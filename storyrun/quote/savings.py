"""What would fit where a plan does not: changes that bring it below every ceiling, each with its exact price.

The order is that of how little of what was written is altered:

    takes: 1             the same film, with less to choose from
    resolution: 720p     the same film, with fewer pixels
    both together        only where neither is enough
    --first 7            the film as it was written, up to a point
    --only hook          the scenes that still fit, taken in story order
    --only 'hook[a=b]'   one clip, where nothing else fits

Of each kind the one that keeps most is told: the most takes, the highest resolution, the longest beginning. What is
bought already stays as it is, so a scene with a clip that is there keeps its resolution. Whether something fits is
asked of `ceilings`, which is the rule that the ledger goes by.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from storyrun.picks import without_take
from storyrun.quote.ceilings import Ceilings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from storyrun.quote import ClipQuote, Quote
    from storyrun.records import Money

    Lower = Callable[[str, frozenset[str]], Quote | None]
    """Quotes the plan with a resolution written into these scenes; None when a model does not take it."""

NO_RETAKES: Mapping[str, int] = MappingProxyType({})

SCENES = 8
"""Scenes that are told one by one in a line to type."""


@dataclass(frozen=True)
class Saving:
    """One change under which everything that is left fits. What is None or empty is not changed.

    `takes` and `resolution` are to be written into the scenes beside them; `first` and `only` are to be typed.
    `orders` are the ids that the next run would order then, and `price` is what they cost, by currency.
    """

    orders: tuple[str, ...]
    price: tuple[Money, ...]
    takes: int | None = None
    fewer_in: tuple[str, ...] = ()
    resolution: str | None = None
    lower_in: tuple[str, ...] = ()
    first: int | None = None
    only: tuple[str, ...] = ()


def find(quote: Quote, lower: Lower, retaken: Mapping[str, int] = NO_RETAKES) -> tuple[Saving, ...]:
    """What would fit instead, least altered first; nothing when no ceiling refuses anything, or nothing fits.

    `retaken` is {clip without its take: how many there are whatever the plan says} (see `picks`).
    """
    if not quote.refused:
        return ()
    takes, lowered = _takes(quote, retaken), _lowered(quote, lower)
    resolution = _resolution(lowered)
    both = None if takes or resolution else _both(lowered, retaken)
    first = _first(quote)
    only = _scenes(quote)
    if only and first and len(only.orders) <= len(first.orders):
        only = None
    found = tuple(each for each in (takes, resolution, both, first, only) if each)
    return found or tuple(_one(quote))


def cheapest(quote: Quote) -> ClipQuote | None:
    """The clip with the lowest price of those to order, the first of several; None when no price is known."""
    ceilings = {each.currency for each in (quote.budget, quote.run_ceiling) if each}
    known = [(clip.price, clip) for clip in quote.orders if clip.price]
    comparable = [each for each in known if each[0].currency in ceilings] or known
    return min(comparable, key=lambda each: each[0].amount)[1] if comparable else None


# ── one kind each ────────────────────────────────────────────────────────────────────────────────────────────────────


def _takes(
    quote: Quote, retaken: Mapping[str, int], resolution: str | None = None, scenes: frozenset[str] = frozenset()
) -> Saving | None:
    """The most takes of every scene with which the orders fit."""

    def left(takes: int) -> list[ClipQuote]:
        return [clip for clip in quote.orders if clip.job.take <= max(takes, retaken.get(without_take(clip.job.id), 0))]

    most = max((clip.job.take for clip in quote.orders), default=1)
    # The more takes, the more it costs: the first number that does not fit ends it.
    takes = bisect_left(range(1, most), True, key=lambda takes: not _fit(quote, left(takes)))
    orders = left(takes) if takes else []
    if not 0 < len(orders) < len(quote.orders):
        return None
    kept = {clip.job.id for clip in orders}
    fewer = {clip.job.scene for clip in quote.orders if clip.job.id not in kept}
    return replace(
        _saving(orders),
        takes=takes,
        fewer_in=_in_order(quote, fewer),
        resolution=resolution,
        lower_in=_in_order(quote, scenes),
    )


Lowered = list[tuple[str, frozenset[str], "Quote"]]


def _lowered(quote: Quote, lower: Lower) -> Lowered:
    """The plan at every lower resolution that its models take, highest first, with the scenes where it is written."""
    found: Lowered = []
    for resolution in _resolutions(quote):
        scenes = frozenset(_may_be_lowered(quote, resolution))
        if scenes and (made := lower(resolution, scenes)) is not None:
            found.append((resolution, scenes, made))
    return found


def _resolutions(quote: Quote) -> list[str]:
    """What the models of the orders make below the highest ordered resolution, highest first."""
    highest = max((_lines(clip.job.billed_resolution) for clip in quote.orders), default=0)
    known = {each for clip in quote.orders for each in quote.plan.cards[clip.job.model].sizes}
    return sorted((each for each in known if 0 < _lines(each) < highest), key=_lines, reverse=True)


def _may_be_lowered(quote: Quote, resolution: str) -> Iterator[str]:
    """The scenes with something to order of which nothing is bought, and that this resolution makes cheaper."""
    by_scene: dict[str, list[ClipQuote]] = {}
    for clip in quote.clips:
        by_scene.setdefault(clip.job.scene, []).append(clip)
    for scene, clips in by_scene.items():
        heights = [_lines(clip.job.billed_resolution) for clip in clips]
        if (
            any(clip.ordered for clip in clips)
            and all(clip.orderable for clip in clips)
            and min(heights) >= _lines(resolution) < max(heights)
            and all(resolution in quote.plan.cards[clip.job.model].sizes for clip in clips)
        ):
            yield scene


def _lines(resolution: str) -> int:
    """720 of 720p; 0 for what is no such word."""
    found = re.fullmatch(r"(\d+)p", resolution)
    return int(found[1]) if found else 0


def _resolution(lowered: Lowered) -> Saving | None:
    """The highest resolution at which the orders fit."""
    for resolution, scenes, made in lowered:
        if made.orders and not made.refused:
            return replace(_saving(made.orders), resolution=resolution, lower_in=_in_order(made, scenes))
    return None


def _both(lowered: Lowered, retaken: Mapping[str, int]) -> Saving | None:
    found = (_takes(made, retaken, resolution, scenes) for resolution, scenes, made in lowered)
    return next((each for each in found if each), None)


def _first(quote: Quote) -> Saving | None:
    """The longest beginning of what was chosen."""
    chosen = [clip for clip in quote.clips if clip.chosen]
    count = next(number for number, clip in enumerate(chosen) if clip.refused)
    orders = [clip for clip in chosen[:count] if clip.ordered]
    return replace(_saving(orders), first=count) if orders else None


def _scenes(quote: Quote) -> Saving | None:
    """The scenes that fit, each as a whole, taken in story order."""
    ceilings = Ceilings(quote.counted, quote.budget, quote.run_ceiling)
    orders: dict[str, list[ClipQuote]] = {}
    for clip in quote.orders:
        orders.setdefault(clip.job.scene, []).append(clip)
    partly = {clip.job.scene for clip in quote.clips if not clip.chosen}
    taken: list[ClipQuote] = []
    only: list[str] = []
    for scene, clips in orders.items():
        patterns = [] if scene in partly else _patterns(quote, scene)
        if patterns and len(only) + len(patterns) <= SCENES and ceilings.take_all(clip.price for clip in clips):
            taken += clips
            only += patterns
    return replace(_saving(taken), only=tuple(only)) if taken else None


def _patterns(quote: Quote, scene: str) -> list[str]:
    """The words for --only that mean the clips of this scene and no others; none where there are no such words."""
    mine = [clip.job.id for clip in quote.clips if clip.job.scene == scene]
    others = [clip.job.id for clip in quote.clips if clip.job.scene != scene]
    heads = dict.fromkeys(clip[: len(scene) + 1] for clip in mine)
    ambiguous = any(other.startswith(head) for head in heads if head != scene for other in others)
    if ambiguous or not all(clip.startswith(scene) for clip in mine):
        return []
    return [head if head == scene else f"{head}*" for head in heads]


def _one(quote: Quote) -> Iterator[Saving]:
    """The cheapest clip alone, if it fits."""
    clip = cheapest(quote)
    if clip and _fit(quote, [clip]):
        yield replace(_saving([clip]), only=(clip.job.id,))


# ── in common ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _fit(quote: Quote, orders: Sequence[ClipQuote]) -> bool:
    ceilings = Ceilings(quote.counted, quote.budget, quote.run_ceiling)
    return ceilings.take_all(clip.price for clip in orders)


def _in_order(quote: Quote, scenes: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clip.job.scene for clip in quote.clips if clip.job.scene in scenes))


def _saving(orders: Sequence[ClipQuote]) -> Saving:
    from storyrun.quote import add

    return Saving(tuple(clip.job.id for clip in orders), add(clip.price for clip in orders if clip.price))
