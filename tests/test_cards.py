"""Model cards: what they hold, how one is chosen, what they refuse and in which words, and what a clip costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest

from storyrun import cards, validation
from storyrun.cli import models
from storyrun.records import ModelCard, Money, Price

EVERY = [*(card for name in cards.PROVIDERS for card in cards.load(name).values()), cards.permissive()]
REAL = EVERY[:-1]

WAN = set(
    """
    wan3.0-video wan3.0-video-prime wan2.7-t2v wan2.7-i2v wan2.7-r2v
    wan2.6-t2v wan2.6-i2v wan2.6-i2v-flash wan2.6-r2v wan2.6-r2v-flash wan2.5-t2v-preview wan2.5-i2v-preview
    wan2.2-t2v-plus wan2.2-i2v-plus wan2.2-i2v-flash wan2.2-kf2v-flash
    wan2.1-t2v-turbo wan2.1-t2v-plus wan2.1-i2v-turbo wan2.1-i2v-plus wan2.1-kf2v-plus
    """.split()
)
ISSUED = {"tokenhub": WAN, "toapis": {"wan3.0-video", "wan2.6", "wan2.6-flash"}, "dashscope": WAN}
CONFIRMED = {"wan2.7-t2v", "wan2.6-t2v", "wan2.5-t2v-preview", "wan2.2-t2v-plus"}
"""What tokenhub's own guide names. All its other cards are guesses, and say so."""

IMAGE = {"text": "refs/desk.png", "kind": "image", "sha256": "0" * 64, "bytes": 81234, "pixels": [1920, 1080]}
ONLINE = {"text": "https://example.com/desk.png", "kind": "image"}
VIDEO = {"text": "https://example.com/walk.mp4", "kind": "video"}
SOUND = {"text": "https://example.com/vo.mp3", "kind": "audio"}


def named(card: ModelCard) -> str:
    return f"{card.provider}/{card.model}"


def card_of(name: str) -> ModelCard:
    provider, _, model = name.partition("/")
    return cards.load(provider)[model]


def references(*media: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"name": "it", "word": "Image 1", "media": list(media), **more}]


def job(card: ModelCard, mode: str, **fields: Any) -> dict[str, Any]:
    """A job that the card takes, but for what `fields` say; a field of None is left out."""
    good: dict[str, Any] = {
        "id": "desk",
        "provider": card.provider,
        "model": card.model,
        "mode": mode,
        "prompt": "Dust moves in the lamplight",
    }
    picture = ONLINE if card.provider == "tokenhub" else IMAGE  # tokenhub has no upload
    if mode in {"image", "frames"}:
        good["first_frame"] = picture
    if mode == "frames":
        good["last_frame"] = picture
    if mode == "reference":
        good["references"] = references(VIDEO)
    return {key: value for key, value in (good | fields).items() if value is not None}


def full(card: ModelCard, mode: Any) -> dict[str, Any]:
    """A job with the card's defaults and every setting that the mode takes."""
    settings = {
        "negative_prompt": "blurry",
        "seconds": int(card.default_seconds),
        "resolution": card.default_resolution,
        "aspect_ratio": card.default_ratio,
        "seed": 12345,
        "prompt_extend": True,
        "watermark": False,
        "shot_type": "multi",
    }
    taken = {key: value for key, value in settings.items() if cards.accepts(card, mode, key)}
    if cards.accepts(card, mode, "audio_file"):
        taken |= {"audio": "file", "audio_file": SOUND}
    return job(card, mode, **taken)


# ── what every card holds ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_models_of_the_guides_and_of_dashscope_have_their_cards() -> None:
    for provider, known in ISSUED.items():
        assert known <= set(cards.load(provider))


def test_a_model_that_nobody_has_confirmed_says_so() -> None:
    for card in cards.load("tokenhub").values():
        assert ("nobody has confirmed" in card.warning) == (card.model not in CONFIRMED)


def test_first_and_last_frames_of_the_old_models_have_an_endpoint_of_their_own() -> None:
    own = {name for name, card in cards.load("dashscope").items() if cards.facts(card).get("endpoint")}
    assert own == {"wan2.2-kf2v-flash", "wan2.1-kf2v-plus"}


@pytest.mark.parametrize("card", EVERY, ids=named)
def test_a_card_is_a_schema_of_draft_2020_12_under_its_own_stable_id(card: ModelCard) -> None:
    from jsonschema import Draft202012Validator

    assert card.schema["$schema"] == Draft202012Validator.META_SCHEMA["$schema"]
    Draft202012Validator.check_schema(card.schema)
    assert card.schema["$id"] == f"https://storyrun.dev/schemas/models/{card.provider}/{card.model}.json"


def test_what_the_cards_share_is_a_schema_too() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(validation.schema("models/wan-common"))


@pytest.mark.parametrize("card", REAL, ids=named)
def test_a_card_names_its_sources_and_dates_its_prices(card: ModelCard) -> None:
    assert card.sources
    assert all(source.startswith("https://") for source in card.sources)
    for price in card.prices:
        assert price.source.startswith("https://")
        assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", price.as_of)
        assert price.per_second > 0
        assert price.resolution in card.sizes


