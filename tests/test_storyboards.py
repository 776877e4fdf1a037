"""The storyboards that ship are right, and say what the providers' guides say: to the letter, setting by setting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storyrun import jobs, storyboard

ROOT = Path(__file__).parent.parent
STORYBOARDS = sorted((ROOT / "storyboards").glob("*.yaml"))
GUIDES = sorted((ROOT / "tests/guides").glob("*.json"))
KEYS = "model prompt negative_prompt seconds resolution aspect_ratio seed prompt_extend watermark shot_type".split()
"""Fields of a job that a guide names as we do."""


def planned(plan: Path, provider: str | None = None):
    """The plan's jobs by clip id, in their JSON form; whatever is wrong with it fails the test."""
    loaded = storyboard.load(plan, plan.name)
    assert loaded.problems == ()
    assert loaded.storyboard is not None
    assert loaded.document is not None
    name = provider or loaded.storyboard.provider or "animatic"
    made, problems = jobs.plan(
        loaded.storyboard,
        loaded.document,
        provider=name,
        label=name,
        model=None,
        currency=None,
        drawing_revision=1 if name == "animatic" else None,
    )
    assert problems == ()
    return {job.id: jobs.as_dict(job) for job in made.jobs}


def asked_by_guide(body: dict[str, Any]) -> dict[str, Any]:
    """What a guide's body sets, in the words of a job. The body is flat, or has `input` and `parameters`."""
    flat = {**body, **body.get("metadata", {}), **body.get("input", {}), **body.get("parameters", {})}
    words = {"ratio": "aspect_ratio", "duration": "seconds", "audio_url": "audio_file", "image_urls": "first_frame"}
    outside = ("metadata", "input", "parameters")
    said = {words.get(key, key): value for key, value in flat.items() if key not in outside}
    return {**said, "resolution": said["resolution"].lower()}


def asked_by_job(job: dict[str, Any]) -> dict[str, Any]:
    """What the author of a job set, in the form of `asked_by_guide`."""
    said = {key: job[key] for key in job if key in KEYS}
    if "audio_file" in job:
        said["audio_file"] = job["audio_file"]["text"]
    if "first_frame" in job:
        said["first_frame"] = [job["first_frame"]["text"]]
    if job.get("references"):
        said["reference_urls"] = [media["text"] for bound in job["references"] for media in bound["media"]]
    return said


@pytest.mark.parametrize(
    "guide", [json.loads(file.read_text("utf-8")) for file in GUIDES], ids=[f.stem for f in GUIDES]
)
def test_a_guides_example_comes_out_to_the_letter(guide) -> None:
    job = planned(ROOT / guide["storyboard"], guide["provider"])[guide["clip"]]
    assert asked_by_job(job) == asked_by_guide(guide["body"])


@pytest.mark.parametrize("plan", STORYBOARDS, ids=lambda plan: plan.stem)
def test_a_storyboard_is_ready_to_order_where_it_says(plan: Path) -> None:
    assert planned(plan)


@pytest.mark.parametrize("plan", STORYBOARDS, ids=lambda plan: plan.stem)
def test_a_storyboard_opens_with_the_schema_for_editors(plan: Path) -> None:
    first = plan.read_text("utf-8").partition("\n")[0]
    schema = first.removeprefix("# yaml-language-server: $schema=")
    assert (plan.parent / schema).resolve() == ROOT / "schemas/storyboard.schema.json"


def test_hello_is_ten_lines() -> None:
    assert len((ROOT / "storyboards/hello.yaml").read_text("utf-8").splitlines()) == 10


def test_the_campaign_varies_each_scene_over_what_it_mentions() -> None:
    clips = list(planned(ROOT / "storyboards/campaign.yaml"))
    assert [clip for clip in clips if clip.startswith("pour")] == [
        "pour[format=wide]",
        "pour[format=wide]#2",
        "pour[format=tall]",
        "pour[format=tall]#2",
    ]
    assert [clip for clip in clips if clip.startswith("arrive")] == [
        "arrive[city=lis,format=wide]",
        "arrive[city=lis,format=tall]",
        "arrive[city=osl,format=wide]",
        "arrive[city=osl,format=tall]",
        "arrive[city=tyo,format=wide]",
    ]
    assert len(clips) == 4 + 5 + 5
