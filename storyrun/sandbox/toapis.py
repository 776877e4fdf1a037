"""ToAPIs: flat bodies, tasks by their id or by the caller's own.

Sources: docs.toapis.com on wan2.6, wan2.6-flash, wan3.0, video-status, uploads/images and token-balance. A second
create with the same `client_business_id` is booked again: that it is not, no page promises for these models.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from aiohttp import web

from storyrun.sandbox import orders
from storyrun.sandbox.dashscope import public
from storyrun.sandbox.files import Upload, ranged
from storyrun.sandbox.orders import Refusal

if TYPE_CHECKING:
    from storyrun.sandbox.desk import Call, Desk, Said
    from storyrun.sandbox.orders import Order
    from storyrun.sandbox.tasks import Stage, Task, View

DOCUMENT = orders.Document("toapis")

WORDS: dict[Stage, str] = {
    "waiting": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "failed",
}

REFUSALS = {
    "credentials": (401, "authentication_error", "Invalid API key"),
    "balance": (402, "insufficient_quota", "Insufficient balance"),
    "moderation": (422, "content_policy_violation", "The content violates the policy"),
    "parameter": (400, "invalid_request", "Invalid request"),
    "model": (400, "invalid_request", "The model is not supported"),
    "media": (400, "invalid_request", "A URL cannot be fetched"),
    "rate_limit": (429, "rate_limit_error", "Too many requests"),
    "internal": (500, "internal_error", "Internal server error"),
    "not_found": (404, "not_found_error", "Task not found"),
}

TYPES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}
UPLOAD_LIMIT = 10 * 1024 * 1024
BALANCE = Decimal(1000)


class ToAPIs:
    """The dialect."""

    name = "toapis"

    def routes(self, desk: Desk) -> list[web.RouteDef]:
        async def create(request: web.Request) -> web.StreamResponse:
            return await desk.create(self, request)

        async def poll(request: web.Request) -> web.StreamResponse:
            return await desk.poll(self, request)

        async def upload(request: web.Request) -> web.Response:
            return await _upload(desk.call(self, request))

        async def balance(request: web.Request) -> web.Response:
            call = desk.call(self, request)
            try:
                return call.say(_balance(desk, call.account))
            except Refusal as refusal:
                return call.refuse(refusal.kind)

        async def uploaded(request: web.Request) -> web.Response:
            found = desk.uploads.get(f"{desk.origin}{request.path}")
            return ranged(request, found.data, found.content_type) if found else web.Response(status=404)

        return [
            web.post("/toapis/v1/videos/generations", create),
            web.get("/toapis/v1/videos/generations/{task_id}", poll),
            web.post("/toapis/v1/uploads/images", upload),
            web.get("/toapis/v1/balance", balance),
            web.get("/toapis/balance", balance),
            web.get("/files/uploads/{name}", uploaded),
        ]

    def read(self, call: Call, body: Any) -> Order:
        order = orders.of_toapis(body, DOCUMENT, call.desk.pixels)
        if not all(public(url) or url in call.desk.uploads for url in orders.urls(body)):
            raise Refusal("media", "")
        return order

    def new_id(self, digits: str) -> str:
        return f"video_{digits}"

    def refusal(self, kind: str, message: str, request_id: str) -> Said:
        status, name, usual = REFUSALS[kind]
        return status, {"error": {"code": status, "message": message or usual, "type": name}}

    def created(self, task: Task) -> Said:
        if "other-shape" in task.faults:  # an older revision of the page
            return 200, {"code": 200, "data": [{"status": "submitted", "task_id": task.id}]}
        return 200, {
            "id": task.id,
            "object": "generation.task",
            "model": task.order.model,
            "status": "queued",
            "progress": 0,
            "created_at": int(task.born.timestamp()),
            "metadata": {},
        }

    def status(self, task: Task, view: View) -> Said:
        said: dict[str, Any] = {
            "id": view.id,
            "object": "generation.task",
            "model": task.order.model,
            "status": view.word or WORDS[view.stage],
            "progress": {"waiting": 0, "running": 50}.get(view.stage, 100),
            "created_at": int(task.born.timestamp()),
        }
        if task.order.business_id and view.id == task.id:
            said["client_business_id"] = task.order.business_id
        if {"bills-more", "bills-failed"} & task.faults and view.stage in ("succeeded", "failed"):
            said["usage"] = {"duration": task.billed}
        if view.stage == "succeeded":
            said |= {"completed_at": int(task.ends.timestamp()), "expires_at": int(task.ends.timestamp()) + 86400}
            if "other-shape" in task.faults:
                said |= {"url": view.url} if view.url else {}
            else:
                said["result"] = {"type": "video", "data": [{"url": view.url, "format": "mp4"}] if view.url else []}
        if view.stage in ("failed", "cancelled"):
            reason = REFUSALS[view.why][2] if view.why else ""
            said |= {"error": {"code": "generation_failed", "message": reason}} if reason else {}
        return 200, said

    def unknown(self, task_id: str, request_id: str) -> Said:
        return self.refusal("not_found", "", request_id)


async def _upload(call: Call) -> web.Response:
    """A picture that becomes public: JPEG, PNG, WebP or GIF of at most 10 MB in the field `file`."""
    call.desk.counts["upload"] += 1
    try:
        account = call.account
    except Refusal as refusal:
        return call.refuse(refusal.kind)
    fields = await call.request.post() if call.request.content_type == "multipart/form-data" else {}
    file = fields.get("file")
    if not isinstance(file, web.FileField):
        return call.say((400, {"success": False, "message": "file is required"}))
    data = file.file.read()
    if file.content_type not in TYPES:
        return call.say((400, {"success": False, "message": f"unsupported file type: {file.content_type}"}))
    if len(data) > UPLOAD_LIMIT:
        return call.say((400, {"success": False, "message": "file size exceeds the limit of 10MB"}))
    name = f"{call.request_id}.{TYPES[file.content_type]}"
    url = f"{call.desk.origin}/files/uploads/{name}"
    call.desk.uploads[url] = Upload(data, file.content_type, account)
    told = {"id": call.request_id, "url": url, "mime_type": file.content_type, "size": len(data)}
    return call.say((200, {"success": True, "message": "", "data": told}))


def _balance(desk: Desk, account: str) -> Said:
    """Money left and used, as far as the prices are known; failed tasks are given back."""
    mine = [line for line in desk.bill.lines if (line["provider"], line["account"]) == ("toapis", account)]
    back = {line["task_id"] for line in mine if line["event"] == "failed"}
    costs = [line["cost"] for line in mine if line["event"] == "booked" and line["task_id"] not in back]
    used = sum((Decimal(cost.split()[0]) for cost in costs if cost), Decimal(0))
    said = {"success": True, "remain_balance": float(BALANCE - used), "used_balance": float(used)}
    return 200, said | {"unlimited_quota": False}
