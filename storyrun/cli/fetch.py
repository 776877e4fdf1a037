"""`storyrun fetch PLAN|DIR`: collect what is open, on every provider, and order nothing. The plan file may be gone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from storyrun import providers
from storyrun.cli import planning, surroundings
from storyrun.cli.options import PROVIDERS, json_option
from storyrun.cli.performing import Wishes, exit_code
from storyrun.cli.run import order, tell
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.records import State

if TYPE_CHECKING:
    from storyrun.cli.planning import Prepared
    from storyrun.ledger import Ledger
    from storyrun.records import Attempt

COLLECTED = (State.SENDING, State.UNKNOWN, State.ACCEPTED, State.READY)
"""States that a fetch can bring further."""


@click.command("fetch")
@click.argument("place", metavar="PLAN.yaml|DIR", type=click.Path())
@click.option("--provider", type=click.Choice(PROVIDERS), help="Only from this provider.")
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False), help="The outputs folder of the plan.")
@click.option("--deadline", metavar="S", type=click.FloatRange(0), help="Seconds to wait for a clip (none).")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only what went wrong.")
@json_option
def command(
    place: str, provider: str | None, out: str | None, deadline: float | None, quiet: bool, as_json: bool
) -> int:
    """Collect what PLAN.yaml ordered and what is still open, or everything open in the outputs folder DIR.

    Orders nothing. Everything needed is in the ledger, so the plan file may be gone.
    """
    path = Path(place)
    outputs = path if path.is_dir() else Path(out) if out else path.parent / "outputs"
    if (outputs / "outputs").is_dir():
        outputs = outputs / "outputs"
    wanted = None if path.is_dir() else path.stem
    waiting = _open(outputs, wanted, provider)
    if not waiting:
        click.echo("[]" if as_json else "nothing is open")
        return 0
    codes, manifests = [], []
    for plan, label in waiting:
        prepared = _prepared(waiting[plan, label], plan, label, outputs, out)
        wishes = Wishes(deadline=deadline, quiet=quiet, orders=False)
        done = order(prepared, wishes)
        manifests.append(done.manifest)
        codes.append(exit_code(done.outcome, done.manifest, frozenset()) if as_json else tell(prepared, wishes, done))
    if as_json:
        click.echo(json.dumps(manifests, indent=2, ensure_ascii=False))
    return next((code for code in (6, 130, 5, 4, 1) if code in codes), 0)


def _open(outputs: Path, plan: str | None, provider: str | None) -> dict[tuple[str, str], Attempt]:
    """The plans and providers with something to collect, each with one of its attempts."""
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    ledger: Ledger | None = Ledger.peek(Outputs(outputs).ledger_path, SystemClock())
    if ledger is None:
        raise UsageError(f"there is no ledger in {outputs}", "name the plan, or the outputs folder that has it")
    with ledger:
        return {
            (attempt.plan, attempt.provider): attempt
            for attempt in ledger.attempts(plan=plan, live=True)
            if attempt.state in COLLECTED and (provider is None or attempt.provider.partition("@")[0] == provider)
        }


def _prepared(attempt: Attempt, plan: str, label: str, outputs: Path, out: str | None) -> Prepared:
    """The plan as far as it is there. Raises `UsageError` when the provider stands somewhere else today."""
    name = label.partition("@")[0]
    today = providers.label(name, surroundings.environment())
    if today != label:
        settings = providers.environment(name)
        variable = settings.base if settings else ""
        raise UsageError(
            f"{plan} has open clips at {label}, but {variable or 'the provider'} leads to {today}; nothing was asked",
            f"set {variable} as it was when they were ordered",
        )
    path = Path(os.path.normpath(outputs / attempt.plan_path)) if attempt.plan_path else Path(f"{plan}.yaml")
    return planning.without_plan(path, label, outputs, out)
