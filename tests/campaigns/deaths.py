"""The process dies before and after every ledger write and every call to the provider, in turn, and is started again.

Always: no clip is booked twice unless its order is proven to have come to nothing, no half file lies about, and the
manifest is that of a run without the death, but for times, ids, and the clips that are said to be in doubt.

The fake provider plays a little of every trouble: once it can find a lost order, once it cannot, once it is free. The
three real ones talk HTTP to the sandbox, whose bill is the witness.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import manifest, providers
from storyrun.errors import FetchFailed
from storyrun.ledger import Ledger
from storyrun.records import ErrorClass
from storyrun.sandbox import PROVIDERS
from tests.campaigns.report import Report, replay
from tests.fakes import (
    READY,
    RUNNING,
    Died,
    FakeProvider,
    Fate,
    Story,
    Unplanned,
    clip_bytes,
    failing,
    lost,
    refusal,
    unsent,
)
from tests.plays import planned
from tests.rehearsal import Hurried, Served, drawn_once
from tests.stage import Stage, job, jobs_of, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storyrun.records import Job, Plan
    from storyrun.runner import Outcome

EVERY = 10
"""Every tenth point of death is tried where not all of them are (see `fated`)."""
IN_FLIGHT = 4
"""Orders that one death can leave in doubt."""


# ── a provider that plays every trouble ──────────────────────────────────────────────────────────────────────────────


def troubles() -> dict[str, list[Story]]:
    """A little of everything that ends well or at least ends."""
    cut = FetchFailed("reset", kind=ErrorClass.NETWORK)
    return {
        "unsent": [Story(unsent()), Story()],
        "limited": [Story(refusal(ErrorClass.RATE_LIMIT, retry_after=3.0)), Story()],
        "cut": [Story(fetches=[(clip_bytes()[:900], cut), clip_bytes()])],
        "short": [Story(fetches=[clip_bytes(frames=4)])],
        "moderated": [Story(refusal(ErrorClass.MODERATION))],
        "failing": [Story(polls=[RUNNING, failing(ErrorClass.PARAMETER)])],
        "lost": [Story(lost(), booked=True)],
        "same": [Story(polls=[RUNNING, READY])],
    }


JOBS = [
    *jobs_of("unsent limited cut short moderated failing lost"),
    job("same", prompt="one picture"),
    job("again", prompt="one picture"),
]

FILMED = """\
version: 1
provider: {name}
model: wan3.0-video
defaults: {{resolution: 480p, aspect_ratio: "16:9", seconds: 2}}
scenes:
  - {{id: first, prompt: Dust moves}}
  - {{id: second, prompt: Dust settles}}
  - {{id: third, prompt: The lamp goes out}}
