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
    from storyrun.records import Text

JUDGED = frozenset("seconds takes seed resolution aspect_ratio prompt_extend watermark shot_type".split())
"""Settings with more to say than that they are texts."""


class Unrendered(Exception):
    """A text of this variant could not be rendered; the problem is noted."""


class Scope:
    """The names of one scene in one variant, rendered when asked for and at most once."""

    def __init__(
        self, view: Effective, variant: Variant, templates: Templates, found: Findings, judged: dict[Any, Any]
    ) -> None:
        self._view = view
        self._templates = templates
        self._found = found
        self._judged = judged
        self._axes = {name: Row.of(value, references.as_data) for name, value in variant.items()}
        self._vars: dict[str, str] = {}
        self._trail: list[str] = []
        self.label = ", ".join(f"{name}={variant[name].label}" for name in sorted(variant))

    def text(self, text: Text, *, settled: bool = True) -> str:
        """A text rendered and stripped. `settled`: data in it back to what it was. Raises `Unrendered`."""
        rendered = self._render(text).strip()
        if not rendered and text.templated:
            self._found.add(text.where, "SR235", "renders to nothing", self._nothing(), variant=self.label)
            raise Unrendered
        return references.plain(rendered) if settled else rendered

    def setting(self, key: str) -> str | None:
        """A setting of the scene, rendered and judged; None when it is not set. Raises `Unrendered`."""
        text = self._view.settings.get(key)
        if text is None:
            return None
        return self.judged(key, text)

    def judged(self, key: str, text: Text, *, in_shot: bool = False) -> str:
        """A text of a key, rendered; if a template made it, judged by the schema as if it had been written so."""
        rendered = self.text(text)
        if not text.templated or key not in JUDGED:
            return rendered
        if (key, rendered, in_shot) not in self._judged:
            scene: dict[str, Any] = {"id": "x", "prompt": "x", key: rendered}
            if in_shot:
                scene = {"id": "x", "shots": [{"action": "x", key: rendered}]}
                if key != "seconds":
                    scene["shots"][0]["seconds"] = "1"
            verdict = validation.violations({"version": "1", "scenes": [scene]}, "storyboard")
            self._judged[key, rendered, in_shot] = verdict[0] if verdict else None
        violation = self._judged[key, rendered, in_shot]
        if violation is not None:
            self._found.add(text.where, violation.code, violation.sentence, violation.hint, variant=self.label)
            raise Unrendered
        return rendered

    def join(self, template: str, text: Text | None, parts: dict[str, Any]) -> str:
        """The prompt: the parts of the scene joined by its template. `text` is where the template is named."""
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
            if text is None:
                raise
            fault.file = fault.file or text.value
            self._found.fault(text, fault, self.label)
            raise Unrendered from None

    def _render(self, text: Text) -> str:
        if not text.templated:
            return text.value
        try:
            names = {mention.name: self._name(mention.name) for mention in self._templates.mentions(text.value)}
            return self._templates.render(text.value, names)
        except TemplateFault as fault:
            self._found.fault(text, fault, self.label)
            raise Unrendered from None

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
            raise TemplateFault(
                "SR231", f"`{name}` is not set in this scene", "set it, or remove the mention", needle=name
            )
        raise TemplateFault("SR231", f"there is no `{name}`", needle=name)

    def _var(self, name: str) -> str:
        if name not in self._vars:
            self._vars[name] = self._guarded(name, self._view.vars[name])
        return self._vars[name]

    def _guarded(self, name: str, text: Text) -> str:
        """Render another text for a name, refusing circles."""
        if name in self._trail:
            raise TemplateFault("SR206", f"`{name}` is made of itself", needle=name)
        self._trail.append(name)
        try:
            return self._render(text).strip()
        finally:
            self._trail.pop()

    def _nothing(self) -> str:
        return "every text must say something; leave the key out where it has nothing to say"
