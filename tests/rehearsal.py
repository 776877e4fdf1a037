"""The whole program against the sandbox: the command line in this process, the three services in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from storyrun import validation
from storyrun.cli import main
from storyrun.ledger import Ledger
from storyrun.sandbox import Sandbox
from storyrun.sandbox.clips import Clips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    import pytest

    from storyrun.records import Attempt

SPEED = 300.0

BOUND = 20.0
"""Seconds in which the sandbox starts and ends."""


class Hurried:
    """A clock on which waiting is short: five minutes are a second. The date is the real one, files are dated by it."""

    def now(self) -> datetime:
        return datetime.now(tz=UTC)

    def monotonic(self) -> float:
        return time.monotonic() * SPEED

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


class Served:
    """A sandbox in a thread of its own, while the block lasts."""

    def __init__(self, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.sandbox = Sandbox(tiny=True, **options)

    def __enter__(self) -> Sandbox:
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self.sandbox.__aenter__(), self._loop).result(BOUND)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.sandbox.__aexit__(kind, error, trace), self._loop).result(BOUND)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


DRAWN: dict[str, bytes] = {}


def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips that look the same are drawn once for all sandboxes of a test run."""
    draw = Clips._draw

    async def kept(self: Clips, name: str, form: Mapping[str, Any]) -> Path:
        path = self._folder / f"{name}.mp4"
        if name in DRAWN:
            path.write_bytes(DRAWN[name])
        else:
            path = await draw(self, name, form)
            DRAWN[name] = path.read_bytes()
        return path

    monkeypatch.setattr(Clips, "_draw", kept)


@contextlib.contextmanager
def opening(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Stage]]:
    """Opens services: `cloud("toapis", clips=2, faults={...})`. What breaks in the sandbox itself fails the test."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("storyrun.cli.performing.SystemClock", Hurried)
    with contextlib.ExitStack() as stack:
        drawn_once(monkeypatch)

        def cloud(provider: str, clips: int = 1, **options: Any) -> Stage:
            sandbox = stack.enter_context(Served(**options))
            for name, value in sandbox.environment.items():
                monkeypatch.setenv(name, value)
            return Stage(folder, provider, sandbox, clips)

        yield cloud
    assert [record.getMessage() for record in caplog.records if record.name == "aiohttp.server"] == []


@dataclass(frozen=True)
class Ran:
    """What a command line came to. `said` is all that it printed, folded into one line."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return " ".join((self.out + " " + self.err).split())


def typed(*words: str) -> Ran:
    """The command line with these words."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(words))
    return Ran(code, out.getvalue(), err.getvalue())


SMALLEST = """\
version: 1
title: A rehearsal
provider: {provider}
model: wan3.0-video
defaults: {{resolution: 480p, aspect_ratio: "16:9", seconds: 2}}
scenes:
"""


class Stage:
    """One plan on one service of a sandbox."""

    def __init__(self, folder: Path, provider: str, sandbox: Sandbox, clips: int = 1) -> None:
        self.folder, self.provider, self.sandbox = folder, provider, sandbox
        scenes = "".join(f"  - {{id: c{n}, prompt: Dust moves in light {n}}}\n" for n in range(1, clips + 1))
        self.plan = folder / "plan.yaml"
        self.plan.write_text(SMALLEST.format(provider=provider) + scenes, encoding="utf-8")

    def run(self, *words: str) -> Ran:
        """Make the plan; whatever comes of it, the manifest is valid and no key is in anything that is kept or said."""
        ran = typed("run", str(self.plan), "--yes", "--poll-interval", "5", *words)
        self.check(ran)
        return ran

    def fetch(self, *words: str) -> Ran:
        """Collect what is open."""
        ran = typed("fetch", str(self.plan), *words)
        self.check(ran)
        return ran

    def check(self, ran: Ran) -> None:
        """What holds after every run."""
        assert "Traceback" not in ran.said
        assert ran.code != 70, ran.said
        for file in self.folder.rglob("*"):
            kept = file.read_bytes() if file.is_file() else b""
            assert b"sandbox-key" not in kept, file
            assert b"Signature=" not in kept, file
        assert "sandbox-key" not in ran.said
        assert "Signature=" not in ran.said
        assert self.sandbox.leaks == []
        assert validation.fits(self.manifest, validation.schema("manifest"))

    @property
    def label(self) -> str:
        return f"{self.provider}@127.0.0.1-{self.sandbox.port}"

    @property
    def place(self) -> Path:
        return self.folder / "outputs" / "plan" / self.label

    @property
    def manifest(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.place / "manifest.json").read_text("utf-8"))
        return read

    @property
    def attempts(self) -> list[Attempt]:
        """The rows of the ledger."""
        ledger = Ledger.peek(self.folder / "outputs" / "ledger.sqlite", Hurried())
        assert ledger is not None
        with ledger:
            return ledger.attempts()

    @property
    def states(self) -> list[str]:
        return [str(attempt.state) for attempt in self.attempts]

    @property
    def booked(self) -> int:
        """Clips that were bought."""
        return len(self.sandbox.log.booked)

    @property
    def creates(self) -> int:
        """Orders that arrived."""
        return self.sandbox.counts["create"]

    def statuses(self) -> list[str]:
        return [clip["status"] for clip in self.manifest["clips"]]

    def files(self) -> list[str]:
        """Everything under `clips` but the JSON beside each, half clips too."""
        found = (self.place / "clips").iterdir() if self.place.exists() else ()
        return sorted(path.name for path in found if path.suffix != ".json")