@pytest.mark.parametrize("card", REAL, ids=named)
def test_prices_cover_every_resolution_in_each_of_their_currencies_or_there_are_none(card: ModelCard) -> None:
    for currency in {price.currency for price in card.prices}:
        for audio in {price.audio for price in card.prices}:
            priced = {p.resolution for p in card.prices if p.currency == currency and p.audio is audio}
            assert priced == set(card.sizes)


@pytest.mark.parametrize("card", EVERY, ids=named)
def test_a_card_says_the_same_in_its_rules_and_in_its_facts(card: ModelCard) -> None:
    facts = cards.facts(card)
    for mode in card.modes:
        resolutions = cards.rule(card, mode, "resolution")
        assert resolutions
        assert set(resolutions["enum"]) == set(card.sizes)
        switch, sound_file = cards.rule(card, mode, "audio"), cards.accepts(card, mode, "audio_file")
        assert switch
        assert ("none" in switch["enum"]) == (card.sound != "always")
        assert ("file" in switch["enum"]) == sound_file
        known, listed = cards.rule(card, mode, "mode"), cards.rule(card, mode, "model")
        assert known
        assert tuple(known["enum"]) == card.modes
        assert listed
        assert listed["enum"] == [card.model, *facts.get("aliases", [])]
    assert card.shot_type_field <= card.multi_shot
    assert (card.billed_reference_seconds > 0) == ("reference" in card.modes and card.provider != "animatic")


@pytest.mark.parametrize("card", EVERY, ids=named)
def test_every_field_that_is_taken_has_a_description_and_an_example_for_editors(card: ModelCard) -> None:
    for mode in card.modes:
        for field in models.SETTINGS:
            rule = cards.rule(card, mode, field)
            assert rule is False or (rule["description"] and rule["examples"]), field


@pytest.mark.parametrize(("card", "mode"), [(card, mode) for card in EVERY for mode in card.modes], ids=str)
def test_a_job_with_the_defaults_and_all_that_the_mode_takes_is_taken(card: ModelCard, mode: Any) -> None:
    assert cards.shortfalls(card, job(card, mode)) == []
    everything = full(card, mode)
    assert cards.shortfalls(card, everything) == []
    assert list(validation.validator(f"models/{card.provider}/{card.model}").iter_errors(everything)) == []


@pytest.mark.parametrize("card", EVERY, ids=named)
def test_the_default_shape_has_its_pixels(card: ModelCard) -> None:
    assert card.default_ratio in card.sizes[card.default_resolution]
    assert card.frame_rate == 30


@pytest.mark.parametrize(
    ("name", "resolution", "ratio", "pixels"),
    [
        ("tokenhub/wan2.7-t2v", "720p", "4:3", (1104, 832)),
        ("tokenhub/wan2.6-t2v", "720p", "4:3", (1088, 832)),
        ("dashscope/wan2.7-t2v", "1080p", "3:4", (1248, 1648)),
        ("dashscope/wan2.6-r2v", "1080p", "3:4", (1248, 1632)),
        ("toapis/wan2.6", "1080p", "1:1", (1440, 1440)),
        ("tokenhub/wan2.5-t2v-preview", "480p", "16:9", (832, 480)),
        ("tokenhub/wan2.2-t2v-plus", "480p", "1:1", (624, 624)),
        ("tokenhub/wan2.2-t2v-plus", "1080p", "9:16", (1080, 1920)),
        ("animatic/animatic", "720p", "4:3", (1104, 832)),
    ],
)
def test_pixels_are_those_of_the_providers_tables(
    name: str, resolution: str, ratio: str, pixels: tuple[int, int]
) -> None:
    card = card_of(name)
    assert cards.size(card, card.modes[0], resolution, ratio, None) == pixels


def test_the_animatic_has_every_size_and_mode_that_any_model_has() -> None:
    own = cards.permissive()
    assert (own.default_seconds, own.default_resolution, own.default_ratio) == (Fraction(5), "720p", "16:9")
    assert {mode for card in REAL for mode in card.modes} == set(own.modes)
    for card in REAL:
        for resolution, row in card.sizes.items():
            assert row.keys() <= own.sizes[resolution].keys()
    assert all(w % 2 == 0 and h % 2 == 0 for row in own.sizes.values() for w, h in row.values())


# ── sizes from a first frame ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_first_frame_decides_the_shape_and_the_resolution_the_area() -> None:
    card = card_of("dashscope/wan2.7-i2v")
    assert cards.size(card, "image", "720p", None, (1920, 1080)) == (1280, 720)
    assert cards.size(card, "image", None, None, (1920, 1080)) == (1920, 1080)
    for wide, high in [(4000, 3000), (333, 1000), (1001, 999), (8000, 1000)]:
        size = cards.size(card, "image", "720p", None, (wide, high))
        assert size
        assert size[0] % 2 == size[1] % 2 == 0
        assert size[0] / size[1] == pytest.approx(wide / high, rel=0.01)
        assert size[0] * size[1] == pytest.approx(1280 * 720, rel=0.01)


def test_pixels_that_cannot_be_known_are_none() -> None:
    card = card_of("dashscope/wan2.7-i2v")
    assert cards.size(card, "image", "720p", "16:9", None) is None
    assert cards.size(card_of("tokenhub/wan2.2-t2v-plus"), "text", "480p", "4:3", None) is None


