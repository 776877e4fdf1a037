"""Text-keeping YAML with positions: every scalar stays what was typed, and everything knows where it stands.

`16:9`, `9.90`, `no` and `0042` are texts; a plain `null`, `~` or nothing is None; maps and lists are dicts and lists.
What a plan has no use for (tags, merge keys, several documents) is refused, as is what outgrows all bounds once its
aliases are written out. `text` reads the bytes, `tree` the events, `traps` and `errors` explain what people trip over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from storyrun.records import Mark, Problem
from storyrun.yamlfile.text import NOTHING, decode, to_show
from storyrun.yamlfile.traps import CODES, STAND_INS, USE_A_TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from storyrun.records import Where
    from storyrun.yamlfile.text import Decoded
    from storyrun.yamlfile.traps import Finding, Fix
    from storyrun.yamlfile.tree import Spot

__all__ = ["CODES", "MAX_BYTES", "Document", "parse", "read"]

MAX_BYTES = 8 * 1024 * 1024

_PASSES = 25
_PATIENCE = MAX_BYTES // 2
"""How often, and how many characters in all, a file is read with its traps mended to find the problems behind them."""

_Span = tuple[int, int, int, int]
"""First line and column, last line and the column after the end; from 0."""


class Document:
    """A YAML file, read. `data` is made of dict, list, str and None; `lines` are without their line ends.

    `file` is the name to show, `sha256` that of the bytes. A document with errors keeps what its author most likely
    meant, so that checks can go on; it must not be run.
    """

    __slots__ = ("_root", "data", "file", "lines", "sha256")

    def __init__(self, file: str, lines: tuple[str, ...], data: Any, root: Spot, sha256: str) -> None:
        self.file = file
        self.lines = lines
        self.data = data
        self.sha256 = sha256
        self._root = root

    def mark(self, where: Where, key: bool = False) -> Mark:
        """The place of a value, or of its key; of the nearest ancestor that exists if it is absent."""
        spot = self._spot(where)
        mark = spot.key_start if key and spot.key_start is not None else spot.start
        return Mark(mark.line + 1, mark.column + 1)

    def source(self, where: Where, key: bool = False) -> tuple[str, int]:
        """A scalar as it stands in the file, without quotes or block indicator, and the number of its first line.

        A template engine's line n in this text is the plan's line `number + n - 1`, also where `>` folds lines.
        """
        span = self._span(where, key)
        return _cut(self.lines, span), span[0] + 1

    def locate(self, where: Where, needle: str, nth: int = 0, *, key: bool = False) -> Mark:
        """The place of the nth `needle` (from 0) in a scalar or its key as it stands in the file, else its mark.

        Spaces in the needle match line ends, too.
        """
        span = self._span(where, key)
        line, column = span[:2]
        text = _cut(self.lines, span)
        pattern = r"\s+".join(re.escape(word) for word in re.split(r"\s+", needle))
        for number, found in enumerate(re.finditer(pattern, text) if needle else ()):
            if number == nth:
                above = text.count("\n", 0, found.start())
                start = found.start() - (text.rfind("\n", 0, found.start()) + 1)
                return Mark(line + above + 1, start + 1 + (0 if above else column))
        return self.mark(where, key)

    def problem(
        self,
        where: Where,
        code: str,
        sentence: str,
        hint: str = "",
        *,
        severity: Literal["error", "warning", "note"] = "error",
        key: bool = False,
        needle: str = "",
    ) -> Problem:
        """A problem with a value or its key, or with the first `needle` in it."""
        mark = self.locate(where, needle, key=key) if needle else self.mark(where, key)
        source = to_show(self.lines[mark.line - 1]) if mark.line <= len(self.lines) else ""
        return Problem(severity, code, self.file, mark.line, mark.column, sentence, hint, source)

    def _spot(self, where: Where) -> Spot:
        spot = self._root
        for step in where:
            found: Spot | None = None
            if isinstance(spot.inside, dict) and isinstance(step, str):
                found = spot.inside.get(step)
            elif isinstance(spot.inside, list) and isinstance(step, int) and 0 <= step < len(spot.inside):
                found = spot.inside[step]
            if found is None:
                break
            spot = found
        return spot

    def _span(self, where: Where, key: bool) -> _Span:
        """Where the text of a scalar or of its key starts and ends, without its quotes."""
        spot = self._spot(where)
        if key and spot.key_start is not None:
            start, end, anchored = spot.key_start, spot.key_end, False
            opening = self.lines[start.line][start.column : start.column + 1]
            style = opening if opening in ("'", '"') else ""
        else:
            spot = spot.text or spot
            start, end, anchored, style = spot.start, spot.end, spot.anchored, spot.style
        line, column = start.line, start.column
        if anchored:
            before = re.match(r"(?:&\S*\s*)?", _cut(self.lines, (line, column, end.line, end.column)))
            name = before.group() if before else ""
            line, column = line + name.count("\n"), len(name.rpartition("\n")[2]) + (0 if "\n" in name else column)
        if style in ("|", ">"):
            last = end.line if end.column else end.line - 1
            return (line + 1, 0, last, len(self.lines[last])) if last > line else (line, 0, line, 0)
        quote = 1 if style in ("'", '"') else 0
        return line, column + quote, end.line, end.column - quote


def read(path: Path, shown: str) -> tuple[Document | None, tuple[Problem, ...]]:
    """Read a plan file. `shown` is its name for people. Raises nothing: what is wrong is in the problems.

    The document is None when too little could be understood to check anything else.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            sentence, hint = "there is no such file", "check the name and the folder you are in"
        elif isinstance(error, IsADirectoryError):
            plans = sorted(name.name for name in path.iterdir() if name.suffix in (".yaml", ".yml"))
            sentence, hint = "this is a folder", f"name the plan in it, such as {plans[0]}" if plans else ""
        else:
            sentence, hint = f"the file cannot be read: {(error.strerror or str(error)).lower()}", ""
        return None, (Problem("error", "SR100", shown, 1, 1, sentence, hint),)
    return parse(raw, shown)


