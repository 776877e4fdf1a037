"""What the three services have in common: accounts, booking, polling, serving clips. Dialects have the words."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from storyrun import cards
from storyrun.clock import rfc3339
from storyrun.http import as_json
from storyrun.sandbox import clips, files
from storyrun.sandbox.faults import FAULTS
from storyrun.sandbox.orders import Refusal
from storyrun.sandbox.tasks import Task, Tasks, View, told_otherwise, uuid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from storyrun.clock import Clock
    from storyrun.sandbox.billing import Bill
    from storyrun.sandbox.chances import Chances
    from storyrun.sandbox.faults import Fault
    from storyrun.sandbox.orders import Order, Pixels

KEY = "sandbox-key"
"""A key that is taken. So is every other that begins with `sandbox-`: each is an account of its own."""

Said = tuple[int, dict[str, Any]]
"""HTTP status and JSON of an answer."""


class Dialect(Protocol):
    """One service: its paths, and how it says things."""

    name: str

    def routes(self, desk: Desk) -> list[web.RouteDef]:
        """What it answers, under its prefix."""
        ...

    def read(self, call: Call, body: Any) -> Order:
        """What a body orders. Raises `Refusal`."""
        ...

    def new_id(self, digits: str) -> str:
        """A task id as this service writes them."""
        ...

    def refusal(self, kind: str, message: str, request_id: str) -> Said:
        """A refusal; with an empty message in the service's usual words."""
        ...

    def created(self, task: Task) -> Said:
        """The answer to a create."""
        ...

    def status(self, task: Task, view: View) -> Said:
        """The answer to a poll."""
        ...

    def unknown(self, task_id: str, request_id: str) -> Said:
        """The answer to a poll for a task that is not there, or no longer."""
        ...


