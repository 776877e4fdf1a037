"""The review page on this machine, live: `storyrun report --serve`.

One page for one person. It listens on 127.0.0.1 only, behind a token that nobody can guess. A page of another site
that a browser here has open can reach this port, too; so every request must name this server as its host, and what
changes something must come from our own page: its origin, JSON, and a header that other sites may not send.

Files go out by a list of names, those that the page shows, and by no path that anybody asks for.

GET  /TOKEN/               the page, as the ledger has it now
GET  /TOKEN/events         server-sent events: the state at once, then after every change
GET  /TOKEN/manifest.json  what the page was made of
GET  /TOKEN/clips/...      and posters/, films/, contact-sheet.jpg: only what the page names
POST /TOKEN/pick           {"clip": id, "undo": false}: choose a take, or take that back
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import json
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from mimetypes import guess_type
from typing import TYPE_CHECKING, Any

from aiohttp import web

from storyrun.errors import StoryrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

    from storyrun.clock import Clock

HOST = "127.0.0.1"

MOST_STREAMS = 8
"""Pages that may listen at once. A browser has six connections to a server, and closes those of hidden pages."""

LARGEST_BODY = 4096
"""Bytes of a pick."""

LOOK = 1.0
"""Seconds between two looks at what changed."""

AGAIN = 5
"""Every so many looks what went wrong is tried again, also where nothing changed: a ledger may have been in use."""

HEARTBEAT = 15.0
"""Seconds of silence after which a stream says that it is alive."""

PATIENCE = 0.5
"""Seconds that a file on its way has to get through when the server ends."""

ASKED = "X-Storyrun"
"""The header of a write. Another site may not send it without asking first, and is told no."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
FENCED = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""The policy of everything but the page. A browser shows a lone video with a style of its own."""


@dataclass(frozen=True)
class Shown:
    """What there is to see. `files` are relative to the folder of the run, and the only ones that go out.

    `policy` is the page's own Content-Security-Policy.
    """

    page: str
    policy: str
    manifest: Mapping[str, Any]
    files: frozenset[str]


class Review:
    """The review of one run: what it shows, who listens, and what may be asked of it.

    `look` makes everything anew and `pick(clip, undo)` writes a choice; both may take their time, are called in a
    thread, and raise `StoryrunError` with what is wrong. Then the last good page stays, and says so. `mark` is cheap,
    and differs when it is worth to look again. `first` is the page to begin with.
    """

    def __init__(
        self,
        *,
        folder: Path,
        first: Shown,
        look: Callable[[], Shown],
        mark: Callable[[], Hashable],
        pick: Callable[[str, bool], None],
        token: str,
        clock: Clock,
        every: float = LOOK,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self._folder = folder
        self._look, self._mark, self._pick = look, mark, pick
        self._token = token.encode()
        self._clock = clock
        self._every, self._heartbeat = every, heartbeat
        self._shown = first
        self._trouble = ""
        self._bells: set[asyncio.Event] = set()
        self._looking = asyncio.Lock()
        self._over = asyncio.Event()
        self._hosts: frozenset[str] = frozenset()

    @property
    def streams(self) -> int:
        """How many pages listen."""
        return len(self._bells)

    def application(self) -> web.Application:
        """The web application. Its port must be told with `at` before it is asked anything."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("*", "/{token}/{name:.*}", self._answer)
        application.router.add_route("*", "/{rest:.*}", _nothing)
        application.on_response_prepare.append(_fence)
        application.on_shutdown.append(self._end)
        return application

    def at(self, port: int) -> None:
        """The names of this server, by which alone it may be asked: a name that someone points here is no good."""
        names = (HOST, "localhost")
        self._hosts = frozenset(f"{name}:{port}" for name in names) | frozenset(names if port == 80 else ())

    async def watch(self) -> None:
        """Look for changes, and tell every page that listens. Never ends."""
        seen: Hashable = None
        for count in itertools.count():
            with suppress(OSError):  # a folder that is away for a moment has not changed
                mark = await asyncio.to_thread(self._mark)
                if mark != seen or (self._trouble and count % AGAIN == 0):
                    await self._renew()
                    seen = mark
            await self._clock.sleep(self._every)

    async def _renew(self) -> None:
        """Look again. What cannot be shown leaves what was there."""
        async with self._looking:
            shown, trouble = self._shown, ""
            try:
                shown = await asyncio.to_thread(self._look)
            except StoryrunError as error:
                trouble = " ".join(filter(None, (error.sentence, error.hint and f"({error.hint})")))
            except Exception as error:  # noqa: BLE001 - a bug must not leave a page that stands still and says nothing
                trouble = f"a bug of ours: {type(error).__name__}: {error}"
            changed = (shown.page, trouble) != (self._shown.page, self._trouble)
            self._shown, self._trouble = shown, trouble
        if changed:
            self._ring()

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()

    async def _end(self, _: web.Application) -> None:
        self._over.set()
        self._ring()

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Whoever asks must name this server and know the token; nobody else learns what is here."""
        if request.headers.getall("Host", []) != [request.host] or request.host.lower() not in self._hosts:
            return _refusal(HTTPStatus.FORBIDDEN, "this server goes by another name")
        if not hmac.compare_digest(request.match_info["token"].encode(errors="replace"), self._token):
            return await _nothing(request)
        name = request.match_info["name"]
        if name == "pick":
            return await self._chosen(request) if request.method == "POST" else _not_so("POST")
        if request.method not in ("GET", "HEAD"):
            return _not_so("GET, HEAD")
        if name == "":
            return _text(self._shown.page, "text/html", self._shown.policy)
        if name == "manifest.json":
            return _text(json.dumps(self._shown.manifest, ensure_ascii=False, indent=2), "application/json")
        if name == "events":
            return await self._told(request)
        return await self._file(name) or await _nothing(request)

    async def _file(self, name: str) -> web.FileResponse | None:
        """A file of the list, unless it, or a folder on the way to it, is a link."""
        if name not in self._shown.files:
            return None
        path = self._folder / name

        def plain() -> bool:
            return path.is_file() and path.resolve() == self._folder.resolve() / name

        if not await asyncio.to_thread(plain):
            return None
        kind = guess_type(path.name)[0] or "application/octet-stream"
        return web.FileResponse(path, headers={"Content-Type": kind, "Cache-Control": "private, no-cache"})

    async def _told(self, request: web.Request) -> web.StreamResponse:
        """The stream of events. It ends with the page that listens, or with the server."""
        if request.method == "HEAD" or self._over.is_set():
            return _not_so("GET")
        if len(self._bells) >= MOST_STREAMS:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many pages listen")
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
            await stream.prepare(request)
            said = b"retry: 1000\n\n" + self._event()
            while not self._over.is_set():
                await stream.write(said)
                try:
                    await asyncio.wait_for(bell.wait(), self._heartbeat)
                    said = self._event()
                except TimeoutError:
                    said = b": still here\n\n"
                bell.clear()
            return stream
        except ConnectionError:  # the page was closed
            return stream
        finally:
            self._bells.discard(bell)

    def _event(self) -> bytes:
        """The state in short. `revision` is the same as long as the page is the same."""
        shown = self._shown
        told = {
            "revision": hashlib.sha256(shown.page.encode()).hexdigest()[:16],
            "totals": {key: value for key, value in shown.manifest["totals"].items() if isinstance(value, int)},
            "finished": bool(shown.manifest["finished_at"]),
            "trouble": self._trouble,
        }
        return f"event: state\ndata: {json.dumps(told)}\n\n".encode()

    async def _chosen(self, request: web.Request) -> web.StreamResponse:
        """A pick. It must come from our page, and is answered when the page that shows it is there."""
        if (why := _not_ours(request)) is not None:
            return why
        try:
            said = json.loads(await request.read())
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("clip"), str) or said.get("undo") not in (True, False):
            return _refusal(HTTPStatus.BAD_REQUEST, 'write {"clip": "an id", "undo": false}')
        try:
            await asyncio.to_thread(self._pick, said["clip"], said["undo"])
        except StoryrunError as error:
            return _refusal(HTTPStatus.CONFLICT, error.sentence, error.hint)
        await self._renew()
        return _text(json.dumps({"clip": said["clip"], "picked": not said["undo"]}), "application/json")


async def serve(review: Review, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serve a review until `stop` is set. `ready` is told the port. Raises OSError when the port cannot be had."""
    runner = web.AppRunner(review.application(), access_log=None, handler_cancellation=True, shutdown_timeout=PATIENCE)
    await runner.setup()
    watching: asyncio.Task[None] | None = None
    try:
        site = web.TCPSite(runner, HOST, port)
        await site.start()
        bound = runner.addresses[0][1]
        review.at(bound)
        watching = asyncio.create_task(review.watch())
        ready(bound)
        await stop.wait()
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await runner.cleanup()


