"""The traps of hand-written YAML: texts that parse and yet do not say what their author means.

Each is told as a `Finding`: what is wrong, where, and what to write instead. Lines and columns count from 0 here. A
finding may carry fixes, the characters to read in place of those that stand there: with them the rest of the file can
be read, and all its problems come in one pass. They never reach a plan that runs: a finding is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

At = tuple[int, int]
"""Line and column, from 0."""

Fix = tuple[int, int, str]
"""Line, column, and the character to read there instead."""

CODES = {
    "SR100": "the file cannot be read",
    "SR101": "the file is not a text file",
    "SR102": "the file is not UTF-8",
    "SR103": "a character that no text may hold",
    "SR104": "the file is too large, too deep, or holds too much once its aliases are written out",
    "SR105": "the file is empty",
    "SR106": "not valid YAML",
    "SR107": "a text without quotes starts with a sign that means something else in YAML",
    "SR108": "a text without quotes starts with a template",
    "SR109": "a colon and a space inside a text without quotes",
    "SR110": "a key without a value in braces, often a comma inside a text without quotes",
    "SR111": "a `#` that turns the rest of a text into a comment",
    "SR112": "typographic quotes around a text",
    "SR113": "a tab in the indentation",
    "SR114": "a no-break or other unusual space where YAML needs a plain one",
    "SR115": "a dash or bullet that does not start a list item",
    "SR116": "a quote that is not closed, or text after the closing one",
    "SR117": "a bracket that is not closed, or a comma missing between brackets",
    "SR118": "indentation that does not fit the lines above",
    "SR119": "a line without its `key: value`",
    "SR120": "a backslash that YAML cannot read",
    "SR121": "a key written twice",
    "SR122": "a key that is not a plain text",
    "SR123": "a merge key",
    "SR124": "a tag",
    "SR125": "an alias that stands for nothing or for itself, or an anchor that names two things",
    "SR126": "a second document in one file",
    "SR127": "text on the line of a `>` or `|`",
}
"""Every problem of the file itself. A code keeps its meaning for good."""

ODD = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u205f\u2060\u3000"
"""Spaces that look like a plain one, or like nothing, and are letters to YAML."""

DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d\u2022\u2023\u25cf\u25e6\u00b7")
"""What text programs make of a hyphen at the start of a line."""

QUOTES = {"“": "”", "„": "“”", "”": "”", "‘": "’", "‚": "‘’", "«": "»", "»": "«", "‹": "›", "＂": "＂"}
"""Opening typographic quotes, each with what may close it."""

WIDE_COLON = "："

USE_A_TABLE = "the rows of a long matrix can live in a CSV table beside the plan"

KEY = r"[A-Za-z_][\w.-]*"

_WINDOW = 500
"""Characters around a place that are looked at, so that one long line does not cost its square."""

_LOST = re.compile(r"[ \t]+(#+)[^\s#]")
_LOST_IN_FLOW = re.compile(r"[ \t]*,?[ \t]*(#+)[^\s#]")

_ESCAPE = r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)"
_CODES = {"0": "\0", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}
"""The codes of double quotes that write control characters."""

_STAND_IN = 0xF0000
STAND_INS = {_STAND_IN + code: chr(code) for code in range(32, 127)}
"""Private characters that hold the place of a sign, so that YAML reads a letter there; `str.translate` undoes it."""


class Finding(NamedTuple):
    """Something wrong at a place."""

    code: str
    line: int
    column: int
    sentence: str
    hint: str = ""
    fixes: tuple[Fix, ...] = ()


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def stand_in(sign: str) -> str:
    """The letter that holds a sign's place."""
    return chr(_STAND_IN + ord(sign))


def short(text: str, limit: int = 40) -> str:
    """A text as it is quoted in a sentence."""
    text = text.translate(STAND_INS)
    return text if len(text) <= limit else text[: limit - 3].rstrip() + "..."


def quoted(text: str) -> str:
    """A text in the quotes that need the least escaping."""
    text = short(text, 80)
    return f'"{text}"' if '"' not in text and "\\" not in text else "'" + text.replace("'", "''") + "'"


def rewritten(line: str, column: int, text: str) -> str:
    """A hint: the key or dash that stands before a column, then the text in quotes."""
    before = re.search(rf"(?:- )?(?:{KEY}(?: \([^)]*\))?:|-) *$", line[max(0, column - _WINDOW) : column])
    return f"write `{before.group().translate(STAND_INS) if before else ''}{quoted(text)}`"


def named(character: str) -> str:
    """A character that is hard to see or to tell from another, by its name: "an em space (U+2003)"."""
    import unicodedata

    name = unicodedata.name(character, "control character" if ord(character) < 0xA0 else "character").lower()
    return f"{'an' if name[0] in 'aeio' else 'a'} {name} (U+{ord(character):04X})"


