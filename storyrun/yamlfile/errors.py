"""What a YAML parser's error means to the person who wrote the file.

The parser says where it could not go on; the cause often lies before that. `explain` finds it among what was read last,
what is open, and the lines themselves. Places count from 0; both parsers of PyYAML, in C and in Python, are understood.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from storyrun.yamlfile.traps import (
    DASHES,
    KEY,
    ODD,
    QUOTES,
    STAND_INS,
    Finding,
    bare_template,
    dash,
    entry,
    missing_colon,
    odd_space,
    rewritten,
    short,
    stand_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storyrun.yamlfile.traps import At

_STRAIGHT = ("'", '"')


class Level(NamedTuple):
    """A map (`keyed`) or list and where it starts. `name` is the last key of a map."""

    line: int
    column: int
    flow: bool
    keyed: bool
    name: str


class Last(NamedTuple):
    """What was read last. `kind`: "" for a plain text, the first sign of another, a bracket when one was closed."""

    kind: str
    start: At
    end: At


class Standing(NamedTuple):
    """Where the reading stood when it failed: the lines, what is open, and what the failing line has just closed."""

    lines: Sequence[str]
    last: Last
    open: Sequence[Level]
    shut: Sequence[Level]

    def line(self, at: At) -> str:
        """The line of a place, "" after the last one."""
        return self.lines[at[0]] if at[0] < len(self.lines) else ""

    def char(self, at: At) -> str:
        """The character at a place, "" where there is none."""
        return self.line(at)[at[1] : at[1] + 1]

    @property
    def flow(self) -> bool:
        """Whether it was between brackets."""
        return bool(self.open) and self.open[-1].flow

    def entry(self, at: At) -> str:
        """The text that starts at a place, as its author sees it."""
        return entry(self.line(at), at[1], flow=self.flow)

    def leads(self, at: At) -> bool:
        """Whether a place is the first on its line that is no space."""
        return not self.line(at)[: at[1]].strip(" ")


def explain(said: str, at: At, context: At, standing: Standing) -> Finding:
    """A parser's error as a finding. `context` is the start of what could not be finished."""
    for place in (at, context):
        if found := _stray_space(standing, place):
            return found
    for words, look in _LOOKS:
        if re.search(words, said) and (found := look(standing, at, context)):
            return found
    line = min(at[0], len(standing.lines) - 1)
    hint = "if this line holds a text with signs in it, put the text in quotes"
    return Finding("SR106", line, at[1] if line == at[0] else 0, f"this is not valid YAML: {said}", hint)


def _stray_space(s: Standing, at: At) -> Finding | None:
    """A tab or an odd space in the indentation, around a dash or after a key of the line that failed."""
    n, line = at[0], s.line(at)
    if space := re.match(rf" *(?:- *)*(?:{KEY}[ {ODD}]*:)?([{ODD}])", line):
        return odd_space(s.lines, (n, space.start(1)))
    tab = re.match(r" *(?:- *)*(\t)", line)
    if not tab:
        return None
    last = n
    while s.line((last + 1, 0)).lstrip(" ").startswith("\t"):
        last += 1
    where = f"lines {n + 1} to {last + 1} are" if last > n else "this line is"
    hint = "replace each tab by two spaces; editors have a command for it, such as Convert Indentation to Spaces"
    return Finding("SR113", n, tab.start(1), f"{where} indented with tabs; YAML takes only spaces", hint)


def _sign(s: Standing, at: At, context: At) -> Finding | None:
    """A text that starts with a sign that YAML keeps for itself."""
    place = context if s.char(context) in ("*", "&", "!", "%") else at
    sign = s.char(place)
    if not sign and s.flow:
        return _open_bracket(s, (s.open[-1].line, s.open[-1].column))
    if sign == "\t":
        hint = "put a space in its place"
        return Finding("SR113", *place, "a tab stands where YAML takes only spaces", hint, ((*place, " "),))
    if sign == "%" and s.line(place)[: place[1]].endswith("{"):
        return bare_template(s.line(place), (place[0], place[1] - 1), flow=len(s.open) > 1 and s.open[-2].flow)
    if sign == "*" and s.leads(place) and s.char((place[0], place[1] + 1)) == " ":
        return dash(s.lines, place)
    return _reserved(s, place) if sign and sign in "@`%*&!?[]{},|>-" else None


