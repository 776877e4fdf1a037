"""Real processes of storyrun, cheap enough to kill by the thousand: each is forked from one that has imported it all.

The zygote is a process of its own, with one thread and no event loop. It forks a child for each life, waits for it,
and kills it when its time is up. A child calls the command line's `main`, as the program does.

    with Zygote() as zygote:
        [life] = zygote.live([["run", "plan.yaml", "--yes"]], folder=folder, env=env, kill_after=0.2)
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

Played = TypeVar("Played")

HUNG = 60.0
"""Seconds after which a process counts as hung."""


def memory() -> str | None:
    """Where to put folders that need not outlive the machine: who is killed loses nothing that only memory has.

    None: wherever temporary files go, also where somebody has said that with TMPDIR.
    """
    return "/dev/shm" if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK) else None  # noqa: S108


@dataclass(frozen=True)
class Life:
    """How a process ended. `code` is None when it was killed; `hung` when that was for want of an end of its own.

    `seconds` are counted from the instant at which it, and those that were started with it, began.
    """

    pid: int
    code: int | None
    hung: bool
    seconds: float
    out: str
    err: str


class Zygote:
    """The process that others are forked from, while the block lasts."""

    def __enter__(self) -> Zygote:
        path = os.pathsep.join(filter(None, sys.path))  # the same package that is imported here
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaigns.zygote"],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._said()  # it is warm
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def live(
        self,
        commands: Sequence[Sequence[str]],
        *,
        folder: Path,
        env: Mapping[str, str],
        kill_after: float | None = None,
    ) -> list[Life]:
        """One life of the program for each of these command lines. All begin at the same instant.

        With `kill_after` they get a SIGKILL so many seconds after that instant, if they are still there.
        """
        assert self._process.stdin is not None
        asked = {"commands": commands, "folder": str(folder), "env": env, "kill_after": kill_after}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return [Life(**each) for each in self._said()]

    def _said(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote died"
        return json.loads(line)


class Crew:
    """A few zygotes, and a thread for each, while the block lasts: who waits leaves the machine to another."""

    SIZE = 2

    def __init__(self, size: int = SIZE) -> None:
        self._size = size

    def __enter__(self) -> Crew:
        with contextlib.ExitStack() as stack:
            self._threads = stack.enter_context(ThreadPoolExecutor(self._size))
            self._zygotes = list(self._threads.map(lambda nth: stack.enter_context(Zygote()), range(self._size)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def play(
        self, act: Callable[[int, Zygote], Played], seeds: Iterable[int], more: Callable[[], bool]
    ) -> Iterator[Played]:
        """Act with each seed while more is wanted, one beside the other; what came of it, in the order of the seeds."""
        seeds = iter(seeds)
        while more() and (few := list(islice(seeds, self._size))):
            yield from self._threads.map(act, few, self._zygotes)


# ── in the zygote ────────────────────────────────────────────────────────────────────────────────────────────────────


def _warm_up() -> None:
    """Import everything that a run uses, and read what every run reads: cards, schemas, the templates."""
    import asyncio
    import socket
    import sqlite3

    import aiohttp
    import av
    import filelock

    from storyrun import folder, ledger, manifest, media, progress, runner
    from storyrun.cli import fetch, main, performing, quote, report, run, settle
    from tests import rehearsal

    del asyncio, socket, sqlite3, aiohttp, av, filelock, folder, ledger, manifest, media, progress, runner, quote
    for module in (performing, fetch, settle):
        module.SystemClock = rehearsal.Hurried  # type: ignore[attr-defined]
    del run
    # the page is drawn when all is bought and made; drawing it costs more than the whole rest of a small run
    report.after_run = lambda *_: None
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        for provider in ("tokenhub", "toapis", "dashscope"):
            plan = Path(place, f"{provider}.yaml")
            scene = "  - {id: c1, prompt: Dust moves in light}\n"
            plan.write_text(rehearsal.SMALLEST.format(provider=provider) + scene, encoding="utf-8")
            assert main(["quote", str(plan)]) == 0


def _child(words: Sequence[str], asked: Mapping[str, Any], out: int, err: int, start: int) -> int:
    """A process of its own until it ends. Returns its exit code."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8", line_buffering=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8", line_buffering=True)
    os.environ.update(asked["env"])
    os.chdir(asked["folder"])
    from storyrun.cli import main

    os.read(start, 1)  # returns when the zygote lets go of the other end
    code = main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _play(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Fork, let them begin together, wait for each, and kill those whose time is up."""
    start, gate = os.pipe()
    children: dict[int, tuple[int, Any, Any]] = {}
    for words in asked["commands"]:
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - read when the child has ended
        # the kernel closes `breath` when the child is gone, however it went
        alive, breath = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.close(gate)
                for other in children:
                    os.close(other)
                code = _child(words, asked, out.fileno(), err.fileno(), start)
            finally:
                os._exit(code)
        os.close(breath)
        children[alive] = (pid, out, err)
    os.close(start)
    os.close(gate)
    began = time.monotonic()
    ended: dict[int, float] = {}
    bound = HUNG if asked["kill_after"] is None else asked["kill_after"]
    while waiting := [alive for alive in children if alive not in ended]:
        ready, _, _ = select.select(waiting, [], [], max(0.0, began + bound - time.monotonic()))
        now = time.monotonic() - began
        if not ready:
            # not waited for yet, so that the number is still theirs even if they have just ended
            for alive in waiting:
                os.kill(children[alive][0], signal.SIGKILL)
        ended |= dict.fromkeys(ready or waiting, now)
    lives = []
    for alive, (pid, out, err) in children.items():
        _, status = os.waitpid(pid, 0)
        os.close(alive)
        killed = os.WIFSIGNALED(status)
        life = {"pid": pid, "code": None if killed else os.WEXITSTATUS(status), "seconds": ended[alive]}
        life["hung"] = killed and asked["kill_after"] is None
        for name, file in (("out", out), ("err", err)):
            file.seek(0)
            life[name] = file.read().decode("utf-8", "replace")
            file.close()
        lives.append(life)
    return lives


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints while warming up is no answer
    _warm_up()
    gc.collect()
    gc.freeze()  # a child does not copy what it never touches
    print("[]", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_play(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
