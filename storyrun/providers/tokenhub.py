"""TokenHub: DashScope's bodies, sent on by a gateway.

Sources: www.tokenhub.link/docs/calling-video-models.html, and its newer edition at
tokenhubcn.cn/docs/calling-video-models.html. Nothing was found about errors, limits, prices, cancelling, uploads or
looking for a task, so answers are read in both shapes, local files are refused by the cards, and a lost answer is left
to a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun.providers.answers import Reader
from storyrun.providers.cloud import Cloud, in_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storyrun.http import ApiClient, DownloadClient
    from storyrun.records import Task


class TokenHub(Cloud):
    """POST /v1/video/generations, GET /v1/video/tasks/{id}?model=..."""

    name = "tokenhub"

    def __init__(self, client: ApiClient, downloads: DownloadClient, warn: Callable[[str], None]) -> None:
        reader = Reader(
            key=client.key,
            key_name="TOKENHUB_API_KEY",
            base=client.base,
            failed="What a failed task costs there is not documented: look at the account",
        )
        super().__init__(client, downloads, reader, warn)

    def _create_path(self, request: Mapping[str, Any]) -> str:
        return "/v1/video/generations"

    def _create_headers(self, request: Mapping[str, Any]) -> Mapping[str, str]:
        # in every sample of the guide for Wan; absent in the newer one for flat models, which no card orders yet
        return {"X-DashScope-Async": "enable"}

    def _question(self, task: Task) -> tuple[str, Mapping[str, str] | None]:
        # the same model as in the create, says the newer edition; the older one's sample, which creates wan2.7-t2v and
        # asks for wan2.6-t2v, is a slip
        return f"/v1/video/tasks/{in_path(task.task_id)}", {"model": task.model}
