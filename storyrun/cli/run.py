"""`storyrun run PLAN` and `storyrun preview PLAN`: the main job.

The plot: prepare the plan, quote it, take consent, lock the run folder, open the ledger, run, write the manifest, tell.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun import __version__
from storyrun.cli import planning, show, surroundings
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.clock import SystemClock
from storyrun.errors import InUseError, LedgerError, StoryrunError, UsageError
from storyrun.records import Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.cli.planning import Prepared
    from storyrun.folder import RunFolder
    from storyrun.ledger import Ledger
    from storyrun.providers.base import Provider
    from storyrun.runner import Outcome

NEEDS_YOU, STOPPED, FAILED = 4, 5, 1
INTERRUPTED = 130


@dataclass(frozen=True)
class Wishes:
    """How the run was asked to go about it: the options of `run` but for the choice of clips."""

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


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `run`."""
    for option in reversed(
        (
            click.option("--concurrency", metavar="N", type=click.IntRange(1, 1000), help="Clips made at once."),
            click.option("--poll-interval", metavar="S", type=click.FloatRange(0.1), help="Seconds between questions."),
            click.option(
                "--deadline", metavar="S", type=click.FloatRange(0), help="Seconds to wait for a clip (none)."
            ),
            click.option(
                "--retries", metavar="N", type=click.IntRange(0, 10), default=0, help="New tries at once (0)."
            ),
            click.option("--retry-refused", is_flag=True, help="Order again what was refused."),
            click.option("--max-cost", metavar="X", help="What this run may order, e.g. 20 or 20USD."),
            click.option("--yes", "-y", is_flag=True, help="Order without asking."),
            click.option("--fail-fast", is_flag=True, help="Order nothing more after the first failure."),
            click.option("--quiet", "-q", is_flag=True, help="No progress, only what went wrong."),
        )
    ):
        function = option(function)
    return function


@click.command("run")
@plan_argument
@plan_options
@run_options
@click.option("--dry-run", is_flag=True, help="Only the quote.")
@json_option
def command(plan_file: str, dry_run: bool, max_cost: str | None, **options: Any) -> int:
    """Make every clip of PLAN.yaml that is not made yet.

    Clips that are done are reused, open ones are picked up, only what changed is ordered. With the animatic, the
    default provider, everything is drawn on this machine and free.
    """
    choice = {key: options.pop(key) for key in ("provider", "model", "only", "first", "out")}
    prepared = planning.prepare(plan_file, **choice)
    wishes = Wishes(max_cost=_ceiling(max_cost, prepared), **options)
    if dry_run:
        from storyrun.cli import quote

        quote.tell(
            prepared, None, as_json=wishes.as_json, run_ceiling=wishes.max_cost, retry_refused=wishes.retry_refused
        )
        return 0
    return make(prepared, wishes)


def make(prepared: Prepared, wishes: Wishes) -> int:
    """Make the clips of a prepared plan, tell what became of them, and return the exit code."""
    _show_notes(prepared)
    outcome, manifest, place = perform(prepared, wishes)
    return _tell(prepared, wishes, outcome, manifest, place)


