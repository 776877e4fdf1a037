"""What the three clouds have in common: one POST to order, one GET to ask, a download without the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from storyrun import cards
from storyrun.errors import NotFound, NotSent
from storyrun.http.words import without_secrets
from storyrun.providers import accounts, dialects
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from storyrun.http import ApiClient, DownloadClient
    from storyrun.providers.answers import Reader
    from storyrun.records import Accepted, Answer, Job, ModelCard, Task, TaskStatus


class Cloud:
    """A provider that is spoken to over HTTP. What is special about one is in its own file.

    `warn` is told what a person should know before something leaves this machine.
    """

    name: str
    paid = True
    workers = 5
    """Tasks at once, where the card names no limit: what DashScope gives an account for a model (rate-limit page)."""
    poll_gap = (10.0, 15.0)
    """Seconds between two questions about one task: what the guides advise."""

    def __init__(
        self, client: ApiClient, downloads: DownloadClient, reader: Reader, warn: Callable[[str], None]
    ) -> None:
        self.account = str(accounts.of(client.base, client.key))
        self._client = client
        self._downloads = downloads
        self._reader = reader
        self._warn = warn

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """The model cards by id."""
        return cards.load(self.name)

    def request(self, job: Job, uploads: Mapping[str, str]) -> dict[str, Any]:
        """The JSON body that orders a job (see `dialects`)."""
        return dialects.body(self.name, job, uploads)

    async def submit(self, request: Mapping[str, Any], attempt_id: str) -> Answer:
        """Exactly one POST. A body with a file that was not uploaded is not sent: it would be bought and fail."""
        if file := dialects.not_uploaded(request):
            raise NotSent(f"{file} has not been uploaded; nothing was sent", kind=ErrorClass.FILE)
        return await self._client.create(
            self._create_path(request), self._create_body(request, attempt_id), self._create_headers(request)
        )

    def read(self, answer: Answer) -> Accepted:
        """What an answer to a create says."""
        return self._reader.accepted(answer)

    async def poll(self, task: Task) -> TaskStatus:
        """One question."""
        return self._reader.status(task, *await self._client.ask(*self._question(task)))

    async def fetch(self, task: Task, status: TaskStatus, part: Path) -> None:
        """The clip, from the URL of the last poll, without the key."""
        if status.asset is None:
            raise NotFound("the provider names no URL for the clip", kind=ErrorClass.PROVIDER)
        await self._downloads.fetch(status.asset, part)

    async def find(self, task: Task, owned: frozenset[str]) -> Accepted | None:
        """Nothing is known about looking for a lost task."""
        return None

    def redacted(self, text: str) -> str:
        """A text of whatever origin without the key and without signed URLs, as it may be kept and shown."""
        return without_secrets(text, self._client.key)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._downloads.aclose()

    # ── what each provider says ──────────────────────────────────────────────────────────────────────────────────────

    def _create_path(self, request: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def _create_body(self, request: Mapping[str, Any], attempt_id: str) -> Mapping[str, Any]:
        return request

    def _create_headers(self, request: Mapping[str, Any]) -> Mapping[str, str]:
        return {}

    def _question(self, task: Task) -> tuple[str, Mapping[str, str] | None]:
        raise NotImplementedError


def in_path(task_id: str) -> str:
    """A task id as a part of a path; a person may have typed it (`settle --adopt`)."""
    return quote(task_id, safe="")
