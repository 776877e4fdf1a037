"""Reading data by a schema without jsonschema: texts to numbers, and a quick yes.

Importing jsonschema takes longer than all the rest of `storyrun check`, and a valid plan needs no words. So `fits`
looks first. It is believed only when it says yes, and a test holds it against jsonschema.
"""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from storyrun.validation import shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from storyrun.records import Where

    Rule = Callable[[Any, Any, "Place"], bool]
    """Keyword's value, data, and the schema around the keyword -> whether the data is fine by it."""

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
DIGITS = 40
"""Longest number that is read as one: beyond some length Python takes its time, and then refuses."""


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A schema's pattern, with `$` as JSON Schema means it: the end of the text, not a line break before it."""
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern))


class Unsure(Exception):
    """Something that only jsonschema can judge."""


class Place(NamedTuple):
    """A schema, and the document that its local `$ref`s start from."""

    schema: Any
    document: dict[str, Any]


# ── walking a schema ─────────────────────────────────────────────────────────────────────────────────────────────────

# What a schema is made of never changes, so it is worked out once. Each memory is keyed by id() and keeps what the id
# belongs to, so that no other schema can come to have it.
_leaves: dict[int, tuple[Place, tuple[Place, ...]]] = {}
_below: dict[tuple[int, str | int], tuple[tuple[Place, ...], tuple[Place, ...]]] = {}
_targets: dict[tuple[int, str], tuple[Place, Place]] = {}
_rules: dict[int, tuple[Place, list[tuple[Rule, Any]]]] = {}


def leaves(place: Place) -> tuple[Place, ...]:
    """A schema and all that it is made of, through `$ref`, `anyOf`, `oneOf` and `allOf`."""
    if id(place.schema) in _leaves:
        return _leaves[id(place.schema)][1]
    found: list[Place] = []
    if isinstance(place.schema, dict):
        found.append(place)
        for key in ("anyOf", "oneOf", "allOf"):
            for part in place.schema.get(key, ()):
                found += leaves(Place(part, place.document))
        if "$ref" in place.schema:
            with suppress(Unsure):  # nowhere: the judge will say so
                found += leaves(follow(place.schema["$ref"], place))
    return _leaves.setdefault(id(place.schema), (place, tuple(found)))[1]


def below(parts: tuple[Place, ...], step: str | int) -> tuple[Place, ...]:
    """The leaves that some leaves have for one of their keys, or for their items."""
    if (id(parts), step) in _below:
        return _below[id(parts), step][1]
    found: list[Place] = []
    for schema, document in parts:
        properties = schema.get("properties", {})
        if isinstance(step, int):
            found += leaves(Place(schema.get("items", True), document))
        elif step in properties:
            found += leaves(Place(properties[step], document))
        else:
            found += leaves(Place(schema.get("additionalProperties", True), document))
    return _below.setdefault((id(parts), step), (parts, tuple(found)))[1]


def follow(ref: str, place: Place) -> Place:
    """Where a `$ref` leads. Raises `Unsure` when that is nowhere plain."""
    known = _targets.get((id(place.document), ref))
    if known is not None:
        return known[0]
    file, _, pointer = ref.partition("#")
    document: dict[str, Any] | None = place.document
    if file:
        from urllib.parse import urljoin

        document = shipped.document(urljoin(place.document.get("$id", ""), file))
    target: Any = document
    for step in pointer.split("/")[1:]:
        target = target.get(step) if isinstance(target, dict) else None
    if document is None or target is None or pointer[:1] not in ("", "/"):
        raise Unsure
    found = Place(target, document)
    _targets[id(place.document), ref] = (found, place)
    return found


def example(where: Where, document: dict[str, Any]) -> Any:
    """The first example that a schema gives for the value at a place; None when it has none."""
    here = leaves(Place(document, document))
    for step in where:
        here = below(here, step)
    return next((leaf.schema["examples"][0] for leaf in here if leaf.schema.get("examples")), None)


# ── text to numbers ──────────────────────────────────────────────────────────────────────────────────────────────────


def coerce(data: Any, document: dict[str, Any]) -> Any:
    """A copy of `data` in which texts have become the numbers and booleans that the schema asks for.

    A whole number becomes an `int`, any other a `Decimal`: the value that was written, which a float often is not. A
    text that fits as it is (a template, say), or that is no number, stays: the judge then says what is wrong.
    """
    return _read(data, leaves(Place(document, document)))


