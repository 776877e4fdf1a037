"""The clips that the sandbox serves: animatics of what was ordered, each drawn once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
import struct
import wave
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from storyrun import media
from storyrun.providers.animatic import Animatic
from storyrun.records import Task, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from storyrun.sandbox.orders import Order

FRAME_RATE = 30
HUM_RATE = 8000
"""Samples per second of the sound."""
STILLS = {"black": 16, "frozen": 120}
"""What a clip shows instead, from its first frame to its last: one even grey, by its luma."""
WINDOW = re.compile(r"\[(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)s\]")
"""Where a prompt says when a shot starts and ends: `Shot 2 [3-6s]`."""
BLOCKS = ("\u2588" * 60, "\u2591 " * 6)
"""What is drawn in the shots of a clip that has several: dark and light in turn."""
SHOWN = 160
"""Characters of a prompt that are drawn: longer texts take longer and look no better."""


def form(order: Order, *, tiny: bool) -> dict[str, Any]:
    """What is drawn, as the animatic takes it. `tiny`: clips of one size and length look the same."""
    text = "" if tiny else " ".join(order.prompt.split())[:SHOWN]
    told = windows(order.prompt, order.seconds)
    shots = [
        # drawings of one design are much alike: it is the text that makes a cut seen
        {"index": index, "start": start, "end": end, "action": text if len(told) == 1 else BLOCKS[index % 2]}
        for index, (start, end) in enumerate(told, start=1)
    ]
    return {
        "scene": "sandbox" if tiny else order.model,
        "variant": {},
        "take": 1,
        "shots": shots,
        "length": order.seconds,
        "frame_rate": str(FRAME_RATE),
        "width": order.size[0],
        "height": order.size[1],
        "sounding": order.sounding,
    }


def windows(prompt: str, seconds: float) -> list[tuple[float, float]]:
    """The shots that a prompt tells, from and to in seconds; one over the whole clip where it tells none that fit."""
    found = [(_number(start), _number(end)) for start, end in WINDOW.findall(prompt)]
    ends = [0, *(end for _, end in found)]
    if found and ends[-1] == seconds and all(a == before < b for (a, b), before in zip(found, ends, strict=False)):
        return found
    return [(0, seconds)]


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


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
        spoilt = form.get("spoilt", "")
        if spoilt in STILLS:
            await asyncio.to_thread(_still, part, form, STILLS[spoilt])
            return part
        if form["sounding"] and spoilt != "silence":
            form = {**form, "audio_file": await asyncio.to_thread(self._hum, form["length"])}
        task = Task(attempt_id=name, task_id=name, model="animatic", job=form, folder=self._folder)
        await self._animatic.fetch(task, TaskStatus("succeeded", raw="", fetchable=True), part)
        return part

    def _hum(self, seconds: float) -> dict[str, Any]:
        """A soft tone as long as a clip: a model that makes sound makes some that is heard."""
        path = self._folder / f"hum-{seconds:g}.wav"
        if not path.exists():
            aside = self._folder / f".hum-{uuid4().hex}.wav"  # clips of one length are drawn side by side
            with wave.open(str(aside), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(HUM_RATE)
                one = [round(1000 * math.sin(2 * math.pi * 220 * n / HUM_RATE)) for n in range(HUM_RATE)]
                file.writeframes(struct.pack(f"<{HUM_RATE}h", *one) * math.ceil(seconds))
            aside.replace(path)
        content = path.read_bytes()
        return {
            "text": path.name,
            "kind": "audio",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
        }

    async def aclose(self) -> None:
        """Stop drawing."""
        for drawing in self._drawing.values():
            drawing.cancel()
        await asyncio.gather(*self._drawing.values(), return_exceptions=True)
        await self._animatic.aclose()


def _still(part: Path, form: Mapping[str, Any], luma: int) -> None:
    """One even picture for the whole length, with silence where there is to be sound."""
    from av import VideoFrame

    rate = Fraction(form["frame_rate"])
    frame = VideoFrame(form["width"], form["height"], "yuv420p")
    for plane, value in zip(frame.planes, (luma, 128, 128), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    with media.Film(part, (form["width"], form["height"]), rate, sound=form["sounding"]) as film:
        for _ in range(round(form["length"] * rate)):
            film.add_frame(frame)
        if form["sounding"]:
            film.add_sound(bytes(4 * round(form["length"] * media.SAMPLE_RATE)))
