"""DashScope: the `/api/v1` of Alibaba Model Studio, as its pages and its SDK know it.

Sources: help.aliyun.com and docs.qwencloud.com on creating tasks (bodies, errors), on asynchronous tasks (poll, list,
cancel), on temporary URLs (getPolicy and the form); the SDK `dashscope` 2.0.2 for what it sends and reads.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import BodyPartReader, web

from storyrun.sandbox import orders
from storyrun.sandbox.files import Upload, complaint_xml
from storyrun.sandbox.orders import Refusal
from storyrun.sandbox.tasks import uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.sandbox.desk import Call, Desk, Said
    from storyrun.sandbox.orders import Order
    from storyrun.sandbox.tasks import Stage, Task, View

DOCUMENT = orders.Document("dashscope")

WORDS: dict[Stage, str] = {
    "waiting": "PENDING",
    "running": "RUNNING",
    "succeeded": "SUCCEEDED",
    "failed": "FAILED",
    "cancelled": "CANCELED",
}

REFUSALS = {
    "credentials": (401, "InvalidApiKey", "Invalid API-key provided."),
    "balance": (400, "Arrearage", "Access denied, please make sure your account is in good standing."),
    "moderation": (400, "DataInspectionFailed", "Input text data may contain inappropriate content."),
    "parameter": (400, "InvalidParameter", "Required parameter is missing or invalid."),
    "model": (404, "ModelNotFound", "Model not exist."),
    "endpoint": (400, "InvalidParameter", "url error, please check url!"),
    "synchronous": (403, "AccessDenied", "current user api does not support synchronous calls."),
    "media": (
        *(400, "InvalidParameter.DataInspection"),
        "Unable to download the media resource during the data inspection process.",
    ),
    "rate_limit": (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    "internal": (500, "InternalError", "An internal error has occured, please try again later."),
    "not_pending": (
        *(400, "UnsupportedOperation"),
        "Failed to cancel the task, please confirm if the task is in PENDING status.",
    ),
}

KEPT = timedelta(hours=24)
UPLOAD_LIMIT = 100 * 1024 * 1024
POLICY_SECONDS = 300


class DashScope:
    """The dialect; TokenHub speaks most of it too."""

    name = "dashscope"

    def routes(self, desk: Desk) -> list[web.RouteDef]:
        async def create(request: web.Request) -> web.StreamResponse:
            return await desk.create(self, request)

        async def poll(request: web.Request) -> web.StreamResponse:
            return await desk.poll(self, request)

        async def listed(request: web.Request) -> web.Response:
            return _guarded(desk.call(self, request), _list)

        async def cancel(request: web.Request) -> web.Response:
            return _guarded(desk.call(self, request), _cancel)

        async def policy(request: web.Request) -> web.Response:
            return _guarded(desk.call(self, request), _policy)

        async def form(request: web.Request) -> web.Response:
            return await _form(desk, request)

        return [
            web.post("/dashscope/api/v1/services/aigc/{endpoint}/video-synthesis", create),
            web.get("/dashscope/api/v1/tasks", listed),
            web.get("/dashscope/api/v1/tasks/", listed),
            web.get("/dashscope/api/v1/tasks/{task_id}", poll),
            web.post("/dashscope/api/v1/tasks/{task_id}/cancel", cancel),
            web.get("/dashscope/api/v1/uploads", policy),
            web.post("/oss", form),
        ]

    def read(self, call: Call, body: Any) -> Order:
        if call.request.headers.get("X-DashScope-Async") != "enable":
            raise Refusal("synchronous", "")
        order = orders.of_dashscope(body, DOCUMENT, call.desk.pixels)
        if call.request.match_info["endpoint"] != endpoint(order.model):
            raise Refusal("endpoint", "")
        self.check_media(call, order)
        return order

    def check_media(self, call: Call, order: Order) -> None:
        """Whether the service could fetch what a body names. Raises `Refusal`."""
        for url in orders.urls(order.body):
            if url.startswith("oss://"):
                upload = call.desk.uploads.get(url)
                if call.request.headers.get("X-DashScope-OssResourceResolve") != "enable":
                    raise Refusal("parameter", f"{url} needs the header X-DashScope-OssResourceResolve: enable")
                if upload is None or (upload.account, upload.model) != (call.account, order.model):
                    raise Refusal("media", "")
            elif not public(url):
                raise Refusal("media", "")

    def new_id(self, digits: str) -> str:
        return uuid(digits)

    def refusal(self, kind: str, message: str, request_id: str) -> Said:
        status, code, usual = REFUSALS[kind]
        return status, {"code": code, "message": message or usual, "request_id": request_id}

    def created(self, task: Task) -> Said:
        return 200, {"request_id": task.request_id, "output": {"task_id": task.id, "task_status": "PENDING"}}

    def status(self, task: Task, view: View) -> Said:
        output: dict[str, Any] = {
            "task_id": view.id,
            "task_status": view.word or WORDS[view.stage],
            "submit_time": _local(task.born),
        }
        said: dict[str, Any] = {"request_id": task.request_id, "output": output}
        if view.stage != "waiting":
            output["scheduled_time"] = _local(task.runs)
        if view.stage in ("succeeded", "failed"):
            output["end_time"] = _local(task.ends)
        if view.stage == "failed" and view.why:
            _, output["code"], output["message"] = REFUSALS[view.why]
        if view.stage == "succeeded":
            output["orig_prompt"] = task.order.prompt
            if view.url:
                output["video_url"] = view.url
        if view.stage == "succeeded" or (view.stage == "failed" and "bills-failed" in task.faults):
            said["usage"] = usage(task)
        return 200, said

    def unknown(self, task_id: str, request_id: str) -> Said:
        return 200, {"request_id": request_id, "output": {"task_id": task_id, "task_status": "UNKNOWN"}}


def endpoint(model: str) -> str:
    """Where a model is created: two frames have a path of their own, up to 2.2."""
    return "image2video" if DOCUMENT.model(model)["shape"] == "frame_urls" else "video-generation"


def usage(task: Task) -> dict[str, Any]:
    """What is billed, in the fields of the model's generation."""
    order = task.order
    if order.model.startswith(("wan2.6", "wan2.7", "wan3")):
        said: dict[str, Any] = {
            "duration": float(task.billed),
            "input_video_duration": 0,
            "output_video_duration": task.billed,
            "video_count": 1,
            "SR": int(order.tier.removesuffix("p")),
        }
        if order.model.startswith("wan2.6"):
            return said | {"size": f"{order.size[0]}*{order.size[1]}"}
        return said | ({"ratio": order.ratio} if order.mode in ("text", "reference") else {})
    return {"video_duration": task.billed, "video_ratio": f"{order.size[0]}*{order.size[1]}", "video_count": 1}


