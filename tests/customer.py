"""A plain customer of the sandbox: bodies that fit, and an aiohttp session that sends them as a script would."""

from __future__ import annotations

import asyncio
import copy
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp

from storyrun.sandbox import KEY, PROVIDERS, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ASYNC = {"X-DashScope-Async": "enable"}

WAN3 = {
    "model": "wan3.0-video",
    "input": {"prompt": "A cat runs on grass"},
    "parameters": {"resolution": "480P", "ratio": "16:9", "duration": 2},
}
SMALL: dict[str, dict[str, Any]] = {
    "tokenhub": WAN3,
    "dashscope": WAN3,
    "toapis": {
        "model": "wan3.0-video",
        "prompt": "A cat runs on grass",
        "resolution": "480p",
        "ratio": "16:9",
        "duration": 2,
    },
}
"""The smallest clip that each service sells: 2 s of 832x480."""

CREATE = {
    "tokenhub": "/v1/video/generations",
    "toapis": "/v1/videos/generations",
    "dashscope": "/api/v1/services/aigc/video-generation/video-synthesis",
}
POLL = {
    "tokenhub": "/v1/video/tasks/{id}?model={model}",
    "toapis": "/v1/videos/generations/{id}",
    "dashscope": "/api/v1/tasks/{id}",
}


class Hands:
    """A clock that is moved by hand; whoever sleeps moves it."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)
        await asyncio.sleep(0)

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Said:
    """An answer. `json` is None where it is none."""

    status: int
    json: Any
    headers: Mapping[str, str]
    body: bytes


class Customer:
    """Talks to one service of a sandbox."""

    def __init__(self, sandbox: Sandbox, provider: str, session: aiohttp.ClientSession, key: str) -> None:
        self.sandbox = sandbox
        self.provider = provider
        self.base = sandbox.base_url(provider)
        self.session = session
        self.key = {"Authorization": f"Bearer {key}"}

    async def ask(self, method: str, url: str, **options: Any) -> Said:
        """One request; without the key where the URL is not the service's."""
        where = url if url.startswith("http") else self.base + url
        keyed = self.key if where.startswith(self.base) else {}
        headers = {**keyed, **options.pop("headers", {})}
        async with self.session.request(method, where, headers=headers, allow_redirects=False, **options) as response:
            body = await response.read()
            try:
                found = await response.json(content_type=None)
            except ValueError:
                found = None
            return Said(response.status, found, response.headers, body)

    async def create(self, body: Any = None, **headers: str) -> Said:
        """Order a clip: the smallest one, or what the body says."""
        body = SMALL[self.provider] if body is None else body
        return await self.ask("POST", CREATE[self.provider], json=body, headers={**ASYNC, **headers})

    async def poll(self, said: Said | str) -> Said:
        """How far the task of an answer to a create is."""
        task_id = said if isinstance(said, str) else task_of(said)
        return await self.ask("GET", POLL[self.provider].format(id=task_id, model=SMALL[self.provider]["model"]))

    async def url(self, body: Any = None) -> str:
        """Order a clip, and where it is."""
        return url_of(await self.poll(await self.create(body))) or ""


def task_of(said: Said) -> str:
    """The task id in an answer, wherever it is."""
    found = said.json
    if "output" in found:
        return str(found["output"]["task_id"])
    return str(found["data"][0]["task_id"] if "data" in found else found["id"])


def stage_of(said: Said) -> str:
    """The status word in an answer."""
    return str(said.json["output"]["task_status"] if "output" in said.json else said.json["status"])


def url_of(said: Said) -> str | None:
    """The clip's URL in an answer, wherever it is."""
    found = said.json
    if "output" in found:
        return found["output"].get("video_url")  # type: ignore[no-any-return]
    if "metadata" in found or "url" in found:
        return found.get("url") or found["metadata"].get("url")  # type: ignore[no-any-return]
    data = found.get("result", {}).get("data") or [{}]
    return data[0].get("url")  # type: ignore[no-any-return]


def changed(body: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A body with one field set (`parameters.duration`), or removed with `...`."""
    result = copy.deepcopy(dict(body))
    *way, last = path.split(".")
    place = result
    for word in way:
        place = place.setdefault(word, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return result


@asynccontextmanager
async def trade(provider: str, key: str = KEY, **options: Any) -> AsyncIterator[Customer]:
    """A sandbox and a customer of one of its services. Each task is done at once unless `latency` says otherwise."""
    assert provider in PROVIDERS
    bugs = _Bugs()
    logging.getLogger("aiohttp.server").addHandler(bugs)
    try:
        async with Sandbox(**options) as sandbox, aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Customer(sandbox, provider, session, key)
    finally:
        logging.getLogger("aiohttp.server").removeHandler(bugs)
    assert bugs.seen == []


class _Bugs(logging.Handler):
    """What a server logs when one of its answers raises: that would look like a 500 on purpose."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))
