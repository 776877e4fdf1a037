"""`@names`: what binds, what is plain text, and what each model calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyrun import references

if TYPE_CHECKING:
    from storyrun.records import MediaKind


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("@ann", ["ann"]),
        ("here comes @ann, then @bob-2 and @ann again", ["ann", "bob-2", "ann"]),
        ("(@ann) \"@bob\" -@carl ...@dora", ["ann", "bob", "carl", "dora"]),
        ("@ann's coat", ["ann"]),
        ("@ann-", ["ann"]),
        ("@ann- and @bob_", ["ann", "bob_"]),
        ("@ann\n@bob", ["ann", "bob"]),
        ("ann@home.org", []),
        ("ü@ann", []),
        ("3@ann", []),
        ("@@ann", []),
        ("@@@ann", ["ann"]),
        ("a@@ann", []),
        ("@ ann", []),
        ("@", []),
        ("@Ann @2x @-ann @_ann", []),
        ("@annÄ", ["ann"]),
        ("５０@ann", []),
    ],
)  # fmt: skip
def test_binds(text, bound):
    assert list(references.names(text)) == bound
    assert [text[at : at + 1 + len(name)] for name, at in references.places(text)] == [f"@{name}" for name in bound]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("@ann waves", "Image 1 waves"),
        ("@ann- waves", "Image 1- waves"),
        ("@ann-@bob", "Image 1-Video 1"),
        ("@ann@bob", "Image 1@bob"),
        ("@@ann", "@ann"),
        ("@@@ann", "@Image 1"),
        ("a@@ann", "a@ann"),
        ("mail a@b.c @ noon", "mail a@b.c @ noon"),
        ("@carl is not bound", "@carl is not bound"),
        ("@annie is not @ann", "@annie is not Image 1"),
    ],
)
def test_is_written(text, sent):
    assert references.write(text, {"ann": "Image 1", "bob": "Video 1"}) == sent


def test_a_name_put_in_by_a_template_is_seen_before_it_is_rendered():
    assert references.has_templated_name("the @{{ hero }} waits")
    assert references.has_templated_name("@{% if x %}ann{% endif %}")
    assert not references.has_templated_name("me@{{ host }}")
    assert not references.has_templated_name("@@{{ hero }}")
    assert references.unfinished("@pot-{{ size }} and @ann and @cup{{ n }}, me@home-{{ n }}") == {"pot", "cup"}


@given(st.text(alphabet="@ab-_ .", max_size=30))
def test_data_is_never_a_name(text):
    """What comes from an axis or a table goes out as it was, whatever stands around it."""
    data = references.as_data(text)
    assert list(references.names(f"{data} and {data}")) == []
    assert references.write(data, {"a": "Image 1", "b": "Image 2"}) == text
    assert references.plain(data) == text


@given(st.text(alphabet="@ab-_ .", max_size=30))
def test_a_text_without_references_keeps_all_but_its_doubled_signs(text):
    assert references.write(text, {}).replace("@", "") == text.replace("@", "")


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("character", {"ann": "character1 and character2", "run": "character3", "bob": "character4"}),
        ("numbered", {"ann": "Image 1 and Image 2", "run": "Video 1", "bob": "Image 3"}),
        ("name", {"ann": "ann", "run": "run", "bob": "bob"}),
    ],
)
def test_each_model_has_its_own_words(style, words):
    bound: list[tuple[str, list[MediaKind]]] = [("ann", ["image", "image"]), ("run", ["video"]), ("bob", ["image"])]
    assert references.words_for(style, bound) == words


def test_paths_and_urls_bind_nothing():
    assert not references.may_bind(("references", "ann", "images", 0))
    assert not references.may_bind(("scenes", 0, "first_frame"))
    assert not references.may_bind(("defaults", "audio"))
    assert references.may_bind(("scenes", 0, "prompt"))
    assert references.may_bind(("vars", "audio_note"))
