"""A scene in one variant: its texts with the variant filled in, judged now that they say something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun import references, validation
from storyrun.checks import FIELDS
from storyrun.prompts import Row, TemplateFault

if TYPE_CHECKING:
    from storyrun.jobs.findings import Findings
    from storyrun.jobs.scenes import Effective, Variant
    from storyrun.prompts import Templates
    from storyrun.records import Severity, Text, Where

JUDGED = frozenset("seconds takes seed resolution aspect_ratio prompt_extend watermark shot_type".split())
"""Settings with more to say than that they are texts."""

GAP = "…"
"""Stands for a text that cannot be rendered, so that the rest of the scene can be judged in the same pass."""


class _Unrendered(Exception):
    """A text cannot be rendered; why is told."""


class Scope:
    """The names of one scene in one variant, rendered when asked for, vars at most once.

    `faulty` are the places of texts that are known to be beyond rendering. Once anything could not be rendered the
    scope is `broken`: what comes out of it is judged as far as it goes, and never ordered.
    """

    def __init__(
        self,
        view: Effective,
        variant: Variant,
        templates: Templates,
        found: Findings,
        judged: dict[Any, Any],
        faulty: frozenset[Where],
    ) -> None:
        self._view = view
        self.place: Where = (*view.scene.where, "id")
        """Where the scene is named."""
        self._templates = templates
        self._found = found
        self._judged = judged
        self._faulty = faulty
        self._axes = {name: Row.of(value, references.as_data) for name, value in variant.items()}
        self._vars: dict[str, str] = {}
        self._trail: list[str] = []
        self._circles: set[str] = set()
        self._variant = ", ".join(f"{name}={variant[name].label}" for name in sorted(variant))
        self.broken = False

    def label(self, where: Where) -> str:
        """What to call this clip beside a problem at a place."""
        return self._view.label(where, self._variant)

    def note(
        self,
        where: Where,
        code: str,
        sentence: str,
        hint: str = "",
        *,
        key: bool = False,
        needle: str = "",
        severity: Severity = "error",
    ) -> None:
        """Note a problem of this clip; see `Findings.add`."""
        self.broken = self.broken or severity == "error"
        self._found.add(where, code, sentence, hint, label=self.label(where), key=key, needle=needle, severity=severity)

    def told(self, text: Text, *, settled: bool = True) -> str | None:
        """A text rendered and stripped, None if it cannot be. `settled`: data in it back to what it was."""
        try:
            rendered = self._render(text).strip()
        except _Unrendered:
            self.broken = True
            return None
        if not rendered and text.templated:
            what = f"`{text.where[-1]}`" if isinstance(text.where[-1], str) else "this"
            hint = "every text must say something; leave it out where it has nothing to say"
            self.note(text.where, "SR235", f"{what} renders to nothing", hint)
            return None
        return references.plain(rendered) if settled else rendered

    def text(self, text: Text, *, settled: bool = True) -> str:
        """A text rendered and stripped, with a gap for one that cannot be."""
        told = self.told(text, settled=settled)
        return GAP if told is None else told

    def setting(self, key: str) -> str | None:
        """A setting of the scene, rendered and judged; None when it is not set, or cannot be understood."""
        text = self._view.settings.get(key)
        return None if text is None else self.judged(key, text)

    def judged(self, key: str, text: Text, *, in_shot: bool = False) -> str | None:
        """A text of a key, rendered; if a template made it, judged by the schema as if it had been written so."""
        rendered = self.told(text)
        if rendered is None or not text.templated or key not in JUDGED:
            return rendered
        if (key, rendered, in_shot) not in self._judged:
            final = rendered.replace("{{", "{ {").replace("{%", "{ %").replace("{#", "{ #")  # no template any more
            scene: dict[str, Any] = {"id": "x", "prompt": "x", key: final}
            if in_shot:
                scene = {"id": "x", "shots": [{"action": "x", key: final}]}
                if key != "seconds":
                    scene["shots"][0]["seconds"] = "1"
            verdict = validation.violations({"version": "1", "scenes": [scene]}, "storyboard")
            self._judged[key, rendered, in_shot] = verdict[0] if verdict else None
        violation = self._judged[key, rendered, in_shot]
        if violation is None:
            return rendered
        self.note(text.where, violation.code, violation.sentence, violation.hint)
        return None

    def beyond(self, text: Text) -> bool:
        """Whether a text is known to be beyond rendering."""
        self.broken = self.broken or text.where in self._faulty
        return text.where in self._faulty

    def join(self, template: str, named: Text, parts: dict[str, Any]) -> str:
        """The prompt: the parts of the scene joined by a template of its own, which `named` names."""
        names: dict[str, Any] = dict.fromkeys(FIELDS, "") | {"shots": []} | parts
        names |= self._axes
        try:
            for mention in self._templates.mentions(template):
                if mention.name in self._view.vars:
                    names[mention.name] = self._var(mention.name)
                elif mention.name in FIELDS and mention.name not in parts and mention.name in self._view.settings:
                    names[mention.name] = self._render(self._view.settings[mention.name]).strip()
            return self._templates.render(template, names).strip()
        except TemplateFault as fault:
            self._found.fault(named, fault, label=self.label(named.where), file=named.value)
        except _Unrendered:
            pass
        self.broken = True
        return GAP

    def _render(self, text: Text) -> str:
        if text.where in self._faulty:
            raise _Unrendered
        if not text.templated:
            return text.value
        try:
            return self._templates.render(text.value, self._names(text.value))
        except TemplateFault as fault:
            self._found.fault(text, fault, label=self.label(text.where))
            raise _Unrendered from None

    def _names(self, text: str) -> dict[str, str]:
        """What the names in a text stand for. Raises `TemplateFault`, pointing at the name."""
        try:
            return {mention.name: self._name(mention.name) for mention in self._templates.mentions(text)}
        except TemplateFault as fault:
            fault.point(text, fault.needle)
            raise

    def _name(self, name: str) -> str:
        if name in self._axes:
            return self._axes[name]
        if name in self._view.vars:
            return self._var(name)
        if name == "id":
            return self._view.scene.id
        if name in self._view.settings:
            return self._guarded(name, self._view.settings[name])
        if name in FIELDS:
            hint = "set it, or remove the mention"
            raise TemplateFault("SR231", f"`{name}` is not set in this scene", hint, needle=name)
        raise TemplateFault("SR231", f"there is no `{name}`", needle=name)

    def _var(self, name: str) -> str:
        if name not in self._vars:
            self._vars[name] = self._guarded(name, self._view.vars[name])
        return self._vars[name]

    def _guarded(self, name: str, text: Text) -> str:
        """Render another text for a name, refusing circles; each is told once."""
        if name in self._circles:
            raise _Unrendered
        if name in self._trail:
            self._circles.update(self._trail)
            hint = f"`{name}` leads back here: write out one of the texts between"
            raise TemplateFault("SR206", f"`{name}` is made of itself", hint, needle=name)
        self._trail.append(name)
        try:
            return self._render(text).strip()
        finally:
            self._trail.pop()
