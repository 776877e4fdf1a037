"""The animatic: a real MP4 preview of every clip, drawn on this machine. No key, no network, no cost.

A provider like any other, only that it keeps nothing: its task id is the attempt id, every task is done at once, and
`fetch` draws the clip from the job in the ledger row. So a run that died is continued by drawing again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from storyrun.errors import LostAnswer
from storyrun.records import Accepted, Answer, ErrorClass, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path

    from storyrun.records import Job, Task

RENDERER = 1
"""Raised whenever the same job is drawn differently, so that clips drawn before count as changed."""

_DRAWN = (
    "scene variant take shots length frame_rate width height sounding first_frame last_frame references audio_file"
).split()


class Animatic:
    """Draws clips, as many at once as there are cores.

    `font` is tried before the shipped DejaVu Sans; `UsageError` if it is no font. `warn` is told, once, which
    characters no font here can draw; it is called from another thread.
    """

    name = "animatic"
    paid = False
    account = ""

    def __init__(
        self, *, workers: int | None = None, font: Path | None = None, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        from storyrun.providers.animatic.fonts import Fonts

        self.workers = workers or _cores()
        self._fonts = Fonts(font, warn)
        self._pool: ThreadPoolExecutor | None = None

    def request(self, job: Job, uploads: Mapping[str, str]) -> dict[str, Any]:
        """What is drawn, and by which revision of the renderer. Nothing is uploaded."""
        from storyrun.jobs import as_dict

        form = as_dict(job)
        return {"renderer": RENDERER, **{key: form[key] for key in _DRAWN if key in form}}

    async def submit(self, request: Mapping[str, Any], attempt_id: str) -> Answer:
        """Taken at once."""
        return Answer(200, json.dumps({"task_id": attempt_id}))

    def read(self, answer: Answer) -> Accepted:
        """The task id is the attempt id."""
        try:
            return Accepted(json.loads(answer.body)["task_id"])
        except (ValueError, TypeError, KeyError) as error:
            raise LostAnswer(
                "the animatic's answer is unreadable", kind=ErrorClass.PROVIDER, raw=answer.body
            ) from error

    async def poll(self, task: Task) -> TaskStatus:
        """Always done: the work is in `fetch`."""
        return TaskStatus("succeeded", raw="drawn on fetch", fetchable=True)

    async def find(self, task: Task, owned: frozenset[str]) -> Accepted | None:
        """Never lost."""
        return Accepted(task.attempt_id)

    async def fetch(self, task: Task, status: TaskStatus, part: Path) -> None:
        """Draw the clip, beside the event loop. When cancelled it stops at the next frame.

        Raises `FetchFailed` when a local file of the job is gone, changed or unreadable, and `OSError` of the disk.
        """
        import asyncio
        from threading import Event

        from storyrun.providers.animatic.film import render

        stop = Event()
        # PyAV and Pillow let go of the interpreter while they work: threads do as well as processes, and share fonts.
        drawing = self._threads().submit(render, task.job, task.folder, part, self._fonts, stop.is_set)
        done = asyncio.wrap_future(drawing)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            stop.set()
            if not drawing.cancel():
                await asyncio.wait({done})
                done.exception()  # `Stopped`, as asked: looked at, so that nobody reports it as forgotten
            raise

    async def aclose(self) -> None:
        """Let go of the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _threads(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="animatic")
        return self._pool


def _cores() -> int:
    """Cores that this process may use."""
    import os

    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
