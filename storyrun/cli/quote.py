"""`storyrun quote PLAN [CLIP]`: what a run would order, why, and for how much."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

from storyrun.cli import planning, printed, show, surroundings
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.records import Money

if TYPE_CHECKING:
    from storyrun.cli.planning import Prepared
    from storyrun.quote import Quote
    from storyrun.records import Plan


@click.command("quote")
@plan_argument
@click.argument("clip", required=False)
@plan_options
@click.option("--max-cost", metavar="X", help="What a run with this ceiling would refuse, e.g. 20 or 20USD.")
@json_option
def command(plan_file: str, clip: str | None, max_cost: str | None, as_json: bool, **choice: Any) -> int:
    """Say what a run of PLAN.yaml would order, why and for how much; with CLIP, everything about that clip.

    Needs no key and no network, and writes nothing.
    """
    prepared = planning.prepare(plan_file, **choice)
    tell(prepared, clip, as_json=as_json, run_ceiling=ceiling(max_cost, prepared))
    return 0


def tell(prepared: Prepared, clip: str | None, *, as_json: bool, **ceilings: Any) -> None:
    """Print the quote of a prepared plan on stdout."""
    quote = make(prepared, **ceilings)
    if clip is not None:
        planning.select(prepared.plan, (clip,), None)
    if as_json:
        click.echo(printed.as_json(show.quote_json(quote, clip)))
    elif clip is not None:
        for one in quote.clips:
            if planning.matches(one.job.id, clip):
                click.echo(show.clip_text(quote, one))
    else:
        click.echo(show.quote_text(quote, width=surroundings.width(), colour=surroundings.colour()))


def make(
    prepared: Prepared, *, run_ceiling: Money | None = None, retry_refused: bool = False, offers: bool = True
) -> Quote:
    """The quote of a prepared plan against its ledger, which is only looked at; with what would fit if it does not,
    where `offers` are wanted.
    """
    from dataclasses import replace

    from storyrun import picks, quote
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger
    from storyrun.quote import savings

    key, key_set = key_for(prepared.provider)
    ledger = Ledger.peek(Outputs(prepared.outputs).ledger_path, SystemClock())

    def of(plan: Plan) -> Quote:
        return quote.make(
            plan,
            ledger,
            prepared.stem,
            prepared.label,
            prepared.selected,
            budget=prepared.budget,
            run_ceiling=run_ceiling,
            retry_refused=retry_refused,
            key=key,
            key_set=key_set,
            outputs=prepared.outputs,
        )

    def lower(resolution: str, scenes: frozenset[str]) -> Quote | None:
        plan = planning.lowered(prepared, resolution, scenes)
        return None if plan is None else of(plan)

    try:
        made = of(prepared.plan)
        if made.refused and offers:
            chosen, _, _ = picks.load(prepared.path, str(prepared.path))
            made = replace(made, savings=savings.find(made, lower, chosen.takes))
        return made
    finally:
        if ledger is not None:
            ledger.close()


def key_for(provider: str) -> tuple[str, bool]:
    """The environment variable that must be set before anything can be ordered, "" where none is; whether it is set."""
    from storyrun import providers

    settings = providers.environment(provider)
    if settings is None:
        return "", False
    return settings.key, bool(surroundings.environment().get(settings.key, "").strip())


def ceiling(written: str | None, prepared: Prepared) -> Money | None:
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
