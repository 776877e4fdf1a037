"""From the bytes of a file to its lines: UTF-8, any line end, and nothing in it that is not text."""

from __future__ import annotations

import re
from typing import NamedTuple

from storyrun.yamlfile.traps import Finding, named

_BINARY = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a sound, video or WebP file"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\xd0\xcf\x11\xe0", "an office document"),
    (b"\x1f\x8b", "a compressed file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"{\\rtf", "rich text (RTF)"),
    (b"<!DOCTYPE", "a web page"),
    (b"<!doctype", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML file"),
)
"""What people drop on a program by mistake, by how it starts."""

_NO_TEXT = bytes({*range(32)} - {9, 10, 12, 13, 27})

FORBIDDEN = (
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
    + "]"
)
"""Control characters, and those that Unicode keeps for itself. Not even an escape may write them.

A pattern and not compiled: few files need it, and compiling it takes longer than reading a plan.
"""

_UNSEEN = FORBIDDEN[:-1] + "\x85\u2028\u2029\ufeff]"
"""Those, and line ends that editors do not show, and a byte order mark that is not at the start."""

_MANY = 20

NOTHING = chr(0xF0000)
"""A private character that stands for nothing at all where `Decoded.joined` says so."""


class Decoded(NamedTuple):
    """The lines of a file as they stand, the same lines fit for a YAML parser, and what is wrong with them.

    Both have the same characters in the same places, except that what no text may hold is a space in `readable`, and
    that the two halves in which JSON writes an emoji are one, filled up with `NOTHING` (`joined`).
    """

    lines: list[str]
    readable: list[str]
    joined: bool
    findings: list[Finding]


def decode(raw: bytes) -> Decoded:
    """Read the bytes of a file. There are no lines when it is no text, or empty."""
    if found := _no_text(raw):
        return Decoded([], [], False, [found])
    body = raw.removeprefix(b"\xef\xbb\xbf")
    findings = []
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        text = body.decode("utf-8", "replace")
        findings.append(_not_utf8(body, error.start))
    lines = _lines(text)
    if not findings and all(not line.strip() or line.lstrip().startswith("#") for line in lines):
        what = "nothing but comments" if text.strip() else "nothing"
        empty = Finding("SR105", 0, 0, f"there is {what} in this file", "a plan has at least one scene")
        return Decoded([], [], False, [empty])
    readable = lines
    if unseen := [n for n, line in enumerate(lines) if not line.isprintable() and re.search(_UNSEEN, line)]:
        findings += _unseen(lines, unseen)
        readable = lines.copy()
        for n in unseen:
            readable[n] = re.sub(_UNSEEN, " ", lines[n])
    joined = text.lstrip()[:1] in ("{", "[") and NOTHING not in text and "\\u" in text
    if joined:
        readable = [_joined(line) for line in readable]
    return Decoded(lines, readable, joined, findings)


def _lines(text: str) -> list[str]:
    return re.split("\r\n|\n|\r", text)


def _no_text(raw: bytes) -> Finding | None:
    """A file of another kind, told once and not character by character."""
    hint = "a plan is a plain text file, written in YAML"
    for start, kind in (*_BINARY, (raw[:4] + b"ftyp", "a video file")):
        if raw.startswith(start):
            if kind.startswith("rich"):
                hint = "save it as plain text (in TextEdit: Format, Make Plain Text)"
            return Finding("SR101", 0, 0, f"this is {kind}", hint)
    wide = (raw[0:4:2] == b"\x00\x00") != (raw[1:4:2] == b"\x00\x00")
    if wide or raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "save it again as UTF-8 (in Notepad: Save as, Encoding: UTF-8)"
        return Finding("SR102", 0, 0, "this file is written in UTF-16; a plan is UTF-8", hint)
    sample = raw[:4096]
    if len(sample) - len(sample.translate(None, _NO_TEXT)) > max(8, len(sample) / 10):
        return Finding("SR101", 0, 0, "this is not a text file", hint)
    return None


def _not_utf8(body: bytes, start: int) -> Finding:
    before = _lines(body[:start].decode("utf-8"))
    likely = body[start : start + 1].decode("cp1252", "replace")
    meant = f"; in Windows-1252 it is `{likely}`" if likely.isprintable() and likely != "\ufffd" else ""
    hint = "save the file again with the encoding UTF-8; editors have it under Save as"
    sentence = f"this file is not UTF-8: the byte 0x{body[start]:02X} here means nothing{meant}"
    return Finding("SR102", len(before) - 1, len(before[-1]), sentence, hint)


def _unseen(lines: list[str], where: list[int]) -> list[Finding]:
    """The first of the characters that nobody sees, each with its place."""
    found = [(n, place.start(), place.group()) for n in where for place in re.finditer(_UNSEEN, lines[n])]
    findings = []
    for line, column, character in found[:_MANY]:
        if character in "\x85\u2028\u2029":
            sentence, hint = (
                f"{named(character)} breaks the line where editors show none",
                "type a space or a line break instead",
            )
        elif character == "\ufeff":
            sentence, hint = "a byte order mark (U+FEFF) in the middle of the file", "delete it"
        else:
            sentence, hint = (
                f"{named(character)} cannot be part of a text",
                "delete it; it has no width, but the cursor stops at it",
            )
        findings.append(Finding("SR103", line, column, sentence, hint))
    if len(found) > _MANY:
        findings[-1] = findings[-1]._replace(hint=f"{len(found) - _MANY} more follow")
    return findings


def _joined(line: str) -> str:
    """JSON writes an emoji as two halves, `\\ud83d\\ude00`, which YAML does not know: as one, and as long."""

    def one(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        whole = 0x10000 + ((int(found[1], 16) & 0x3FF) << 10) + (int(found[2], 16) & 0x3FF)
        return f"\\U{whole:08x}{NOTHING * 2}"

    return re.sub(r"\\(?:u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|.)", one, line, flags=re.IGNORECASE)


def to_show(line: str) -> str:
    """A line of a plan as it is shown with a problem: of the same length, what looks like a key in it as stars.

    A key has no place in a plan. Where one was pasted, the message about it must not carry it on into the log of a CI.
    """
    return _KEY.sub(lambda found: found[1] + "*" * len(found[2]), line) if len(line) <= _LONGEST else line


_LONGEST = 10_000
_KEY = re.compile(
    r"""((?:api[_-]?key|auth|key_id|secret|token|password|credential)\w*["']?\s*[:=]\s*["']?(?:Bearer\s+)?|\b(?=sk-))
        ([\w+/=.~-]{12,})""",
    re.IGNORECASE | re.VERBOSE,
)
