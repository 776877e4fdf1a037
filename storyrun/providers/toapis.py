"""ToAPIs: flat bodies, our own id beside the task's, images uploaded first.

Sources: docs.toapis.com/docs/{cn,en}/api-reference: videos/wan2.6/generation, videos/wan2.6-flash/generation,
videos/wan3.0/generation, tasks/video-status, uploads/images, account/token-balance.
"""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

from storyrun.providers import verdicts
from storyrun.providers.answers import Reader
from storyrun.providers.cloud import Cloud, in_path
from storyrun.providers.uploads import Once, picture
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storyrun.http import ApiClient, DownloadClient
    from storyrun.records import Accepted, MediaSource, Task

VIDEOS = "/v1/videos/generations"
UPLOADS = "/v1/uploads/images"
UPLOADED_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
MOST_BYTES = 10 * 1024 * 1024

REFUSALS = {**verdicts.REFUSALS, 422: ErrorClass.MODERATION}  # content_policy_violation, by the table of video-status


class ToApis(Cloud):
    """POST /v1/videos/generations, GET the same with the task's id or ours."""

    name = "toapis"

    def __init__(self, client: ApiClient, downloads: DownloadClient, warn: Callable[[str], None]) -> None:
        reader = Reader(
            key=client.key,
            key_name="TOAPIS_API_KEY",
            base=client.base,
            failed="A refund is implied by its webhook page and promised nowhere: look at the account",
            refusals=REFUSALS,
        )
        super().__init__(client, downloads, reader, warn)
        self._uploads = Once()

    async def find(self, task: Task, owned: frozenset[str]) -> Accepted | None:
        """The task that was created with the attempt's id (video-status takes it in place of the task's)."""
        return self._reader.found(task, *await self._client.ask(f"{VIDEOS}/{in_path(task.attempt_id)}"))

    async def upload(self, source: MediaSource, model: str) -> str:
        """The public URL of a local picture, uploaded once per content; encoded anew when it is too large or of
        another type than the page takes. How long it is kept was not found.

        Raises `NotSent` for a file that cannot go up, `Rejected` when it is refused, `MissedPoll` when there is no
        usable answer and it may be tried again.
        """
        return await self._uploads.get(source.sha256, lambda: self._upload(source))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._uploads.aclose()
        await super().aclose()

    async def _upload(self, source: MediaSource) -> str:
        import aiohttp

        ready = await asyncio.to_thread(picture, source, UPLOADED_TYPES, MOST_BYTES)
        if ready.note:
            self._warn(ready.note)
        self._warn(f"{source.text} goes to ToAPIs and becomes public: whoever has its URL can see it")
        form = aiohttp.FormData()
        ending = ready.mime.removeprefix("image/").replace("jpeg", "jpg")
        # the author's file name stays here
        form.add_field(
            "file", io.BytesIO(ready.data), filename=f"{source.sha256[:16]}.{ending}", content_type=ready.mime
        )
        status, data, text = await self._client.upload(self._client.base + UPLOADS, form, with_key=True)
        url = data["data"].get("url") if isinstance(data, dict) and isinstance(data.get("data"), dict) else None
        if 200 <= status < 300 and isinstance(url, str) and url.startswith(("https://", "http://")):
            return url
        raise self._reader.not_uploaded(source.text, status, data, text)

    def _create_path(self, request: Mapping[str, Any]) -> str:
        return VIDEOS

    def _create_body(self, request: Mapping[str, Any], attempt_id: str) -> Mapping[str, Any]:
        # stored with the task and good for looking it up (video-status, private asset review); the wan pages lack it
        return {**request, "client_business_id": attempt_id}

    def _question(self, task: Task) -> tuple[str, Mapping[str, str] | None]:
        return f"{VIDEOS}/{in_path(task.task_id)}", None
