"""One run from lock to manifest: what `run`, `preview` and `fetch` have in common."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from storyrun import __version__, disk
from storyrun.cli import planning, preflight, show
from storyrun.clock import SystemClock
from storyrun.errors import InUseError, LedgerError, StoryrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.cli.planning import Prepared
    from storyrun.folder import Outputs, RunFolder
    from storyrun.ledger import Ledger
    from storyrun.providers.base import Provider
    from storyrun.records import ClipEvent, Money
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


def perform(
    prepared: Prepared, wishes: Wishes, provider: Provider, *, begins: Callable[[], None] | None = None
) -> Done:
    """Make the clips of a prepared plan, or with `wishes.orders` False only collect what is open.

    `begins` is called when nothing stands in the way any more and nothing is sent yet; what it raises ends the run.
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
        if provider.paid and not outputs.ledger_path.exists():
            preflight.ledger_is_of_these_clips(prepared, place, None, outputs.ledger_path)
        ledger = stack.enter_context(Ledger.open(outputs.ledger_path, clock))
        if provider.paid and (note := preflight.ledger_is_of_these_clips(prepared, place, ledger, outputs.ledger_path)):
            _say(f"note: {note}")
        plan_path = os.path.relpath(prepared.path.resolve(), outputs.root.resolve())
        _only_plan_of_its_name(ledger, prepared, plan_path, outputs)
        preflight.disk_has_room(prepared, wishes, provider, ledger, place)
        if provider.paid:
            disk.lay_ballast(outputs.ledger_path.resolve().parent)
        if begins is not None:
            begins()
        run_id = ledger.begin_run(prepared.stem, prepared.label, plan_path, os.getpid(), socket.gethostname())
        try:
            outcome, manifest = _made(prepared, wishes, provider, ledger, place, run_id, plan_path, clock)
        except BaseException as error:
            if isinstance(error, LedgerError) and provider.paid:
                _tell_bought(error, ledger, prepared)
            with suppress(LedgerError):
                ledger.end_run(run_id)
            raise
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
    from storyrun.exports import posters
    from storyrun.inspection import Inspection
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
    inspection = Inspection(ledger, place, prepared.stem, prepared.label) if provider.paid else None
    darkroom = posters.Darkroom(place.path)
    started = clock.now()
    reused: frozenset[str] = frozenset()

    def observe(event: ClipEvent) -> None:
        if inspection is not None:  # first: a terminal that is gone ends all observing
            inspection(event)
        if event.kind == "done" and event.attempt is not None and event.attempt.plan == prepared.stem:
            darkroom.develop(event.attempt.file)
        progress(event)

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
        if finished:
            from storyrun.cli import report

            darkroom.close()
            _sidecars(view, place)
            report.after_run(view, place.path, str(prepared.path), repeated(prepared))
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
                observe=observe,
                stop=stop,
                free=disk.free,
            )
        finally:
            await provider.aclose()

    written(finished=False)
    try:
        outcome = asyncio.run(go())
        reused = outcome.reused
    except BaseException:
        if inspection is not None:
            inspection.close()
        with suppress(OSError, ValueError):
            progress.close()
        _last_manifest(written)
        raise
    with suppress(OSError, ValueError):
        progress.close()
    for note in outcome.notes:
        _say(f"note: {show.safe(note)}")
    if inspection is not None:
        try:
            for note in inspection.finish(hurry=outcome.interrupted):
                _say(f"note: {show.safe(note)}")
        except KeyboardInterrupt:  # the clips are here; those that nobody looked at are looked at by the next run
            inspection.close()
            outcome = replace(outcome, interrupted=True)
        except BaseException:
            inspection.close()
            _last_manifest(written)
            raise
    return outcome, written(finished=True)


def _sidecars(view: dict[str, Any], place: RunFolder) -> None:
    """Write the JSON beside each clip, and what there is to claim. What goes wrong is a warning: clips are safe."""
    from storyrun.exports import claims, sidecars

    try:
        sidecars.write(view, place.path)
        claims.write(view, place.path)
    except Exception as error:  # noqa: BLE001 - a bug here is not worth the result of a run
        reason = getattr(error, "sentence", "") or f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            reason = disk.reason(error)
        _say(f"warning: the JSON files beside the clips, or claims.csv, could not be written: {reason}")


def _last_manifest(written: Callable[..., dict[str, Any]]) -> None:
    """The manifest of a run that failed, if that can be written."""
    try:
        written(finished=True)
    except StoryrunError as error:
        _say(f"storyrun: the manifest could not be written: {error.sentence}")


def _say(text: str) -> None:
    """Talk while money is on its way: that nobody listens any more must not change what is done next."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


def _tell_bought(error: LedgerError, ledger: Ledger, prepared: Prepared) -> None:
    """Ledger or disk failed in the middle of a run: say what is bought and not here, above all what is not recorded."""
    from storyrun.records import State

    for note in getattr(error, "__notes__", ()):
        _say(f"note: {show.safe(note)}")
    try:
        attempts = ledger.attempts(prepared.stem, prepared.label, live=True)
    except LedgerError as unreadable:
        _say(f"storyrun: {unreadable.sentence}")
        return
    for attempt in attempts:
        if attempt.state in (State.SENDING, State.UNKNOWN, State.ACCEPTED, State.READY):
            task = f"task {attempt.task_id}" if attempt.task_id else "no task id"
            _say(f"bought and not here: {attempt.clip}, {task} ({attempt.state}, attempt {attempt.id})")


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
            _say(f"\nleft at once; nothing that was ordered is lost\n{resume_line(prepared)}")
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(INTERRUPTED)
        stop.drain.set()
        _say("\nstopping; Ctrl-C again leaves at once")

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
    words = (str(prepared.path), *repeated(prepared), *repeated_model(prepared))
    return f"next  storyrun {' '.join(map(show.quoted, words))}"


def repeated(prepared: Prepared) -> list[str]:
    """The options that every next line to type must repeat: another provider than the plan's own, and where all is."""
    own = prepared.plan.storyboard.provider or "animatic"
    return [*(["--provider", prepared.provider] if prepared.provider != own else []), *planning.repeated(prepared.out)]


def repeated_model(prepared: Prepared) -> list[str]:
    """The option that a line which orders must repeat besides: with another model it would be other clips."""
    return [] if prepared.model is None else ["--model", prepared.model]


def exit_code(outcome: Outcome, manifest: dict[str, Any], chosen: frozenset[str]) -> int:
    """The first that holds: interrupted, stopped early, something needs you, some failed, all made."""
    if outcome.interrupted:
        return INTERRUPTED
    if outcome.stopped:
        return STOPPED
    # of a plan that is gone all clips are former ones
    clips = [clip for clip in manifest["clips"] or manifest["former"] if clip["id"] in chosen]
    for clip in (*manifest["clips"], *manifest["former"]):  # what was bought needs you whatever --only says
        if clip["status"] in ("unknown", "open") or (clip["error"] or {}).get("class") == "expired":
            return NEEDS_YOU
    return FAILED if any(clip["status"] != "done" or clip["problems"] for clip in clips) else 0
