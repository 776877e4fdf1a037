"""Reading the answers of the clouds. Two shapes and their variants, wherever they come from:

    like DashScope     {"request_id", "output": {"task_id", "task_status", "video_url", "code", "message"}, "usage"}
                       refused: {"code", "message", "request_id"}
    like OpenAI        {"id" or "task_id", "status", "progress", "result": {"data": [{"url"}]}, "error": {"code", ...}}
                       refused: {"error": {"code", "message", "type"}}, {"success": false, "message"}, {"message"}
    ToAPIs before      {"code": 200, "data": [{"status", "task_id"}]}

Sources: help.aliyun.com/zh/model-studio/text-to-video-api-reference and error-code; docs.toapis.com video-status and
wan2.6 pages, and the live answers in the tests of a LiteLLM provider for it; tokenhubcn.cn/docs/calling-video-models;
QuantumNous/new-api for gateways like TokenHub, which may answer in either shape.

Nothing here guesses in our favour: what is no proven refusal and no task id may have been bought.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from storyrun.errors import LostAnswer, MissedPoll, Rejected
from storyrun.http.words import SHOWN, as_json, one_line, without_secrets
from storyrun.providers import verdicts
from storyrun.records import Accepted, Echo, ErrorClass, Failure, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from storyrun.http import Secret
    from storyrun.records import Answer, Task

    Stage = Literal["waiting", "running", "succeeded", "failed", "missing"]

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
"""What a task id looks like everywhere: a UUID, video_01J9..., tsk_vid_... What does not is not put into a URL."""

NAMES_A_TASK = re.compile(r'"task_id"\s*:(?!\s*(?:""|null|\{\s*\}|\[\s*\]))')
"""A task id anywhere in an answer, also in one that is cut: then it is no proof that nothing was bought."""

STAGES: Mapping[str, Stage] = {
    # DashScope: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELED, UNKNOWN; the SDK also knows SUSPENDED.
    # ToAPIs: queued, in_progress, completed, failed; live also an empty word and pending; before, submitted.
    # TokenHub's flat models begin with pending. The others are new-api's.
    **dict.fromkeys(("", "pending", "queued", "submitted", "suspended", "not_start", "created", "waiting"), "waiting"),
    **dict.fromkeys(("running", "processing", "in_progress"), "running"),
    **dict.fromkeys(("succeeded", "success", "completed"), "succeeded"),
    **dict.fromkeys(("failed", "failure", "error", "canceled", "cancelled"), "failed"),
    "unknown": "missing",  # "absent or expired" (alibabacloud.com/help/en/model-studio/manage-asynchronous-tasks)
}
"""Status words in small letters. One that is not here still means running."""


_NO_ORDER = ("Nothing was bought", "Put it online and write its URL, or run again")


class Said(NamedTuple):
    """What an answer says went wrong. `shown` is the provider's own code, `code` the one to classify it by."""

    code: str
    shown: str
    message: str
    request_id: str


