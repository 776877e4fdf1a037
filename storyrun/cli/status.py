"""`storyrun status PLAN`: where every clip stands, on every provider that the plan was run on."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from storyrun import __version__
from storyrun.cli import planning, printed, show, surroundings
from storyrun.cli.options import PROVIDERS, json_option, plan_argument, plan_options
from storyrun.cli.performing import repeated, repeated_model
from storyrun.clock import SystemClock
from storyrun.records import State

if TYPE_CHECKING:
    from storyrun.ledger import Ledger


@click.command("status")
@plan_argument
@plan_options
@json_option
def command(plan_file: str, as_json: bool, **choice: Any) -> int:
    """Show where every clip of PLAN.yaml stands, what needs a decision, and the next line to type."""
    from storyrun import manifest
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    prepared = planning.prepare(plan_file, **choice, any_picks=True)
    outputs = Outputs(prepared.outputs)
    clock = SystemClock()
    ledger: Ledger | None = Ledger.peek(outputs.ledger_path, clock)
    views, asides, options = [], [], []
    try:
        labels = [prepared.label]
        if choice["provider"] is None and ledger is not None:
            used = {attempt.provider for attempt in ledger.attempts(plan=prepared.stem)}
            labels += sorted(used - {prepared.label})
        for label in labels:
            mine = prepared
            name = label.partition("@")[0]
            if label != prepared.label and name in PROVIDERS:
                mine = planning.prepare(plan_file, **{**choice, "provider": name}, any_picks=True)
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
            asides.append(_beside(views[-1], ledger, mine.stem))
            options.append(repeated(mine))
    finally:
        if ledger is not None:
            ledger.close()
    if as_json:
        click.echo(printed.as_json([show.status_json(*each) for each in zip(views, asides, strict=True)]))
        return 0
    for view, beside, repeat in zip(views, asides, options, strict=True):
        click.echo(
            show.status_text(
                view,
                plan_file=plan_file,
                options=repeat,
                ordering=repeated_model(prepared),
                width=surroundings.width(),
                colour=surroundings.colour(),
                zone=surroundings.zone() or UTC,
                beside=beside,
            )
        )
    return 0


def _beside(view: dict[str, Any], ledger: Ledger | None, stem: str) -> show.Beside:
    """What of a manifest's clips was ordered otherwise before (DESIGN section 8), and who gave one up, when and why."""
    if ledger is None:
        return show.Beside()
    changed, given_up = set(), {}
    for clip in view["clips"]:
        if clip["status"] != "planned" or ledger.live(view["provider"], clip["fingerprint"]) is not None:
            continue
        newest = ledger.newest(stem, view["provider"], clip["id"])
        if newest is not None and newest.fingerprint != clip["fingerprint"]:
            changed.add(clip["fingerprint"])
    for clip in (*view["clips"], *view["former"]):
        live = ledger.live(view["provider"], clip["fingerprint"]) if clip["status"] == "failed" else None
        if live is not None and live.state is State.ABANDONED:
            given_up[clip["fingerprint"]] = ledger.history(live.id)[-1]
    return show.Beside(frozenset(changed), given_up)
