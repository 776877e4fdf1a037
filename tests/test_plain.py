"""Plain templates are read and filled in without Jinja, exactly as Jinja does it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyrun.prompts import BUILT_IN, FUNCTIONS, Row, Templates, built_in, plain
from storyrun.records import AxisValue

NAMES = {
    "city": "New York",
    "weather": "{{ not a template }}",
    "empty": "",
    "format": Row.of(AxisValue("wide", {"ratio": "16:9", "title": "Wide"}), str),
}

pieces = st.sampled_from(
    [
        "{{ city }}", "{{city}}", "{{ weather }}", "{{ format.ratio }}", "{{ format.title }}", "{{ format }}",
        "{{ empty }}", "\n", " ", "}}", "{", "}", "%}", "a", "é", "@can", "{{ city }}\n", "  {{   city   }}",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(text=st.lists(pieces, min_size=1, max_size=8).map("".join))
def test_reads_and_writes_what_jinja_does(text):
    if "{{" not in text or plain.reads(text, FUNCTIONS) is None:
        return
    jinja = Templates(Path())
    slow = jinja._rendered(text, NAMES)
    assert plain.filled(text, NAMES) == slow
    assert jinja.render(text, NAMES) == slow
    quick = [(m.name, m.attribute, m.line) for m in jinja.mentions(text)]
    read = type(jinja._looked_at(text))()
    jinja._look(text, read, ())
    assert quick == [(m.name, m.attribute, m.line) for m in read.mentions]


@pytest.mark.parametrize(
    "text",
    [
        "{{ city | upper }}", "{% if city %}x{% endif %}", "{# note #}", "{{ 'a' }}", "{{ city.a.b }}",
        "{{ city }}{{ x", "{{- city }}", "{{ city -}}", "{{ true }}", "{{ range }}", "{{ city }}\r\n", "{{ städte }}",
    ],
)  # fmt: skip
def test_leaves_everything_else_to_jinja(text):
    assert plain.reads(text, FUNCTIONS) is None


@pytest.mark.parametrize("text", ["{{ nobody }}", "{{ format.nothing }}", "{{ city.ratio }}"])
def test_leaves_what_is_missing_to_jinja(text):
    assert plain.filled(text, NAMES) is None


words = st.sampled_from(["", "a cat", "Rain!", "wide shot", "what?", "the end.", "two  spaces", "日本"])
shot = st.fixed_dictionaries(
    {
        "index": st.integers(1, 9),
        "start": st.sampled_from([0, 3]),
        "end": st.sampled_from([5, 7]),
        "framing": words,
        "camera": words,
        "action": words,
        "dialogue": st.lists(st.fixed_dictionaries({"speaker": words, "text": words}), max_size=2),
        "sound": words,
    }
)


@settings(max_examples=300, deadline=None)
@given(premise=words, prompt=words, look=words, shots=st.lists(shot, min_size=1, max_size=3))
def test_the_built_in_templates_say_what_their_files_say(premise, prompt, look, shots):
    parts = {"premise": premise, "prompt": prompt, "look": look, "shots": shots}
    templates = Templates(Path())
    for name in ("prompt", "shots"):
        assert built_in.join(name, parts) == templates.render(templates.file(name), parts).strip()


def test_every_built_in_template_has_its_join():
    assert {path.stem for path in BUILT_IN.glob("*.jinja")} == set(built_in.JOINS)