class Reader:
    """Reads the answers of one provider, and says what they mean for money.

    `failed` says what a failed task costs. `refusals` are the statuses that prove a refusal (see `verdicts`).
    """

    def __init__(
        self,
        *,
        key: Secret,
        key_name: str,
        base: str,
        failed: str,
        refusals: Mapping[int, ErrorClass] = verdicts.REFUSALS,
    ) -> None:
        self._key = key
        self._key_name = key_name
        self._base = base
        self._host = re.sub(r"^https?://", "", base)
        self._failed = failed
        self._refusals = refusals

    # ── creates ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def accepted(self, answer: Answer) -> Accepted:
        """The task of a create. Raises `Rejected` for a proven refusal, else `LostAnswer`."""
        found = as_json(answer.body)
        data = found if isinstance(found, dict) else {}
        if 300 <= answer.status < 400:
            self._refuse_redirect(answer)
        said = self._said(data, answer)
        taken = 200 <= answer.status < 300
        ids = task_ids(data, bare=taken)
        usable = (each for each in ids if isinstance(each, str) and TASK_ID.fullmatch(each))
        if taken and (task_id := next(usable, "")):
            return Accepted(task_id, said.request_id)
        kind = verdicts.classify(said.code, said.message)
        refused = answer.status in self._refusals
        proven = kind in verdicts.DEFINITE if taken else kind != ErrorClass.PROVIDER or verdicts.no_download(said.code)
        if (taken or refused) and proven and not ids and not NAMES_A_TASK.search(answer.body):
            self._refuse(kind or self._refusals[answer.status], said, answer)
        raise LostAnswer(
            self._sentence(
                f"an answer that says neither yes nor no (HTTP {answer.status})",
                said,
                "It may have been bought",
                "It is looked for where that is possible; if not, storyrun settle",
            ),
            kind=ErrorClass.PROVIDER,
            code=said.shown,
            request_id=said.request_id,
            retry_after=answer.retry_after,
        )

    def refusal(self, kind: ErrorClass, said: Said, *, money: str, status: int = 0) -> str:
        """A sentence about a no: the provider's words, what it means for money, what to do."""
        to_do = verdicts.TO_DO[kind]
        if verdicts.no_download(said.code):
            to_do = verdicts.NOT_REACHED
        elif status in (404, 405) and not said.code:
            to_do = verdicts.WRONG_ADDRESS
        return self._sentence(f"HTTP {status}" if status else "", said, money, to_do)

    def _refuse(self, kind: ErrorClass, said: Said, answer: Answer) -> NoReturn:
        raise Rejected(
            self.refusal(kind, said, money="Nothing was bought", status=answer.status),
            kind=kind,
            code=said.shown,
            request_id=said.request_id,
            retry_after=answer.retry_after,
        )

    def _refuse_redirect(self, answer: Answer) -> NoReturn:
        target = self._shown(answer.location) or "nowhere"
        said = Said("", "", f"it redirects to {target}, and orders are not sent after redirects", answer.request_id)
        sentence = self._sentence(f"HTTP {answer.status}", said, "Nothing was bought", verdicts.WRONG_ADDRESS)
        raise Rejected(sentence, kind=ErrorClass.PROVIDER, request_id=answer.request_id)

    # ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def status(self, task: Task, status: int, data: Any, answer: Answer) -> TaskStatus:
        """What a poll says of its task. Raises `MissedPoll` when it says nothing usable, or speaks of another task."""
        said = self._said(data, answer)
        body = task_part(data)
        word = status_word(body)
        if isinstance(data, dict) and (status == 404 or (word is None and status < 500 and is_missing(said))):
            return TaskStatus("missing", said.message or said.shown or "404", poll_after=answer.retry_after)
        if not 200 <= status < 300 or word is None:
            raise self.missed(status, data, answer)
        ids = task_ids(data, bare=True)
        if ids and not any(each in (task.task_id, task.attempt_id) for each in (*ids, data.get("client_business_id"))):
            other = self._shown(str(ids[0]))[:100]
            raise MissedPoll(
                f"the answer names task {other} where {task.task_id} was asked for: it is not used",
                kind=ErrorClass.PROVIDER,
                request_id=said.request_id,
            )
        stage = STAGES.get(re.sub(r"[\s-]", "_", word.strip().lower()), "running")
        asset = video_url(data) if stage == "succeeded" else None
        usage = data.get("usage") or body.get("usage")
        return TaskStatus(
            stage,
            self._shown(word)[:100],
            fetchable=asset is not None,
            asset=asset,
            failure=self._failure(word, said) if stage == "failed" else None,
            usage=self._clean(usage) if isinstance(usage, dict) else {},
            poll_after=answer.retry_after,
            echo=echo(data),
        )

    def missed(self, status: int, data: Any, answer: Answer) -> MissedPoll:
        """A question without a usable answer. It says nothing about what was asked for."""
        said = self._said(data, answer)
        kind = verdicts.classify(said.code, said.message)
        kind = kind or (self._refusals.get(status) if status in (401, 402, 403, 429) else None) or ErrorClass.PROVIDER
        if 300 <= status < 400:
            said = said._replace(message=f"it redirects to {self._shown(answer.location) or 'nowhere'}")
        what = f"no usable answer (HTTP {status})"
        to_do = verdicts.TO_DO[kind] if kind in (ErrorClass.CREDENTIALS, ErrorClass.BALANCE) else "It is asked again"
        return MissedPoll(
            self._sentence(what, said, "This changes nothing about the order", to_do),
            kind=kind,
            code=said.shown,
            request_id=said.request_id,
            retry_after=answer.retry_after,
        )

    def found(self, task: Task, status: int, data: Any, answer: Answer) -> Accepted | None:
        """The task of a lost answer, where a provider looks tasks up by our own id; None when it has none.

        Raises `MissedPoll` when it does not say. What speaks of another order or another model is not taken.
        """
        body = task_part(data)
        said = self._said(data, answer)
        if isinstance(data, dict) and (status == 404 or (status < 500 and is_missing(said))):
            return None
        if not 200 <= status < 300 or status_word(body) is None:
            raise self.missed(status, data, answer)
        echoed = body.get("client_business_id") or task.attempt_id
        usable = [each for each in task_ids(data, bare=True) if isinstance(each, str) and TASK_ID.fullmatch(each)]
        if not usable or echoed != task.attempt_id or (body.get("model") or task.model) != task.model:
            return None
        return Accepted(usable[0], said.request_id)

    def not_uploaded(self, file: str, status: int, data: Any, text: str) -> Rejected | MissedPoll:
        """Why a file was not taken: `Rejected` when it would be refused again, else `MissedPoll`."""
        said = self._cleaned(told(data) if isinstance(data, dict) else _of_xml(text))
        kind = verdicts.classify(said.code, said.message) or self._refusals.get(status) or ErrorClass.PROVIDER
        passing = status >= 500 or status < 400 or kind == ErrorClass.RATE_LIMIT
        what = f"{file} was not uploaded (HTTP {status})"
        sentence = self._sentence(what, said._replace(shown="", message=": ".join(filter(None, said[1:3]))), *_NO_ORDER)
        error = MissedPoll if passing else Rejected
        return error(sentence, kind=kind, code=said.shown, request_id=said.request_id)

    def _failure(self, word: str, said: Said) -> Failure:
        """Why a task failed: in an HTTP 200, and sometimes without any reason (modelstudioai/cli issue 184)."""
        kind = verdicts.classify(said.code, said.message) or ErrorClass.PROVIDER
        if not said.message and not said.code:
            said = said._replace(message=f"the provider says {word} and gives no reason")
        return Failure(kind, said.shown, self.refusal(kind, said, money=self._failed), said.request_id)

    def _said(self, data: Any, answer: Answer) -> Said:
        return self._cleaned(told(data if isinstance(data, dict) else {}, answer.request_id))

    def _cleaned(self, said: Said) -> Said:
        """Without secrets first, and only then cut: half a key in base64 is not known as one."""
        code, shown, message, request_id = map(self._shown, said)
        return Said(code[:100], shown[:100], message, request_id[:200])

    def _clean(self, data: dict[str, Any]) -> dict[str, Any]:
        """A part of an answer as it may be kept."""
        kept: dict[str, Any] = json.loads(without_secrets(json.dumps(data), self._key))
        return kept

    def _shown(self, text: str) -> str:
        """Somebody else's words as they may be shown: without keys and signatures, on one line, nothing that a
        terminal obeys.
        """
        return one_line(without_secrets(text, self._key))

    def _sentence(self, what: str, said: Said, money: str, to_do: str) -> str:
        """Everything that is known, in the order in which people ask for it."""
        words = said.message[:SHOWN].rstrip(".")
        told = ": ".join(filter(None, [what if not said.shown else "", said.shown, words])) or what
        request = f" (request {said.request_id})" if said.request_id else ""
        to_do = to_do.format(key=self._key_name, host=self._host, base=self._base)
        return f"{told}{request}. {money}. {to_do}{'' if to_do.endswith('?') else '.'}"


