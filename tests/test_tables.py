"""Tables: rows as they stand, and every row that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyrun import tables


@pytest.fixture
def table(tmp_path):
    """Reads bytes or a text as a table of that name."""

    def read(content, name="t.csv", id_column="id"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        values, problems = tables.read(path, f"plans/{name}", id_column)
        for problem in problems:
            assert problem.file == f"plans/{name}"
            assert 1 <= problem.column <= len(problem.source) + 1
        told = [f"{problem.line}:{problem.column} {problem.code} {problem.sentence}" for problem in problems]
        return {value.label: dict(value.columns or {}) for value in values}, told

    return read


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("id,name\n1,Blue pot\n", {"1": {"id": "1", "name": "Blue pot"}}),
        ("id;name\n1;Blue, pot\n", {"1": {"id": "1", "name": "Blue, pot"}}),
        ("id\tname\r\n1\tBlue pot\r\n", {"1": {"id": "1", "name": "Blue pot"}}),
        ("\ufeffid,name\n1,x\n", {"1": {"id": "1", "name": "x"}}),
        ('id,name\n1,"Blue, ""large"""\n', {"1": {"id": "1", "name": 'Blue, "large"'}}),
        ('id,name\n1,"two\nlines"\n2,x\n', {"1": {"id": "1", "name": "two\nlines"}, "2": {"id": "2", "name": "x"}}),
        ("\n\nid , name\n\n 1 , x \n,\n", {"1": {"id": "1", "name": "x"}}),
        ("id\n0042\n1.10\nno\n", {"0042": {"id": "0042"}, "1.10": {"id": "1.10"}, "no": {"id": "no"}}),
        ("id,unit price,Größe\n1,9.90,XL\n", {"1": {"id": "1", "unit price": "9.90", "Größe": "XL"}}),
        ("id,empty\n1,\n", {"1": {"id": "1", "empty": ""}}),
        ("id,raw\n1,{{ red }} @ann\n", {"1": {"id": "1", "raw": "{{ red }} @ann"}}),
    ],
)
def test_csv(table, content, rows):
    assert table(content) == (rows, [])


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('{"id": "1", "n": 2}\n', {"1": {"id": "1", "n": "2"}}),
        ('{"id": 7, "a": true, "b": null}\n', {"7": {"id": "7", "a": "true", "b": ""}}),
        ('{"id": 7, "c": 1.10, "d": 1e400}\n', {"7": {"id": "7", "c": "1.10", "d": "1e400"}}),
        ('\ufeff{"id": "1"}\r\n\r\n{"id": "2"}', {"1": {"id": "1"}, "2": {"id": "2"}}),
        ('{"id": "1", "a": "x\u2028y\x85z"}\n', {"1": {"id": "1", "a": "x\u2028y\x85z"}}),
        ('{"id": "1", "a": "x"}\n{"id": "2", "b": "y"}\n', {"1": {"id": "1", "a": "x"}, "2": {"id": "2", "b": "y"}}),
        ('{"id": "1", "n": NaN}\n', {"1": {"id": "1", "n": "NaN"}}),
    ],
)  # fmt: skip
def test_jsonl(table, content, rows):
    assert table(content, "t.jsonl") == (rows, [])
    assert table(content, "t.ndjson") == (rows, [])


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "told", "kept"),
    [
        ("", ["1:1 SR186 the table has no rows"], []),
        ("id,name\n", ["1:1 SR186 the table has no rows"], []),
        ("sku,name\n1,x\n", ["1:1 SR181 the table has no column `id`"], []),
        ("id,name\n,x\n2,y\n", ["2:1 SR182 row 1 has no id"], ["2"]),
        ("id,n\n7,x\n8,y\n7,z\n", ["4:1 SR183 row 3 has the id `7` of line 2"], ["7", "8"]),
        ("n,id\nx,7\ny,7\n", ["3:3 SR183 row 2 has the id `7` of line 2"], ["7"]),
        ("id,n\n1,a,b\n2,c\n", ["2:1 SR184 row 1 has 3 cells, the header 2"], ["2"]),
        ("id,n\n1\n2,c\n", ["2:1 SR184 row 1 has 1 cell, the header 2"], ["2"]),
        ("id,a,a\n1,x,y\n", ["1:4 SR184 column `a` appears twice"], ["1"]),
        ("id,,a\n1,x,y\n", ["1:1 SR184 column 2 has no name"], ["1"]),
        ('id,n\n1,x\n2,"y\n3,z\n', ["3:3 SR180 a quote that opens here is never closed"], ["1"]),
        ('id,n\n1,"x" y\n', ["2:3 SR180 a quote inside a cell stands alone"], []),
        ("id,n\n1,\0\n", ["2:1 SR180 a character that no text may hold: U+0000"], []),
        ("id,n\n1,\ufdd0\n", ["2:1 SR180 a character that no text may hold: U+FDD0"], []),
        (b"id,n\n1,K\xfcche\n", ["2:4 SR180 the table is not UTF-8 from here on"], []),
        ('id,n\n1,"two\nlines"\n1,x\n', ["4:1 SR183 row 2 has the id `1` of line 2"], ["1"]),
    ],
)
def test_csv_that_is_wrong(table, content, told, kept):
    rows, problems = table(content)
    assert problems == told
    assert list(rows) == kept


