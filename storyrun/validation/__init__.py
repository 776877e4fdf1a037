"""A schema by name, and an instance judged by it: what is wrong, where, in words for people.

`shipped` finds the schemas, `fitting` reads texts as numbers and gives a quick yes, jsonschema is the judge, `wording`
puts what it found into sentences.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from storyrun.errors import StoryrunError
from storyrun.validation.fitting import coerce, compiled, fits, is_integer, is_number
from storyrun.validation.shipped import document, folder, names, schema
from storyrun.validation.wording import CODES, Violation, worded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator
    from referencing import Resource

__all__ = ["CODES", "Violation", "coerce", "fits", "folder", "names", "schema", "validator", "violations"]


def violations(data: Any, name: str) -> list[Violation]:
    """Everything in `data` that the schema `name` refuses, in one pass.

    For "storyboard" and "picks" the data is as the text-keeping loader gives it: every scalar a text or None; numbers
    and booleans are read where the schema asks for them. All other data is JSON and judged as it stands. A template
    fits where the schema offers one, which is wherever templates are rendered and a single value is wanted.
    """
    judge = schema(name)
    read = coerce(data, judge) if name in ("storyboard", "picks") else data
    if fits(read, judge):
        return []
    return worded(_errors(validator(name), read, name), data, judge)


def _errors(judge: Validator, data: Any, name: str) -> list[ValidationError]:
    from referencing.exceptions import Unresolvable

    try:
        return list(judge.iter_errors(data))
    except Unresolvable as error:
        raise StoryrunError(f"schema `{name}` refers to `{error.ref}`, which does not ship with storyrun") from error


@cache
def validator(name: str) -> Validator:
    """The jsonschema validator of a schema, built once: draft 2020-12, `$ref`s among the shipped schemas only.

    Two things are stricter than jsonschema alone: `$` in a pattern is the end of the text, not a line break before it,
    and NaN and infinity are no numbers. A `Decimal` is a number too.
    """
    from jsonschema import Draft202012Validator, ValidationError, validators
    from referencing import Registry
    from referencing.exceptions import NoSuchResource
    from referencing.jsonschema import DRAFT202012

    def retrieve(url: str) -> Resource[Any]:
        found = document(url)
        if found is None:
            raise NoSuchResource(ref=url)  # type: ignore[call-arg]
        return DRAFT202012.create_resource(_undialected(found))

    def pattern(judge: Validator, wanted: str, text: Any, _: Any) -> Iterator[ValidationError]:
        if judge.is_type(text, "string") and not compiled(wanted).search(text):
            yield ValidationError(f"{text!r} does not match {wanted!r}")

    stricter = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {"pattern": pattern},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
            {"number": lambda _, data: is_number(data), "integer": lambda _, data: is_integer(data)}
        ),
    )
    built: Validator = stricter(_undialected(schema(name)), registry=Registry(retrieve=retrieve))  # type: ignore[call-arg]
    return built


def _undialected(found: Mapping[str, Any]) -> dict[str, Any]:
    """Without `$schema`: where a `$ref` meets one, jsonschema goes on with its own validator instead of ours."""
    return {key: value for key, value in found.items() if key != "$schema"}
