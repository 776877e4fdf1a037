"""Nothing wrong with a plan stays untold: each mistake at its word, in one sentence, with a way out; all in one pass.

`tests/plans/invalid/` has a plan for every mistake we know of, beside the text that `storyrun check` prints for it when
it is typed in that folder. `python -m tests.test_admission` writes those texts and `docs/problems.md` anew: read what
changed as its author would, before you keep it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from storyrun import checks, cli, yamlfile
from storyrun.cli import problems
from tests.written import admit, plan_file, planned, problems_of, write_plan

ROOT = Path(__file__).parent.parent
INVALID = Path(__file__).parent / "plans" / "invalid"
PLANS = sorted(path.name for path in INVALID.glob("*.yaml") if not path.match("*.picks.yaml"))
OURS = [name for name in PLANS if not name.startswith("yaml-")]
"""The others are about YAML itself; `test_yamlfile` holds them to their texts."""

MODULES = {
    "The file": "yamlfile",
    "Its form": "validation",
    "Files and URLs that it names": "sources",
    "Tables": "tables",
    "What belongs together": "checks",
    "Templates": "prompts",
    "Picks": "picks",
    "Models": "jobs",
}
"""The modules that find problems, in the order of their codes, and what each is about."""

CODES = {
    code: (title, meaning)
    for title, module in MODULES.items()
    for code, meaning in import_module(f"storyrun.{module}").CODES.items()
}

UNSHOWN = {
    "SR100": "a file that cannot be read cannot lie here: see `test_a_plan_that_cannot_be_read_is_told_so`",
    "SR106": "for what the YAML parser refuses and nobody has explained yet",
    "SR169": "for rules of a schema that nobody has worded yet",
    "SR329": "for fields of a model card that nobody has given a code yet",
}
"""Codes that no plan in the folder shows, and why."""


@pytest.fixture
def among_the_plans(monkeypatch):
    """Names are typed in the folder of the plans."""
    monkeypatch.chdir(INVALID)


def found(path, provider=None, model=None):
    """Every problem of a plan file, sorted, the way every verb finds them."""
    told = admit(Path(path), provider, model, shown=os.fspath(path))[1]
    return tuple(sorted(dict.fromkeys(told), key=lambda problem: problem.order))


@cache
def found_there(name):
    """Every problem of one of the plans, by its name in their folder."""
    with contextlib.chdir(INVALID):
        return found(name)


# ── what is printed ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("among_the_plans")
@pytest.mark.parametrize("name", OURS)
def test_prints_the_text_beside_it(name):
    assert problems.render(found_there(name), "text") == Path(name).with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.usefixtures("among_the_plans")
def test_check_takes_them_all_at_once_and_refuses(capsys):
    assert cli.main(["check", *PLANS]) == 2
    printed = capsys.readouterr()
    for name in OURS:
        for line in Path(name).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
            assert line in printed.out
    assert f"in {len(PLANS)} files; nothing was sent" in printed.err
    assert "Traceback" not in printed.out + printed.err


def test_the_program_itself_ends_with_2_and_no_traceback():
    command = [sys.executable, "-m", "storyrun", "check", "template-runaway.yaml", "file-outside.yaml"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=INVALID, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert ran.stderr == "13 errors in 2 files; nothing was sent\n"
    assert "SR171" in ran.stdout


@pytest.mark.usefixtures("among_the_plans")
def test_every_verb_refuses_them_before_anything_else(capsys):
    for verb in ("run", "preview", "prompts", "quote"):
        assert cli.main([verb, "many-in-one-spot.yaml"]) == 2
        assert "SR205" in capsys.readouterr().err
    assert not Path("outputs").exists()


# ── what every problem must be ───────────────────────────────────────────────────────────────────────────────────────

MACHINERY = re.compile(
    r"Traceback|object at 0x|<class|NoneType|\b[A-Z]\w+(Error|Exception)\b|jinja|__main__|dict object"
)
"""What a program says to its author and not to a person."""

POINTED = {
    "SR130", "SR144", "SR200", "SR201", "SR203", "SR204", "SR205", "SR206", "SR231", "SR232", "SR301"
}  # fmt: skip
"""Codes whose sentence names in backticks the very word that the caret stands under."""


def assert_good(problem):
    """What holds for every problem of every plan."""
    where = f"{problem.file}:{problem.line}:{problem.column} {problem.code} {problem.sentence}"
    assert problem.code in CODES, where
    assert problem.sentence == problem.sentence.strip() != "", where
    assert not problem.sentence[0].isupper() or problem.sentence.split()[0].isupper(), where
    assert not problem.sentence.endswith("."), where
    assert not problem.hint.endswith("."), where
    assert "\n" not in problem.sentence + problem.hint, where
    assert len(problem.sentence) < 250, where
    said = re.sub(r"`[^`]*`", "", problem.sentence)  # people may well write such words
    assert not MACHINERY.search(said), where
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = re.split(r"\r\n|\r|\n", Path(problem.file).read_text(encoding="utf-8-sig"))
        assert 1 <= problem.line <= len(lines), where
        assert problem.source in ("", lines[problem.line - 1]), where
        assert 1 <= problem.column <= len(problem.source) + 1, where
        rest = problem.source[problem.column - 1 :]
        assert not rest[:1].isspace() or problem.code < "SR130", where
        word = re.search(r"`([^`]+)`", problem.sentence)
        if problem.code in POINTED and word and not problem.sentence.startswith("in template"):
            assert re.match(rf"[\"'@]*({re.escape(word[1])}|\S*\{{\{{)", rest), where


@pytest.mark.usefixtures("among_the_plans")
@pytest.mark.parametrize("name", PLANS)
def test_each_problem_is_one_that_a_person_can_use(name):
    told = found_there(name)
    assert any(problem.severity == "error" for problem in told)
    assert list(told) == sorted(told, key=lambda problem: problem.order)
    assert len({(p.file, p.line, p.column, p.code, p.sentence) for p in told}) == len(told)
    for problem in told:
        assert_good(problem)


@pytest.mark.usefixtures("among_the_plans")
@pytest.mark.parametrize("name", ["many-in-one-scene.yaml", "many-in-one-spot.yaml", "defaults-reported-once.yaml"])
def test_many_different_mistakes_are_told_in_one_pass(name):
    assert len({problem.code for problem in found_there(name)}) >= 5


@pytest.mark.usefixtures("among_the_plans")
def test_a_broken_scene_does_not_hide_the_others():
    told = found_there("many-with-one-scene-broken.yaml")
    assert {problem.line for problem in told} >= {12, 13, 14, 15, 17, 19}
    assert plan_file(Path("many-with-one-scene-broken.yaml")).ids == ["roof[format=wide]", "roof[format=tall]"]


def test_every_code_has_a_plan_that_shows_it():
    shown = {problem.code for name in PLANS for problem in found_there(name)}
    assert set(CODES) - shown == set(UNSHOWN)


# ── one mistake, one problem ─────────────────────────────────────────────────────────────────────────────────────────

SAMPLE = """\
version: 1
title: The Mercer Street case
provider: dashscope
model: wan2.7
defaults:
  resolution: 720p
  aspect_ratio: "{{ format.ratio }}"
  look: 35mm film, tungsten light
  vars: {mood: calm}