@dataclass
class Call:
    """One request and who it is for."""

    desk: Desk
    dialect: Dialect
    request: web.Request
    request_id: str
    elsewhere: bool = False
    """Whether it came to the other host (see `redirect-elsewhere`)."""

    @property
    def account(self) -> str:
        """Whose key it is. Raises `Refusal`."""
        scheme, _, key = self.request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key.startswith("sandbox-"):
            raise Refusal("credentials", "")
        return key.removeprefix("sandbox-")

    def say(self, said: Said, headers: Mapping[str, str] | None = None) -> web.Response:
        """An answer in JSON."""
        status, data = said
        return web.json_response(data, status=status, headers={"X-Request-Id": self.request_id, **(headers or {})})

    def refuse(self, kind: str, *, message: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
        """A refusal in the dialect's words."""
        return self.say(self.dialect.refusal(kind, message, self.request_id), headers)

    def unknown(self, task_id: str) -> web.Response:
        """There is no such task."""
        return self.say(self.dialect.unknown(task_id, self.request_id))

    async def json(self) -> Any:
        """The body. Raises `Refusal` when it is no JSON."""
        if self.request.content_type != "application/json":
            raise Refusal("parameter", "Content-Type must be application/json")
        body = as_json((await self.request.read()).decode("utf-8", "replace"))
        if body is None:
            raise Refusal("parameter", "the body is no JSON")
        return body


class Desk:
    """Takes orders and answers for them. See `Sandbox` for what the numbers mean."""

    def __init__(
        self,
        *,
        clock: Clock,
        bill: Bill,
        chances: Chances,
        folder: Path,
        seed: int,
        latency: tuple[float, float],
        concurrency_limit: int | None,
        poll_limit: int | None,
        slow: float,
        url_lifetime: float,
        keeps: float,
        tiny: bool,
    ) -> None:
        self.clock = clock
        self.bill = bill
        self.chances = chances
        self.slow = slow
        self.tasks = Tasks(seed, clock.now(), timedelta(seconds=keeps))
        self.clips = clips.Clips(folder)
        self.signer = files.Signer(seed)
        self.uploads: dict[str, files.Upload] = {}
        self.counts: Counter[str] = Counter()
        """Requests by what they were: create, poll, list, cancel, upload, download."""
        self.leaks: list[str] = []
        """Paths of files that were asked for with a key or a cookie, which must not be."""
        self.origin = ""
        self._latency = latency
        self._chance = random.Random(f"{seed}:latency")  # noqa: S311 - how long a task takes
        self._limit = concurrency_limit
        self._poll_limit = poll_limit
        self._polled: dict[tuple[str, str], list[float]] = {}
        self._lifetime = url_lifetime
        self._tiny = tiny

    def now(self) -> datetime:
        return self.clock.now()

    def later(self, seconds: float) -> datetime:
        """A moment from now on, in UTC."""
        return (self.now() + timedelta(seconds=seconds)).astimezone(UTC)

    def call(self, dialect: Dialect, request: web.Request) -> Call:
        """A request with a name of its own."""
        return Call(self, dialect, request, uuid(self.tasks.new_id()))

    # ── creating ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, dialect: Dialect, request: web.Request) -> web.StreamResponse:
        """Book one clip, if nothing speaks against it. The bill is written before anything is answered."""
        call = self.call(dialect, request)
        self.counts["create"] += 1
        try:
            account = call.account
            order = dialect.read(call, await call.json())
        except Refusal as refusal:
            return call.refuse(refusal.kind, message=refusal.message)
        for fault in self._drawn("before"):
            if fault.before is not None and (answer := await fault.before(call)) is not None:
                return answer
        if self._limit is not None and len(self._running(dialect.name, account)) >= self._limit:
            return call.refuse("rate_limit", headers={"Retry-After": "2"})
        task = self._book(call, account, order)
        said: web.StreamResponse = call.say(dialect.created(task))
        for fault in _faults(task):
            if fault.booked is not None:
                said = await fault.booked(call, said)
        return said

    def _drawn(self, moment: str) -> Iterator[Fault]:
        """The faults of one moment that happen this time."""
        for name in self.chances.names():
            if getattr(FAULTS[name], moment) is not None and self.chances.draw(name):
                yield FAULTS[name]

    def _book(self, call: Call, account: str, order: Order) -> Task:
        lasting = [
            name
            for name in self.chances.names()
            if FAULTS[name].before is None and not FAULTS[name].each and self.chances.draw(name)
        ]
        task = Task(
            id=call.dialect.new_id(self.tasks.new_id()),
            request_id=call.request_id,
            provider=call.dialect.name,
            account=account,
            order=order,
            born=self.now(),
            takes=timedelta(seconds=self._chance.uniform(*self._latency)),
            faults=frozenset(lasting),
            clip={},
        )
        form = clips.form(order, tiny=self._tiny)
        for fault in _faults(task):
            form = fault.drawn(form) if fault.drawn is not None else form
        task.clip = form
        self.tasks.add(task)
        self._note(
            "booked",
            task,
            model=order.model,
            mode=order.mode,
            seconds=order.seconds,
            size=f"{order.size[0]}x{order.size[1]}",
            sounding=order.sounding,
            cost=self._cost(task),
            business_id=order.business_id,
            faults=sorted(task.faults),
            request=order.body,
        )
        return task

    def _cost(self, task: Task) -> str | None:
        """What the model's card says it costs, as "0.50 USD"; None where no price is known."""
        card, order = cards.load(task.provider).get(task.order.model), task.order
        if card is None:
            return None
        seconds = Fraction(task.billed)
        price = cards.price(card, (), resolution=order.tier, seconds=seconds, sounding=order.sounding)
        return None if price is None else f"{price.amount} {price.currency}"

    def _note(self, event: str, task: Task, **what: Any) -> None:
        at = rfc3339(self.now())
        self.bill.write(event, at=at, provider=task.provider, account=task.account, task_id=task.id, **what)

    # ── polling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def poll(self, dialect: Dialect, request: web.Request) -> web.StreamResponse:
        """How far a task is. The id is the path's `task_id`."""
        call = self.call(dialect, request)
        self.counts["poll"] += 1
        task_id = request.match_info["task_id"]
        try:
            account = call.account
        except Refusal as refusal:
            return call.refuse(refusal.kind)
        if self._too_often(dialect.name, account):
            return call.refuse("rate_limit", headers={"Retry-After": "1"})
        task = self.tasks.find(dialect.name, account, task_id, self.now())
        if task is None:
            return call.unknown(task_id)
        task.polls += 1
        lasting = [fault for fault in _faults(task) if fault.asked is not None]
        for fault in [*lasting, *(fault for fault in self._drawn("asked") if fault.each)]:
            if fault.asked is not None and (answer := fault.asked(call, task)) is not None:
                return answer
        return call.say(dialect.status(task, self.view(task)))

    def view(self, task: Task) -> View:
        """A task as it is told: with a URL that is good from now on, and with its faults."""
        view = task.view(self.now())
        if view.stage == "succeeded":
            view = told_otherwise(view, url=self._signed(f"/files/{task.provider}/{task.id}.mp4"))
        for fault in _faults(task):
            view = fault.told(view, task) if fault.told is not None else view
        if view.stage == "failed" and "failed" not in task.told:
            task.told.add("failed")
            self._note("failed", task, why=view.why)
        return view

    def cancel(self, task: Task) -> bool:
        """Cancel a task that still waits."""
        if self.view(task).stage != "waiting":
            return False
        task.cancelled = True
        self._note("cancelled", task)
        return True

    def _running(self, provider: str, account: str) -> list[Task]:
        tasks = self.tasks.of(provider, account, self.now())
        return [task for task in tasks if self.view(task).stage in ("waiting", "running")]

    def _too_often(self, provider: str, account: str) -> bool:
        if self._poll_limit is None:
            return False
        now = self.clock.monotonic()
        recent = [moment for moment in self._polled.get((provider, account), ()) if now - moment < 1]
        full = len(recent) >= self._poll_limit
        self._polled[provider, account] = recent if full else [*recent, now]
        return full

    # ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def clip(self, dialect: Dialect, request: web.Request) -> web.StreamResponse:
        """A clip by its signed URL."""
        call = self.call(dialect, request)
        self.counts["download"] += 1
        call.elsewhere = request.path.startswith("/elsewhere/")
        if carried := [name for name in ("Authorization", "Cookie", "X-Api-Key") if name in request.headers]:
            self.leaks.append(f"{request.path} with {' and '.join(carried)}")
            return files.complaint_xml("InvalidArgument", "Only one auth mechanism allowed", 400)
        if not call.elsewhere and (why := self.signer.complaint(request, self.now().timestamp())):
            return self.denied(why)
        found = [
            task for task in self.tasks if (task.provider, task.id) == (dialect.name, request.match_info["task_id"])
        ]
        if not found or self.now() < found[0].ends:
            return files.complaint_xml("NoSuchKey", "The specified key does not exist.", 404)
        task = found[0]
        if not call.elsewhere:
            task.downloads += 1
        path = await self.clips.draw(task.clip)
        data = await asyncio.to_thread(path.read_bytes)
        lasting = [fault for fault in _faults(task) if fault.served is not None]
        for fault in [*lasting, *(fault for fault in self._drawn("served") if fault.each)]:
            if fault.served is not None and (answer := await fault.served(call, task, data)) is not None:
                return answer
        return files.ranged(request, data, "video/mp4")

    def denied(self, why: str) -> web.Response:
        """A URL that is no good, or no longer."""
        return files.complaint_xml("AccessDenied", why, 403)

    def elsewhere(self, task: Task) -> str:
        """The URL of a clip on another host: the same server by another name."""
        return f"{self.origin.replace('127.0.0.1', 'localhost')}/elsewhere/{task.provider}/{task.id}.mp4"

    def _signed(self, path: str) -> str:
        return f"{self.origin}{path}?{self.signer.query(path, int(self.now().timestamp() + self._lifetime))}"

    def pixels(self, url: str) -> Pixels | None:
        """The size of a picture that is known here: uploaded, or in the URL itself."""
        if url.startswith("data:"):
            return files.of_data_url(url)
        upload = self.uploads.get(url)
        return upload.pixels if upload is not None else None


def _faults(task: Task) -> list[Fault]:
    """The faults of a task, in the order of the table."""
    return [fault for name, fault in FAULTS.items() if name in task.faults]