"""


@dataclass(frozen=True)
class Setting:
    """Where deaths are tried. `finds`: a lost order can be found. `doubtful`: clips that are in doubt without any."""

    name: str
    jobs: Sequence[Job]
    finds: bool
    paid: bool = True
    doubtful: frozenset[str] = frozenset()

    def stage(self, root: Path) -> Stage:
        """A project folder where nothing has happened yet."""
        return Stage(root, FakeProvider(troubles(), finds=self.finds, paid=self.paid))

    def booked(self, stage: Stage) -> Counter[str]:
        """What was bought, by what was asked for."""
        bought: Counter[str] = stage.provider.booked()
        return bought


FAKE = (
    Setting("finds", JOBS, finds=True),
    Setting("cannot find", JOBS, finds=False, doubtful=frozenset({"lost"})),
    Setting("free", JOBS, finds=True, paid=False),
)


# ── the real ones ────────────────────────────────────────────────────────────────────────────────────────────────────


class Mortal:
    """A real provider: the process can die before and after each call."""

    def __init__(self, name: str, env: dict[str, str]) -> None:
        self.clock: Any = Hurried()
        self.fate = Fate()
        self._name, self._env = name, env
        self._real: Any = None

    def begin(self) -> None:
        """A new process has a new one."""
        self._real = providers.build(self._name, self._env, lambda _: None)

    async def aclose(self) -> None:
        await self._real.aclose()

    async def submit(self, *what: Any) -> Any:
        return await self._call("submit", what)

    async def poll(self, *what: Any) -> Any:
        return await self._call("poll", what)

    async def fetch(self, *what: Any) -> Any:
        return await self._call("fetch", what)

    async def find(self, *what: Any) -> Any:
        return await self._call("find", what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def _call(self, call: str, what: tuple[Any, ...]) -> Any:
        self.fate.step(f"before {call}")
        said = await getattr(self._real, call)(*what)
        self.fate.step(f"after {call}")
        return said


class Filming(Stage):
    """A stage on which a real provider is talked to."""

    def __init__(self, root: Path, provider: Any, plan: Plan) -> None:
        super().__init__(root, provider)
        self._cards = plan.cards

    async def perform(self, jobs: Sequence[Job], **options: Any) -> Outcome:
        self.provider.begin()
        try:
            return await super().perform(jobs, cards=self._cards, poll_interval=3.0, **options)
        finally:
            await self.provider.aclose()


@dataclass(frozen=True)
class Cloud(Setting):
    """A real provider at the sandbox, with a new account for every stage."""

    service: Any = None
    plan: Any = None

    def stage(self, root: Path) -> Stage:
        env = {**self.service.environment, f"{self.name.upper()}_API_KEY": f"sandbox-{root.name}"}
        return Filming(root, Mortal(self.name, env), self.plan)

    def booked(self, stage: Stage) -> Counter[str]:
        mine = [line for line in self.service.log.booked if line["account"] == stage.root.name]
        return Counter(_prompt(line["request"]) for line in mine)


def _prompt(request: Any) -> str:
    return str(request["input"]["prompt"] if "input" in request else request["prompt"])


@contextlib.contextmanager
def clouds(folder: Path) -> Iterator[list[Setting]]:
    """The three, at one sandbox."""
    with Served() as sandbox:
        found: list[Setting] = []
        for name in PROVIDERS:
            plan = planned(FILMED.format(name=name), folder, f"{name}.yaml")
            found.append(Cloud(name, plan.jobs, name != "tokenhub", service=sandbox, plan=plan))
        yield found


# ── one story ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Lived:
    """What is left of it when nobody starts it again."""

    stage: Stage
    deaths: list[str]
    wrong: list[str]


def lived(setting: Setting, root: Path, *fates: Fate) -> Lived:
    """Runs that meet their fates one after the other, and then runs until nothing is left to do."""
    stage = setting.stage(root)
    told = Lived(stage, [], [])
    try:
        for fate in fates:
            try:
                stage.play(setting.jobs, fate=fate, concurrency=3)
            except Died:
                told.deaths.append(fate.steps[fate.at - 1] if fate.at else "")
        for _ in range(1 if setting.paid else 2):  # what cannot be drawn waits for the next run
            stage.play(setting.jobs, concurrency=3)
    except (Exception, Unplanned) as error:  # noqa: BLE001 - whatever is raised is the finding
        told.wrong.append(f"{type(error).__name__}: {error}")
    return told


MOMENTS = ("submitted_at", "accepted_at", "ready_at", "finished_at", "task_id")
"""What of a clip's record is another one in every run."""


def record(setting: Setting, stage: Stage) -> dict[str, Any]:
    """The manifest of a stage, clip by clip, without what differs between any two runs."""
    with Ledger.open(stage.outputs.ledger_path, stage.clock) as ledger:
        view = manifest.build(
            plan=plan_of(setting.jobs, stage.path, cards=getattr(getattr(setting, "plan", None), "cards", None)),
            ledger=ledger,
            run_folder=stage.folder.path,
            plan_stem=stage.path.stem,
            provider="tokenhub",
            generator="",
            started_at=datetime(2020, 1, 1, tzinfo=UTC),
            finished_at=None,
            reused=frozenset(),
        )
    clips = {clip["id"]: {k: v for k, v in clip.items() if k not in MOMENTS} for clip in view["clips"]}
    return clips | {"": view["former"]}


