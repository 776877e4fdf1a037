"""The one port of the program: what a provider can do.

A provider turns jobs into requests and answers into records. It never sees the ledger, the storyboard, the clock or
the environment; it is built from an HTTP edge, a base URL and a key, all passed in. The animatic is one like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from storyrun.records import Accepted, Answer, Job, Task, TaskStatus


class Provider(Protocol):
    """What every provider has; `find` may always be None."""

    name: str
    """As written in a plan: animatic, tokenhub, ..."""
    paid: bool
    """Whether a create costs money."""
    workers: int
    """Tasks it can work on at once unless `--concurrency` says otherwise."""
    account: str
    """Where and with which key it orders (see `accounts`); empty where there is none."""

    def request(self, job: Job, uploads: Mapping[str, str]) -> dict[str, Any]:
        """The JSON body that orders `job`. Pure.

        Carries what the author set and what the API requires, nothing else. `uploads` maps the text of a local file
        to the URL it was uploaded to; previews pass none and the body shows `upload:refs/desk.png`.
        """
        ...

    async def submit(self, request: Mapping[str, Any], attempt_id: str) -> Answer:
        """Exactly one billable POST, nothing repeated inside.

        Raises `NotSent` when nothing left this machine, `LostAnswer` for everything else that is not an answer.
        """
        ...

    def read(self, answer: Answer) -> Accepted:
        """What an answer to a create says. Pure. Raises `Rejected` for a definite refusal, else `LostAnswer`."""
        ...

    async def poll(self, task: Task) -> TaskStatus:
        """One idempotent question. Raises `MissedPoll` when no usable answer came."""
        ...

    async def fetch(self, task: Task, status: TaskStatus, part: Path) -> None:
        """Write the clip's bytes to `part`. Raises `FetchFailed`, or `NotFound` when a fresh URL is needed."""
        ...

    async def find(self, task: Task, owned: frozenset[str]) -> Accepted | None:
        """Look for the task of an attempt whose answer was lost (its `task_id` is empty). None: cannot tell.

        `owned` are the task ids of all other orders. A provider that cannot look by our id, but only for a task that
        looks alike, says so with `found_by_likeness = True`: then two lost orders of one prompt cannot be told apart.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and threads."""
        ...
