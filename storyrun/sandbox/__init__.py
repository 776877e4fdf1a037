"""A fake provider on this machine: the three services under one address, faithful in what they say, free of cost.

`storyrun sandbox` runs it for people and their CI; tests use it in process:

    async with Sandbox(latency=0.1, faults={"429": "2x"}) as sandbox:
        sandbox.base_url("tokenhub")            # what TOKENHUB_BASE_URL would be
        sandbox.log.booked                      # what was bought

It listens on 127.0.0.1 only, and its clips are animatics of what was ordered.
"""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from storyrun import nearest
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.sandbox.billing import Bill
from storyrun.sandbox.chances import Chances
from storyrun.sandbox.dashscope import DashScope
from storyrun.sandbox.desk import KEY, Desk
from storyrun.sandbox.faults import FAULTS
from storyrun.sandbox.toapis import ToAPIs
from storyrun.sandbox.tokenhub import TokenHub

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping
    from types import TracebackType

    from storyrun.clock import Clock
    from storyrun.sandbox.desk import Dialect

__all__ = ["FAULTS", "KEY", "PROVIDERS", "Sandbox"]

PROVIDERS = ("tokenhub", "toapis", "dashscope")
DAY = 24 * 60 * 60.0
BODY_LIMIT = 128 * 1024 * 1024
"""Bytes of a request: an upload of 100 MB is refused by the rules, not by the server."""


class Sandbox:
    """The server. Use it with `async with`.

    `latency` is how long a task takes, in seconds: one number, or the two between which it is drawn. More than
    `concurrency_limit` unfinished tasks of an account are refused with 429; more than `poll_limit` polls a second too
    (DashScope: 20). `faults` maps names of `FAULTS` to chances (see `Chances`). `log` is the file of the bill. `slow`
    is how long a slow answer takes, `url_lifetime` how long a URL is good, `keeps` how long a finished task is known.
    `tiny` draws clips without their prompt, so that clips of one size and length are drawn once.

    Raises `UsageError` for a fault or chance that does not exist, and `OSError` when the port is taken.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        latency: float | tuple[float, float] = 0.0,
        concurrency_limit: int | None = None,
        poll_limit: int | None = None,
        faults: Mapping[str, str | float] | None = None,
        seed: int = 0,
        log: Path | None = None,
        clock: Clock | None = None,
        slow: float = 150.0,
        url_lifetime: float = DAY,
        keeps: float = DAY,
        tiny: bool = False,
    ) -> None:
        for name in faults or {}:
            if name not in FAULTS:
                raise UsageError(f"there is no fault `{name}`", nearest.hint(name, FAULTS))
        try:
            self._chances = Chances(faults or {}, seed)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self.port = port
        self._latency = latency if isinstance(latency, tuple) else (latency, latency)
        self._concurrency_limit = concurrency_limit
        self._poll_limit = poll_limit
        self._seed = seed
        self._file = log
        self._clock = clock or SystemClock()
        self._slow = slow
        self._url_lifetime = url_lifetime
        self._keeps = keeps
        self._tiny = tiny
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Sandbox:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="storyrun-sandbox-")))
        self.log = Bill(self._file or folder / "bill.jsonl")
        stack.callback(self.log.close)
        self.desk = Desk(
            clock=self._clock,
            bill=self.log,
            chances=self._chances,
            folder=folder,
            seed=self._seed,
            latency=self._latency,
            concurrency_limit=self._concurrency_limit,
            poll_limit=self._poll_limit,
            slow=self._slow,
            url_lifetime=self._url_lifetime,
            keeps=self._keeps,
            tiny=self._tiny,
        )
        stack.push_async_callback(self.desk.clips.aclose)
        app = web.Application(client_max_size=BODY_LIMIT)
        dialects: tuple[Dialect, ...] = (TokenHub(), ToAPIs(), DashScope())
        for dialect in dialects:
            app.add_routes([*dialect.routes(self.desk), *_files(self.desk, dialect)])
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        self.desk.origin = self.origin

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port}"

    def base_url(self, provider: str) -> str:
        """The base URL of one of the services."""
        return f"{self.origin}/{provider}"

    @property
    def environment(self) -> dict[str, str]:
        """What to export so that storyrun talks to the sandbox."""
        urls = {f"{name.upper()}_BASE_URL": self.base_url(name) for name in PROVIDERS}
        return urls | {f"{name.upper()}_API_KEY": KEY for name in PROVIDERS}

    @property
    def counts(self) -> Counter[str]:
        """Requests by what they were: create, poll, list, cancel, upload, download."""
        return self.desk.counts

    @property
    def leaks(self) -> list[str]:
        """Files that were asked for with a key or a cookie. Nobody should."""
        return self.desk.leaks


def _files(desk: Desk, dialect: Dialect) -> list[web.RouteDef]:
    """Where the clips of a service are, and the other host that `redirect-elsewhere` leads to."""

    async def clip(request: web.Request) -> web.StreamResponse:
        return await desk.clip(dialect, request)

    paths = (f"/{place}/{dialect.name}/{{task_id}}.mp4" for place in ("files", "elsewhere"))
    return [web.get(path, clip) for path in paths]
