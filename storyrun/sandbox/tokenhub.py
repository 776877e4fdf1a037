"""TokenHub: DashScope's bodies and answers for Wan models, under paths of its own.

Sources: www.tokenhub.link/docs/calling-video-models.html and tokenhubcn.cn/docs/calling-video-models.html. Errors are
not documented; that they are DashScope's, passed on, is an assumption. There is no list, no cancel, no upload.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from storyrun.sandbox import orders
from storyrun.sandbox.dashscope import DOCUMENT, DashScope, public
from storyrun.sandbox.orders import Refusal

if TYPE_CHECKING:
    from storyrun.sandbox.desk import Call, Desk, Said
    from storyrun.sandbox.orders import Order
    from storyrun.sandbox.tasks import Stage, Task, View

FLAT: dict[Stage, str] = {
    "waiting": "pending",
    "running": "processing",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
"""Status words of the other shape, which the newer page shows for models of other makers."""


class TokenHub(DashScope):
    """The dialect."""

    name = "tokenhub"

    def routes(self, desk: Desk) -> list[web.RouteDef]:
        async def create(request: web.Request) -> web.StreamResponse:
            return await desk.create(self, request)

        async def poll(request: web.Request) -> web.StreamResponse:
            call, task_id = desk.call(self, request), request.match_info["task_id"]
            task = desk.tasks.get(self.name, task_id)
            if task is not None and request.query.get("model") != task.order.model:
                return call.refuse("parameter", message="model: must be the one that the task was created with")
            return await desk.poll(self, request)

        return [
            web.post("/tokenhub/v1/video/generations", create),
            web.get("/tokenhub/v1/video/tasks/{task_id}", poll),
        ]

    def read(self, call: Call, body: Any) -> Order:
        if call.request.headers.get("X-DashScope-Async") != "enable":
            raise Refusal("synchronous", "")
        order = orders.of_dashscope(body, DOCUMENT, call.desk.pixels)
        if not all(public(url) and not url.startswith("oss://") for url in orders.urls(body)):
            raise Refusal("media", "")
        return order

    def created(self, task: Task) -> Said:
        if "other-shape" not in task.faults:
            return super().created(task)
        said = {"id": task.id, "object": "video.generation.task", "status": "pending", "model": task.order.model}
        return 200, said

    def status(self, task: Task, view: View) -> Said:
        if "other-shape" not in task.faults:
            return super().status(task, view)
        said: dict[str, Any] = {
            "id": view.id,
            "object": "video.generation.task",
            "status": view.word or FLAT[view.stage],
            "model": task.order.model,
        }
        if view.stage == "succeeded" and view.url:
            said["metadata"] = {"url": view.url}
        if view.stage == "failed":
            said["error"] = {"code": "task_failed", "message": f"the task failed: {view.why or 'no reason'}"}
        return 200, said
