"""`@names` in texts: finding them, and writing them the way a model calls its references."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from storyrun.records import MediaKind, Where

PLAIN_AT = "\ufdd0"
"""Stands for an `@` that came from a table or an axis and is data. A noncharacter: the loader lets none through."""

AT = re.compile(r"(?P<word>(?<=\w)@+)|@(?P<name>@|[a-z][a-z0-9_-]*)?")
"""An `@` inside a word (text), `@@`, a name, or an `@` that stands alone (text too)."""


PATHS = (("first_frame",), ("last_frame",), ("audio",))
"""Where texts of a scene are paths or URLs."""


def may_bind(where: Where) -> bool:
    """Whether an `@name` in a text at a place binds a reference: not in a path or URL, nor in the cut."""
    return where[:1] not in (("references",), ("cut",)) and where[-1:] not in PATHS


def names(text: str) -> Iterator[str]:
    """The names that a text binds, in order, repeated ones included."""
    return (name for name, _ in places(text))


def places(text: str) -> Iterator[tuple[str, int]]:
    """The names that a text binds, each with the position of its `@`."""
    for match in AT.finditer(text):
        name = match["name"]
        if name and name != "@":
            yield name.rstrip("-"), match.start()


def unfinished(text: str) -> set[str]:
    """What of `names` a template goes on: `pot` of `@pot-{{ size }}`."""
    return {match[1].rstrip("-") for match in re.finditer(r"(?<!\w)(?<!@)@([a-z][a-z0-9_-]*)\{[{%]", text)}


def has_templated_name(text: str) -> bool:
    """Whether a name is put in by a template: `@{{ hero }}`."""
    return re.search(r"(?<!\w)(?<!@)@\{[{%]", text) is not None


def as_data(value: str) -> str:
    """A value of an axis or a table: its `@` is text whatever stands around it."""
    return value.replace("@", PLAIN_AT)


def plain(text: str) -> str:
    """Data back to what it was."""
    return text.replace(PLAIN_AT, "@")


def write(text: str, words: Mapping[str, str]) -> str:
    """A text as it goes out: each bound name as the model's word for it, `@@` as a plain @."""

    def word(match: re.Match[str]) -> str:
        if match["word"]:
            return match[0].replace("@@", "@")
        name = match["name"]
        if name == "@":
            return "@"
        if not name:
            return match[0]
        known = name.rstrip("-")
        return words.get(known, "@" + known) + name[len(known) :]

    return plain(AT.sub(word, text))


def words_for(
    style: Literal["character", "numbered", "name"], bound: Sequence[tuple[str, Sequence[MediaKind]]]
) -> dict[str, str]:
    """What a prompt calls each reference, in the order the request carries them.

    `character`: character1, character2, counted over images and videos together (Wan 2.6). `numbered`: Image 1,
    Video 1, counted by kind (Wan 2.7). `name`: the name itself.
    """
    counts: dict[str, int] = {}
    result: dict[str, str] = {}
    for name, kinds in bound:
        if style == "name":
            result[name] = name
            continue
        called = []
        for kind in kinds:
            label = "character" if style == "character" else kind.capitalize() + " "
            counts[label] = counts.get(label, 0) + 1
            called.append(f"{label}{counts[label]}")
        result[name] = " and ".join(called) or name
    return result
