"""Where a template is broken, in words.

Jinja says what it expected and in which line, in the words of its grammar; and a folded text has one line only. So the
text is looked at again, tag by tag, until the one is found that somebody has to change.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from storyrun import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPENING = re.compile(r"\{\{|\{%|\{#")
CLOSING = {"{{": "}}", "{%": "%}", "{#": "#}"}

BLOCKS = "if for macro call filter set block raw with autoescape".split()
WORDS = [*BLOCKS, *(f"end{word}" for word in BLOCKS), "elif", "else", "include", "import", "from", "extends"]

NAMES_AND_FILTERS = "between the braces stand a name and filters: {{ weather | upper }}"


class Tag(NamedTuple):
    """`{{ ... }}`, `{% ... %}` or `{# ... #}` in a text. `closed` is False when its end is missing."""

    start: int
    text: str
    closed: bool

    @property
    def word(self) -> str:
        """The first word of a `{% %}`: if, endfor."""
        found = re.match(r"\{%[-+]?\s*(\w+)", self.text)
        return found[1] if found else ""

    @property
    def inside(self) -> str:
        """What stands between the braces."""
        return self.text[2:-2].strip("-+ \n\t") if self.closed else self.text[2:]


class Fault(NamedTuple):
    """What is wrong with a template, and where in the text: from `start`, the text that somebody has to look at."""

    sentence: str
    hint: str
    start: int
    needle: str


def tags(text: str) -> Iterator[Tag]:
    """The tags of a text in order. One that is not closed ends where the next opens."""
    at = 0
    while opening := OPENING.search(text, at):
        start, sign = opening.start(), opening[0]
        end = text.find(CLOSING[sign], start + 2)
        following = OPENING.search(text, start + 2)
        limit = following.start() if following else len(text)
        if end < 0 or (end > limit and sign != "{#"):
            yield Tag(start, text[start:limit], False)
            at = limit
        else:
            yield Tag(start, text[start : end + 2], True)
            at = end + 2


def occurrence(text: str, needle: str, position: int) -> int:
    """How many `needle`s stand before a position. Spaces in it match line ends, too: a folded text has lost them."""
    pattern = r"\s+".join(re.escape(word) for word in re.split(r"\s+", needle))
    return len(re.findall(pattern, text[:position]))


def spot(text: str, word: str) -> int:
    """Where a word first stands inside a tag; -1 if nowhere."""
    for tag in tags(text):
        found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", tag.text)
        if found:
            return tag.start + found.start()
    return -1


def diagnosis(text: str, message: str, line: int, parse: Callable[[str], str]) -> Fault:
    """What is wrong with a text that Jinja refused with `message` in `line`.

    `parse` gives Jinja's message for another text, "" if it is fine.
    """
    found = list(tags(text))
    for tag in found:
        if not tag.closed:
            sign = tag.text[:2]
            return Fault(f"`{sign}` is not closed", f"write {CLOSING[sign]} where it ends", tag.start, sign)
    for tag in found:
        if tag.text.startswith("{{") and (said := parse(tag.text)):
            return _in_expression(tag, said)
        if tag.text.startswith("{%") and tag.word not in WORDS:
            sentence = f"there is no tag `{tag.word}`" if tag.word else "a tag says nothing"
            hint = "tags are if, for, set, macro, include and their ends: {% if day %}...{% endif %}"
            if close := nearest.hint(tag.word, WORDS):
                hint = close if close.startswith("did") else hint
            return Fault(sentence, hint, tag.start, tag.word or "{%")
    broken = _nesting(found)
    if broken is not None:
        return broken
    for tag in found:
        if tag.text.startswith("{%") and (said := parse(_alone(tag))):
            return Fault(f"`{tag.word}` is not understood: {_plain(said)}", "", tag.start, tag.text)
    above = sum(map(len, text.splitlines(keepends=True)[: line - 1]))
    start = next((tag.start for tag in found if tag.start >= above), 0)
    return Fault(f"the template is not understood: {_plain(message)}", "", start, text[start : start + 2])


def _in_expression(tag: Tag, said: str) -> Fault:
    """What is wrong inside one `{{ }}`."""
    if not tag.inside.strip():
        return Fault("there is nothing between {{ and }}", "write a name there, or remove it", tag.start, "{{")
    unexpected = re.search(r"""unexpected char (['"])(.+?)\1""", said)
    if unexpected:
        sign = unexpected[2].replace("\\", "")[:1]
        start = tag.start + max(tag.text.find(sign), 0)
        if sign in ("'", '"'):
            return Fault("a quote is not closed", f"write {sign} where the text ends", start, sign)
        return Fault(f"`{sign}` means nothing in a template", NAMES_AND_FILTERS, start, sign)
    surplus = re.search(r"expected token 'end of print statement', got '([^']+)'", said)
    if surplus:
        found = list(re.finditer(rf"(?<!\w){re.escape(surplus[1])}", tag.text[2:]))
        word = surplus[1] if found else "{{"
        start = tag.start + (2 + found[-1].start() if found else 0)
        sentence = f"`{word}` is not expected here" if found else "this is not understood"
        return Fault(sentence, NAMES_AND_FILTERS, start, word)
    return Fault(f"this is not understood: {_plain(said)}", NAMES_AND_FILTERS, tag.start, tag.text)


def _nesting(found: list[Tag]) -> Fault | None:
    """A block that is not closed, or closed by another's end."""
    still: list[Tag] = []
    for tag in found:
        word = tag.word
        if word.startswith("end"):
            if not still:
                sentence = f"`{word}` ends nothing: no `{word.removeprefix('end')}` is open here"
                return Fault(sentence, "remove it", tag.start, word)
            if word != f"end{still[-1].word}":
                sentence = f"`{word}` stands where `end{still[-1].word}` is due"
                hint = f"write {{% end{still[-1].word} %}} first: what opened last closes first"
                return Fault(sentence, hint, tag.start, word)
            still.pop()
        elif word in ("elif", "else") and (not still or still[-1].word not in ("if", "for")):
            return Fault(f"`{word}` stands outside an `if`", "remove it, or open {% if ... %} before", tag.start, word)
        elif word in BLOCKS and not (word == "set" and "=" in tag.text):
            still.append(tag)
    if not still:
        return None
    word = still[-1].word
    return Fault(f"`{word}` is not closed", f"write {{% end{word} %}} where it ends", still[-1].start, still[-1].text)


def _alone(tag: Tag) -> str:
    """A text that holds this `{% %}` and what it cannot do without."""
    word = tag.word
    if word.startswith("end"):
        return ""
    if word in ("elif", "else"):
        return "{% if x %}" + tag.text + "{% endif %}"
    return tag.text + ("" if word not in BLOCKS or (word == "set" and "=" in tag.text) else f"{{% end{word} %}}")


def _plain(said: str) -> str:
    """A message of Jinja's, starting small and without its full stop."""
    said = said.strip().rstrip(".").replace("'", "`")
    for theirs, ours in (
        ("`end of print statement`", "}}"),
        ("`end of statement block`", "%}"),
        ("token `name`", "a name"),
    ):
        said = said.replace(theirs, ours)
    return said[:1].lower() + said[1:]
