"""A real server on this machine that answers as it was told and notes what it was asked, and recordings to tell it.

A request that nobody planned fails the test, and so does a planned answer that nobody came for.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from storyrun import jobs, providers
from storyrun.providers import dialects
from storyrun.records import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from storyrun.records import Job, TaskStatus

RECORDINGS = Path(__file__).parent / "recordings"
KEY = "sk-test-canary-key"
ATTEMPT = "0f8fad5bd9cb469fa16570867728950e"
CLOUDS = ("tokenhub", "toapis", "dashscope")
MODELS = {"tokenhub": "wan2.7-t2v", "toapis": "wan2.6", "dashscope": "wan2.6-t2v"}
TASKS = {
    "tokenhub": "0385dc79-5ff8-4d82-bcb6-000000000001",
    "toapis": "video_01J9HA7JPQ9A0Z6JZ3V8M9W6PZ",
    "dashscope": "0385dc79-5ff8-4d82-bcb6-000000000001",
}
CREATE = {
    "tokenhub": "/v1/video/generations",
    "toapis": "/v1/videos/generations",
    "dashscope": "/api/v1/services/aigc/video-generation/video-synthesis",
}
POLL = {
    "tokenhub": "/v1/video/tasks/{}",
    "toapis": "/v1/videos/generations/{}",
    "dashscope": "/api/v1/tasks/{}",
}


@dataclass(frozen=True)
class Recording:
    """An answer as it comes over the wire, with its source and what it means."""

    name: str
    source: str
    status: int
    body: Any
    means: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def text(self) -> str:
        """The body as it is sent."""
        return self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)


def recording(provider: str, name: str) -> Recording:
    """One recording by name."""
    return Recording(name=name, **json.loads((RECORDINGS / provider / f"{name}.json").read_text("utf-8")))


def recordings(provider: str, about: str) -> list[Recording]:
    """All recordings of a provider whose names begin so."""
    found = sorted(path.stem for path in (RECORDINGS / provider).glob(f"{about}-*.json"))
    assert found
    return [recording(provider, name) for name in found]


@dataclass(frozen=True)
class Reply:
    """What the server answers: a status and a body, or nothing at all (`reset`)."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """Answers the planned replies in order. `asked` is what came."""

    def __init__(self) -> None:
        self.planned: list[Reply | Recording] = []
        self.asked: list[Asked] = []
        self.unplanned: list[str] = []
        self.otherwise: Reply | None = None
        """What to answer to everything that nothing else is planned for; None: that fails the test."""
        self.url = ""

    def plan(self, *replies: Reply | Recording) -> None:
        """What to answer next, in order."""
        self.planned += replies

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(
            Asked(request.method, request.raw_path.partition("?")[0], dict(request.query), dict(request.headers), body)
        )
        if not self.planned and self.otherwise is None:
            self.unplanned.append(f"{request.method} {request.raw_path}")
            return web.Response(status=599, text="nobody planned this")
        reply = self.planned.pop(0) if self.planned else self.otherwise
        assert reply is not None
        if isinstance(reply, Reply) and reply.reset:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        raw = reply.body
        sent = raw if isinstance(raw, bytes) else (raw if isinstance(raw, str) else json.dumps(raw)).encode()
        return web.Response(status=reply.status, body=sent, headers=reply.headers)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """A server while the block runs; checks at the end that everything went as planned."""
    server = Server()
    app = web.Application(client_max_size=200 * 1024 * 1024)
    app.router.add_route("*", "/{rest:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    try:
        yield server
    finally:
        # also when something was raised: a test that expects an error must not get it from an unplanned answer
        await runner.cleanup()
        assert server.unplanned == [], f"nobody planned {server.unplanned}"
        assert server.planned == [], f"nobody came for {len(server.planned)} of the answers"


def made(name: str, server_url: str, warn: Callable[[str], None] = lambda _: None) -> Any:
    """A provider that talks to the server, built as a run builds it."""
    settings = providers.environment(name)
    env = {} if settings is None else {settings.key: KEY, settings.base: server_url}
    return providers.build(name, env, warn)


def job_form(provider: str, model: str, mode: str, **settings: Any) -> dict[str, Any]:
    """A job in its JSON form, with what every job has."""
    seconds = settings.get("seconds", 5)
    prompt = settings.get("prompt", "A kitten running in the moonlight")
    return {
        "id": "desk",
        "scene": "desk",
        "variant": {},
        "take": 1,
        "provider": provider,
        "model": model,
        "mode": mode,
        "prompt": prompt,
        "shots": [{"index": 1, "start": 0, "end": seconds, "action": prompt}],
        "length": seconds,
        "frame_rate": "30",
        "billed_resolution": settings.get("resolution", "720p"),
        "sounding": settings.get("audio") != "none",
        "stem": "desk",
        "fingerprint": "0" * 64,
        **settings,
    }


def job_of(provider: str, model: str, mode: str = "text", folder: Path = Path(), **settings: Any) -> Job:
    """A job whose files lie in `folder`."""
    return jobs.from_dict(job_form(provider, model, mode, **settings), folder)


def task_of(task_id: str, model: str, folder: Path = Path(), sent_at: str = "", **job: Any) -> Task:
    """An accepted attempt as the runner describes it."""
    form = {"prompt": "A kitten running in the moonlight", **job}
    return Task(ATTEMPT, task_id, model, form, folder, sent_at)


def body_of(name: str, **settings: Any) -> dict[str, Any]:
    return dialects.body(name, job_of(name, MODELS[name], **settings), {})


async def ordered(name: str, *replies: Reply | Recording) -> tuple[Any, Asked]:
    """What a provider reads in the answer to a create, and what it had sent."""
    async with serving() as server:
        server.plan(*replies)
        provider = made(name, server.url)
        try:
            return provider.read(await provider.submit(body_of(name, seconds=5), ATTEMPT)), server.asked[0]
        finally:
            await provider.aclose()
            assert len(server.asked) == 1, "exactly one POST"


async def polled(name: str, *replies: Reply | Recording, task_id: str = "", model: str = "") -> TaskStatus:
    """What a provider reads in the answer to a poll."""
    async with serving() as server:
        server.plan(*replies)
        provider = made(name, server.url)
        try:
            status: TaskStatus = await provider.poll(task_of(task_id or TASKS[name], model or MODELS[name]))
            return status
        finally:
            await provider.aclose()


async def talk(name: str, act: Callable[[Any, Server], Awaitable[Any]], warn: list[str] | None = None) -> Any:
    """What comes of talking to a provider on a real server."""
    async with serving() as server:
        provider = made(name, server.url, (warn if warn is not None else []).append)
        try:
            return await act(provider, server)
        finally:
            await provider.aclose()
