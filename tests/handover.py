"""Helpers for the tests of what is handed over: a project drawn by the animatic, and manifests made up by hand."""

from __future__ import annotations

import json
import wave
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun.exports import layout as layouts
from storyrun.records import Film, Part
from tests.rehearsal import typed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storyrun.exports.layout import Layout
    from tests.rehearsal import Ran

HOSTILE = 'a "quoted" <b>&amp;</b> ]]> é\u202e\u05d0\u05d1 =1+1 --> end'
"""What XML, HTML, spreadsheets, subtitles and terminals trip over."""

PLAN = """\
version: 1
title: 'The "spot" & <two>'
defaults: {resolution: 480p, aspect_ratio: "16:9"}
matrix: {city: [Oslo, Tokyo]}
cut: {sound: vo.wav}
scenes:
  - id: hook
    takes: 2
    seed: 5
    negative_prompt: =cmd|' /C calc'!A0
    shots:
      - seconds: 1
        framing: wide shot
        action: 'rain in {{ city }}, a "quoted" <b>&amp;</b> ]]> é =1+1 --> end'
        dialogue:
          - mira: Anyone <i>here</i> & there?
          - The rain answers.
      - {seconds: 1, framing: close-up, action: eyes}
  - id: end
    seconds: 1
    prompt: "=the logo, quoted \\"so\\""
"""


class Project:
    """A plan in a folder of its own, drawn."""

    def __init__(self, folder: Path, plan: str = PLAN) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.plan = folder / "spot.yaml"
        self.plan.write_text(plan, encoding="utf-8")
        with wave.open(str(folder / "vo.wav"), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(2 * 8000 * 5 // 2))

    def draw(self, *words: str) -> None:
        ran = typed("run", str(self.plan), "--provider", "animatic", "--quiet", *words)
        assert ran.code == 0, ran.said

    @property
    def run_folder(self) -> Path:
        return self.folder / "outputs/spot/animatic"

    @property
    def exports(self) -> Path:
        return self.run_folder / "exports"

    @property
    def manifest(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.run_folder / "manifest.json").read_text("utf-8"))
        return read

    def clip(self, name: str) -> dict[str, Any]:
        """A clip of the manifest."""
        found: dict[str, Any] = next(clip for clip in self.manifest["clips"] if clip["id"] == name)
        return found

    def export(self, *words: str) -> Ran:
        ran = typed("export", str(self.plan), "--provider", "animatic", *words)
        assert "Traceback" not in ran.said
        return ran


_EXPORTED: list[Project] = []


def exported(folder: Callable[[str], Path]) -> Project:
    """A project that is drawn and exported once for all tests, which leave it alone. `folder` makes one by a name."""
    if not _EXPORTED:
        made = Project(folder("a project, 100% é") / "the 'spot'")
        made.draw()
        ran = made.export()
        note = "note: spot_Oslo, spot_Tokyo: an EDL has the pictures alone: the film's sound is not in it\n"
        assert (ran.code, ran.err) == (0, note)
        _EXPORTED.append(made)
    return _EXPORTED[0]


def clip(name: str, *, rate: Fraction = Fraction(24), seconds: Fraction = Fraction(2), **told: Any) -> dict[str, Any]:
    """A clip of a manifest, as ordered and there."""
    scene, _, take = name.partition("#")
    frames = round(seconds * rate)
    fps = rate.numerator if rate.denominator == 1 else float(rate)
    fields: dict[str, Any] = {
        "id": name, "scene": scene, "variant": {}, "take": int(take or 1), "model": "wan2.7-t2v", "status": "done",
        "fingerprint": "0" * 64, "prompt": f"the prompt of {name}", "negative_prompt": None, "seed": 7,
        "request": {"model": "wan2.7-t2v"}, "task_id": "task-1",
        "shots": [{"index": 1, "start": 0, "end": float(seconds), "action": f"in {name}"}],
        "file": f"clips/{name.replace('#', '_t')}_v001.mp4", "sha256": "1" * 64, "bytes": 1000,
        "media": {"duration": float(frames / rate), "width": 64, "height": 36, "fps": fps, "frames": frames,
                  "video_codec": "h264", "audio_codec": "aac"},
        "problems": [], "warnings": [], "measured": None, "picked": False,
        "ordered": {"seconds": float(seconds), "width": 64, "height": 36, "frame_rate": str(rate), "sound": True},
        "submitted_at": None, "accepted_at": None, "ready_at": None, "finished_at": None, "usage": None,
        "cost": {"quoted": {"amount": 0.2, "currency": "USD", "exact": True}, "billed": None}, "reconciled": None,
        "error": None,
    }  # fmt: skip
    return fields | told


def missing(name: str, **told: Any) -> dict[str, Any]:
    """A clip that was never made."""
    gone: dict[str, Any] = {
        "status": "planned",
        "file": None,
        "sha256": None,
        "bytes": None,
        "media": None,
        "request": None,
    }
    return clip(name, **gone, **told)


def laid(folder: Path, *clips: dict[str, Any], **changes: Any) -> Layout:
    """A film of these clips, in their order; clips named `x#2` are takes."""
    takes: dict[str, list[dict[str, Any]]] = {}
    for each in clips:
        takes.setdefault(each["id"].partition("#")[0], []).append(each)
    parts = tuple(
        Part(group, group, tuple(each["id"] for each in found), found[0]["id"], False,
             Fraction(str(found[0]["ordered"]["seconds"])))
        for group, found in takes.items()
    )  # fmt: skip
    length = sum((part.length for part in parts), Fraction(0))
    film = Film({}, "The spot", "spot", parts, length, None, Decimal(0), Fraction(0), "none")
    manifest = {
        "provider": "dashscope",
        "generator": "storyrun 1",
        "storyboard": {"path": "../../../spot.yaml", "title": "The spot", "sha256": "0" * 64},
        "clips": list(clips),
    }
    return layouts.of_film(replace(film, **changes), manifest, folder)
