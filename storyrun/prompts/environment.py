"""The Jinja environment that storyboards get. Loaded only when a plan holds a template."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import wraps
from typing import TYPE_CHECKING, Any

from jinja2 import BaseLoader, StrictUndefined, TemplateNotFound, Undefined, nodes, pass_environment
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from storyrun import nearest
from storyrun.prompts import BUILT_IN, BUILT_INS, FILTERS, MAX_OUTPUT, MAX_RANGE, MAX_STEPS, MAX_WORK, TESTS, Row
from storyrun.prompts.built_in import sentence
from storyrun.prompts.faults import TemplateFault
from storyrun.sources import SourceFault, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from jinja2 import Environment

MAX_BITS = 4096
"""Of a whole number."""


class Runaway(Exception):
    """A template that takes too many steps or writes too much."""


class Forbidden(Exception):
    """Something that storyboards cannot do in a template."""

    def __init__(self, sentence: str, hint: str = "", needle: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint
        self.needle = needle


class StoryboardEnvironment(ImmutableSandboxedEnvironment):
    """Jinja with bounds: steps and work are counted, operators that multiply are measured, texts have no methods."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def start_render(self) -> None:
        """Start counting anew."""
        self.steps = 0
        self.work = 0

    def step(self, literal: int) -> str:
        """Called in every turn of a loop, call of a macro and included file; `literal` characters are written there."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Runaway(f"it takes more than {MAX_STEPS:,} steps")
        self.spend(literal)
        return ""

    step.storyrun_safe = True  # type: ignore[attr-defined]

    def spend(self, size: int) -> None:
        """Count what a filter, an operator or the output goes through."""
        self.work += size
        if self.work > MAX_WORK:
            raise Runaway(f"it goes through more than {MAX_WORK:,} characters")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Joined().visit(super()._parse(source, name, filename))
        for node in [tree, *tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))]:
            literal = sum(len(data.data) for data in node.find_all(nodes.TemplateData))
            # Not a name: a template could give that another meaning.
            call = nodes.Call(nodes.EnvironmentAttribute("step"), [nodes.Const(literal)], [], None, None)
            node.body.insert(0, nodes.Output([call]).set_lineno(node.lineno or 1))  # type: ignore[attr-defined]
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise Forbidden("texts cannot be formatted with %", "write {{ name }} where it belongs")
        if operator == "**" and (abs(_number(left)) > 1e6 or abs(_number(right)) > 64):
            raise Runaway("it takes a power too large")
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and len(text) * max(_number(times), 0) > MAX_OUTPUT:
                    raise Runaway(f"it multiplies a text beyond {MAX_OUTPUT // 1024} KB")
        result = super().call_binop(context, operator, left, right)
        _bounded(result)
        self.spend(_size(result))
        return result

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Row):
            if attribute in obj.columns:
                return obj.columns[attribute]
            return self.undefined(f"`{obj}` has no column `{attribute}`", name=attribute)
        if isinstance(obj, str):
            raise Forbidden(*no_attribute(attribute), attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, str) and isinstance(argument, str):
            return self.getattr(obj, argument)
        result = super().getitem(obj, argument)
        if isinstance(argument, slice):
            self.spend(_size(result))
        return result

    def is_safe_callable(self, obj: Any) -> bool:
        if isinstance(obj, Undefined):
            return True  # calling it says what is missing
        return getattr(obj, "storyrun_safe", False) or type(obj).__name__ in {"Macro", "LoopContext"}

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.is_safe_callable(obj):
            name = getattr(obj, "__name__", "")
            what = f"`{name}(...)`" if name else "this"
            raise Forbidden(f"{what} cannot be called in a storyboard", "use a filter: {{ name | upper }}", name)
        return super().call(context, obj, *args, **kwargs)

    def printed(self, value: Any) -> Any:
        """What `{{ value }}` writes. Only texts, numbers and truth values have a form that a prompt could mean."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float | Decimal | Undefined):
            _bounded(value)
            self.spend(_size(value))
            return value
        raise Forbidden("only texts and numbers can be written", "join a list: {{ values | join(', ') }}")

    def metered(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A filter whose work is counted by the size of what it gets."""
        value = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.spend(1 + _size(args[value]))
            result = function(*args, **kwargs)
            _bounded(result)
            return result

        return call


class _Joined(NodeTransformer):
    """Turns `~`, which has no hook to measure it by, into a filter of ours that does the same and does."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - the name is how Jinja finds it
        self.generic_visit(node)
        return nodes.Filter(nodes.List(node.nodes), "joined", [], [], None, None, lineno=node.lineno)


def no_attribute(attribute: str) -> tuple[str, str]:
    """Sentence and hint for `.attribute` on a text."""
    hint = f"use the filter: {{{{ name | {attribute} }}}}" if attribute in FILTERS else ""
    return f"a text has no `{attribute}`", hint


def environment(folder: Path) -> StoryboardEnvironment:
    """The environment for the plan in `folder`."""
    made = StoryboardEnvironment(
        loader=_Beside(folder),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=False,
        trim_blocks=False,
        cache_size=50,
        extensions=(),
    )
    made.finalize = made.printed
    made.start_render()
    made.globals = {"range": _range}
    filters = {name: made.filters[name] for name in FILTERS} | {
        "sentence": sentence,
        "joined": _joined,
        "replace": _replace,
        "join": _join,
        "batch": _of_numbers(made.filters["batch"]),
        "slice": _of_numbers(made.filters["slice"]),
        "round": _of_numbers(made.filters["round"]),
        "sum": _of_numbers(made.filters["sum"]),
    }
    made.filters = {name: made.metered(function) for name, function in filters.items()}
    made.tests = {name: made.tests[name] for name in TESTS}
    return made


def template_text(folder: Path, name: str) -> str:
    """A built-in template by its name, or a file beside the plan. Raises `TemplateFault`."""
    if name in BUILT_INS:
        return (BUILT_IN / f"{name}.jinja").read_text(encoding="utf-8")
    try:
        raw = inside(folder, name).read_bytes()
        if len(raw) > MAX_OUTPUT:
            raise TemplateFault("SR236", f"template {name} is larger than {MAX_OUTPUT // 1024} KB", needle=name)
        return raw.decode("utf-8-sig")
    except SourceFault as fault:
        hint = fault.hint
        if name.isidentifier():
            hint = nearest.hint(name, BUILT_INS)
        raise TemplateFault("SR236", f"template {fault.sentence}", hint, needle=name) from None
    except UnicodeDecodeError:
        raise TemplateFault("SR236", f"template {name} is not UTF-8 text", needle=name) from None
    except OSError as error:
        sentence = f"template {name} cannot be read: {(error.strerror or str(error)).lower()}"
        raise TemplateFault("SR236", sentence, needle=name) from None


class _Beside(BaseLoader):
    """Loads the plan's own templates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        try:
            return template_text(self._folder, template), f"template:{template}", lambda: True
        except TemplateFault as fault:
            raise TemplateNotFound(template, fault.sentence) from fault


def _range(*bounds: Any) -> range:
    numbers = range(*(int(bound) for bound in bounds))
    if len(numbers) > MAX_RANGE:
        raise Runaway(f"range() of more than {MAX_RANGE:,}")
    return numbers


_range.storyrun_safe = True  # type: ignore[attr-defined]
_range.__name__ = "range"


def _joined(values: list[Any]) -> str:
    """What `~` makes of values."""
    return _pieced("", values)


def _replace(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Jinja's `replace`, measured first: replacing can multiply a text."""
    whole, before, after = str(text), str(old), str(new)
    if len(whole) + whole.count(before) * len(after) > MAX_OUTPUT:
        raise Runaway(f"it makes a text beyond {MAX_OUTPUT // 1024} KB")
    return whole.replace(before, after, -1 if count is None else int(count))


@pass_environment
def _join(environment: StoryboardEnvironment, values: Any, between: Any = "", attribute: str | None = None) -> str:
    """Jinja's `join`, measured."""
    return _pieced(str(between), (environment.getitem(value, attribute) if attribute else value for value in values))


def _pieced(between: str, values: Iterable[Any]) -> str:
    """Texts joined, as long as they stay within bounds."""
    texts: list[str] = []
    size = 0
    for value in values:
        texts.append(str(value))
        size += len(texts[-1]) + len(between)
        if size > MAX_OUTPUT:
            raise Runaway(f"it joins texts beyond {MAX_OUTPUT // 1024} KB")
    return between.join(texts)


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose further arguments may be names, and numbers that are not large: never a list to add to."""
    value = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args[value + 1 :], *kwargs.values()):
            if isinstance(argument, list | tuple):
                raise Forbidden("lists cannot be added up", "add numbers: {{ values | sum }}")
            if abs(_number(argument)) > MAX_RANGE:
                raise Runaway(f"a number beyond {MAX_RANGE:,}")
        return function(*args, **kwargs)

    return call


def _bounded(value: Any) -> None:
    """Raise for a value that has grown beyond all use."""
    if isinstance(value, str | list | tuple) and len(value) > MAX_OUTPUT:
        raise Runaway(f"it makes a text beyond {MAX_OUTPUT // 1024} KB")
    if (isinstance(value, int) and value.bit_length() > MAX_BITS) or (isinstance(value, float) and value - value != 0):
        raise Runaway("it reckons with a number too large")


def _size(value: Any) -> int:
    """How much there is to go through."""
    return len(value) if isinstance(value, str | list | tuple | dict | range) else 1


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
    except OverflowError:
        return math.inf
