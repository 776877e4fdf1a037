"""Whether every name in a scene's texts means something, before anything is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun import nearest, references
from storyrun.checks import FIELDS
from storyrun.jobs.scenes import template_text
from storyrun.prompts import TemplateFault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from storyrun.jobs.findings import Findings
    from storyrun.jobs.scenes import Effective
    from storyrun.prompts import Mention, Templates
    from storyrun.records import Storyboard, Text, Where


IN_FILES = frozenset({"prompt", "shots", "references"})
"""Fields that only template files know."""

ORDER = "a var may use axes and the vars written before it"


class Names:
    """The names of one scene, and the places of its texts that cannot be rendered because of theirs."""

    def __init__(self, storyboard: Storyboard, view: Effective, templates: Templates, found: Findings) -> None:
        self._storyboard = storyboard
        self._view = view
        self._templates = templates
        self._found = found
        self._axes = {axis.name: axis for axis in storyboard.matrix}
        self._joining = template_text(view, templates)

    def faulty(self, texts: Iterable[Text]) -> frozenset[Where]:
        """The places of the texts that are broken or name what is not there; each is told of."""
        return frozenset(text.where for text in texts if not self._good(text))

    def _good(self, text: Text) -> bool:
        if text.where in self._storyboard.refused:
            return False
        file = self._file(text)
        good = True
        for fault in self._templates.faults(text.value):
            self._found.fault(text, fault, file=file)
            good = False
        for mention in self._templates.mentions(text.value):
            meaningless = self._meaningless(mention, text)
            if meaningless is None:
                continue
            good = False
            if self._lost(mention.name):
                continue
            # What is not set in one scene may be set in the next.
            unset = mention.name in FIELDS and not _is_var(text.where)
            label = self._view.label(text.where, "") if unset else ""
            meaningless.line, meaningless.file = mention.line, mention.file
            if not (file or mention.file):
                meaningless.point(text.value, mention.attribute or mention.name)
            self._found.fault(text, meaningless, file=file, label=label)
        return self._references(text, file) and good

    def _lost(self, name: str) -> bool:
        """Whether a name may have been in something that could not be read."""
        if name in self._axes or name in self._view.vars:
            return False
        places = (("vars",), ("matrix",), ("defaults",), ("defaults", "vars"), (*self._view.scene.where, "vars"))
        return any(place in self._storyboard.refused for place in places)

    def _file(self, text: Text) -> str:
        """The file that a text was read from, "" for one that stands in the plan."""
        joining = self._joining
        return self._view.settings["template"].value if joining is not None and text == joining else ""

    def _references(self, text: Text, file: str) -> bool:
        """Whether every @name of a text is a reference."""
        if not references.may_bind(text.where):
            return True
        known = self._storyboard.references
        if ("references",) in self._storyboard.refused:
            return not any(references.names(text.value))
        unfinished = references.unfinished(text.value)
        strangers = [
            (name, at) for name, at in references.places(text.value) if name not in known and name not in unfinished
        ]
        for name, at in strangers:
            sentence = f"there is no reference `{name}`"
            needle = f"@{name}"
            fault = TemplateFault("SR205", sentence, self.stranger(name), line=text.value.count("\n", 0, at) + 1)
            if not file and text.value.startswith("@", at):
                fault.put(text.value, at, needle)
            self._found.fault(text, fault, file=file)
        return not strangers

    def stranger(self, name: str) -> str:
        """A hint for a reference that is not there."""
        known = [f"@{known}" for known in self._storyboard.references]
        hint = nearest.hint(f"@{name}", known) or "name it once under `references:`"
        return f"{hint}{'' if hint.endswith('?') else ';'} a plain @ is written @@"

    def _meaningless(self, mention: Mention, text: Text) -> TemplateFault | None:
        """What is wrong with one name of one text."""
        name, attribute = mention.name, mention.attribute
        in_vars = _is_var(text.where)
        if name in self._axes:
            return self._column(name, attribute) if attribute else None
        if name in self._view.vars:
            if attribute:
                return of_a_text(attribute)
            return self._order(name, text) if in_vars else None
        if name in FIELDS and in_vars:
            return TemplateFault("SR231", f"a var cannot use `{name}`, a field of the scene", ORDER)
        if name in FIELDS:
            return self._field(name, attribute, text)
        sentence = f"there is no `{name}`: not in vars, not in matrix, not a field of the scene"
        if in_vars:
            return TemplateFault("SR231", f"there is no `{name}`", nearest.hint(name, self._before(text)) or ORDER)
        fields = sorted(FIELDS & self._view.settings.keys() - IN_FILES - {"template"})
        return TemplateFault("SR231", sentence, nearest.hint(name, [*self._axes, *self._view.vars, *fields]))

    def _column(self, name: str, attribute: str) -> TemplateFault | None:
        """`{{ axis.column }}`"""
        values = self._axes[name].values
        columns = {column for value in values for column in value.columns or ()}
        if attribute in columns or not values or any(w[:2] == ("matrix", name) for w in self._storyboard.refused):
            return None
        hint = nearest.hint(attribute, sorted(columns)) if columns else f"its values are texts: write {{{{ {name} }}}}"
        return TemplateFault("SR231", f"axis {name} has no column `{attribute}`", hint)

    def _field(self, name: str, attribute: str, text: Text) -> TemplateFault | None:
        """A field of the scene; in template files those that are not set are empty."""
        if text.where[-1:] == ("template",):
            return None
        if name in IN_FILES:
            return TemplateFault("SR231", f"`{name}` is known in template files only")
        if name != "id" and name not in self._view.settings:
            return TemplateFault("SR231", f"`{name}` is not set in this scene", "set it, or remove the mention")
        return of_a_text(attribute) if attribute else None

    def _order(self, name: str, text: Text) -> TemplateFault | None:
        """A var may use those that are written before it."""
        where = self._view.vars[name].where
        if where == text.where:
            return TemplateFault("SR206", f"var `{name}` uses itself", ORDER)
        if name in self._before(text) or (text.where[0] == "scenes" and where[0] != "scenes"):
            return None
        return TemplateFault("SR206", f"var `{name}` is used before it is written", ORDER)

    def _before(self, text: Text) -> list[str]:
        """Axes, and the vars before the one of a text."""
        known = list(self._axes)
        for name, other in self._view.vars.items():
            if other.where == text.where:
                break
            known.append(name)
        return known


def of_a_text(attribute: str) -> TemplateFault:
    """`.attribute` on something that is a text."""
    from storyrun.prompts.environment import no_attribute

    return TemplateFault("SR234", *no_attribute(attribute))


def _is_var(where: Where) -> bool:
    return (
        where[:1] == ("vars",)
        or where[:2] == ("defaults", "vars")
        or (where[:1], where[2:3]) == (("scenes",), ("vars",))
    )
