"""Jinja for storyboards: which names a text mentions, what it renders to, and what is wrong with it.

A storyboard is untrusted input, so templates get less than Jinja offers: no method calls, no environment, clock or
chance, a short list of filters, includes from the plan's folder only, and bounds on steps and output, since Jinja's
own sandbox limits neither time nor memory.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from storyrun import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jinja2 import Environment, nodes

    from storyrun.records import AxisValue

CODES = {
    "SR230": "a template has a syntax error",
    "SR231": "a template names something that does not exist",
    "SR232": "an unknown filter or test",
    "SR233": "a runaway template: too many steps or too much text",
    "SR234": "a template uses what storyboards cannot use",
    "SR235": "a template renders to nothing",
    "SR236": "a template file is missing or lies outside the plan's folder",
    "SR237": "a template fails while it renders",
}

MAX_OUTPUT = 64 * 1024
MAX_STEPS = 20_000
MAX_RANGE = 1_000

BUILT_IN = Path(__file__).parent.with_name("templates")
SHOTS, PROMPT = "shots", "prompt"
"""The built-in templates. A released one never changes its wording: that would buy campaigns again."""

FILTERS = (
    "abs batch capitalize count d default e escape first float int items join last length list lower map max min "
    "reject rejectattr replace reverse round select selectattr slice sort string sum title trim unique upper wordcount"
).split()
TESTS = (
    "boolean defined divisibleby eq equalto even ge greaterthan gt in integer iterable le lessthan lower lt mapping ne "
    "none number odd sequence string undefined upper"
).split()


class TemplateFault(Exception):
    """What is wrong with a template.

    `line` counts from 1 within the text as it stands in its file; `needle` is the word to point at there; `file` is
    the template file when the fault is not in the text itself.
    """

    def __init__(
        self, code: str, sentence: str, hint: str = "", *, line: int = 1, needle: str = "", file: str = ""
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.hint = hint
        self.line = line
        self.needle = needle
        self.file = file


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
    """A name that a template reads, with the attribute read from it, if any: `format`, "ratio"."""

    __slots__ = ("attribute", "name")

    def __init__(self, name: str, attribute: str) -> None:
        self.name = name
        self.attribute = attribute


class Templates:
    """Compiles and renders the templates of one plan. Each distinct text is compiled once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._compiled: dict[str, Any] = {}
        self._mentions: dict[str, tuple[Mention, ...]] = {}
        self._environment: Environment | None = None

    @property
    def environment(self) -> Environment:
        if self._environment is None:
            from storyrun.prompts.environment import environment

            self._environment = environment(self._folder)
        return self._environment

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """The outside names that a text reads, literal includes followed. Raises `TemplateFault`."""
        if not is_template(text):
            return ()
        if text not in self._mentions:
            self._mentions[text] = tuple(self._mentions_of(text, ()))
        return self._mentions[text]

    def _mentions_of(self, text: str, trail: tuple[str, ...]) -> Iterator[Mention]:
        from jinja2 import nodes

        tree = self._parse(text)
        try:
            yield from outside_names(tree, frozenset(self.environment.globals))
        except Exception as error:  # noqa: BLE001 - whatever a stranger's template does must end as a sentence
            _fault(error)
        for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            wanted = node.template  # type: ignore[attr-defined]
            if not (isinstance(wanted, nodes.Const) and isinstance(wanted.value, str)):
                raise TemplateFault(
                    "SR234", "a template is included by a literal name only", line=node.lineno, needle="include"
                )
            if wanted.value in trail or len(trail) > 20:
                raise TemplateFault("SR233", f"{wanted.value} includes itself", line=node.lineno, needle=wanted.value)
            yield from self._mentions_of(self.file(wanted.value), (*trail, wanted.value))

    def file(self, name: str) -> str:
        """The text of a built-in template or of a file beside the plan. Raises `TemplateFault`."""
        from storyrun.prompts.environment import template_text

        return template_text(self._folder, name)

    def check(self, text: str) -> None:
        """Raise `TemplateFault` if a text cannot be compiled."""
        if is_template(text):
            self.mentions(text)
            self._compile(text)

    def render(self, text: str, names: Mapping[str, Any]) -> str:
        """A text with its names filled in. Raises `TemplateFault`."""
        if not is_template(text):
            return text
        template = self._compile(text)
        from storyrun.prompts.environment import Runaway

        self.environment.start_render()  # type: ignore[attr-defined]
        pieces: list[str] = []
        size = 0
        try:
            for piece in template.root_render_func(template.new_context(dict(names))):
                pieces.append(piece)
                size += len(piece)
                if size > MAX_OUTPUT:
                    raise Runaway(f"it writes more than {MAX_OUTPUT // 1024} KB")
        except Exception as error:  # noqa: BLE001 - whatever a stranger's template does must end as a sentence
            _fault(error)
        return "".join(pieces)

    def _parse(self, text: str) -> nodes.Template:
        try:
            return self.environment.parse(text)
        except Exception as error:  # noqa: BLE001 - as above
            _fault(error)

    def _compile(self, text: str) -> Any:
        if text not in self._compiled:
            try:
                self._compiled[text] = self.environment.from_string(text)
            except Exception as error:  # noqa: BLE001 - as above
                _fault(error)
        return self._compiled[text]


