"""The clips that the sandbox serves: animatics of what was ordered, each drawn once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

from storyrun.providers.animatic import Animatic
from storyrun.records import Task, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from storyrun.sandbox.orders import Order

FRAME_RATE = 30
SHOWN = 160
"""Characters of a prompt that are drawn: longer texts take longer and look no better."""


def form(order: Order, *, tiny: bool) -> dict[str, Any]:
    """What is drawn, as the animatic takes it. `tiny`: clips of one size and length look the same."""
    text = "" if tiny else " ".join(order.prompt.split())[:SHOWN]
    return {
        "scene": "sandbox" if tiny else order.model,
        "variant": {},
        "take": 1,
        "shots": [{"index": 1, "start": 0, "end": order.seconds, "action": text}],
        "length": order.seconds,
        "frame_rate": str(FRAME_RATE),
        "width": order.size[0],
        "height": order.size[1],
        "sounding": order.sounding,
    }


class Clips:
    """Draws clips into a folder when they are first asked for; the same form is the same file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._animatic = Animatic()
        self._drawing: dict[str, asyncio.Task[Path]] = {}

    async def draw(self, form: Mapping[str, Any]) -> Path:
        """The MP4 of a form."""
        name = hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()
        if name not in self._drawing:
            self._drawing[name] = asyncio.create_task(self._draw(name, form))
        # shielded: whoever asked first may hang up, and others wait for the same file
        return await asyncio.shield(self._drawing[name])

    async def _draw(self, name: str, form: Mapping[str, Any]) -> Path:
        part = self._folder / f"{name}.mp4"
        task = Task(attempt_id=name, task_id=name, model="animatic", job=form, folder=self._folder)
        await self._animatic.fetch(task, TaskStatus("succeeded", raw="", fetchable=True), part)
        return part

    async def aclose(self) -> None:
        """Stop drawing."""
        for drawing in self._drawing.values():
            drawing.cancel()
        await asyncio.gather(*self._drawing.values(), return_exceptions=True)
        await self._animatic.aclose()
