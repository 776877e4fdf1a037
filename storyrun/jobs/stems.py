"""How clips are called: ids for people and the ledger, stems for files (**contract**, DESIGN sections 4 and 8)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from storyrun.checks import slug

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NAME_BYTES = 120
ENDING = "_v001.mp4"


def clip_id(scene: str, variant: Mapping[str, str], take: int) -> str:
    """`scene[axis=value,axis=value]#take`: axes by name, the take from 2 on."""
    values = ",".join(f"{axis}={variant[axis]}" for axis in sorted(variant))
    return scene + (f"[{values}]" if values else "") + (f"#{take}" if take > 1 else "")


def file_stem(scene: str, variant: Mapping[str, str], take: int, clip: str) -> str:
    """The file's name without version and extension: letters and digits of any script, `_` and `-`.

    A name over 120 bytes is cut and ends in 8 hex digits of the id's SHA-256.
    """
    parts = [scene, *(variant[axis] for axis in sorted(variant)), *([f"t{take}"] if take > 1 else [])]
    stem = "_".join(map(slug, parts))
    room = MAX_NAME_BYTES - len(ENDING)
    raw = stem.encode()
    if len(raw) <= room:
        return stem
    tail = hashlib.sha256(clip.encode()).hexdigest()[:8]
    return raw[: room - len(tail) - 1].decode(errors="ignore").rstrip("-_") + "-" + tail
