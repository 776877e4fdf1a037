"""The door through which every order leaves: how many creates at once, when, and whether any at all.

It only counts; the create itself is in `orders`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from storyrun import retry
from storyrun.retry import Step
from storyrun.runner.pacing import CLOSE

if TYPE_CHECKING:
    from storyrun.clock import Clock
    from storyrun.errors import NotSent, Rejected
    from storyrun.retry import Advice
    from storyrun.runner.pacing import Ramp, Ramps

GLANCE = 5.0
"""Seconds after which a clip that waits out a pause looks whether the door is still open."""


class Door:
    """Lets at most `width` creates be in flight.

    `careful`: one at a time until a first one was accepted, so that a wrong setup costs one clip; also after a 429.
    `ramps` say how many may leave in a second.
    """

    def __init__(self, width: int, clock: Clock, ramps: Ramps, *, careful: bool) -> None:
        self.closed = ""
        """Why nothing is ordered any more; empty while the door is open."""
        self.fault = ""
        """The same, where it ends the run early (exit 5): not when the user asked for it."""
        self._width = width
        self._clock = clock
        self._ramps = ramps
        self._careful = careful
        self._proven = not careful
        self._inside = 0
        self._not_before = 0.0
        self._unsent = 0
        self._limited = 0
        self._answers: deque[bool] = deque(maxlen=retry.LOST_WINDOW)
        self._moved = asyncio.Condition()

    def close(self, why: str, *, fault: bool = True) -> None:
        """Order nothing more in this run. The first reason stands."""
        self.closed = self.closed or why
        if fault:
            self.fault = self.fault or why

    async def enter(self, model: str) -> bool:
        """Wait for a turn to order from a model. False: the door is closed. Each True needs one `leave`."""
        ramp = self._ramps.of(model)
        if ramp is None:
            return await self._enter(None)
        async with ramp.line:
            return await self._enter(ramp)

    async def _enter(self, ramp: Ramp | None) -> bool:
        while not self.closed:
            now = self._clock.monotonic()
            not_before = max(self._not_before, ramp.free_at) if ramp else self._not_before
            if self._inside >= (self._width if self._proven else 1):
                async with self._moved:
                    await self._moved.wait()
            elif (pause := not_before - now) > CLOSE:
                await self._clock.sleep(min(pause, GLANCE))
            else:
                self._inside += 1
                if ramp:
                    ramp.leaves(now)
                return True
        return False

    async def leave(self) -> None:
        """A create is through, whatever came of it."""
        self._inside -= 1
        async with self._moved:
            self._moved.notify_all()

    def accepted(self, model: str) -> None:
        """A create was taken."""
        self._proven = True
        if ramp := self._ramps.of(model):
            ramp.accepted(self._clock.monotonic())
        self._answered(lost=False)

    def lost(self) -> None:
        """A create brought no usable answer. Too many of these among the last ones close the door."""
        self._answered(lost=True)
        if self._answers.count(True) >= retry.LOST_LIMIT:
            self.close(f"{retry.LOST_LIMIT} of the last {len(self._answers)} orders brought no usable answer")

    def unsent(self, error: NotSent) -> Advice:
        """A create never left this machine. What to do next."""
        self._unsent += 1
        return self._heed(retry.advise(Step.NOT_SENT, self._unsent, error.kind, error.retry_after))

    def refused(self, error: Rejected) -> Advice:
        """A create was refused for certain. What to do next."""
        limited = self._limited + 1
        self._answered(lost=False)
        advice = self._heed(retry.advise(Step.REFUSED, limited, error.kind, error.retry_after))
        if advice.wait is not None:
            self._limited = limited
            # who is told to slow down starts again, with one create at a time
            self._proven = not self._careful
            self._ramps.slow_down()
        return advice

    def _answered(self, *, lost: bool) -> None:
        self._unsent = self._limited = 0
        self._answers.append(lost)

    def _heed(self, advice: Advice) -> Advice:
        """A pause or a stop holds for every clip."""
        if advice.stop:
            self.close(advice.stop)
        if advice.wait is not None:
            self._not_before = max(self._not_before, self._clock.monotonic() + advice.wait)
        return advice