@pytest.mark.parametrize(
    ("content", "told", "kept"),
    [
        ("", ["1:1 SR186 the table has no rows"], []),
        ('{"id": 1}\n[2]\n', ["2:1 SR184 row 2 is not a JSON object"], ["1"]),
        ('{"id": 1\n{"id": 2}\n', ["1:9 SR180 this is not JSON: expecting `,` delimiter"], ["2"]),
        ('{"id": 1, "tags": ["a"]}\n', ["1:11 SR184 `tags` is neither a text nor a number"], ["1"]),
        ('{"id": 1, "size": {"x": 2}}\n', ["1:11 SR184 `size` is neither a text nor a number"], ["1"]),
        ('{"id": 1, "a": 1, "a": 2}\n', ["1:11 SR184 `a` appears twice in one row"], ["1"]),
        ('{"name": "x"}\n', ["1:1 SR182 row 1 has no id"], []),
        ('{"id": ""}\n', ["1:1 SR182 row 1 has no id"], []),
        ('{"id": 1}\n{"id": "1"}\n', ["2:9 SR183 row 2 has the id `1` of line 1"], ["1"]),
        ("[" * 100_000 + "\n", ["1:1 SR180 this is not JSON: nested too deeply"], []),
    ],
)
def test_jsonl_that_is_wrong(table, content, told, kept):
    rows, problems = table(content, "t.jsonl")
    assert problems == told
    assert list(rows) == kept


def test_other_files_are_no_tables(table):
    for name in ("t.xlsx", "t.txt", "t", "t.CSV.bak"):
        assert table("id\n1\n", name) == ({}, ["1:1 SR180 a table is a .csv or a .jsonl file"])
    assert table("id\n1\n", "T.CSV")[0] == {"1": {"id": "1"}}


def test_a_table_that_is_too_large_is_told(table, monkeypatch):
    assert table(b"id\n" + b"x" * tables.MAX_BYTES)[1] == ["1:1 SR180 the table is larger than 8 MB"]
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    rows, told = table("id\n1\n2\n3\n")
    assert told == ["4:1 SR180 the table has more than 2 rows"]
    assert list(rows) == ["1", "2"]


def test_a_table_full_of_mistakes_is_told_in_twenty_lines(table):
    _, told = table("id,n\n" + "1\n" * 500)
    assert len(told) == 21
    assert told[-1].endswith("and so on: the rest of this table is not told")


def test_a_table_that_is_gone_is_a_sentence(tmp_path):
    values, (problem,) = tables.read(tmp_path / "gone.csv", "gone.csv", "id")
    assert (values, problem.sentence) == ((), "the table cannot be read: no such file or directory")


@given(st.binary(max_size=200), st.sampled_from(["t.csv", "t.jsonl"]))
def test_no_bytes_bring_it_down(tmp_path_factory, content, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    values, problems = tables.read(path, name, "id")
    assert values or problems
    assert len({value.label for value in values}) == len(values)
