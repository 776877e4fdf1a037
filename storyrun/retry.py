"""What to do after an error: a pure table, step x error -> wait n seconds and try again, or leave it.

No clock and no chance in here: the caller waits. A create whose answer was lost has no row that tries again, by design:
it may have been bought, so only `find` or a person ends it.
"""

from __future__ import annotations

from enum import StrEnum
from math import isnan
from typing import TYPE_CHECKING, NamedTuple

from storyrun.records import ErrorClass, State

if TYPE_CHECKING:
    from storyrun.records import Attempt, Failure

SHORTEST = 1.0
LONGEST = 600.0
"""A provider's own wish (`Retry-After`) is honoured between these, in seconds; it may be a mistake or an attack."""

LOST_LIMIT = 3
LOST_WINDOW = 20
"""This many lost answers among this many creates of a run, and the run orders nothing more."""

MISSING_PATIENCE = 600.0
"""Seconds for which a task may be unknown to its provider before this run stops asking (it stays open)."""

REFUSED = frozenset({ErrorClass.MODERATION, ErrorClass.PARAMETER})
"""The same text would be refused again."""

STOPS = frozenset({ErrorClass.CREDENTIALS, ErrorClass.BALANCE})
"""Every other create would be refused too."""


class Step(StrEnum):
    """What went wrong: the steps of an attempt that can be tried again."""

    NOT_SENT = "not_sent"
    """A create never left this machine."""
    REFUSED = "refused"
    """A create was refused for certain."""
    POLL = "poll"
    """A question brought no usable answer."""
    UPLOAD = "upload"
    """A local file did not get to the provider. Nothing is ordered before it has."""
    FETCH = "fetch"
    """A clip did not arrive whole, or its address was no longer good."""
    RENDER = "render"
    """A free clip could not be made on this machine: the next try would end the same."""


class Advice(NamedTuple):
    """What to do next. `wait`: seconds until the same step may be tried again; None: not in this run.

    `stop` is the reason why the run should order nothing more; empty when it may go on.
    """

    wait: float | None
    stop: str = ""


class Rule(NamedTuple):
    """One row of the table: wait `first` seconds, then `factor` times that, up to `most`; `tries` in all, or 0."""

    first: float
    factor: float
    most: float
    tries: int
    stop: str = ""


LEAVE = Rule(0, 1, 0, 1)

TABLE: dict[tuple[Step, ErrorClass | None], Rule] = {
    # a kind that has no row of its own takes the step's row for None
    (Step.NOT_SENT, None): Rule(1, 2, 30, 5, "five orders in a row did not leave this machine: is there a connection?"),
    (Step.REFUSED, None): LEAVE,
    (Step.REFUSED, ErrorClass.RATE_LIMIT): Rule(2, 2, LONGEST, 0),
    (Step.REFUSED, ErrorClass.CREDENTIALS): LEAVE._replace(stop="the provider refused the key"),
    (Step.REFUSED, ErrorClass.BALANCE): LEAVE._replace(stop="the account has no balance left"),
    (Step.POLL, None): Rule(5, 2, 120, 0),
    (Step.POLL, ErrorClass.CREDENTIALS): Rule(5, 2, 120, 5, "the provider refused the key"),
    (Step.UPLOAD, None): Rule(2, 3, 60, 5),
    (Step.UPLOAD, ErrorClass.CREDENTIALS): LEAVE._replace(stop="the provider refused the key"),
    (Step.UPLOAD, ErrorClass.BALANCE): LEAVE._replace(stop="the account has no balance left"),
    (Step.FETCH, None): Rule(5, 3, 120, 5),
    (Step.RENDER, None): LEAVE,
}


def advise(step: Step, nth: int, kind: ErrorClass | None = None, retry_after: float | None = None) -> Advice:
    """What to do after the `nth` error (from 1) in a row at this step.

    `retry_after` is what the provider asked for, in seconds; kept between `SHORTEST` and `LONGEST`.
    """
    rule = TABLE.get((step, kind), TABLE[step, None])
    if rule.tries and nth >= rule.tries:
        return Advice(None, rule.stop)
    if retry_after is not None:
        return Advice(bounded(retry_after))
    # the exponent is bounded because a poll may miss for days
    return Advice(min(rule.most, rule.first * rule.factor ** min(nth - 1, 30)))


def bounded(seconds: float) -> float:
    """A provider's wish, made reasonable. Not-a-number counts as the shortest."""
    return min(max(seconds, SHORTEST), LONGEST) if not isnan(seconds) else SHORTEST


def transient(failure: Failure | None) -> bool:
    """Whether the same order may well succeed next time. A failure without a reason counts as such."""
    return failure is None or failure.kind not in REFUSED | STOPS


def orders_again(newest: Attempt | None, *, retry_refused: bool) -> bool:
    """Whether a new run orders a job anew whose newest attempt with the same fingerprint is `newest` and not live.

    The fingerprint holds the text, so a refused text that changed is another job and comes here with None.
    """
    if newest is None or newest.state not in (State.FAILED, State.REJECTED):
        return True
    return retry_refused or newest.failure is None or newest.failure.kind not in REFUSED