def test_with_references_a_first_frame_decides_the_shape_too() -> None:
    card = card_of("dashscope/wan2.7-r2v")
    assert cards.size(card, "reference", "720p", "16:9", None) == (1280, 720)
    assert cards.size(card, "reference", "720p", "16:9", (1000, 1000)) == (960, 960)


# ── which card ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("provider", "wanted", "mode", "model"),
    [
        ("dashscope", "wan2.7", "text", "wan2.7-t2v"),
        ("dashscope", "wan2.7", "image", "wan2.7-i2v"),
        ("dashscope", "wan2.7", "frames", "wan2.7-i2v"),
        ("dashscope", "wan2.7", "reference", "wan2.7-r2v"),
        ("dashscope", "wan2.6", "image", "wan2.6-i2v"),
        ("dashscope", "wan2.6", "reference", "wan2.6-r2v"),
        ("tokenhub", "wan2.7", "text", "wan2.7-t2v"),
        ("tokenhub", "wan2.5", "text", "wan2.5-t2v-preview"),
        ("toapis", "wan2.6", "text", "wan2.6"),
        ("toapis", "wan2.6", "image", "wan2.6"),
        ("toapis", "wan2.6-flash", "image", "wan2.6-flash"),
        ("dashscope", "wan2.7-t2v", "image", "wan2.7-t2v"),
        ("dashscope", "wan2.7-r2v-2026-06-12", "reference", "wan2.7-r2v-2026-06-12"),
    ],
)
def test_an_exact_id_is_taken_and_a_family_picks_by_mode(provider: str, wanted: str, mode: Any, model: str) -> None:
    chosen = cards.choose(provider, wanted, mode)
    assert (chosen.provider, chosen.model) == (provider, model)


def test_a_family_never_picks_a_flash_turbo_or_prime_model_while_there_is_another() -> None:
    from dataclasses import replace

    from storyrun.cards import shelf

    plain = card_of("dashscope/wan2.6-i2v")
    quick = {name: replace(plain, model=name) for name in ("wan2.6-i2v-flash", "wan2.6-turbo", "wan2.6-prime")}

    def picked(*listed: ModelCard) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shelf, "load", lambda _: {card.model: card for card in listed})
            return cards.choose("dashscope", "wan2.6", "image").model

    assert picked(*quick.values(), plain) == "wan2.6-i2v"
    assert picked(quick["wan2.6-i2v-flash"]) == "wan2.6-i2v-flash"


def test_an_alias_is_judged_like_the_model_it_stands_for() -> None:
    card = cards.choose("dashscope", "wan2.7-t2v-2026-06-12", "text")
    assert cards.shortfalls(card, job(card, "text")) == []
    assert cards.shortfalls(card, job(card, "text", seconds=16))


@pytest.mark.parametrize(
    ("provider", "wanted", "mode", "sentence", "hint"),
    [
        (
            *("tokenhub", "wan2.7t2v", "text"),
            "tokenhub has no model or family `wan2.7t2v`",
            "did you mean `wan2.7-t2v`?",
        ),
        ("tokenhub", "wan2.6-flash", "image", "tokenhub has no model or family `wan2.6-flash`", "toapis has it"),
        ("toapis", "wan2.7", "text", "toapis has no model or family `wan2.7`", "tokenhub and dashscope have it"),
        (
            *("tokenhub", "wan2.5", "frames"),
            "wan2.5 on tokenhub makes no video from a first and a last frame",
            "here it is wan2.5-t2v-preview (from text alone), wan2.5-i2v-preview (from a first frame)",
        ),
        ("toapis", "zeppelin", "text", "toapis has no model or family `zeppelin`", "known: wan3.0, wan2.6, "),
    ],
)
def test_an_unknown_model_is_told_with_the_nearest_and_with_who_else_has_it(
    provider: str, wanted: str, mode: Any, sentence: str, hint: str
) -> None:
    with pytest.raises(cards.UnknownModel) as caught:
        cards.choose(provider, wanted, mode)
    assert caught.value.sentence == sentence
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


# ── what is taken ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "mode", "setting", "taken"),
    [
        ("dashscope/wan2.7-t2v", "text", "shot_type", False),
        ("dashscope/wan2.6-t2v", "text", "shot_type", True),
        ("dashscope/wan2.7-i2v", "image", "aspect_ratio", False),
        ("dashscope/wan2.7-i2v", "image", "last_frame", False),
        ("dashscope/wan2.7-i2v", "frames", "last_frame", True),
        ("dashscope/wan2.7-r2v", "reference", "first_frame", True),
        ("dashscope/wan2.6-r2v", "reference", "first_frame", False),
        ("dashscope/wan2.6-r2v", "reference", "prompt_extend", False),
        ("toapis/wan2.6", "text", "aspect_ratio", True),
        ("toapis/wan2.6", "image", "aspect_ratio", False),
        ("toapis/wan2.6", "image", "shot_type", False),
        ("toapis/wan2.6", "reference", "shot_type", True),
        ("toapis/wan2.6-flash", "image", "seed", False),
        ("toapis/wan2.6-flash", "reference", "aspect_ratio", False),
        ("tokenhub/wan2.2-t2v-plus", "text", "audio_file", False),
        ("tokenhub/wan2.2-t2v-plus", "text", "audio", True),
        ("tokenhub/wan2.7-t2v", "text", "audio_file", True),
        ("animatic/animatic", "image", "aspect_ratio", False),
        ("animatic/animatic", "text", "first_frame", False),
        ("tokenhub/wan2.7-t2v", "text", "look", True),
    ],
)
def test_a_mode_takes_a_setting_or_not(name: str, mode: Any, setting: str, *, taken: bool) -> None:
    assert cards.accepts(card_of(name), mode, setting) is taken


