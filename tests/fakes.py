"""Stand-ins for what a test must not wait for, pay for or die of: a clock, a death, a provider."""

from __future__ import annotations

import asyncio
import heapq
import io
import json
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from storyrun.errors import LostAnswer, NotFound, NotSent, ProviderError, Rejected
from storyrun.records import Accepted, Answer, ErrorClass, Failure, Task, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from storyrun.records import Job


# ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Crew:
    """The threads of a test, counted: time stands still while one of them works."""

    def __init__(self) -> None:
        self.busy = 0
        self._lock = threading.Lock()

    def begin(self) -> ThreadPoolExecutor:
        """New threads, for a new event loop."""
        executor = ThreadPoolExecutor(4)
        submit = executor.submit

        def counted(*work: Any, **named: Any) -> Future[Any]:
            with self._lock:
                self.busy += 1
            future = submit(*work, **named)
            future.add_done_callback(self._through)
            return future

        executor.submit = counted  # type: ignore[method-assign]
        return executor

    def _through(self, _: Future[Any]) -> None:
        with self._lock:
            self.busy -= 1


class FakeClock:
    """Nobody waits: when all who can move have moved, time jumps to the first sleeper.

    It starts long ago, so that files (which the real clock dates) are always younger than what is recorded.
    """

    ROUNDS = 10
    """Turns of the event loop in which everyone else may move before time does."""

    def __init__(self, start: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self.seconds = 0.0
        self.naps: list[float] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._tickets = count()
        self.crew = Crew()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        assert len(self.naps) < 200_000, "somebody waits for ever"
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._sleepers = loop, []
            loop.set_default_executor(self.crew.begin())
        woken: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self.seconds + max(seconds, 0.0), next(self._tickets), woken))
        if len(self._sleepers) == 1:
            loop.call_soon(self._turn, self.ROUNDS)
        await woken

    def _turn(self, rounds: int) -> None:
        assert self._loop is not None
        if self.crew.busy:
            self._loop.call_later(0.001, self._turn, self.ROUNDS)
            return
        if rounds:
            self._loop.call_soon(self._turn, rounds - 1)
            return
        at, _, woken = self._sleepers[0]
        if not woken.done():
            self.seconds = max(self.seconds, at)
            woken.set_result(None)
        heapq.heappop(self._sleepers)
        if self._sleepers:
            self._loop.call_soon(self._turn, self.ROUNDS)


# ── death ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Died(BaseException):
    """The process was killed. Not an Exception: nothing may catch it and go on."""


class Unplanned(BaseException):
    """The program made a call that the test did not plan."""