def entry(line: str, column: int, *, flow: bool, sure: int = 1) -> str:
    """The text that starts at a column as its author sees it: up to a comment or, between brackets, its entry's end.

    Its first `sure` characters belong to it whatever they are.
    """
    line = line[column : column + sure + _WINDOW]
    stop = re.search(r"\s#\s|[,\]}]" if flow else r"\s#(?:\s|$)", line[sure:])
    return line[: sure + stop.start() if stop else None].rstrip()


# ── the traps ────────────────────────────────────────────────────────────────────────────────────────────────────────


def lost_comment(line: str, at: At, end: At, *, flow: bool) -> Finding | None:
    """A `#` right after a text, or in its place, that takes away what looks like the rest of it.

    `line` is the one where the text ends; `flow` means between brackets.
    """
    lost = (_LOST_IN_FLOW if flow else _LOST).match(line, end[1])
    if not lost:
        return None
    column = lost.start(1)
    alone = at[0] != end[0] or at == end or "," in line[end[1] : column]
    start = column if alone else at[1]
    text = re.split(r"[,\]}]" if flow else r"\s#\s", line[column : column + _WINDOW])[0].strip()
    sentence = f"YAML takes `{short(text)}` for a comment and drops it"
    whole = rewritten(line, start, line[start:column] + text)
    if not alone and re.fullmatch(r"-?\d+(\.\d+)?|true|false", line[start : end[1]]):
        hint = f"put a space after the `#`; if it is part of the value, {whole}"
        return Finding("SR111", end[0], column, sentence, hint)
    hint = whole
    if at[0] != end[0]:
        hint = "put the whole text in quotes, or below `>`"
    hint += "; a comment needs a space after its `#`"
    return Finding("SR111", end[0], column, sentence, hint, ((end[0], column, stand_in("#")),))


def lost_value(line: str, before: At | None, key: At, end: At) -> Finding:
    """A key between braces that has no value. `before` is where the plain text in front of it starts, if any."""
    after = end[1] if end[0] == key[0] else len(line)
    name = short(line[key[1] : after])
    if before is None or before[0] != key[0]:
        sentence, hint = f"`{name}` has no value", f"write `{name}: ...`, or put the whole text in quotes"
        close = re.match(r" *\}", line[after : after + _WINDOW])
        start = line[: key[1]].rstrip(" ")
        if close is None or not start.endswith("{"):
            return Finding("SR110", *key, sentence, hint)
        first, last = len(start) - 1, after + close.end() - 1
        variable, text = quoted("{{ " + name + " }}"), quoted(line[first : last + 1])
        hint = f"write `{name}: ...`; a variable is written `{variable}`, a text in braces `{text}`"
        return Finding("SR110", *key, sentence, hint, ((key[0], first, stand_in("{")), (key[0], last, stand_in("}"))))
    stop = re.search(rf",\s*{KEY}:\s|\}}", line[before[1] : end[1] + _WINDOW])
    text = line[before[1] : before[1] + stop.start() if stop else None].rstrip()
    comma = line.rindex(",", before[1], key[1])
    fixes = tuple((key[0], before[1] + n, stand_in(",")) for n, sign in enumerate(text) if sign == ",")
    sentence = f"`{name}` has no value: the comma before it ended the text `{short(line[before[1] : comma])}`"
    return Finding("SR110", *key, sentence, rewritten(line, before[1], text), fixes)


def bare_template(line: str, at: At, *, flow: bool) -> Finding:
    """`{{` or `{%` where a text starts: the start of a map to YAML."""
    opening = line[at[1] : at[1] + 2]
    close = line.find("}}" if opening == "{{" else "%}", at[1])
    stop = close + 2 if close >= 0 else at[1] + 1
    fixes = tuple((at[0], n, stand_in(line[n])) for n in range(at[1], stop) if line[n] in "{}[],:#'\"&*!|>%@`?-")
    hint = rewritten(line, at[1], entry(line, at[1], flow=flow, sure=stop - at[1]))
    return Finding("SR108", *at, f"a text that starts with `{opening}` needs quotes", hint, fixes)


def forbidden_escape(lines: Sequence[str], at: At, character: str) -> Finding:
    """A code in double quotes that writes a character no text may hold; often a Windows path, `C:\\beans`."""
    for line in range(at[0], len(lines)):
        for found in re.compile(_ESCAPE).finditer(lines[line], at[1] if line == at[0] else 0):
            code, digits = found.group(), found.group()[2:]
            if (int(digits, 16) == ord(character)) if digits else (_CODES.get(code[1]) == character):
                sentence = f"`{code}` writes {named(character)}, which no text may hold"
                hint = f"for a backslash write `\\{code}`, or put the text in single quotes"
                return Finding("SR103", line, found.start(), sentence, hint)
    return Finding("SR103", *at, f"this text holds {named(character)}, which no text may hold")