vars: {weather: rainy}
matrix:
  city: [New York, Tokyo]
  format:
    - {id: wide, ratio: "16:9"}
    - {id: tall, ratio: "9:16"}
  product: {table: goods.csv, id: sku}
exclude: [{city: Tokyo, format: tall}]
references:
  detective: face.png
  mira: {images: [face.png, desk.png], voice: voice.mp3}
scenes:
  - id: investigation
    premise: A tense investigation in {{ city }}, {{ weather }}.
    shots:
      - {seconds: 3, framing: wide shot, action: a detective walks}
      - {seconds: 3, camera: pan left, dialogue: [{detective (low): "Anyone here?"}, Nobody], sound: rain}
    takes: 2
    seed: 12345
  - id: key-clue
    seconds: 5
    vars: {weather: dry}
    prompt: "@detective picks up {{ product.name }} in {{ weather }}, {{ mood }} light"
  - id: desk
    seconds: 5
    references: null
    prompt: Dust moves in the lamplight
    first_frame: desk.png
    audio: voice.mp3
budget: {max: 20, currency: USD}
cut:
  name: "{{ city }} {{ product }} {{ format }}"
  length: 16
  sound: voice.mp3
  clip_sound: -12
  transition: {fade: 0.5}
  subtitles: soft
prices:
  tokenhub/wan2.7-t2v: {currency: USD, 720p: 0.10}
