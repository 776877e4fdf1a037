"""Jinja for storyboards: which names a text mentions, what it renders to, and what is wrong with it.

A storyboard is untrusted input, so templates get less than Jinja offers: no method calls, no environment, clock or
chance, a short list of filters, includes from the plan's folder only, and bounds on steps, work and output, since
Jinja's own sandbox limits neither time nor memory. `environment` has the bounds, `syntax` says where a template is
broken.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyrun import nearest
from storyrun.prompts import plain
from storyrun.prompts.faults import TemplateFault, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import nodes

    from storyrun.prompts.environment import StoryboardEnvironment
    from storyrun.records import AxisValue

__all__ = [
    "BUILT_IN",
    "BUILT_INS",
    "CODES",
    "FILTERS",
    "FUNCTIONS",
    "MAX_OUTPUT",
    "MAX_RANGE",
    "MAX_STEPS",
    "MAX_WORK",
    "PROMPT",
    "SHOTS",
    "TESTS",
    "Mention",
    "Row",
    "TemplateFault",
    "Templates",
    "is_template",
]

CODES = {
    "SR230": "a template has a syntax error",
    "SR231": "a template names something that does not exist",
    "SR232": "an unknown filter or test",
    "SR233": "a runaway template: too many steps or too much text",
    "SR234": "a template uses what templates in storyboards do not have",
    "SR235": "a template renders to nothing",
    "SR236": "a template file is missing or lies outside the plan's folder",
    "SR237": "a template fails while it renders",
}

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
MAX_OUTPUT = 64 * 1024
"""Characters that a template may write, and that any text inside it, and the template itself, may have."""

MAX_STEPS = 20_000
"""Turns of loops and calls of macros in one rendering."""

MAX_WORK = 1_000_000
"""Characters and list items that filters, operators and output may go through in one rendering: about a second."""

MAX_RANGE = 1_000
MAX_INCLUDES = 50

FUNCTIONS = frozenset({"range"})
"""What templates can call beside their own macros."""

BUILT_IN = Path(__file__).parent.with_name("templates")
PROMPT, SHOTS = BUILT_INS = ("prompt", "shots")
"""The built-in templates. A released one never changes its wording: that would buy campaigns again."""

FILTERS = (
    "abs batch capitalize count d default first float int items join last length list lower map max min "
    "reject rejectattr replace reverse round select selectattr slice sort string sum title trim unique upper wordcount"
).split()
TESTS = (
    "boolean defined divisibleby eq equalto even ge greaterthan gt in integer iterable le lessthan lower lt mapping ne "
    "none number odd sequence string undefined upper"
).split()


class Row(str):
    """A row of an axis inside a template: its id as text, its columns as attributes."""

    columns: Mapping[str, str]

    @classmethod
    def of(cls, value: AxisValue, safe: Callable[[str], str]) -> str:
        """The value as templates see it; `safe` treats every text of it as data."""
        if value.columns is None:
            return safe(value.label)
        row = cls(safe(value.label))
        row.columns = {name: safe(cell) for name, cell in value.columns.items()}
        return row


class Mention:
    """A name that a template reads, with the attribute read from it, if any: `format`, "ratio".

    `file` and `line` say where it is read, when that is in an included file.
    """

    __slots__ = ("attribute", "file", "line", "name")

    def __init__(self, name: str, attribute: str, line: int, file: str = "") -> None:
        self.name = name
        self.attribute = attribute
        self.line = line
        self.file = file


class Templates:
    """Compiles and renders the templates of one plan. Each distinct text is compiled once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._compiled: dict[str, Any] = {}
        self._read: dict[str, _Read] = {}
        self._environment: StoryboardEnvironment | None = None

    @property
    def environment(self) -> StoryboardEnvironment:
        if self._environment is None:
            from storyrun.prompts.environment import environment

            self._environment = environment(self._folder)
        return self._environment

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """The outside names that a text reads, literal includes followed; none of a text that cannot be read."""
        return self._looked_at(text).mentions

    def faults(self, text: str) -> tuple[TemplateFault, ...]:
        """Everything that can be seen to be wrong with a text and what it includes, without rendering it."""
        return self._looked_at(text).faults

    def included(self, text: str) -> tuple[str, ...]:
        """The texts of the files that a text includes, and that those include."""
        return self._looked_at(text).included

    def file(self, name: str) -> str:
        """The text of a built-in template or of a file beside the plan. Raises `TemplateFault`."""
        from storyrun.prompts.environment import template_text

        return template_text(self._folder, name)

    def render(self, text: str, names: Mapping[str, Any]) -> str:
        """A text with its names filled in. Raises `TemplateFault`, which says where in the text it happened."""
        if not is_template(text):
            return text
        if plain.reads(text, FUNCTIONS) is not None:
            filled = plain.filled(text, names)
            if filled is not None and len(filled) <= MAX_OUTPUT:
                return filled
        try:
            return self._rendered(text, names)
        except TemplateFault as fault:
            if not fault.file:
                self._place(fault, text, names)
            raise

    def _looked_at(self, text: str) -> _Read:
        if not is_template(text):
            return NOTHING_READ
        if text not in self._read:
            read = _Read()
            simple = plain.reads(text, FUNCTIONS)
            if simple is not None:
                read.mentions = tuple(_mentions(simple))
                self._read[text] = read
                return read
            self._look(text, read, ())
            if not read.faults:
                try:
                    self._compile(text)
                except TemplateFault as fault:
                    read.faults += (fault,)
            self._read[text] = read
        return self._read[text]

    def _look(self, text: str, read: _Read, trail: tuple[str, ...]) -> None:
        """Note what a text reads, includes and gets wrong. `trail` are the files that led to it."""
        from jinja2 import nodes

        def wrong(fault: TemplateFault, needle: str = "") -> None:
            if needle and not trail:
                fault.point(text, needle)
            fault.file = fault.file or (trail[-1] if trail else "")
            read.faults += (fault,)

        try:
            tree = self._parse(text)
            for fault in self._unknown_helpers(tree):
                wrong(fault, fault.needle)
            read.mentions += tuple(outside_names(tree, trail[-1] if trail else ""))
        except TemplateFault as fault:
            wrong(fault)
            return
        for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            if len(read.included) > MAX_INCLUDES:
                return
            wanted = node.template  # type: ignore[attr-defined]
            if not (isinstance(wanted, nodes.Const) and isinstance(wanted.value, str)):
                sentence, hint = "a file is included by its name in quotes", 'write {% include "brand.txt" %}'
                wrong(TemplateFault("SR234", sentence, hint, line=node.lineno), type(node).__name__.lower())
                continue
            name = wanted.value
            if name in trail or len(trail) > MAX_INCLUDES:
                wrong(TemplateFault("SR233", f"{name} includes itself", line=node.lineno), name)
                continue
            try:
                inner = self.file(name)
            except TemplateFault as fault:
                fault.line = node.lineno
                wrong(fault, name)
                continue
            read.included += (inner,)
            if len(read.included) > MAX_INCLUDES:
                wrong(TemplateFault("SR233", f"more than {MAX_INCLUDES} files are included", line=node.lineno), name)
            self._look(inner, read, (*trail, name))

    def _unknown_helpers(self, tree: nodes.Template) -> Iterator[TemplateFault]:
        """A fault for each filter and test that does not exist; known ones take their places in the tree."""
        from jinja2 import nodes

        for node in tree.find_all((nodes.Filter, nodes.Test)):
            is_filter = isinstance(node, nodes.Filter)
            name: str = node.name
            if name in (self.environment.filters if is_filter else self.environment.tests):
                continue
            node.name = "string" if is_filter else "defined"
            hint = nearest.hint(name, [*FILTERS, "sentence"] if is_filter else TESTS)
            sentence = f"there is no {'filter' if is_filter else 'test'} `{name}`"
            yield TemplateFault("SR232", sentence, hint, line=node.lineno, needle=name)

    def _parse(self, text: str) -> nodes.Template:
        if len(text) > MAX_OUTPUT:
            raise TemplateFault("SR233", f"a template of more than {MAX_OUTPUT // 1024} KB")
        from jinja2 import TemplateSyntaxError

        try:
            return self.environment.parse(text)
        except TemplateSyntaxError as error:
            from storyrun.prompts import syntax

            found = syntax.diagnosis(text, error.message or "", error.lineno, self._refusal)
            fault = TemplateFault("SR230", found.sentence, found.hint)
            fault.put(text, found.start, found.needle)
            raise fault from None
        except Exception as error:  # noqa: BLE001 - whatever a stranger's template does must end as a sentence
            refuse(error)

    def _refusal(self, text: str) -> str:
        """Why Jinja refuses a text; empty if it does not."""
        from jinja2 import TemplateSyntaxError

        try:
            self.environment.parse(text)
        except TemplateSyntaxError as error:
            return error.message or "syntax error"
        return ""

    def _compile(self, text: str) -> Any:
        if text not in self._compiled:
            tree = self._parse(text)
            self.environment.start_render()
            try:
                self._compiled[text] = self.environment.from_string(tree)
            except Exception as error:  # noqa: BLE001 - as above
                refuse(error)
        return self._compiled[text]

    def _rendered(self, text: str, names: Mapping[str, Any]) -> str:
        template = self._compile(text)
        from storyrun.prompts.environment import Runaway

        self.environment.start_render()
        pieces: list[str] = []
        size = 0
        try:
            for piece in template.root_render_func(template.new_context(dict(names))):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_OUTPUT:
                    raise Runaway(f"it writes more than {MAX_OUTPUT // 1024} KB")
        except Exception as error:  # noqa: BLE001 - as above
            refuse(error)
        said = "".join(pieces)
        if found := _CONTROL.search(said):  # "\x1b" in a tag is an escape of Jinja's own
            sentence = f"it writes a control character (U+{ord(found[0]):04X}), which no text may hold"
            raise TemplateFault("SR234", sentence)
        return said

    def _place(self, fault: TemplateFault, text: str, names: Mapping[str, Any]) -> None:
        """Find the tag that a fault happens in: the first that fails alone in the same way, else the first of all."""
        from storyrun.prompts import syntax

        if fault.needle and fault.point(text, fault.needle):
            return
        found = list(syntax.tags(text))
        blocks = [tag for tag in found if tag.text.startswith("{%")]
        guess = (blocks or found)[0]
        for tag in found:
            if tag.text.startswith("{{") and len(found) > 1:
                try:
                    self._rendered(tag.text, names)
                except TemplateFault as again:
                    if again.sentence == fault.sentence:
                        guess = tag
                        break
        fault.put(text, guess.start, guess.text)


