"""`storyrun run PLAN`: the main job. Prepare the plan, quote it, take consent, have it made, tell what became of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun.cli import pinning, planning, printed, show, surroundings
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.cli.performing import Done, Wishes, exit_code, perform, repeated, repeated_model
from storyrun.cli.report import PAGE
from storyrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.cli.planning import Prepared
    from storyrun.providers.base import Provider
    from storyrun.quote import Quote


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
    from storyrun.cli import quote

    prepared = planning.prepare(plan_file, **choice)
    wishes = Wishes(max_cost=quote.ceiling(max_cost, prepared), **options)
    if dry_run:
        quote.tell(
            prepared, None, as_json=wishes.as_json, run_ceiling=wishes.max_cost, retry_refused=wishes.retry_refused
        )
        return 0
    code = make(prepared, wishes)
    if code == 0 and prepared.plan.storyboard.cut is not None and not wishes.as_json:
        provider = ["--provider", choice["provider"]] if choice["provider"] else []
        words = (str(prepared.path), *provider, *planning.repeated(prepared.out))
        click.echo(f"next  storyrun assemble {' '.join(map(show.quoted, words))}")
    return code


def make(
    prepared: Prepared,
    wishes: Wishes,
    *,
    agreed: Callable[[], None] | None = None,
    instead: Callable[[Quote], list[str]] | None = None,
) -> int:
    """Make the clips of a prepared plan, tell what became of them, and return the exit code."""
    _show_notes(prepared)
    return tell(prepared, wishes, order(prepared, wishes, agreed=agreed, instead=instead))


def order(
    prepared: Prepared,
    wishes: Wishes,
    *,
    agreed: Callable[[], None] | None = None,
    instead: Callable[[Quote], list[str]] | None = None,
) -> Done:
    """Make the clips of a prepared plan once somebody agreed to what it costs. `agreed` is called then, when nothing
    else stands in the way either, and before anything is sent. `instead` says what would fit where not all does; by
    default that is what the quote offers.
    """
    warnings: list[str] = []
    pinning.refuse_elsewhere(prepared, str(prepared.path))
    provider = build_provider(prepared, warnings.append)
    if wishes.orders:
        _consent(prepared, wishes, provider, instead)
    try:
        return perform(prepared, wishes, provider, begins=agreed)
    finally:
        for warning in dict.fromkeys(warnings):
            click.echo(f"warning: {printed.line(warning)}", err=True)


def build_provider(prepared: Prepared, warn: Callable[[str], None]) -> Provider:
    """The provider, with its key. A run that would send nothing to a cloud still needs the key: it asks and fetches."""
    from storyrun import providers

    return providers.build(prepared.provider, surroundings.environment(), warn)


def _consent(
    prepared: Prepared, wishes: Wishes, provider: Provider, instead: Callable[[Quote], list[str]] | None
) -> None:
    """A paid run needs a person's yes, `--yes`, `--max-cost` or a budget. Raises `UsageError` without one."""
    if not provider.paid:
        return
    from storyrun.cli import quote

    made = quote.make(prepared, run_ceiling=wishes.max_cost, retry_refused=wishes.retry_refused, offers=instead is None)
    if not made.orders:
        return
    # what would fit is said by the refusal itself
    click.echo(show.quote_text(replace(made, savings=None), width=surroundings.width(), colour=False), err=True)
    if made.refused:
        raise _too_much(made, instead(made) if instead else _offers(made))
    if wishes.yes or ((wishes.max_cost or prepared.budget) and not made.unpriced):
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "a paid run needs a yes; nothing was sent", "add --yes, --max-cost X, or a `budget:` to the plan"
        )
    if not click.confirm(show.question(made), err=True):
        raise UsageError("not ordered; nothing was sent")


def _offers(made: Quote) -> list[str]:
    """What would fit, by the quote."""
    return [
        f"{show.saving_text(made, each)} ({show.plural(len(each.orders), 'clip')}, {show.costs(each.price)})"
        for each in made.savings or ()
    ]


def _too_much(made: Quote, offers: list[str]) -> UsageError:
    """Why nothing of a plan is ordered when not all of it fits, and what would."""
    clip, others = made.refused[0], len(made.refused) - 1
    more = f" (and {others} more)" if others else ""
    return UsageError(
        f"{show.safe(clip.job.id)}{more} would be refused: {clip.refused}; nothing was sent",
        "\n  or ".join(["raise the ceiling", *offers]) if offers else "raise the ceiling, or order less",
    )


def _show_notes(prepared: Prepared) -> None:
    from storyrun.cli import problems

    for problem in prepared.warnings:
        click.echo(problems.as_text(problem), err=True)
    for note in prepared.plan.notes:
        click.echo(f"note: {show.safe(note)}", err=True)


def tell(prepared: Prepared, wishes: Wishes, done: Done) -> int:
    """The result on stdout, what stopped it on stderr, and the exit code."""
    outcome, manifest, place = done
    code = exit_code(outcome, manifest, prepared.chosen)
    if outcome.stopped:
        click.echo(f"stopped: {show.safe(outcome.stopped)}", err=True)
    if outcome.interrupted:
        click.echo(
            "interrupted" if prepared.provider == "animatic" else "interrupted; what was ordered goes on", err=True
        )
    if wishes.as_json:
        click.echo(printed.as_json(manifest))
    else:
        click.echo(
            show.summary_text(
                manifest,
                plan_file=str(prepared.path),
                run_folder=_near(place.path),
                page=PAGE if (place.path / PAGE).is_file() else "",
                options=repeated(prepared),
                ordering=repeated_model(prepared),
                width=surroundings.width(),
                colour=surroundings.colour(),
                zone=surroundings.zone() or UTC,
            )
        )
    return code


def _near(path: Path) -> str:
    """A path as seen from the working folder, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
