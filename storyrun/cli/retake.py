"""`storyrun retake PLAN CLIP... [-n N]`: more takes of just these clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun import nearest, picks
from storyrun.cli import pick, planning, show
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.cli.performing import Wishes
from storyrun.cli.run import make, run_options
from storyrun.errors import UsageError
from storyrun.picks import Picks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storyrun.cli.planning import Prepared
    from storyrun.quote import Quote

MOST = 1000
"""Takes of one clip, as in a plan."""


@click.command("retake")
@plan_argument
@click.argument("clips", metavar="CLIP...", nargs=-1)
@click.option("-n", "more", metavar="N", type=click.IntRange(1, 100), default=1, help="How many more of each (1).")
@plan_options
@run_options
@click.option("--dry-run", is_flag=True, help="Only the quote.")
@json_option
def command(
    plan_file: str, clips: tuple[str, ...], more: int, dry_run: bool, max_cost: str | None, **options: Any
) -> int:
    """Order N more takes of each CLIP (an id, or a pattern with * and ?) of PLAN.yaml, and nothing else.

    How many there are then is written to PLAN.picks.yaml beside the plan, so that the two together stay the truth of
    what exists: later runs collect and reuse these takes like all others.
    """
    from storyrun.cli import quote

    choice = {key: options.pop(key) for key in ("provider", "model", "only", "first", "out")}
    path = Path(plan_file)
    today = planning.prepare(plan_file, **choice)
    old, _, _ = picks.load(path, plan_file)
    takes = pick.takes_of(today.plan.jobs)
    groups = _groups(clips, today)
    for group in groups:
        if takes[group] + more > MOST:
            raise UsageError(f"{group} would have more than {MOST} takes; nothing was ordered")
    new = Picks(old.chosen, {**old.takes, **{group: takes[group] + more for group in groups}})
    wanted = [picks.with_take(group, take + 1) for group in groups for take in range(takes[group], takes[group] + more)]
    prepared = planning.prepare(plan_file, **{**choice, "only": wanted, "first": None}, chosen=new)
    wishes = Wishes(max_cost=quote.ceiling(max_cost, prepared), **options)
    if dry_run:
        quote.tell(
            prepared,
            None,
            as_json=wishes.as_json,
            run_ceiling=wishes.max_cost,
            retry_refused=wishes.retry_refused,
            offers=False,  # they are for plans: fewer takes there are not fewer more here
        )
        return 0

    def agreed() -> None:
        if picks.load(path, plan_file)[0] != old:
            raise UsageError(f"{picks.path_of(path)} has changed meanwhile; nothing was ordered", "type the line again")
        pick.save(path, new, prepared.plan.jobs)

    return make(prepared, wishes, agreed=agreed, instead=lambda made: _fewer(made, takes, more))


def _fewer(made: Quote, takes: Mapping[str, int], more: int) -> list[str]:
    """The most new takes of each clip that fit, as a line of a hint; none where not even one does."""
    from storyrun.quote import add
    from storyrun.quote.ceilings import Ceilings

    for count in range(more - 1, 0, -1):
        orders = [clip for clip in made.orders if clip.job.take <= takes[picks.without_take(clip.job.id)] + count]
        ceilings = Ceilings(made.counted, made.budget, made.run_ceiling)
        if orders and ceilings.take_all(clip.price for clip in orders):
            price = add(clip.price for clip in orders if clip.price)
            return [f"-n {count} ({show.plural(len(orders), 'clip')}, {show.costs(price)})"]
    return []


def _groups(clips: tuple[str, ...], prepared: Prepared) -> list[str]:
    """The clips that are meant, without their takes, in plan order. Raises `UsageError` when there are none."""
    ids = [job.id for job in prepared.plan.jobs]
    known = list(dict.fromkeys(map(picks.without_take, ids)))
    meant: set[str] = set()
    for wanted in clips:
        found = {picks.without_take(clip) for clip in ids if planning.matches(clip, wanted)}
        found |= {clip for clip in known if planning.matches(clip, wanted)}
        if not found:
            raise UsageError(f"no clip is called {wanted}; nothing was ordered", nearest.hint(wanted, known))
        meant |= found
    if prepared.selected is not None:
        meant |= {picks.without_take(clip) for clip in prepared.selected}
    if not meant:
        raise UsageError("name the clips to have more takes of; nothing was ordered", f"known: {', '.join(known[:20])}")
    return [clip for clip in known if clip in meant]
