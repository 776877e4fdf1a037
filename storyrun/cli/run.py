"""`storyrun run PLAN`: the main job. Prepare the plan, quote it, take consent, have it made, tell what became of it."""

from __future__ import annotations

import json
import sys
from datetime import UTC
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun.cli import planning, show, surroundings
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.cli.performing import Done, Wishes, exit_code, perform
from storyrun.errors import UsageError
from storyrun.records import Money

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.cli.planning import Prepared
    from storyrun.providers.base import Provider


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
    return tell(prepared, wishes, order(prepared, wishes))


def order(prepared: Prepared, wishes: Wishes) -> Done:
    """Make the clips of a prepared plan once somebody agreed to what it costs."""
    warnings: list[str] = []
    provider = build_provider(prepared, warnings.append)
    if wishes.orders:
        _consent(prepared, wishes, provider)
    try:
        return perform(prepared, wishes, provider)
    finally:
        for warning in dict.fromkeys(warnings):
            click.echo(f"warning: {warning}", err=True)


def build_provider(prepared: Prepared, warn: Callable[[str], None]) -> Provider:
    """The provider, with its key. A run that would send nothing to a cloud still needs the key: it asks and fetches."""
    from storyrun import providers

    return providers.build(prepared.provider, surroundings.environment(), warn)


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


def tell(prepared: Prepared, wishes: Wishes, done: Done) -> int:
    """The result on stdout, what stopped it on stderr, and the exit code."""
    outcome, manifest, place = done
    code = exit_code(outcome, manifest, prepared.chosen)
    if outcome.stopped:
        click.echo(f"stopped: {outcome.stopped}", err=True)
    if outcome.interrupted:
        click.echo(
            "interrupted" if prepared.provider == "animatic" else "interrupted; what was ordered goes on", err=True
        )
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


def _near(path: Path) -> str:
    """A path as seen from the working folder, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