@pytest.mark.parametrize(
    ("name", "mode", "several"),
    [
        ("tokenhub/wan2.7-t2v", "text", True),
        ("tokenhub/wan2.6-t2v", "text", True),
        ("tokenhub/wan2.5-t2v-preview", "text", False),
        ("toapis/wan2.6", "reference", True),
        ("toapis/wan2.6", "image", False),
        ("animatic/animatic", "image", True),
    ],
)
def test_several_shots_become_one_clip_where_the_model_can_be_told(name: str, mode: Any, *, several: bool) -> None:
    assert cards.several_shots(card_of(name), mode) is several


# ── what is refused, and how it is said ──────────────────────────────────────────────────────────────────────────────

SHOTS = [{"index": 1, "start": 0, "end": 6}, {"index": 2, "start": 6, "end": 12}]
LOCAL_SOUND = {"text": "vo/desk.mp3", "kind": "audio", "sha256": "0" * 64, "bytes": 9}
LOCAL_VIDEO = {"text": "refs/walk.mp4", "kind": "video", "sha256": "0" * 64, "bytes": 9}

REFUSED: list[tuple[str, str, dict[str, Any], str, str, str]] = [
    # card, mode, what is wrong, field, sentence, hint
    (
        *("toapis/wan2.6", "text", {"seconds": 12, "shots": SHOTS}, "seconds"),
        *("shots add up to 12 s; wan2.6 on toapis makes 5, 10 or 15 s", "nearest: 10 s"),
    ),
    (
        *("toapis/wan2.6", "text", {"seconds": 7.5}, "seconds"),
        *("7.5 s; wan2.6 on toapis makes 5, 10 or 15 s", "nearest: 5 or 10 s"),
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"seconds": 16}, "seconds"),
        *("16 s; wan2.7-t2v on tokenhub makes 2 to 15 s", "nearest: 15 s"),
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"seconds": 4.5}, "seconds"),
        *("4.5 s; wan2.7-t2v on tokenhub makes 2 to 15 s, whole seconds", "nearest: 4 or 5 s"),
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"seconds": 1}, "seconds"),
        *("1 s; wan2.7-t2v on tokenhub makes 2 to 15 s", "nearest: 2 s"),
    ),
    (
        *("tokenhub/wan2.2-t2v-plus", "text", {"seconds": 6}, "seconds"),
        *("6 s; wan2.2-t2v-plus on tokenhub makes 5 s only", "nearest: 5 s"),
    ),
    (
        *("dashscope/wan2.7-r2v", "reference", {"seconds": 12}, "seconds"),
        *("12 s; wan2.7-r2v on dashscope makes 2 to 10 s once a reference is a video", "nearest: 10 s"),
    ),
    (
        *("dashscope/wan2.7-r2v", "reference", {"seconds": 16, "references": references(IMAGE)}, "seconds"),
        *("16 s; wan2.7-r2v on dashscope makes 2 to 15 s", "nearest: 15 s"),
    ),
    (
        *("animatic/animatic", "text", {"seconds": 130}, "seconds"),
        *("130 s; the animatic makes more than 0 and up to 120 s", "nearest: 120 s"),
    ),
    (
        *("animatic/animatic", "text", {"seconds": 0}, "seconds"),
        *("0 s; the animatic makes more than 0 and up to 120 s", ""),
    ),
    (
        *("toapis/wan2.6", "text", {"resolution": "480p"}, "resolution"),
        *("wan2.6 on toapis has no 480p; it makes 720p and 1080p", "nearest: 720p"),
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"aspect_ratio": "21:9"}, "aspect_ratio"),
        "wan2.7-t2v on tokenhub has no 21:9; it makes 16:9, 9:16, 1:1, 4:3 and 3:4",
        "nearest: 16:9",
    ),
    (
        *("tokenhub/wan2.5-t2v-preview", "text", {"resolution": "480p", "aspect_ratio": "4:3"}, "aspect_ratio"),
        *("wan2.5-t2v-preview on tokenhub has no 4:3 at 480p; it makes 16:9, 9:16 and 1:1", "nearest: 1:1"),
    ),
    (
        *("tokenhub/wan2.6-t2v", "text", {"prompt": "字" * 1612}, "prompt"),
        *("prompt is 1612 characters; wan2.6-t2v takes 1500", "112 too many"),
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"prompt": "a" * 5001}, "prompt"),
        *("prompt is 5001 characters; wan2.7-t2v takes 5000", "1 too many"),
    ),
    (
        *("tokenhub/wan2.2-t2v-plus", "text", {"prompt": "a" * 801}, "prompt"),
        *("prompt is 801 characters; wan2.2-t2v-plus takes 800", "1 too many"),
    ),
    ("tokenhub/wan2.7-t2v", "text", {"prompt": ""}, "prompt", "the prompt is empty; wan2.7-t2v needs one", ""),
    (
        *("tokenhub/wan2.7-t2v", "text", {"negative_prompt": "a" * 501}, "negative_prompt"),
        *("negative_prompt is 501 characters; wan2.7-t2v takes 500", "1 too many"),
    ),
    (
        *("toapis/wan2.6-flash", "image", {"negative_prompt": "blurry"}, "negative_prompt"),
        *("wan2.6-flash on toapis takes no negative_prompt", ""),
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"seed": 2147483648}, "seed"),
        *("seed is 2147483648; wan2.7-t2v takes 0 to 2147483647", ""),
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"shot_type": "multi"}, "shot_type"),
        *("wan2.7-t2v on tokenhub takes no shot_type", "it reads the shots from the prompt"),
    ),
    (
        *("tokenhub/wan2.6-t2v", "text", {"shot_type": "many"}, "shot_type"),
        *("wan2.6-t2v on tokenhub has no many; it takes single and multi", ""),
    ),
    (
        *("toapis/wan2.6", "image", {"shot_type": "multi"}, "shot_type"),
        *("wan2.6 on toapis takes no shot_type when it starts from a first frame", ""),
    ),
    (
        *("toapis/wan2.6", "image", {"aspect_ratio": "16:9"}, "aspect_ratio"),
        "wan2.6 on toapis takes no aspect_ratio when it starts from a first frame",
        "the first frame decides the shape",
    ),
    (
        *("tokenhub/wan2.2-t2v-plus", "text", {"audio": "file", "audio_file": SOUND}, "audio"),
        *("wan2.2-t2v-plus is silent: it takes no audio file", ""),
    ),
    (
        *("toapis/wan2.6", "text", {"audio": "file", "audio_file": SOUND}, "audio"),
        *("wan2.6 on toapis takes no audio file", ""),
    ),
    (
        *("toapis/wan2.6", "text", {"audio": "none"}, "audio"),
        "wan2.6 on toapis always makes sound: it has no silent clips",
        "leave `audio` out and mute the clip in the cut",
    ),
    (
        *("tokenhub/wan2.7-t2v", "text", {"audio": "file", "audio_file": LOCAL_SOUND}, "audio"),
        *("vo/desk.mp3 is a local file; tokenhub takes audio by https URL only", "put it online and write the URL"),
    ),
    (
        *("dashscope/wan2.7-t2v", "text", {"audio": "file", "audio_file": LOCAL_SOUND | {"text": "vo.m4a"}}, "audio"),
        *("vo.m4a: wan2.7-t2v takes WAV and MP3 files", ""),
    ),
    (
        *("dashscope/wan2.7-t2v", "text", {"audio": "file", "audio_file": LOCAL_SOUND | {"bytes": 16777216}}, "audio"),
        *("vo/desk.mp3 is 16 MB; wan2.7-t2v takes up to 15 MB", ""),
    ),
    (
        *("dashscope/wan2.7-i2v", "image", {"first_frame": IMAGE | {"bytes": 25165824}}, "first_frame"),
        *("refs/desk.png is 24 MB; wan2.7-i2v takes up to 20 MB", ""),
    ),
    (
        *("dashscope/wan2.6-i2v", "image", {"first_frame": IMAGE | {"bytes": 11010048}}, "first_frame"),
        *("refs/desk.png is 10.5 MB; wan2.6-i2v takes up to 10 MB", ""),
    ),
    (
        *("dashscope/wan2.7-i2v", "image", {"first_frame": IMAGE | {"pixels": [320, 200]}}, "first_frame"),
        *("refs/desk.png is 320x200 pixels; wan2.7-i2v takes sides of at least 240", ""),
    ),
    (
        *("dashscope/wan2.7-i2v", "image", {"first_frame": IMAGE | {"pixels": [8200, 4000]}}, "first_frame"),
        *("refs/desk.png is 8200x4000 pixels; wan2.7-i2v takes sides of at most 8000", ""),
    ),
    (
        *("dashscope/wan2.7-i2v", "image", {"first_frame": IMAGE | {"pixels": [4000, 400]}}, "first_frame"),
        *("refs/desk.png is 4000x400 pixels; wan2.7-i2v takes shapes of 1:8 to 8:1", ""),
    ),
    (
        *("dashscope/wan2.7-i2v", "image", {"first_frame": IMAGE | {"text": "desk.gif"}}, "first_frame"),
        *("desk.gif: wan2.7-i2v takes JPEG, PNG, BMP and WebP files", ""),
    ),
    (
        *("dashscope/wan2.7-i2v", "frames", {"first_frame": None}, "first_frame"),
        *("wan2.7-i2v on dashscope needs a first_frame to make video from a first and a last frame", ""),
    ),
    (
        *("dashscope/wan2.7-t2v", "image", {}, "first_frame"),
        "wan2.7-t2v on dashscope makes video from text alone, not from a first frame",
        "wan2.7-i2v does, and model: wan2.7 picks it",
    ),
    (
        *("toapis/wan2.6", "frames", {}, "last_frame"),
        (
            "wan2.6 on toapis makes video from text alone, from a first frame or from references, "
            "not from a first and a last frame"
        ),
        "",
    ),
    (
        *("toapis/wan2.6-flash", "text", {}, "prompt"),
        *("wan2.6-flash on toapis makes no video from text alone", "it needs first_frame or references"),
    ),
    (
        *("toapis/wan2.6", "reference", {"first_frame": IMAGE}, "first_frame"),
        *("wan2.6 on toapis takes a first_frame or references, not both", ""),
    ),
    (
        *("toapis/wan2.6", "reference", {"references": references(IMAGE)}, "references"),
        "refs/desk.png is an image; wan2.6 on toapis takes videos as references",
        "refs/desk.png can be the scene's first_frame",
    ),
    (
        *("toapis/wan2.6", "reference", {"references": references(LOCAL_VIDEO)}, "references"),
        *("refs/walk.mp4 is a local file; toapis takes video by https URL only", "put it online and write the URL"),
    ),
    (
        *("toapis/wan2.6", "reference", {"references": references(VIDEO, voice=SOUND)}, "references"),
        *("wan2.6 on toapis takes no voice with a reference", ""),
    ),
    (
        *("dashscope/wan2.6-r2v", "reference", {"references": references(*[VIDEO] * 4)}, "references"),
        *("wan2.6-r2v on dashscope takes 3 videos, 4 given", ""),
    ),
    (
        *("dashscope/wan2.6-r2v", "reference", {"references": references(*[IMAGE] * 4, *[VIDEO] * 2)}, "references"),
        *("wan2.6-r2v on dashscope takes 5 images and videos in all, 6 given", ""),
    ),
    (
        "dashscope/wan2.7-r2v",
        "reference",
        {"references": [*references(*[IMAGE] * 3), *references(*[IMAGE] * 3)]},
        "references",
        *("wan2.7-r2v on dashscope takes 5 images, 6 given", ""),
    ),
    (
        *("dashscope/wan2.7-r2v", "reference", {"references": references(VIDEO | {"text": "walk.avi"})}, "references"),
        *("walk.avi: wan2.7-r2v takes MP4 and MOV files", ""),
    ),
    (
        *("dashscope/wan2.7-r2v", "reference", {"references": references(voice=SOUND)}, "references"),
        *("it is a voice alone; wan2.7-r2v on dashscope takes a voice with a picture or a film of who speaks", ""),
    ),
    (
        *("tokenhub/wan2.7-i2v", "image", {"first_frame": IMAGE}, "first_frame"),
        *("refs/desk.png is a local file; tokenhub takes image by https URL only", "put it online and write the URL"),
    ),
    (
        *("dashscope/wan3.0-video", "reference", {"first_frame": IMAGE}, "first_frame"),
        *("wan3.0-video on dashscope takes a first_frame or references, not both", ""),
    ),
    (
        *("dashscope/wan3.0-video", "text", {"negative_prompt": "blurry"}, "negative_prompt"),
        *("wan3.0-video on dashscope takes no negative_prompt", ""),
    ),
    (
        *("dashscope/wan3.0-video", "reference", {"references": references(*[IMAGE] * 11)}, "references"),
        *("wan3.0-video on dashscope takes 10 images, 11 given", ""),
    ),
    (
        *("dashscope/wan2.1-i2v-turbo", "image", {"seconds": 6}, "seconds"),
        *("6 s; wan2.1-i2v-turbo on dashscope makes 3, 4 or 5 s", "nearest: 5 s"),
    ),
    (
        *("dashscope/wan2.2-kf2v-flash", "frames", {"last_frame": None}, "last_frame"),
        *("wan2.2-kf2v-flash on dashscope needs a last_frame to make video from a first and a last frame", ""),
    ),
    (
        *("dashscope/wan2.6-r2v", "reference", {"prompt_extend": True}, "prompt_extend"),
        *("wan2.6-r2v on dashscope takes no prompt_extend", ""),
    ),
]


