"""Real plans and real ledgers for the tests of what is told of them: quote, manifest, show."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from storyrun import jobs, storyboard
from storyrun.folder import Outputs, RunFolder
from storyrun.ledger import Ledger
from storyrun.records import Attempt, ErrorClass, Failure, Job, MediaInfo, Money, Plan, State

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 20, 21, 40, tzinfo=UTC)
REVISION = 1
"""Of a renderer that nobody draws with here."""

SPOT = """
    version: 1
    title: Halden Cold Brew, autumn spot
    provider: dashscope
    model: wan2.7
    budget: {max: 12, currency: USD}
    defaults:
      resolution: 720p
      aspect_ratio: "{{ format.ratio }}"
      look: soft morning light
    matrix:
      format:
        - {id: wide, ratio: "16:9"}
        - {id: tall, ratio: "9:16"}
    scenes:
      - id: hook
        seconds: 4
        prompt: Cold brew drips into a glass
      - id: pour
        shots:
          - seconds: 3
            framing: close-up
            action: a hand lifts the can
          - seconds: 2
            action: coffee pours over ice
      - id: sip
        seconds: 5
        prompt: She takes a first sip and smiles
    """

FAILURES = {
    State.FAILED: Failure(ErrorClass.PROVIDER, "InternalError", "try later"),
    State.REJECTED: Failure(ErrorClass.MODERATION, "DataInspectionFailed", "inappropriate content"),
    State.NOT_SENT: Failure(ErrorClass.NETWORK, "", "no connection"),
    State.UNKNOWN: Failure(ErrorClass.NETWORK, "", "the answer was lost"),
    State.EXPIRED: Failure(ErrorClass.EXPIRED, "", "kept for 24 hours"),
}

WAYS = {
    State.SENDING: (),
    State.UNKNOWN: (State.UNKNOWN,),
    State.ACCEPTED: (State.ACCEPTED,),
    State.READY: (State.ACCEPTED, State.READY),
    State.DONE: (State.ACCEPTED, State.READY, State.DONE),
    State.EXPIRED: (State.ACCEPTED, State.EXPIRED),
    State.ABANDONED: (State.UNKNOWN, State.ABANDONED),
    State.FAILED: (State.ACCEPTED, State.FAILED),
    State.REJECTED: (State.REJECTED,),
    State.NOT_SENT: (State.NOT_SENT,),
    State.SUPERSEDED: (State.ACCEPTED, State.READY, State.DONE, State.SUPERSEDED),
}
"""How an attempt gets to each state."""


class Ticking:
    """A clock on which every look is a second later."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> datetime:
        self.looks += 1
        return START + timedelta(seconds=self.looks)

    def monotonic(self) -> float:
        return float(self.looks)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits here")


def planned(text: str, folder: Path, name: str = "spot.yaml", **choice: Any) -> Plan:
    """The plan of a YAML text, which must be without errors. `choice`: provider, model."""
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    loaded = storyboard.load(path, name)
    assert loaded.storyboard is not None, loaded.problems
    assert loaded.document is not None
    provider = choice.get("provider") or loaded.storyboard.provider or "animatic"
    plan, problems = jobs.plan(
        loaded.storyboard,
        loaded.document,
        provider=provider,
        label=provider,
        model=choice.get("model"),
        currency=None,
        drawing_revision=choice.get("revision", REVISION) if provider == "animatic" else None,
    )
    errors = [problem for problem in (*loaded.problems, *problems) if problem.severity == "error"]
    assert not errors, errors
    return plan


class Shop:
    """A project folder with its ledger, in which attempts can be brought to any state. The clips are no videos."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outputs = Outputs(folder / "outputs")
        self.outputs.root.mkdir()
        self.ledger = Ledger.open(self.outputs.ledger_path, Ticking())
        self.runs: dict[tuple[str, str], str] = {}

    def place(self, stem: str = "spot", provider: str = "dashscope") -> RunFolder:
        """The run folder of a plan, made."""
        place = self.outputs.run_folder(stem, provider)
        place.clips.mkdir(parents=True, exist_ok=True)
        return place

    def bring(self, job: Job, state: State, *, stem: str = "spot", **details: Any) -> Attempt:
        """Order a job and take it to a state. `details` go into the last move; `free` and `request` into the order."""
        name = f"{stem}.yaml"
        run = self.runs.get((stem, job.provider))
        if run is None:
            run = self.runs[stem, job.provider] = self.ledger.begin_run(stem, job.provider, name, 1, "here")
        attempt = self.ledger.order(
            run=run,
            plan=stem,
            plan_path=f"../{name}",
            provider=job.provider,
            job=jobs.as_dict(job),
            request=details.pop("request", {"model": job.model, "input": {"prompt": job.prompt}}),
            account="",
            reserved=details.pop("reserved", job.quote),
            free_when_failed=details.pop("free", False),
            budget=None,
            run_ceiling=None,
        )
        for step in WAYS[state]:
            what: dict[str, Any] = {"task_id": f"task-{attempt.number}"} if step is State.ACCEPTED else {}
            if step is State.DONE:
                what |= self._clip(attempt, job)
            if step in FAILURES:
                what["failure"] = FAILURES[step]
            attempt = self.ledger.move(attempt.id, step, **(what | (details if step is state else {})))
        return attempt

    def _clip(self, attempt: Attempt, job: Job) -> dict[str, Any]:
        file = self.place(attempt.plan, attempt.provider).path / attempt.file
        file.write_bytes(b"a clip")
        media = MediaInfo(job.length, 1280, 720, Fraction(30), int(job.length * 30), "h264", "aac")
        return {"media": media, "sha256": f"{attempt.number:064x}", "bytes": 6}


def priced(job: Job, amount: str | None, currency: str = "USD") -> Job:
    """The job at another price."""
    from decimal import Decimal

    return replace(job, quote=None if amount is None else Money(Decimal(amount), currency))