def _reserved(s: Standing, at: At) -> Finding:
    sign = s.char(at).translate(STAND_INS)
    shown = "a backtick" if sign == "`" else f"`{sign}`"
    sentence = f"a text that starts with {shown} needs quotes; the sign means something else in YAML"
    hint = rewritten(s.line(at), at[1], s.entry(at))
    if sign == "-":
        hint += "; a list starts on the line below its key"
    return Finding("SR107", *at, sentence, hint, ((*at, stand_in(sign)),))


def _block_header(s: Standing, at: At, context: At) -> Finding:
    """`> text`, where the text should start on the next line."""
    line, sign = s.line(context), s.char(context)
    before = re.search(rf"{KEY}: *$", line[: context[1]])
    sentence = f"after `{sign}` the text starts on the next line, indented"
    whole = rewritten(line, context[1], s.entry(context))
    above = (before.group() if before else "") + sign
    hint = f"move the text to the line below `{above}`; if the sign belongs to it, {whole}"
    return Finding("SR127", *at, sentence, hint, ((*context, stand_in(sign)),))


def _colon(s: Standing, at: At, _: At) -> Finding | None:
    """`: ` where no key can end: inside a text, or on a line that YAML took for more of the text above."""
    line, last = s.line(at), s.last
    if last.kind in _STRAIGHT and last.end[0] == at[0]:
        return _after_quote(s, last, at)
    start = last.start if not last.kind and last.end == at else (at[0], len(line) - len(line.lstrip(" ")))
    if start[0] == at[0]:
        return _cut_text(s, start, at)
    above = s.line(start)
    if not above[: start[1]].strip(" -"):  # it stands where a key should
        return missing_colon(above, start) or _no_key(start)
    word = re.fullmatch(rf" *(?:- *)?({KEY}|[\w -]+\([^)]*\))", line[: at[1]])
    level = s.open[-1] if s.open else None
    if word is None or level is None:
        return _cut_text(s, start, at)
    column = len(line) - len(line.lstrip(" "))
    text = short(above[start[1] :])
    if line[column : column + 1] == "-":
        sentence = f"a list starts here, but `{level.name}` has the text `{text}` in line {start[0] + 1}"
        return Finding("SR118", at[0], column, sentence, "a key has a text or a list, not both: remove one")
    sentence = f"`{word[1]}` is indented too far, so YAML reads it as more of the text `{text}` in line {start[0] + 1}"
    hint = f"start it in column {level.column + 1}, as `{level.name}`; a long text goes below `{level.name}: >`"
    return Finding("SR118", at[0], column, sentence, hint)


def _cut_text(s: Standing, start: At, at: At) -> Finding:
    """A text that a colon cuts in two. `start` may lie in a line above."""
    line = s.line(at)
    stop = at[1] + len(s.entry(at)) if s.flow else len(line)
    fixes = tuple(
        (at[0], n.start(), stand_in(":")) for n in re.finditer(r":(?=\s|$)", line[:stop]) if n.start() >= at[1]
    )
    if start[0] != at[0]:
        hint = "write `>` after the key and the whole text below it, or put the whole text in quotes"
        return Finding("SR109", *at, "a text with a colon and a space in it needs quotes or `>`", hint, fixes)
    text = s.entry(start)
    if text[0] in QUOTES and text[-1] in QUOTES[text[0]]:
        sentence = f"`{text[0]}` does not quote in YAML, so the colon ends the text"
        hint = rewritten(line, start[1], text[1:-1]) + ", with straight quotes"
        return Finding("SR112", *start, sentence, hint, fixes)
    key = short(line[start[1] : at[1]])
    sentence = f"a text with a colon and a space in it needs quotes; YAML takes `{key}` for a key"
    return Finding("SR109", *at, sentence, rewritten(line, start[1], text), fixes)


