"""Tables beside the plan: CSV and JSONL files that give an axis its rows. Cells are data: no templates, no numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from storyrun.records import AxisValue, Problem

if TYPE_CHECKING:
    from pathlib import Path

CODES = {
    "SR180": "a table cannot be read",
    "SR181": "a table lacks its id column",
    "SR182": "a row of a table has no id",
    "SR183": "two rows have one id",
    "SR184": "a row does not fit the table's columns, or the columns do not fit each other",
    "SR186": "a table has no rows",
}

MAX_BYTES = 8 * 1024 * 1024
MAX_ROWS = 100_000
MANY = 20
"""Problems that are told of one table; after that nobody reads on."""

UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff]")
"""Control characters, and those that Unicode keeps for itself: no plan may hold them either."""


def read(path: Path, shown: str, id_column: str) -> tuple[tuple[AxisValue, ...], tuple[Problem, ...]]:
    """The rows of a table in their order, and what is wrong with it. `shown` is the file's name for people."""
    table = _Table(shown, id_column)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".ndjson"):
        table.wrong("SR180", 1, "a table is a .csv or a .jsonl file", 'export it as "CSV UTF-8"')
        return table.result()
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        table.wrong("SR180", 1, f"the table cannot be read: {(error.strerror or str(error)).lower()}")
        return table.result()
    if len(raw) > MAX_BYTES:
        table.wrong("SR180", 1, f"the table is larger than {MAX_BYTES >> 20} MB")
        return table.result()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        table.show(raw.decode("utf-8-sig", "replace"))
        line = raw[: error.start].count(b"\n") + 1
        table.wrong("SR180", line, "the table is not UTF-8 from here on", 'export it as "CSV UTF-8"', at="\ufffd")
        return table.result()
    table.show(text)
    if (found := UNREADABLE.search(text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        table.wrong("SR180", line, f"a character that no text may hold: U+{ord(found[0]):04X}", "export it again")
    elif suffix == ".csv":
        table.csv(text)
    else:
        table.jsonl()
    return table.result()


class _Table:
    """The rows of one table as they are read, and what is wrong with them."""

    def __init__(self, shown: str, id_column: str) -> None:
        self.shown = shown
        self.id_column = id_column
        self.lines: list[str] = []
        self.problems: list[Problem] = []
        self.values: dict[str, AxisValue] = {}
        self.firsts: dict[str, int] = {}
        self.number = 0

    def result(self) -> tuple[tuple[AxisValue, ...], tuple[Problem, ...]]:
        """The rows that have an id of their own, and the problems."""
        return tuple(self.values.values()), tuple(self.problems)

    def show(self, text: str) -> None:
        """Keep the lines to be shown beside problems."""
        self.lines = [line.removesuffix("\r") for line in text.split("\n")]

    def wrong(self, code: str, line: int, sentence: str, hint: str = "", *, at: str = "", column: int = 1) -> None:
        """Note a problem in a line, where `at` stands there, else at a column."""
        if len(self.problems) > MANY:
            return
        if len(self.problems) == MANY:
            sentence, hint, at = "and so on: the rest of this table is not told", "", ""
        source = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        column = max(source.find(at), 0) + 1 if at else column
        self.problems.append(Problem("error", code, self.shown, line, column, sentence, hint, source))

    def csv(self, text: str) -> None:
        """Read CSV. The delimiter is the one of `,`, `;` and tab that the header uses most."""
        header_line = next((line for line in self.lines if line.strip()), "")
        delimiter = max(",;\t", key=header_line.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header: list[str] = []
        line = 1
        try:
            for cells in reader:
                first, line = line, reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                if header:
                    self.cells(first, header, cells)
                    continue
                header = [cell.strip() for cell in cells]
                if not self.columns(first, header):
                    return
        except csv.Error as error:
            self.broken(str(error), line)
            return
        if not self.number:
            self.wrong("SR186", 1, "the table has no rows")

    def broken(self, said: str, line: int) -> None:
        """What the CSV reader could not go on from, in the record that starts in a line."""
        if "unexpected end" in said:
            self.wrong(
                "SR180", line, "a quote that opens here is never closed", 'write "" for a quote in a cell', at='"'
            )
        elif "expected after" in said:
            hint = 'a cell with quotes in it is written "like ""this"" one"'
            self.wrong("SR180", line, "a quote inside a cell stands alone", hint, at='"')
        else:
            self.wrong("SR180", line, f"this is not CSV: {said}")

    def columns(self, line: int, header: list[str]) -> bool:
        """Whether a header is good enough to read the rows by."""
        for number, name in enumerate(header, start=1):
            if not name:
                self.wrong("SR184", line, f"column {number} has no name", "name it, or remove it")
        for name in sorted({name for name in header if name and header.count(name) > 1}):
            self.wrong("SR184", line, f"column `{name}` appears twice", "rename or remove one", at=name)
        if self.id_column not in header:
            hint = f"its columns are {', '.join(name for name in header if name)}"
            self.wrong("SR181", line, f"the table has no column `{self.id_column}`", hint)
            return False
        return True

    def cells(self, line: int, header: list[str], cells: list[str]) -> None:
        """A row of CSV."""
        if len(cells) == len(header):
            self.row(line, {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name})
            return
        self.number += 1
        sentence = f"row {self.number} has {len(cells)} cell{'s' if len(cells) > 1 else ''}, the header {len(header)}"
        more = "put a cell with a comma in double quotes"
        fewer = "an empty cell needs its comma, too"
        self.wrong("SR184", line, sentence, more if len(cells) > len(header) else fewer)

    def jsonl(self) -> None:
        """Read JSON objects, one a line."""
        for line, source in enumerate(self.lines, start=1):
            if not source.strip():
                continue
            try:
                row = json.loads(source, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_Pairs)
            except (ValueError, RecursionError) as error:
                self.number += 1
                column = getattr(error, "colno", 1)
                said = getattr(error, "msg", "nested too deeply").replace("'", "`")
                self.wrong("SR180", line, f"this is not JSON: {said[:1].lower()}{said[1:]}", column=column)
                continue
            if not isinstance(row, _Pairs):
                self.number += 1
                hint = 'write one object a line: {"id": "0042", "name": "Blue pot"}'
                self.wrong("SR184", line, f"row {self.number} is not a JSON object", hint)
                continue
            self.row(line, self.object(line, row))
        if not self.number:
            self.wrong("SR186", 1, "the table has no rows")

    def object(self, line: int, row: _Pairs) -> dict[str, str]:
        """The cells of a JSON object."""
        cells: dict[str, str] = {}
        for name, value in row:
            if isinstance(value, _Pairs | list):
                self.wrong("SR184", line, f"`{name}` is neither a text nor a number", at=f'"{name}"')
            elif name in cells:
                self.wrong("SR184", line, f"`{name}` appears twice in one row", "remove one", at=f'"{name}"')
            else:
                cells[name] = {True: "true", False: "false", None: ""}[value] if value in (True, False, None) else value
        return cells

    def row(self, line: int, cells: dict[str, str]) -> None:
        """A row: it has its id, and no other has the same."""
        self.number += 1
        label = cells.get(self.id_column, "").strip()
        if not label:
            self.wrong("SR182", line, f"row {self.number} has no {self.id_column}", "clips are named after it")
        elif label in self.firsts:
            sentence = f"row {self.number} has the {self.id_column} `{label}` of line {self.firsts[label]}"
            self.wrong("SR183", line, sentence, "every row needs its own: clips are named after it", at=label)
        elif self.number > MAX_ROWS:
            self.wrong("SR180", line, f"the table has more than {MAX_ROWS:,} rows")
        else:
            self.firsts[label] = line
            self.values[label] = AxisValue(label, cells)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs, so that no key that is there twice gets lost."""