@pytest.mark.parametrize(("name", "mode", "wrong", "field", "sentence", "hint"), REFUSED, ids=[r[4] for r in REFUSED])
def test_what_a_card_refuses_is_said_once_with_the_nearest_that_it_takes(
    name: str, mode: str, wrong: dict[str, Any], field: str, sentence: str, hint: str
) -> None:
    card = card_of(name)
    assert cards.shortfalls(card, job(card, mode, **wrong)) == [cards.Shortfall(field, sentence, hint)]


def test_settings_that_are_not_taken_are_all_named_though_their_values_are_the_same() -> None:
    card = card_of("toapis/wan2.6-flash")
    wrong = cards.shortfalls(card, job(card, "image", seconds=5, seed=5, prompt_extend=True, watermark=True))
    assert {shortfall.field for shortfall in wrong} == {"seed", "prompt_extend"}


def test_the_limit_itself_is_taken() -> None:
    card = card_of("dashscope/wan2.6-i2v")
    at_limit = {"bytes": 10485760, "pixels": [8000, 240]}
    edge = job(card, "image", prompt="字" * 1500, seconds=15, seed=0, first_frame=IMAGE | at_limit)
    assert cards.shortfalls(card, edge) == []
    assert cards.shortfalls(card, edge | {"seconds": 2, "seed": 2147483647, "prompt": ""}) == []


