"""Texts whose only tags are `{{ name }}` and `{{ name.column }}`: most are, and need no Jinja to be read or filled in.

`storyrun check` spent half its time on compiling such texts. What is written here does what Jinja does with them, to
the letter (`tests/test_plain.py` holds the two together); anything else, and whatever is missing, is left to Jinja.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TAG = re.compile(r"(?<!\{)\{\{ *([A-Za-z_][A-Za-z0-9_]*)(?:\.([A-Za-z_][A-Za-z0-9_]*))? *\}\}")
RESERVED = frozenset("and else false False if in is loop none None not or self true True varargs kwargs caller".split())
"""Words that mean something to Jinja wherever they stand."""


def reads(text: str, functions: frozenset[str]) -> tuple[tuple[str, str, int], ...] | None:
    """The (name, column or "", line) of each tag; None when the text holds anything but such tags."""
    if "\r" in text:
        return None
    found = []
    for match in TAG.finditer(text):
        if match[1] in RESERVED or match[1] in functions:
            return None
        found.append((match[1], match[2] or "", text.count("\n", 0, match.start()) + 1))
    rest = TAG.sub("", text)
    return None if "{{" in rest or "{%" in rest or "{#" in rest else tuple(found)


def filled(text: str, names: Mapping[str, Any]) -> str | None:
    """The text with its tags filled in; None when a name or column is missing, which Jinja words better."""
    pieces: list[str] = []
    at = 0
    for match in TAG.finditer(text):
        value = names.get(match[1])
        if match[2] and value is not None:
            value = getattr(value, "columns", {}).get(match[2])
        if not isinstance(value, str):
            return None
        pieces += (text[at : match.start()], str(value))
        at = match.end()
    return "".join((*pieces, text[at:].removesuffix("\n") if at < len(text) else ""))
