"""A whole run on a stage: the ledger, the folders and the clips are real, the clock and the provider are fakes."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import disk
from storyrun.folder import Outputs
from storyrun.ledger import Ledger
from storyrun.records import Job, ModelCard, Money, Plan, ShotWindow, Storyboard
from storyrun.runner import Outcome, Policy, StopSignal, run
from tests.fakes import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from storyrun.folder import RunFolder
    from storyrun.records import Attempt, ClipEvent
    from tests.fakes import FakeProvider

MODEL = "wan2.7-t2v"


def card(**changes: Any) -> ModelCard:
    """A model card for clips of one second."""
    fields: dict[str, Any] = {
        "provider": "tokenhub", "model": MODEL, "family": "wan2.7", "modes": ("text",), "frame_rate": Fraction(8),
        "default_seconds": Fraction(1), "default_resolution": "720p", "default_ratio": "16:9", "sizes": {},
        "multi_shot": True, "shot_type_field": False, "sound": "optional", "reference_words": "name", "prices": (),
        "billed_reference_seconds": Fraction(0), "keeps_hours": 24, "free_when_failed": True, "retires": None,
        "warning": "", "sources": (), "schema": {},
    }  # fmt: skip
    return ModelCard(**(fields | changes))


def job(clip: str, *, prompt: str = "", cost: str | None = "0.10", **changes: Any) -> Job:
    """A job for a silent clip of one second, 64x36. Another prompt is another fingerprint."""
    prompt = prompt or f"the prompt of {clip}"
    fields: dict[str, Any] = {
        "id": clip, "scene": clip, "variant": {}, "take": 1, "provider": "tokenhub", "model": MODEL, "mode": "text",
        "prompt": prompt, "negative_prompt": None, "seconds": None, "resolution": None, "aspect_ratio": None,
        "seed": None, "prompt_extend": None, "watermark": None, "shot_type": None, "audio": None, "audio_file": None,
        "references": (), "first_frame": None, "last_frame": None,
        "shots": (ShotWindow(1, Fraction(0), Fraction(1), "", "", prompt, (), ""),),
        "length": Fraction(1), "frame_rate": Fraction(8), "size": (64, 36), "billed_resolution": "720p",
        "sounding": False, "stem": clip, "fingerprint": hashlib.sha256(prompt.encode()).hexdigest(),
        "quote": None if cost is None else Money(Decimal(cost), "USD"), "premise": "", "look": "",
    }  # fmt: skip
    return Job(**(fields | changes))


def plan_of(
    jobs: Iterable[Job],
    path: Path,
    provider: str = "tokenhub",
    card: ModelCard | None = None,
    cards: Mapping[str, ModelCard] | None = None,
) -> Plan:
    """A plan of these jobs, as if read from `path`. All are of one model unless there are `cards`."""
    board = Storyboard(path, "0" * 64, path.stem, provider, None, {}, None, {}, (), (), {}, (), None, {})
    return Plan(board, provider, tuple(jobs), cards or {MODEL: card or globals()["card"]()})


class MortalLedger(Ledger):
    """The real ledger; the process can die before and after each write."""

    fate = Fate()

    def order(self, **what: Any) -> Any:
        return self._mortal("order", super().order, **what)

    def record_answer(self, attempt_id: str, raw: str) -> None:
        self._mortal("record_answer", super().record_answer, attempt_id, raw)

    def move(self, attempt_id: str, to: Any, **what: Any) -> Any:
        return self._mortal(f"move to {to}", super().move, attempt_id, to, **what)

    def link(self, **what: Any) -> Any:
        return self._mortal("link", super().link, **what)

    def _mortal(self, name: str, write: Callable[..., Any], *positional: Any, **named: Any) -> Any:
        self.fate.step(f"before {name}")
        written = write(*positional, **named)
        self.fate.step(f"after {name}")
        return written


@pytest.fixture(autouse=True)
def power_stays_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes die in these tests, and nobody cuts the power: what is written need not be on the disk itself.

    Holds in every test file that imports it.
    """
    monkeypatch.setattr("os.fsync", lambda handle: None)


class Stage:
    """A project folder with its ledger: `play` is one life of the process."""

    def __init__(self, root: Path, provider: FakeProvider, plan: str = "plan") -> None:
        self.provider: Any = provider  # tests look at what their own kind of provider noted
        self.root, self.clock = root, provider.clock
        self.path = root / f"{plan}.yaml"
        self.outputs = Outputs(root / "outputs")
        self.events: list[ClipEvent] = []
        self.stop = StopSignal()

    @property
    def folder(self) -> RunFolder:
        return self.outputs.run_folder(self.path.stem, "tokenhub")

    def play(self, jobs: Sequence[Job], *, fate: Fate | None = None, **options: Any) -> Outcome:
        """Run these jobs to the end, or to the death of the process."""
        return asyncio.run(self.perform(jobs, fate=fate, **options))

    async def perform(
        self,
        jobs: Sequence[Job],
        *,
        fate: Fate | None = None,
        only: Iterable[str] | None = None,
        observe: Callable[[ClipEvent], None] | None = None,
        card: ModelCard | None = None,
        cards: Mapping[str, ModelCard] | None = None,
        free: Callable[[Path], int | None] = disk.free,
        **policy: Any,
    ) -> Outcome:
        self.provider.fate = fate or Fate()
        self.stop = StopSignal()
        folder = self.folder
        folder.prepare()
        with folder.hold(), MortalLedger.open(self.outputs.ledger_path, self.clock) as ledger:
            ledger._file.write("PRAGMA synchronous = OFF", ())  # as `power_stays_on`
            run_id = ledger.begin_run(self.path.stem, "tokenhub", f"../{self.path.name}", 1, "here")
            ledger.fate = self.provider.fate
            return await run(
                plan=plan_of(jobs, self.path, card=card, cards=cards),
                selected=frozenset(job.id for job in jobs) if only is None else frozenset(only),
                provider=self.provider,
                ledger=ledger,
                folder=folder,
                run_id=run_id,
                plan_path=f"../{self.path.name}",
                plan_folder=self.root,
                policy=Policy(**({"concurrency": 5} | policy)),
                clock=self.clock,
                jitter=lambda: 0.5,
                observe=observe or self.events.append,
                stop=self.stop,
                free=free,
            )

    def attempts(self) -> list[Attempt]:
        """Every row of this plan, as it stands."""
        with Ledger.open(self.outputs.ledger_path, self.clock) as ledger:
            return ledger.attempts(self.path.stem)

    def states(self) -> dict[str, str]:
        """The state of each clip's newest attempt."""
        return {attempt.clip: attempt.state.value for attempt in self.attempts()}

    def clips(self) -> list[str]:
        """The clips under their final names."""
        return sorted(path.name for path in self.folder.clips.glob("[!.]*"))

    def leftovers(self) -> list[str]:
        """What lies about and is no clip."""
        return sorted(path.name for path in self.folder.clips.glob(".*"))

    def told(self, clip: str) -> list[str]:
        """The kinds of event that were told of a clip."""
        return [event.kind for event in self.events if event.clip == clip]


def jobs_of(names: str) -> list[Job]:
    """A job for each name."""
    return [job(name) for name in names.split()]


def other_text(original: Job, prompt: str) -> Job:
    """The same clip with another text."""
    return replace(original, prompt=prompt, fingerprint=hashlib.sha256(prompt.encode()).hexdigest())


async def until(it_is_so: Callable[[], object]) -> None:
    """Lets others move until something is so."""
    while not it_is_so():  # noqa: ASYNC110 - those who move do not know that somebody waits for them
        await asyncio.sleep(0)
