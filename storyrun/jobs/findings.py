"""Problems found while planning, each told once however many variants share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storyrun.prompts import TemplateFault
    from storyrun.records import Problem, Severity, Text, Where
    from storyrun.yamlfile import Document


class Findings:
    """Collects problems by place and sentence; a variant is named when the problem is not in all of them."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[tuple[Where, str, str], tuple[Problem, list[str]]] = {}

    def add(
        self,
        where: Where,
        code: str,
        sentence: str,
        hint: str = "",
        *,
        variant: str = "",
        needle: str = "",
        key: bool = False,
        severity: Severity = "error",
    ) -> None:
        """Note a problem. `variant` is the label of the clip's variant, `needle` the word to point at."""
        known = self._found.get((where, code, sentence))
        if known is None:
            problem = self._document.problem(where, code, sentence, hint, severity=severity, key=key, needle=needle)
            known = self._found[where, code, sentence] = (problem, [])
        if variant and variant not in known[1]:
            known[1].append(variant)

    def fault(self, text: Text, fault: TemplateFault, variant: str = "", needle: str = "") -> None:
        """Note what is wrong with a template, at its line in the plan."""
        from storyrun.records import Problem

        if fault.file:
            sentence = f"in template {fault.file}, line {fault.line}: {fault.sentence.removeprefix('template: ')}"
            self.add(text.where, fault.code, sentence, fault.hint, variant=variant)
            return
        source, first = self._document.source(text.where)
        needle = needle or fault.needle
        if needle and needle in source:
            self.add(text.where, fault.code, fault.sentence, fault.hint, variant=variant, needle=needle)
            return
        line = first + self._line_in(source, fault) - 1
        at = (*text.where, line)
        if (at, fault.code, fault.sentence) not in self._found:
            shown = self._document.lines[line - 1] if line <= len(self._document.lines) else ""
            mark = self._document.mark(text.where)
            column = mark.column if mark.line == line else len(shown) - len(shown.lstrip()) + 1
            problem = Problem("error", fault.code, self._document.file, line, column, fault.sentence, fault.hint, shown)
            self._found[at, fault.code, fault.sentence] = (problem, [variant] if variant else [])

    def _line_in(self, source: str, fault: TemplateFault) -> int:
        """The fault's line in the text as it stands in the plan: folding has joined lines, so look again."""
        from pathlib import Path

        from storyrun.prompts import TemplateFault, Templates

        try:
            Templates(Path()).check(source)
        except TemplateFault as again:
            return min(again.line, source.count("\n") + 1)
        return min(fault.line, source.count("\n") + 1)

    @property
    def errors(self) -> bool:
        """Whether anything found forbids the run."""
        return any(problem.severity == "error" for problem, _ in self._found.values())

    def problems(self) -> Iterator[Problem]:
        """What was found, with the variants it was found in."""
        from dataclasses import replace

        for problem, variants in self._found.values():
            if not variants:
                yield problem
                continue
            more = f" and {len(variants) - 1} more" if len(variants) > 1 else ""
            yield replace(problem, sentence=f"{problem.sentence} ({variants[0]}{more})")
