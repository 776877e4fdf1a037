"""`storyrun quote PLAN [CLIP]`: what a run would order, why, and for how much."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from storyrun.cli import planning, show, surroundings
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.clock import SystemClock

if TYPE_CHECKING:
    from storyrun.cli.planning import Prepared
    from storyrun.quote import Quote
    from storyrun.records import Money


@click.command("quote")
@plan_argument
@click.argument("clip", required=False)
@plan_options
@json_option
def command(plan_file: str, clip: str | None, as_json: bool, **choice: Any) -> int:
    """Say what a run of PLAN.yaml would order, why and for how much; with CLIP, everything about that clip.

    Needs no key and no network, and writes nothing.
    """
    prepared = planning.prepare(plan_file, **choice)
    tell(prepared, clip, as_json=as_json)
    return 0


def tell(prepared: Prepared, clip: str | None, *, as_json: bool, **ceilings: Any) -> None:
    """Print the quote of a prepared plan on stdout."""
    quote = make(prepared, **ceilings)
    if clip is not None:
        planning.select(prepared.plan, (clip,), None)
    if as_json:
        click.echo(json.dumps(show.quote_json(quote, clip), indent=2, ensure_ascii=False))
    elif clip is not None:
        for one in quote.clips:
            if planning.matches(one.job.id, clip):
                click.echo(show.clip_text(quote, one))
    else:
        click.echo(show.quote_text(quote, width=surroundings.width(), colour=surroundings.colour()))


def make(prepared: Prepared, *, run_ceiling: Money | None = None, retry_refused: bool = False) -> Quote:
    """The quote of a prepared plan against its ledger, which is only looked at."""
    from storyrun import quote
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    ledger = Ledger.peek(Outputs(prepared.outputs).ledger_path, SystemClock())
    try:
        return quote.make(
            prepared.plan,
            ledger,
            prepared.stem,
            prepared.label,
            prepared.selected,
            budget=prepared.budget,
            run_ceiling=run_ceiling,
            retry_refused=retry_refused,
            key=missing_key(prepared.provider),
            outputs=prepared.outputs,
        )
    finally:
        if ledger is not None:
            ledger.close()


def missing_key(provider: str) -> str:
    """The environment variable that must be set before anything can be ordered; empty when nothing is missing."""
    from storyrun import providers

    settings = providers.environment(provider)
    return settings.key if settings is not None and not surroundings.environment().get(settings.key) else ""
