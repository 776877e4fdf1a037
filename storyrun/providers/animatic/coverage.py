"""Which characters a font file can draw: its `cmap` table, read without loading the font.

The formats are in https://learn.microsoft.com/typography/opentype/spec/cmap. Only outlines count: a font of coloured
pictures cannot be drawn in every size.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

SUFFIXES = frozenset({".ttf", ".otf", ".ttc", ".otc"})


def covered(path: Path, characters: Iterable[str]) -> dict[int, frozenset[str]]:
    """What each face of a font file has of `characters`, by the face's number; nothing for a file that is no font."""
    wanted = frozenset(characters)
    found: dict[int, frozenset[str]] = {}
    try:
        with path.open("rb") as file:
            for number, start in enumerate(_faces(file)):
                tables = _tables(file, start)
                if _drawable(tables):
                    has = _covered(_read(file, *tables[b"cmap"]), wanted)
                    if has:
                        found[number] = has
    except (OSError, struct.error, IndexError):
        return {}
    return found


def is_font(path: Path) -> bool:
    """Whether this is a font file with outlines and a character map."""
    try:
        with path.open("rb") as file:
            return any(_drawable(_tables(file, start)) for start in _faces(file))
    except (OSError, struct.error):
        return False


def _drawable(tables: dict[bytes, tuple[int, int]]) -> bool:
    return bool(tables.keys() & {b"glyf", b"CFF ", b"CFF2"}) and b"cmap" in tables


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _faces(file: BinaryIO) -> tuple[int, ...]:
    """Where the faces of a file start: one, or those of a collection."""
    head = _read(file, 0, 12)
    if head[:4] != b"ttcf":
        return (0,)
    count = min(struct.unpack(">I", head[8:12])[0], 256)
    return struct.unpack(f">{count}I", _read(file, 12, 4 * count))


def _tables(file: BinaryIO, start: int) -> dict[bytes, tuple[int, int]]:
    """Offset and length of each table of a face."""
    head = _read(file, start, 12)
    if head[:4] not in (b"\0\1\0\0", b"OTTO", b"true"):
        return {}
    count = struct.unpack(">H", head[4:6])[0]
    rows = _read(file, start + 12, 16 * count)
    return {tag: (offset, length) for tag, _, offset, length in struct.iter_unpack(">4sIII", rows)}


def _covered(cmap: bytes, wanted: frozenset[str]) -> frozenset[str]:
    best: tuple[int, int] = (0, 0)
    for platform, encoding, offset in struct.iter_unpack(">HHI", cmap[4 : 4 + 8 * struct.unpack(">H", cmap[2:4])[0]]):
        form = struct.unpack(">H", cmap[offset : offset + 2])[0]
        if (platform, encoding) in {(3, 1), (3, 10)} or (platform == 0 and encoding != 5):
            best = max(best, (form if form in {4, 12} else 0, offset))
    form, offset = best
    if form == 12:
        return frozenset(_of_groups(cmap[offset:], wanted))
    return frozenset(_of_segments(cmap[offset:], wanted)) if form == 4 else frozenset()


def _of_groups(table: bytes, wanted: frozenset[str]) -> Iterator[str]:
    """Format 12: sorted groups of (first character, last character, first glyph)."""
    count = struct.unpack(">I", table[12:16])[0]
    groups = struct.unpack(f">{3 * count}I", table[16 : 16 + 12 * count])
    lasts = groups[1::3]
    for character in wanted:
        place = bisect_left(lasts, ord(character))
        if place < count:
            first, _, glyph = groups[3 * place : 3 * place + 3]
            if first <= ord(character) and glyph + ord(character) - first:
                yield character


def _of_segments(table: bytes, wanted: frozenset[str]) -> Iterator[str]:
    """Format 4: sorted segments of the first 65,536 characters, by columns."""
    count = struct.unpack(">H", table[6:8])[0] // 2
    words = struct.unpack(f">{(len(table) - 14) // 2}H", table[14 : 14 + (len(table) - 14) // 2 * 2])
    lasts = words[:count]
    for character in wanted:
        code = ord(character)
        place = bisect_left(lasts, code) if code <= 0xFFFF else count
        if place == count:
            continue
        first, delta, jump = (words[count * column + 1 + place] for column in (1, 2, 3))
        if first > code:
            continue
        glyph = code
        if jump:  # counted in bytes from where it stands
            glyph = words[count * 3 + 1 + place + jump // 2 + code - first]
        if glyph and (glyph + delta) & 0xFFFF:
            yield character
