"""How fast: tasks at once, orders per second, questions per second, and when to ask first.

The limits are the provider's, per account. Another run on the same account is not seen from here: what the two do too
much comes back as a 429 and is waited out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from storyrun import cards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from storyrun.clock import Clock
    from storyrun.ledger import Ledger
    from storyrun.records import ModelCard

FIRST_RATE = 1.0
"""Orders per second of a model to begin with; doubled after every second in which some were taken."""

WINDOW = 1.1
"""Seconds in which no more questions leave than the cap allows for one: on their way they may draw closer together."""

CLOSE = 1e-6
"""Seconds that are not worth waiting: sums of times are not exact."""

FEWEST = 5
"""Clips of a model that must have been made before their times say something."""
REMEMBERED = 200
LOW = 0.05
"""Asked first when this share of the clips was ready: it saves half of the questions and hardly costs time."""
LATEST_FIRST = 300.0
"""Seconds after which a task is asked about at the latest: a clip fetched the next day was not rendered for a day."""


class Limits(NamedTuple):
    """What an account may do with one model; None where nobody says."""

    running: int | None = None
    creates_per_second: float | None = None


def limits(card: ModelCard | None, provider: str, creates_per_second: float | None = None) -> Limits:
    """The limits on a model's card, if it is a card of this provider: the animatic borrows those of others.

    `creates_per_second` is what the provider allows for a model whose card names nothing.
    """
    if card is None or card.provider != provider or not card.schema:
        return Limits(None, creates_per_second)
    told = cards.facts(card).get("rate_limits", {})
    return Limits(told.get("running"), told.get("creates_per_second", creates_per_second))


class Ramp:
    """Orders of one model: one a second at first, more while they are taken, never more than `cap` per second."""

    def __init__(self, cap: float) -> None:
        self.line = asyncio.Lock()
        """Who waits, waits in line: one looks at the clock for all."""
        self._cap = cap
        self._last = -inf
        self.slow_down()

    def slow_down(self) -> None:
        """Begin again."""
        self._rate = min(FIRST_RATE, self._cap)
        self._raised: float | None = None

    @property
    def free_at(self) -> float:
        """When the next order may leave."""
        return self._last + 1 / self._rate

    def leaves(self, now: float) -> None:
        """An order leaves."""
        self._last = now
        if self._raised is None:
            self._raised = now

    def accepted(self, now: float) -> None:
        """An order was taken."""
        if self._raised is not None and now - self._raised >= 1 - CLOSE:
            self._raised = now
            self._rate = min(2 * self._rate, self._cap)


class Ramps:
    """The ramps of all models, made as they are needed. `cap`: orders per second of a model; None: no limit known."""

    def __init__(self, cap: Callable[[str], float | None]) -> None:
        self._cap = cap
        self._ramps: dict[str, Ramp | None] = {}

    def of(self, model: str) -> Ramp | None:
        """The ramp of a model; None: it has no limit."""
        if model not in self._ramps:
            cap = self._cap(model)
            self._ramps[model] = Ramp(cap) if cap else None
        return self._ramps[model]

    def slow_down(self) -> None:
        """Begin again with every model: the account was told to."""
        for ramp in self._ramps.values():
            if ramp is not None:
                ramp.slow_down()


class Questions:
    """Turns to ask the provider something, first come, first served: at most `cap` in any second (None: no limit)."""

    def __init__(self, cap: float | None, clock: Clock) -> None:
        self._clock = clock
        most = max(1, int(cap)) if cap else 1
        self._span = WINDOW / min(cap, 1.0) if cap else 0.0
        self._turns = deque([-inf] * most, most)
        self._not_before = -inf

    def pause(self, seconds: float) -> None:
        """Ask nothing for this long."""
        self._not_before = max(self._not_before, self._clock.monotonic() + seconds)

    @property
    def pause_left(self) -> float:
        """Seconds for which nothing is to be asked. To be looked at after the turn: it may have come meanwhile."""
        left = self._not_before - self._clock.monotonic()
        return left if left > CLOSE else 0.0

    async def turn(self) -> None:
        """Wait for a turn."""
        now = self._clock.monotonic()
        at = max(now, self._turns[0] + self._span)
        self._turns.append(at)
        if at - now > CLOSE:
            await self._clock.sleep(at - now)


class Usual:
    """How long the models of a provider take, learnt from the ledger and from the run as it goes."""

    def __init__(self, ledger: Ledger, provider: str) -> None:
        self._ledger = ledger
        self._provider = provider
        self._seen: dict[str, deque[float]] = {}

    def learn(self, model: str, seconds: float) -> None:
        """A clip was ready after this time."""
        self._of(model).append(seconds)

    def soonest(self, model: str) -> float | None:
        """Seconds after which the quickest clips of a model were seen to be ready; None: too few were made."""
        seen = self._of(model)
        return min(quantile(seen, LOW), LATEST_FIRST) if len(seen) >= FEWEST else None

    def _of(self, model: str) -> deque[float]:
        if model not in self._seen:
            self._seen[model] = deque(self._ledger.durations(self._provider, model), REMEMBERED)
        return self._seen[model]


def quantile(values: Iterable[float], share: float) -> float:
    """The value that this share of the values lies below."""
    ordered = sorted(values)
    return ordered[int(share * len(ordered))]