def wrongs(setting: Setting, told: Lived, expected: dict[str, Any]) -> list[str]:
    """Everything that may not be after deaths."""
    stage, wrong = told.stage, list(told.wrong)
    if wrong:
        return wrong
    booked, rows, found = setting.booked(stage), stage.attempts(), record(setting, stage)
    if twice := [clip for clip, count in booked.items() if count > 1]:
        wrong.append(f"bought twice: {', '.join(twice)}")
    if left := stage.leftovers():
        wrong.append(f"lie about: {', '.join(left)}")
    unclear = {clip for clip, state in found.items() if clip and state["status"] == "unknown"} - setting.doubtful
    paid_for = {clip for clip in unclear if clip in booked or found[clip]["prompt"] in booked}
    if setting.finds and paid_for:  # only what never arrived cannot be found
        wrong.append(f"bought and not found: {', '.join(sorted(paid_for))}")
    if len(unclear) > (IN_FLIGHT + 1) * max(1, len(told.deaths)):  # `again` is `same`
        wrong.append(f"{len(unclear)} clips in doubt")
    for clip, state in expected.items():
        if clip in setting.doubtful and found[clip]["status"] != "unknown":
            wrong.append(f"{clip} is {found[clip]['status']}, and nobody can know that")
        if clip not in unclear | setting.doubtful and found[clip] != state:
            fields = [field for field in state if found[clip][field] != state[field]] if clip else ["former"]
            told_of = ", ".join(f"{field} {found[clip][field]!r}" for field in fields) if clip else found[clip]
            wrong.append(f"{clip or 'former'} is another one than without a death: {told_of}")
    known = {row.task_id for row in rows if row.task_id}
    doubts = sum(row.state == "unknown" for row in rows)
    if booked.total() > len(known) + doubts:
        wrong.append(f"{booked.total()} bought, {len(known)} known and {doubts} in doubt")
    files = {clip["file"] for name, clip in found.items() if name and clip["status"] == "done"}
    if {f"clips/{name}" for name in stage.clips()} != files:
        wrong.append(f"the clips are {stage.clips()}, the manifest has {sorted(files)}")
    return wrong


# ── all of them ──────────────────────────────────────────────────────────────────────────────────────────────────────


def fated(setting: Setting, steps: int, runs: int, seed: int) -> Iterator[list[int]]:
    """The points of death of each story: one, or one and a second in the life that recovers from it.

    In the first round the process dies once at every point, and at every tenth a second time. In the others it dies
    twice at every point. A single round is the short form: the real providers are slower than the fake one and go the
    same ways, and on the free one no money can be lost, so that for these it takes only some of the points.
    """
    real, sparse = setting not in FAKE, runs == 1
    for nth in range(runs):
        for at in range(1, steps + 1):
            tenth, third = at % EVERY == seed % EVERY, at % 3 == seed % 3
            if nth == 0 and (not sparse or (tenth if real else third or setting.paid)):
                yield [at]
            if nth > 0 or (tenth and not (real and sparse)):
                chance = Random(f"{seed}:{setting.name}:{nth}:{at}")
                yield [at, chance.randint(1, max(8, steps - at))]


def campaign(runs: int, seed: int = 0, *, stop_at_first: bool = False) -> Report:
    """`runs` rounds over all points (see `fated`); 1 is the short form."""
    figures: Counter[str] = Counter()
    violations: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="storyrun-deaths-") as root,
        pytest.MonkeyPatch.context() as patch,
        clouds(Path(root)) as filmed,
    ):
        patch.setattr("os.fsync", lambda handle: None)  # processes die here, and nobody cuts the power
        drawn_once(patch)
        for setting in (*FAKE, *filmed):
            undisturbed = Fate()
            whole = lived(setting, Path(root) / f"{setting.name}-0", undisturbed)
            expected = record(setting, whole.stage)
            steps = len(undisturbed.steps)
            figures[f"points of {setting.name}"] = steps
            for number, points in enumerate(fated(setting, steps, runs, seed), 1):
                told = lived(setting, Path(root) / f"{setting.name}-{number}", *map(Fate, points))
                figures["stories"] += 1
                figures["deaths"] += len(told.deaths)
                figures["second deaths"] += len(told.deaths) == 2
                figures["clips in doubt"] += sum(row.state == "unknown" for row in told.stage.attempts())
                place = f"{setting.name}: died {', then '.join(told.deaths)} (points {points})"
                again = replay("deaths", seed, runs)
                violations += [f"{place}: {wrong}; {again}" for wrong in wrongs(setting, told, expected)]
                shutil.rmtree(told.stage.root)
                if violations and stop_at_first:
                    return Report("deaths", runs, dict(figures), tuple(violations))
    return Report("deaths", runs, dict(figures), tuple(violations))
