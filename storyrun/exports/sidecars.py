"""Sidecars: beside each clip a JSON file that says what it is, for whoever gets the clip alone.

The clip itself is not touched: with tags in it, its hash and its content credentials would hold no more.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from storyrun import media

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Clip = Mapping[str, Any]

KEYS = (
    "id scene variant take model prompt negative_prompt seed request task_id fingerprint shots ordered media sha256 "
    "bytes problems warnings submitted_at accepted_at ready_at finished_at usage cost"
).split()
"""What a sidecar repeats of the manifest."""


def write(manifest: Mapping[str, Any], run_folder: Path) -> int:
    """See that every clip that is there has its sidecar, `<clip>.json`; how many were written. Raises OSError."""
    written = 0
    for clip in (*manifest["clips"], *manifest["former"]):
        if clip["file"] is None:
            continue
        path = run_folder / clip["file"]
        text = json.dumps(content(clip, manifest, path), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        written += _written(path.with_suffix(".json"), text.encode(errors="backslashreplace"))
    return written


def content(clip: Clip, manifest: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A sidecar as JSON data. `credentials`: whether the file carries content credentials of its maker."""
    return {
        "version": 1,
        "file": path.name,
        "storyboard": {key: manifest["storyboard"][key] for key in ("path", "title")},
        "provider": manifest["provider"],
        **{key: clip.get(key) for key in KEYS},
        "credentials": media.has_credentials(path),
        "generator": manifest["generator"],
    }


def _written(path: Path, data: bytes) -> bool:
    """Write a file if it is not there with just this in it. A power cut may take it: the next run writes it again."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    half_made = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        half_made.write_bytes(data)
        half_made.replace(path)
    finally:
        half_made.unlink(missing_ok=True)
    return True