"""

WRONG: tuple[Any, ...] = (
    None,
    "",
    "{{ nobody }}",
    "{{ city",
    [],
    {},
    ["a"],
    {"a": "b"},
    "-1",
    "@nobody",
    "../x",
    "1e9",
    "x" * 90,
    7,
)


def places(data, where=()):
    """The way to every value of a plan."""
    yield where
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*where, key))


def test_one_wrong_value_anywhere_makes_few_problems_and_no_crash(tmp_path, monkeypatch):
    for name in ("face.png", "desk.png", "voice.mp3", "goods.csv"):
        (tmp_path / name).write_bytes((INVALID / "files" / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.yaml").write_text(SAMPLE)
    assert found("plan.yaml") == ()
    sample = yaml.safe_load(SAMPLE)
    for number, where in enumerate(places(sample)):
        wrong = WRONG[number % len(WRONG)]
        plan = {"plan": copy.deepcopy(sample)}
        way, last = ("plan", *where)[:-1], ("plan", *where)[-1]
        inside: Any = plan
        for step in way:
            inside = inside[step]
        inside[last] = wrong
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan["plan"], sort_keys=False))
        told = [problem for problem in found("plan.yaml") if problem.severity == "error"]
        for problem in told:
            assert_good(problem)
        assert len(told) <= 4, (where, wrong, [problem.sentence for problem in told])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "matrix: {city: }\nexclude: [{city: Oslo}]\nscenes: [{id: a, prompt: '{{ city }}'}]\n",
            ["SR134"],
            id="an axis that is empty does not make its mentions unknown",
        ),
        pytest.param(
            "vars: {weather: [rainy]}\nscenes: [{id: a, prompt: '{{ weather }}', seconds: '{{ weather }}'}]\n",
            ["SR132"],
            id="nor a var of a wrong kind",
        ),
        pytest.param(
            "references: {ann: {image: a.png}}\nscenes: [{id: a, prompt: '@ann', references: [ann]}]\n",
            ["SR130"],
            id="nor a reference with a wrong key",
        ),
        pytest.param(
            "provider: dashscope\nmodel: wan2.7\nscenes: [{id: a, prompt: 'at @home', audio: none.mp3}]\n",
            ["SR205", "SR170"],
            id="an @ that binds nothing makes no reference-to-video",
        ),
        pytest.param(
            "provider: dashscope\nmodel: wan2.7-t2v\nscenes: [{id: a, prompt: 'at @home'}]\n",
            ["SR205"],
            id="and asks for no other model",
        ),
        pytest.param(
            "provider: dashscope\nmodel: wan2.7\nscenes: [{id: a, prompt: x, first_frame: none.png}]\n",
            ["SR170"],
            id="a frame that is missing as a file is not missing in the scene",
        ),
        pytest.param(
            "provider: nobody\nmodel: nothing\nscenes: [{id: a, prompt: x}]\n",
            ["SR135"],
            id="an unknown provider does not make its models unknown",
        ),
        pytest.param(
            "defaults: {resolution: huge, seconds: x}\n"
            "scenes: [{id: a, prompt: '{{ seconds }}'}, {id: b, prompt: y}]\n",
            ["SR132", "SR135"],
            id="a default is told once, however many scenes have it",
        ),
        pytest.param(
            "provider: dashscope\nmodel: wan2.7\nscenes: [{id: a, prompt: x, seed: 1, takes: 900, seconds: 99}]\n",
            ["SR320"],
            id="a clip is told once, however many takes it has",
        ),
        pytest.param(
            "scenes:\n- {id: a, promt: x, seconds: 5}\n- {id: b, prompt: y}\n",
            ["SR130"],
            id="a misspelt key is not missing as well",
        ),
    ],
)
def test_one_mistake_is_told_once(tmp_path, text, told):
    assert [line.split()[1] for line in problems_of(tmp_path, text)] == told


def test_an_axis_is_missed_only_where_no_misspelt_name_could_have_been_meant(tmp_path):
    matrix = "matrix: {city: [Oslo, Rome]}\n"
    assert problems_of(tmp_path, matrix + "scenes: [{id: a, prompt: '{{ ctiy }}'}]\n") == [
        "3:30 SR231 there is no `ctiy`: not in vars, not in matrix, not a field of the scene"
    ]
    text = matrix + "provider: dashscope\nmodel: wan2.7\nscenes: [{id: a, prompt: x, seconds: 99}]\n"
    assert [line.split()[1] for line in problems_of(tmp_path, text)] == ["SR202", "SR320"]


# ── which clips a problem is about ───────────────────────────────────────────────────────────────────────────────────


def test_a_variant_is_named_with_how_many_more_there_are(tmp_path):
    text = """\
        provider: dashscope
        model: wan2.7
        matrix: {n: [a, b, c]}
        scenes: [{id: s, seconds: 99, prompt: "{{ n }}"}]
    """
    assert problems_of(tmp_path, text) == ["5:27 SR320 99 s; wan2.7-t2v on dashscope makes 2 to 15 s (n=a and 2 more)"]


def test_a_place_outside_the_scenes_names_the_scene_too(tmp_path):
    text = """\
        provider: dashscope
        model: wan2.7
        defaults: {seconds: 99}
        scenes: [{id: a, prompt: x}, {id: b, prompt: y, seconds: 5}, {id: c, prompt: z}]
    """
    assert problems_of(tmp_path, text) == [
        "4:21 SR320 99 s; wan2.7-t2v on dashscope makes 2 to 15 s (scene a and 1 more)"
    ]


def test_a_table_with_hundreds_of_bad_rows_does_not_fill_the_screen(tmp_path):
    (tmp_path / "rows.csv").write_text("id,long\n" + "".join(f"{n},{n}\n" for n in range(100, 400)))
    text = """\
        provider: dashscope
        model: wan2.7
        matrix: {row: {table: rows.csv, id: id}}
        scenes: [{id: a, prompt: x, seconds: "{{ row.long }}"}]
    """
    told = problems_of(tmp_path, text)
    assert len(told) == 5
    assert told[0].endswith("100 s; wan2.7-t2v on dashscope makes 2 to 15 s (row=100)")
    assert told[4].endswith("(row=104), and 295 more of this kind here")


def test_a_problem_of_some_rows_leaves_the_other_rows(tmp_path):
    text = "matrix: {n: ['5', no]}\nscenes: [{id: a, prompt: x, seconds: '{{ n }}'}]\n"
    assert plan_file(write_plan(tmp_path, text)).ids == ["a[n=5]"]


# ── from outside the plan ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_model_on_the_command_line_is_told_once_and_blamed_on_no_line(tmp_path):
    path = write_plan(
        tmp_path, "provider: dashscope\nmodel: wan2.7\nscenes: [{id: a, prompt: x}, {id: b, prompt: y}]\n"
    )
    (problem,) = found(path, model="wan2.77")
    assert (problem.line, problem.code) == (1, "SR301")
    assert problem.sentence == "dashscope has no model or family `wan2.77` (scene a and 1 more)"
    assert problem.hint == "did you mean `wan2.7`?"


def test_a_provider_on_the_command_line_needs_a_model_too(tmp_path):
    (problem,) = found(write_plan(tmp_path, "scenes: [{id: a, prompt: x}]\n"), provider="toapis")
    assert problem.sentence == "toapis needs a model (scene a)"


def test_a_model_on_the_command_line_beats_one_that_does_not_exist(tmp_path):
    path = write_plan(tmp_path, "provider: dashscope\nmodel: nonsense\nscenes: [{id: a, seconds: 5, prompt: x}]\n")
    assert [problem.code for problem in found(path)] == ["SR301"]
    assert found(path, model="wan2.7") == ()


@contextlib.contextmanager
def locked(path):
    """A file or folder that this process may not read, also if it is root."""
    before, root = path.stat().st_mode, os.geteuid() == 0
    path.chmod(0)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(before)


@pytest.fixture
def open_folder():
    """A folder that anybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_file_without_permission_is_a_sentence_wherever_it_is_named(open_folder):
    (open_folder / "a.png").write_bytes((INVALID / "files" / "face.png").read_bytes())
    (open_folder / "t.csv").write_text("id\n1\n")
    (open_folder / "t.j2").write_text("{{ id }}")
    text = """\
        matrix: {row: {table: t.csv, id: id}}
        scenes:
          - {id: a, prompt: "{{ row }}", first_frame: a.png}
          - {id: b, prompt: y, template: t.j2}
          - {id: c, prompt: "{% include 't.j2' %}"}
    """
    path = write_plan(open_folder, text)
    with locked(open_folder / "a.png"):
        assert [problem.sentence for problem in found(path)] == ["a.png cannot be read: permission denied"]
    with locked(open_folder / "t.csv"):
        assert [problem.sentence for problem in found(path)] == ["the table cannot be read: permission denied"]
    with locked(open_folder / "t.j2"):
        assert [problem.sentence for problem in found(path)] == ["template t.j2 cannot be read: permission denied"] * 2
    with locked(path):
        (problem,) = found(path)
        assert (problem.code, problem.sentence) == ("SR100", "the file cannot be read: permission denied")


