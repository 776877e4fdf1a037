"""What is open was ordered at one host: whoever would ask another one is refused before anything is sent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from storyrun import providers
from storyrun.cli import planning, show, surroundings
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.records import State

if TYPE_CHECKING:
    from storyrun.cli.planning import Prepared
    from storyrun.ledger import Ledger

OPEN = (State.SENDING, State.UNKNOWN, State.ACCEPTED, State.READY)
"""States in which the provider is still to be asked."""


def refuse_elsewhere(prepared: Prepared, place: str) -> None:
    """Raise `UsageError` when open clips of this plan were ordered at another base URL than today's.

    `place` is the plan or folder as it was typed, for the line to type. Rows of older ledgers do not say where.
    """
    settings = providers.environment(prepared.provider)
    if settings is None:
        return
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger
    from storyrun.providers import accounts

    today = accounts.origin(providers.base(prepared.provider, surroundings.environment()))
    ledger: Ledger | None = Ledger.peek(Outputs(prepared.outputs).ledger_path, SystemClock())
    if ledger is None:
        return
    with ledger:
        rows = ledger.attempts(plan=prepared.stem, provider=prepared.label, live=True)
    ordered = [accounts.read(attempt.account) for attempt in rows if attempt.state in OPEN]
    away = Counter(account.base for account in ordered if account and account.base != today)
    if not away:
        return
    count = away.total()
    there = " and ".join(base.removeprefix("https://") for base in away)
    line = " ".join(show.quoted(word) for word in ("storyrun", "fetch", place, *planning.repeated(prepared.out)))
    raise UsageError(
        f"{count} open {'clip of' if count == 1 else 'clips of'} {prepared.stem} {'was' if count == 1 else 'were'} "
        f"ordered at {there}, and {settings.base} leads to {today.removeprefix('https://')} today; nothing was sent",
        f"collect what is open there first:  {settings.base}={show.quoted(next(iter(away)))} {line}",
    )
