"""Helpers for tests about plans: text to a plan file, a plan file to jobs and problems."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storyrun import jobs, picks, storyboard

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.records import Job, Plan, Problem

RENDERER = 1
"""A renderer revision for tests that do not draw."""


@dataclass(frozen=True)
class Planned:
    plan: Plan
    problems: tuple[Problem, ...]

    @property
    def jobs(self) -> tuple[Job, ...]:
        return self.plan.jobs

    @property
    def ids(self) -> list[str]:
        return [job.id for job in self.plan.jobs]

    @property
    def prompts(self) -> list[str]:
        return [job.prompt for job in self.plan.jobs]

    @property
    def codes(self) -> list[str]:
        return [problem.code for problem in self.problems]

    @property
    def job(self) -> Job:
        (only,) = self.plan.jobs
        return only


def plan_file(path: Path, provider: str | None = None, model: str | None = None, label: str | None = None) -> Planned:
    """Plan a file the way every verb does."""
    plan, problems = admit(path, provider, model, label)
    assert plan is not None, problems
    return Planned(plan, problems)


def admit(
    path: Path,
    provider: str | None = None,
    model: str | None = None,
    label: str | None = None,
    shown: str | None = None,
) -> tuple[Plan | None, tuple[Problem, ...]]:
    """The same for a file of which nothing may be right. `shown` is its name for people."""
    loaded = storyboard.load(path, shown or path.name)
    if loaded.storyboard is None or loaded.document is None:
        return None, loaded.problems
    chosen, document, found = picks.load(path, shown or path.name)
    name = provider or loaded.storyboard.provider or "animatic"
    plan, problems = jobs.plan(
        loaded.storyboard,
        loaded.document,
        provider=name,
        label=label or name,
        model=model,
        currency=None,
        drawing_revision=RENDERER if name == "animatic" else None,
        whole=loaded.whole,
        chosen=chosen,
    )
    if document is not None and not any(each.severity == "error" for each in (*loaded.problems, *problems)):
        found = (*found, *picks.check(chosen, document, plan.jobs))
    return plan, (*loaded.problems, *problems, *found)


def write_plan(folder: Path, text: str, name: str = "plan.yaml") -> Path:
    """A plan file of this text, dedented; `version: 1` is added when it is missing."""
    body = textwrap.dedent(text)
    if "version:" not in body:
        body = "version: 1\n" + body
    path = folder / name
    path.write_text(body, encoding="utf-8")
    return path


def planned(folder: Path, text: str, provider: str | None = None, model: str | None = None) -> Planned:
    """Plan a text and insist that nothing is wrong with it."""
    result = plan_file(write_plan(folder, text), provider, model)
    assert [problem for problem in result.problems if problem.severity == "error"] == []
    return result


def problems_of(folder: Path, text: str, provider: str | None = None) -> list[str]:
    """What is wrong with a text: `line:column code sentence`."""
    result = plan_file(write_plan(folder, text), provider)
    return [f"{p.line}:{p.column} {p.code} {p.sentence}" for p in result.problems]
