"""From a plan file and the options to a finished `Plan`: the first half of almost every verb."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from storyrun import cards, jobs, nearest, picks, providers, storyboard
from storyrun.cli import surroundings
from storyrun.errors import PlanError, UsageError
from storyrun.records import Plan, Storyboard, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storyrun.picks import Picks
    from storyrun.records import Money, Problem
    from storyrun.yamlfile import Document


@dataclass(frozen=True)
class Prepared:
    """A plan that may be run: without errors, with its place for outputs and the clips that were asked for.

    `provider` is the name as written, `label` the one in ledger and folders. `selected` is None for all clips.
    """

    path: Path
    plan: Plan
    provider: str
    label: str
    outputs: Path
    selected: frozenset[str] | None
    warnings: tuple[Problem, ...]
    out: str | None
    """The --out that was given."""
    gone: bool = False
    """Whether the plan file is gone: then nothing is known but what the ledger holds."""
    model: str | None = None
    """The --model that was given."""

    @property
    def stem(self) -> str:
        """The plan's name in ledger and folders."""
        return self.path.stem

    @property
    def chosen(self) -> frozenset[str]:
        """The ids of the clips that were asked for."""
        return frozenset(job.id for job in self.plan.jobs) if self.selected is None else self.selected

    @property
    def budget(self) -> Money | None:
        """What this plan may ever order."""
        return self.plan.storyboard.budget


def drawing_revision(provider: str) -> int | None:
    """The revision of the animatic's renderer, which is part of its fingerprints; None for other providers."""
    if provider != "animatic":
        return None
    from storyrun.providers.animatic import RENDERER

    return RENDERER


def planned(
    path: Path, provider: str | None, model: str | None, env: Mapping[str, str], chosen: Picks | None = None
) -> tuple[Plan | None, tuple[Problem, ...], str]:
    """The plan of a file, every problem of it and of its picks, the provider by name. Raises nothing for a bad plan.

    `env` says where the provider is: a loopback base URL gives it another name in ledger and fingerprints, the host may
    decide the currency. `chosen` are the picks, instead of those in the file beside the plan. Raises `UsageError` for a
    base URL that cannot be used.
    """
    loaded = storyboard.load(path, os.fspath(path))
    board = loaded.storyboard
    if board is None or loaded.document is None:
        return None, loaded.problems, provider or "animatic"
    name = provider or board.provider or "animatic"
    written, document, found = picks.load(path, os.fspath(path)) if chosen is None else (chosen, None, ())
    plan, problems = _jobs(board, loaded.document, name, model, env, written, whole=loaded.whole)
    if document is not None and not any(each.severity == "error" for each in (*loaded.problems, *problems)):
        found = (*found, *picks.check(written, document, plan.jobs))
    everything = sorted((*loaded.problems, *problems, *found), key=lambda problem: problem.order)
    return plan, tuple(dict.fromkeys(everything)), name


def _jobs(
    board: Storyboard,
    document: Document,
    name: str,
    model: str | None,
    env: Mapping[str, str],
    chosen: Picks,
    *,
    whole: bool,
) -> tuple[Plan, tuple[Problem, ...]]:
    return jobs.plan(
        board,
        document,
        provider=name,
        label=providers.label(name, env),
        model=model,
        currency=providers.currency(name, env),
        drawing_revision=drawing_revision(name),
        whole=whole,
        chosen=chosen,
    )


def lowered(prepared: Prepared, resolution: str, scenes: frozenset[str]) -> Plan | None:
    """The plan as if `resolution` were written in these scenes; None when it would not be admitted."""
    loaded = storyboard.load(prepared.path, os.fspath(prepared.path))
    board = prepared.plan.storyboard
    if loaded.document is None or loaded.storyboard is None or loaded.storyboard.sha256 != board.sha256:
        return None
    changed = tuple(
        replace(scene, settings={**scene.settings, "resolution": Text(resolution, (*scene.where, "id"))})
        if scene.id in scenes
        else scene
        for scene in board.scenes
    )
    chosen, _, _ = picks.load(prepared.path, os.fspath(prepared.path))
    board, env = replace(board, scenes=changed), surroundings.environment()
    plan, problems = _jobs(board, loaded.document, prepared.provider, prepared.model, env, chosen, whole=loaded.whole)
    return None if any(problem.severity == "error" for problem in problems) else plan


def prepare(
    plan_file: str,
    *,
    provider: str | None = None,
    model: str | None = None,
    only: Sequence[str] = (),
    first: int | None = None,
    out: str | None = None,
    chosen: Picks | None = None,
    any_picks: bool = False,
) -> Prepared:
    """A plan ready to be run, quoted or shown. `chosen`: see `planned`. `any_picks`: picks that lead nowhere are no
    reason to refuse, for verbs that only look.

    Raises `PlanError` with every problem, `UsageError` for a bad choice.
    """
    path = Path(plan_file)
    plan, problems, name = planned(path, provider, model, surroundings.environment(), chosen)
    errors = [problem for problem in problems if problem.severity == "error"]
    if any_picks:
        errors = [problem for problem in errors if problem.code not in picks.CODES]
    if errors or plan is None:
        raise PlanError(problems)
    return Prepared(
        path=path,
        plan=plan,
        provider=name,
        label=plan.provider,
        outputs=Path(out) if out else path.parent / "outputs",
        selected=select(plan, only, first),
        warnings=problems,
        out=out,
        model=model,
    )


def without_plan(path: Path, label: str, outputs: Path, out: str | None) -> Prepared:
    """What is left of a plan whose file is gone: its name. What it ordered is in the ledger."""
    name = label.partition("@")[0]
    board = Storyboard(
        path=path,
        sha256="",
        title=path.stem,
        provider=None,
        model=None,
        defaults={},
        default_references=None,
        vars={},
        matrix=(),
        exclude=(),
        references={},
        scenes=(),
        budget=None,
        prices={},
    )
    known = cards.load(name) if name in cards.PROVIDERS else {}
    plan = Plan(board, label, (), known)
    return Prepared(path, plan, name, label, outputs, frozenset(), (), out, gone=True)


def repeated(out: str | None) -> list[str]:
    """The options that the next line to type must repeat."""
    return [] if out is None else ["--out", out]


def select(plan: Plan, only: Sequence[str], first: int | None) -> frozenset[str] | None:
    """The ids that `--only` and `--first` leave; None when neither was given. Raises `UsageError` if none is left."""
    if not only and first is None:
        return None
    ids = [job.id for job in plan.jobs]
    chosen = [clip for clip in ids if not only or any(matches(clip, wanted) for wanted in only)]
    for wanted in only:
        if not any(matches(clip, wanted) for clip in ids):
            raise UsageError(f"no clip is called {wanted}", nearest.hint(wanted, ids))
    return frozenset(chosen[:first])


def matches(clip: str, wanted: str) -> bool:
    """Whether an id is meant: to the letter, else by a pattern in which only `*` and `?` are special."""
    if clip == wanted:
        return True
    first, *rest = ("".join("." if sign == "?" else re.escape(sign) for sign in part) for part in wanted.split("*"))
    # the first place where a part fits is as good as any: to look for others would take for ever (`*a*a*a*a*b`)
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1] if part)
    pattern = f"{first}{middle}.*{rest[-1]}" if rest else first
    return re.fullmatch(pattern, clip, re.DOTALL) is not None