def test_a_folder_without_permission_is_a_sentence_too(open_folder):
    (open_folder / "refs").mkdir()
    (open_folder / "refs" / "a.png").write_bytes(b"x")
    path = write_plan(open_folder, "scenes: [{id: a, prompt: x, first_frame: refs/a.png}]\n")
    with locked(open_folder / "refs"):
        assert [problem.sentence for problem in found(path)] == ["refs/a.png cannot be opened: permission denied"]


def test_a_plan_that_cannot_be_read_is_told_so(tmp_path):
    (tmp_path / "spot.yaml").write_text("version: 1\n")
    (problem,) = found(tmp_path)
    assert (problem.code, problem.sentence) == ("SR100", "this is a folder")
    assert problem.hint == "name the plan in it, such as spot.yaml"
    (problem,) = found(tmp_path / "sopt.yaml")
    assert (problem.code, problem.sentence) == ("SR100", "there is no such file")
    (tmp_path / "large.yaml").write_bytes(b"# " + b"x" * (9 << 20))
    (problem,) = found(tmp_path / "large.yaml")
    assert (problem.code, problem.sentence) == ("SR104", "the file is larger than 8 MB")
    (tmp_path / "empty.yaml").write_bytes(b"")
    (problem,) = found(tmp_path / "empty.yaml")
    assert problem.code == "SR105"


