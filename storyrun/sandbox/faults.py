"""Everything that the sandbox can do wrong on purpose. Adding a fault is adding an entry to `FAULTS`.

A fault hooks into one moment. All but `before` and those marked `each` are drawn once, when a task is booked, and then
belong to that task; `before` is drawn for every create, `each` for every request.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
from dataclasses import dataclass
from email.utils import format_datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from aiohttp import web

from storyrun.sandbox.files import ranged
from storyrun.sandbox.tasks import told_otherwise

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from storyrun.sandbox.desk import Call
    from storyrun.sandbox.tasks import Task, View

    Answer = web.StreamResponse

WAIT = 2
"""Seconds that a 429 asks for."""

PAGE = "<!doctype html><html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1><hr>nginx</html>"

ODD_WORDS = ("TRANSCODING", "ALMOST_DONE")


@dataclass(frozen=True)
class Fault:
    """One line for people, and what happens at one moment. Hooks that return None let things go on as usual."""

    line: str
    before: Callable[[Call], Awaitable[Answer | None]] | None = None
    """A create was read and is not booked."""
    booked: Callable[[Call, Answer], Awaitable[Answer]] | None = None
    """A create was booked, and this would be the answer."""
    asked: Callable[[Call, Task], Answer | None] | None = None
    """A poll came."""
    told: Callable[[View, Task], View] | None = None
    """How far a task is, as polls and the limit of running tasks see it."""
    drawn: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """What is drawn for a task."""
    served: Callable[[Call, Task, bytes], Awaitable[Answer | None]] | None = None
    """A clip is asked for, with a good signature."""
    each: bool = False


# ── creates ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def refuse(kind: str, **more: Any) -> Callable[[Call], Awaitable[Answer | None]]:
    """Refuse in the dialect's own way."""

    async def before(call: Call) -> Answer:
        return call.refuse(kind, **more)

    return before


async def _too_many(call: Call) -> Answer:
    return call.refuse("rate_limit", headers={"Retry-After": str(WAIT)})


async def _too_many_until(call: Call) -> Answer:
    return call.refuse("rate_limit", headers={"Retry-After": format_datetime(call.desk.later(WAIT), usegmt=True)})


async def _echo(call: Call) -> Answer:
    key = call.request.headers.get("Authorization", "")
    return call.refuse("parameter", message=f"refused: {key} at https://example.com/a.mp4?Signature=secret")


async def _elsewhere_create(call: Call) -> Answer:
    return web.Response(status=307, headers={"Location": call.request.raw_path})


async def _hang_up_unread(call: Call) -> Answer:
    return hang_up(call.request, reset=True)


async def _internal(call: Call, answer: Answer) -> Answer:
    return call.refuse("internal")


async def _drop(call: Call, answer: Answer) -> Answer:
    return hang_up(call.request, reset=False)


async def _reset(call: Call, answer: Answer) -> Answer:
    return hang_up(call.request, reset=True)


async def _slow(call: Call, answer: Answer) -> Answer:
    await call.desk.clock.sleep(call.desk.slow)
    return answer


async def _cut(call: Call, answer: Answer) -> Answer:
    return await cut_off(call.request, answer)


async def _page(call: Call, answer: Answer) -> Answer:
    return web.Response(text=PAGE, content_type="text/html")


async def _no_id(call: Call, answer: Answer) -> Answer:
    return web.json_response({"request_id": call.request_id, "message": "ok"})


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _not_yet(call: Call, task: Task) -> Answer | None:
    return call.unknown(task.id) if task.polls == 1 else None


def _poll_500(call: Call, task: Task) -> Answer | None:
    return call.refuse("internal")


def _poll_429(call: Call, task: Task) -> Answer | None:
    return call.refuse("rate_limit", headers={"Retry-After": str(WAIT)})


def _poll_page(call: Call, task: Task) -> Answer | None:
    return web.Response(text=PAGE, content_type="text/html")


def _poll_drop(call: Call, task: Task) -> Answer | None:
    return hang_up(call.request, reset=True)


def _odd(view: View, task: Task) -> View:
    return told_otherwise(view, word=ODD_WORDS[task.polls % 2]) if view.stage in ("waiting", "running") else view


def _back(view: View, task: Task) -> View:
    if task.polls % 2:
        return view
    back = {"succeeded": "running", "running": "waiting"}
    return told_otherwise(view, stage=back.get(view.stage, view.stage))


def _stuck(view: View, task: Task) -> View:
    return told_otherwise(view, stage="running") if view.stage == "succeeded" else view


