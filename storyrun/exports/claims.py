"""What to send to the provider's support: clips that are bought and not what was ordered, with times and evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun import folder
from storyrun.exports.cells import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    Clip = Mapping[str, Any]

NAME = "claims.csv"

HEAD = (
    "clip",
    "task_id",
    "provider",
    "model",
    "claim",
    "ordered",
    "delivered",
    "evidence",
    "submitted_at",
    "accepted_at",
    "ready_at",
    "finished_at",
    "file",
    "sha256",
    "quoted",
    "billed",
    "currency",
    "provider_code",
    "provider_message",
)


def write(manifest: Mapping[str, Any], run_folder: Path) -> Path | None:
    """Write `claims.csv` beside the manifest; None, and no such file, when there is nothing to claim."""
    path = run_folder / NAME
    rows = list(claims(manifest))
    if not rows:
        path.unlink(missing_ok=True)
        return None
    folder.write_atomically(path, table(HEAD, rows))
    return path


def claims(manifest: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    """A row for every clip of the plan, or once of it, that cost something and gives reason to complain."""
    for clip in (*manifest["clips"], *manifest["former"]):
        for claim, evidence in _reasons(clip):
            quoted, billed = clip["cost"]["quoted"], clip["cost"]["billed"]
            error = clip["error"] or {}
            yield (
                clip["id"],
                clip["task_id"],
                manifest["provider"],
                clip["model"],
                claim,
                _ordered(clip["ordered"]),
                _delivered(clip["media"]),
                evidence,
                clip["submitted_at"],
                clip["accepted_at"],
                clip["ready_at"],
                clip["finished_at"],
                clip["file"],
                clip["sha256"],
                quoted["amount"] if quoted else None,
                billed["amount"] if billed else None,
                (billed or quoted or {}).get("currency"),
                error.get("code"),
                error.get("message"),
            )


def _reasons(clip: Clip) -> Iterator[tuple[str, str]]:
    """Why there is something to claim, and what shows it."""
    billed = clip["cost"]["billed"] or clip["cost"]["quoted"]
    costs = bool(billed and billed["amount"])
    if clip["status"] == "done" and clip["problems"]:
        yield f"not as ordered: {'; '.join(clip['problems'])}", _evidence(clip)
    if clip["status"] == "unknown":
        yield "ordered, and no answer came: was it made, and is it billed?", ""
    if clip["status"] == "failed" and costs:
        gone = (clip["error"] or {}).get("class") == "expired"
        yield ("bought and no longer to be had" if gone else "failed, and billed all the same"), ""
    for difference in (clip["reconciled"] or {}).get("differences", ()):
        yield f"billed otherwise than ordered: {difference}", f"usage {clip['usage']}"


def _ordered(ordered: Mapping[str, Any]) -> str:
    pixels = f"{ordered['width']}x{ordered['height']}" if ordered["width"] else "pixels by the frame"
    return f"{ordered['seconds']} s, {pixels}, {'with' if ordered['sound'] else 'no'} sound"


def _delivered(media: Mapping[str, Any] | None) -> str:
    if media is None:
        return "nothing"
    sound = f"sound {media['audio_codec']}" if media["audio_codec"] else "no sound"
    pixels = f"{media['width']}x{media['height']}"
    return f"{media['duration']} s, {media['frames']} frames, {pixels}, {media['fps']} fps, {sound}"


def _evidence(clip: Clip) -> str:
    """What was measured, with its seconds."""
    found = clip.get("measured") or {}
    parts = [
        f"{word} {'; '.join(f'{start}-{end} s' for start, end in found[word])}"
        for word in ("black", "frozen", "silent")
        if found.get(word)
    ]
    return ", ".join([*parts, f"sha256 {clip['sha256']}"])