def is_template(text: str) -> bool:
    """Whether a text holds Jinja at all; most do not, and need none of it."""
    return "{{" in text or "{%" in text or "{#" in text


def outside_names(tree: nodes.Template, known: frozenset[str]) -> Iterator[Mention]:
    """The names that a tree takes from outside, by Jinja's own scoping, with the attributes read from them."""
    from jinja2 import meta, nodes

    free = meta.find_undeclared_variables(tree) - known
    for getattr_ in tree.find_all(nodes.Getattr):
        if isinstance(getattr_.node, nodes.Name) and getattr_.node.name in free:
            yield Mention(getattr_.node.name, getattr_.attr)
    for item in tree.find_all(nodes.Getitem):
        if (
            isinstance(item.node, nodes.Name)
            and item.node.name in free
            and isinstance(item.arg, nodes.Const)
            and isinstance(item.arg.value, str)
        ):
            yield Mention(item.node.name, item.arg.value)
    for name in sorted(free):
        yield Mention(name, "")


def _fault(error: Exception) -> NoReturn:
    """A Jinja error as a `TemplateFault`."""
    from jinja2 import TemplateAssertionError, TemplateSyntaxError, UndefinedError

    from storyrun.prompts.environment import Forbidden, Runaway

    if isinstance(error, TemplateFault):
        raise error
    if isinstance(error, TemplateAssertionError):
        raise _unknown_helper(error) from None
    if isinstance(error, TemplateSyntaxError):
        sentence = f"template: {(error.message or 'syntax error').rstrip('.')}"
        hint = ""
        if "unknown tag" in sentence.lower() or "unexpected end" in sentence.lower():
            hint = "every {{ needs its }}, every {% if %} its {% endif %}"
        raise TemplateFault("SR230", sentence, hint, line=error.lineno, file=_shown(error.name)) from None
    line, file = _line_of(error)
    if isinstance(error, UndefinedError):
        message = (error.message or "").replace("'", "`")
        raise TemplateFault("SR231", f"template: {message}", line=line, needle=_quoted(message), file=file) from None
    if isinstance(error, Runaway | RecursionError | MemoryError | OverflowError):
        why = str(error) if isinstance(error, Runaway) else "it never comes to an end"
        raise TemplateFault("SR233", f"runaway template: {why}", line=line, file=file) from None
    if isinstance(error, Forbidden):
        raise TemplateFault("SR234", error.sentence, error.hint, line=line, needle=error.needle, file=file) from None
    raise TemplateFault("SR237", f"template: {error}", line=line, file=file) from None


def _unknown_helper(error: Any) -> TemplateFault:
    """`No filter named 'uper'` with the nearest one that exists."""
    wanted = _quoted(error.message.replace("'", "`"))
    kind, known = ("test", TESTS) if "test named" in error.message else ("filter", [*FILTERS, "sentence"])
    sentence = f"there is no {kind} `{wanted}`"
    return TemplateFault("SR232", sentence, nearest.hint(wanted, known), line=error.lineno, needle=wanted)


def _line_of(error: Exception) -> tuple[int, str]:
    """The template's line and file at the bottom of a traceback through compiled templates."""
    line, file = 1, ""
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line, file = template.get_corresponding_lineno(trace.tb_lineno), _shown(template.filename)
        trace = trace.tb_next
    return line, file


def _shown(name: str | None) -> str:
    return (name or "").removeprefix("template:").replace("<template>", "")


def _quoted(message: str) -> str:
    found = re.findall(r"`([^`]+)`", message)
    return found[-1].split()[-1] if found else ""
