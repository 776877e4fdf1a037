"""From the events of PyYAML's parser to data and places, in one pass, with what is wrong on the way."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from storyrun.yamlfile import traps
from storyrun.yamlfile.text import FORBIDDEN
from storyrun.yamlfile.traps import Finding, short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_DEPTH = 50
MAX_NODES = 200_000
"""Values in one file, each alias counted as often as what it stands for."""

MANY = 100
"""Findings of one pass; after that nobody reads on."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its events are used: nothing that a tag could name is ever built."""


class Spot:
    """Where one value stands. Marks are PyYAML's, from 0; `style` is the sign that opens a scalar, "" for a plain one.

    `inside` are the spots of a map or list. `text` is the anchored spot that an alias stands for.
    """

    __slots__ = ("anchored", "end", "inside", "key_end", "key_start", "start", "style", "text")

    def __init__(self, start: Any, end: Any, style: str, inside: Any = None, *, anchored: bool = False) -> None:
        self.start = start
        self.end = end
        self.style = style
        self.inside: dict[str, Spot] | list[Spot] | None = inside
        self.key_start: Any = None
        self.key_end: Any = None
        self.anchored = anchored
        self.text: Spot | None = None


class _Open:
    """A map or list that is being read. A map waits for a key while `key` is None; a list always has one."""

    def __init__(self, spot: Spot, value: Any, *, flow: bool, anchor: str | None, before: int, is_key: bool) -> None:
        self.spot = spot
        self.value = value
        self.flow = flow
        self.anchor = anchor
        self.before = before
        self.is_key = is_key
        self.keyed = isinstance(value, dict)
        self.height = 1
        self.key: str | None = None
        self.key_start: Any = None
        self.key_end: Any = None
        self.drop = False  # the value of this key has no place: the key is written twice, or is none
        self.lost = False  # the last key had no value

    @property
    def name(self) -> str:
        """The key that was read last, "" for a list."""
        return self.key or (next(reversed(self.value), "") if self.keyed else "")


