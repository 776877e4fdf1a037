"""Every fault that the sandbox can play, on every provider, through the command line. Its bill is the witness.

Run 0 plays each fault on one clip, as often as `TABLE` says, and everything must end as it says there. In the others
chance picks how often it happens, and to how many clips; then the states must be among those of the table, and the exit
code the one that the ledger asks for. Every fault applies to every provider, so that no cell is left out.

Always: nothing is bought twice, nothing bought is lost, no key or signed URL is in any file or output, the manifest is
valid. When the fault is gone, a second run finishes what can be finished.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import retry
from storyrun.http import DownloadClient, api, downloads
from storyrun.records import State
from storyrun.sandbox import FAULTS, PROVIDERS
from storyrun.sandbox.chances import Chances
from tests.campaigns.report import Report, replay
from tests.rehearsal import Hurried, opening

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from storyrun.records import Attempt
    from tests.rehearsal import Ran, Stage

PATIENCE = 60.0
"""Seconds after which a run gives up on what puzzles it, here."""
LARGEST = 300_000
"""Bytes of the largest clip, here."""


@dataclass(frozen=True)
class Ends:
    """How a run ends: exit code, the states of all attempts in their order, how many clips the bill has."""

    code: int
    states: str
    booked: int = 1


@dataclass(frozen=True)
class Cell:
    """What becomes of one clip under one fault, and in the run after the fault is gone.

    `says`: said, or in the manifest. `also`: how a clip may stand after the first run when there are several. `unless`
    is for providers where it ends otherwise.
    """

    first: Ends
    then: Ends
    says: str = "c1 made"
    chance: str = "1"
    words: str = ""
    latency: float = 0.0
    also: str = ""
    unless: Mapping[str, tuple[Ends, Ends, str]] = field(default_factory=dict)

    def on(self, provider: str) -> Cell:
        """The cell of one provider."""
        first, then, says = self.unless.get(provider, (self.first, self.then, self.says))
        return replace(self, first=first, then=then, says=says)


DONE = Ends(0, "done")
FINE = Cell(DONE, DONE)
TWICE = replace(FINE, chance="2x")
REFUSED = Ends(1, "rejected", 0)
UNKNOWN = Ends(4, "unknown")
OPEN = Ends(4, "accepted")
WAITS = "c1 still open: "


def _lost(says: str) -> Cell:
    """Booked, and the answer is no good: ToAPIs finds it by our id, DashScope in its list, TokenHub nowhere."""
    return Cell(DONE, DONE, also="unknown", unless={"tokenhub": (UNKNOWN, UNKNOWN, says)})


def _refused(says: str) -> Cell:
    """Refused as it is: the same text is not sent again."""
    return Cell(REFUSED, REFUSED, f"Nothing was bought. {says}")


def _stopped(says: str) -> Cell:
    return Cell(Ends(5, "rejected", 0), Ends(0, "rejected done"), f"stopped: {says}")


def _no_clip(says: str) -> Cell:
    return Cell(Ends(4, "ready"), DONE, f"{WAITS}not there yet: {says}")


def _other(says: str) -> Cell:
    """Another clip than was ordered: it is what was bought, and a person decides."""
    return Cell(Ends(1, "done"), Ends(1, "done"), f"not as ordered: {says}")


UNCLEAR = Cell(Ends(4, "unknown", 0), Ends(4, "unknown", 0), "may be bought")
FAILED = Cell(Ends(1, "failed"), Ends(0, "failed done", 2), "the next run orders again")

TABLE: dict[str, Cell] = {
    # a create is not booked
    "429": Cell(Ends(0, "rejected rejected rejected done"), Ends(0, "rejected rejected rejected done"), chance="3x"),
    "429-date": Cell(Ends(0, "rejected rejected done"), Ends(0, "rejected rejected done"), chance="2x"),
    "bad-key": _stopped("the provider refused the key"),
    "no-balance": _stopped("the account has no balance left"),
    "moderation": _refused("Change the text"),
    "invalid": _refused("Change what is named here"),
    "echo": Cell(REFUSED, REFUSED, "Bearer ***"),
    "create-500-unbooked": UNCLEAR,
    "create-307": Cell(REFUSED, Ends(0, "rejected done"), "orders are not sent after redirects. Nothing was bought"),
    "reset-unbooked": UNCLEAR,
    # a create is booked, and the answer is no good
    "create-500-booked": _lost("InternalError: An internal error has occured"),
    "drop-answer": _lost("no usable answer from"),
    "reset-after-read": _lost("Connection reset"),
    "cut-answer": _lost("no usable answer from"),
    "slow-answer": _lost("no usable answer from"),
    "html-200": _lost("an answer that says neither yes nor no (HTTP 200)"),
    "no-id": _lost("an answer that says neither yes nor no (HTTP 200)"),
    # polls
    "other-shape": FINE,
    "poll-404-first": FINE,
    "poll-500": TWICE,
    "poll-429": TWICE,
    "poll-html": TWICE,
    "poll-reset": TWICE,
    "odd-status": replace(FINE, latency=0.2),
    "status-back": replace(FINE, latency=0.2),
    "success-without-url": Cell(OPEN, DONE, f"{WAITS}the provider says it is done and gives no clip"),
    "url-later": FINE,
    "stuck": Cell(OPEN, DONE, f"{WAITS}the provider says", words="--deadline 20"),
    "other-task-id": Cell(OPEN, DONE, "was asked for: it is not used", words="--deadline 20"),
    "failed": FAILED,
    "failed-no-reason": FAILED,
    "bills-more": FINE,
    "bills-failed": FAILED,
    "failed-moderation": Cell(Ends(1, "failed"), Ends(1, "failed"), "Change the text"),
    # clips
    "wrong-length": _other("1 s of 2"),
    "wrong-size": _other("640x480 instead of 832x480"),
    "silent": _other("is silent"),
    "silence": _other("c1 is silent"),
    "black": _other("c1 is black all the time"),
    "frozen": _other("c1 stands still all the time"),
    "no-cuts": FINE,  # these clips have one shot
    "zero-bytes": _no_clip("the file is empty"),
    "html-video": _no_clip("the file is a web page or XML, not a video"),
    "truncated-video": _no_clip("the file is cut off"),
    "cut-download": replace(TWICE, also="ready"),  # after five downloads
    "gzip-bomb": _no_clip("the clip comes compressed, which nobody asked for"),
    "endless-body": _no_clip(f"the clip is larger than {LARGEST} bytes"),
    "slow-drip": _no_clip("the download has stalled"),
    "redirect-loop": _no_clip("more than 3 redirects"),
    "redirect-elsewhere": FINE,
    "redirect-inside": _no_clip("the result is not on a public address"),
    "url-expired-first": FINE,
}

NEXT = {
    "unknown": "--adopt ID | --not-created",
    "accepted": "storyrun fetch",
    "ready": "storyrun fetch",
}
"""What a person is told to type next."""

LASTING = frozenset({"moderation", "parameter"})
"""What is not ordered again as it is."""


# ── what must be true whatever happened ──────────────────────────────────────────────────────────────────────────────


def prompt(request: Any) -> str:
    """What a body asks for."""
    return str(request["input"]["prompt"] if "input" in request else request["prompt"])


def money_wrong(stage: Stage) -> list[str]:
    """Where bill and ledger differ: bought twice, lost, or made up."""
    rows, bill = stage.attempts, stage.sandbox.log.booked
    known = {row.task_id for row in rows if row.task_id}
    wrong = []
    for text, count in Counter(prompt(line["request"]) for line in bill).items():
        mine = [row for row in rows if row.job["prompt"] == text]
        over = sum(row.state in (State.FAILED, State.SUPERSEDED) for row in mine)
        if count > over + 1:
            wrong.append(f"`{text}` was bought {count} times, and {over} of them failed")
        lost = sum(prompt(line["request"]) == text and line["task_id"] not in known for line in bill)
        if lost > sum(row.state is State.UNKNOWN for row in mine):
            wrong.append(f"`{text}`: {lost} bought that the ledger does not know")
    if strange := known - {line["task_id"] for line in bill}:
        wrong.append(f"nobody bought {', '.join(strange)}")
    files = [file for file in stage.files() if file.endswith(".mp4")]
    if len(files) != sum(row.state is State.DONE for row in rows):
        wrong.append(f"the clips are {files}")
    return wrong


def newest(rows: list[Attempt]) -> dict[str, Attempt]:
    """How each clip stands."""
    return {row.clip: row for row in rows}


def code_of(stage: Stage, clips: int, *, stopped: bool) -> int:
    """The exit code that the ledger asks for."""
    states = newest(stage.attempts)
    if stopped:
        return 5
    if any(row.state in (State.UNKNOWN, State.ACCEPTED, State.READY, State.EXPIRED) for row in states.values()):
        return 4
    return 0 if sum(row.state is State.DONE and not row.problems for row in states.values()) == clips else 1


def calmed(stage: Stage) -> None:
    """The fault is gone, also from the tasks that have it."""
    desk = stage.sandbox.desk
    desk.chances = Chances({}, 0)
    for task in desk.tasks:
        task.faults = frozenset()


# ── one cell ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def sure(stage: Stage, cell: Cell) -> list[str]:
    """One clip, and everything as the table has it."""
    wrong = []
    for nth, (ends, words) in enumerate(((cell.first, cell.words), (cell.then, ""))):
        ran = stage.run(*words.split())
        found = Ends(ran.code, " ".join(stage.states), stage.booked)
        if found != ends:
            wrong.append(f"the {('first', 'second')[nth]} run ends as {found} instead of {ends}: {ran.said[-400:]}")
        if nth == 0 and ran.code == 4 and NEXT[stage.states[-1]] not in ran.said:
            wrong.append(f"the next line to type is not told: {ran.said[-400:]}")
        if nth == 0 and sum(part.stat().st_size for part in stage.place.rglob("*.part")) > 2_000_000:
            wrong.append("half clips lie about that nobody bounds")
        if nth == 0 and cell.says not in ran.said + str(stage.manifest["clips"][0]["error"]):
            wrong.append(f"`{cell.says}` is not said: {ran.said[-400:]}")
        if stage.creates != len(ends.states.split()):
            wrong.append(f"{stage.creates} orders arrived")
        wrong += money_wrong(stage)
        calmed(stage)
    return wrong


def chancy(stage: Stage, cell: Cell, clips: int, chance: Random) -> list[str]:
    """Several clips, and the fault now and then."""
    width = ("--concurrency", str(chance.randint(1, 4)))
    ran = stage.run(*width, *cell.words.split())
    may = {*cell.first.states.split(), *cell.then.states.split(), *cell.also.split(), "done"}
    wrong = [f"{row.clip} is {row.state}" for row in stage.attempts if row.state not in may]
    wrong += _told_wrong(stage, ran, clips, stops=cell.first.code == 5 or "unknown" in may)
    calmed(stage)
    ran = stage.run(*width)
    wrong += _told_wrong(stage, ran, clips, stops=False)
    last = {*cell.then.states.split()[-1:], "done"}
    for clip, row in newest(stage.attempts).items():
        refused = row.failure is not None and row.failure.kind in LASTING
        if row.state not in last or (row.state in (State.REJECTED, State.FAILED) and not refused):
            wrong.append(f"the fault is gone, and {clip} is {row.state}")
    if len(newest(stage.attempts)) != clips:
        wrong.append(f"the fault is gone, and {len(newest(stage.attempts))} of {clips} clips were ordered")
    return wrong


def _told_wrong(stage: Stage, ran: Ran, clips: int, *, stops: bool) -> list[str]:
    stopped = stops and "stopped: " in ran.said
    wrong = money_wrong(stage)
    if (code := code_of(stage, clips, stopped=stopped)) != ran.code:
        wrong.append(f"exit code {ran.code} where the ledger asks for {code}: {ran.said[-400:]}")
    return wrong


class _Kept(logging.Handler):
    """What the sandbox's own server complains of."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def _quick() -> Iterator[tuple[pytest.MonkeyPatch, Any]]:
    """Everything that waits for a slow server does so for moments."""
    kept = _Kept()
    logging.getLogger("aiohttp.server").addHandler(kept)
    assert DownloadClient.__init__.__kwdefaults__ is not None
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retry, "MISSING_PATIENCE", PATIENCE)
            patch.setattr(downloads, "RATE_WINDOW", 0.1)
            patch.setitem(DownloadClient.__init__.__kwdefaults__, "max_bytes", LARGEST)
            patch.setattr("os.fsync", lambda handle: None)  # nobody cuts the power
            yield patch, kept
    finally:
        logging.getLogger("aiohttp.server").removeHandler(kept)