def _no_key(at: At) -> Finding:
    sentence = "this line has no `key: value`"
    hint = "write `key: value`; if it goes on with the text above, indent it more; a comment starts with `# `"
    return Finding("SR119", *at, sentence, hint)


def _simple_key(s: Standing, at: At, context: At) -> Finding | None:
    """A line in a map that ends without a colon."""
    sign = s.char(context)
    if sign in _STRAIGHT and s.line(context).count(sign) % 2:
        return _open_quote(s, at, context)
    if sign in DASHES:
        return dash(s.lines, context)
    return missing_colon(s.line(context), context) or _no_key(context)


def _open_quote(s: Standing, _: At, context: At) -> Finding | None:
    """A quote that nothing closes."""
    sign, line = s.char(context), s.line(context)
    if sign not in _STRAIGHT:
        return None
    text = line[context[1] + 1 :].strip().removesuffix(sign)
    whole = sign + text if re.match(r"'(tis|twas|til|em|cause|round|bout|n)\b", sign + text, re.IGNORECASE) else text
    sentence = f"the quote `{sign}` that opens here is never closed"
    return Finding("SR116", *context, sentence, rewritten(line, context[1], whole))


def _after_quote(s: Standing, last: Last, at: At) -> Finding:
    """Text follows a closing quote; or the quote was meant to close long before."""
    line = s.line(last.start)
    if last.start[0] != last.end[0]:
        sentence = f"the quote `{last.kind}` that opens here is closed only in line {last.end[0] + 1}"
        hint = rewritten(line, last.start[1], line[last.start[1] + 1 :].strip().removesuffix(last.kind))
        return Finding("SR116", *last.start, sentence, hint)
    text = s.entry(last.start)
    fixes = ((*last.start, stand_in(last.kind)),)
    if last.kind == "'" and line[last.end[1] : last.end[1] + 1].isalnum():
        sentence = "this apostrophe ends the text, because the text started with the same sign"
        hint = rewritten(line, last.start[1], text[1:].removesuffix("'"))
        return Finding("SR116", at[0], last.end[1] - 1, sentence, hint, fixes)
    hint = f"if the quotes belong to the text, {rewritten(line, last.start[1], text)}"
    return Finding("SR116", *at, "there is more text after the closing quote", hint, fixes)


def _structure(s: Standing, at: At, _: At) -> Finding | None:
    """Something stands where the next key, the next list item or the end should."""
    last, sign = s.last, s.char(at)
    if sign in ("]", "}"):
        return Finding("SR117", *at, f"this `{sign}` closes nothing", "remove it", ((*at, " "),))
    if sign == ":" and not s.line(at)[: at[1]].strip(" -"):
        return Finding("SR122", *at, "a key is missing in front of this colon", "write a key there")
    if not s.leads(at):
        if last.end[0] != at[0]:
            return None
        if last.kind in _STRAIGHT:
            return _after_quote(s, last, at)
        return _reserved(s, last.start) if last.kind in ("]", "}", "*") else None
    if sign in DASHES:
        return dash(s.lines, at)
    if any(line.rstrip() == "..." for line in s.lines[: at[0]]):
        return Finding("SR126", *at, "the plan ended at the `...` above", "remove the line with the dots")
    if not s.open and not s.shut:  # a lone text was read as the whole document
        return missing_colon(s.line(last.start), last.start) or _no_key(last.start) if not last.kind else None
    return _indentation(s, at)


