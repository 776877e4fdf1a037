"""The bodies that order a clip: the guides' own, a golden one for every card and mode, and nothing lost on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storyrun import cards, jobs, providers, storyboard, validation
from storyrun.providers import dialects
from tests.clouds import job_form, job_of

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT / "tests/guides").glob("*.json"))
GOLDEN = ROOT / "tests/golden/requests"
CASES = [
    (provider, model, mode)
    for provider in cards.PROVIDERS
    for model, card in cards.load(provider).items()
    for mode in card.modes
]


def golden(provider: str, model: str) -> dict[str, Any]:
    """The golden requests of a card: by mode the settings of a job and the exact body."""
    text = (GOLDEN / provider / f"{model}.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text.replace('"sha256": "00"', f'"sha256": "{"0" * 64}"'))
    return found


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guides_example_is_the_very_body_that_its_storyboard_orders(guide: Path) -> None:
    told = json.loads(guide.read_text("utf-8"))
    loaded = storyboard.load(ROOT / told["storyboard"], told["storyboard"])
    assert loaded.storyboard is not None
    assert loaded.document is not None
    plan, _ = jobs.plan(
        loaded.storyboard,
        loaded.document,
        provider=told["provider"],
        label=told["provider"],
        model=None,
        currency=None,
        drawing_revision=None,
    )
    job = next(job for job in plan.jobs if job.id == told["clip"])
    assert providers.body(told["provider"], job) == told["body"]


# ── golden requests ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_card_has_a_golden_request_for_each_of_its_modes_with_its_source_and_no_other() -> None:
    there = {
        (path.parent.name, path.stem, mode)
        for path in GOLDEN.rglob("*.json")
        for mode in json.loads(path.read_text("utf-8"))
        if mode != "source"
    }
    assert there == set(CASES)
    for provider, model, _ in CASES:
        assert golden(provider, model)["source"].startswith("https://")


@pytest.mark.parametrize(("provider", "model", "mode"), CASES)
def test_a_golden_job_is_a_job_that_its_card_takes_and_orders_exactly_its_request(
    provider: str, model: str, mode: str
) -> None:
    case = golden(provider, model)[mode]
    form = job_form(provider, model, mode, **case["job"])
    assert validation.violations(form, "job") == []
    assert cards.shortfalls(cards.load(provider)[model], form) == []
    job = job_of(provider, model, mode, **case["job"])
    assert providers.body(provider, job) == case["request"]
    assert providers.body(provider, job) == case["request"], "the same a second time: nothing is remembered"


@pytest.mark.parametrize(("provider", "model", "mode"), CASES)
def test_what_a_job_sets_is_in_the_body_and_what_it_leaves_out_is_not(provider: str, model: str, mode: str) -> None:
    """Each setting that a card takes makes a difference: none is dropped in silence, none is added."""
    settings = golden(provider, model)[mode]["job"]
    card = cards.load(provider)[model]
    whole = providers.body(provider, job_of(provider, model, mode, **settings))
    needed = {"prompt", "first_frame", "last_frame", "references", "audio"}
    for key in settings.keys() - needed:
        fewer = {name: value for name, value in settings.items() if name not in {key, f"{key}_file"}}
        if key == "audio_file":
            fewer.pop("audio", None)
        body = providers.body(provider, job_of(provider, model, mode, **fewer))
        if key == "resolution" and settings[key] == card.default_resolution and "size" in whole["parameters"]:
            continue  # pixels say both, and without a resolution they are the same
        assert body != whole, f"{key} makes no difference to {model} on {provider}"
    taken = {
        field
        for field in "negative_prompt seed prompt_extend watermark shot_type".split()
        if cards.accepts(card, mode, field)  # type: ignore[arg-type]
    }
    assert taken <= settings.keys(), "the golden job sets all that the mode takes"
    least = {key: settings[key] for key in settings.keys() & {"prompt", "first_frame", "last_frame", "references"}}
    bare = json.dumps(providers.body(provider, job_of(provider, model, mode, **least)))
    for word in ("duration", "resolution", "size", "ratio", "seed", "watermark", "prompt_extend", "shot_type", "audio"):
        assert f'"{word}"' not in bare


@pytest.mark.parametrize("provider", cards.PROVIDERS)
def test_a_rehearsed_job_orders_the_same_body(provider: str) -> None:
    model = next(iter(cards.load(provider)))
    real, rehearsed = (job_of(name, model) for name in (provider, f"{provider}@127.0.0.1-8080"))
    assert providers.body(provider, real) == providers.body(provider, rehearsed)


# ── one by one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def sent(model: str, mode: str = "text", provider: str = "dashscope", **settings: Any) -> dict[str, Any]:
    return providers.body(provider, job_of(provider, model, mode, **settings))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"resolution": "480p"}, "832*480"),
        ({"aspect_ratio": "1:1"}, "1440*1440"),
        ({"resolution": "720p", "aspect_ratio": "3:4"}, "832*1088"),
        ({}, None),
    ],
)
def test_pixels_are_sent_where_resolution_or_ratio_is_set_with_the_models_default_for_the_other(
    settings: dict[str, str], size: str | None
) -> None:
    assert sent("wan2.5-t2v-preview", **settings)["parameters"].get("size") == size


def test_parameters_are_there_even_when_nothing_is_set() -> None:
    assert sent("wan2.7-t2v") == {
        "model": "wan2.7-t2v",
        "input": {"prompt": "A kitten running in the moonlight"},
        "parameters": {},
    }


def test_an_alias_is_ordered_under_its_own_name_in_the_dialect_of_its_model() -> None:
    body = sent("wan2.7-t2v-2026-06-12", resolution="720p")
    assert (body["model"], body["parameters"]) == ("wan2.7-t2v-2026-06-12", {"resolution": "720P"})
    assert sent("wanx2.1-t2v-plus", resolution="720p")["parameters"] == {"size": "1280*720"}


def test_silence_is_ordered_where_there_is_a_switch_and_needs_no_word_where_there_is_no_sound() -> None:
    picture = {"text": "https://example.com/a.png", "kind": "image"}
    flash = sent("wan2.6-i2v-flash", "image", first_frame=picture, audio="none")
    assert flash["parameters"] == {"audio": False}
    assert sent("wan2.6-i2v-flash", "image", first_frame=picture, audio="auto")["parameters"] == {}
    assert sent("wan2.2-t2v-plus", audio="none")["parameters"] == {}
    toapis = sent("wan2.6-flash", "image", "toapis", first_frame=picture, audio="none")
    assert toapis["audio"] is False


def test_a_voice_goes_with_the_first_picture_of_the_one_who_speaks() -> None:
    pictures = [{"text": f"https://example.com/{n}.png", "kind": "image"} for n in (1, 2)]
    voice = {"text": "https://example.com/v.wav", "kind": "audio"}
    body = sent(
        "wan2.7-r2v",
        "reference",
        references=[
            {"name": "mira", "word": "Image 1 and Image 2", "media": pictures, "voice": voice},
            {"name": "tom", "word": "Image 3", "media": pictures[:1], "voice": voice},
        ],
    )
    assert ["reference_voice" in item for item in body["input"]["media"]] == [True, False, True]


def test_uploaded_files_stand_in_the_body_and_all_others_are_named_as_waiting() -> None:
    settings = golden("dashscope", "wan2.7-i2v")["frames"]["job"]
    job = job_of("dashscope", "wan2.7-i2v", "frames", **settings)
    files = ["refs/desk.png", "refs/door.png", "vo/desk.mp3"]
    uploads = {name: f"oss://x/{name}" for name in files}
    body = dialects.body("dashscope", job, uploads)
    assert [item["url"] for item in body["input"]["media"]] == [uploads[name] for name in files]
    assert dialects.not_uploaded(body) == ""
    del uploads[files[2]]
    assert dialects.not_uploaded(dialects.body("dashscope", job, uploads)) == files[2]


def test_a_prompt_may_speak_of_uploads() -> None:
    assert dialects.not_uploaded(sent("wan2.7-t2v", prompt="upload: a ghost", negative_prompt="upload:text")) == ""


def test_every_dialect_has_a_card_that_speaks_it() -> None:
    spoken = {cards.facts(card)["dialect"] for name in cards.PROVIDERS for card in cards.load(name).values()}
    assert spoken == set(dialects.DIALECTS)
