"""Options that several verbs share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

PROVIDERS = ("animatic", "tokenhub", "toapis", "dashscope")


def plan_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """The plan file."""
    return click.argument("plan_file", metavar="PLAN.yaml", type=click.Path(dir_okay=False))(function)


def plan_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--provider, --model, --only, --first, --out: what verbs that take a plan take."""
    for option in reversed(
        (
            click.option("--provider", type=click.Choice(PROVIDERS), help="Instead of the plan's."),
            click.option("--model", metavar="ID", help="An exact id or a family, instead of the plan's."),
            click.option(
                "--only",
                metavar="CLIP",
                multiple=True,
                help="A clip id to the letter, or a pattern with * and ?; may be given several times.",
            ),
            click.option("--first", metavar="N", type=click.IntRange(min=1), help="The first N of those clips."),
            click.option(
                "--out",
                metavar="DIR",
                type=click.Path(file_okay=False),
                help="The outputs folder, instead of outputs/ beside the plan.",
            ),
        )
    ):
        function = option(function)
    return function


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """--json: the result as JSON on stdout."""
    return click.option("--json", "as_json", is_flag=True, help="The result as JSON on stdout.")(function)
