"""Manifests for the tests of pages and sheets: small ones, large ones, and ones whose every text is an attack."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, Any

from storyrun.cli import main
from storyrun.cli.show import advice
from storyrun.exports import report
from tests.written import write_plan

if TYPE_CHECKING:
    from pathlib import Path

PLAN = """
    title: Halden Cold Brew, autumn spot
    defaults: {resolution: 480p}
    scenes:
      - id: hook
        seconds: 2
        takes: 2
        prompt: Cold brew drips into a glass
      - id: pour
        shots:
          - {seconds: 1, framing: close-up, action: a hand lifts the can, sound: ice}
          - {seconds: 1, action: coffee pours over ice, dialogue: [narrator: Slow made.]}
    """

HOSTILE = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "</style><img src=x onerror=window.pwned=1>",
    "\"><svg onload=window.pwned=1> ' onmouseover=window.pwned=1 x='",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; <!-- -->",
    "\u202etxet sdrawkcab\u202c مرحبا بالعالم שלום",
    "\x1b[31mred\x1b[0m\x07\x00 \ud83d half",
    "x" * 5000,
    "javascript:window.pwned=1",
)


def money(amount: float, *, exact: bool = True) -> dict[str, Any]:
    return {"amount": amount, "currency": "USD", "exact": exact}


def clip(number: int = 0, status: str = "done", **changes: Any) -> dict[str, Any]:
    """A clip as a manifest has it. A done one has its file's name and what was measured."""
    done = status == "done"
    format_ = ("wide", "tall")[number % 2]
    minute = f"2026-11-20T{20 + number // 60 % 3:02}:{number % 60:02}"
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    fresh: dict[str, Any] = {
        "id": f"scene-{number // 2:03}[format={format_}]",
        "scene": f"scene-{number // 2:03}",
        "variant": {"format": format_},
        "take": 1,
        "model": "wan2.7-t2v",
        "status": status,
        "fingerprint": digest,
        "prompt": f"Shot number {number}: she lifts the glass to the window and the light falls through it, slowly",
        "negative_prompt": "blurry, low quality",
        "request": None,
        "task_id": f"task-{number}" if status in ("done", "open") else None,
        "shots": [{"index": 1, "start": 0, "end": 2, "action": "she lifts the glass"}],
        "file": f"clips/scene-{number:03}_v001.mp4" if done else None,
        "sha256": digest if done else None,
        "bytes": 1482113 if done else None,
        "media": {
            "duration": 2, "width": 854, "height": 480, "fps": 30, "frames": 60, "video_codec": "h264",
            "audio_codec": "aac",
        } if done else None,
        "problems": [],
        "picked": False,
        "ordered": {"seconds": 2, "width": 854, "height": 480, "frame_rate": "30", "sound": True},
        "submitted_at": f"{minute}:00Z" if status != "planned" else None,
        "accepted_at": f"{minute}:02Z" if status in ("done", "open") else None,
        "ready_at": f"{minute}:40Z" if done else None,
        "finished_at": f"{minute}:45Z" if done or status == "failed" else None,
        "usage": None,
        "cost": {"quoted": money(0.5), "billed": None},
        "error": None,
    }  # fmt: skip
    fresh["request"] = None if status == "planned" else {
        "model": fresh["model"], "input": {"prompt": fresh["prompt"]}, "parameters": {"seed": 40 + number}
    }  # fmt: skip
    return fresh | changes


def failure(
    kind: str = "moderation", code: str = "DataInspectionFailed", message: str = "inappropriate content"
) -> Any:
    return {"class": kind, "code": code, "message": message}


def manifest(clips: list[dict[str, Any]], former: tuple[dict[str, Any], ...] = (), **changes: Any) -> dict[str, Any]:
    """A manifest of these clips."""
    statuses = [each["status"] for each in clips]
    fresh: dict[str, Any] = {
        "version": 1,
        "storyboard": {"path": "../../../spot.yaml", "title": "Halden Cold Brew, autumn spot", "sha256": "0" * 64},
        "provider": "dashscope",
        "generator": "storyrun 0.1.0",
        "started_at": "2026-11-20T20:00:00Z",
        "finished_at": "2026-11-20T21:10:00Z",
        "totals": {
            "clips": len(clips),
            "reused": 0,
            **{status: statuses.count(status) for status in ("done", "failed", "unknown", "open", "planned")},
            "cost": [money(0.5 * len(clips))] if clips else [],
        },
        "clips": clips,
        "former": list(former),
    }
    return fresh | changes