class Fate:
    """Kills at the nth step; who is dead stays dead."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        self.steps.append(name)
        if self.at is not None and len(self.steps) >= self.at:
            raise Died(name)

    @property
    def struck(self) -> bool:
        return self.at is not None and len(self.steps) >= self.at


# ── the provider ─────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache
def clip_bytes(width: int = 64, height: int = 36, frames: int = 8, rate: int = 8, *, sound: bool = False) -> bytes:
    """A real MP4, silent unless `sound`."""
    import av
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        video = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "threads": "1"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = out.add_stream("aac", rate=8000, layout="mono") if sound else None
        for index in range(frames):
            frame = VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([16 + 20 * index % 200]) * plane.buffer_size)
            frame.pts = index
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if audio is not None:
            for index in range(frames * 8000 // rate // 1024 + 1):
                silence = AudioFrame(format="fltp", layout="mono", samples=1024)
                silence.planes[0].update(bytes(silence.planes[0].buffer_size))
                silence.sample_rate, silence.pts = 8000, index * 1024
                out.mux(audio.encode(silence))
            out.mux(audio.encode())
    return buffer.getvalue()


WAITING = TaskStatus("waiting", "PENDING")
RUNNING = TaskStatus("running", "RUNNING")
READY = TaskStatus("succeeded", "SUCCEEDED", fetchable=True, asset="https://cdn.example/clip.mp4?sig=1")
NO_CLIP = TaskStatus("succeeded", "SUCCEEDED", fetchable=False)
MISSING = TaskStatus("missing", "UNKNOWN")


def failing(kind: ErrorClass | None = ErrorClass.PROVIDER, message: str = "it broke") -> TaskStatus:
    """A task that failed."""
    return TaskStatus("failed", "FAILED", failure=Failure(kind, "Code", message) if kind else None)


def refusal(kind: ErrorClass, message: str = "no", retry_after: float | None = None) -> Rejected:
    """A definite refusal of a create."""
    return Rejected(message, kind=kind, code="Code", retry_after=retry_after)


def unsent() -> NotSent:
    """A create that never left."""
    return NotSent("connection refused", kind=ErrorClass.NETWORK)


def lost() -> LostAnswer:
    """A create without an answer."""
    return LostAnswer("the connection was reset", kind=ErrorClass.NETWORK)


@dataclass
class Story:
    """What happens to one order, as seen from the provider.

    `create`: None (taken), or the error. `booked`: whether a task came of it (a lost answer may have one). `polls`
    and `fetches` are told one by one; the last stays true. A fetch is bytes to write (all of them), a pair of bytes
    and the error after them, or an error.
    """

    create: ProviderError | None = None
    booked: bool | None = None
    polls: Sequence[TaskStatus | Exception] = (READY,)
    fetches: Sequence[bytes | Exception | tuple[bytes, Exception]] = field(default_factory=lambda: (clip_bytes(),))
    clip: str = ""
    attempt: str = ""
    polled: int = 0
    fetched: int = 0


class FakeProvider:
    """A provider that follows a script: for each clip the stories of its orders, one after the other.

    It outlives the process that talks to it, as a real one does. Any create without a story, and any question about
    a task that it never gave out, is `Unplanned`. `history` has every call: ("create", "a"), ("poll", "a"), ...
    """

    poll_gap = (10.0, 15.0)

    def __init__(
        self,
        stories: Mapping[str, Sequence[Story]] | None = None,
        *,
        clock: FakeClock | None = None,
        paid: bool = True,
        finds: bool = False,
        create_takes: float = 0.0,
        fetch_takes: float = 0.0,
        account: str = "",
    ) -> None:
        self.name, self.paid, self.workers = "tokenhub", paid, 5
        self.account = account
        self.owned: frozenset[str] = frozenset()
        self.finds = finds
        self.clock = clock or FakeClock()
        self.fate = Fate()
        self.history: list[tuple[str, str]] = []
        self.tasks: dict[str, Story] = {}
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        self.when: list[tuple[str, str, float]] = []
        self._stories = {clip: list(told) for clip, told in (stories or {}).items()}
        self._create_takes, self._fetch_takes = create_takes, fetch_takes
        self._refusals: dict[str, Rejected] = {}
        self._sent: dict[str, Story] = {}

    def calls(self, kind: str, clip: str | None = None) -> int:
        """How often this was called, for one clip or all."""
        return sum(call == kind and clip in (None, about) for call, about in self.history)

    def booked(self) -> Counter[str]:
        """Tasks that exist, and would be billed, by clip."""
        return Counter(story.clip for story in self.tasks.values())

    def request(self, job: Job, uploads: Mapping[str, str]) -> dict[str, Any]:
        assert not uploads
        return {"model": job.model, "input": {"prompt": job.prompt}, "clip": job.id}

    async def submit(self, request: Mapping[str, Any], attempt_id: str) -> Answer:
        clip = str(request["clip"])
        self._note("create", clip)
        if not self._stories.get(clip):
            raise Unplanned(f"nobody planned this order of {clip}")
        story = self._stories[clip].pop(0)
        story.clip, story.attempt = clip, attempt_id
        self._sent[attempt_id] = story
        task_id = f"task-{len(self._sent)}"
        if isinstance(story.create, NotSent):
            raise story.create
        await self._takes("create", self._create_takes)
        if story.create is None if story.booked is None else story.booked:
            self.tasks[task_id] = story
        self.fate.step("after submit")
        if isinstance(story.create, Rejected):
            self._refusals[attempt_id] = story.create
            return Answer(400, attempt_id)
        if story.create is not None:
            raise story.create
        return Answer(200, json.dumps({"task_id": task_id}), request_id="r1")

    def read(self, answer: Answer) -> Accepted:
        if answer.status == 400:
            raise self._refusals[answer.body]
        return Accepted(json.loads(answer.body)["task_id"])

    async def poll(self, task: Task) -> TaskStatus:
        story = self._story(task)
        self._note("poll", story.clip)
        said = story.polls[min(story.polled, len(story.polls) - 1)]
        story.polled += 1
        await self._takes("poll", 0)
        self.fate.step("after poll")
        if isinstance(said, Exception):
            raise said
        return said

    async def fetch(self, task: Task, status: TaskStatus, part: Path) -> None:
        story = self._story(task)
        self._note("fetch", story.clip)
        if not status.fetchable:
            raise Unplanned(f"{story.clip} is not there to be fetched")
        said = story.fetches[min(story.fetched, len(story.fetches) - 1)]
        story.fetched += 1
        data, error = said if isinstance(said, tuple) else (said, None) if isinstance(said, bytes) else (None, said)
        if data is not None:
            write(part, data)
        await self._takes("fetch", self._fetch_takes)
        self.fate.step("after fetch")
        if error is not None:
            raise error

    async def find(self, task: Task, owned: frozenset[str]) -> Accepted | None:
        self.owned = owned
        story = self._sent.get(task.attempt_id)
        self._note("find", story.clip if story else str(task.job["id"]))
        self.fate.step("after find")
        for task_id, booked in self.tasks.items():
            if self.finds and booked is story:
                return Accepted(task_id)
        return None

    async def aclose(self) -> None: ...

    def _story(self, task: Task) -> Story:
        if task.task_id not in self.tasks:
            raise Unplanned(f"there is no task {task.task_id!r}")
        return self.tasks[task.task_id]

    def _note(self, call: str, clip: str) -> None:
        self.fate.step(f"before {call}")
        self.history.append((call, clip))
        self.when.append((call, clip, self.clock.seconds))

    async def _takes(self, call: str, seconds: float) -> None:
        self.at_once[call] += 1
        self.most_at_once[call] = max(self.most_at_once[call], self.at_once[call])
        try:
            await (self.clock.sleep(seconds) if seconds else asyncio.sleep(0))
        finally:
            self.at_once[call] -= 1


def write(part: Path, data: bytes) -> None:
    """All of a clip at once."""
    part.write_bytes(data)


def gone_url() -> NotFound:
    """An address that has expired."""
    return NotFound("the address has expired", kind=ErrorClass.EXPIRED)