def parse(raw: bytes, shown: str) -> tuple[Document | None, tuple[Problem, ...]]:
    """The same for bytes at hand."""
    from hashlib import sha256

    if len(raw) > MAX_BYTES:
        sentence = f"the file is larger than {MAX_BYTES >> 20} MB"
        return None, (Problem("error", "SR104", shown, 1, 1, sentence, USE_A_TABLE),)
    decoded = decode(raw)
    findings, root = decoded.findings, None
    if decoded.lines:
        root, more = _read_on(decoded)
        findings = [*findings, *more]
    lines = tuple(decoded.lines)
    problems = sorted((_problem(found, shown, lines) for found in findings), key=lambda problem: problem.order)
    if root is None:
        return None, tuple(problems)
    return Document(shown, lines, *root, sha256(raw).hexdigest()), tuple(problems)


def _problem(found: Finding, shown: str, lines: tuple[str, ...]) -> Problem:
    source = to_show(lines[found.line]) if found.line < len(lines) else ""
    return Problem("error", found.code, shown, found.line + 1, found.column + 1, found.sentence, found.hint, source)


def _read_on(decoded: Decoded) -> tuple[tuple[Any, Spot] | None, list[Finding]]:
    """Read, mend what can be mended, and read again, until all is found. No data if the end was never reached."""
    from storyrun.yamlfile.tree import MANY, Reading

    told: list[Finding] = []
    lines, left = decoded.readable, _PATIENCE
    restore: dict[int, str | None] = {ord(NOTHING): None} if decoded.joined else {}
    for _ in range(_PASSES):
        reading = Reading(lines, restore)
        broken = reading.run()
        mendable = [found for found in reading.findings if found.fixes]
        others = [found for found in reading.findings if not found.fixes]
        known = {found[:3] for found in told}
        told += [found for found in mendable if found[:3] not in known]
        if broken is not None and not mendable:
            # A mistake may break its line twice, and the first explanation is the right one.
            if all(found.line != broken.line or found.code == broken.code for found in told):
                told.append(broken)
            mendable = [broken]
        fixes = [fix for found in mendable for fix in found.fixes]
        if not fixes:
            told += [found for found in others if found[:3] not in known]
            return None if broken is not None else reading.root, told
        left -= sum(map(len, lines))
        if left < 0 or len(told) >= MANY:
            break
        lines, restore = lines.copy(), {**restore, **STAND_INS}
        _mend(lines, fixes)
    return None, told


def _mend(lines: list[str], fixes: list[Fix]) -> None:
    for line in {line for line, _, _ in fixes}:
        characters = list(lines[line])
        for _, column, character in (fix for fix in fixes if fix[0] == line):
            characters[column] = character
        lines[line] = "".join(characters)


def _cut(lines: Sequence[str], span: _Span) -> str:
    """The text of a span, its lines as they stand."""
    line, column, end, end_column = span
    if line >= end:
        return lines[line][column:end_column]
    return "\n".join(
        (lines[line][column:], *lines[line + 1 : end], lines[end][:end_column] if end < len(lines) else "")
    )
