"""Text-keeping YAML: what is typed is what is read, everything has its place, and the traps are explained."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from storyrun import yamlfile
from storyrun.cli.problems import as_text
from storyrun.records import Mark
from storyrun.yamlfile import tree

INVALID = Path(__file__).parent / "plans" / "invalid"

PLANS = sorted(INVALID.glob("yaml-*.yaml"))

PARSERS = [yaml.CSafeLoader, yaml.SafeLoader]


@pytest.fixture(params=PARSERS, ids=["c", "python"])
def parser(request, monkeypatch):
    """Both parsers of PyYAML: the one in C, and the one that is left where there is no wheel."""
    monkeypatch.setattr(tree, "_Parser", request.param)
    return request.param


def data(text):
    """What a file without problems holds."""
    document, problems = yamlfile.parse(text.encode() if isinstance(text, str) else text, "plan.yaml")
    assert problems == ()
    assert document is not None
    return document.data


def told(text):
    """(code, line, column) of every problem of a file."""
    problems = yamlfile.parse(text.encode() if isinstance(text, str) else text, "plan.yaml")[1]
    return [(problem.code, problem.line, problem.column) for problem in problems]


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "typed",
    [
        "16:9",
        "9.90",
        "no",
        "On",
        "TRUE",
        "0042",
        "0x1F",
        "1e3",
        "1_000",
        "2024-01-01",
        "1:30",
        ".5",
        ".nan",
        "=",
        "NuLL",
    ],
)
def test_a_plain_scalar_stays_the_text_that_was_typed(typed, parser):
    assert data(f"a: {typed}\nb: [{typed}]\n") == {"a": typed, "b": [typed]}


def test_only_plain_nulls_are_none(parser):
    assert data("a:\nb: ~\nc: null\nd: Null\ne: NULL\nf: [null, ~]\ng: {h: }\n") == {
        **dict.fromkeys("abcde"),
        "f": [None, None],
        "g": {"h": None},
    }
    assert data("a: \"null\"\nb: '~'\nc: ''\nd: >\n  null\nnull: null\n") == {
        "a": "null",
        "b": "~",
        "c": "",
        "d": "null\n",
        "null": None,
    }


def test_texts_of_several_lines_are_folded_as_yaml_says(parser):
    assert data('a: one\n  two\n\n  three\nb: >-\n  one\n  two\nc: |\n  one\n   two\nd: "one\n  two\\n"\n') == {
        "a": "one two\nthree",
        "b": "one two",
        "c": "one\n two\n",
        "d": "one two\n",
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_and_any_line_end_change_neither_data_nor_places(end, mark, parser):
    text = "title: x\nscenes:\n  - id: hook\n    prompt: >\n      one\n      two\n    id: pour\n"
    document, problems = yamlfile.parse((mark + text.replace("\n", end)).encode(), "plan.yaml")
    assert document is not None
    assert document.data == {"title": "x", "scenes": [{"id": "hook", "prompt": "one two\n"}]}
    assert document.mark(("title",), key=True) == Mark(1, 1)
    assert document.mark(("scenes", 0, "prompt")) == Mark(4, 13)
    assert document.source(("scenes", 0, "prompt")) == ("      one\n      two", 5)
    assert [(problem.code, problem.line, problem.column) for problem in problems] == [("SR121", 7, 5)]


def test_an_alias_is_what_its_anchor_names(parser):
    assert data("a: &x {b: [c]}\nd: *x\ne: &y text\nf: [*y, *x]\n") == {
        "a": {"b": ["c"]},
        "d": {"b": ["c"]},
        "e": "text",
        "f": ["text", {"b": ["c"]}],
    }


STRUCTURES = st.recursive(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(structure=STRUCTURES, ascii_only=st.booleans(), indent=st.sampled_from([None, 2, "\t"]))
@example(structure={"a": "\U0001f600\\ud83d\\ude00 #x", "b": "é"}, ascii_only=True, indent=None)
@example(structure={"a": "\U0001f600", "b": "\U000f0040"}, ascii_only=True, indent=None)
def test_json_is_read_as_the_same_data(structure, ascii_only, indent):
    written = json.dumps({"plan": structure}, ensure_ascii=ascii_only, indent=indent)
    written = re.sub("[\x85\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", written)
    assert data(written) == {"plan": structure}


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn"), include_characters="\n\t")),
    st.booleans(),
)
def test_any_text_comes_back_from_double_quotes(text, unicode):
    written = yaml.safe_dump({"a": text}, default_style='"', allow_unicode=unicode, width=40)
    written = re.sub("[\x85\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", written)
    assert data(written) == {"a": text}


SIGNS = """
    a b: - # #x ' " {{ }} { } [ ] , @ ` % & &x * *x ! !x | > >- ? -- --- ... << \\ \\x \\ud800
    “ ” ‘ ’ – • ： null ~ é 猫 🐈