def _read(data: Any, parts: tuple[Place, ...]) -> Any:
    if isinstance(data, dict):
        return {key: _read(value, below(parts, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [_read(value, below(parts, 0)) for value in data]
    if not isinstance(data, str):
        return data
    wanted: set[str] = set()
    for leaf in parts:
        types = _types(leaf.schema)
        if "string" in types and surely(data, leaf):
            return data
        wanted.update(types)
    if wanted & {"number", "integer"} and len(data) <= DIGITS and NUMBER.fullmatch(data):
        return Decimal(data) if "." in data else int(data)
    if "boolean" in wanted and data in ("true", "false"):
        return data == "true"
    return data


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    types: Sequence[str] = schema.get("type", ())
    return (types,) if isinstance(types, str) else types


# ── a quick yes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def fits(data: Any, document: dict[str, Any]) -> bool:
    """Whether `data` meets a schema for certain. False says nothing: ask jsonschema."""
    return surely(data, Place(document, document))


def surely(data: Any, place: Place) -> bool:
    """`fits`, for a part of a schema."""
    try:
        return _fits(data, place)
    except Unsure:
        return False


def _fits(data: Any, place: Place) -> bool:
    if isinstance(place.schema, bool):
        return place.schema
    known = _rules.get(id(place.schema))
    if known is None:
        if any(word not in KNOWN and not word.startswith("x-") for word in place.schema):
            raise Unsure
        known = (place, [(RULES[word], value) for word, value in place.schema.items() if word in RULES])
        _rules[id(place.schema)] = known
    for rule, value in known[1]:  # noqa: SIM110 - all() takes a third longer here, and this is where a check spends its time
        if not rule(value, data, place):
            return False
    return True


def is_number(data: Any) -> bool:
    """NaN and infinity are no numbers, nor is true."""
    if isinstance(data, float):
        return data - data == 0
    return isinstance(data, (int, Decimal)) and not isinstance(data, bool)


def is_integer(data: Any) -> bool:
    """5.0 is whole in JSON; in a plan, where numbers are texts, it is a `Decimal` and is not: write 5."""
    return data.is_integer() if isinstance(data, float) else isinstance(data, int) and not isinstance(data, bool)


KINDS: dict[str, Callable[[Any], bool]] = {
    "object": lambda data: isinstance(data, dict),
    "array": lambda data: isinstance(data, list),
    "string": lambda data: isinstance(data, str),
    "number": is_number,
    "integer": is_integer,
    "boolean": lambda data: isinstance(data, bool),
    "null": lambda data: data is None,
}


def _same(data: Any, value: Any) -> bool:
    """Equality as JSON has it: true is not 1."""
    if isinstance(value, (list, dict)):
        raise Unsure
    return isinstance(data, bool) == isinstance(value, bool) and bool(data == value)


def _others(value: Any, data: dict[str, Any], place: Place) -> bool:
    listed = place.schema.get("properties", ())
    return all(_fits(data[key], Place(value, place.document)) for key in data if key not in listed)


def _distinct(wanted: bool, data: list[Any], _: Place) -> bool:
    if not all(isinstance(item, str) for item in data):
        raise Unsure
    return not wanted or len(set(data)) == len(data)


def _chosen(value: Any, data: Any, place: Place) -> bool:
    branch = "then" if _fits(data, Place(value, place.document)) else "else"
    return _fits(data, Place(place.schema.get(branch, True), place.document))


def _parts(value: Any, data: Any, place: Place) -> Iterator[bool]:
    return (_fits(data, Place(part, place.document)) for part in value)


def _each(value: Any, data: Any, place: Place) -> Iterator[bool]:
    return (_fits(item, Place(value, place.document)) for item in data)


def _listed(value: Any, data: Any, place: Place) -> Iterator[bool]:
    return (_fits(data[key], Place(part, place.document)) for key, part in value.items() if key in data)


EVERY: dict[str, Rule] = {
    "$ref": lambda value, data, place: _fits(data, follow(value, place)),
    "type": lambda value, data, _: any(KINDS[kind](data) for kind in ((value,) if isinstance(value, str) else value)),
    "const": lambda value, data, _: _same(data, value),
    "enum": lambda value, data, _: any(_same(data, one) for one in value),
    "allOf": lambda value, data, place: all(_parts(value, data, place)),
    "anyOf": lambda value, data, place: any(_parts(value, data, place)),
    "oneOf": lambda value, data, place: sum(_parts(value, data, place)) == 1,
    "not": lambda value, data, place: not _fits(data, Place(value, place.document)),
    "if": _chosen,
}
"""These look at any value, those below at one kind of it."""

OBJECTS: dict[str, Rule] = {
    "properties": lambda value, data, place: all(_listed(value, data, place)),
    "additionalProperties": _others,
    "propertyNames": lambda value, data, place: all(_each(value, data, place)),
    "required": lambda value, data, _: all(key in data for key in value),
    "dependentRequired": lambda value, data, _: all(
        need in data for key in value if key in data for need in value[key]
    ),
    "minProperties": lambda value, data, _: len(data) >= value,
    "maxProperties": lambda value, data, _: len(data) <= value,
}
ARRAYS: dict[str, Rule] = {
    "items": lambda value, data, place: all(_each(value, data, place)),
    "contains": lambda value, data, place: any(_each(value, data, place)),
    "minItems": lambda value, data, _: len(data) >= value,
    "maxItems": lambda value, data, _: len(data) <= value,
    "uniqueItems": _distinct,
}
STRINGS: dict[str, Rule] = {
    "pattern": lambda value, data, _: bool(compiled(value).search(data)),
    "minLength": lambda value, data, _: len(data) >= value,
    "maxLength": lambda value, data, _: len(data) <= value,
}
NUMBERS: dict[str, Rule] = {
    "minimum": lambda value, data, _: data >= value,
    "maximum": lambda value, data, _: data <= value,
    "exclusiveMinimum": lambda value, data, _: data > value,
    "exclusiveMaximum": lambda value, data, _: data < value,
}


def _about(kind: str, rule: Rule) -> Rule:
    is_kind = KINDS[kind]
    return lambda value, data, place: not is_kind(data) or rule(value, data, place)


RULES: dict[str, Rule] = EVERY | {
    keyword: _about(kind, rule)
    for kind, rules in (("object", OBJECTS), ("array", ARRAYS), ("string", STRINGS), ("number", NUMBERS))
    for keyword, rule in rules.items()
}

KNOWN = frozenset(RULES) | frozenset(
    "$schema $id $defs title description examples default then else patternErrorMessage".split()
)
"""The rules, and the keywords that are for people or read together with a rule. All others are left to jsonschema."""
