"""`storyrun run` is killed at random instants, and started again until it is through.

A real SIGKILL ends a real process that talks to the sandbox over the network of this machine and writes a real ledger.
Each plan is 8 to 24 clips on one of the three services. Some polls do not know their task yet, some downloads are cut,
some clips are deleted between two starts, and in half of the plans some answers to creates are lost. After each kill,
and at the end, the sandbox's own bill is held against the ledger and the folder. Then a person who knows the truth
settles what is in doubt, and a last run must leave each clip made, bought once.

What chance decides is the plan's: its seed. At which line a kill hits is the machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from storyrun.sandbox.faults import FAULTS, Fault
from storyrun.sandbox.files import ranged
from tests.campaigns.report import Report, replay
from tests.campaigns.truth import Books, watched
from tests.campaigns.zygote import Crew, memory
from tests.rehearsal import Served, Stage, drawn_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storyrun.sandbox.desk import Call
    from storyrun.sandbox.tasks import Task
    from tests.campaigns.zygote import Life, Zygote

PROVIDERS = ("tokenhub", "toapis", "dashscope")
OPTIONS = ("--yes", "--poll-interval", "3", "--concurrency", "8")
ALWAYS = {"slow-answer": "0.7", "poll-404-first": "0.1", "cut-download": "0.15", "pause": "0.8"}
"""What goes wrong on every plan: none of it leaves a doubt."""
LOSSES = {"drop-answer": "0.03", "create-500-booked": "0.02"}
"""What goes wrong on every other one: a clip is bought, and the answer is lost or says nothing."""
DELETED = 0.2
"""How likely it is that somebody deletes a clip between two starts: it is to be fetched again, not bought."""

MOMENT = 0.05
"""Seconds for which a download pauses."""

KILLS = 16
"""Kills of one plan, at the most: then it may go on to its end."""
SETTLINGS = 8
"""Rounds of settling and running again: answers are lost there, too."""

ENOUGH = 5
"""Violations after which a campaign has made its point."""

SLOWEST = 5.0
START, EACH = 0.12, 0.03
"""What a start and a clip take on an idle machine, in seconds; see `_pace`."""


def campaign(runs: int, seed: int = 0, *, stop_at_first: bool = False) -> Report:
    """At least `runs` kills that hit a run at work. Plan n of a campaign is the first of the campaign `seed + n`."""
    figures: Counter[str] = Counter()
    violations: list[str] = []

    def more() -> bool:
        return figures["kills"] < runs and len(violations) < (1 if stop_at_first else ENOUGH)

    pause = Fault("a download pauses half-way", served=_pause, each=True)
    with pytest.MonkeyPatch.context() as patch, Crew(1 if runs == 1 or stop_at_first else Crew.SIZE) as crew:
        drawn_once(patch)
        watched(patch)
        patch.setitem(FAULTS, "pause", pause)
        [(pace, wrong)] = crew.play(lambda _, zygote: _pace(zygote), [seed], lambda: True)
        violations += wrong
        seeds = range(seed, seed + 3 + runs)
        for play in crew.play(lambda each, zygote: Play(each, zygote, pace).to_the_end(), seeds, more):
            figures += play.figures
            violations += play.violations
    shown = (
        "plans",
        "starts",
        "kills",
        "clips",
        "booked",
        "done",
        "unknown",
        "lost answers",
        "deleted",
        "duplicates",
        "lost",
    )
    return Report("kills", figures["kills"], {name: figures[name] for name in shown}, tuple(violations))


async def _pause(call: Call, task: Task, clip: bytes) -> web.StreamResponse:
    """Half of a clip, a moment in which a kill finds it so, and the rest."""
    whole = ranged(call.request, clip, "video/mp4")
    body = whole.body if isinstance(whole.body, bytes) else b""
    answer = web.StreamResponse(status=whole.status, headers={**whole.headers, "Content-Length": str(len(body))})
    with contextlib.suppress(ConnectionError):  # the other end may be gone
        await answer.prepare(call.request)
        await answer.write(body[: len(body) // 2])
        await asyncio.sleep(MOMENT)
        await answer.write(body[len(body) // 2 :])
    return answer


def _pace(zygote: Zygote) -> tuple[float, list[str]]:
    """How much slower than an idle machine this one is, by a plan that nobody disturbs; and what is wrong with that."""
    clips, pace = 8, SLOWEST
    with tempfile.TemporaryDirectory(dir=memory()) as folder, Served(latency=(0.0, 0.08)) as sandbox:
        stage = Stage(Path(folder), "tokenhub", sandbox, clips)
        for out in ("first", "second", "third"):  # the first one also waits for the clip to be drawn
            words = ["run", str(stage.plan), *OPTIONS, "--out", out]
            [life] = zygote.live([words], folder=stage.folder, env=sandbox.environment)
            if life.code != 0:
                why = " ".join(life.err.split())[-300:]
                leaks = f" (the key went to the result host: {sandbox.leaks[0]})" if sandbox.leaks else ""
                return pace, [
                    f"a plan that nobody disturbed ended with {life.code}{leaks}: {why}; {replay('kills', 0)}"
                ]
            pace = min(pace, life.seconds / (START + EACH * clips))
    return max(1.0, pace), []


class Play:
    """One plan, from its first start to its last clip."""

    def __init__(self, seed: int, zygote: Zygote, pace: float) -> None:
        self.seed = seed
        self._pace = pace
        self.figures: Counter[str] = Counter()
        self.violations: list[str] = []
        self._zygote = zygote
        self._chance = random.Random(f"kills:{seed}")
        self._provider = PROVIDERS[seed % len(PROVIDERS)]
        self._lossy = seed // len(PROVIDERS) % 2 == 1

    def to_the_end(self) -> Play:
        """Play it. A broken promise ends it."""
        folder = Path(tempfile.mkdtemp(prefix="storyrun-kills-", dir=memory()))
        chance = self._chance
        faults = ALWAYS | (LOSSES if self._lossy else {})
        options = {"latency": (0.0, 0.08), "slow": chance.uniform(0.005, 0.04), "faults": faults, "seed": self.seed}
        with Served(**options) as sandbox:
            self._stage = Stage(folder, self._provider, sandbox, chance.randint(8, 24))
            self._books = Books(self._stage)
            for broken in self._told():
                self._note(broken)
                break
            self._count()
        if not self.violations:
            shutil.rmtree(folder)
        return self

    def _told(self) -> Iterator[str]:
        """Each broken promise, as soon as it is."""
        yield from self._killed_on_the_way()
        for _ in range(SETTLINGS):
            yield from self._settled()
            life = self._live()
            yield from self._broken(life)
            if life.code == 0:
                break
        bought = self._books.bought()
        for clip in self._books.clips:
            if len(bought.get(clip, [])) != 1:
                yield f"{clip} is done and was bought {len(bought.get(clip, []))} times"

    def _killed_on_the_way(self) -> Iterator[str]:
        for _ in range(KILLS):
            self._delete_a_clip()
            if not self._left():
                yield from self._settled()
            if not self._left():
                return
            before = self._books.runs()
            # a kill while the plan is read harms nobody: most come later
            soonest = self._chance.choice((0, 0.6, 0.6, 0.6)) * START
            instant = self._pace * self._chance.uniform(soonest, 1.1 * (START + EACH * self._left()))
            life = self._live(kill_after=instant)
            runs = self._books.runs()
            if life.code is None and len(runs) > len(before) and runs[-1].ended is None:
                self.figures["kills"] += 1
            yield from self._broken(life)
        yield from self._broken(self._live())

    def _left(self) -> int:
        """How many clips a run would still work on."""
        through = {
            row.clip
            for row in self._books.rows()
            if row.state == "unknown"
            or (row.state == "done" and row.file.removeprefix("clips/") not in self._books.deleted)
        }
        return len(self._books.clips) - len(through)

    def _settled(self) -> Iterator[str]:
        """A person who has seen the bill says what became of what is in doubt."""
        bought = self._books.bought()
        taken = {row.task_id for row in self._books.rows()}
        for row in self._books.rows():
            if row.state != "unknown":
                continue
            self.figures["unknown"] += 1
            theirs = [task for task in bought.get(row.clip, []) if task not in taken]
            word = ["--adopt", theirs[0]] if theirs else ["--not-created"]
            for _ in range(2):  # a task that is not known at its first poll is asked for again
                life = self._live("settle", str(self._stage.plan), row.attempt, *word)
                if "does not know task" not in life.err:
                    break
            if life.code != 0:
                yield f"settle {word[0]} of {row.clip} ended with {life.code}: {life.err.strip()}"

    def _delete_a_clip(self) -> None:
        names = sorted(path.name for path in (self._stage.place / "clips").glob("[!.]*.mp4"))
        if names and self._chance.random() < DELETED:
            name = self._chance.choice(names)
            (self._stage.place / "clips" / name).unlink()
            self._books.deleted.add(name)
            self.figures["deleted"] += 1

    def _live(self, *words: str, kill_after: float | None = None) -> Life:
        self.figures["starts"] += not words
        words = words or ("run", str(self._stage.plan), *OPTIONS)
        folder, env = self._stage.folder, self._stage.sandbox.environment
        [life] = self._zygote.live([words], folder=folder, env=env, kill_after=kill_after)
        return life

    def _broken(self, life: Life) -> Iterator[str]:
        """What does not hold after a life."""
        if life.hung:
            yield "a run hung"
        if "Traceback" in life.err or life.code == 70:
            yield f"a bug of ours: {life.err.strip()[-300:]}"
        if life.code is not None:
            self._books.deleted.clear()
        yield from self._books.broken_now(life.out + life.err)
        if life.code is not None:
            yield from self._books.broken_at_the_end(life.code, life.err)

    def _note(self, sentence: str) -> None:
        sentence = " ".join(sentence.split())
        self.violations.append(
            f"seed {self.seed}, {self._provider}: {sentence} (see {self._stage.folder}); {replay('kills', self.seed)}"
        )

    def _count(self) -> None:
        rows, bought = self._books.rows(), self._books.bought()
        known = {row.task_id for row in rows}
        tasks = [task for of_clip in bought.values() for task in of_clip]
        doubtful = sum(row.state in ("sending", "unknown") for row in rows)
        self.figures["plans"] += 1
        self.figures["clips"] += len(self._books.clips)
        self.figures["booked"] += len(tasks)
        self.figures["done"] += sum(row.state == "done" for row in rows)
        self.figures["duplicates"] += sum(len(of_clip) - 1 for of_clip in bought.values())
        self.figures["lost"] += max(0, len(set(tasks) - known) - doubtful)
        booked = self._stage.sandbox.log.booked
        self.figures["lost answers"] += sum(bool(LOSSES.keys() & line["faults"]) for line in booked)