"""
SPACES = [
    "\n",
    "\n\n",
    "\n  ",
    "\n    ",
    "\r",
    "\t",
    " ",
    ": ",
    "- ",
    " #",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\x00",
    "\x07",
]
FRAGMENTS = st.lists(st.sampled_from(SIGNS.split() + SPACES), max_size=40).map("".join)


@given(st.binary() | FRAGMENTS.map(str.encode), st.sampled_from(PARSERS))
@example(b'a: "\\UFFFFFFFF"', yaml.SafeLoader)
@example(b"[" * 3000, yaml.CSafeLoader)
@example("- \u00a0".encode(), yaml.CSafeLoader)
def test_no_bytes_whatever_raise_and_every_problem_lies_in_the_file(raw, which):
    before, tree._Parser = tree._Parser, which
    try:
        document, problems = yamlfile.parse(raw, "plan.yaml")
    finally:
        tree._Parser = before
    assert document is not None or problems
    for problem in problems:
        assert problem.code in yamlfile.CODES
        if document is not None:
            assert document.lines[problem.line - 1] == problem.source
            assert 1 <= problem.column <= len(problem.source) + 1
        as_text(problem).encode()
    if document is not None:
        json.dumps(document.data, ensure_ascii=False).encode()


@given(FRAGMENTS)
@example("a: [b, {c: d, ? e : f}]\ng: >+\n h\n\ni: &j 'k'\nl: *j\n")
def test_a_file_without_problems_holds_what_pyyaml_reads_in_it(text):
    document, problems = yamlfile.parse(text.encode(), "plan.yaml")
    if document is not None and not problems:
        assert plain(document.data) == plain(yaml.load(text, Loader=yaml.CBaseLoader))  # noqa: S506 - builds only texts


def plain(value):
    """Data with everything that may be a null told alike: PyYAML's base loader does not say what was quoted."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return None if value in (None, "", "~", "null") else value


# ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────────

PLACED = """\
title: The case
defaults: &house
  look: "35mm film,
    tungsten {{ light }}"
scenes:
  - id: hook
    shots:
      - seconds: 3
        action: >-
          {{ weather }} street
          with neon {{ lights }}

        dialogue:
        - detective (low): Anyone {{ here }}?
        - 'It''s {{ nobody }}'
  - &pour
    id: pour
    look:
    prompt: Ice falls
      into the {{ glass }}
extra: *house
more: [*pour, &t text, *t]
"""


@pytest.fixture
def placed(parser):
    document, problems = yamlfile.parse(PLACED.encode(), "plan.yaml")
    assert document is not None
    assert problems == ()
    return document


