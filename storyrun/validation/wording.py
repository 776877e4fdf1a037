"""What jsonschema found, in sentences for people: what is wrong, what was expected, what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storyrun.validation.fitting import DIGITS, NUMBER, example
from storyrun.validation.words import (
    KINDS,
    TRUTH,
    either,
    flow,
    in_form,
    is_template,
    meant_number,
    nearest,
    never_in_a_plan,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from storyrun.records import Where

    Fault = Any
    """A `jsonschema.ValidationError`; its stubs allow values that an error from a validator never has."""

CODES = {
    "SR130": "an unknown key",
    "SR131": "a missing key",
    "SR132": "a value of the wrong kind",
    "SR133": "a number in a notation that storyrun does not read",
    "SR134": "nothing where something is needed",
    "SR135": "a value that is not one of those allowed",
    "SR136": "a version of the format that this storyrun does not read",
    "SR137": "a text that is not of the form needed",
    "SR138": "a template where none is rendered",
    "SR139": "too many or too few of something",
    "SR140": "a scene with both `prompt` and `shots`",
    "SR141": "a scene with neither `prompt` nor `shots`",
    "SR142": "a number out of range",
    "SR143": "the same thing twice in one list",
    "SR144": "a name that cannot be used",
    "SR145": "true or false in other words",
    "SR169": "something else that a schema refuses",
}


@dataclass(frozen=True)
class Violation:
    """Something that a schema refuses. `where` is the place of the value, or of its key if `key`.

    What is missing is at the mapping that lacks it. `keyword` is the schema's own word for the rule.
    """

    where: Where
    key: bool
    keyword: str
    code: str
    sentence: str
    hint: str = ""


def worded(faults: Iterable[Fault], data: Any, schema: dict[str, Any]) -> list[Violation]:
    """All that was found, each told once. `data` is what the author typed, before texts were read as numbers."""
    found = list(dict.fromkeys(_Wording(data, schema).all(faults)))
    # A value of the wrong kind breaks other rules as well.
    misfits = {violation.where for violation in found if violation.keyword == "type"}
    return [it for it in found if it.keyword == "type" or it.key or it.where not in misfits]


class _Wording:
    """Sentences about one instance of one schema."""

    def __init__(self, data: Any, schema: dict[str, Any]) -> None:
        self.data = data
        self.schema = schema
        self.meant: dict[Where, set[str]] = {}
        """By mapping: the keys that its unknown ones probably stand for. They are not reported missing as well."""

    def all(self, faults: Iterable[Fault]) -> Iterator[Violation]:
        """Everything there is to say of the faults of one instance; unknown keys first, see `meant`."""
        for fault in sorted(faults, key=lambda fault: fault.validator != "additionalProperties"):
            where = tuple(fault.absolute_path)
            yield from self.about(fault)(self, fault, where, self.typed(where))

    def about(self, fault: Fault) -> Saying:
        """Who words a fault."""
        if "propertyNames" in list(fault.schema_path)[-2:-1]:
            return _Wording.name
        typed = self.typed(tuple(fault.absolute_path))
        one_value = fault.validator != "type" or not {"array", "object"}.intersection(_types(fault))
        if is_template(typed) and one_value and fault.validator not in ("anyOf", "oneOf"):
            return _Wording.template
        return SAYINGS.get(fault.validator, _Wording.other)

    def typed(self, where: Where) -> Any:
        """The value at a place, as it was typed."""
        value = self.data
        for step in where:
            value = value[step]
        return value

    def call(self, where: Where) -> str:
        """What to call the value at a place: "shot 2 of scene `desk`", "`seconds`", "entry 1 of `references`"."""
        if not where:
            return "the " + str(self.schema["title"]).split(" ", 1)[1]
        if where[0] == "scenes" and where[2:3] in ((), ("shots",)) and len(where) in (2, 4):
            scene = self.typed(where[:2])
            label = scene.get("id") if isinstance(scene, dict) else None
            name = f"scene `{label}`" if isinstance(label, str) else f"scene {int(where[1]) + 1}"
            return name if len(where) == 2 else f"shot {int(where[3]) + 1} of {name}"
        if isinstance(where[-1], int):
            return f"entry {where[-1] + 1} of {self.call(where[:-1])}"
        return f"`{where[-1]}`"

    def instead(self, before: str, where: Where, value: Any = None) -> str:
        """A hint that ends in what to write at a place: this value, else the schema's first example if it is short."""
        value = example(where, self.schema) if value is None else value
        line = f"{where[-1]}: {flow(value)}" if isinstance(where[-1], str) else f"- {flow(value)}"
        return "" if value is None or len(line) > 72 else f"{before} `{line}`"

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def unknown_key(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        known = list(fault.schema["properties"])
        for key in (key for key in typed if key not in known):
            homes = self.homes(key)
            meant = "" if homes else nearest(key, known)
            hint = f"{', '.join(known[:-1])} and {known[-1]} can stand here"
            if homes:
                hint = f"it belongs in {either(homes)}; {hint}"
            if meant:
                self.meant.setdefault(where, set()).add(meant)
                hint = f"did you mean `{meant}`? {hint}"
            hint = never_in_a_plan(key) or hint
            sentence = f"unknown key `{key}` in {self.call(where)}"
            yield Violation((*where, key), True, fault.validator, "SR130", sentence, hint)

    def homes(self, key: str) -> list[str]:
        """Which mappings have this key."""
        top = ["the top level"] if key in self.schema["properties"] else []
        parts = [part for part in self.schema.get("$defs", {}).values() if key in part.get("properties", ())]
        titles = [part["title"] for part in parts if "title" in part]
        return list(dict.fromkeys(top + [title[0].lower() + title[1:] for title in titles]))

    def missing_key(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        for key in fault.validator_value:
            if key not in typed and key not in self.meant.get(where, ()):
                hint = self.instead("add, for example,", (*where, key))
                yield Violation(where, False, fault.validator, "SR131", f"{self.call(where)} needs `{key}`", hint)

    def name(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        sentence = f"`{fault.instance}` cannot be a name in {self.call(where)}"
        yield Violation((*where, fault.instance), True, "propertyNames", "SR144", sentence, _form(fault))

    # ── kinds of value ───────────────────────────────────────────────────────────────────────────────────────────────

    def wrong_kind(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        yield self.misfit(_types(fault), where, typed)

    def misfit(self, types: Sequence[str], where: Where, typed: Any) -> Violation:
        """A value of none of these JSON types."""
        subject = self.call(where)
        code, hint = "SR132", self.reshaped(types, where, typed)
        if "string" in types:  # then a number or a boolean is a text too
            types = [kind for kind in types if kind not in ("number", "integer", "boolean")]
        wanted = either(list(dict.fromkeys(KINDS[kind] for kind in types if kind != "null")))
        sentence = f"{subject} must be {wanted}, not {show(typed)}"
        if typed is None:
            code, sentence = "SR134", f"{subject} is empty"
            hint = self.instead("write, for example,", where) if where else hint
        elif isinstance(typed, str) and {"number", "integer"}.intersection(types):
            number = meant_number(typed)
            if NUMBER.fullmatch(typed) and len(typed) > DIGITS:
                hint = f"a number has at most {DIGITS} digits"
            elif number is not None and not number.is_finite():
                code, hint = "SR133", "write plain digits, with a point if needed"
            elif number is not None and (number % 1 == 0 or "number" in types):
                plain = f"{number:.0f}" if number % 1 == 0 else f"{number.normalize():f}"
                code, hint = "SR133", self.instead("in plain digits:", where, plain)
        elif isinstance(typed, str) and "boolean" in types and typed.lower() in TRUTH:
            code, hint = "SR145", self.instead("write", where, TRUTH[typed.lower()])
        return Violation(where, False, "type", code, sentence, hint)

    def reshaped(self, types: Sequence[str], where: Where, typed: Any) -> str:
        """How to lay out a value of the right kind."""
        if is_template(typed):
            return "a template stands for a single value"
        if "array" in types and not isinstance(typed, list):
            return "write each entry on a line of its own, after `- `"
        if not where:
            return "it needs " + " and ".join(f"`{key}`" for key in self.schema["required"])
        if "object" in types and not isinstance(typed, dict):
            return self.instead("write, for example,", where) or "write `key: value` lines"
        return "put the text in quotes, or on the next line after `>`" if "string" in types else ""

    def template(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        hint = "write it out: templates are rendered in defaults, vars, references, scenes and cut, but not in ids"
        yield Violation(where, False, fault.validator, "SR138", f"{self.call(where)} cannot hold a template", hint)

    # ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def not_one_of(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        allowed = [str(value) for value in fault.validator_value]
        meant = nearest(str(typed), allowed)
        others = fault.parent.validator_value if fault.parent and fault.parent.validator == "anyOf" else ()
        allowed += [  # `clip_sound` takes a word or a gain
            f"a number from {other['minimum']} to {other['maximum']}"
            for other in others
            if other.get("type") == "number" and {"minimum", "maximum"} <= other.keys()
        ]
        sentence = f"{self.call(where)} must be {either(allowed)}, not {show(typed)}"
        yield Violation(where, False, "enum", "SR135", sentence, f"did you mean `{meant}`?" if meant else "")

    def version(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        sentence = f"{self.call(where)} must be {fault.validator_value}, not {show(typed)}"
        yield Violation(where, False, "const", "SR136", sentence, "a newer format needs a newer storyrun")

    def form(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        yield Violation(where, False, "pattern", "SR137", f"{self.call(where)} cannot be {show(typed)}", _form(fault))

    def range(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        sentence = f"{self.call(where)} must be {RANGES[fault.validator]} {fault.validator_value}, not {show(typed)}"
        yield Violation(where, False, fault.validator, "SR142", sentence)

    def amount(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        if not typed:
            hint = self.instead("write, for example,", where)
            yield Violation(where, False, fault.validator, "SR134", f"{self.call(where)} is empty", hint)
            return
        unit = "characters" if isinstance(typed, str) else "entries" if isinstance(typed, list) else "keys"
        limit = "least" if fault.validator.startswith("min") else "most"
        sentence = f"{self.call(where)} has {len(typed)} {unit}; {fault.validator_value} is the {limit}"
        hint = "start each with `- `" if isinstance(typed, dict) else ""
        yield Violation(where, False, fault.validator, "SR139", sentence, hint)

    def twice(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        for index, item in enumerate(typed):
            if item in typed[:index]:
                sentence = f"{self.call(where)} has {show(item)} twice"
                yield Violation((*where, index), False, fault.validator, "SR143", sentence, "remove one")

    # ── alternatives ─────────────────────────────────────────────────────────────────────────────────────────────────

    def alternatives(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        """What is wrong by the branch that the author most likely meant; never that none of them fits."""
        parts = fault.validator_value
        if all(part.keys() == {"required"} for part in parts):
            yield from self.choice(fault, where, typed, [key for part in parts for key in part["required"]])
            return
        branches: dict[int, list[Fault]] = {}
        for child in fault.context:
            branches.setdefault(child.relative_schema_path[0], []).append(child)
        # Nobody means the branch for templates, or null, who wrote something else.
        branches = {at: children for at, children in branches.items() if not _aside(parts[at])} or branches
        kinds = [child for children in branches.values() for child in children if _misses_kind(child)]
        fitting = [children for children in branches.values() if not any(map(_misses_kind, children))]
        if fitting:
            best = min(fitting, key=_distance)
            yield from self.all(best)
        else:
            yield self.misfit([kind for child in kinds for kind in _types(child)], where, typed)

    def choice(self, fault: Fault, where: Where, typed: Any, keys: list[str]) -> Iterator[Violation]:
        """A mapping that needs one of several keys."""
        if not isinstance(typed, dict):
            return  # which is told already
        written = [key for key in typed if key in keys]
        subject, shown = self.call(where), [f"`{key}`" for key in keys]
        if len(written) > 1:
            sentence = f"{subject} has both `{written[0]}` and `{written[1]}`"
            yield Violation((*where, written[1]), True, fault.validator, "SR140", sentence, "keep one of them")
        elif self.meant.get(where, set()).intersection(keys):
            return
        elif fault.validator == "oneOf":
            sentence = f"{subject} has neither {' nor '.join(shown)}"
            yield Violation(where, False, fault.validator, "SR141", sentence, f"add {either(shown)}")
        else:
            yield Violation(where, False, fault.validator, "SR131", f"{subject} needs {either(shown)}")

    def other(self, fault: Fault, where: Where, typed: Any) -> Iterator[Violation]:
        why = fault.message if len(fault.message) <= 120 else f"the rule is `{fault.validator}`"
        sentence = f"{self.call(where)} does not fit the schema: {why}"
        yield Violation(where, False, str(fault.validator), "SR169", sentence)


if TYPE_CHECKING:
    Saying = Callable[[_Wording, Fault, Where, Any], Iterator[Violation]]

SAYINGS: dict[str, Saying] = {
    "additionalProperties": _Wording.unknown_key,
    "required": _Wording.missing_key,
    "type": _Wording.wrong_kind,
    "enum": _Wording.not_one_of,
    "const": _Wording.version,
    "pattern": _Wording.form,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _Wording.range),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), _Wording.amount),
    **dict.fromkeys(("minProperties", "maxProperties"), _Wording.amount),
    "uniqueItems": _Wording.twice,
    **dict.fromkeys(("anyOf", "oneOf"), _Wording.alternatives),
}
RANGES = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than"}


def _types(fault: Fault) -> list[str]:
    types = fault.validator_value
    return [types] if isinstance(types, str) else list(types)


def _misses_kind(fault: Fault) -> bool:
    return fault.validator == "type" and not fault.relative_path


def _distance(faults: list[Fault]) -> tuple[int, int]:
    """How far a branch is from what was written: entries of a wrong kind weigh more than anything inside them."""
    return sum(fault.validator == "type" and len(fault.relative_path) == 1 for fault in faults), len(faults)


def _aside(part: dict[str, Any]) -> bool:
    return part.get("$ref") == "#/$defs/template" or part.get("type") == "null"


def _form(fault: Fault) -> str:
    """What form a text must have, and the text in that form if it is near it."""
    rule = str(fault.schema.get("patternErrorMessage", f"it must match {fault.validator_value}"))
    meant = in_form(fault.validator_value, fault.instance)
    return f"{rule}; write `{meant}`" if meant else rule