class _Enough(Exception):
    """Reading on makes no sense."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.sentence)
        self.finding = finding


class Reading:
    """One pass over the lines of a file. `restore` is for `str.translate`: what the stand-ins in them mean."""

    def __init__(self, lines: Sequence[str], restore: Mapping[int, str | None]) -> None:
        self.lines = lines
        self.restore = restore
        self.findings: list[Finding] = []
        self._hashed = frozenset(n for n, line in enumerate(lines) if "#" in line)
        self._anchors: dict[str, tuple[Any, Spot, int, int] | None] = {}
        self._nodes = 0
        self._documents = 0
        self._last: Any = None
        self._shut: list[_Open] = []
        self._stack = [_Open(Spot(None, None, "", []), [], flow=False, anchor=None, before=0, is_key=False)]

    @property
    def root(self) -> tuple[Any, Spot] | None:
        """The data and its place; None where there is none."""
        top = self._stack[0]
        return (top.value[0], top.spot.inside[0]) if top.value and isinstance(top.spot.inside, list) else None

    def run(self) -> Finding | None:
        """Read everything. Returns what broke the reading off, None when it came to the end."""
        parser = _Parser("\n".join(self.lines))
        try:
            while (event := parser.get_event()) is not None:
                kind = type(event)
                if kind is ScalarEvent:
                    self._scalar(event)
                elif kind is MappingStartEvent or kind is SequenceStartEvent:
                    self._start(event, {} if kind is MappingStartEvent else [])
                elif kind is MappingEndEvent or kind is SequenceEndEvent:
                    self._end(event)
                elif kind is AliasEvent:
                    self._alias(event)
                else:
                    self._documents += kind is DocumentStartEvent
                    if self._documents > 1:
                        hint = "remove the `---`; a second plan is a file of its own"
                        self._find("SR126", event.start_mark, "a second document starts here; a plan is one", hint)
                        return None
                    continue
                self._last = event
        except _Enough as enough:
            return enough.finding
        except yaml.MarkedYAMLError as error:
            return self._explained(error)
        except (ValueError, OverflowError) as error:  # PyYAML's parser in Python, on "\\UFFFFFFFF"
            return self._explained(yaml.MarkedYAMLError(problem=f"escape: {error}", problem_mark=parser.get_mark()))
        finally:
            parser.dispose()
        return None

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _scalar(self, event: Any) -> None:
        self._count(event.start_mark, 1)
        frame = self._stack[-1]
        start, end = event.start_mark, event.end_mark
        style, value = event.style or "", event.value
        expects_key = frame.keyed and frame.key is None
        proper = event.anchor is None and event.tag is None
        if not proper:
            tag = self._refuse_tag(event)
            value = value or tag
        elif not style and len(self.findings) < MANY:
            self._look_at(frame, event, expects_key)
        if style == '"' and not value.isprintable() and (found := re.search(FORBIDDEN, value)):
            self._tell(traps.forbidden_escape(self.lines, (start.line, start.column), found.group()))
            value = re.sub(FORBIDDEN, "\ufffd", value)
        if self.restore:
            value = value.translate(self.restore)
        spot = Spot(start, end, style, anchored=not proper)
        self._anchor(event)
        if expects_key:
            self._key(frame, event, value)
        else:
            value = None if not style and value in _NULLS else value
            self._put(frame, value, spot)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, spot, 1, 0)

    def _look_at(self, frame: _Open, event: Any, expects_key: bool) -> None:
        """The traps of a text without quotes."""
        at, end = (event.start_mark.line, event.start_mark.column), (event.end_mark.line, event.end_mark.column)
        value = event.value
        found = None
        if value and (not value.isascii() or value[0] == "-"):
            found = traps.strange_text(self.lines, at, end, key=expects_key, flow=frame.flow)
        if found is None and not expects_key:
            if end[0] in self._hashed:
                found = traps.lost_comment(self.lines[end[0]], at, end, flow=frame.flow)
            if not value and frame.flow and frame.keyed:
                found = found or self._lost_value(frame, end)
        if found is not None:
            self._tell(found)

    def _lost_value(self, frame: _Open, end: traps.At) -> Finding | None:
        """A key between braces without a colon. One text with three commas is told once."""
        key, key_end = frame.key_start, frame.key_end
        line = self.lines[key.line]
        if ":" in line[key_end.column : end[1] if end[0] == key_end.line else None]:
            return None
        again, frame.lost = frame.lost, True
        if again or frame.is_key or frame.drop:  # `{{ name }}` is told as what it is
            return None
        inside: Any = frame.spot.inside
        before = next(reversed(inside.values()), None)
        at = None
        if before is not None and before.inside is None and not before.style and before.start.index < before.end.index:
            at = (before.start.line, before.start.column)
        return traps.lost_value(line, at, (key.line, key.column), (key_end.line, key_end.column))

    def _key(self, frame: _Open, event: Any, value: str) -> None:
        start = event.start_mark
        plain = not event.style
        if not value and plain:
            self._find("SR122", start, "a key is missing here", "write a key there")
        elif value == "<<" and plain:
            hint = "settings for all scenes go under `defaults:`; one value can be repeated with `&name` and `*name`"
            self._find("SR123", start, "merge keys (`<<`) are not read", hint)
            frame.drop = True
        elif value in frame.value and isinstance(frame.spot.inside, dict):
            first = frame.spot.inside[value].key_start.line + 1
            sentence = f"`{short(value)}` is written twice here, in lines {first} and {start.line + 1}"
            hint = "remove one of them, or start a new list item with `- ` where the second belongs"
            self._find("SR121", start, sentence, hint)
            frame.drop = True
        frame.key, frame.key_start, frame.key_end = value, start, event.end_mark

    def _start(self, event: Any, value: Any) -> None:
        self._count(event.start_mark, 1)
        self._refuse_tag(event)
        frame = self._stack[-1]
        start, end = event.start_mark, event.end_mark
        at, flow = (end.line, end.column), bool(event.flow_style)
        line = self.lines[at[0]] if flow else ""
        is_key = frame.keyed and frame.key is None
        if line.startswith("{{", at[1] - 1) and len(self.findings) < MANY:
            self._tell(traps.bare_template(line, (at[0], at[1] - 1), flow=frame.flow))
        elif is_key:
            self._find("SR122", start, "a key must be a text, not a list or a map", "a text in brackets needs quotes")
        if (
            flow
            and at[0] in self._hashed
            and len(self.findings) < MANY
            and (found := traps.lost_comment(line, at, at, flow=True))
        ):
            self._tell(found)
        self._sink(start, len(self._stack))
        spot = Spot(start, end, "", {} if isinstance(value, dict) else [], anchored=event.anchor is not None)
        self._anchor(event)
        before = self._nodes - 1
        self._stack.append(_Open(spot, value, flow=flow, anchor=event.anchor, before=before, is_key=is_key))

    def _end(self, event: Any) -> None:
        if not isinstance(self._last, (MappingEndEvent, SequenceEndEvent)):
            self._shut.clear()
        frame = self._stack.pop()
        self._shut.append(frame)
        frame.spot.end = event.end_mark
        parent = self._stack[-1]
        parent.height = max(parent.height, frame.height + 1)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.value, frame.spot, self._nodes - frame.before, frame.height)
        if frame.is_key:
            parent.key, parent.key_start, parent.key_end, parent.drop = "", frame.spot.start, event.end_mark, True
        else:
            self._put(parent, frame.value, frame.spot)

    def _alias(self, event: Any) -> None:
        frame, start, name = self._stack[-1], event.start_mark, event.anchor
        spot = Spot(start, event.end_mark, "")
        value: Any = f"*{name}"
        if name not in self._anchors:
            hint = f"a text that starts with `*` needs quotes: write {traps.quoted(value)}"
            self._find("SR125", start, f"`*{short(name)}` stands for `&{short(name)}`, which is nowhere above", hint)
        elif (known := self._anchors[name]) is None:
            sentence = f"`*{short(name)}` stands inside the very thing that `&{short(name)}` names"
            self._find("SR125", start, sentence, "write the value itself")
        else:
            value, anchored, size, height = known
            self._count(start, size, f"each `*{short(name)}` counts as all that `&{short(name)}` names: repeat less")
            self._sink(start, len(self._stack) - 1 + height)
            frame.height = max(frame.height, height + 1)
            spot.inside, spot.text = anchored.inside, anchored
        if frame.keyed and frame.key is None:
            self._find("SR122", start, "an alias cannot be a key", "write the key itself")
            frame.key, frame.key_start, frame.key_end, frame.drop = "", start, event.end_mark, True
        else:
            self._put(frame, value, spot)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put(self, frame: _Open, value: Any, spot: Spot) -> None:
        """Give a value its place in the map or list that is open."""
        inside: Any = frame.spot.inside
        if not frame.keyed:
            frame.value.append(value)
            inside.append(spot)
            return
        if not frame.drop:
            spot.key_start, spot.key_end = frame.key_start, frame.key_end
            frame.value[frame.key] = value
            inside[frame.key] = spot
        frame.lost = frame.lost and value is None
        frame.key, frame.drop = None, False

    def _count(self, mark: Any, nodes: int, hint: str = traps.USE_A_TABLE) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            sentence = f"the file holds more than {MAX_NODES:,} values with its aliases written out"
            raise _Enough(Finding("SR104", mark.line, mark.column, sentence, hint))

    def _sink(self, mark: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            sentence = f"this is nested more than {MAX_DEPTH} levels deep"
            raise _Enough(Finding("SR104", mark.line, mark.column, sentence, "a plan needs fewer than ten levels"))

    def _anchor(self, event: Any) -> None:
        """Notes a name; what it stands for is known when all of it is read."""
        name = event.anchor
        if name is None:
            return
        if name in self._anchors:
            self._find("SR125", event.start_mark, f"`&{short(name)}` names two things", "give this one another name")
        self._anchors[name] = None

    def _refuse_tag(self, event: Any) -> str:
        """Tells of a tag, if there is one. Returns it: it may be the start of a text."""
        if event.tag is None:
            return ""
        line, column = self.lines[event.start_mark.line], event.start_mark.column
        column = max(line.find("!", column), column)
        word: str = line[column:].split(maxsplit=1)[0]
        text = traps.entry(line, column, flow=self._stack[-1].flow)
        hint = f"remove it; if it belongs to a text, {traps.rewritten(line, column, text)}"
        sentence = f"tags such as `{short(word)}` are not read"
        self._tell(Finding("SR124", event.start_mark.line, column, sentence, hint))
        return word

    def _find(self, code: str, mark: Any, sentence: str, hint: str) -> None:
        self._tell(Finding(code, mark.line, mark.column, sentence, hint))

    def _tell(self, found: Finding) -> None:
        if len(self.findings) < MANY:
            self.findings.append(found)

    def _explained(self, error: yaml.MarkedYAMLError) -> Finding:
        """Why the parser could not go on."""
        from storyrun.yamlfile.errors import Last, Level, Standing, explain

        mark = error.problem_mark or error.context_mark
        at = (mark.line, mark.column) if mark is not None else (0, 0)
        context = (error.context_mark.line, error.context_mark.column) if error.context_mark is not None else at
        event = self._last
        shut = self._shut if isinstance(event, (MappingEndEvent, SequenceEndEvent)) else []
        last = Last("-", (0, 0), (0, 0))
        if event is not None:
            start, end, kind = event.start_mark, event.end_mark, "-"
            if isinstance(event, ScalarEvent):
                kind = event.style or ""
            elif isinstance(event, AliasEvent):
                kind = "*"
            elif shut:
                start = shut[-1].spot.start
                kind = ("}" if shut[-1].keyed else "]") if shut[-1].flow else "-"
            last = Last(kind, (start.line, start.column), (end.line, end.column))
        opened, closed = (
            [
                Level(frame.spot.start.line, frame.spot.start.column, frame.flow, frame.keyed, frame.name)
                for frame in frames
            ]
            for frames in (self._stack[1:], shut)
        )
        standing = Standing(self.lines, last, opened, closed)
        return explain(error.problem or str(error), at, context, standing)