@pytest.mark.parametrize(
    ("where", "value", "key"),
    [
        ((), (1, 1), (1, 1)),
        (("title",), (1, 8), (1, 1)),
        (("defaults", "look"), (3, 9), (3, 3)),
        (("scenes",), (6, 3), (5, 1)),
        (("scenes", 0), (6, 5), (6, 5)),
        (("scenes", 0, "shots", 0, "action"), (9, 17), (9, 9)),
        (("scenes", 0, "shots", 0, "dialogue", 0, "detective (low)"), (14, 28), (14, 11)),
        (("scenes", 1, "look"), (18, 10), (18, 5)),
        (("extra",), (21, 8), (21, 1)),
        (("extra", "look"), (3, 9), (3, 3)),
        (("more", 2), (22, 24), (22, 24)),
        # what is not there has the place of what would hold it
        (("scenes", 0, "prompt"), (6, 5), (6, 5)),
        (("defaults", "seed", 3), (2, 11), (2, 1)),
        (("scenes", 7), (6, 3), (5, 1)),
        (("scenes", "id"), (6, 3), (5, 1)),
        (("title", "x"), (1, 8), (1, 1)),
    ],
)
def test_every_value_and_key_has_its_place(placed, where, value, key):
    assert placed.mark(where) == Mark(*value)
    assert placed.mark(where, key=True) == Mark(*key)


@pytest.mark.parametrize(
    ("where", "key", "source"),
    [
        (("title",), False, ("The case", 1)),
        (("title",), True, ("title", 1)),
        (("defaults", "look"), False, ("35mm film,\n    tungsten {{ light }}", 3)),
        (
            ("scenes", 0, "shots", 0, "action"),
            False,
            ("          {{ weather }} street\n          with neon {{ lights }}\n", 10),
        ),
        (("scenes", 0, "shots", 0, "dialogue", 1), False, ("It''s {{ nobody }}", 15)),
        (("scenes", 0, "shots", 0, "dialogue", 0, "detective (low)"), True, ("detective (low)", 14)),
        (("scenes", 1, "prompt"), False, ("Ice falls\n      into the {{ glass }}", 19)),
        (("scenes", 1, "look"), False, ("", 18)),
        (("extra", "look"), False, ("35mm film,\n    tungsten {{ light }}", 3)),
        (("more", 1), False, ("text", 22)),
        (("more", 2), False, ("text", 22)),
    ],
)
def test_the_source_of_a_scalar_is_its_lines_as_they_stand(placed, where, key, source):
    assert placed.source(where, key=key) == source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("p: >\nq: r\n", ("", 1)),
        ("p: |", ("", 1)),
        ("p: &a |\n  x\n", ("  x", 2)),
        ("p: &a\n  |\n  x\n", ("  x", 3)),
        ("p: &a\n  x y\n", ("x y", 2)),
        ("p: >\n  x", ("  x", 2)),
        ("p: >\n\n  x\n\n# c\nq: r\n", ("\n  x\n", 2)),
        ("p: ''\n", ("", 1)),
        ("p: [a,\n b]\n", ("[a,\n b]", 1)),
    ],
)
def test_empty_anchored_and_unended_scalars_have_a_source(text, source, parser):
    document, problems = yamlfile.parse(text.encode(), "plan.yaml")
    assert document is not None
    assert problems == ()
    assert document.source(("p",)) == source


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("p: >\n  one\n  two {{ x y\n  three\n", 3),
        ("# c\np: |2-\n    one\n\n  {% if %}\n", 5),
        ("p: one\n  two {{ x }\n", 2),
        ('p: "one\n\n  two\n  {{ x }"\n', 4),
        ("p: &a\n  one\n  {{ }}\n", 3),
        ("p: >\n  one\n\n\n  two {{ x", 5),
    ],
)
def test_the_line_of_a_template_error_leads_to_the_line_of_the_plan(text, line, parser):
    document, _ = yamlfile.parse(text.encode(), "plan.yaml")
    assert document is not None
    source, first = document.source(("p",))
    with pytest.raises(jinja2.TemplateSyntaxError) as raised:
        jinja2.Environment().parse(source)  # noqa: S701 - nothing is rendered
    assert first + raised.value.lineno - 1 == line


