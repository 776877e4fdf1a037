"""Problems found while planning, each told once however many scenes and variants share it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from storyrun.records import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storyrun.prompts import TemplateFault
    from storyrun.records import Severity, Text, Where
    from storyrun.yamlfile import Document

MANY = 5
"""Problems of one kind, each of other clips, that are told at one place: a table of 300 rows may have one for each."""

LONG = 80
"""Characters of a clip's label; the id of a row may be a whole sentence."""


class Findings:
    """Collects problems by place and sentence, and in which clips each was found."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[Where, str, str], tuple[Problem, list[str]]] = {}
        self._everywhere: set[tuple[Where, str, str]] = set()

    def add(
        self,
        where: Where,
        code: str,
        sentence: str,
        hint: str = "",
        *,
        label: str = "",
        needle: str = "",
        nth: int = 0,
        key: bool = False,
        severity: Severity = "error",
    ) -> None:
        """Note a problem. `label` names the clip it was found in, "" if it does not depend on clips.

        `needle` is what to point at in the text there, the `nth` from 0; `key` points at the key of the value.
        """
        known = (where, code, sentence)
        if known not in self._found:
            self._found[known] = (self._problem(where, code, sentence, hint, needle, nth, key, severity), [])
        if not label:
            self._everywhere.add(known)
        elif label not in self._found[known][1]:
            self._found[known][1].append(label)

    def fault(self, text: Text, fault: TemplateFault, *, label: str = "", file: str = "") -> None:
        """Note what is wrong with a template. `file` is the one that the text was read from, if it was."""
        file = fault.file or file
        if file:
            sentence = f"in template {file}, line {fault.line}: {fault.sentence}"
            self.add(text.where, fault.code, sentence, fault.hint, label=label)
        else:
            self.add(
                text.where, fault.code, fault.sentence, fault.hint, label=label, needle=fault.needle, nth=fault.nth
            )

    def _problem(
        self, where: Where, code: str, sentence: str, hint: str, needle: str, nth: int, key: bool, severity: Severity
    ) -> Problem:
        document = self._document
        mark = document.locate(where, needle, nth, key=key) if needle else document.mark(where, key)
        if needle and mark == document.mark(where, key) and not key:
            spoken = document.locate(where, needle, nth, key=True)  # a speaker is the key of what is said
            if spoken != document.mark(where, key=True) or needle in document.source(where, key=True)[0]:
                mark = spoken
        source = document.lines[mark.line - 1] if mark.line <= len(document.lines) else ""
        return Problem(severity, code, document.file, mark.line, mark.column, sentence, hint, source)

    def problems(self) -> Iterator[Problem]:
        """What was found, with the clips it was found in unless it is in all that could have it."""
        alike: dict[tuple[Where, str], list[Problem]] = {}
        for known, (problem, labels) in self._found.items():
            if not labels or known in self._everywhere:
                yield problem
                continue
            others = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
            clip = labels[0] if len(labels[0]) <= LONG else f"{labels[0][:LONG]}..."
            told = replace(problem, sentence=f"{problem.sentence} ({clip}{others})")
            alike.setdefault(known[:2], []).append(told)
        for group in alike.values():
            yield from group if len(group) <= MANY else _cut(group)


def _cut(group: list[Problem]) -> list[Problem]:
    """The first of many problems of one kind; the one that is read last says how many more there are."""
    shown = sorted(group[:MANY], key=lambda problem: problem.order)
    last = shown[-1]
    return [*shown[:-1], replace(last, sentence=f"{last.sentence}, and {len(group) - MANY} more of this kind here")]