def test_what_only_an_upload_forbids_is_no_hindrance_to_an_animatic() -> None:
    """The card of tokenhub cannot send a local voice-over; the preview of the same plan plays it."""
    card = card_of("tokenhub/wan2.7-t2v")
    spoken = job(card, "text", audio="file", audio_file=LOCAL_SOUND)
    assert cards.shortfalls(card, spoken)
    assert cards.shortfalls(card, spoken | {"provider": "animatic"}) == []
    assert cards.shortfalls(card, spoken | {"provider": "tokenhub@127.0.0.1-8080"})


@pytest.mark.parametrize(
    ("name", "mode", "fields", "field"),
    [
        ("toapis/wan2.6", "text", {"shot_type": "multi", "prompt_extend": False}, "prompt_extend"),
        ("dashscope/wan2.6-t2v", "text", {"shot_type": "multi", "prompt_extend": False}, "prompt_extend"),
        ("toapis/wan2.6", "reference", {"seconds": 15}, "seconds"),
        ("dashscope/wan2.7-r2v", "reference", {"aspect_ratio": "9:16", "first_frame": IMAGE}, "aspect_ratio"),
        ("dashscope/wan2.6-i2v", "image", {"first_frame": IMAGE | {"pixels": [3000, 2000]}}, "first_frame"),
    ],
)
def test_what_is_taken_but_will_not_work_as_written_is_a_caution_and_no_shortfall(
    name: str, mode: str, fields: dict[str, Any], field: str
) -> None:
    card = card_of(name)
    doubtful = job(card, mode, **fields)
    assert cards.shortfalls(card, doubtful) == []
    assert [caution.field for caution in cards.cautions(card, doubtful)] == [field]
    assert cards.cautions(card, job(card, mode)) == []


