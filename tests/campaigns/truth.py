"""What must be true of a folder and a bill, whatever was killed: read with nothing of the program under trial.

The bill is the sandbox's own file, written before it answers. Each clip has a prompt of its own, so that a line of the
bill says which clip was bought.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from storyrun.sandbox.desk import Desk
from tests import rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from aiohttp import web

    from storyrun.sandbox import Sandbox

IN_FLIGHT = 4
"""Creates that a run may have on the wire at once: so many may be in doubt after a death."""

MOST: WeakKeyDictionary[Desk, int] = WeakKeyDictionary()
"""How many creates a sandbox had before it at once, at the most."""


SECRETS = (b"sandbox-key", b"Signature=")
"""The key, and what makes a URL a signed one: neither is ever written down or printed."""

_ACCEPTED_UNREAD = """
    SELECT clip FROM attempt WHERE task_id IS NOT NULL AND answer IS NULL
    AND NOT EXISTS (SELECT 1 FROM history WHERE attempt = attempt.id AND after = 'unknown')"""
"""Accepted by the answer to its create (nobody found or adopted it), and there is no answer."""


class Row(NamedTuple):
    """An attempt as it lies in the ledger."""

    clip: str
    attempt: str
    state: str
    live: int
    task_id: str | None
    file: str
    sha256: str | None


class Run(NamedTuple):
    """A run as it lies in the ledger: who, from when to when."""

    pid: int
    began: str
    ended: str | None


class Books:
    """One plan of a sandbox: its bill and its folder."""

    def __init__(self, stage: rehearsal.Stage) -> None:
        self._stage = stage
        self._sandbox: Sandbox = stage.sandbox
        self.deleted: set[str] = set()
        """Names of clips that somebody deleted since a run ended by itself."""
        self._prompts = {
            found[2]: found[1] for found in re.finditer(r"id: (\w+), prompt: ([^}]+)}", stage.plan.read_text("utf-8"))
        }

    @property
    def clips(self) -> list[str]:
        """The ids of the clips of the plan."""
        return list(self._prompts.values())

    def bought(self) -> dict[str, list[str]]:
        """Task ids on the bill, by clip."""
        found: dict[str, list[str]] = {}
        for line in self._sandbox.log.path.read_text("utf-8").splitlines():
            entry = json.loads(line)
            if entry["event"] == "booked":
                prompt = next(filter(None, map(self._prompts.get, _texts(entry["request"]))))
                found.setdefault(prompt, []).append(entry["task_id"])
        return found

    def rows(self) -> list[Row]:
        """The attempts in the ledger; none while there is no ledger."""
        found = self._read("SELECT clip, id, state, live, task_id, file, sha256 FROM attempt ORDER BY number")
        return [Row(*row) for row in found]

    def runs(self) -> list[Run]:
        """The runs in the ledger, in the order in which they began."""
        return [Run(*row) for row in self._read("SELECT pid, started_at, ended_at FROM run ORDER BY number")]

    def _read(self, question: str) -> list[Any]:
        path = self._stage.folder / "outputs" / "ledger.sqlite"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
            return db.execute(question).fetchall()

    # ── what must hold ───────────────────────────────────────────────────────────────────────────────────────────────

    def broken_now(self, said: str) -> Iterator[str]:
        """What is wrong at any moment at which no process is at work. `said` is all that the last one printed."""
        rows, bought = self.rows(), self.bought()
        for clip, tasks in bought.items():
            if len(tasks) > 1:
                yield f"{clip} was bought {len(tasks)} times ({', '.join(tasks)})"
            known = {row.task_id for row in rows}
            doubtful = sum(row.clip == clip and row.state in ("sending", "unknown") for row in rows)
            if len(lost := [task for task in tasks if task not in known]) > doubtful:
                yield f"{clip} was bought as {lost[0]}, and the ledger does not know"
        billed = {task for tasks in bought.values() for task in tasks}
        for row in rows:
            if row.task_id is not None and row.task_id not in billed:
                yield f"{row.clip} has task {row.task_id} in the ledger, and nobody sold it"
        if (most := MOST.get(self._sandbox.desk, 0)) > IN_FLIGHT:
            yield f"{most} creates were before the provider at once"
        several = Counter(row.clip for row in rows if row.live)
        yield from (f"{clip} has {count} live attempts" for clip, count in several.items() if count > 1)
        if (doubt := sum(row.state == "sending" for row in rows)) > IN_FLIGHT:
            yield f"{doubt} creates were in flight at once"
        for clip, *_ in self._read(_ACCEPTED_UNREAD):
            yield f"{clip} was accepted, and the provider's answer was not kept"
        yield from self._broken_files(rows)
        yield from self._leaked(said)

    def _leaked(self, said: str) -> Iterator[str]:
        yield from (f"the key went to the result host: {leak}" for leak in self._sandbox.leaks)
        kept = {path.name: path for path in self._stage.folder.rglob("*") if path.is_file() and path.suffix != ".mp4"}
        texts = {name: path.read_bytes() for name, path in kept.items()} | {"what was printed": said.encode()}
        for name, text in texts.items():
            yield from (f"{secret.decode()} is in {name}" for secret in SECRETS if secret in text)

    def _broken_files(self, rows: list[Row]) -> Iterator[str]:
        served = {hashlib.sha256(clip).hexdigest() for clip in rehearsal.DRAWN.values()}
        place = self._stage.place
        found = {path.name: path for path in (place / "clips").glob("[!.]*.mp4")}
        self.deleted -= found.keys()  # fetched again
        hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}
        for name, sha in hashes.items():
            if sha not in served:
                yield f"{name} is {found[name].stat().st_size} bytes that nobody served: half a clip under a final name"
        owners = {row.file.removeprefix("clips/"): row for row in rows}
        for name in hashes.keys() - owners.keys():
            yield f"{name} belongs to nobody"
        for row in rows:
            name = row.file.removeprefix("clips/")
            if row.state == "done" and hashes.get(name) != row.sha256 and name not in self.deleted:
                yield f"{row.clip} is done, and {name} is {'another file' if name in hashes else 'not there'}"
            if name in hashes and row.state not in ("ready", "done"):
                yield f"{row.clip} is {row.state}, and has a clip under its final name"
        manifest = place / "manifest.json"
        if manifest.exists():
            try:
                json.loads(manifest.read_text("utf-8"))
            except ValueError as error:
                yield f"manifest.json is no JSON: {error}"

    def broken_at_the_end(self, code: int | None, said: str) -> Iterator[str]:
        """What is wrong when a run has just ended by itself."""
        from storyrun import validation

        rows, place = self.rows(), self._stage.place
        manifest = json.loads((place / "manifest.json").read_text("utf-8"))
        if not validation.fits(manifest, validation.schema("manifest")):
            yield "the manifest does not fit its schema"
        shown = {clip["id"]: clip["status"] for clip in manifest["clips"]}
        newest = {row.clip: row.state for row in rows}
        told = {clip: _shown(newest.get(clip)) for clip in self.clips}
        yield from (
            f"the manifest says that {clip} is {shown.get(clip)}, the ledger that it is {newest.get(clip)}"
            for clip in self.clips
            if shown.get(clip) != told[clip]
        )
        if parts := sorted(path.name for path in (place / "clips").glob(".*.part")):
            left = {f".{row.attempt}.part" for row in rows if row.state in ("accepted", "ready")}
            yield from (f"{part} was left behind" for part in parts if part not in left)
        if any(row.state == "sending" for row in rows):
            yield "an order is still being sent, and nobody is at work"
        honest = self._honest_code(set(told.values()), said)
        if code != honest:
            yield f"exit {code} where {honest} would be honest: {said.strip().splitlines()[-1:]}"

    @staticmethod
    def _honest_code(told: set[str], said: str) -> int:
        if "orders brought no usable answer" in said:
            return 5
        if told & {"unknown", "open"}:
            return 4
        return 0 if told == {"done"} else 1


def watched(patch: pytest.MonkeyPatch) -> None:
    """Have every sandbox note how many creates it has before it at once."""
    create = Desk.create
    now: Counter[int] = Counter()

    async def noted(self: Desk, dialect: Any, request: web.Request) -> web.StreamResponse:
        now[id(self)] += 1
        MOST[self] = max(MOST.get(self, 0), now[id(self)])
        try:
            return await create(self, dialect, request)
        finally:
            now[id(self)] -= 1

    patch.setattr(Desk, "create", noted)


def _shown(state: str | None) -> str:
    if state in ("sending", "unknown"):
        return "unknown"
    if state in ("accepted", "ready"):
        return "open"
    return "planned" if state is None else "done" if state == "done" else "failed"


def _texts(part: Any) -> Iterator[str]:
    """Every text in a body, wherever a dialect puts its prompt."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _texts(inner)
