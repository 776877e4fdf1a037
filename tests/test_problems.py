"""Problems as they are told: the caret under its character, nothing that harms a terminal, formats that tools read."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyrun.cli.problems import WIDTH, as_text, harmless, pointed, render, width
from storyrun.records import Problem


def problem(source="title: Halden: autumn", column=14, **fields):
    return Problem(
        **{
            "severity": "error",
            "code": "SR109",
            "file": "spot.yaml",
            "line": 2,
            "column": column,
            "sentence": "a text with a colon",
            "hint": "put it in quotes",
            "source": source,
            **fields,
        }
    )


def test_a_problem_is_its_place_its_line_a_caret_and_a_hint():
    assert as_text(problem()) == (
        "spot.yaml:2:14: error SR109 a text with a colon\n"
        "    title: Halden: autumn\n"
        "                 ^\n"
        "  hint: put it in quotes"
    )


def test_what_is_absent_leaves_no_line_behind():
    assert as_text(problem(source="", hint="")) == "spot.yaml:2:14: error SR109 a text with a colon"
    assert as_text(problem(source="  ", hint="one\ntwo")).splitlines()[1:] == ["  hint: one", "        two"]


@pytest.mark.parametrize(
    ("source", "column", "line", "caret"),
    [
        ("abc", 1, "abc", 0),
        ("abc", 4, "abc", 3),
        ("abc", 99, "abc", 3),
        ("\tabc", 2, "    abc", 4),
        ("ab\tc\td", 6, "ab  c   d", 8),
        ("猫: 夜 x", 6, "猫: 夜 x", 7),
        ("ｆｕｌｌ：", 5, "ｆｕｌｌ：", 8),
        ("cafe\u0301 x", 7, "cafe\u0301 x", 5),
        ("🐈 x", 3, "🐈 x", 3),
        ("a\x1b[31mb", 7, "a␛[31mb", 6),
        ("a\x00\x7f\x9bb", 5, "a␀␡\ufffdb", 4),
        ("a\u00a0\u3000b", 4, "a␣␣b", 3),
        ("a\u202eb", 3, "a\ufffdb", 2),
    ],
)
def test_the_caret_stands_under_its_character(source, column, line, caret):
    assert pointed(source, column) == (line, caret)


LETTERS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("\t猫é\u0301🐈\x1b\u202e\u00a0"), min_size=1, max_size=1
)
LINES = st.lists(LETTERS, min_size=1, max_size=60).map("".join)


@given(LINES, st.integers(1, 20), st.data())
def test_a_long_line_is_cut_around_its_caret(part, times, data):
    source = part * times
    column = data.draw(st.integers(1, len(source)))
    line, caret = pointed(source, column)
    assert sum(map(width, line)) <= WIDTH
    assert line.startswith("...") or source.startswith(part)
    before, at = 0, 0
    while before < caret or (width(line[at]) == 0 and width(harmless(source[column - 1])) > 0):
        before += width(line[at])
        at += 1
    shown = source[column - 1]
    # combining characters stand where their letter does, so the caret cannot tell them from it
    assert before == caret
    assert shown == "\t" or width(harmless(shown)) == 0 or line[at] == harmless(shown)


def test_a_line_of_megabytes_costs_nothing():
    line, caret = pointed("x" * 5_000_000 + "y" + "x" * 5_000_000, 5_000_001)
    assert line[caret] == "y"
    assert len(line) == WIDTH
    assert line.startswith("...x")
    assert line.endswith("x...")


ANYTHING = st.text(st.characters() | st.sampled_from("\n\r\t\x1b\x9b\x07\u2028\u202e"), max_size=30)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, st.integers(1, 40))
def test_nothing_in_a_plan_reaches_the_terminal_as_a_command(file, sentence, hint, source, column):
    told = as_text(problem(file=file, sentence=sentence, hint=hint, source=source, column=column))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", told)
    assert told.count("\n") <= 3 + hint.count("\n")
    told.encode()


def test_colour_comes_only_when_asked_for_and_changes_no_text():
    plain, painted = as_text(problem()), as_text(problem(), colour=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == plain
    assert "\x1b[1;31merror\x1b[0m" in painted
    assert painted.count("\x1b[0m") == painted.count("\x1b[") / 2
    assert "\x1b" not in render([problem(sentence="\x1b[31m")], "text")


MANY = [
    problem(file="b.yaml"),
    problem(line=10),
    problem(line=2, column=20),
    problem(line=2, column=3, severity="warning", code="SR200"),
    problem(line=2, column=3, severity="note", code="SR150", sentence="zz", hint=""),
    problem(file="a.yaml", sentence="é: 50%, a\x1bb", hint="x\ny"),
]


def test_every_format_tells_all_problems_in_the_order_of_their_places():
    places = [("a.yaml", 2, 14), ("b.yaml", 2, 14), *[("spot.yaml", *at) for at in [(2, 3), (2, 3), (2, 20), (10, 14)]]]
    text = render(MANY, "text")
    assert re.findall(r"^(\S+):(\d+):(\d+): ", text, re.MULTILINE) == [(a, str(b), str(c)) for a, b, c in places]
    assert [(told["file"], told["line"], told["column"]) for told in json.loads(render(MANY, "json"))] == places
    github = re.findall(r"^::\w+ file=(\S+),line=(\d+),col=(\d+),", render(MANY, "github"), re.MULTILINE)
    assert github == [(a, str(b), str(c)) for a, b, c in places]
    results = json.loads(render(MANY, "sarif"))["runs"][0]["results"]
    spots = [result["locations"][0]["physicalLocation"] for result in results]
    sarif = [(x["artifactLocation"]["uri"], x["region"]["startLine"], x["region"]["startColumn"]) for x in spots]
    assert sarif == places


def test_no_problems_are_an_empty_answer_of_the_same_kind():
    assert render([], "text") == ""
    assert render([], "github") == ""
    assert json.loads(render([], "json")) == []
    assert json.loads(render([], "sarif"))["runs"][0]["results"] == []


def test_json_has_every_field_and_spares_the_reader_an_endless_line():
    (told,) = json.loads(render([problem(sentence="é\x9b")], "json"))
    assert told == {
        "severity": "error",
        "code": "SR109",
        "file": "spot.yaml",
        "line": 2,
        "column": 14,
        "sentence": "é\x9b",
        "hint": "put it in quotes",
        "source": "title: Halden: autumn",
    }
    assert json.loads(render([problem(source="x" * 2000)], "json"))[0]["source"] == ""
    assert render(MANY, "json").isascii()


def test_github_reads_back_what_was_meant():
    line = render(
        [problem(file="a,b:c%.yaml", sentence="50% of\x1b[1m x\r", hint="one\n\x1btwo", severity="note")], "github"
    )
    assert line == ("::notice file=a%2Cb%3Ac%25.yaml,line=2,col=14,title=SR109::50%25 of␛[1m x␍%0Ahint: one%0A␛two\n")
    assert render([problem(severity="warning", hint="")], "github").startswith("::warning file=spot.yaml,")


def test_sarif_has_the_shape_that_code_scanning_reads():
    log = json.loads(render(MANY, "sarif", meanings={"SR109": "a colon inside a text"}))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "storyrun"
    assert run["columnKind"] == "unicodeCodePoints"
    assert [rule["id"] for rule in driver["rules"]] == ["SR109", "SR150", "SR200"]
    assert [rule["shortDescription"]["text"] for rule in driver["rules"]] == ["a colon inside a text", "SR150", "SR200"]
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
    assert {result["level"] for result in run["results"]} == {"error", "warning", "note"}


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("spots/autumn 1.yaml", "spots/autumn%201.yaml"),
        ("/plans/é#.yaml", "file:///plans/%C3%A9%23.yaml"),
        ("..\\plans\\a.yaml", "../plans/a.yaml"),
        ("a:b.yaml", "a%3Ab.yaml"),
    ],
)
def test_a_file_name_is_a_uri_in_sarif(file, uri):
    (result,) = json.loads(render([problem(file=file)], "sarif"))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri
    assert unquote(uri).removeprefix("file://") == file.replace("\\", "/")
