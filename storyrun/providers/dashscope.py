"""DashScope (Alibaba Model Studio, Bailian, Qwen Cloud).

Sources: help.aliyun.com/zh/model-studio: text-to-video-api-reference, get-temporary-file-url, rate-limit, error-code;
alibabacloud.com/help/en/model-studio/manage-asynchronous-tasks; the official SDK (dashscope 2.0.2), whose create
re-sends a POST when the answer is lost and is therefore not used.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from storyrun import cards
from storyrun.errors import MissedPoll, Rejected
from storyrun.providers.answers import TASK_ID, Reader, task_part, told
from storyrun.providers.cloud import Cloud, in_path
from storyrun.providers.uploads import Once, check_unchanged, path_of
from storyrun.records import Accepted, ErrorClass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from storyrun.http import ApiClient, DownloadClient
    from storyrun.records import MediaSource, ModelCard, Task

SERVICES = "/api/v1/services/aigc"
TASKS = "/api/v1/tasks"
UPLOADS = "/api/v1/uploads"

UPLOAD_KEPT = 47 * 3600.0
"""Seconds for which an uploaded file is used again. It is kept for 48 hours."""
POLICY = "policy signature upload_dir upload_host oss_access_key_id x_oss_object_acl x_oss_forbid_overwrite".split()

BEFORE, AFTER = 600.0, 900.0
"""Seconds around the time of an order in which its task may have been made: the clocks differ, a create takes time."""
PAGE, MOST_LISTED = 100, 500
"""Rows of a page of the list, and of all the pages that are looked through."""
SHOWN_CANDIDATES = 5
"""Tasks that are named to a person."""
MOST_ASKED = 40
"""Tasks that are asked for their prompt: two seconds of all that the account may ask."""


class Candidate(NamedTuple):
    """A task that may be the one of a lost answer. `prompt` is None where the provider does not (yet) say it."""

    task_id: str
    created: float
    status: str
    prompt: str | None


class DashScope(Cloud):
    """POST /api/v1/services/aigc/.../video-synthesis, GET /api/v1/tasks/{id}. The host decides region and currency."""

    name = "dashscope"
    poll_gap = (13.0, 17.0)
    """Its pages advise 15 seconds."""
    creates_per_second = 5.0
    """For each model; the older ones take fewer (see `rate_limits` on their cards)."""
    polls_per_second = 20.0
    """For the whole account: tasks, lists and cancellations together."""
    upload_kept = UPLOAD_KEPT
    found_by_likeness = True

    def __init__(self, client: ApiClient, downloads: DownloadClient, warn: Callable[[str], None]) -> None:
        reader = Reader(
            key=client.key,
            key_name="DASHSCOPE_API_KEY",
            base=client.base,
            failed="A failed task costs nothing",  # help.aliyun.com/zh/model-studio/model-pricing
        )
        super().__init__(client, downloads, reader, warn)
        self._uploads = Once(UPLOAD_KEPT)

    # ── a lost answer ────────────────────────────────────────────────────────────────────────────────────────────────

    async def find(self, task: Task, owned: frozenset[str]) -> Accepted | None:
        """The one task of that model, that time and exactly that prompt; None when there are none, several, or any
        whose prompt is not known yet. These are told, for a person to look at.

        There is no idempotency key and no id of ours at DashScope, so this is all there is.
        """
        near = [each for each in await self.candidates(task) if each.task_id not in owned]
        prompt = task.job.get("prompt")
        same = [each for each in near if each.prompt == prompt]
        untold = [each for each in near if each.prompt is None]
        if len(same) == 1 and not untold:
            return Accepted(same[0].task_id)
        if same or untold:
            self._warn(_ambiguous(task, [each.task_id for each in (*same, *untold)]))
        return None

    async def candidates(self, task: Task) -> tuple[Candidate, ...]:
        """The tasks of the order's model that were made about when it was sent, with their prompts.

        Empty when nobody knows when it was sent, or when there are too many to ask. The list has no prompts, so each
        task is asked. Raises `MissedPoll` when there is no usable answer.
        """
        if not task.sent_at:
            return ()
        sent = datetime.fromisoformat(task.sent_at)
        sent_at = (sent if sent.tzinfo else sent.replace(tzinfo=UTC)).timestamp()
        rows = [row for row in await self._listed(task.model) if sent_at - BEFORE <= row.created <= sent_at + AFTER]
        if len(rows) > MOST_ASKED:
            return ()
        return tuple([row._replace(prompt=await self._prompt(row.task_id)) for row in rows])

    async def _listed(self, model: str) -> list[Candidate]:
        """The tasks of a model of the last 24 hours, which is what the list gives when no time is named.

        Times are not sent, because no page says which zone they are in; the rows have them in milliseconds of UTC.
        """
        found: list[Candidate] = []
        for page in range(1, MOST_LISTED // PAGE + 1):
            params = {"model_name": model, "page_no": str(page), "page_size": str(PAGE)}
            status, data, answer = await self._client.ask(TASKS, params)
            rows = data.get("data") if isinstance(data, dict) and status == 200 else None
            if not isinstance(rows, list):
                raise self._reader.missed(status, data, answer)
            found += [row for each in rows if (row := _candidate(each, model))]
            pages = data.get("total_page")
            if not rows or not isinstance(pages, int) or page >= pages:
                return found
        raise MissedPoll(f"more than {MOST_LISTED} tasks in a day: too many to look through", kind=ErrorClass.PROVIDER)

    async def _prompt(self, task_id: str) -> str | None:
        status, data, answer = await self._client.ask(f"{TASKS}/{in_path(task_id)}")
        if status != 200 or not isinstance(data, dict):
            raise self._reader.missed(status, data, answer)
        prompt = task_part(data).get("orig_prompt")
        return prompt if isinstance(prompt, str) else None

    # ── cancelling ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, task: Task) -> bool:
        """Cancel a task, because a person asked for it. False: it is no longer pending, and goes on.

        Raises `MissedPoll` when there is no usable answer.
        """
        status, data, answer = await self._client.ask(f"{TASKS}/{in_path(task.task_id)}/cancel", method="POST")
        code = told(data).code if isinstance(data, dict) else ""
        if status == 200 and isinstance(data, dict) and not code:
            return True
        if code == "UnsupportedOperation":
            return False
        raise self._reader.missed(status, data, answer)

    # ── uploads ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def upload(self, source: MediaSource, model: str) -> str:
        """An oss:// URL of a local file, for this model and account only; kept for 48 hours, not public.

        Once per content and model. One page says that this is for keys of Beijing only. Raises `NotSent` for a file
        that cannot go up, `Rejected` when it is refused, `MissedPoll` when it may be tried again.
        """
        return await self._uploads.get((source.sha256, model), lambda: self._upload(source, model))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._uploads.aclose()
        await super().aclose()

    async def _upload(self, source: MediaSource, model: str) -> str:
        import aiohttp

        path = path_of(source)
        status, data, answer = await self._client.ask(UPLOADS, {"action": "getPolicy", "model": model})
        policy = data.get("data") or data.get("output") if isinstance(data, dict) else None
        if status != 200 or not isinstance(policy, dict) or not all(isinstance(policy.get(key), str) for key in POLICY):
            raise self._reader.not_uploaded(source.text, status, data, answer.body)
        await asyncio.to_thread(check_unchanged, source)
        most = policy.get("max_file_size_mb")
        if str(most).isdecimal() and source.bytes > int(str(most)) * 1024 * 1024:
            sentence = f"{source.text} is {source.bytes / 1048576:.1f} MB; an upload for {model} takes {most} MB"
            raise Rejected(
                f"{sentence}. Nothing was bought. Put it online and write its URL.", kind=ErrorClass.PARAMETER
            )
        # nothing may be overwritten, and a policy is made for one upload: its signature makes the name its own
        own = hashlib.sha256(f"{policy['policy']}{policy['signature']}".encode()).hexdigest()[:8]
        name = f"{source.sha256[:16]}-{own}{PurePosixPath(path.name).suffix.lower()}"
        key = f"{policy['upload_dir']}/{name}"
        form = aiohttp.FormData()
        fields = {
            "OSSAccessKeyId": policy["oss_access_key_id"],
            "Signature": policy["signature"],
            "policy": policy["policy"],
            "key": key,
            "x-oss-object-acl": policy["x_oss_object_acl"],
            "x-oss-forbid-overwrite": policy["x_oss_forbid_overwrite"],
            "success_action_status": "200",
        }
        for field, value in fields.items():
            form.add_field(field, value)
        with await asyncio.to_thread(path.open, "rb") as file:
            form.add_field("file", file, filename=name)  # last: what comes after it is not read
            status, data, text = await self._client.upload(policy["upload_host"], form, with_key=False)
        if status not in (200, 204):
            raise self._reader.not_uploaded(source.text, status, data, text)
        return f"oss://{key}"

    # ── creates and polls ────────────────────────────────────────────────────────────────────────────────────────────

    def _create_path(self, request: Mapping[str, Any]) -> str:
        """The endpoint is `video-generation`, for first and last frames of Wan 2.1 and 2.2 `image2video`."""
        endpoint = _facts(str(request.get("model"))).get("endpoint", "video-generation")
        return f"{SERVICES}/{endpoint}/video-synthesis"

    def _create_headers(self, request: Mapping[str, Any]) -> Mapping[str, str]:
        # without the first: "current user api does not support synchronous calls"
        headers = {"X-DashScope-Async": "enable"}
        if '"oss://' in json.dumps(request):
            headers["X-DashScope-OssResourceResolve"] = "enable"
        return headers

    def _question(self, task: Task) -> tuple[str, Mapping[str, str] | None]:
        return f"{TASKS}/{in_path(task.task_id)}", None


def _ambiguous(task: Task, task_ids: list[str]) -> str:
    """What a person is told who has to decide."""
    more = f" and {len(task_ids) - SHOWN_CANDIDATES} more" if len(task_ids) > SHOWN_CANDIDATES else ""
    shown = ", ".join(task_ids[:SHOWN_CANDIDATES])
    return f"{task.job.get('id', task.attempt_id)}, sent {task.sent_at}, could be task {shown}{more}; none was adopted"


def _candidate(row: Any, model: str) -> Candidate | None:
    """A row of the list, if it is one of this model."""
    if not isinstance(row, dict) or row.get("model_name") != model:
        return None
    task_id, created = row.get("task_id"), row.get("gmt_create")
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        return None
    if not isinstance(created, (int, float)) or not 0 < created < 1e15:
        return None
    return Candidate(task_id, created / 1000, str(row.get("status")), None)


def _facts(model: str) -> Mapping[str, Any]:
    """What the card of a model or of its alias says; nothing for a model that has none."""
    known: Mapping[str, ModelCard] = cards.load("dashscope")
    for card in known.values():
        facts = cards.facts(card)
        if model == card.model or model in facts.get("aliases", ()):
            return facts
    return {}
