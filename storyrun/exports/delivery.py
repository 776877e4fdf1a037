"""Delivery: copies of clips under the names that were agreed, with their checksums.

The copies are the clips to the byte, so content credentials in them still hold. Nothing that lies there is overwritten.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storyrun import disk, folder
from storyrun.errors import LedgerError, UsageError
from storyrun.exports.names import folded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path, PurePosixPath

    from storyrun.exports.layout import Clip

CHECKSUMS = "checksums.sha256"
"""What `sha256sum -c` reads."""

RECORD = "delivery.json"
"""What was delivered: which clip is which file."""


@dataclass(frozen=True)
class Copy:
    """A clip that was delivered. `name` is relative to the folder. `new`: it was not there before."""

    clip: str
    name: str
    sha256: str
    bytes: int
    new: bool


@dataclass(frozen=True)
class Delivered:
    """What lies in the folder now. `damaged` are clips whose files are not what was recorded: they are not there."""

    copies: tuple[Copy, ...]
    damaged: tuple[str, ...]


def deliver(
    clips: Sequence[Clip],
    names: Mapping[str, PurePosixPath],
    manifest: Mapping[str, Any],
    run_folder: Path,
    target: Path,
) -> Delivered:
    """Copy clips that are there into `target` under these names, and list them.

    Raises `UsageError` before anything is written when another file is in the way, `LedgerError` when the disk fails.
    """
    _not_of_others(target)
    there = _there(clips, names, target)
    copies, damaged = [], []
    try:
        for clip in clips:
            path = target / names[clip["id"]]
            if not there[clip["id"]] and not _copied(run_folder / clip["file"], path, clip["sha256"]):
                damaged.append(clip["id"])
                continue
            size = path.stat().st_size
            copies.append(Copy(clip["id"], str(names[clip["id"]]), clip["sha256"], size, not there[clip["id"]]))
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{target} could not be written: {disk.reason(error)}") from error
    _record({clip["id"]: clip for clip in clips}, copies, manifest, target)
    return Delivered(tuple(copies), tuple(damaged))


def _not_of_others(target: Path) -> None:
    """Raise `UsageError` where our lists would take the place of somebody else's."""
    for name in (CHECKSUMS, RECORD):
        if (target / name).exists() and not _earlier(target / RECORD):
            hint = "deliver into another folder"
            raise UsageError(f"{target / name} is not of a delivery of ours; nothing was copied", hint)


def _there(clips: Sequence[Clip], names: Mapping[str, PurePosixPath], target: Path) -> dict[str, bool]:
    """Which of the clips lie there already, to the byte. Raises `UsageError` for other files in their places."""
    listed: dict[Path, dict[str, str]] = {}
    found, in_the_way = {}, []
    for clip in clips:
        path = target / names[clip["id"]]
        if path.parent not in listed:
            listed[path.parent] = _listed(path.parent)
        present = listed[path.parent].get(folded(path.name))
        same = present == path.name and path.is_file() and folder.sha256_of(path) == clip["sha256"]
        if present is not None and not same:
            in_the_way.append(f"{names[clip['id']]}: {clip['id']}")
        found[clip["id"]] = same
    if in_the_way:
        hint = "\n  ".join((*in_the_way, "deliver into another folder, or put {version} into --name"))
        raise UsageError(f"other files lie in {target} under these names; nothing was copied", hint)
    return found


def _listed(where: Path) -> dict[str, str]:
    """The names in a folder, by what they are where case does not count."""
    try:
        return {folded(path.name): path.name for path in where.iterdir()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"{where} is no folder to deliver into: {disk.reason(error)}") from error


def _copied(source: Path, path: Path, sha256: str) -> bool:
    """Copy a clip, whole or not at all; False when it is not the file that was recorded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{sha256[:16]}.part")
    try:
        try:
            shutil.copyfile(source, part)
        except FileNotFoundError:
            return False
        if folder.sha256_of(part) != sha256:
            return False
        disk.sync_file(part)
        disk.move_without_overwriting(part, path)
    finally:
        part.unlink(missing_ok=True)
    return True


def _record(clips: Mapping[str, Clip], copies: Sequence[Copy], manifest: Mapping[str, Any], target: Path) -> None:
    """Write the checksums and the record, with what earlier deliveries into this folder left in them."""
    names = {copy.name for copy in copies}
    sums = {copy.name: copy.sha256 for copy in copies}
    earlier = [
        each for each in _earlier(target / RECORD) if each["file"] not in names and (target / each["file"]).exists()
    ]
    sums |= {each["file"]: each["sha256"] for each in earlier}
    keys = (
        "id scene variant take model fingerprint prompt negative_prompt seed task_id media picked problems cost".split()
    )
    told = [
        {
            "file": copy.name,
            "sha256": copy.sha256,
            "bytes": copy.bytes,
            "storyboard": manifest["storyboard"],
            "provider": manifest["provider"],
            "source": clips[copy.clip]["file"],
            **{key: clips[copy.clip].get(key) for key in keys},
        }
        for copy in copies
    ]
    content = {"version": 1, "generator": manifest["generator"], "files": [*earlier, *told]}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    lines = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    folder.write_atomically(target / CHECKSUMS, lines.encode())
    folder.write_atomically(target / RECORD, text.encode(errors="backslashreplace"))


def _earlier(path: Path) -> list[dict[str, Any]]:
    """What was delivered here before; nothing where there is no record, or none of ours."""
    try:
        found = json.loads(path.read_bytes())["files"]
        return [each for each in found if isinstance(each["file"], str) and isinstance(each["sha256"], str)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