@pytest.mark.parametrize(
    ("where", "needle", "nth", "key", "place"),
    [
        (("defaults", "look"), "{{ light }}", 0, False, (4, 14)),
        (("defaults", "look"), "film, tungsten", 0, False, (3, 15)),  # across the line end
        (("scenes", 0, "shots", 0, "action"), "{{", 1, False, (11, 21)),
        (("scenes", 0, "shots", 0, "dialogue", 0, "detective (low)"), "(low)", 0, True, (14, 21)),
        (("scenes", 1, "prompt"), "{{", 0, False, (20, 16)),
        (("extra", "look"), "mm", 0, False, (3, 12)),
        (("scenes", 1, "prompt"), "{{", 1, False, (19, 13)),  # no second one: the value
        (("scenes", 1, "prompt"), "", 0, False, (19, 13)),
        (("title",), "nowhere", 0, True, (1, 1)),
    ],
)
def test_a_piece_of_a_text_is_found_where_it_stands(placed, where, needle, nth, key, place):
    assert placed.locate(where, needle, nth, key=key) == Mark(*place)


def test_a_problem_carries_its_line_and_place(placed):
    found = placed.problem(("defaults", "look"), "SR205", "what", "hint", severity="warning", needle="{{ light }}")
    assert (found.severity, found.code, found.file, found.line, found.column) == (
        "warning",
        "SR205",
        "plan.yaml",
        4,
        14,
    )
    assert found.source == '    tungsten {{ light }}"'
    assert placed.problem(("scenes", 0, "seed"), "SR205", "what", key=True).source == "  - id: hook"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.stem)
def test_a_trap_is_told_to_the_letter(plan, parser):
    problems = yamlfile.read(plan, plan.name)[1]
    assert all(problem.severity == "error" for problem in problems)
    assert "\n".join(as_text(problem) + "\n" for problem in problems) == plan.with_suffix(".txt").read_text("utf-8")


def test_every_code_has_a_plan_that_shows_it():
    shown = {
        code for plan in PLANS for code in re.findall(r"error (SR\d+)", plan.with_suffix(".txt").read_text("utf-8"))
    }
    assert set(yamlfile.CODES) - shown == {"SR100", "SR106"}  # no file at all; what nobody has thought of


def test_what_a_hint_says_to_write_is_read_without_a_problem():
    hints = [problem.hint for plan in PLANS for problem in yamlfile.read(plan, plan.name)[1]]
    lines = [
        found[1] for hint in hints if (found := re.search(r"write `((?:- )?[\w -]*:? ?[\"'].*?[\"'])`(?=$|[,;])", hint))
    ]
    assert len(lines) > 35
    assert [line for line in lines if told(line)] == []


@pytest.mark.parametrize(
    "text",
    [
        "a: b # a comment\nc: #\nd: ### still one\n#no space, but a line of its own\ne: x#y\n",
        "a: '#ff6600'\nb: \"warm #ff6600\"\nc: >\n  warm #ff6600\nd: |\n  #ff6600\ne: ['#f00', x] #note\n",
        'a: [b, c] #d\ne: "f" #g\nh:  #\n',
        "a: “Hi,” she says\nb: “a” and “b”\nc: it’s late\nd: she says “no”\ne: ’tis\n",
        "a: Bonjour\u00a0!\nb: 10\u00a0000 euros\nc:\n  - — Bonjour\n  - a – b\n",
        "a: 12:30\nb: http://x.y:80/z?a=b#c\nc: 'a: b'\nd: a:b\ne: [16:9, 9:16]\n",
        "a: -5\nb:\n  - -1.5\n  -\n    c\nd: --x\n",
        "a: x @y `z` %1 *b* &c !d {e} [f] | > ?\nb: a, b\nc: 50% {{ x }}\n",
        'a: "{{ b }}: #c"\nd: "tab\\tand\\u2028"\n',
        "{a: , b: '', 'c': d,\n e:\n f}\n",
        "---\na: b\n...\n",
        "%YAML 1.1\n---\na: b\n",
        "猫: 雨：夜\nэ: é\n",
    ],
)
def test_what_is_no_trap_is_left_alone(text, parser):
    data(text)


def test_after_a_trap_the_data_is_what_the_author_meant():
    text = (
        "a: @x\nb: {{ c }} d\ne: F: g\nh: “i”\nj: #k\nl:\n  – m\n  – n\no:\u00a0p\nq: {r: s, t}\nu: it's `v`\n"
        'a: twice\nw: !x\ny: "\\z \\x07"\n'
    )
    document, problems = yamlfile.parse(text.encode(), "plan.yaml")
    assert document is not None
    assert document.data == {
        "a": "@x",
        "b": "{{ c }} d",
        "e": "F: g",
        "h": "i",
        "j": "#k",
        "l": ["m", "n"],
        "o": "p",
        "q": {"r": "s, t"},
        "u": "it's `v`",
        "w": "!x",
        "y": "\\z \ufffd",
    }
    assert len(problems) == 12


