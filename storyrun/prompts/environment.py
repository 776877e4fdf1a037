"""The Jinja environment that storyboards get. Loaded only when a plan holds a template."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jinja2 import BaseLoader, StrictUndefined, TemplateNotFound, Undefined, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from storyrun.prompts import BUILT_IN, FILTERS, MAX_OUTPUT, MAX_RANGE, MAX_STEPS, TESTS, Row, TemplateFault
from storyrun.sources import SourceFault, inside

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jinja2 import Environment

STEP = "_step"


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
    """Jinja with bounds: operators that multiply are measured first, loops are counted, texts have no methods."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def start_render(self) -> None:
        """Start counting steps anew."""
        self.steps = 0

    def step(self) -> str:
        """Called once in every turn of a loop and every call of a macro."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Runaway(f"it takes more than {MAX_STEPS} steps")
        return ""

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
            call = nodes.Call(nodes.Name(STEP, "load"), [], [], None, None)
            node.body.insert(0, nodes.Output([call]).set_lineno(node.lineno))  # type: ignore[attr-defined]
        for concat in tree.find_all(nodes.Concat):
            # `~` has no hook to measure it by; a filter of ours does the same and does.
            concat.nodes = [
                nodes.Filter(part, "measured", [], [], None, None, lineno=concat.lineno) for part in concat.nodes
            ]
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            raise Forbidden("texts cannot be formatted with %", "write {{ name }} where it belongs", "%")
        if operator == "**" and (abs(_number(left)) > 1e6 or abs(_number(right)) > 64):
            raise Runaway("a power that large")
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and len(text) * max(_number(times), 0) > MAX_OUTPUT:
                    raise Runaway(f"it multiplies a text beyond {MAX_OUTPUT // 1024} KB")
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, str | list | tuple) and len(result) > MAX_OUTPUT:
            raise Runaway(f"it makes a text beyond {MAX_OUTPUT // 1024} KB")
        if isinstance(result, int) and result.bit_length() > 4096:
            raise Runaway("a number that large")
        return result

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Row):
            if attribute in obj.columns:
                return obj.columns[attribute]
            return self.undefined(f"`{obj}` has no column `{attribute}`", name=attribute)
        if isinstance(obj, str):
            return self.undefined(f"`{attribute}` is nothing that a text has", name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Row) and isinstance(argument, str):
            return self.getattr(obj, argument)
        return super().getitem(obj, argument)

    def is_safe_callable(self, obj: Any) -> bool:
        return getattr(obj, "storyrun_safe", False) or type(obj).__name__ in {"Macro", "LoopContext", "Cycler"}

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.is_safe_callable(obj) and not isinstance(obj, StrictUndefined):
            name = getattr(obj, "__name__", "this")
            raise Forbidden(f"`{name}(...)` cannot be called in a storyboard", "use a filter: {{ name | upper }}", name)
        return super().call(context, obj, *args, **kwargs)


def environment(folder: Path) -> Environment:
    """The environment for the plan in `folder`."""
    made = StoryboardEnvironment(
        loader=_Beside(folder),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=False,
        trim_blocks=False,
        cache_size=50,
        finalize=_printed,
        extensions=(),
    )
    made.start_render()
    made.globals = {"range": _range, STEP: _safe(made.step)}
    made.filters = {name: made.filters[name] for name in FILTERS} | {
        "sentence": sentence,
        "measured": _measured,
        "replace": _replace,
        "join": _join,
        "batch": _bounded(made.filters["batch"], 1),
        "slice": _bounded(made.filters["slice"], 1),
    }
    made.tests = {name: made.tests[name] for name in TESTS}
    return made


def sentence(text: Any) -> str:
    """A text, stripped, with a full stop unless it ends in one of `.!?`. Nothing stays nothing."""
    stripped = str(text).strip()
    return stripped if not stripped or stripped[-1] in ".!?" else stripped + "."


def template_text(folder: Path, name: str) -> str:
    """A built-in template by its name, or a file beside the plan. Raises `TemplateFault`."""
    built_in = BUILT_IN / f"{name}.jinja"
    if name.isidentifier() and built_in.is_file():
        return built_in.read_text(encoding="utf-8")
    try:
        path = inside(folder, name)
        raw = path.read_bytes()
        if len(raw) > MAX_OUTPUT:
            raise TemplateFault("SR236", f"template {name} is larger than {MAX_OUTPUT // 1024} KB", needle=name)
        return raw.decode("utf-8-sig")
    except SourceFault as fault:
        known = sorted(file.stem for file in BUILT_IN.glob("*.jinja"))
        hint = fault.hint or f"built in are: {', '.join(known)}"
        raise TemplateFault("SR236", f"template {fault.sentence}", hint, needle=name) from None
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateFault("SR236", f"template {name} cannot be read: {error}", needle=name) from None


class _Beside(BaseLoader):
    """Loads the plan's own templates."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        try:
            return template_text(self._folder, template), f"template:{template}", lambda: True
        except TemplateFault as fault:
            raise TemplateNotFound(template, fault.sentence) from fault


def _printed(value: Any) -> Any:
    """What `{{ value }}` writes. Only texts, numbers and truth values have a form that a prompt could mean."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Decimal | Undefined):
        return value
    raise Forbidden("only texts and numbers can be written", "join a list: {{ values | join(', ') }}")


def _safe(function: Any) -> Any:
    """Mark a function as one that templates may call."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.storyrun_safe = True  # type: ignore[attr-defined]
    call.__name__ = function.__name__
    return call


def _range_of(*bounds: Any) -> range:
    numbers = range(*(int(bound) for bound in bounds))
    if len(numbers) > MAX_RANGE:
        raise Runaway(f"range() of more than {MAX_RANGE}")
    return numbers


_range = _safe(_range_of)
_range.__name__ = "range"


def _measured(value: Any) -> str:
    text = str(value)
    if len(text) > MAX_OUTPUT // 2:
        raise Runaway(f"it joins texts beyond {MAX_OUTPUT // 1024} KB")
    return text


def _replace(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    """Jinja's `replace`, measured first: replacing can multiply a text."""
    whole, before, after = str(text), str(old), str(new)
    if len(whole) + whole.count(before) * len(after) > MAX_OUTPUT:
        raise Runaway(f"it makes a text beyond {MAX_OUTPUT // 1024} KB")
    return whole.replace(before, after, -1 if count is None else int(count))


def _join(values: Any, between: Any = "", attribute: str | None = None) -> str:
    """Jinja's `join`, measured."""
    texts = [str(value[attribute] if attribute else value) for value in values]
    if sum(map(len, texts)) + len(str(between)) * len(texts) > MAX_OUTPUT:
        raise Runaway(f"it joins texts beyond {MAX_OUTPUT // 1024} KB")
    return str(between).join(texts)


def _bounded(function: Any, position: int) -> Any:
    """A filter whose argument at `position` is a number that may not be large."""

    def call(value: Any, *args: Any) -> Any:
        if args and abs(_number(args[position - 1])) > MAX_RANGE:
            raise Runaway(f"a number beyond {MAX_RANGE}")
        return function(value, *args)

    return call


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