def test_a_single_shot_or_a_rewritten_prompt_needs_no_caution() -> None:
    card = card_of("dashscope/wan2.6-t2v")
    assert cards.cautions(card, job(card, "text", shot_type="multi")) == []
    assert cards.cautions(card, job(card, "text", shot_type="single", prompt_extend=False)) == []


# ── money ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def cost(name: str, **more: Any) -> Money | None:
    asked: dict[str, Any] = {"own": (), "resolution": "720p", "seconds": Fraction(6), "sounding": True} | more
    return cards.price(card_of(name), asked.pop("own"), **asked)


def own_price(resolution: str, amount: str, currency: str = "EUR") -> Price:
    return Price(resolution, currency, Decimal(amount), None, "plan.yaml", "")


def test_a_price_is_seconds_times_the_rate_to_the_last_digit() -> None:
    assert cost("dashscope/wan2.7-t2v") == Money(Decimal("0.60"), "USD")
    assert cost("dashscope/wan2.7-t2v", resolution="1080p", seconds=Fraction(15)) == Money(Decimal("2.25"), "USD")
    assert cost("dashscope/wan2.2-t2v-plus", resolution="480p", seconds=Fraction(5, 2)) == Money(Decimal("0.05"), "USD")
    with localcontext() as narrow:
        narrow.prec = 2
        assert cost("dashscope/wan2.7-t2v", own=(own_price("720p", "1.23456"),)) == Money(Decimal("7.40736"), "EUR")


def test_a_price_that_has_no_last_digit_is_rounded_up() -> None:
    money = cost("dashscope/wan2.7-t2v", seconds=Fraction(1, 3))
    assert money
    assert 0 < money.amount - Decimal("0.0333333333") < Decimal("1e-9")
    assert money.amount * 3 >= Decimal("0.10")


def test_the_currency_is_chosen_and_is_usd_on_dashscope_unless_told() -> None:
    assert cost("dashscope/wan2.7-t2v", currency="CNY") == Money(Decimal("3.6"), "CNY")
    assert cost("dashscope/wan2.7-t2v", currency="USD") == cost("dashscope/wan2.7-t2v")
    assert cost("dashscope/wan2.7-t2v", currency="EUR") is None


def test_an_unknown_price_is_none_and_not_zero() -> None:
    assert cost("tokenhub/wan2.7-t2v") is None
    assert cost("toapis/wan2.6") is None
    assert cost("dashscope/wan2.7-t2v", resolution="480p") is None


def test_silence_costs_half_on_flash() -> None:
    assert cost("toapis/wan2.6-flash", seconds=Fraction(5)) == Money(Decimal("1.5"), "CNY")
    assert cost("toapis/wan2.6-flash", seconds=Fraction(5), sounding=False) == Money(Decimal("0.75"), "CNY")


