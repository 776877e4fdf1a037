"""Tables beside the plan: CSV and JSONL files that give an axis its rows. Cells are data: no templates, no numbers."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from storyrun.records import AxisValue, Problem

if TYPE_CHECKING:
    from pathlib import Path

CODES = {
    "SR180": "a table cannot be read",
    "SR181": "a table lacks its id column",
    "SR182": "a row of a table has no id",
    "SR183": "two rows have one id",
    "SR184": "a row does not fit the table's columns",
    "SR185": "a column cannot be named in a template",
    "SR186": "a table has no rows",
}

MAX_BYTES = 8 * 1024 * 1024
MAX_ROWS = 100_000


def read(path: Path, shown: str, id_column: str) -> tuple[tuple[AxisValue, ...], tuple[Problem, ...]]:
    """The rows of a table in their order, and what is wrong with it. `shown` is the file's name for people."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        return (), (_problem("SR180", shown, 1, f"{shown} cannot be read: {error.strerror}"),)
    if len(raw) > MAX_BYTES:
        return (), (_problem("SR180", shown, 1, f"{shown} is larger than {MAX_BYTES // 1024 // 1024} MB"),)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        hint = "save it as CSV UTF-8"
        return (), (_problem("SR180", shown, line, f"{shown} is not UTF-8 text", hint),)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _rows(*_csv(text, shown), shown, id_column)
    if suffix in (".jsonl", ".ndjson"):
        return _rows(*_jsonl(text, shown), shown, id_column)
    return (), (_problem("SR180", shown, 1, f"{shown} is neither .csv nor .jsonl", "export the table as CSV UTF-8"),)


Rows = list[tuple[int, dict[str, str]]]


def _csv(text: str, shown: str) -> tuple[Rows, list[Problem], list[str]]:
    """Rows with their line numbers. The delimiter is the one of `,`, `;` and tab that the header uses most."""
    header_line = text.lstrip("\r\n").splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: Rows = []
    problems: list[Problem] = []
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            line = reader.line_num
            if not header:
                header = [cell.strip() for cell in cells]
                twice = {name for name in header if header.count(name) > 1}
                problems += [_problem("SR184", shown, line, f"column `{name}` appears twice") for name in sorted(twice)]
                continue
            if len(cells) != len(header):
                sentence = f"row {len(rows) + 1} has {len(cells)} cells, the header has {len(header)}"
                problems.append(_problem("SR184", shown, line, sentence, "put a cell with a comma in double quotes"))
                continue
            rows.append((line, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    except csv.Error as error:
        problems.append(_problem("SR180", shown, max(reader.line_num, 1), f"{shown} is not CSV here: {error}"))
    return rows, problems, header


def _jsonl(text: str, shown: str) -> tuple[Rows, list[Problem], list[str]]:
    rows: Rows = []
    problems: list[Problem] = []
    header: dict[str, None] = {}
    for line, source in enumerate(text.splitlines(), start=1):
        if not source.strip():
            continue
        try:
            row = json.loads(source, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            problems.append(_problem("SR180", shown, line, f"line {line} is not JSON: {error}"))
            continue
        if not isinstance(row, dict):
            problems.append(_problem("SR184", shown, line, f"line {line} is not a JSON object"))
            continue
        cells: dict[str, str] = {}
        for name, value in row.items():
            if isinstance(value, dict | list):
                problems.append(_problem("SR184", shown, line, f"`{name}` is neither a text nor a number"))
            else:
                cells[name] = str({True: "true", False: "false", None: ""}.get(value, value))
        header.update(dict.fromkeys(cells))
        rows.append((line, cells))
    return rows, problems, list(header)


def _rows(
    rows: Rows, problems: list[Problem], header: list[str], shown: str, id_column: str
) -> tuple[tuple[AxisValue, ...], tuple[Problem, ...]]:
    """Rows to axis values: every row has its id, and no two have the same."""
    if header and id_column not in header:
        hint = f"its columns are {', '.join(header)}"
        problems.append(_problem("SR181", shown, 1, f"{shown} has no column `{id_column}`", hint))
        return (), tuple(problems)
    problems += [
        _problem("SR185", shown, 1, f"column `{name}` cannot be named in a template", "use letters, digits and _")
        for name in header
        if not (name.isidentifier() and name.isascii()) or name.startswith("_")
    ]
    if not rows and not problems:
        problems.append(_problem("SR186", shown, 1, f"{shown} has no rows"))
    if len(rows) > MAX_ROWS:
        problems.append(_problem("SR180", shown, MAX_ROWS, f"{shown} has more than {MAX_ROWS} rows"))
        return (), tuple(problems)
    first: dict[str, int] = {}
    values: list[AxisValue] = []
    for number, (line, cells) in enumerate(rows, start=1):
        label = cells.get(id_column, "")
        if not label:
            problems.append(_problem("SR182", shown, line, f"row {number} has no {id_column}"))
        elif label in first:
            sentence = f"row {number} has the {id_column} `{label}` of line {first[label]}"
            problems.append(_problem("SR183", shown, line, sentence))
        else:
            first[label] = line
            values.append(AxisValue(label, cells))
    return tuple(values), tuple(problems)


def _problem(code: str, shown: str, line: int, sentence: str, hint: str = "") -> Problem:
    return Problem("error", code, shown, line, 1, sentence, hint)
