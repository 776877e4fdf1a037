"""Tasks of the sandbox: what was ordered, by whom, and how far it is at a moment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime, timedelta

    from storyrun.sandbox.orders import Order

Stage = Literal["waiting", "running", "succeeded", "failed", "cancelled"]

QUEUED = 0.2
"""The part of a task's time that it waits before it runs."""


@dataclass(frozen=True)
class View:
    """A task as a poll tells of it. `word` is the status word where it is not the dialect's own for the stage.

    `url` is None where none is told; `why` is the kind of failure (see `orders.KINDS`), "" for none given.
    """

    id: str
    stage: Stage
    url: str | None = None
    word: str = ""
    why: str = ""


@dataclass
class Task:
    """One booked clip. The counters are what its faults go by."""

    id: str
    request_id: str
    provider: str
    account: str
    order: Order
    born: datetime
    takes: timedelta
    faults: frozenset[str]
    clip: Mapping[str, Any]
    """What is drawn (see `clips.form`)."""
    cancelled: bool = False
    polls: int = 0
    downloads: int = 0
    told: set[str] = field(default_factory=set)
    """What of its end is on the bill."""

    @property
    def billed(self) -> int:
        """Seconds that are billed."""
        return self.order.seconds * (2 if "bills-more" in self.faults else 1)

    @property
    def ends(self) -> datetime:
        return self.born + self.takes

    @property
    def runs(self) -> datetime:
        """When it starts to run."""
        return self.born + self.takes * QUEUED

    def view(self, now: datetime) -> View:
        """How far it is, before any fault."""
        if self.cancelled:
            return View(self.id, "cancelled")
        if now >= self.ends:
            return View(self.id, "succeeded")
        return View(self.id, "running" if now >= self.runs else "waiting")


class Tasks:
    """Every task by provider and id. What is older than `keeps` is forgotten, as the services do."""

    def __init__(self, seed: int, started: datetime, keeps: timedelta) -> None:
        self._tasks: dict[tuple[str, str], Task] = {}
        self._by_own_id: dict[tuple[str, str, str], Task] = {}
        self._salt = f"{seed}:{started.isoformat()}"
        self._keeps = keeps
        self._ids = 0

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def new_id(self) -> str:
        """32 hex digits that nothing else of any sandbox has: a ledger may know an earlier one's."""
        self._ids += 1
        return hashlib.sha256(f"{self._salt}:{self._ids}".encode()).hexdigest()[:32]

    def add(self, task: Task) -> None:
        """A task that was booked just now."""
        self._tasks[task.provider, task.id] = task
        if task.order.business_id:
            self._by_own_id.setdefault((task.provider, task.account, task.order.business_id), task)

    def get(self, provider: str, task_id: str) -> Task | None:
        """A task by its id, whoever's it is."""
        return self._tasks.get((provider, task_id))

    def find(self, provider: str, account: str, task_id: str, now: datetime) -> Task | None:
        """A task of this account by its id, or by the account's own id of it (of several, the first)."""
        found = self.get(provider, task_id) or self._by_own_id.get((provider, account, task_id))
        return found if found is not None and found.account == account and self._kept(found, now) else None

    def of(self, provider: str, account: str, now: datetime) -> list[Task]:
        """Every task of an account that is not forgotten, oldest first."""
        return [task for task in self if (task.provider, task.account) == (provider, account) and self._kept(task, now)]

    def _kept(self, task: Task, now: datetime) -> bool:
        return now < task.ends + self._keeps


def uuid(digits: str) -> str:
    """32 hex digits as DashScope writes an id."""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def told_otherwise(view: View, **changes: Any) -> View:
    """A view with some of it changed."""
    return replace(view, **changes)
