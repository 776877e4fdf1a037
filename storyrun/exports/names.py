"""What clips are called where they are delivered: `{scene}_{city}_t{take:02}` filled in, and safe on every disk."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from string import Formatter
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from storyrun import nearest
from storyrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from storyrun.exports.layout import Clip

FIELDS = "title scene clip take version provider model file".split()
"""What a name may hold besides the axes. `file` is what the clip is called now, without its ending."""

DEFAULT = "{file}"

MOST_BYTES = 255
"""Bytes of a file's name on the usual file systems."""

RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""

FORBIDDEN = re.compile('[<>:"\\\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
"""What a file's name may not hold on one of the usual systems, or what turns it around."""

GONE = "\0"
"""Stands for an empty value until the names are whole."""

Piece = tuple[str, str, int]
"""Of a pattern: text, then the field behind it (empty for none) and the digits that it is filled up to."""


class Pattern:
    """A pattern for names. Raises `UsageError` for one that cannot be filled in.

    `axes` are the axes of the plan, `columns` the values of their rows: {axis: {row id: {column: text}}}.
    """

    def __init__(
        self, text: str, axes: Iterable[str] = (), columns: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None
    ) -> None:
        self._columns = columns or {}
        rows = (f"{axis}.{name}" for axis, found in self._columns.items() for row in found.values() for name in row)
        self._known = list(dict.fromkeys((*FIELDS, *axes, *rows)))
        self._pieces = tuple(self._read(text))

    def name(self, clip: Clip, title: str, provider: str) -> PurePosixPath:
        """The name of a clip that is there, with its own ending; folders where the pattern has a `/`.

        An empty value goes with what parts it from the rest. Empty where nothing is left.
        """
        file = PurePosixPath(clip["file"])
        values = self._values(clip, title, provider)
        filled = ""
        for before, field, digits in self._pieces:
            value = values.get(field, "") if field else ""
            text = f"{value:0{digits}}" if isinstance(value, int) else _slug(value)
            filled += before + (text or GONE if field else "")
        *folders, last = (_tidied(part) for part in filled.rstrip("/").split("/"))
        last = last.removesuffix(file.suffix)
        return PurePosixPath(*folders, last + file.suffix) if last else PurePosixPath()

    def _values(self, clip: Clip, title: str, provider: str) -> dict[str, Any]:
        file = PurePosixPath(clip["file"]).stem
        version = re.search(r"_v([0-9]+)$", file)
        columns = {
            f"{axis}.{column}": text
            for axis, label in clip["variant"].items()
            for column, text in self._columns.get(axis, {}).get(label, {}).items()
        }
        own = {
            "title": title,
            "scene": clip["scene"],
            "clip": clip["id"].removesuffix(f"#{clip['take']}"),
            "take": clip["take"],
            "version": int(version[1]) if version else 1,
            "provider": provider,
            "model": clip["model"],
            "file": file,
        }
        return {**columns, **clip["variant"], **own}

    def _read(self, text: str) -> Iterator[Piece]:
        try:
            parsed = [*Formatter().parse(text)]
        except ValueError as error:
            raise UsageError(f"--name {text!r}: {error}", "a brace that is meant is written twice: {{ or }}") from None
        if text.startswith("/") or not text.strip("/"):
            raise UsageError(f"--name {text!r} is no name in the folder of --deliver", "begin it with {scene}, say")
        for before, field, spec, conversion in parsed:
            if found := FORBIDDEN.search(before):
                raise UsageError(f"--name {text!r}: no file's name may hold {found[0]!r}", "leave it out")
            if field is None:
                yield before, "", 0
                continue
            if field not in self._known:
                raise UsageError(f"--name {text!r}: there is no {{{field}}}", nearest.hint(field, self._known))
            digits = re.fullmatch(r"0?([1-9])|", spec or "")
            if conversion or not digits or (digits[1] and field not in ("take", "version")):
                wrong = "{" + field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
                raise UsageError(f"--name {text!r}: {wrong} cannot be filled in", "numbers can be padded: {take:02}")
            yield before, field, int(digits[1] or 0)


def of_clips(clips: Sequence[Clip], pattern: Pattern, title: str, provider: str) -> dict[str, PurePosixPath]:
    """The names of clips, by clip id. Raises `UsageError` that lists those that cannot be, and those that are alike."""
    names = {clip["id"]: pattern.name(clip, title, provider) for clip in clips}
    faults = [f"{clip}: {fault}" for clip, name in names.items() if (fault := _fault(name))]
    alike: dict[str, list[str]] = {}
    for clip, name in names.items():
        alike.setdefault(folded(str(name)), []).append(clip)
    groups = [f"{names[group[0]]}: {', '.join(group)}" for group in alike.values() if len(group) > 1]
    if faults:
        raise UsageError("these names cannot be; nothing was copied", "\n  ".join((*faults, "change --name")))
    if groups:
        way_out = "put more into --name, {take} or an axis say"
        raise UsageError("clips would have one name; nothing was copied", "\n  ".join((*groups, way_out)))
    return names


def folded(name: str) -> str:
    """What is left of a name where case and Unicode forms do not count."""
    return normalize("NFC", normalize("NFC", name).casefold())


def _tidied(part: str) -> str:
    """A part of a name without empty values, and without what parted them from the rest."""
    return re.sub(f"[-_. ]*{GONE}", "", re.sub(f"^({GONE}[-_. ]*)+", "", part))


def _slug(value: str) -> str:
    """A value in a name: letters and digits of any script, `_`, `-` and points."""
    return "".join(c if c.isalnum() or c in "_-." else "-" for c in normalize("NFC", value)).strip(".")


def _fault(name: PurePosixPath) -> str:
    """Why a name cannot be; empty where it can."""
    if not name.name:
        return "nothing is left of its name"
    for part in name.parts:
        if part.startswith((".", "-", " ")) or part.endswith((".", " ")) or RESERVED.fullmatch(part):
            return f"{part!r} is no name on every system"
        if len(part.encode()) > MOST_BYTES:
            return f"its name has {len(part.encode())} bytes, and {MOST_BYTES} are the most"
    return ""
