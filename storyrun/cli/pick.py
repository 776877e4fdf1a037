"""`storyrun pick PLAN CLIP...`: which take of a clip goes into the film."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun import nearest, picks
from storyrun.cli import planning
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.cli.show.text import safe
from storyrun.errors import PlanError, UsageError
from storyrun.picks import Picks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from storyrun.cli.planning import Prepared
    from storyrun.records import Job


@click.command("pick")
@plan_argument
@click.argument("clips", metavar="[CLIP]...", nargs=-1)
@click.option(
    "--undo",
    is_flag=True,
    help="Take the pick of these clips back; without CLIP drop all picks and takes of clips that the plan lacks.",
)
@plan_options
@json_option
def command(plan_file: str, clips: tuple[str, ...], undo: bool, as_json: bool, **choice: Any) -> int:
    """Choose the takes CLIP (`hook[format=tall]#2`; without # the first) of PLAN.yaml. Without CLIP: list the choices.

    Written to PLAN.picks.yaml beside the plan, to be kept with it. Nothing is ordered. `storyrun assemble` uses them.
    """
    path = Path(plan_file)
    old, prepared = _as_it_stands(path, plan_file, choice, mend=undo and not clips)
    new = old
    if undo:
        new = _without(old, clips, prepared.plan.jobs)
    elif clips or choice["only"]:
        new = choose(old, _meant(clips, prepared), prepared.plan.jobs)
    if new != old:
        save(path, new, prepared.plan.jobs)
    if as_json:
        click.echo(json.dumps({"file": str(picks.path_of(path)), "picks": dict(new.chosen), "takes": dict(new.takes)}))
        return 0
    for clip in [*(old.chosen.keys() - new.chosen.keys())] if undo else ():
        click.echo(f"{safe(clip)}  take {old.chosen[clip]} is no longer picked")
    for clip in sorted(old.takes.keys() - new.takes.keys()):
        click.echo(f"{safe(clip)}  {old.takes[clip]} takes forgotten: the plan has no such clip; what was made stays")
    takes = takes_of(prepared.plan.jobs)
    for clip, take in new.chosen.items():
        if clip in takes:
            click.echo(f"{safe(clip)}  take {take} of {takes[clip]}")
    if not new.chosen:
        click.echo("nothing is picked: the first take of each clip goes into the film")
    return 0


def choose(old: Picks, clips: Iterable[str], jobs: Sequence[Job]) -> Picks:
    """The picks with these clips (ids, with their takes) chosen besides. Raises `UsageError`; then nothing changed."""
    by_id = {job.id: job for job in jobs}
    chosen: dict[str, int] = {}
    for clip in clips:
        if clip not in by_id:
            raise UsageError(f"no clip is called {clip}; nothing was picked", nearest.hint(clip, by_id))
        group = picks.without_take(clip)
        if chosen.setdefault(group, by_id[clip].take) != by_id[clip].take:
            raise UsageError(f"two takes of {group} at once; nothing was picked", "one take goes into the film")
    return Picks({**old.chosen, **chosen}, old.takes)


def change(plan_file: str, clip: str, choice: Mapping[str, Any], *, undo: bool) -> None:
    """Pick one clip, or take back that very pick, and write it. Raises what `command` raises; then nothing changed."""
    path = Path(plan_file)
    old, prepared = _as_it_stands(path, plan_file, choice, mend=False)
    jobs = prepared.plan.jobs
    if undo and clip not in old.clips:
        raise UsageError(f"{clip} is not picked; nothing was changed")
    new = _without(old, [clip], jobs) if undo else choose(old, [clip], jobs)
    if new != old:
        save(path, new, jobs)


def save(plan: Path, new: Picks, jobs: Sequence[Job]) -> None:
    """Write the picks beside the plan, whole or not at all. Raises `LedgerError` when the disk fails."""
    from storyrun import folder

    folder.write_atomically(picks.path_of(plan), picks.written(new, (job.id for job in jobs)))


def takes_of(jobs: Iterable[Job]) -> Mapping[str, int]:
    """How many takes there are of each clip, by its id without the take."""
    counts: dict[str, int] = {}
    for job in jobs:
        group = picks.without_take(job.id)
        counts[group] = max(counts.get(group, 0), job.take)
    return counts


def _as_it_stands(path: Path, plan_file: str, choice: Mapping[str, Any], *, mend: bool) -> tuple[Picks, Prepared]:
    """The picks and the plan. With `mend` picks that lead nowhere are no reason to stop: they are what is to go."""
    old, document, found = picks.load(path, plan_file)
    if document is not None and any(problem.severity == "error" for problem in found):
        raise PlanError(found)
    if not mend:
        return old, planning.prepare(plan_file, **choice)
    return old, planning.prepare(plan_file, **choice, chosen=Picks({}, old.takes))


def _meant(clips: Sequence[str], prepared: Prepared) -> list[str]:
    """The clips that were named, and those that --only and --first leave."""
    chosen = [job.id for job in prepared.plan.jobs if job.id in prepared.chosen] if prepared.selected else []
    return [*clips, *chosen]


def _without(old: Picks, clips: Sequence[str], jobs: Sequence[Job]) -> Picks:
    """The picks without those of these clips, or without those that lead nowhere when none is named."""
    takes = takes_of(jobs)
    if not clips:
        kept = {clip: take for clip, take in old.chosen.items() if take <= takes.get(clip, 0)}
        return Picks(kept, {clip: count for clip, count in old.takes.items() if clip in takes})
    gone = {picks.without_take(clip) for clip in clips}
    for clip in gone - old.chosen.keys():
        raise UsageError(f"no take of {clip} is picked; nothing was changed", nearest.hint(clip, old.chosen))
    return Picks({clip: take for clip, take in old.chosen.items() if clip not in gone}, old.takes)