def mixed() -> dict[str, Any]:
    """A manifest with a clip of every standing, takes, a pick, problems and former clips."""
    takes = [
        clip(0, id=f"hook{f'#{take}' if take > 1 else ''}", scene="hook", variant={}, take=take, picked=take == 2,
             file=f"clips/hook_t{take}_v001.mp4")
        for take in (1, 2, 3)
    ]  # fmt: skip
    shots = [
        {"index": 1, "start": 0, "end": 1, "framing": "close-up", "action": "a hand lifts the can", "sound": "ice"},
        {"index": 2, "start": 1, "end": 2, "action": "coffee pours", "dialogue": [{"speaker": "Mira", "text": "Oh."}]},
    ]
    short = {
        "duration": 1.5, "width": 854, "height": 480, "fps": 24, "frames": 36, "video_codec": "h264",
        "audio_codec": None,
    }  # fmt: skip
    clips = [
        *takes,
        clip(1, shots=shots, cost={"quoted": money(0.5), "billed": money(0.6)},
             reconciled={"differences": ["billed 0.60 USD, quoted 0.50 USD"]}),
        clip(2, problems=["it is 1.5 s of 2", "it is silent"], media=short, warnings=["no cut found at 1 s"],
             measured={"black": [[0, 0.4]], "frozen": [], "silent": [[0, 1.5]], "cuts": []}),
        clip(3, "failed", error=failure(), finished_at="2026-11-20T20:03:30Z"),
        clip(4, "failed", error=failure("provider", "InternalError", "try later")),
        clip(5, "failed", error=failure("expired", "", "kept for 24 hours")),
        clip(6, "unknown"),
        clip(7, "open"),
        clip(8, "planned", cost={"quoted": money(0), "billed": None}),
    ]  # fmt: skip
    return manifest(clips, (clip(9), clip(9, prompt="The same id, other words")))


def hostile() -> dict[str, Any]:
    """Every text that a person or a provider may write is an attack."""
    clips = []
    for number, text in enumerate(HOSTILE):
        clips.append(
            clip(
                number,
                ("done", "failed")[number % 2],
                id=f"{text}",
                scene=text,
                variant={text: text},
                model=text,
                prompt=text,
                negative_prompt=text,
                request={text: text},
                task_id=text,
                shots=[
                    {"index": 1, "start": 0, "end": 1, "framing": text, "camera": text, "action": text, "sound": text},
                    {"index": 2, "start": 1, "end": 2, "dialogue": [{"speaker": text, "text": text}]},
                ],
                problems=[text],
                warnings=[text],
                error=failure("provider", text, text) if number % 2 else None,
            )
        )
    return manifest(
        clips,
        tuple(clips[:2]),
        provider=HOSTILE[1],
        storyboard={"path": f"../{HOSTILE[3]}", "title": HOSTILE[0], "sha256": None},
    )


def page(view: dict[str, Any], posters: dict[str, str] | None = None) -> str:
    """The page of a manifest, as a run writes it."""
    return report.page(view, posters or {}, standing=standing(view), next_lines=advice.next_lines(view, "spot.yaml"))


def standing(view: dict[str, Any]) -> Any:
    return lambda each: advice.standing(view, each, "spot.yaml")


def drawn(folder: Path) -> Path:
    """Three clips drawn by the animatic, as `storyrun preview` leaves them; returns the folder of the run."""
    write_plan(folder, PLAN)
    assert main(["preview", str(folder / "plan.yaml"), "--quiet"]) == 0
    return folder / "outputs/plan/animatic"


def lay(view: dict[str, Any], run_folder: Path, real: Path) -> Path:
    """Put a real clip under every file name of a manifest, and write its page; returns the page."""
    (run_folder / "clips").mkdir(parents=True, exist_ok=True)
    for each in (*view["clips"], *view["former"]):
        if each["file"] and not (run_folder / each["file"]).exists():
            try:
                os.link(real, run_folder / each["file"])
            except OSError:
                shutil.copyfile(real, run_folder / each["file"])
    return report.write(view, run_folder, standing=standing(view), next_lines=advice.next_lines(view, "spot.yaml"))
