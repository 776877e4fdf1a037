"""`storyrun prompts PLAN`: what would be said to the model, clip by clip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from storyrun.cli import planning, printed
from storyrun.cli.options import json_option, plan_argument, plan_options

if TYPE_CHECKING:
    from storyrun.records import Job


@click.command("prompts")
@plan_argument
@plan_options
@click.option("--requests", is_flag=True, help="Add each body as it would be sent.")
@json_option
def command(plan_file: str, requests: bool, as_json: bool, **choice: Any) -> int:
    """Print the prompts of PLAN.yaml. Local files show as `upload:refs/desk.png`. Sends and writes nothing."""
    prepared = planning.prepare(plan_file, **choice)
    jobs = [job for job in prepared.plan.jobs if job.id in prepared.chosen]
    bodies = _bodies(prepared.provider, jobs) if requests or as_json else {}
    if as_json:
        entries = [
            {"id": job.id, "prompt": job.prompt, "negative_prompt": job.negative_prompt, "request": bodies[job.id]}
            for job in jobs
        ]
        click.echo(printed.as_json(entries))
        return 0
    for number, job in enumerate(jobs):
        click.echo(("\n" if number else "") + click.style(printed.lines(job.id), bold=True))
        click.echo(printed.lines(job.prompt))
        if job.negative_prompt:
            click.echo(printed.lines(f"negative: {job.negative_prompt}"))
        if requests:
            click.echo(printed.as_json(bodies[job.id]))
    return 0


def _bodies(provider: str, jobs: list[Job]) -> dict[str, dict[str, Any]]:
    from storyrun.providers import body

    return {job.id: body(provider, job) for job in jobs}
