"""The shipped schemas: valid, explained, at home under their own address, and in step with the records."""

from __future__ import annotations

import dataclasses
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from storyrun import validation
from storyrun.errors import StoryrunError, UsageError
from storyrun.records import ErrorClass, Job, Scene, Shot
from storyrun.validation import shipped
from storyrun.validation.fitting import Place, below, follow, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTRACTS = ("storyboard", "job", "manifest")
NAMES = validation.names()
CARDS = [name for name in NAMES if name.startswith("models/")]


def parts(schema: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every property of a schema, by the way to it; conditions are left out: they describe nothing."""
    if not isinstance(schema, dict):
        return
    for key, part in schema.get("properties", {}).items():
        yield f"{where}/{key}", part
        yield from parts(part, f"{where}/{key}")
    for key, part in schema.get("$defs", {}).items():
        yield from parts(part, f"{where}#{key}")
    for key in ("items", "additionalProperties"):
        yield from parts(schema.get(key), f"{where}/{key}")
    for key in ("anyOf", "oneOf", "allOf"):
        for number, part in enumerate(schema.get(key, ())):
            yield from parts(part, f"{where}/{key}{number}")


PROPERTIES = [(name, where, part) for name in CONTRACTS for where, part in parts(validation.schema(name))]


def test_the_three_contracts_and_the_cards_ship() -> None:
    assert set(CONTRACTS) < set(NAMES)
    assert CARDS


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_valid_and_lies_where_its_id_says(name: str) -> None:
    schema = validation.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    path = schema["$id"].removeprefix(shipped.BASE)
    assert json.loads((validation.folder() / path).read_bytes()) == schema
    assert path.removesuffix(".json").removesuffix(".schema") == name
    assert schema["description"]


@pytest.mark.parametrize(("name", "where", "part"), PROPERTIES, ids=[f"{name}{where}" for name, where, _ in PROPERTIES])
def test_every_property_has_a_description_and_examples_that_are_valid(name: str, where: str, part: Any) -> None:
    schema = validation.schema(name)
    told = part
    while not ("description" in told and "examples" in told):
        told = follow(told["$ref"], Place(told, schema)).schema
    assert told["description"].endswith((".", "`"))
    assert told["examples"]
    judge = validation.validator(name).evolve(schema=part)
    for example in told["examples"]:
        assert not list(judge.iter_errors(example)), example


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_whole_examples_and_those_of_the_parts_are_valid(name: str) -> None:
    schema = validation.schema(name)
    assert schema["examples"]
    for part in (schema, *schema["$defs"].values()):
        for example in part.get("examples", ()):
            assert not list(validation.validator(name).evolve(schema=part).iter_errors(example)), example


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_object_with_listed_keys_refuses_others(name: str) -> None:
    schema = validation.schema(name)
    objects = [schema, *schema["$defs"].values(), *(part for _, part in parts(schema))]
    for part in objects:
        if "properties" in part:
            assert "additionalProperties" in part, part.get("title")


def test_every_pattern_of_the_storyboard_says_in_words_what_it_wants() -> None:
    """Editors show `patternErrorMessage`, and so do we. Templates are only ever an alternative and need none."""

    def walk(part: Any) -> Iterator[dict[str, Any]]:
        if isinstance(part, dict):
            if isinstance(part.get("pattern"), str) and part is not template:
                yield part
            for child in part.values():
                yield from walk(child)
        for child in part if isinstance(part, list) else ():
            yield from walk(child)

    template = validation.schema("storyboard")["$defs"]["template"]
    found = list(walk(validation.schema("storyboard")))
    assert len(found) >= 8
    assert all(len(part["patternErrorMessage"]) > 20 for part in found)


def test_defaults_take_every_scene_setting_but_four() -> None:
    schema = validation.schema("storyboard")
    scene, defaults = schema["$defs"]["scene"]["properties"], schema["$defs"]["defaults"]["properties"]
    assert scene.keys() - defaults.keys() == {"id", "model", "prompt", "shots"}
    assert {key: scene[key] for key in defaults} == defaults


def test_scene_and_shot_keys_are_those_of_the_design() -> None:
    schema = validation.schema("storyboard")["$defs"]
    keys = """id premise prompt shots seconds template vars takes seed model resolution aspect_ratio look
    negative_prompt prompt_extend watermark shot_type audio references first_frame last_frame notes"""
    assert set(schema["scene"]["properties"]) == set(keys.split())
    assert set(schema["shot"]["properties"]) == set("seconds framing camera action dialogue sound notes".split())
    lists = {field.name for field in dataclasses.fields(Scene)} & set(schema["scene"]["properties"])
    assert lists == {"id", "vars", "references", "shots"}
    assert {field.name for field in dataclasses.fields(Shot)} & set(schema["shot"]["properties"]) == {"dialogue"}


def test_the_job_schema_has_the_fields_of_the_record() -> None:
    """Two are written differently: `size` as width and height; `places` is for people at work and never stored."""
    fields = {field.name for field in dataclasses.fields(Job)}
    assert set(validation.schema("job")["properties"]) == fields - {"size", "places"} | {"width", "height"}


def test_the_manifest_has_the_fields_of_the_design() -> None:
    schema = validation.schema("manifest")
    assert schema["required"] == list(schema["properties"])
    top = "version storyboard provider generator started_at finished_at totals clips former"
    assert list(schema["properties"]) == top.split()
    clip = schema["$defs"]["clip"]
    fields = """id scene variant take model status fingerprint prompt negative_prompt seed request task_id shots file
    sha256 bytes media problems warnings measured picked ordered submitted_at accepted_at ready_at finished_at usage
    cost reconciled error"""
    assert clip["required"] == list(clip["properties"]) == fields.split()
    assert clip["properties"]["error"]["properties"]["class"]["enum"] == list(ErrorClass)


def test_a_shot_is_the_same_in_the_job_and_in_the_manifest() -> None:
    """The manifest's schema is for other programs and stands alone; so the definition is there twice."""
    assert validation.schema("manifest")["$defs"]["shot"] == validation.schema("job")["$defs"]["shot"]
    assert {ref.partition("#")[0] for name in CONTRACTS for ref in _refs(validation.schema(name))} == {""}


def _refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for child in part.values():
            yield from _refs(child)
    for child in part if isinstance(part, list) else ():
        yield from _refs(child)


@pytest.mark.parametrize("name", CARDS)
def test_what_a_card_limits_is_a_key_of_a_job(name: str) -> None:
    """A misspelt key in a card would limit nothing, in silence. The keys are described in the job's schema."""

    def walk(card: Place, job: tuple[Place, ...], where: str) -> Iterator[str]:
        if not isinstance(card.schema, dict):
            return
        for key, part in card.schema.get("properties", {}).items():
            inside = below(job, key)
            if not any("description" in leaf.schema for leaf in inside):
                yield f"{where}/{key}"
            yield from walk(Place(part, card.document), inside, f"{where}/{key}")
        for key in {"items", "contains"} & card.schema.keys():
            yield from walk(Place(card.schema[key], card.document), below(job, 0), f"{where}/{key}")
        if "$ref" in card.schema:
            yield from walk(follow(card.schema["$ref"], card), job, where)
        alternatives = [part for key in ("anyOf", "oneOf", "allOf") for part in card.schema.get(key, ())]
        conditions = [card.schema[key] for key in ("if", "then", "else", "not") if key in card.schema]
        for part in alternatives + conditions:
            yield from walk(Place(part, card.document), job, where)

    card, job = validation.schema(name), validation.schema("job")
    assert list(walk(Place(card, card), leaves(Place(job, job)), "")) == []


# ── finding them ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_schemas_inside_the_package_come_first_then_those_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel carries them inside the package; a checkout and an editable install have them beside it."""
    assert validation.folder().name == "schemas"
    package = tmp_path / "storyrun"
    (package / "validation").mkdir(parents=True)
    monkeypatch.setattr(shipped, "__file__", str(package / "validation" / "shipped.py"))
    assert validation.folder() == tmp_path / "schemas"
    (package / "schemas").mkdir()
    assert validation.folder() == package / "schemas"


@pytest.mark.parametrize("name", ["storybord", "../pyproject", "models/../storyboard", "/etc/passwd", ""])
def test_a_name_that_is_no_schema_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="there is no schema") as refused:
        validation.schema(name)
    assert ("did you mean `storyboard`?" in refused.value.hint) == (name in ("storybord", "models/../storyboard"))


def test_a_schema_is_read_once() -> None:
    assert validation.schema("storyboard") is validation.schema("storyboard")
    assert validation.validator("storyboard") is validation.validator("storyboard")


@pytest.mark.parametrize("ref", ["http://192.0.2.1/x.json", "file:///etc/passwd", "../../x.json", "#/$defs/none"])
def test_a_ref_to_anything_not_shipped_fails_without_a_socket(
    ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args))
    monkeypatch.setattr(socket, "socket", lambda *args, **_: asked.append(args))
    monkeypatch.setattr(shipped, "folder", lambda: tmp_path)
    document = {"$id": f"{shipped.BASE}away.schema.json", "properties": {"a": {"anyOf": [{"$ref": ref}]}}}
    (tmp_path / "away.schema.json").write_text(json.dumps(document))
    shipped.document.cache_clear()
    validation.validator.cache_clear()
    try:
        with pytest.raises(StoryrunError, match="does not ship with storyrun"):
            validation.violations({"a": 1}, "away")
    finally:
        shipped.document.cache_clear()
        validation.validator.cache_clear()
    assert validation.coerce({"a": "1"}, document) == {"a": "1"}
    assert asked == []
