"""What every clip of a plan was ordered with, one JSON object to a line: for programs, and for the record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from storyrun.exports.layout import Layout


def content(films: Sequence[Layout], target: Path) -> tuple[bytes, tuple[str, ...]]:
    """A line for each clip that the films show, all takes. `request` is null where nothing was ordered."""
    lines: dict[str, str] = {}
    for film in films:
        for place in film.places:
            for clip in place.takes:
                told = {
                    "id": clip["id"],
                    "fingerprint": clip["fingerprint"],
                    "provider": film.manifest["provider"],
                    "model": clip["model"],
                    "request": clip["request"],
                    "status": clip["status"],
                    "task_id": clip["task_id"],
                }
                lines.setdefault(clip["id"], json.dumps(told, allow_nan=False))
    return "".join(f"{line}\n" for line in lines.values()).encode("ascii"), ()
