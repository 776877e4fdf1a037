"""The small Python API: the main verbs as functions that return records and raise `StoryrunError`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyrun import storyboard
from storyrun.cli import planning
from storyrun.errors import PlanError

if TYPE_CHECKING:
    from storyrun.records import Plan, Storyboard


def load(path: str | os.PathLike[str]) -> Storyboard:
    """The storyboard of a plan file. Raises `PlanError` with every problem of its shape."""
    loaded = storyboard.load(Path(path), os.fspath(path))
    if loaded.storyboard is None or any(problem.severity == "error" for problem in loaded.problems):
        raise PlanError(loaded.problems)
    return loaded.storyboard


def plan(path: str | os.PathLike[str], *, provider: str | None = None, model: str | None = None) -> Plan:
    """The jobs of a plan file, in storyboard order. Raises `PlanError` with every problem. Sends nothing."""
    return planning.prepare(os.fspath(path), provider=provider, model=model).plan


def run(
    path: str | os.PathLike[str],
    *,
    provider: str | None = None,
    model: str | None = None,
    only: tuple[str, ...] = (),
    first: int | None = None,
    out: str | os.PathLike[str] | None = None,
    **wishes: Any,
) -> dict[str, Any]:
    """Make every clip of a plan file that is not made yet, and return the manifest (schemas/manifest.schema.json).

    `wishes` are the fields of `storyrun.cli.performing.Wishes`. A paid run needs a `budget:` in the plan, `max_cost` or
    `yes=True`. Failed clips are in the manifest, not raised; raises `StoryrunError` when nothing could be started.
    """
    from storyrun.cli.performing import Wishes
    from storyrun.cli.run import order

    chosen = planning.prepare(
        os.fspath(path),
        provider=provider,
        model=model,
        only=only,
        first=first,
        out=None if out is None else os.fspath(out),
    )
    return order(chosen, Wishes(**{"quiet": True, **wishes})).manifest
