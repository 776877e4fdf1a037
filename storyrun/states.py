"""The states of an attempt: what each means for money, the only moves between them, and when a ceiling says no.

Pure. The ledger obeys it, and whoever tells people beforehand what the ledger will say asks here, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from storyrun.errors import TransitionError
from storyrun.records import Money, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storyrun.records import Attempt

Shown = Literal["done", "failed", "unknown", "open", ""]
"""The word that the manifest has for a state; empty: the attempt is not shown, a newer one is."""


@dataclass(frozen=True)
class Meaning:
    """`live`: no second attempt for the same fingerprint beside it. `spent`: counts against every ceiling."""

    live: bool
    spent: bool
    shown: Shown


STATES: Mapping[State, Meaning] = {
    #                         live   spent  shown
    State.SENDING: Meaning(True, True, "unknown"),
    State.UNKNOWN: Meaning(True, True, "unknown"),
    State.ACCEPTED: Meaning(True, True, "open"),
    State.READY: Meaning(True, True, "open"),
    State.DONE: Meaning(True, True, "done"),
    State.EXPIRED: Meaning(True, True, "failed"),
    State.ABANDONED: Meaning(True, True, "failed"),
    State.FAILED: Meaning(False, True, "failed"),  # unless the card says that failed tasks are free
    State.REJECTED: Meaning(False, False, "failed"),
    State.NOT_SENT: Meaning(False, False, "failed"),
    State.SUPERSEDED: Meaning(False, True, ""),
}

_SETTLED_BY_THE_USER = {State.ABANDONED, State.SUPERSEDED}

MOVES: Mapping[State, frozenset[State]] = {
    State.SENDING: frozenset({State.ACCEPTED, State.REJECTED, State.NOT_SENT, State.UNKNOWN}),
    State.UNKNOWN: frozenset({State.ACCEPTED, State.NOT_SENT, *_SETTLED_BY_THE_USER}),
    State.ACCEPTED: frozenset({State.READY, State.FAILED, State.EXPIRED, *_SETTLED_BY_THE_USER}),
    State.READY: frozenset({State.DONE, State.FAILED, State.EXPIRED, *_SETTLED_BY_THE_USER}),
    State.DONE: frozenset({State.READY, State.EXPIRED, *_SETTLED_BY_THE_USER}),
    State.EXPIRED: frozenset({*_SETTLED_BY_THE_USER}),
    State.ABANDONED: frozenset({State.SUPERSEDED}),
    State.FAILED: frozenset(),
    State.REJECTED: frozenset(),
    State.NOT_SENT: frozenset(),
    State.SUPERSEDED: frozenset(),
}
"""From each state to where. What is not here cannot happen; ordering again is a new attempt."""


def check_move(attempt: Attempt, to: State, *, accept_possible_duplicate: bool = False) -> None:
    """Raise `TransitionError` unless the table has this move.

    An unknown attempt may have been bought, so it is superseded only by a person who accepts a possible duplicate.
    """
    if to not in MOVES[attempt.state]:
        raise TransitionError(f"attempt {attempt.id} of {attempt.clip} cannot go from {attempt.state} to {to}")
    if attempt.state is State.UNKNOWN and to is State.SUPERSEDED and not accept_possible_duplicate:
        raise TransitionError(
            f"attempt {attempt.id} of {attempt.clip} may have been bought; "
            "it is superseded only where a possible duplicate is accepted"
        )


def cost(attempt: Attempt) -> Money | None:
    """What an attempt counts as spent now: what was billed once that is known, else what was reserved.

    Amount 0 where it counts nothing; None where it counts and no price is known.
    """
    if attempt.billed is not None:
        return attempt.billed
    free = attempt.state is State.FAILED and attempt.free_when_failed
    if STATES[attempt.state].spent and not free:
        return attempt.reserved
    return Money(Decimal(0), attempt.reserved.currency if attempt.reserved else "")


def over_ceiling(
    wanted: Money | None, ceiling: Money, name: str, counted: Iterable[tuple[Money | None, int]]
) -> tuple[str, str]:
    """Why a clip for `wanted` cannot be ordered under `ceiling`, and what to do about it; empty texts when it can.

    `counted` is what counts against the ceiling already, as (amount, how many times); None is no known price. What
    costs nothing always fits. Nothing is converted: what cannot be compared cannot be kept below a ceiling.
    """
    if wanted is None:
        return f"no price is known for it, and {name} is a ceiling", "add a price under `prices:`"
    if not wanted.amount:
        return "", ""
    if wanted.currency != ceiling.currency:
        return f"it is priced in {wanted.currency}, and {name} is in {ceiling.currency}", ""
    spent = Decimal(0)
    for money, count in counted:
        if money is None:
            why = f"{count} earlier {'clip' if count == 1 else 'clips'} without a known price"
        elif money.amount and money.currency != ceiling.currency:
            why = f"earlier clips in {money.currency}"
        else:
            spent += money.amount * count
            continue
        return (
            f"this plan has {why}, so that {name} of {ceiling.amount:f} {ceiling.currency} cannot be kept",
            "leave out the budget and bound this run with --max-cost",
        )
    if spent + wanted.amount > ceiling.amount:
        left = max(ceiling.amount - spent, Decimal(0))
        room = f"{left:f} of {name} of {ceiling.amount:f} {ceiling.currency} is left"
        return f"it costs up to {wanted.amount:f} {wanted.currency}, and {room}", ""
    return "", ""
