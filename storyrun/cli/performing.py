"""One run from lock to manifest: what `run`, `preview` and `fetch` have in common."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from storyrun import __version__
from storyrun.cli import planning, show
from storyrun.clock import SystemClock
from storyrun.errors import InUseError, LedgerError, StoryrunError, UsageError

if TYPE_CHECKING:
    from storyrun.cli.planning import Prepared
    from storyrun.folder import Outputs, RunFolder
    from storyrun.ledger import Ledger
    from storyrun.providers.base import Provider
    from storyrun.records import Money
    from storyrun.runner import Outcome

NEEDS_YOU, STOPPED, FAILED = 4, 5, 1
INTERRUPTED = 130


@dataclass(frozen=True)
class Wishes:
    """How the run was asked to go about it: the options of `run` but for the choice of clips"""

    concurrency: int | None = None
    poll_interval: float | None = None
    deadline: float | None = None
    retries: int = 0
    retry_refused: bool = False
    max_cost: Money | None = None
    yes: bool = False
    fail_fast: bool = False
    quiet: bool = False
    as_json: bool = False
    orders: bool = True
    """False: collect what is open and order nothing."""


class Done(NamedTuple):
    """A run that ended: how it went, its manifest, the folder where everything is."""

    outcome: Outcome
    manifest: dict[str, Any]
    place: RunFolder


def perform(prepared: Prepared, wishes: Wishes, provider: Provider) -> Done:
    """Make the clips of a prepared plan, or with `wishes.orders` False only collect what is open.

    Raises `InUseError` when another run has the plan, `LedgerError` when ledger or disk fail.
    """
    import socket

    from storyrun import folder as folders
    from storyrun.ledger import Ledger

    clock = SystemClock()
    outputs = folders.Outputs(prepared.outputs)
    place = outputs.run_folder(prepared.stem, prepared.label)
    with ExitStack() as stack:
        if folders.clips_without_ledger(outputs):
            hint = f"put {outputs.ledger_path.name} back from a copy, or name another folder with --out"
            raise LedgerError(f"{outputs.root} holds clips but no ledger; nothing was ordered", hint)
        place.prepare()
        try:
            stack.enter_context(place.hold())
        except InUseError as error:
            raise _owned(error, outputs, prepared, clock) from None
        ledger = stack.enter_context(Ledger.open(outputs.ledger_path, clock))
        plan_path = os.path.relpath(prepared.path.resolve(), outputs.root.resolve())
        _only_plan_of_its_name(ledger, prepared, plan_path, outputs)
        run_id = ledger.begin_run(prepared.stem, prepared.label, plan_path, os.getpid(), socket.gethostname())
        try:
            outcome, manifest = _made(prepared, wishes, provider, ledger, place, run_id, plan_path, clock)
        finally:
            ledger.end_run(run_id)
    return Done(outcome, manifest, place)


def _made(
    prepared: Prepared,
    wishes: Wishes,
    provider: Provider,
    ledger: Ledger,
    place: RunFolder,
    run_id: str,
    plan_path: str,
    clock: SystemClock,
) -> tuple[Outcome, dict[str, Any]]:
    """Run, and write the manifest whatever happened."""
    import asyncio
    import random

    from storyrun import manifest, runner
    from storyrun.progress import Progress

    terminal = sys.stderr.isatty()
    progress = Progress(
        len(prepared.chosen) if wishes.orders else 0,
        sys.stderr,
        terminal=terminal,
        now=clock.monotonic,
        colour=terminal and not os.environ.get("NO_COLOR"),
        quiet=wishes.quiet,
    )
    policy = runner.Policy(
        concurrency=wishes.concurrency,
        poll_interval=wishes.poll_interval,
        deadline=wishes.deadline,
        retries=wishes.retries,
        retry_refused=wishes.retry_refused,
        fail_fast=wishes.fail_fast,
        budget=prepared.budget if provider.paid else None,
        run_ceiling=wishes.max_cost if provider.paid else None,
    )
    started = clock.now()
    reused: frozenset[str] = frozenset()

    def written(finished: bool) -> dict[str, Any]:
        common: dict[str, Any] = {
            "ledger": ledger,
            "run_folder": place.path,
            "plan_stem": prepared.stem,
            "provider": prepared.label,
            "generator": f"storyrun {__version__}",
            "started_at": started,
            "finished_at": clock.now() if finished else None,
        }
        if prepared.gone:
            view = manifest.build_from_ledger(**common)
        else:
            view = manifest.build(plan=prepared.plan, reused=reused, **common)
        manifest.write(place, view)
        return view

    async def go() -> Outcome:
        stop = runner.StopSignal()
        _listen(stop, prepared)
        try:
            return await runner.run(
                plan=prepared.plan,
                selected=prepared.chosen if wishes.orders else frozenset(),
                provider=provider,
                ledger=ledger,
                folder=place,
                run_id=run_id,
                plan_path=plan_path,
                plan_folder=prepared.path.parent,
                policy=policy,
                clock=clock,
                jitter=random.random,
                observe=progress,
                stop=stop,
            )
        finally:
            await provider.aclose()

    written(finished=False)
    try:
        outcome = asyncio.run(go())
        reused = outcome.reused
    except BaseException:
        progress.close()
        try:
            written(finished=True)
        except StoryrunError as error:
            click.echo(f"storyrun: the manifest could not be written: {error.sentence}", err=True)
        raise
    progress.close()
    for note in outcome.notes:
        click.echo(f"note: {note}", err=True)
    return outcome, written(finished=True)


def _only_plan_of_its_name(ledger: Ledger, prepared: Prepared, plan_path: str, outputs: Outputs) -> None:
    """Two plans of one name would share clips and budget: refused while the other one is there."""
    others = {attempt.plan_path for attempt in ledger.attempts(plan=prepared.stem)} - {plan_path, ""}
    for other in sorted(others):
        if (outputs.root / other).is_file():
            raise UsageError(
                f"{outputs.root / prepared.stem} belongs to {(outputs.root / other).resolve().name}; nothing was sent",
                f"rename {prepared.path.name}: folder, ledger and budget go by the name before .yaml",
            )


def _listen(stop: Any, prepared: Prepared) -> None:
    """First Ctrl-C or SIGTERM: stop ordering and wait for what is being sent. The second leaves at once."""
    import asyncio
    import signal

    def heard() -> None:
        if stop.drain.is_set():
            click.echo(f"\nleft at once; nothing that was ordered is lost\n{resume_line(prepared)}", err=True)
            sys.stderr.flush()
            os._exit(INTERRUPTED)
        stop.drain.set()
        click.echo("\nstopping; Ctrl-C again leaves at once", err=True)

    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(name, heard)
        except (NotImplementedError, RuntimeError, ValueError):  # no signals here: a thread, or Windows
            return


def _owned(error: InUseError, outputs: Any, prepared: Prepared, clock: SystemClock) -> InUseError:
    """The lock's refusal with the name of who holds it."""
    from storyrun.ledger import Ledger

    ledger = Ledger.peek(outputs.ledger_path, clock)
    owner = ledger.owner(prepared.stem, prepared.label) if ledger else None
    if ledger:
        ledger.close()
    if owner is None:
        return error
    return InUseError(
        f"{prepared.stem} is being made on {prepared.label} by process {owner.pid} on {owner.host}, "
        f"since {owner.started_at}; nothing was sent",
        "wait for it, or stop it with Ctrl-C where it runs",
    )


def resume_line(prepared: Prepared) -> str:
    """The line that goes on where this run stopped."""
    words = " ".join(show.quoted(word) for word in (str(prepared.path), *planning.repeated(prepared.out)))
    return f"next  storyrun {words}"


def exit_code(outcome: Outcome, manifest: dict[str, Any], chosen: frozenset[str]) -> int:
    """The first that holds: interrupted, stopped early, something needs you, some failed, all made."""
    if outcome.interrupted:
        return INTERRUPTED
    if outcome.stopped:
        return STOPPED
    clips = [clip for clip in manifest["clips"] if clip["id"] in chosen]
    for clip in (*manifest["clips"], *manifest["former"]):  # what was bought needs you whatever --only says
        if clip["status"] in ("unknown", "open") or (clip["error"] or {}).get("class") == "expired":
            return NEEDS_YOU
    return FAILED if any(clip["status"] != "done" or clip["problems"] for clip in clips) else 0
