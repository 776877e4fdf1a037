"""`storyrun preview PLAN`: run on the animatic, whatever the plan says."""

from __future__ import annotations

from typing import Any

import click

from storyrun.cli import assemble, planning
from storyrun.cli.options import json_option, plan_argument, plan_options
from storyrun.cli.performing import FAILED, Wishes
from storyrun.cli.run import make


@click.command("preview")
@plan_argument
@plan_options
@click.option("--concurrency", metavar="N", type=click.IntRange(1, 1000), help="Clips drawn at once.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, only what went wrong.")
@json_option
def command(plan_file: str, **options: Any) -> int:
    """Make PLAN.yaml as an animatic, a real MP4 preview of every clip, and put the clips together.

    Always free; sends nothing.
    """
    choice = {key: options.pop(key) for key in ("model", "only", "first", "out")}
    if options.pop("provider") not in (None, "animatic"):
        raise click.UsageError("preview is the animatic; `storyrun run --provider ...` orders")
    prepared = planning.prepare(plan_file, provider="animatic", **choice)
    code = make(prepared, Wishes(**options))
    if code in (0, FAILED):
        assemble.after_preview(prepared, err=options["as_json"] or options["quiet"])
    return code
