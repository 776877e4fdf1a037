"""Templates: what they may do, what they cannot reach, and where a fault is pointed at."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyrun.prompts import MAX_OUTPUT, MAX_STEPS, Row, TemplateFault, Templates
from storyrun.prompts.syntax import occurrence, spot, tags
from storyrun.records import AxisValue

ROW = Row.of(AxisValue("wide", {"id": "wide", "ratio": "16:9", "unit price": "9.90"}), str)
NAMES = {
    "word": "rain",
    "long": "x" * 60_000,
    "count": 3,
    "row": ROW,
    "shots": [{"action": "walks"}, {"action": "stops"}],
}


def fault_of(text, folder=Path(), **names):
    """The first thing wrong with a text: seen without rendering, else while rendering."""
    templates = Templates(folder)
    seen = templates.faults(text)
    if seen:
        return seen[0]
    with pytest.raises(TemplateFault) as caught:
        templates.render(text, {**NAMES, **names})
    return caught.value


def pointed(text, fault):
    """What the fault points at, with all that follows."""
    at = -1
    for _ in range(fault.nth + 1):
        at = text.index(fault.needle, at + 1)
    return text[at:]


# ── hostile ──────────────────────────────────────────────────────────────────────────────────────────────────────────

RUNAWAY = [
    "{% for n in range(10000000) %}{% endfor %}",
    "{{ range(0, 10000000, 2) | join }}",
    "{% for a in range(999) %}{% for b in range(999) %}{% endfor %}{% endfor %}",
    "{% for a in range(999) %}{% for b in range(999) %}.{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f(n) %}{{ f(n - 1) ~ f(n - 1) if n }}{% endmacro %}{{ f(30) }}",
    "{% macro d(x, n) %}{{ x if n == 0 else d(x ~ x, n - 1) }}{% endmacro %}{{ d(word, 40) }}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{{ word * 1000000 }}",
    "{{ 1000000 * word }}",
    "{{ [word] * 1000000 | int }}",
    "{{ ([word] * 60000 + [word] * 60000) | length }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 2 ** 64 ** 64 }}",
    "{{ 10.0 ** 64 * 10.0 ** 64 * 10.0 ** 64 * 10.0 ** 64 * 10.0 ** 64 }}",
    "{{ 'inf' | float }}",
    "{{ ('f' * 60000) | int(base=16) }}",
    "{{ 1.5 | round(1000000000, 'ceil') }}",
    "{{ long ~ long }}",
    "{{ " + "~".join(["long"] * 3000) + " }}",
    "{{ long | replace('x', long) }}",
    "{{ [long, long] | join }}",
    "{{ [word, word] | join(long) }}",
    "{{ range(999) | map('replace', '1', long) | join }}",
    "{{ range(999) | map('replace', '1', long) | list | length }}",
    "{{ word | list | batch(1000000000) | list | length }}",
    "{% set x %}{% for n in range(999) %}{{ long }}{% endfor %}{% endset %}{{ x | length }}",
    "{% set x %}{% for n in range(999) %}" + "y" * 60_000 + "{% endfor %}{% endset %}{{ x | length }}",
    "{% for a in range(999) %}{% for b in range(20) %}{% set c = long | list | sort %}{% endfor %}{% endfor %}",
    "{% for a in range(999) %}{% for b in range(20) %}{% set c = long | upper %}{% endfor %}{% endfor %}",
    "{{ long }}{{ long }}",
    "{{ " + "(" * 400 + "1" + ")" * 400 + " }}",
    "{{ " + "[" * 4000 + "1" + "]" * 4000 + " }}",
    "{% if word %}" * 120 + "{% endif %}" * 120,
    "{% for a in [1] %}" * 40 + "{% endfor %}" * 40,
    "{{ word }}{# " + "x" * 70_000 + " #}{% if word %}{% endif %}",
]  # fmt: skip

FORBIDDEN = [
    "{{ word.__class__ }}",
    "{{ word['__class__'] }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ '{0.__class__}'.format(word) }}",
    "{{ word.format_map }}",
    "{{ word.upper() }}",
    "{{ ['a'] | map(attribute='upper') | first }}",
    "{{ (word | list)[0]['upper']() }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%s' % word }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ range.__globals__ }}",
    "{{ (word ~ '').join(['a']) }}",
    "{% macro f() %}{% endmacro %}{{ f.__call__ }}",
    "{% macro f() %}{% endmacro %}{{ f._func.__globals__ }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}",
    "{{ {'a': 1}.items() }}",
    "{{ {'a': 1}.update }}",
    "{{ [1].append(2) }}",
    "{{ [1, 2] }}",
    "{{ range }}",
    "{{ [[1], [2]] | sum(start=[]) }}",
    "{% block a %}{{ self.a() }}{% endblock %}",
    "{% include word %}",
    "{% include ['a', 'b'] %}",
    "{% extends word %}",
    "{% import word as other %}",
]

UNKNOWN = [
    "{{ lipsum() }}", "{{ cycler('a').next() }}", "{{ joiner() }}", "{{ namespace(a=1) }}", "{{ dict(a=1) }}",
    "{{ config }}", "{{ range.__self__ }}", "{{ environment }}", "{{ request }}", "{{ os.environ }}", "{{ now() }}",
    "{{ open('/etc/passwd') }}", "{{ __import__('os') }}", "{{ caller() }}", "{{ step(1) }}", "{{ random() }}",
]  # fmt: skip

MISSING_HELPERS = [
    "{{ word | attr('upper') }}", "{{ word | format }}", "{{ [1] | random }}", "{{ word | tojson }}", "{{ word | e }}",
    "{{ word | safe }}", "{{ word | urlize }}", "{{ word | xmlattr }}", "{{ word | pprint }}", "{{ word | center(9) }}",
    "{{ word | indent }}", "{{ [1] | map('attr', 'x') | list | length }}", "{{ word is callable }}",
    "{{ word is filter }}",
]  # fmt: skip

HOSTILE = [
    *(("SR233", text) for text in RUNAWAY),
    *(("SR234", text) for text in FORBIDDEN),
    *(("SR231", text) for text in UNKNOWN),
]


@pytest.mark.parametrize(("code", "text"), HOSTILE, ids=[f"{code} {text[:50]}" for code, text in HOSTILE])
def test_a_hostile_template_ends_in_its_code_soon(code, text):
    start = time.process_time()
    fault = fault_of(text)
    assert (fault.code, time.process_time() - start < 3) == (code, True), fault.sentence
    assert "object" not in fault.sentence
    assert "jinja" not in fault.sentence.lower()


@pytest.mark.parametrize("text", MISSING_HELPERS)
def test_a_filter_or_test_that_could_reach_out_does_not_exist(text):
    assert fault_of(text).code in ("SR232", "SR237")


def test_hostile_templates_take_little_memory():
    """All of them in one process stay below what one unbounded one would take."""
    program = (
        "import resource\n"
        "from pathlib import Path\n"
        "def peak():  # not ru_maxrss: that of a child begins with what its parent had\n"
        "    return int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) // 1024\n"
        "from storyrun.prompts import TemplateFault, Templates\n"
        "from tests.test_prompts import NAMES, RUNAWAY\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "before = peak()\n"
        "templates = Templates(Path())\n"
        "for text in RUNAWAY:\n"
        "    if 'range(20)' in text or 'range(999) %}{% for' in text: continue  # these take time, not memory\n"
        "    if not templates.faults(text):\n"
        "        try:\n"
        "            templates.render(text, NAMES)\n"
        "        except TemplateFault:\n"
        "            pass\n"
        "print(peak() - before)\n"
    )
    root = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": str(root)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert int(ran.stdout) < 200, "megabytes"


@given(st.text(alphabet="{}%#|.()[]'~*+-=<>! abnrwo_0123\n", max_size=80))
@settings(max_examples=200, deadline=None)
def test_no_text_gets_anything_but_text_or_a_fault(text):
    """Whatever is between braces: a text within bounds, or a sentence that points into the text."""
    templates = Templates(Path())
    faults = list(templates.faults(text))
    if not faults:
        try:
            assert len(templates.render(text, {"a": "x", "b": "y", "n": 2})) <= MAX_OUTPUT
        except TemplateFault as caught:
            faults.append(caught)
    for fault in faults:
        assert fault.code.startswith("SR23")
        assert fault.needle in text


# ── what is out of reach ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_template_says_the_same_at_any_time_and_place(monkeypatch, tmp_path):
    text = "{{ [3, 1, 2] | sort | join(',') }} {{ word | title }} {{ range(3) | list | length }} {{ shots | length }}"
    first = Templates(tmp_path).render(text, NAMES)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.chdir(tmp_path)
    random.seed(1)
    assert Templates(Path("elsewhere")).render(text, NAMES) == first == "1,2,3 Rain 3 2"


@pytest.mark.parametrize(
    "name", ["../secret.txt", "/etc/hostname", "link.txt", "inner/../../secret.txt", "~/secret.txt", "", ".", "inner"]
)
def test_nothing_outside_the_plans_folder_is_included(tmp_path, name):
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "plans"
    (folder / "inner").mkdir(parents=True)
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    fault = fault_of(f"{{% include '{name}' %}}", folder)
    assert fault.code == "SR236"
    assert "secret" not in Templates(folder).render("{{ word }}", NAMES)


def test_a_template_file_is_text_and_not_large(tmp_path):
    (tmp_path / "picture.j2").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "large.j2").write_text("x" * (MAX_OUTPUT + 1))
    (tmp_path / "bom.j2").write_bytes(b"\xef\xbb\xbfhello {{ word }}")
    assert fault_of("{% include 'picture.j2' %}", tmp_path).sentence == "template picture.j2 is not UTF-8 text"
    assert fault_of("{% include 'large.j2' %}", tmp_path).sentence == "template large.j2 is larger than 64 KB"
    assert Templates(tmp_path).render("{% include 'bom.j2' %}", NAMES) == "hello rain"


def test_includes_that_lead_back_or_on_and_on_are_refused(tmp_path):
    (tmp_path / "a").write_text("{% include 'b' %}")
    (tmp_path / "b").write_text("{% include 'a' %}")
    assert fault_of("{% include 'a' %}", tmp_path).sentence == "a includes itself"
    for n in range(8):
        (tmp_path / f"t{n}").write_text(f"{{% include 't{n + 1}' %}}" * 3)
    (tmp_path / "t8").write_text("x")
    start = time.process_time()
    assert fault_of("{% include 't0' %}", tmp_path).code == "SR233"
    assert time.process_time() - start < 3


def test_an_include_in_a_loop_counts_too(tmp_path):
    (tmp_path / "big").write_text("x" * 60_000)
    text = "{% set x %}{% for n in range(999) %}{% include 'big' %}{% endfor %}{% endset %}{{ x | length }}"
    assert fault_of(text, tmp_path).code == "SR233"


def test_no_name_of_a_template_stops_the_counting(tmp_path):
    for name in ("step", "environment"):
        text = (
            f"{{% macro {name}() %}}{{% endmacro %}}"
            "{% for a in [1] * 999 %}{% for b in [1] * 999 %}.{% endfor %}{% endfor %}"
        )
        assert fault_of(text, tmp_path).code == "SR233"


# ── what works ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ word }}", "rain"),
        ("{{ row }} {{ row.ratio }}", "wide 16:9"),
        ("{{ row['unit price'] }}", "9.90"),
        ("{{ word | upper }} {{ word | replace('a', 'u') }} {{ word | sentence }}", "RAIN ruin rain."),
        ("{{ word[0] }}{{ word[1:3] }}", "rai"),
        ("{{ word ~ ' and ' ~ count }}", "rain and 3"),
        ("{{ count * 2 + 1 }} {{ count ** 2 }} {{ 7 % count }} {{ 10 // count }}", "7 9 1 3"),
        ("{{ '=' * 5 }}", "====="),
        ("{{ shots | map(attribute='action') | join(', ') }}", "walks, stops"),
        ("{{ shots | join(' / ', attribute='action') }}", "walks / stops"),
        ("{% for shot in shots %}{{ loop.index }} {{ shot.action }}{{ ', ' if not loop.last }}{% endfor %}",
         "1 walks, 2 stops"),
        ("{% if row == 'wide' %}w{% else %}t{% endif %}", "w"),
        ("{{ 'yes' if word is defined and count is odd }}", "yes"),
        ("{{ none }}{{ true }}", "true"),
        ("{{ [1, 2, 3] | sum }} {{ 2.567 | round(1) }} {{ ['b', 'a'] | sort | first }}", "6 2.6 a"),
        ("{% set x = word %}{{ x }}{# a note #}", "rain"),
        ("{% macro shout(text) %}{{ text | upper }}!{% endmacro %}{{ shout(word) }}", "RAIN!"),
        ("{% for a, b in {'k': 'v'} | items %}{{ a }}{{ b }}{% endfor %}", "kv"),
        ("{{ missing | default('none') }}", "none"),
        ("{% raw %}{{ word }}{% endraw %}", "{{ word }}"),
    ],
)  # fmt: skip
def test_renders(text, said):
    templates = Templates(Path())
    assert templates.faults(text) == ()
    assert templates.render(text, NAMES) == said


def test_the_built_in_bounds_leave_room_for_long_scenes():
    shots = [{"action": "x" * 500} for _ in range(100)]
    text = "{% for shot in shots %}{{ loop.index }}: {{ shot.action | sentence }} {% endfor %}"
    assert len(Templates(Path()).render(text, {"shots": shots})) > 50_000
    assert len(shots) < MAX_STEPS / 100


def test_mentions_are_the_names_from_outside_with_their_columns_through_includes(tmp_path):
    (tmp_path / "brand.txt").write_text("{{ mood }}: ")
    text = "{% include 'brand.txt' %}{% set own = 1 %}{{ own }}{{ row.ratio }}{{ row['unit price'] }}"
    text += "{% for x in xs %}{{ x }}{% endfor %}"
    mentions = {(mention.name, mention.attribute, mention.file) for mention in Templates(tmp_path).mentions(text)}
    assert mentions == {
        ("mood", "", "brand.txt"),
        ("row", "ratio", ""),
        ("row", "unit price", ""),
        ("row", "", ""),
        ("xs", "", ""),
    }


# ── where a fault is ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "sentence", "at"),
    [
        ("a {{ word", "`{{` is not closed", "{{ word"),
        ("{{ word }} and {{ word } more {{ word }}", "`{{` is not closed", "{{ word } more"),
        ("{{ word }} {% if word %} x", "`if` is not closed", "{% if"),
        ("{% for x in y %}{% if x %}{% endfor %}", "`endfor` stands where `endif` is due", "endfor"),
        ("x {% endif %}", "`endif` ends nothing: no `if` is open here", "endif"),
        ("x {% else %}", "`else` stands outside an `if`", "else"),
        ("{% fro x in y %}{% endfor %}", "there is no tag `fro`", "fro"),
        ("{% %}", "a tag says nothing", "{% %}"),
        ("{{ word }} {{ }}", "there is nothing between {{ and }}", "{{ }}"),
        ("{{ word }} {{ more words }}", "`words` is not expected here", "words }}"),
        ("{{ word }} {{ 'rain }}", "a quote is not closed", "'rain"),
        ("{{ word? }}", "`?` means nothing in a template", "? }}"),
        ("{{ word | }}", "this is not understood: expected a name, got }}", "{{ word | }}"),
        ("{% if %}{% endif %}", "`if` is not understood: expected an expression, got %}", "{% if %}"),
        ("{% set x %}", "`set` is not closed", "{% set x %}"),
        ("{# a note", "`{#` is not closed", "{# a"),
        ("{{ word | uper }} {{ word | lowr }}", "there is no filter `uper`", "uper"),
        ("uper {{ word | uper }}", "there is no filter `uper`", "uper }}"),
        ("{% if word is strange %}{% endif %}", "there is no test `strange`", "strange %}"),
        ("{{ word }} {{ count / 0 }} {{ word }}", "this divides by zero", "{{ count / 0 }}"),
        ("{{ word + 1 }}", "this reckons with a text as if it were a number, or joins the two", "{{ word + 1"),
        ("{{ word }} {% for x in 5 %}{% endfor %}", "this goes through a number as if it were a list", "{% for x"),
        ("{{ word | replace }}", "this gets too many values, or too few, or one it does not know", "{{ word"),
        ("{{ word }} {{ row.price }}", "`wide` has no column `price`", "{{ row.price"),
        ("{{ shots[0].nothing }}", "there is no `nothing`", "{{ shots"),
    ],
)  # fmt: skip
def test_points_at_what_somebody_has_to_change(text, sentence, at):
    fault = fault_of(text)
    assert fault.sentence == sentence
    assert pointed(text, fault).startswith(at)


def test_all_unknown_helpers_of_a_text_are_told():
    faults = Templates(Path()).faults("{{ a | uper }} {{ b | lowr }}{% if c is evn %}{% endif %}")
    assert [fault.sentence for fault in faults] == [
        "there is no filter `uper`",
        "there is no filter `lowr`",
        "there is no test `evn`",
    ]
    assert [fault.hint for fault in faults] == [
        "did you mean `upper`?",
        "did you mean `lower`?",
        "did you mean `even`?",
    ]


def test_faults_in_files_name_file_and_line(tmp_path):
    (tmp_path / "outer").write_text("one\n{% include 'inner' %}\n")
    (tmp_path / "inner").write_text("one\ntwo\n{% if %}\n")
    fault = fault_of("{% include 'outer' %}", tmp_path)
    assert (fault.file, fault.line) == ("inner", 3)
    (tmp_path / "inner").write_text("one\ntwo {{ 1 / 0 }}\n")
    fault = fault_of("{% include 'outer' %}", tmp_path)
    assert (fault.file, fault.line, fault.code) == ("inner", 2, "SR237")


def test_tags_are_found_also_where_one_is_not_closed():
    assert [(tag.text, tag.closed) for tag in tags("a {{ b }} {% if c {# {{ #} {{ d")] == [
        ("{{ b }}", True),
        ("{% if c ", False),
        ("{# {{ #}", True),
        ("{{ d", False),
    ]


def test_a_word_is_looked_for_inside_tags_only():
    text = "rain, rainy {{ rainy }} {{ rain }}"
    assert text[spot(text, "rain") :] == "rain }}"
    assert spot(text, "snow") == -1
    assert occurrence(text, "rain", spot(text, "rain")) == 3


def test_spaces_match_the_line_ends_that_folding_took_away():
    assert occurrence("{{ a }} {{ a\n}} {{ a }}", "{{ a }}", 20) == 2
