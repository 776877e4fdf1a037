"""What a finished manifest becomes: pages, pictures, films and lists to look at or to hand over.

The formats of `storyrun export` are in `EXPORTS`; each module is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Any

    from storyrun.exports.layout import Layout


class Export(NamedTuple):
    """A format to hand over. `module` has `content(layouts, target)`: the bytes of a file, or None, and what to say.

    `needs` are the libraries that it is written with. `whole`: one file for the plan, else one for each film.
    """

    module: str
    said: str
    needs: tuple[str, ...] = ()
    whole: bool = False
    timeline: bool = False
    """Whether it leads to the clips, so that one that is missing is a gap."""


EXPORTS = {
    "otio": Export("storyrun.exports.otio", "OpenTimelineIO", ("opentimelineio",), timeline=True),
    "edl": Export("storyrun.exports.edl", "EDL", ("opentimelineio", "otio_cmx3600_adapter"), timeline=True),
    "fcp7": Export("storyrun.exports.fcp7", "FCP7 XML", ("opentimelineio", "otio_fcp_adapter"), timeline=True),
    "srt": Export("storyrun.exports.srtfile", "SubRip subtitles", ("srt",)),
    "vtt": Export("storyrun.exports.vttfile", "WebVTT subtitles", ("webvtt",)),
    "csv": Export("storyrun.exports.shotlist", "the shot list of production trackers", whole=True),
    "jsonl": Export("storyrun.exports.requests", "the requests, one to a line", whole=True),
}
"""Format to what writes it."""

ENDINGS = {"fcp7": ".xml"}
"""File endings that are not the format's name."""

WRITTEN = ".written.json"
"""Beside what was written: by what hash it is known again, so that an editor's work is not taken for it."""

EXTRA = "pip install 'storyrun[otio]'"
"""What installs the libraries of all of them."""


def ending(name: str) -> str:
    """The ending of the files of a format."""
    return ENDINGS.get(name, f".{name}")


def lacking(name: str) -> list[str]:
    """The libraries that a format needs and that are not installed here. Loads none of them."""
    return [library for library in EXPORTS[name].needs if find_spec(library) is None]


def write(name: str, layouts: Sequence[Layout], target: Path) -> tuple[bool, tuple[str, ...]]:
    """Write layouts in a format; whether there was anything to write, and what is to be said.

    Raises `UsageError` for what the format cannot say, `LedgerError` when the disk fails.
    """
    module: Any = import_module(EXPORTS[name].module)
    data, notes = module.content(layouts, target)
    if data is not None:
        lay(target, data)
    return data is not None, notes


def lay(target: Path, data: bytes) -> None:
    """Put a file in its place and note in the folder that it is ours. Raises `LedgerError` when the disk fails."""
    import json
    from hashlib import sha256

    from storyrun import disk, folder
    from storyrun.errors import LedgerError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{target.parent} could not be made: {disk.reason(error)}") from error
    folder.write_atomically(target, data)
    known = _written(target.parent) | {target.name: sha256(data).hexdigest()}
    folder.write_atomically(target.parent / WRITTEN, json.dumps(known, indent=2).encode())


def changed(targets: Iterable[Path]) -> list[Path]:
    """Of files that are to be written those that lie there and are not as we wrote them: somebody's work."""
    from storyrun import folder

    return [
        target
        for target in targets
        if target.exists() and _written(target.parent).get(target.name) != folder.sha256_of(target)
    ]


def _written(where: Path) -> dict[str, str]:
    """What we wrote in a folder: name to SHA-256."""
    import json

    try:
        found = json.loads((where / WRITTEN).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
