"""Several runs on one folder, started at the same instant: one works, the others exit 3 at once and send nothing.

Real processes, forked behind a barrier. Every tenth time there are eight of them instead of two; a third of the plans
begin in an empty folder, and in the others something is there already: some clips made, or the first one open. Every
fifth time it is two plans of one project that order the same clips: both work, and each clip is bought once.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.campaigns.kills import ENOUGH, PROVIDERS
from tests.campaigns.report import Report, replay
from tests.campaigns.truth import Books, watched
from tests.campaigns.zygote import Crew, memory
from tests.rehearsal import DRAWN, Served, Stage, drawn_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.campaigns.zygote import Life, Zygote

FEW, MANY = 2, 8
NEIGHBOURS = 3
"""Every fifth start (the seeds that leave this) is of two plans instead of one."""
AT_ONCE = 1.0
"""Seconds within which who comes second is sent away, unless the one who works has ended before."""
CLIPS = 3
RENDERING = 0.3
"""Seconds that a clip takes: the one who works is still at it when the others knock."""
OPTIONS = ("--yes", "--poll-interval", "3")


def campaign(runs: int, seed: int = 0, *, stop_at_first: bool = False) -> Report:
    """So many simultaneous starts. The nth is the first one of the campaign `seed + n`."""
    figures: Counter[str] = Counter()
    violations: list[str] = []
    slowest = 0

    def more() -> bool:
        return len(violations) < (1 if stop_at_first else ENOUGH)

    with pytest.MonkeyPatch.context() as patch, Crew(1 if runs == 1 or stop_at_first else Crew.SIZE) as crew:
        drawn_once(patch)
        watched(patch)
        for counted, broken in crew.play(_start, range(seed, seed + runs), more):
            slowest = max(slowest, counted.pop("refusal", 0))
            figures += counted
            violations += broken
    shown = ("processes", "worked", "refused", "late", "neighbours", "booked", "duplicates")
    counts = {name: figures[name] for name in shown} | {"slowest refusal ms": slowest}
    return Report("starts", figures["starts"], counts, tuple(violations))


def _start(seed: int, zygote: Zygote) -> tuple[Counter[str], list[str]]:
    """One simultaneous start: what happened, and what does not hold."""
    figures = Counter(starts=1)
    folder = Path(tempfile.mkdtemp(prefix="storyrun-starts-", dir=memory()))
    with Served(latency=RENDERING, faults={"slow-answer": "1.0"}, slow=0.02) as sandbox:
        stage = Stage(folder, PROVIDERS[seed % len(PROVIDERS)], sandbox, CLIPS)
        if seed % 5 == NEIGHBOURS:
            found = _broken_neighbours(stage, zygote, figures)
        else:
            found = _broken(seed, stage, zygote, figures)
        broken = [" ".join(sentence.split()) for sentence in found]
    if not broken:
        shutil.rmtree(folder)
    return figures, [f"seed {seed}: {each} (see {folder}); {replay('starts', seed)}" for each in broken]


def _broken(seed: int, stage: Stage, zygote: Zygote, figures: Counter[str]) -> Iterator[str]:
    """Start them, and say what does not hold."""
    books, env = Books(stage), stage.sandbox.environment
    if seed % 3:  # something is there already
        words = ("--first", "2") if seed % 3 == 1 else ("--deadline", "0")
        zygote.live([["run", str(stage.plan), *OPTIONS, *words]], folder=stage.folder, env=env)
    earlier = len(books.runs())
    times = MANY if seed % 10 == 9 else FEW
    lives = zygote.live([["run", str(stage.plan), *OPTIONS]] * times, folder=stage.folder, env=env)
    codes = Counter(life.code for life in lives)
    worked = [life for life in lives if life.code == 0]
    refused = [life for life in lives if life.code == 3]
    figures["processes"] += times
    figures["worked"] += bool(worked)
    figures["late"] += max(0, len(worked) - 1)
    figures["refused"] += len(refused)
    figures["refusal"] = max((round(1000 * life.seconds) for life in refused), default=0)
    if set(codes) - {0, 3} or not worked:
        strange = [life.err[-300:] for life in lives if life.code not in (0, 3)]
        yield f"they ended with {dict(codes)}: {strange[:1]}"
    yield from _overlapping(books, earlier, worked)
    end = max((life.seconds for life in worked), default=0.0)
    for life in refused:
        if life.seconds > max(AT_ONCE, end):
            yield f"who came second was sent away only after {life.seconds:.1f} s"
        if "nothing was sent" not in life.err:
            yield f"who came second was not told that nothing was sent: {life.err}"
    yield from _bought_once(books, figures)
    yield from books.broken_now("".join(life.out + life.err for life in lives))
    yield from books.broken_at_the_end(0, "")


def _broken_neighbours(stage: Stage, zygote: Zygote, figures: Counter[str]) -> Iterator[str]:
    """Two plans of one project with the same clips: both are made, and nothing is bought for both."""
    books = Books(stage)
    other = stage.plan.with_name("other.yaml")
    other.write_text(stage.plan.read_text("utf-8"), encoding="utf-8")
    commands = [["run", str(plan), *OPTIONS] for plan in (stage.plan, other)]
    lives = zygote.live(commands, folder=stage.folder, env=stage.sandbox.environment)
    figures["processes"] += len(lives)
    figures["neighbours"] += sum(life.code == 0 for life in lives)
    for life in lives:
        if life.code != 0:
            yield f"a neighbour ended with {life.code}: {life.err[-300:]}"
    yield from _bought_once(books, figures)
    for plan in (stage.plan, other):
        made = stage.folder.glob(f"outputs/{plan.stem}/*/clips/[!.]*.mp4")
        contents = [path.read_bytes() for path in made]
        if len(contents) != CLIPS or not set(contents) <= set(DRAWN.values()):
            yield f"{plan.name} has {len(contents)} clips of {CLIPS}, or half ones"


def _bought_once(books: Books, figures: Counter[str]) -> Iterator[str]:
    bought = books.bought()
    figures["booked"] += sum(map(len, bought.values()))
    figures["duplicates"] += sum(len(tasks) - 1 for tasks in bought.values())
    for clip in books.clips:
        if (times := len(bought.get(clip, []))) != 1:
            yield f"{clip} was bought {times} times"


def _overlapping(books: Books, earlier: int, worked: list[Life]) -> Iterator[str]:
    """Whoever exits 0 had the folder for itself: who comes late may find it free again, and all clips made."""
    runs = sorted(books.runs()[earlier:], key=lambda run: run.began)
    if sorted(run.pid for run in runs) != sorted(life.pid for life in worked):
        yield f"runs of {[run.pid for run in runs]} are in the ledger, and {[life.pid for life in worked]} worked"
    for run, following in pairwise(runs):
        if run.ended is None or following.began < run.ended:
            yield f"two runs were at work in one folder: {run} and {following}"