def test_a_file_name_too_long_for_the_system_is_a_sentence(tmp_path):
    (told,) = problems_of(tmp_path, f"scenes: [{{id: a, prompt: x, first_frame: {'x' * 5000}.png}}]\n")
    assert "SR170" in told
    assert len(told) < 200
    (told,) = problems_of(tmp_path, f"scenes: [{{id: a, prompt: x, template: {'x' * 5000}.j2}}]\n")
    assert "SR236" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("scenes:\n- id: a\n  prompt: 'it''s {{ x }}'\n", "4:21"),
        ('scenes:\n- id: a\n  prompt: "say \\"hi\\" to {{ x }}"\n', "4:29"),
        ("scenes:\n- id: a\n  prompt: &p >\n    one\n    two {{ x }}\n- {id: b, prompt: *p}\n", "6:12"),
        ("scenes:\n- id: a\n  shots:\n  - {seconds: 5, action: b, dialogue: [{'@x': hi}]}\n", "5:42"),
        ("scenes:\n- id: a\n  shots:\n  - {seconds: 5, action: b, dialogue: [{ann: hi @x}]}\n", "5:49"),
        ("scenes:\n- id: a\n  prompt: |-\n    {{ y }} x\n\n    x {{ x }}\n  vars: {y: z}\n", "7:10"),
    ],
)
def test_the_caret_finds_its_word_in_every_style_of_yaml(tmp_path, text, told):
    assert [line.split()[0] for line in problems_of(tmp_path, text)][:1] == [told]


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_scenes_together_may_not_make_too_many_clips_either(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "MAX_CLIPS", 10)
    text = """\
        matrix: {n: ["1", "2", "3", "4", "5", "6"]}
        scenes: [{id: a, prompt: "{{ n }}"}, {id: b, prompt: "{{ n }}", takes: 3}, {id: c, prompt: "{{ n }}", takes: 3}]
    """
    assert problems_of(tmp_path, text) == ["3:43 SR212 the plan makes more than 10 clips"]


def test_combinations_that_are_excluded_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "MAX_CLIPS", 10)
    text = """\
        matrix: {n: ["1", "2", "3", "4"], m: [a, b, c, d]}
        exclude: [{n: "1"}, {n: "2"}]
        scenes: [{id: s, prompt: "{{ n }} {{ m }}"}]
    """
    assert len(planned(tmp_path, text).jobs) == 8


