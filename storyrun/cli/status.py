"""`storyrun status PLAN`: where every clip stands, on every provider that the plan was run on."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import click

from storyrun import __version__
from storyrun.cli import planning, show, surroundings
from storyrun.cli.options import PROVIDERS, json_option, plan_argument, plan_options
from storyrun.clock import SystemClock


@click.command("status")
@plan_argument
@plan_options
@json_option
def command(plan_file: str, as_json: bool, **choice: Any) -> int:
    """Show where every clip of PLAN.yaml stands, what needs a decision, and the next line to type."""
    from storyrun import manifest
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    prepared = planning.prepare(plan_file, **choice)
    outputs = Outputs(prepared.outputs)
    clock = SystemClock()
    ledger = Ledger.peek(outputs.ledger_path, clock)
    views = []
    try:
        labels = [prepared.label]
        if choice["provider"] is None and ledger is not None:
            used = {attempt.provider for attempt in ledger.attempts(plan=prepared.stem)}
            labels += sorted(used - {prepared.label})
        for label in labels:
            mine = prepared
            name = label.partition("@")[0]
            if label != prepared.label and name in PROVIDERS:
                mine = planning.prepare(plan_file, **{**choice, "provider": name})
            views.append(
                manifest.build(
                    plan=mine.plan,
                    ledger=ledger,
                    run_folder=outputs.run_folder(mine.stem, label).path,
                    plan_stem=mine.stem,
                    provider=label,
                    generator=f"storyrun {__version__}",
                    started_at=clock.now(),
                    finished_at=None,
                    reused=frozenset(),
                )
            )
    finally:
        if ledger is not None:
            ledger.close()
    if as_json:
        click.echo(json.dumps([show.status_json(view) for view in views], indent=2, ensure_ascii=False))
        return 0
    for view in views:
        click.echo(
            show.status_text(
                view,
                plan_file=plan_file,
                options=planning.repeated(choice["out"]),
                width=surroundings.width(),
                colour=surroundings.colour(),
                zone=surroundings.zone() or UTC,
            )
        )
    return 0