def test_the_plans_own_price_beats_the_card_where_it_has_one() -> None:
    own = (own_price("720p", "0.08"),)
    assert cost("dashscope/wan2.7-t2v", own=own) == Money(Decimal("0.48"), "EUR")
    assert cost("dashscope/wan2.7-t2v", own=own, currency="CNY") == Money(Decimal("0.48"), "EUR")
    assert cost("dashscope/wan2.7-t2v", own=own, resolution="1080p") == Money(Decimal("0.90"), "USD")
    assert cost("tokenhub/wan2.7-t2v", own=own) == Money(Decimal("0.48"), "EUR")
    rate = cards.rate(card_of("tokenhub/wan2.7-t2v"), own, resolution="720p", sounding=True)
    assert rate is own[0]


def test_reference_videos_are_billed_too_as_an_upper_bound() -> None:
    def with_videos(seconds: Fraction | None) -> Money | None:
        return cost("dashscope/wan2.7-r2v", seconds=Fraction(5), reference_seconds=seconds)

    assert with_videos(Fraction(0)) == Money(Decimal("0.50"), "USD", exact=True)
    assert with_videos(Fraction(2)) == Money(Decimal("0.70"), "USD", exact=False)
    assert with_videos(Fraction(30)) == with_videos(None) == Money(Decimal("1.00"), "USD", exact=False)


def test_a_model_that_bills_no_references_is_exact_whatever_goes_along() -> None:
    assert cost("dashscope/wan2.7-i2v", reference_seconds=None) == Money(Decimal("0.60"), "USD", exact=True)


def test_the_animatic_costs_nothing_in_no_currency() -> None:
    assert cost("animatic/animatic") == Money(Decimal(0), "")


# ── what people see ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_fits_into_100_columns_with_every_model_its_price_and_where_that_is_from() -> None:
    text = models.table(EVERY)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    rows = {tuple(line.split()[:2]): line for line in lines}
    assert {(card.provider, card.model) for card in EVERY} <= set(rows)
    assert "0.05 0.10 0.15 USD" in rows["dashscope", "wan2.5-t2v-preview"]
    assert re.search(r" 0\.10 0\.15 USD +2026-04$", rows["dashscope", "wan2.7-t2v"])
    assert rows["tokenhub", "wan2.7-t2v"].endswith("unknown")
    assert rows["animatic", "animatic"].endswith("free")
    assert "0.15 0.25, silent" in text
    assert "dashscope, 2026-04: https://help.aliyun.com/zh/model-studio/model-pricing" in lines
    assert "Unknown is not free" in text


def test_a_table_with_known_prices_only_says_nothing_of_unknown_ones() -> None:
    assert "Unknown" not in models.table([card_of("dashscope/wan2.7-t2v"), cards.permissive()])


@pytest.mark.parametrize("card", EVERY, ids=named)
def test_the_details_of_a_card_hold_its_limits_prices_and_sources(card: ModelCard) -> None:
    text = models.details(card)
    for price in card.prices:
        assert re.search(
            rf"{price.resolution} +{price.per_second} {price.currency}.* {price.as_of}  {price.source}", text
        )
    assert bool(card.prices) or "unknown; in the plan: prices: {" in text or "free" in text
    for source in card.sources:
        assert f"  {source}\n" in text
    for row in card.sizes.values():
        for wide, high in row.values():
            assert f"{wide}x{high}" in text


def test_details_say_what_is_not_taken_and_by_which_mode() -> None:
    text = models.details(card_of("toapis/wan2.6"))
    assert re.search(r"shot_type +single, multi; not with image\n", text)
    assert re.search(r"last_frame +not taken\n", text)
    assert re.search(r"prompt +up to 1500 characters, each code point one\n", text)
    assert re.search(r"seconds +5 10 15; 5 unless told\n", text)
    assert "wan2.7-t2v-2026-06-12" in models.details(card_of("dashscope/wan2.7-t2v"))


def test_a_warning_and_a_retirement_are_shown() -> None:
    from dataclasses import replace

    card = replace(card_of("tokenhub/wan2.7-t2v"), warning="not confirmed by the provider", retires="2027-01-31")
    assert "Warning: not confirmed by the provider" in models.details(card)
    assert re.search(r"retires +2027-01-31\n", models.details(card))


def test_json_holds_facts_and_limits_and_survives_a_round_trip() -> None:
    listed = models.as_json(EVERY)
    assert json.loads(json.dumps(listed)) == listed
    flash = next(entry for entry in listed if entry["model"] == "wan2.6-flash")
    assert flash["limits"]["image"]["seed"] is False
    assert flash["limits"]["reference"]["seconds"] == {"enum": [5, 10, 15]}
    assert flash["prices"][0]["per_second"] == "0.3"
    assert "$ref" not in json.dumps(listed)


# ── what it costs to load ────────────────────────────────────────────────────────────────────────────────────────────


def test_neither_the_cards_nor_a_good_job_load_jsonschema() -> None:
    program = """
import sys
from storyrun import cards
card = cards.choose("dashscope", "wan2.7", "reference")
media = [{"text": "refs/a.png", "kind": "image"}]
job = {"provider": "dashscope", "model": "wan2.7-r2v", "mode": "reference", "prompt": "x", "seconds": 5,
       "references": [{"name": "a", "word": "Image 1", "media": media}]}
assert cards.shortfalls(card, job) == [] and cards.cautions(card, job) == []
print(sorted({"jsonschema", "referencing", "asyncio", "difflib", "aiohttp"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