# ── what is no mistake ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("vars: {w: wet}\nscenes: [{id: a, vars: {w: dry}, prompt: '{{ w }}'}]", id="a var that shadows"),
        pytest.param("defaults: {look: null}\nscenes: [{id: a, prompt: x}]", id="a default that is null"),
        pytest.param("scenes: [{id: a, references: null, prompt: x}]", id="references that are null"),
        pytest.param("scenes: [{id: a, references: [], prompt: x}]", id="references that are none"),
        pytest.param(
            "vars: {w: wet}\ndefaults: {vars: {w: null}}\nscenes: [{id: a, prompt: x}]", id="a var taken away"
        ),
        pytest.param("vars: {ann: Ann}\nscenes: [{id: a, prompt: '{{ ann }}'}]", id="a var like a reference"),
        pytest.param("scenes: [{id: a, prompt: 'a@b.c, @ noon, @@ann'}]", id="other @"),
        pytest.param("scenes: [{id: a, prompt: '{% raw %}{{ x }}{% endraw %}'}]", id="braces to be written"),
        pytest.param("matrix: {n: [a]}\nexclude: []\nscenes: [{id: a, prompt: '{{ n }}'}]", id="an exclude of nothing"),
        pytest.param("references: {ann: '@2x/ann@home.png'}\nscenes: [{id: a, prompt: x}]", id="an @ in a path"),
    ],
)
def test_is_fine(tmp_path, text):
    (tmp_path / "@2x").mkdir()
    (tmp_path / "@2x/ann@home.png").write_bytes((INVALID / "files" / "face.png").read_bytes())
    assert planned(tmp_path, text).problems == ()


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────

HEAD = """\
# Problems

`storyrun check PLAN.yaml` prints every problem of a plan in one pass, sorted: file, line and column, a code, what is
wrong, the line with a caret under the word to look at, and a hint. With a single error nothing is sent and nothing is
paid; the exit code is 2. Warnings stop nothing. `--format json`, `github` and `sarif` say the same to programs.

Codes are stable: one that was released keeps its meaning and is never used for another. Search this page for yours.
The examples are what is printed for the plans in [`tests/plans/invalid`](../tests/plans/invalid).

This page is written from the program itself, and a test fails when the two differ.
"""


def page():
    """The text of `docs/problems.md`, from the codes of all modules and the plans that show them."""
    examples: dict[str, Any] = {}
    for name in PLANS:
        for problem in found_there(name):
            examples.setdefault(problem.code, problem)
    parts = [HEAD]
    for title in MODULES:
        parts.append(f"\n## {title}\n")
        parts += [_entry(code, meaning, examples.get(code)) for code, (home, meaning) in CODES.items() if home == title]
    return "".join(parts)


def _entry(code, meaning, example):
    entry = f"\n**{code}** {meaning}\n"
    if example is None:
        return entry
    told = problems.as_text(example).split(f" {code} ", 1)[1].split("\n")
    width = max(map(len, told))
    assert width < 1000, code
    return entry + "\n```text\n" + "\n".join(line.rstrip() for line in told) + "\n```\n"


@pytest.mark.usefixtures("among_the_plans")
def test_the_page_lists_every_code_as_the_program_knows_it():
    assert (ROOT / "docs" / "problems.md").read_text(encoding="utf-8") == page()


def test_codes_are_used_once_and_stand_in_the_order_of_their_numbers():
    every = [code for module in MODULES.values() for code in import_module(f"storyrun.{module}").CODES]
    assert every == sorted(set(every))
    assert all(re.fullmatch(r"SR\d{3}", code) for code in every)
    assert yamlfile.CODES.keys() < CODES.keys()


def test_no_code_is_used_that_is_not_listed():
    """Also those that no plan here brings about."""
    used = set()
    for path in (ROOT / "storyrun").rglob("*.py"):
        used |= set(re.findall(r'"(SR\d{3})"', path.read_text(encoding="utf-8")))
    assert used == set(CODES)


if __name__ == "__main__":
    os.chdir(INVALID)
    for plan in OURS:
        Path(plan).with_suffix(".txt").write_text(problems.render(found_there(plan), "text"), encoding="utf-8")
    (ROOT / "docs" / "problems.md").write_text(page(), encoding="utf-8")
