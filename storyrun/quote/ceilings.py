"""What the ceilings say to clips that are ordered one after the other: the ledger's own rule, asked beforehand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from storyrun import states

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from storyrun.quote import ClipQuote
    from storyrun.records import Money

Counted = tuple[tuple["Money | None", int], ...]
"""What counts against a budget already: an amount (None: no known price) and how many times."""


class Ceilings:
    """The budget and the ceiling of this run, and what counts against each. Clips are taken in order, like orders."""

    def __init__(self, counted: Counted, budget: Money | None, run_ceiling: Money | None) -> None:
        self._all: list[tuple[Money, str, Counter[Money | None]]] = []
        if budget is not None:
            self._all.append((budget, "the budget", Counter(dict(counted))))
        if run_ceiling is not None:
            self._all.append((run_ceiling, "--max-cost", Counter()))

    def take(self, price: Money | None) -> str:
        """Count a clip of this price; or say why it is refused, and count nothing."""
        told = (states.over_ceiling(price, most, name, counted.items()) for most, name, counted in self._all)
        refused = next(("; ".join(filter(None, each)) for each in told if each[0]), "")
        if not refused:
            for *_, counted in self._all:
                counted[price] += 1
        return refused

    def take_all(self, prices: Iterable[Money | None]) -> bool:
        """Count clips of these prices, all of them or none; whether they fit."""
        before = [(most, name, counted.copy()) for most, name, counted in self._all]
        fits = not any(self.take(price) for price in prices)
        if not fits:
            self._all = before
        return fits


def counted(costs: Iterable[Money | None]) -> Counted:
    """What these attempts count as spent, alike amounts together."""
    return tuple(Counter(costs).items())


def judge(
    clips: Sequence[ClipQuote], counted: Counted, budget: Money | None, run_ceiling: Money | None
) -> tuple[ClipQuote, ...]:
    """The clips with what the ledger would say to each under these ceilings, asked in storyboard order."""
    ceilings = Ceilings(counted, budget, run_ceiling)
    judged = []
    for clip in clips:
        refused = ceilings.take(clip.price) if clip.ordered else ""
        judged.append(replace(clip, refused=refused) if refused != clip.refused else clip)
    return tuple(judged)
