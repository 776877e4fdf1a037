"""What people chose after they had seen the clips: `<plan stem>.picks.yaml` beside the plan, made to be versioned.

version: 1
picks:
  hook[format=tall]: 2      the take that goes into the film
takes:
  hook[format=tall]: 4      there are four of it, whatever the plan says

Clips are named by their id without the take. The plan and this file together say what exists.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from storyrun import validation, yamlfile
from storyrun.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from storyrun.records import Job, Problem
    from storyrun.yamlfile import Document

CODES = {
    "SR280": "a pick of a clip or take that does not exist",
    "SR281": "more takes of a clip that the plan does not make",
}

HEAD = "# written by storyrun pick and storyrun retake: the takes that people chose, and those they ordered besides\n"

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*(\[[A-Za-z0-9_.\-=,]*\])?")
"""Ids that YAML reads as they stand."""


@record
class Picks:
    """The choices about one plan: `chosen` is {clip: take}, `takes` {clip: how many there are}. Both may be empty."""

    chosen: Mapping[str, int]
    takes: Mapping[str, int]

    @property
    def clips(self) -> frozenset[str]:
        """The ids of the chosen clips, with their takes."""
        return frozenset(with_take(clip, take) for clip, take in self.chosen.items())


NONE = Picks({}, {})


def path_of(plan: Path) -> Path:
    """Where the picks of a plan lie."""
    return plan.with_name(f"{plan.stem}.picks.yaml")


def without_take(clip: str) -> str:
    """The id of a clip without its take: what all its takes have in common."""
    return re.sub(r"#[1-9][0-9]*$", "", clip)


def with_take(clip: str, take: int) -> str:
    """The id of one take of a clip."""
    return f"{clip}#{take}" if take > 1 else clip


def load(plan: Path, shown: str) -> tuple[Picks, Document | None, tuple[Problem, ...]]:
    """The picks of a plan file, what they were read from, and what is wrong with that. No file: no picks.

    `shown` is the plan's name for people. What is wrong is left out.
    """
    path = path_of(plan)
    if not path.is_file():
        return NONE, None, ()
    named = shown.removesuffix(plan.name) + path.name if shown.endswith(plan.name) else path.name
    document, problems = yamlfile.read(path, named)
    if document is None:
        return NONE, None, problems
    found = validation.violations(document.data, "picks")
    judged = [document.problem(each.where, each.code, each.sentence, each.hint, key=each.key) for each in found]
    if found or not isinstance(document.data, dict):
        return NONE, document, (*problems, *judged)
    return Picks(_numbers(document.data, "picks"), _numbers(document.data, "takes")), document, problems


def check(picks: Picks, document: Document, jobs: Sequence[Job]) -> Iterator[Problem]:
    """Problems of picks that lead nowhere. `jobs` are all jobs of a plan in which nothing is wrong."""
    known: dict[str, int] = {}
    for job in jobs:
        known[without_take(job.id)] = max(job.take, known.get(without_take(job.id), 0))
    for clip, take in picks.chosen.items():
        where = ("picks", clip)
        if clip not in known:
            sentence = f"there is no clip `{clip}` to pick"
            yield document.problem(where, "SR280", sentence, _hint(clip, known, picks), key=True)
        elif take > known[clip]:
            there = "one take" if known[clip] == 1 else f"{known[clip]} takes"
            sentence = f"take `{take}` of {clip} is picked, and there {'is' if known[clip] == 1 else 'are'} {there}"
            yield document.problem(where, "SR280", sentence, "pick another with `storyrun pick`, or remove this line")
    for clip in picks.takes:
        if clip not in known:
            sentence = f"there is no clip `{clip}` to have more takes of"
            yield document.problem(("takes", clip), "SR281", sentence, _hint(clip, known, picks), key=True)


def written(picks: Picks, order: Iterable[str]) -> bytes:
    """The file for these picks, with clips in the order of the ids in `order`, others after them."""
    places = {without_take(clip): place for place, clip in enumerate(order)}
    lines = [HEAD, "version: 1\n"]
    for name, entries in (("picks", picks.chosen), ("takes", picks.takes)):
        if entries:
            lines.append(f"{name}:\n")
            ordered = sorted(entries, key=lambda clip: (places.get(clip, len(places)), clip))
            lines += [f"  {_key(clip)}: {entries[clip]}\n" for clip in ordered]
    return "".join(lines).encode()


def _numbers(data: Mapping[str, Any], name: str) -> dict[str, int]:
    entries = data.get(name)
    return {clip: int(take) for clip, take in entries.items()} if isinstance(entries, dict) else {}


def _hint(clip: str, known: Iterable[str], picks: Picks) -> str:
    """What to do. A clip that merely has a similar name is no suggestion: who follows it orders more of that one."""
    from difflib import get_close_matches

    free = [each for each in known if each not in picks.chosen and each not in picks.takes]
    near = get_close_matches(clip, free, n=1, cutoff=0.85)
    renamed = f"did you mean `{near[0]}`? " if near else ""
    return f"{renamed}if it was renamed, write its new id here; `storyrun pick PLAN --undo` drops what leads nowhere"


def _key(clip: str) -> str:
    return clip if _PLAIN.fullmatch(clip) else json.dumps(clip, ensure_ascii=False)