def perform(prepared: Prepared, wishes: Wishes) -> tuple[Outcome, dict[str, Any], RunFolder]:
    """Make the clips of a prepared plan: how it went, the manifest, and the folder where everything is."""
    warnings: list[str] = []
    provider = _provider(prepared, warnings.append)
    _consent(prepared, wishes, provider)
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
        run_id = ledger.begin_run(prepared.stem, prepared.label, plan_path, os.getpid(), socket.gethostname())
        try:
            outcome, manifest = _made(prepared, wishes, provider, ledger, place, run_id, plan_path, clock)
        finally:
            ledger.end_run(run_id)
    for warning in dict.fromkeys(warnings):
        click.echo(f"warning: {warning}", err=True)
    return outcome, manifest, place


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
        len(prepared.chosen),
        sys.stderr,
        terminal=terminal,
        now=clock.monotonic,
        colour=terminal and not os.environ.get("NO_COLOR"),
        quiet=wishes.quiet,
    )
    policy = runner.Policy(
        concurrency=wishes.concurrency or provider.workers,
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
        view = manifest.build(
            plan=prepared.plan,
            ledger=ledger,
            run_folder=place.path,
            plan_stem=prepared.stem,
            provider=prepared.label,
            generator=f"storyrun {__version__}",
            started_at=started,
            finished_at=clock.now() if finished else None,
            reused=reused,
        )
        manifest.write(place, view)
        return view

    async def go() -> Outcome:
        stop = runner.StopSignal()
        _listen(stop, prepared)
        try:
            return await runner.run(
                plan=prepared.plan,
                selected=prepared.chosen,
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
    return outcome, written(finished=True)


def _listen(stop: Any, prepared: Prepared) -> None:
    """First Ctrl-C or SIGTERM: stop ordering and wait for what is being sent. The second leaves at once."""
    import asyncio
    import signal

    def heard() -> None:
        if stop.drain.is_set():
            click.echo(f"\nleft at once; nothing that was ordered is lost\n{_resume(prepared)}", err=True)
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


def _provider(prepared: Prepared, warn: Callable[[str], None]) -> Provider:
    from storyrun.providers import PROVIDERS

    if prepared.provider not in PROVIDERS:
        raise UsageError(
            f"this version cannot order from {prepared.provider} yet; nothing was sent",
            f"storyrun preview {show.quoted(str(prepared.path))} makes the animatic of the same plan",
        )
    return PROVIDERS[prepared.provider](warn)


def _consent(prepared: Prepared, wishes: Wishes, provider: Provider) -> None:
    """A paid run needs a person's yes, `--yes`, `--max-cost` or a budget. Raises `UsageError` without one."""
    if not provider.paid:
        return
    from storyrun.cli import quote

    made = quote.make(prepared, run_ceiling=wishes.max_cost, retry_refused=wishes.retry_refused)
    if not made.orders:
        return
    click.echo(show.quote_text(made, width=surroundings.width(), colour=False), err=True)
    if made.refused:
        raise UsageError(f"{made.refused[0].refused}; nothing was sent", "raise the ceiling, or order less with --only")
    if wishes.yes or ((wishes.max_cost or prepared.budget) and not made.unpriced):
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "a paid run needs a yes; nothing was sent", "add --yes, --max-cost X, or a `budget:` to the plan"
        )
    if not click.confirm(show.question(made), err=True):
        raise UsageError("not ordered; nothing was sent")


def _show_notes(prepared: Prepared) -> None:
    from storyrun.cli import problems

    for problem in prepared.warnings:
        click.echo(problems.as_text(problem), err=True)
    for note in prepared.plan.notes:
        click.echo(f"note: {note}", err=True)


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


def _ceiling(written: str | None, prepared: Prepared) -> Money | None:
    """`--max-cost 20` or `20USD`: the currency is the budget's or the quote's when it is left out."""
    if written is None:
        return None
    digits = written.strip().rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    currency = written.strip()[len(digits) :].strip()
    try:
        amount = Decimal(digits)
    except InvalidOperation:
        raise UsageError(f"--max-cost {written} is not an amount", "write --max-cost 20 or --max-cost 20USD") from None
    if not amount.is_finite() or amount < 0:
        raise UsageError(f"--max-cost {written} is not an amount", "write --max-cost 20 or --max-cost 20USD")
    if not currency:
        quoted = {job.quote.currency for job in prepared.plan.jobs if job.quote and job.quote.currency}
        currency = prepared.budget.currency if prepared.budget else next(iter(sorted(quoted)), "USD")
    return Money(amount, currency)


def _resume(prepared: Prepared) -> str:
    words = " ".join(show.quoted(word) for word in (str(prepared.path), *planning.repeated(prepared.out)))
    return f"next  storyrun {words}"


def _tell(prepared: Prepared, wishes: Wishes, outcome: Outcome, manifest: dict[str, Any], place: RunFolder) -> int:
    """The result on stdout, what stopped it on stderr, and the exit code."""
    code = exit_code(outcome, manifest, prepared.chosen)
    if outcome.stopped:
        click.echo(f"stopped: {outcome.stopped}", err=True)
    if outcome.interrupted:
        click.echo(f"interrupted; what was ordered goes on\n{_resume(prepared)}", err=True)
    if wishes.as_json:
        click.echo(json.dumps(manifest, indent=2, ensure_ascii=False))
    else:
        click.echo(
            show.summary_text(
                manifest,
                plan_file=str(prepared.path),
                run_folder=_near(place.path),
                options=planning.repeated(prepared.out),
                width=surroundings.width(),
                colour=surroundings.colour(),
                zone=surroundings.zone() or UTC,
            )
        )
    return code


def exit_code(outcome: Outcome, manifest: dict[str, Any], chosen: frozenset[str]) -> int:
    """The first that holds: interrupted, stopped early, something needs you, some failed, all made."""
    if outcome.interrupted:
        return INTERRUPTED
    if outcome.stopped:
        return STOPPED
    clips = [clip for clip in manifest["clips"] if clip["id"] in chosen]
    open_ones = [*manifest["clips"], *manifest["former"]]
    expired = any((clip["error"] or {}).get("class") == "expired" for clip in clips)
    if expired or any(clip["status"] in ("unknown", "open") for clip in open_ones):
        return NEEDS_YOU
    return FAILED if any(clip["status"] != "done" or clip["problems"] for clip in clips) else 0


def _near(path: Path) -> str:
    """A path as seen from the working folder, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