def _failed(why: str) -> Callable[[View, Task], View]:
    def told(view: View, task: Task) -> View:
        return told_otherwise(view, stage="failed", why=why) if view.stage == "succeeded" else view

    return told


# ── clips ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shorter(form: dict[str, Any]) -> dict[str, Any]:
    seconds = max(1, form["length"] - 1)
    return {**form, "length": seconds, "shots": [{**form["shots"][0], "end": seconds}]}


def _smaller(form: dict[str, Any]) -> dict[str, Any]:
    return {**form, "width": 640, "height": 480}


def _silent(form: dict[str, Any]) -> dict[str, Any]:
    return {**form, "sounding": False}


def _spoilt(how: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def drawn(form: dict[str, Any]) -> dict[str, Any]:
        return {**form, "spoilt": how}

    return drawn


def _one_shot(form: dict[str, Any]) -> dict[str, Any]:
    return {**form, "shots": [{**form["shots"][0], "end": form["length"]}]}


def _instead(**response: Any) -> Callable[[Call, Task, bytes], Awaitable[Answer | None]]:
    async def served(call: Call, task: Task, clip: bytes) -> Answer:
        return web.Response(**response)

    return served


async def _half(call: Call, task: Task, clip: bytes) -> Answer:
    return web.Response(body=clip[: len(clip) // 2], content_type="video/mp4")


async def _cut_clip(call: Call, task: Task, clip: bytes) -> Answer:
    return await cut_off(call.request, ranged(call.request, clip, "video/mp4"))


async def _bomb(call: Call, task: Task, clip: bytes) -> Answer:
    return web.Response(body=bomb(), content_type="video/mp4", headers={"Content-Encoding": "gzip"})


async def _endless(call: Call, task: Task, clip: bytes) -> Answer:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4"})
    await answer.prepare(call.request)
    with contextlib.suppress(ConnectionError):  # until the other end has had enough
        while True:
            await answer.write(clip[:65536].ljust(65536, b"\0"))
    return answer


async def _drip(call: Call, task: Task, clip: bytes) -> Answer:
    answer = web.StreamResponse(headers={"Content-Type": "video/mp4", "Content-Length": str(len(clip))})
    await answer.prepare(call.request)
    with contextlib.suppress(ConnectionError):
        for byte in clip:
            await answer.write(bytes([byte]))
            await call.desk.clock.sleep(1)
    return answer


async def _loop(call: Call, task: Task, clip: bytes) -> Answer:
    return web.Response(status=302, headers={"Location": call.request.raw_path})


async def _elsewhere(call: Call, task: Task, clip: bytes) -> Answer | None:
    if call.elsewhere:
        return None
    return web.Response(status=302, headers={"Location": call.desk.elsewhere(task)})


async def _expired(call: Call, task: Task, clip: bytes) -> Answer | None:
    return call.desk.denied("Request has expired.") if task.downloads == 1 else None


FAULTS: Mapping[str, Fault] = {
    # a create is not booked
    "429": Fault("a create is refused as too many, with Retry-After in seconds", before=_too_many),
    "429-date": Fault("a create is refused as too many, with Retry-After as a date", before=_too_many_until),
    "bad-key": Fault("a create is refused for its key", before=refuse("credentials")),
    "no-balance": Fault("a create is refused for want of money", before=refuse("balance")),
    "moderation": Fault("a create is refused for its content", before=refuse("moderation")),
    "invalid": Fault("a create is refused as invalid", before=refuse("parameter")),
    "echo": Fault("a create is refused in words that repeat the key and a signed URL", before=_echo),
    "create-500-unbooked": Fault("a create is answered 500 and not booked", before=refuse("internal")),
    "create-307": Fault(
        "a create is answered with a redirect and not booked; who follows it, orders", before=_elsewhere_create
    ),
    "reset-unbooked": Fault("the connection of a create is reset and nothing booked", before=_hang_up_unread),
    # a create is booked, and the answer is no good
    "create-500-booked": Fault("a create is answered 500, and booked", booked=_internal),
    "drop-answer": Fault("a create is booked, and the connection closed without an answer", booked=_drop),
    "reset-after-read": Fault("a create is booked, and the connection reset", booked=_reset),
    "cut-answer": Fault("a create is booked, and half the answer sent", booked=_cut),
    "slow-answer": Fault("a create is booked, and answered after --slow seconds", booked=_slow),
    "html-200": Fault("a create is booked, and answered with a web page and 200", booked=_page),
    "no-id": Fault("a create is booked, and answered without a task id", booked=_no_id),
    # polls
    "other-shape": Fault("answers come in the provider's other documented shape"),
    "poll-404-first": Fault("the first poll of a task does not know it yet", asked=_not_yet),
    "poll-500": Fault("a poll is answered 500", asked=_poll_500, each=True),
    "poll-429": Fault("a poll is refused as too many", asked=_poll_429, each=True),
    "poll-html": Fault("a poll is answered with a web page and 200", asked=_poll_page, each=True),
    "poll-reset": Fault("the connection of a poll is reset", asked=_poll_drop, each=True),
    "odd-status": Fault("a running task has a status word that nobody documents", told=_odd),
    "status-back": Fault("every other poll says that a task is less far than before", told=_back),
    "success-without-url": Fault(
        "a task succeeds and never has a URL",
        told=lambda view, task: told_otherwise(view, url=None),
    ),
    "url-later": Fault(
        "a task succeeds and has no URL in its first three answers",
        told=lambda view, task: told_otherwise(view, url=None) if task.polls <= 3 else view,
    ),
    "stuck": Fault("a task runs for ever", told=_stuck),
    "other-task-id": Fault(
        "polls name another task's id",
        told=lambda view, task: told_otherwise(view, id=view.id[::-1]),
    ),
    "failed": Fault("a task fails by the provider's fault", told=_failed("internal")),
    "failed-no-reason": Fault("a task fails without a word why", told=_failed("")),
    "failed-moderation": Fault("a task fails for its content", told=_failed("moderation")),
    "bills-more": Fault("the usage of a clip says twice the seconds that were ordered"),
    "bills-failed": Fault("a task fails, and its usage says that it is billed all the same", told=_failed("internal")),
    # clips
    "wrong-length": Fault("a clip is a second shorter than ordered", drawn=_shorter),
    "wrong-size": Fault("a clip is 640x480", drawn=_smaller),
    "silent": Fault("a clip has no sound", drawn=_silent),
    "silence": Fault("a clip has a sound track in which nothing is heard", drawn=_spoilt("silence")),
    "black": Fault("a clip is black from its first frame to its last", drawn=_spoilt("black")),
    "frozen": Fault("a clip is one picture that does not move", drawn=_spoilt("frozen")),
    "no-cuts": Fault("a clip shows all shots as one", drawn=_one_shot),
    "zero-bytes": Fault("a clip is empty", served=_instead(body=b"", content_type="video/mp4")),
    "html-video": Fault("a clip is a web page", served=_instead(text=PAGE, content_type="text/html")),
    "truncated-video": Fault("a clip is half a file, and the length says so", served=_half),
    "cut-download": Fault("a download stops half-way; the rest is to be had with Range", served=_cut_clip, each=True),
    "gzip-bomb": Fault("a clip comes as gzip that unpacks to a gigabyte", served=_bomb),
    "endless-body": Fault("a clip never ends", served=_endless),
    "slow-drip": Fault("a clip comes at a byte a second", served=_drip),
    "redirect-loop": Fault("a clip's URL redirects to itself", served=_loop),
    "redirect-elsewhere": Fault("a clip's URL redirects to another host, which has the clip", served=_elsewhere),
    "redirect-inside": Fault(
        "a clip's URL redirects to an address inside your network",
        served=_instead(status=302, headers={"Location": "https://169.254.169.254/latest/meta-data/"}),
    ),
    "url-expired-first": Fault("the first URL of a clip is no longer good; polling gives another", served=_expired),
}
"""Name to fault, in the order of `storyrun sandbox --help`."""


# ── the rough tools ──────────────────────────────────────────────────────────────────────────────────────────────────


def hang_up(request: web.Request, *, reset: bool) -> Answer:
    """Close the connection without a word; with `reset` so that the other end gets a reset instead of an end."""
    if request.transport is not None:
        raw = request.transport.get_extra_info("socket")
        if reset:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()  # goes nowhere


async def cut_off(request: web.Request, whole: Answer) -> Answer:
    """Send half of an answer, then close."""
    body = whole.body if isinstance(whole, web.Response) and isinstance(whole.body, bytes) else b""
    half = web.StreamResponse(status=whole.status, headers={**whole.headers, "Content-Length": str(len(body))})
    with contextlib.suppress(ConnectionError):  # the other end may be gone
        await half.prepare(request)
        await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half


@cache
def bomb() -> bytes:
    """A megabyte that unpacks to a gigabyte."""
    return gzip.compress(bytes(16 * 1024 * 1024), mtime=0) * 64
