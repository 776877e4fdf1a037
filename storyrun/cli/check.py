"""`storyrun check PLAN...`: every problem of every file. No network code, no media code on this path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from storyrun.cli import planning, problems, surroundings
from storyrun.cli.options import PROVIDERS

if TYPE_CHECKING:
    from storyrun.records import Plan, Problem


@click.command("check")
@click.argument("plan_files", metavar="PLAN.yaml...", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--provider", type=click.Choice(PROVIDERS), help="Check as for this provider.")
@click.option("--model", metavar="ID", help="Check as for this model or family.")
@click.option("--format", "form", type=click.Choice(("text", "json", "github", "sarif")), default="text")
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
def command(
    plan_files: tuple[str, ...], provider: str | None, model: str | None, form: problems.Format, as_json: bool
) -> int:
    """Print every problem of every PLAN, sorted, with file, line and column. Sends and writes nothing."""
    found: list[Problem] = []
    plans: list[tuple[str, Plan | None, int]] = []
    for name in plan_files:
        plan, mine, _ = planning.planned(Path(name), provider, model, {})
        found += mine
        plans.append((name, plan, sum(problem.severity == "error" for problem in mine)))
    errors = sum(count for _, _, count in plans)
    form = "json" if as_json else form
    if found or form != "text":
        click.echo(problems.render(found, form, colour=surroundings.colour(), meanings=_meanings(form)).rstrip("\n"))
    for name, plan, count in plans:
        if form == "text" and plan is not None and not count:
            click.echo(f"{_shown(name)}: {_extent(plan)}, no errors")
    if errors:
        files = sum(bool(count) for _, _, count in plans)
        click.echo(
            f"{errors} error{'s' if errors != 1 else ''} in {files} file{'s' if files != 1 else ''}; nothing was sent",
            err=True,
        )
    return 2 if errors else 0


def _shown(name: str) -> str:
    """A file's name with nothing in it that a terminal obeys. What shows everything else is loaded only if need be."""
    if name.isprintable():
        return name
    from storyrun.cli.show.text import safe

    return safe(name)


def _meanings(form: problems.Format) -> dict[str, str] | None:
    """What each code means, for a format that carries it along."""
    if form != "sarif":
        return None
    from storyrun import checks, jobs, picks, prompts, sources, tables, validation, yamlfile

    every = (yamlfile, validation, sources, tables, checks, prompts, picks, jobs)
    return {code: meaning for module in every for code, meaning in module.CODES.items()}


def _extent(plan: Plan) -> str:
    seconds = sum(job.length for job in plan.jobs)
    scenes = len(plan.storyboard.scenes)
    clips = len(plan.jobs)
    return (
        f"{scenes} scene{'s' if scenes != 1 else ''}, {clips} clip{'s' if clips != 1 else ''}, "
        f"{float(seconds):g} s on {plan.provider}"
    )
