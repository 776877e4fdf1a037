"""Fitting text into boxes: breaking it into lines, shrinking it, and turning pages when even that is not enough.

Nothing is ever cut off: the words of all pages, joined, are the words of the text.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Measure = Callable[[str, int], float]
    """Width of one line of text at a size, in pixels."""

LEADING = 1.32
"""Height of a line as a multiple of the size of its text."""

_AFTER_HYPHENS = re.compile(r"[^-_/]+[-_/]*|[-_/]+")
_CLOSING = frozenset("、。，．：；！？）］｝」』】〉》〕”’…—)]},.;:!?%")
_SMALLEST = 6


class Fitted(NamedTuple):
    """A text in a box: pages of lines, at a size."""

    size: int
    pages: tuple[tuple[str, ...], ...]

    @property
    def height(self) -> int:
        """Pixels of the tallest page."""
        return line_height(self.size) * max((len(page) for page in self.pages), default=0)


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return round(size * LEADING)


def fit(
    text: str,
    width: int,
    height: int,
    measure: Measure,
    *,
    largest: int,
    floor: int,
    pages: int = 1,
    most_lines: int | None = None,
) -> Fitted:
    """The text as large as it fits into a box, in pixels.

    First it shrinks on one page down to `floor`; then it turns up to `pages` pages at that size; then it shrinks
    further. `most_lines` bounds a page beside the box's height.
    """
    for size in _sizes(largest, floor):
        fitted = _at(text, width, height, measure, size, most_lines)
        if len(fitted.pages) <= 1:
            return fitted
    for size in _sizes(floor, _SMALLEST):
        fitted = _at(text, width, height, measure, size, most_lines)
        if len(fitted.pages) <= pages:
            return fitted
    return fitted


def _sizes(largest: int, smallest: int) -> Iterator[int]:
    """From large to small, in steps of about a twentieth."""
    size = largest
    while size > smallest:
        yield size
        size = min(size - 1, size * 19 // 20)
    yield smallest


def _at(text: str, width: int, height: int, measure: Measure, size: int, most_lines: int | None) -> Fitted:
    lines = _balanced(text, width, lambda part: measure(part, size))
    room = max(1, height // line_height(size))
    return Fitted(size, _even(lines, room if most_lines is None else min(room, most_lines)))


def _balanced(text: str, width: int, measure: Callable[[str], float]) -> list[str]:
    """As `wrap`; a few lines are made about equally long, which reads better than a last line of one word."""
    lines = wrap(text, width, measure)
    if not 2 <= len(lines) <= 4:
        return lines
    narrow, wide = width // len(lines), width
    while wide - narrow > max(1, width // 40):
        middle = (narrow + wide) // 2
        tried = wrap(text, middle, measure)
        if len(tried) == len(lines) and max(map(measure, tried)) <= middle:
            lines, wide = tried, middle
        else:
            narrow = middle
    return lines


def _even(lines: Sequence[str], room: int) -> tuple[tuple[str, ...], ...]:
    """Pages of nearly the same number of lines, `room` at most, the longer ones first."""
    count = -(-len(lines) // room)
    bounds = [-(-len(lines) * page // count) for page in range(count + 1)] if count else []
    return tuple(tuple(lines[first:last]) for first, last in pairwise(bounds))


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Lines no wider than `width`. Breaks at spaces and between ideographs; inside a word only if it must."""
    lines: list[str] = []
    line, used, space = "", 0.0, measure(" ")
    for word in text.split():
        for number, piece in enumerate(_pieces(word)):
            gap = " " if line and number == 0 else ""
            wide = measure(piece)
            if used + (space if gap else 0) + wide <= width:
                line, used = line + gap + piece, used + (space if gap else 0) + wide
                continue
            if line:
                lines.append(line)
            *whole, line = _broken(piece, width, measure) if wide > width else [piece]
            lines += whole
            used = measure(line)
    return [*lines, line] if line else lines


def _pieces(word: str) -> list[str]:
    """Where a word may be broken without harm: after hyphens, around ideographs, not before closing punctuation."""
    if word.isascii():
        return _AFTER_HYPHENS.findall(word)
    pieces: list[str] = []
    for character in word:
        wide = unicodedata.east_asian_width(character) in "WF"
        joined = character in _CLOSING or unicodedata.combining(character) or character in "\u200d\ufe0e\ufe0f"
        if pieces and (joined or not (wide or _ideograph(pieces[-1][-1]))):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _ideograph(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _broken(word: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """A word that is wider than a line, in lines. Marks stay with their letters."""
    lines = [""]
    for character in word:
        mark = unicodedata.category(character)[0] == "M" or character in "\u200d\ufe0e\ufe0f"
        if lines[-1] and not mark and measure(lines[-1] + character) > width:
            lines.append("")
        lines[-1] += character
    return lines