def public(url: str) -> bool:
    """Whether a service on the internet could fetch a URL, as far as the URL alone says."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".local", ".internal"))


def _local(moment: datetime) -> str:
    """Times are text with milliseconds and no zone. The service is in Beijing or Singapore."""
    return (moment.astimezone(UTC) + timedelta(hours=8)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _guarded(call: Call, answer: Callable[[Call, str], Said]) -> web.Response:
    try:
        return call.say(answer(call, call.account))
    except Refusal as refusal:
        return call.refuse(refusal.kind, message=refusal.message)


# ── list and cancel ──────────────────────────────────────────────────────────────────────────────────────────────────


def _list(call: Call, account: str) -> Said:
    desk, query = call.desk, call.request.query
    desk.counts["list"] += 1
    now = desk.now()
    try:
        since, until = _moment(query.get("start_time")), _moment(query.get("end_time"))
        page, size = int(query.get("page_no", 1)), int(query.get("page_size", 10))
    except ValueError as error:
        raise Refusal("parameter", str(error)) from error
    if page < 1 or not 1 <= size <= 100:
        raise Refusal("parameter", "page_no or page_size out of range")
    if since and until and until - since > KEPT:
        raise Refusal("parameter", "the time range is longer than 24 hours")
    rows = []
    for task in reversed(desk.tasks.of("dashscope", account, now)):
        stage = desk.view(task).stage
        fits = (
            (since or now - KEPT) <= task.born <= (until or now)
            and query.get("model_name", task.order.model) == task.order.model
            and query.get("status", WORDS[stage]) == WORDS[stage]
        )
        if fits:
            rows.append(_row(task, stage))
    some = rows[(page - 1) * size : page * size]
    pages = -(-len(rows) // size)
    said = {"total": len(rows), "data": some, "total_page": pages, "page_no": page, "page_size": size}
    return 200, said | {"request_id": call.request_id}


def _row(task: Task, stage: Stage) -> dict[str, Any]:
    row: dict[str, Any] = {
        "api_key_id": "1",
        "caller_parent_id": task.account,
        "caller_uid": task.account,
        "gmt_create": _milliseconds(task.born),
        "model_name": task.order.model,
        "region": "sandbox",
        "request_id": task.request_id,
        "start_time": _milliseconds(task.runs),
        "status": WORDS[stage],
        "task_id": task.id,
        "user_api_unique_key": f"apikey:v1:aigc:{endpoint(task.order.model)}:video-synthesis:{task.order.model}",
    }
    if stage in ("succeeded", "failed"):
        row["end_time"] = _milliseconds(task.ends)
    return row


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _moment(text: str | None) -> datetime | None:
    """yyyymmddhhmmss, in the time of Beijing; ValueError for anything else."""
    if text is None:
        return None
    if len(text) != 14:
        raise ValueError(f"{text} is not yyyymmddhhmmss")
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC) - timedelta(hours=8)


def _cancel(call: Call, account: str) -> Said:
    call.desk.counts["cancel"] += 1
    task = call.desk.tasks.find("dashscope", account, call.request.match_info["task_id"], call.desk.now())
    if task is None or not call.desk.cancel(task):
        raise Refusal("not_pending", "")
    return 200, {"request_id": call.request_id}


# ── the temporary store ──────────────────────────────────────────────────────────────────────────────────────────────


def _policy(call: Call, account: str) -> Said:
    query = call.request.query
    if query.get("action") != "getPolicy":
        raise Refusal("parameter", "action: getPolicy")
    model = query.get("model", "")
    DOCUMENT.model(model)
    folder = f"dashscope-instant/{hashlib.sha256(account.encode()).hexdigest()[:32]}/{call.request_id}"
    until = int(call.desk.now().timestamp()) + POLICY_SECONDS
    policy = {"expiration": until, "account": account, "model": model, "folder": folder}
    text = base64.b64encode(json.dumps(policy).encode()).decode()
    return 200, {
        "request_id": call.request_id,
        "data": {
            "policy": text,
            "signature": call.desk.signer.sign(text, str(until)),
            "upload_dir": folder,
            "upload_host": f"{call.desk.origin}/oss",
            "expire_in_seconds": POLICY_SECONDS,
            "max_file_size_mb": 100,
            "capacity_limit_mb": 999999999,
            "oss_access_key_id": "SANDBOX",
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        },
    }


async def _form(desk: Desk, request: web.Request) -> web.Response:
    """The form post to the object store: without a key, signed by the policy, the file last."""
    desk.counts["upload"] += 1
    if "Authorization" in request.headers:
        desk.leaks.append("/oss with Authorization")
        return complaint_xml("InvalidArgument", "Only one auth mechanism allowed", 400)
    if not request.content_type.startswith("multipart/"):
        return complaint_xml("MalformedPOSTRequest", "The body is no form.", 400)
    fields: dict[str, str] = {}
    data: bytes | None = None
    content_type = ""
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or data is not None:
            return complaint_xml("MalformedPOSTRequest", "The file must be the last field.", 400)
        if part.name == "file":
            data, content_type = bytes(await part.read()), part.headers.get("Content-Type", "")
        else:
            fields[part.name or ""] = await part.text()
    try:
        policy = json.loads(base64.b64decode(fields["policy"], validate=True))
        signed = desk.signer.sign(fields["policy"], str(policy["expiration"])) == fields["Signature"]
        fits = fields["OSSAccessKeyId"] == "SANDBOX" and fields["x-oss-forbid-overwrite"] == "true"
        fits = fits and fields["x-oss-object-acl"] == "private" and data is not None
    except (KeyError, ValueError, TypeError):
        return complaint_xml("InvalidArgument", "A field of the form is missing.", 400)
    if not signed or not fits or data is None:
        return complaint_xml("SignatureDoesNotMatch", "The form does not match its policy.", 403)
    if policy["expiration"] < desk.now().timestamp() or not fields["key"].startswith(policy["folder"] + "/"):
        return complaint_xml("AccessDenied", "Invalid according to Policy.", 403)
    if len(data) > UPLOAD_LIMIT:
        return complaint_xml("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.", 400)
    url = f"oss://{fields['key']}"
    if url in desk.uploads:
        return complaint_xml("FileAlreadyExists", "The object you specified already exists.", 409)
    desk.uploads[url] = Upload(data, content_type, policy["account"], policy["model"])
    return web.Response(status=200 if fields.get("success_action_status") == "200" else 204)