def test_one_line_is_told_once_though_one_mistake_breaks_it_twice():
    assert told("a: @b: c\nd: {e: “f: g”}\n") == [("SR107", 1, 4), ("SR112", 2, 8)]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path):
    (tmp_path / "spot.yaml").touch()
    for path, sentence in ((tmp_path / "no.yaml", "there is no such file"), (tmp_path, "this is a folder")):
        document, (problem,) = yamlfile.read(path, "shown")
        assert document is None
        assert (problem.code, problem.file, problem.sentence) == ("SR100", "shown", sentence)
    assert "spot.yaml" in problem.hint
    document, (problem,) = yamlfile.read(tmp_path / ("x" * 300), "shown")
    assert problem.sentence == "the file cannot be read: file name too long"


def test_a_file_that_is_read_has_the_hash_of_its_bytes(tmp_path):
    (tmp_path / "plan.yaml").write_bytes(b"\xef\xbb\xbfa: b\r\n")
    document, _ = yamlfile.read(tmp_path / "plan.yaml", "plan.yaml")
    assert document is not None
    assert document.sha256 == hashlib.sha256(b"\xef\xbb\xbfa: b\r\n").hexdigest()


def test_the_bounds_are_exact(parser):
    most = yamlfile.MAX_BYTES
    assert told(b"# " + b"x" * (most - 2)) == [("SR105", 1, 1)]
    assert told(b"# " + b"x" * (most - 1)) == [("SR104", 1, 1)]
    assert told("[" * 50 + "]" * 50) == []
    assert told("[" * 51 + "]" * 51) == [("SR104", 1, 51)]
    # 50 levels, 10 of them through an alias
    assert told("a: &x " + "[" * 10 + "]" * 10 + "\nb: " + "[" * 39 + "*x" + "]" * 39) == []
    assert told("a: &x " + "[" * 10 + "]" * 10 + "\nb: " + "[" * 40 + "*x" + "]" * 40) == [("SR104", 2, 44)]


def test_values_are_counted_with_aliases_written_out():
    thousand = "a: &a [" + ", ".join("x" * 999) + "]\n"  # 1000 values and a key
    fits = thousand + "b: [" + ", ".join(["*a"] * 198) + "]\n" + "c: [" + ", ".join("x" * 994) + "]"
    assert told(fits) == []
    assert told(fits.replace("c: [", "c: [y, ")) == [("SR104", 3, len("c: [y, " + "x, " * 994) - 2)]


@pytest.mark.parametrize(
    "raw",
    [
        "[" + ", ".join(["\u00a0x"] * 30_000) + "]",
        "[" + ", ".join(["“x"] * 30_000) + "]",
        "[" + ", ".join(["{{x}}"] * 5_000) + "]",
        "[x, #a " + ", #b" * 30_000,
        "{" + ", ".join(f"k{n}" for n in range(30_000)) + "}",
        "a: " + "b: " * 100_000,
        "\n".join(f"k{n}: @x" for n in range(30_000)),
    ],
    ids=["spaces", "quotes", "templates", "hashes", "keys", "colons", "signs"],
)
def test_a_long_file_full_of_traps_costs_no_more_than_its_length(raw):
    before = time.process_time()
    assert len(yamlfile.parse(raw.encode(), "plan.yaml")[1]) <= 200
    assert time.process_time() - before < 10


def test_yaml_is_loaded_with_the_first_file_and_explanations_with_the_first_error():
    program = (
        "import sys; from storyrun import yamlfile; print('yaml' in sys.modules); yamlfile.parse(b'a: b', 'x'); "
        "print('storyrun.yamlfile.errors' in sys.modules, 'unicodedata' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "False\nFalse False\n"