def played(provider: str, fault: str, number: int) -> list[str]:
    """One cell once: what is wrong with it. Run 0 goes by the table, the others by chance."""
    cell = TABLE[fault].on(provider)
    chance = Random(f"{fault}:{provider}:{number}")
    how_often, clips, latency = cell.chance, 1, (cell.latency, cell.latency)
    if number:
        for_ever = () if cell.chance != "1" else ("1+", "3+")  # what is waited out must end some day
        how_often, clips = chance.choice(("0.2", "0.5", "0.8", "1x", "2x", *for_ever)), chance.randint(2, 5)
        latency = (0.0, chance.choice((0.02, 0.1, 0.2)))
    try:
        with tempfile.TemporaryDirectory(prefix="storyrun-matrix-") as folder, _quick() as (patch, kept):
            if fault == "slow-answer":
                patch.setattr(api, "CREATE_READ", 0.2)
            with opening(Path(folder), patch, kept) as cloud:
                options: dict[str, Any] = {"faults": {fault: how_often}, "latency": latency, "seed": number}
                stage = cloud(provider, clips=clips, clock=Hurried(), **options)
                return chancy(stage, cell, clips, chance) if number else sure(stage, cell)
    except Exception as error:  # noqa: BLE001 - whatever is raised is the finding
        return [f"{type(error).__name__}: {str(error)[-400:]}"]


def campaign(runs: int, seed: int = 0, *, stop_at_first: bool = False) -> Report:
    """Every cell `runs` times, run number `seed` first (see `played`)."""
    figures: Counter[str] = Counter()
    violations = [f"{fault} is not in the table" for fault in FAULTS if fault not in TABLE]
    violations += [f"there is no fault {fault}" for fault in TABLE if fault not in FAULTS]
    for number in range(seed, seed + runs):
        for fault in TABLE:
            for provider in PROVIDERS:
                for wrong in played(provider, fault, number):
                    violations.append(f"{fault} on {provider}: {wrong}; {replay('matrix', number)}")
                figures["cells"] += 1
                if violations and stop_at_first:
                    return Report("matrix", runs, dict(figures), tuple(violations))
    figures["faults"], figures["providers"] = len(TABLE), len(PROVIDERS)
    return Report("matrix", runs, dict(figures), tuple(violations))
