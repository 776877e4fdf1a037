"""What goes wrong in templates, as sentences: Jinja's own messages speak of its grammar and of Python's types."""

from __future__ import annotations

import re
from typing import NoReturn


class TemplateFault(Exception):
    """What is wrong with a template.

    `needle` is what to point at in the text, `nth` (from 0) which one if there are several: unlike a line, that is the
    same in a folded text and in the lines that were folded. `file` and `line` (from 1) are those of a template file,
    when the fault is not in the text itself.
    """

    def __init__(
        self, code: str, sentence: str, hint: str = "", *, line: int = 1, needle: str = "", nth: int = 0, file: str = ""
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.hint = hint
        self.line = line
        self.needle = needle
        self.nth = nth
        self.file = file

    def put(self, text: str, start: int, needle: str) -> None:
        """Say where in the text the fault is: from `start`, the `needle`."""
        from storyrun.prompts import syntax

        self.line = text.count("\n", 0, start) + 1
        self.needle, self.nth = needle, syntax.occurrence(text, needle, start)

    def point(self, text: str, word: str) -> bool:
        """Say that the fault is where a word first stands inside a tag. False if it stands in none."""
        from storyrun.prompts import syntax

        start = syntax.spot(text, word)
        if start >= 0:
            self.put(text, start, word)
        return start >= 0


def refuse(error: Exception) -> NoReturn:
    """Raise the `TemplateFault` that an error of Jinja's, or of a template of ours, amounts to."""
    from jinja2 import TemplateSyntaxError, UndefinedError
    from jinja2.exceptions import SecurityError

    from storyrun.prompts.environment import Forbidden, Runaway

    if isinstance(error, TemplateFault):
        raise error
    if isinstance(error, TemplateSyntaxError):
        raise TemplateFault("SR230", str(error.message), line=error.lineno, file=_shown(error.name)) from None
    line, file = _line_of(error)
    if isinstance(error, UndefinedError):
        raise TemplateFault("SR231", *_undefined(error.message or ""), line=line or 1, file=file) from None
    if isinstance(error, SecurityError):
        word = _quoted(str(error), 0)
        raise TemplateFault(
            "SR234", f"templates cannot reach `{word}`", line=line or 1, needle=word, file=file
        ) from None
    if isinstance(error, Forbidden):
        raise TemplateFault(
            "SR234", error.sentence, error.hint, line=line or 1, needle=error.needle, file=file
        ) from None
    if isinstance(error, Runaway | RecursionError | MemoryError | OverflowError | SyntaxError | NameError):
        sentence = f"runaway template: {_excess(error, running=bool(line))}"
        raise TemplateFault("SR233", sentence, line=line or 1, file=file) from None
    raise TemplateFault("SR237", *_failure(error), line=line or 1, file=file) from None


def _excess(error: Exception, running: bool) -> str:
    """In what a template went too far: while it was `running`, or while it was read."""
    from storyrun.prompts.environment import Runaway

    if isinstance(error, Runaway):
        return str(error)
    if isinstance(error, OverflowError | NameError):  # an infinite constant is a name to Python
        return "it reckons with a number too large"
    return "it never comes to an end" if running else "it is nested too deeply"


def _undefined(message: str) -> tuple[str, str]:
    """Sentence and hint for a name that leads to nothing; Jinja's own messages name Python types."""
    if "has no column" in message:
        return message, ""
    return f"there is no `{_quoted(message, -1)}`", ""


def _failure(error: Exception) -> tuple[str, str]:
    """Sentence and hint for a template that fails while it renders."""
    if isinstance(error, ZeroDivisionError):
        return "this divides by zero", ""
    if isinstance(error, TypeError):
        said = str(error)
        if "iterable" in said:
            return "this goes through a number as if it were a list", ""
        if "argument" in said and "formatting" not in said:
            return "this gets too many values, or too few, or one it does not know", ""
        hint = "every value is a text until it is made a number: {{ name | int }}"
        return "this reckons with a text as if it were a number, or joins the two", hint
    return f"this fails: {error}", ""


def _line_of(error: Exception) -> tuple[int, str]:
    """The template's line and file at the bottom of a traceback through compiled templates; 0 if none has run."""
    line, file = 0, ""
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line, file = template.get_corresponding_lineno(trace.tb_lineno), _shown(template.filename)
        trace = trace.tb_next
    return line, file


def _shown(name: str | None) -> str:
    return (name or "").removeprefix("template:").replace("<template>", "")


def _quoted(message: str, which: int) -> str:
    found = re.findall(r"['`]([^'`]+)['`]", message)
    return found[which].split()[-1] if found else ""
