"""What every text for a terminal needs: harmless characters, columns, folds, money, and words for a shell."""

from __future__ import annotations

import re
import shlex
import textwrap
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal
    from fractions import Fraction

    from storyrun.records import Money

HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
"""What moves the cursor, hides, reorders or cannot be written: control, format and lone surrogate characters."""

COLOURS = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}


def safe(text: str) -> str:
    """A text on one line that does nothing to a terminal: what is not to be shown is written as its code."""
    return HARMFUL.sub(_code, text)


def _code(match: re.Match[str]) -> str:
    number = ord(match[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(number) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


def width_of(text: str) -> int:
    """Columns that a text takes on a terminal: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def fit(text: str, width: int) -> str:
    """A text cut to `width` columns, with three dots where something is missing."""
    if width_of(text) <= width:
        return text
    kept = ""
    for character in text:
        if width_of(kept + character) > width - 3:
            break
        kept += character
    return kept.rstrip() + "..."


def columns(rows: Sequence[Sequence[str]], align: str, gap: int = 2) -> list[str]:
    """Rows of cells as aligned lines. `align` has `<` or `>` for each column; the last one is left as it is."""
    widths = [max((width_of(row[n]) for row in rows), default=0) for n in range(len(align))]
    lines = []
    for row in rows:
        cells = []
        for cell, width, side in zip(row, widths, align, strict=True):
            if width:
                space = " " * (width - width_of(cell))
                cells.append(space + cell if side == ">" else cell + space)
        lines.append((" " * gap).join(cells).rstrip())
    return lines


def fold(words: Sequence[str], width: int, between: str = " ") -> str:
    """As many words as fit into `width` columns, at least one, and how many more there are."""
    kept, used = 0, 0
    for word in words:
        used += width_of(word) + (len(between) if kept else 0)
        rest = len(words) - kept - 1
        if kept and used + (len(f"{between}... and {rest} more") if rest else 0) > width:
            break
        kept += 1
    if kept == len(words):
        return between.join(words)
    return f"{between.join(words[:kept])}{between}... and {len(words) - kept} more"


def fill(words: Sequence[str], width: int, most: int) -> list[str]:
    """Words in at most `most` lines of `width` columns; the last one says how many more there are."""
    lines: list[str] = []
    rest = list(words)
    while rest and len(lines) < most - 1:
        line = rest.pop(0)
        while rest and width_of(line) + 1 + width_of(rest[0]) <= width:
            line += f" {rest.pop(0)}"
        lines.append(line)
    return [*lines, fold(rest, width)] if rest else lines


def wrap(text: str, width: int, indent: str) -> list[str]:
    """A long text in lines of `width` columns at most, each behind `indent`; its own lines stay lines."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        lines += textwrap.wrap(safe(paragraph), max(20, width - len(indent)), break_on_hyphens=False) or [""]
    return [(indent + line).rstrip() for line in lines]


def paint(text: str, colour: str, on: bool) -> str:
    """A text in a colour, where colours are wanted."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if on and colour and text else text


def plural(number: int, word: str) -> str:
    """`1 clip`, `12 clips`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def amount(value: Decimal) -> str:
    """An amount with two decimals, or with as many as it has."""
    text = f"{value:.6f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}"


def money(each: Money | None, *, currency: bool = False) -> str:
    """`9.00`, `~9.00` for an upper bound, `?` where no price is known; with its currency where asked."""
    if each is None:
        return "?"
    tail = f" {each.currency}" if currency and each.currency else ""
    return f"{'' if each.exact else '~'}{amount(each.amount)}{tail}"


def seconds(value: Fraction | float) -> str:
    """`6 s`, `2.5 s`."""
    return f"{float(value):.10g} s"


def shell(words: Iterable[str]) -> str:
    """Words as one line to type."""
    return safe(shlex.join(words))


def quoted(word: str) -> str:
    """One word as it is typed in a shell."""
    return shell((word,))
