"""How problems are told: to a person in a terminal, to a program, to a code review."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from storyrun.records import Problem

Format = Literal["text", "json", "github", "sarif"]

WIDTH = 100
"""Columns of a source line that are shown; a longer one is cut around the caret."""

_MARGIN = "    "
_TAB = 4
_LONGEST_SOURCE = 1000
"""A longer source line is left out of the formats for programs, which have the line's number."""

_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "note": "\x1b[1;36m"}
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What moves the cursor, colours, hides or turns text around: controls and bidirectional marks."""

_ODD_SPACE = re.compile(r"[\u00a0\u00ad\u1680\u2000-\u200b\u202f\u205f\u2060\u3000]")


def render(
    problems: Iterable[Problem], form: Format, *, colour: bool = False, meanings: Mapping[str, str] | None = None
) -> str:
    """All problems, sorted by file and place. Ends in a line end unless there is nothing to say.

    `meanings` has one line for each code, for SARIF's rules. `colour` counts only for text.
    """
    ordered = sorted(problems, key=lambda problem: problem.order)
    if form == "json":
        return json.dumps([_as_object(problem) for problem in ordered], indent=2) + "\n"
    if form == "sarif":
        return json.dumps(_sarif(ordered, meanings or {}), indent=2) + "\n"
    if form == "github":
        return "".join(_github(problem) + "\n" for problem in ordered)
    return "\n".join(as_text(problem, colour=colour) + "\n" for problem in ordered)


def as_text(problem: Problem, *, colour: bool = False) -> str:
    """`file:line:col: error SR123 sentence`, the line with a caret under the column, and the hint."""
    paint = _painter(colour)
    place = paint(_BOLD, f"{harmless(problem.file)}:{problem.line}:{problem.column}:")
    severity = paint(_COLOURS[problem.severity], problem.severity)
    told = [f"{place} {severity} {problem.code} {harmless(problem.sentence)}"]
    if problem.source.strip():
        line, caret = pointed(problem.source, problem.column)
        told += [f"{_MARGIN}{line}".rstrip(), f"{_MARGIN}{' ' * caret}{paint(_COLOURS[problem.severity], '^')}"]
    if problem.hint:
        hint = "\n        ".join(harmless(line) for line in problem.hint.split("\n"))
        told.append(f"  {paint(_DIM, 'hint:')} {hint}")
    return "\n".join(told)


def pointed(source: str, column: int) -> tuple[str, int]:
    """A source line as a terminal shows it, at most `WIDTH` wide, and how many columns stand before its caret.

    `column` counts characters from 1. Wide characters take two columns, combining ones none, and a tab goes to the
    next of every four.
    """
    wanted = min(column - 1, len(source))
    first = max(0, wanted - 4 * WIDTH)
    piece = source[first : wanted + 4 * WIDTH]  # a line may have megabytes; nothing else can be shown
    cells: list[str] = []
    starts = [0]
    for character in piece:
        cell = " " * (_TAB - starts[-1] % _TAB) if character == "\t" else harmless(character)
        cells.append(cell)
        starts.append(starts[-1] + (len(cell) if character == "\t" else width(cell)))
    caret = starts[wanted - first]
    low = max(0, min(caret - WIDTH // 2, starts[-1] - WIDTH))
    before = "..." if low or first else ""
    after = "..." if starts[-1] > low + WIDTH or first + len(piece) < len(source) else ""
    begin = bisect_left(starts, low + len(before))
    end = bisect_right(starts, low + WIDTH - len(after)) - 1
    return before + "".join(cells[begin:end]) + after, len(before) + caret - starts[begin]


def width(character: str) -> int:
    """Columns that one character takes in a terminal."""
    from unicodedata import category, east_asian_width

    if character.isascii():
        return 1
    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in ("W", "F") else 1


def harmless(text: str) -> str:
    """A text on one line that does nothing to a terminal, its characters one for one; a tab becomes a space."""
    text = text.replace("\t", " ")
    if text.isascii() and text.isprintable():
        return text
    return _ODD_SPACE.sub("\u2423", _UNSAFE.sub(_picture, text))


def _picture(found: re.Match[str]) -> str:
    """The sign that Unicode has for showing a control character."""
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else "\ufffd"


def _painter(colour: bool) -> Any:
    return (lambda code, text: f"{code}{text}{_PLAIN}") if colour else (lambda _, text: text)


def _as_object(problem: Problem) -> dict[str, str | int]:
    return {
        "severity": problem.severity,
        "code": problem.code,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "sentence": problem.sentence,
        "hint": problem.hint,
        "source": _source(problem),
    }


def _source(problem: Problem) -> str:
    return problem.source if len(problem.source) <= _LONGEST_SOURCE else ""


def _github(problem: Problem) -> str:
    """A workflow command of GitHub Actions.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands; escapes as in @actions/core.
    """
    level = {"error": "error", "warning": "warning", "note": "notice"}[problem.severity]
    lines = [problem.sentence, *(f"hint: {problem.hint}".split("\n") if problem.hint else ())]
    message = "\n".join(map(harmless, lines))
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    fields: dict[str, str | int] = {
        "file": problem.file,
        "line": problem.line,
        "col": problem.column,
        "title": problem.code,
    }
    return f"::{level} {','.join(f'{key}={_github_field(value)}' for key, value in fields.items())}::{escaped}"


def _github_field(value: str | int) -> str:
    text = str(value)
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(sign, code)
    return text


def _sarif(problems: Sequence[Problem], meanings: Mapping[str, str]) -> dict[str, Any]:
    """SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/; columns count characters (`columnKind`)."""
    from storyrun import __version__

    codes = sorted({problem.code for problem in problems})
    rules = [{"id": code, "shortDescription": {"text": meanings.get(code) or code}} for code in codes]
    driver = {"name": "storyrun", "version": __version__, "rules": rules}
    results = [_sarif_result(problem, codes.index(problem.code)) for problem in problems]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _sarif_result(problem: Problem, rule: int) -> dict[str, Any]:
    from urllib.parse import quote

    region: dict[str, Any] = {"startLine": problem.line, "startColumn": problem.column}
    if source := _source(problem):
        region["snippet"] = {"text": source}
    name = problem.file.replace("\\", "/")
    uri = ("file://" if name.startswith("/") else "") + quote(name)
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": problem.severity,
        "message": {"text": problem.sentence + (f" (hint: {problem.hint})" if problem.hint else "")},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}],
    }