def _indentation(s: Standing, at: At) -> Finding:
    """A line that starts in a column that no open map or list has, or with the wrong kind of thing for it."""
    text = s.line(at)[at[1] :]
    item = text == "-" or text.startswith("- ")
    levels = [level for level in (*s.open, *s.shut) if not level.flow]
    same = [level for level in levels if level.column == at[1]]
    if same and item:
        sentence = f"a list cannot start here: `{same[-1].name}` in the same column already has its value"
        return Finding(
            "SR118", *at, sentence, "write a key with a colon above it, or indent it as the list that it belongs to"
        )
    if same:
        sentence = "the lines above make a list, but this one does not start with `- `"
        hint = f"write `- {short(text.strip())}`, or indent the line as the map that it belongs to"
        return Finding("SR118", *at, sentence, hint)
    by_column = {level.column: level for level in levels if level.keyed != item} or {x.column: x for x in levels}
    nearest = sorted(sorted(by_column, key=lambda column: (abs(column - at[1]), column))[:2], reverse=True)
    ways = [
        f"{_spaces(n)} to stand beside `{by_column[n].name}`"
        if by_column[n].keyed
        else f"{_spaces(n)} as the next item"
        for n in nearest
    ]
    if s.last.kind in ("|", ">"):
        first = s.line((s.last.start[0] + 1, 0))
        ways = ways[:1]
        ways.insert(0, f"{_spaces(len(first) - len(first.lstrip(' ')))} to go on with the text above")
    sentence = f"this line starts after {_spaces(at[1])}, which fits no line above"
    return Finding("SR118", *at, sentence, "start it after " + ", or after ".join(ways))


def _spaces(number: int) -> str:
    return "1 space" if number == 1 else f"{number} spaces"


def _between_brackets(s: Standing, at: At, context: At) -> Finding | None:
    """Something other than a comma or the closing bracket."""
    last, opening = s.last, s.char(context)
    closing = "]" if opening == "[" else "}"
    if last.kind in _STRAIGHT and last.end[0] == at[0] and last.end[1] <= at[1] and s.char(at):
        return _after_quote(s, last, at)
    if s.char(at) == ":" and not last.kind and last.start[0] == at[0]:
        text = s.line(at)[last.start[1] : at[1]]
        glued = re.fullmatch(rf"(.+) ({KEY})", text)
        cut = _cut_text(s, last.start, at)
        if not glued:
            return cut
        sentence = f"a comma is missing before `{glued[2]}`, or the text needs quotes"
        hint = f"write `{glued[1]}, {glued[2]}:`; if it is one text, {cut.hint}"
        return Finding("SR117", at[0], at[1] - len(glued[2]), sentence, hint, cut.fixes)
    if at[0] == context[0] and s.char(at):
        hint = "put a comma between two entries, and quotes around a text with signs in it"
        return Finding("SR117", *at, f"a comma or the closing `{closing}` is missing before this", hint)
    return _open_bracket(s, context)


def _open_bracket(s: Standing, at: At) -> Finding:
    """A bracket that nothing closes."""
    opening = s.char(at)
    hint = f"put `{']' if opening == '[' else '}'}` at its end; if the bracket is part of a text, the text needs quotes"
    return Finding("SR117", *at, f"the bracket `{opening}` that opens here is not closed", hint)


def _escape(s: Standing, at: At, _: At) -> Finding | None:
    """A backslash in double quotes that starts no escape."""
    line = s.line(at)
    column = line.rfind("\\", 0, at[1] + 1)
    if column < 0:
        return None
    code = re.match(r"\\(?:[xuU][0-9a-fA-F]*|.?)", line[column:])
    what = code.group() if code else ""
    sentence = f"in double quotes a backslash starts a code, and `{what}` is none"
    hint = f"write `\\{what}`, or put the text in single quotes, where a backslash is a sign like any other"
    return Finding("SR120", at[0], column, sentence, hint, ((at[0], column, stand_in("\\")),))


_LOOKS: tuple[tuple[str, Callable[[Standing, At, At], Finding | None]], ...] = (
    ("cannot start any token|alphabetic|node content|(entries|keys) are not allowed", _sign),
    ("directive|whitespace|expected '[ !]'|tag|URI", _sign),
    ("comment or (a )?line break|chomping|indentation indicator", _block_header),
    ("mapping values are not allowed", _colon),
    ("expected ':'", _simple_key),
    ("end of stream|document indicator|document separator", _open_quote),
    ("',' or '[]}]'", _between_brackets),
    ("escape|hexdecimal|hexadecimal", _escape),
    ("expected key|block end|'-' indicator|document start", _structure),
)
"""The parser's words, and where to look for the cause."""
