"""Local files on their way to a provider, before anything is ordered that needs them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from storyrun import retry
from storyrun.errors import MissedPoll, ProviderError
from storyrun.retry import Step
from storyrun.runner.errand import reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from storyrun.records import Job, MediaSource
    from storyrun.runner.errand import Errand

AT_ONCE = 4
"""Files that go up at once: each may be held in memory."""

Key = tuple[str, str]
"""Content (SHA-256) and model: a place may be good for one model only (DashScope)."""


class Uploads:
    """Uploads each content once per model, for as long as the provider keeps it (`upload_kept`, in seconds).

    The URLs are remembered for this run only: they are short-lived, and whoever has one has the file.
    """

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._kept: float | None = getattr(errand.provider, "upload_kept", None)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[Key, asyncio.Lock] = {}
        self._known: dict[Key, tuple[float, str]] = {}
        self._refused: dict[Key, ProviderError] = {}
        self._given_up = 0

    async def of(self, job: Job, begun: float) -> dict[str, str]:
        """The URL of every local file of a job, by the file's text; none where the provider takes no uploads.

        Of no use once the door is closed: nothing more goes up then. Raises `ProviderError` when one of them cannot be
        had in this run.
        """
        if not hasattr(self._errand.provider, "upload"):
            return {}
        return {source.text: await self._url(source, job, begun) for source in local_files(job)}

    async def _url(self, source: MediaSource, job: Job, begun: float) -> str:
        key, clock = (source.sha256, job.model), self._errand.clock
        async with self._turns.setdefault(key, asyncio.Lock()):
            if key in self._refused and not self._errand.door.closed:
                raise self._refused[key]
            known = self._known.get(key)
            if known is None or (self._kept is not None and clock.monotonic() - known[0] >= self._kept):
                at = clock.monotonic()
                known = self._known[key] = (at, await self._upload(source, job, key, begun))
            return known[1]

    async def _upload(self, source: MediaSource, job: Job, key: Key, begun: float) -> str:
        errand = self._errand
        nth = 0
        while True:
            nth += 1
            try:
                async with self._places:
                    if errand.door.closed:
                        return ""
                    url: str = await errand.provider.upload(source, job.model)  # type: ignore[attr-defined]
            except ProviderError as error:
                advice = retry.advise(Step.UPLOAD, nth, error.kind, error.retry_after)
                if advice.stop:
                    errand.door.close(advice.stop)
                if not isinstance(error, MissedPoll):
                    self._refused[key] = error
                    raise
                if advice.wait is None or errand.door.closed or not await errand.wait(advice.wait, begun):
                    self._give_up()
                    raise
                errand.say("waiting", sentence=f"{reason(error, source.text)}; it is uploaded again", clip=job.id)
            else:
                self._given_up = 0
                return url

    def _give_up(self) -> None:
        """One file may be at fault; several in a row are not."""
        self._given_up += 1
        if self._given_up >= retry.LOST_LIMIT:
            self._errand.door.close(f"{self._given_up} files in a row could not be uploaded: is there a connection?")


def local_files(job: Job) -> Iterator[MediaSource]:
    """The files of a job that lie on this machine."""
    of_references = [source for bound in job.references for source in (*bound.media, bound.voice)]
    for source in (*of_references, job.first_frame, job.last_frame, job.audio_file):
        if source is not None and source.path is not None:
            yield source


def to_be_stored(uploads: Mapping[str, str]) -> dict[str, str]:
    """The same URLs as the ledger may hold them: a signed query is a key."""
    if not uploads:
        return {}
    from storyrun.http import without_secrets

    return {text: without_secrets(url) for text, url in uploads.items()}