class _Read:
    """What looking at a template gave."""

    def __init__(self) -> None:
        self.mentions: tuple[Mention, ...] = ()
        self.faults: tuple[TemplateFault, ...] = ()
        self.included: tuple[str, ...] = ()


NOTHING_READ = _Read()
"""What a text without tags gives."""


def is_template(text: str) -> bool:
    """Whether a text holds Jinja at all; most do not, and need none of it."""
    return "{{" in text or "{%" in text or "{#" in text


def _mentions(read: tuple[tuple[str, str, int], ...]) -> Iterator[Mention]:
    """The mentions of a plain text, in the order of `outside_names`."""
    columns = {(name, column): line for name, column, line in reversed(read) if column}
    for name, column in dict.fromkeys((name, column) for name, column, _ in read if column):
        yield Mention(name, column, columns[name, column])
    lines = {name: line for name, _, line in reversed(read)}
    for name in sorted(lines):
        yield Mention(name, "", lines[name])


def outside_names(tree: nodes.Template, file: str = "") -> Iterator[Mention]:
    """The names that a tree takes from outside, by Jinja's own scoping, with the attributes read from them."""
    from jinja2 import meta, nodes

    try:
        free = meta.find_undeclared_variables(tree)
    except Exception as error:  # noqa: BLE001 - as everywhere in this file
        refuse(error)
    told: set[tuple[str, str]] = set()
    lines: dict[str, int] = {}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        named = node.node  # type: ignore[attr-defined]
        attribute = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)  # type: ignore[attr-defined]
        if not isinstance(named, nodes.Name) or named.name not in free or not isinstance(attribute, str):
            continue
        if (named.name, attribute) not in told:
            told.add((named.name, attribute))
            yield Mention(named.name, attribute, node.lineno, file)
    for node in tree.find_all(nodes.Name):
        lines.setdefault(node.name, node.lineno)
    # Jinja takes a function of ours for known; an axis may have its name.
    called = {node.node.name for node in tree.find_all(nodes.Call) if isinstance(node.node, nodes.Name)}
    for name in sorted(free | (lines.keys() & FUNCTIONS - called)):
        yield Mention(name, "", lines.get(name, 1), file)