def _not_ours(request: web.Request) -> web.Response | None:
    """Why a write is refused: it is not proven to come from our own page."""
    origins = request.headers.getall("Origin", [])
    if origins != [f"http://{request.host}"] or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return _refusal(HTTPStatus.FORBIDDEN, "only the page itself may pick")
    if request.headers.get(ASKED) != "pick":
        return _refusal(HTTPStatus.FORBIDDEN, f"the header {ASKED} is missing")
    if request.content_type != "application/json":
        return _refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "write application/json")
    return None


async def _fence(_: web.Request, response: web.StreamResponse) -> None:
    """The headers of every answer. None of them lets another site read anything."""
    response.headers.update({**HEADERS, "Server": "storyrun"})
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Content-Security-Policy", FENCED)


async def _nothing(_: web.Request) -> web.Response:
    return _refusal(HTTPStatus.NOT_FOUND, "there is nothing here")


def _not_so(methods: str) -> web.Response:
    refused = _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"only {methods} here")
    refused.headers["Allow"] = methods
    return refused


def _refusal(status: HTTPStatus, sentence: str, hint: str = "") -> web.Response:
    return web.json_response({"error": sentence, "hint": hint}, status=status)


def _text(text: str, kind: str, policy: str | None = None) -> web.Response:
    """A text as it is now, kept by no browser. Half characters, which a provider may send, go out as question marks."""
    fence = {} if policy is None else {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}
    body = text.encode(errors="replace")
    return web.Response(body=body, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-store", **fence})