# ── where things stand in an answer ──────────────────────────────────────────────────────────────────────────────────


def told(data: Mapping[str, Any], request_id: str = "") -> Said:
    """Code, words and request id of an answer, from wherever they are."""
    output = data.get("output")
    output = output if isinstance(output, dict) else {}
    body = task_part(data)
    error: Any = next((part["error"] for part in (data, body, output) if part.get("error")), {})
    if isinstance(error, str):
        error = {"message": error}
    error = error if isinstance(error, dict) else {}
    codes = [_word(part.get(key)) for part in (error, output, data, body) for key in ("code", "type")]
    code = next(filter(None, codes), "")
    words = (error.get("message"), output.get("message"), data.get("message"), body.get("fail_reason"), data.get("msg"))
    message = next((word for word in words if isinstance(word, str) and word.strip()), "")
    own = next((data[key] for key in ("request_id", "requestId") if isinstance(data.get(key), str)), "")
    return Said(code, code, message, own or request_id)


def _word(value: Any) -> str:
    """A code that is a word. Numbers in its place are HTTP statuses (ToAPIs), and "success" is none."""
    if not isinstance(value, str) or re.fullmatch(r"\d*", value.strip()) or value.lower() in ("success", "ok", "video"):
        return ""
    return value.strip()


def _of_xml(text: str) -> Said:
    """What Alibaba's object store says when it takes no file: an XML with Code, Message and RequestId."""
    code, message, request_id = (
        found[1] if (found := re.search(rf"<{tag}>([^<]*)</{tag}>", text)) else ""
        for tag in ("Code", "Message", "RequestId")
    )
    return Said(code, code, message, request_id)