def strange_text(lines: Sequence[str], at: At, end: At, *, key: bool, flow: bool) -> Finding | None:
    """A text without quotes in which a stray space, a look-alike dash or a typographic quote is taken for a letter."""
    first = lines[at[0]]
    text = first[at[1] : end[1] if at[0] == end[0] else None]
    before = first[: at[1]] if at[1] < _WINDOW else "far from the start of the line"
    if text[0] in ODD:
        return odd_space(lines, at)
    if lines[end[0]][end[1] - 1] in ODD:
        return odd_space(lines, (end[0], end[1] - 1))
    if text[0] == "-" and len(text) > 1 and text[1] in ODD:
        return odd_space(lines, (at[0], at[1] + 1))
    if not before.strip(" -"):
        if glued := re.match(rf"{KEY}:([{ODD}])", text):
            return odd_space(lines, (at[0], at[1] + glued.start(1)))
        if WIDE_COLON in text and (missing := missing_colon(first, at)):
            return missing
    if not before.strip(" "):
        if text[0] in DASHES and len(text) > 1 and (text[1] in " \t" or text[1] in ODD):
            return dash(lines, at, end[0])
        if re.match(r"-[^\W\d]", text):
            hint = f"write `- {short(first[at[1] + 1 :].rstrip())}`; a text that does start with `-` needs quotes"
            return Finding("SR115", *at, "`-` starts a list item only with a space after it", hint)
    return None if key else _typographic(lines, at, end, flow=flow)


def odd_space(lines: Sequence[str], at: At) -> Finding:
    """A space of the wrong kind, with the run of such spaces that it starts."""
    line = lines[at[0]]
    run = len(line[at[1] :]) - len(line[at[1] :].lstrip(ODD))
    sentence = f"YAML needs a plain space here; this is {named(line[at[1]])}"
    hint = "it looks alike and comes along when text is copied: delete it and type a space"
    return Finding("SR114", *at, sentence, hint, tuple((at[0], at[1] + n, " ") for n in range(run)))


def dash(lines: Sequence[str], at: At, last: int | None = None) -> Finding:
    """A look-alike at the start of a line; the lines after it, up to `last`, that start so too are mended with it."""
    line = lines[at[0]]
    sign = line[at[1]]
    starts = ((n, len(lines[n]) - len(lines[n].lstrip(" "))) for n in range(at[0] + 1, (last or at[0]) + 1))
    others = [(n, column) for n, column in starts if lines[n][column : column + 1] in DASHES]
    sentence = f"`{sign}` does not start a list item; a hyphen, `-`, does"
    if others:
        sentence += f" (the same down to line {others[-1][0] + 1})"
    hint = f"write `- {short(line[at[1] + 1 :].strip())}`; a text that does start with `{sign}` needs quotes"
    return Finding("SR115", *at, sentence, hint, tuple((*place, "-") for place in (at, *others)))


def missing_colon(line: str, at: At) -> Finding | None:
    """A key whose colon is full-width, or has no plain space after it."""
    found = re.match(rf"({KEY})[ {ODD}]*(:|{WIDE_COLON})(.*)", line[at[1] :])
    if not found:
        return None
    key, colon, text = found.groups()
    place = (at[0], at[1] + found.start(2))
    if colon == ":" and text[:1] in ODD:
        return None
    sentence = (
        f"`{WIDE_COLON}` (full-width colon) does not end a key; `:` and a space do"
        if colon == WIDE_COLON
        else f"`{short(key)}:` needs a space after its colon"
    )
    return Finding("SR119", *place, sentence, f"write `{key}: {short(text.strip(ODD + ' '))}`")


def _typographic(lines: Sequence[str], at: At, end: At, *, flow: bool) -> Finding | None:
    """Curly quotes around a whole text. Around a part of it they are just text."""
    line = lines[at[0]]
    closing = QUOTES.get(line[at[1]])
    if closing is None:
        return None
    close: At = (end[0], end[1] - 1)
    if flow:  # a comma inside may have cut the text: its end is where the quote closes
        found = re.search(f"[{closing}]", line[at[1] + 1 : at[1] + _WINDOW])
        close = (at[0], at[1] + 1 + found.start()) if found else at
    if close == at or lines[close[0]][close[1]] not in closing:
        return None
    text = line[at[1] + 1 : close[1] if at[0] == close[0] else None]
    if any(sign in re.sub(r"\w’\w", "", text) for sign in closing):
        return None
    sentence = f"`{line[at[1]]}` does not quote in YAML; it becomes part of the text"
    hint = rewritten(line, at[1], text) + ", with straight quotes"
    simple = at[0] == close[0] and '"' not in text and "\\" not in text
    return Finding("SR112", *at, sentence, hint, ((*at, '"'), (*close, '"')) if simple else ())
