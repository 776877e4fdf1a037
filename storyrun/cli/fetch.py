"""`storyrun fetch PLAN|DIR`: collect what is open, on every provider, and order nothing. The plan file may be gone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from storyrun import providers
from storyrun.cli import pinning, planning, printed, surroundings
from storyrun.cli.options import PROVIDERS, json_option
from storyrun.cli.performing import Wishes, exit_code
from storyrun.cli.run import order, tell
from storyrun.clock import SystemClock
from storyrun.errors import InUseError, PlanError, UsageError

if TYPE_CHECKING:
    from storyrun.cli.planning import Prepared
    from storyrun.ledger import Ledger
    from storyrun.records import Attempt

WORST_FIRST = (6, 130, 5, 4, 2, 3, 1)
"""Of several plans the exit code that is told: of one that was refused or in use, clips are still open."""


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
    everything = [_prepared(attempts, plan, label, outputs, out) for (plan, label), attempts in waiting.items()]
    for prepared in everything:  # all of them before anybody is asked
        pinning.refuse_elsewhere(prepared, place)
    codes, manifests = [], []
    wishes = Wishes(deadline=deadline, quiet=quiet, orders=False)
    for prepared in everything:
        try:
            done = order(prepared, wishes)
        except (InUseError, UsageError) as error:
            if len(everything) == 1:
                raise
            from storyrun.cli import tell as tell_error

            tell_error(error, as_json=False)  # the others are collected all the same
            codes.append(error.exit_code)
            continue
        manifests.append(done.manifest)
        if as_json:
            codes.append(exit_code(done.outcome, done.manifest, prepared.chosen))
        else:
            codes.append(tell(prepared, wishes, done))
        if done.outcome.interrupted:
            break
    if as_json:
        click.echo(printed.as_json(manifests))
    return next((code for code in WORST_FIRST if code in codes), 0)


def _open(outputs: Path, plan: str | None, provider: str | None) -> dict[tuple[str, str], list[Attempt]]:
    """The plans and providers with something to collect, each with the attempts that are open."""
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    ledger: Ledger | None = Ledger.peek(Outputs(outputs).ledger_path, SystemClock())
    if ledger is None:
        raise UsageError(f"there is no ledger in {outputs}", "name the plan, or the outputs folder that has it")
    waiting: dict[tuple[str, str], list[Attempt]] = {}
    with ledger:
        for attempt in ledger.attempts(plan=plan, live=True):
            if attempt.state in pinning.OPEN and (provider is None or attempt.provider.partition("@")[0] == provider):
                waiting.setdefault((attempt.plan, attempt.provider), []).append(attempt)
    return waiting


def _prepared(attempts: list[Attempt], plan: str, label: str, outputs: Path, out: str | None) -> Prepared:
    """The plan as far as it is there, with the clips that are to be collected as those that were asked for.

    Raises `UsageError` when the provider stands somewhere else today.
    """
    name = label.partition("@")[0]
    today = providers.label(name, surroundings.environment())
    if today != label:
        settings = providers.environment(name)
        variable = settings.base if settings else ""
        raise UsageError(
            f"{plan} has open clips at {label}, but {variable or 'the provider'} leads to {today}; nothing was asked",
            f"set {variable} as it was when they were ordered",
        )
    written = attempts[-1].plan_path
    path = Path(os.path.normpath(outputs / written)) if written else Path(f"{plan}.yaml")
    if out is None and outputs.resolve() != (path.parent / "outputs").resolve():
        out = str(outputs)
    if path.is_file():
        try:
            whole = planning.prepare(str(path), provider=name, out=str(outputs))
        except PlanError:
            note = f"note: {path} cannot be made as it is written now; its clips are collected by the ledger alone"
            click.echo(printed.line(note), err=True)
        else:
            open_now = {attempt.fingerprint for attempt in attempts}
            clips = frozenset(job.id for job in whole.plan.jobs if job.fingerprint in open_now)
            return replace(whole, out=out, selected=clips)
    prepared = planning.without_plan(path, label, outputs, out)
    return replace(prepared, selected=frozenset(attempt.clip for attempt in attempts))