def is_missing(said: Said) -> bool:
    """Whether an answer says that there is no such task."""
    return said.code.lower() in verdicts.MISSING or said.message.strip().lower() in verdicts.MISSING


def task_part(data: Any) -> dict[str, Any]:
    """The part of an answer that is about the task: the answer itself, its `output`, or its `data`."""
    if not isinstance(data, dict):
        return {}
    for key in ("output", "data"):
        part = data.get(key)
        if isinstance(part, list) and len(part) == 1:
            part = part[0]
        if isinstance(part, dict) and {"task_id", "task_status", "status"} & part.keys():
            return part
    return data


def echo(data: Any) -> Echo:
    """How a task was ordered, where its answer says so: DashScope's `orig_prompt`, the flat shape's `model`, and the
    id of ours that ToAPIs keeps with it.
    """

    def word(*keys: str) -> str:
        found = (part.get(key) for part in (task_part(data), data) for key in keys)
        return next((each for each in found if isinstance(each, str) and each), "")

    return Echo(word("model"), word("orig_prompt", "prompt"), word("client_business_id"))


def status_word(body: Mapping[str, Any]) -> str | None:
    """The status of a task as the provider has it, also empty; None when there is none."""
    value = body.get("task_status", body.get("status"))
    return value if isinstance(value, str) else None if value is None or isinstance(value, (dict, list)) else str(value)


def task_ids(data: Any, *, bare: bool) -> list[Any]:
    """Everything that may be the task's id, the surest first. `bare`: an `id` counts, too (not in an error)."""
    body = task_part(data)
    # `task_id` beats `id`: a gateway gives its own resource an id, too (live answers of ToAPIs)
    keys = ("task_id", "id") if bare else ("task_id",)
    found = [part.get(key) for key in keys for part in (body, data if isinstance(data, dict) else {})]
    return [each for each in found if each not in (None, "")]


def video_url(data: Any) -> str | None:
    """The URL of the clip in any of the known places; None when there is none."""
    body = task_part(data)
    result, metadata, results = body.get("result"), body.get("metadata"), body.get("results")
    places = [
        body.get("video_url"),  # DashScope
        *_urls(result),  # ToAPIs: result.data[0].url
        body.get("url"),  # by one of its tables, and on the page about images
        result.get("url") if isinstance(result, dict) else None,  # by one test
        *_urls({"data": results}),  # DashScope's tasks with several results
        metadata.get("url") if isinstance(metadata, dict) else None,  # new-api
    ]
    return next((url for url in places if isinstance(url, str) and re.match(r"https?://", url, re.IGNORECASE)), None)


def _urls(result: Any) -> list[Any]:
    listed = result.get("data") if isinstance(result, dict) else None
    listed = listed if isinstance(listed, list) else [listed]
    return [part.get(key) for part in listed[:1] if isinstance(part, dict) for key in ("url", "video_url")]
