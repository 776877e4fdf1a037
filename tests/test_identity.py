"""Ids and fingerprints: what changes them, and what must not (bought clips hang on both)."""

from __future__ import annotations

import json
import random
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from storyrun import jobs
from storyrun.records import Job
from tests.written import RENDERER, plan_file

if TYPE_CHECKING:
    from pathlib import Path

PLAN: dict[str, Any] = {
    "version": 1,
    "title": "Halden",
    "provider": "dashscope",
    "model": "wan2.7",
    "defaults": {"resolution": "720p", "aspect_ratio": "{{ format.ratio }}", "look": "film", "negative_prompt": "blur"},
    "vars": {"weather": "rainy", "place": "{{ weather }} {{ city }}"},
    "matrix": {
        "city": ["New York", "Tokyo", "Oslo"],
        "format": [{"id": "wide", "ratio": "16:9"}, {"id": "tall", "ratio": "9:16"}],
    },
    "references": {"can": "can.png"},
    "scenes": [
        {
            "id": "hook",
            "premise": "A spot",
            "shots": [
                {"seconds": 3, "framing": "wide", "action": "a {{ place }} street"},
                {"seconds": 2, "camera": "pan left", "action": "a door", "dialogue": [{"Ann": "Hi"}], "sound": "rain"},
            ],
            "takes": 2,
        },
        {"id": "pour", "seconds": 5, "prompt": "@can opens", "seed": 7},
        {"id": "end", "seconds": 4, "prompt": "night in {{ city }}"},
    ],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    Image.new("RGB", (400, 400), "#246").save(folder / "can.png")
    Image.new("RGB", (400, 400), "#642").save(folder / "can2.png")
    return folder


def orders(folder: Path, plan: Any, text: str | None = None) -> dict[str, str]:
    """Clip id to fingerprint."""
    path = folder / "plan.yaml"
    path.write_text(json.dumps(plan) if text is None else text, encoding="utf-8")
    result = plan_file(path)
    assert [problem for problem in result.problems if problem.severity == "error"] == []
    assert len(set(result.ids)) == len(result.ids)
    return {job.id: job.fingerprint for job in result.jobs}


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same plan in another order: keys everywhere, scenes and values of axes; shots and vars keep theirs."""
    if isinstance(value, dict):
        keys = list(value)
        if keys != ["weather", "place"]:
            chance.shuffle(keys)
        return {
            key: [shuffled(item, chance) for item in chance.sample(value[key], len(value[key]))]
            if key in ("scenes", "city", "format")
            else shuffled(value[key], chance)
            for key in keys
        }
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    return value


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_order_changes_no_id_and_no_fingerprint(project, seed):
    assert orders(project, shuffled(PLAN, random.Random(seed))) == orders(project, PLAN)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    flow=st.sampled_from([None, True, False]),
    width=st.integers(20, 200),
    style=st.sampled_from([None, '"', "'"]),
)
def test_layout_and_comments_change_no_id_and_no_fingerprint(project, seed, flow, width, style):
    text = yaml.safe_dump(PLAN, default_flow_style=flow, width=width, default_style=style, sort_keys=False)
    if style:  # PyYAML then writes !!int "1", which no person would
        text = text.replace("!!int ", "")
    chance = random.Random(seed)
    lines = []
    for line in text.splitlines():
        if flow is False and style is None and line.startswith(("scenes", "defaults", "- id", "matrix")):
            lines.append("# a comment, " + "x" * chance.randrange(40))
        lines.append(line)
    assert orders(project, None, "\n".join(lines) + "\n") == orders(project, PLAN)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 3), city=st.from_regex(r"[A-Z][a-z]{3,9}", fullmatch=True))
def test_an_added_row_or_scene_changes_no_other_clip(project, at, city):
    before = orders(project, PLAN)
    more = json.loads(json.dumps(PLAN))
    if city not in more["matrix"]["city"]:
        more["matrix"]["city"].insert(at, city)
    more["scenes"].insert(at, {"id": "added", "prompt": f"added {at}"})
    after = orders(project, more)
    assert before.items() <= after.items()
    assert len(after) > len(before)


def test_notes_prices_budget_and_title_change_nothing(project):
    before = orders(project, PLAN)
    other = {**PLAN, "title": "other", "notes": "x", "budget": {"max": 5, "currency": "USD"}}
    other["prices"] = {"dashscope/wan2.7-t2v": {"currency": "USD", "720p": 9}}
    assert orders(project, other) == before


def test_a_default_written_out_in_its_scene_is_the_same_order(project):
    written = json.loads(json.dumps(PLAN))
    for scene in written["scenes"]:
        scene["look"] = "film"
    assert orders(project, written) == orders(project, PLAN)


CHANGES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "premise": (("scenes", 0, "premise"), "Another spot"),
    "framing": (("scenes", 0, "shots", 0, "framing"), "close-up"),
    "camera": (("scenes", 0, "shots", 1, "camera"), "pan right"),
    "action": (("scenes", 0, "shots", 1, "action"), "a gate"),
    "dialogue": (("scenes", 0, "shots", 1, "dialogue"), [{"Ann": "Ho"}]),
    "speaker": (("scenes", 0, "shots", 1, "dialogue"), [{"Eve": "Hi"}]),
    "sound": (("scenes", 0, "shots", 1, "sound"), "wind"),
    "windows": (("scenes", 0, "shots", 0, "seconds"), 4),
    "var": (("vars", "weather"), "sunny"),
    "look": (("scenes", 0, "look"), "video"),
    "negative prompt": (("scenes", 0, "negative_prompt"), "noise"),
    "resolution": (("scenes", 0, "resolution"), "1080p"),
    "ratio": (("matrix", "format", 0, "ratio"), "4:3"),
    "prompt_extend": (("scenes", 0, "prompt_extend"), False),
    "watermark": (("scenes", 0, "watermark"), True),
    "seed": (("scenes", 0, "seed"), 1),
    "model": (("scenes", 0, "model"), "wan2.6"),
    "template": (("scenes", 0, "template"), "other.jinja"),
    "audio": (("scenes", 0, "audio"), "https://example.com/a.mp3"),
}


@pytest.mark.parametrize("provider", ["dashscope", "animatic"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_alters_the_picture_changes_the_fingerprint(project, change, provider):
    (project / "other.jinja").write_text("{{ premise }} {% for shot in shots %}{{ shot.action }} {% endfor %}")
    way, value = CHANGES[change]
    plan = json.loads(json.dumps(PLAN)) | {"provider": provider}
    before = orders(project, plan)
    node = plan
    for key in way[:-1]:
        node = node[key]
    node[way[-1]] = value
    after = orders(project, plan)
    touched = {clip for clip in before if clip.startswith("hook")}
    if change == "ratio":
        touched = {clip for clip in before if "format=wide" in clip}
    if change == "var":
        touched = {clip for clip in before if clip.startswith("hook")}
    assert {clip for clip in before if after[clip] != before[clip]} == touched


def test_a_reference_counts_by_content_and_not_by_name(project):
    before = orders(project, PLAN)
    renamed = json.loads(json.dumps(PLAN).replace("can.png", "same.png"))
    (project / "same.png").write_bytes((project / "can.png").read_bytes())
    assert orders(project, renamed) == before
    changed = json.loads(json.dumps(PLAN).replace("can.png", "can2.png"))
    after = orders(project, changed)
    assert {clip for clip in before if before[clip] != after[clip]} == {"pour[format=wide]", "pour[format=tall]"}


def test_each_counted_field_of_a_job_counts(project):
    """The fields of a job that are labels, or follow from others, are named here; every other one must count."""
    labels = {
        "id", "scene", "variant", "stem", "fingerprint", "quote", "places", "premise", "look", "billed_resolution",
        "take", "mode", "shots", "length", "frame_rate", "size", "sounding",
    }  # fmt: skip
    path = project / "plan.yaml"
    path.write_text(json.dumps(PLAN), encoding="utf-8")
    made = plan_file(path).jobs
    job = made[0]
    picture = next(job for job in made if job.references)
    changes: dict[str, Any] = {
        "provider": "toapis",
        "model": "x",
        "prompt": "x",
        "negative_prompt": "x",
        "seconds": job.length + 1,
        "resolution": "480p",
        "aspect_ratio": "1:1",
        "seed": 99,
        "prompt_extend": True,
        "watermark": True,
        "shot_type": "multi",
        "audio": "none",
        "audio_file": picture.references[0].media[0],
        "references": picture.references,
        "first_frame": picture.references[0].media[0],
        "last_frame": picture.references[0].media[0],
    }
    assert set(changes) | labels == {field.name for field in fields(Job)}
    for name, value in changes.items():
        assert jobs.fingerprint(replace(job, **{name: value}), None) != job.fingerprint, name


def test_the_take_counts_only_where_no_seed_is_sent(project):
    path = project / "plan.yaml"
    path.write_text(json.dumps(PLAN), encoding="utf-8")
    job = plan_file(path).jobs[0]
    assert jobs.fingerprint(replace(job, take=2), None) != jobs.fingerprint(job, None)
    seeded = replace(job, seed=5)
    assert jobs.fingerprint(replace(seeded, take=2), None) == jobs.fingerprint(seeded, None)


def test_on_the_animatic_what_is_drawn_counts_and_so_does_the_renderer(project):
    path = project / "plan.yaml"
    path.write_text(json.dumps(PLAN), encoding="utf-8")
    job = plan_file(path, provider="animatic").jobs[0]
    assert jobs.fingerprint(replace(job, scene="x"), RENDERER) != job.fingerprint
    assert jobs.fingerprint(job, RENDERER + 1) != job.fingerprint
    assert jobs.fingerprint(replace(job, scene="x"), None) == jobs.fingerprint(job, None)


def test_a_plan_under_another_name_orders_nothing_new(project):
    (project / "copy.yaml").write_text(json.dumps(PLAN), encoding="utf-8")
    assert {job.id: job.fingerprint for job in plan_file(project / "copy.yaml").jobs} == orders(project, PLAN)
