"""What the sandbox takes and refuses: headers, dialects, fields, ranges; and what it reads out of a body."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storyrun.sandbox import orders
from storyrun.sandbox.dashscope import DOCUMENT as DASHSCOPE
from storyrun.sandbox.orders import Refusal
from storyrun.sandbox.toapis import DOCUMENT as TOAPIS
from tests.customer import ASYNC, CREATE, changed, trade

PICTURE = "https://example.com/a.png"
FILM = "https://example.com/a.mp4"
SOUND = "https://example.com/a.mp3"


def media(*kinds: str) -> list[dict[str, str]]:
    return [{"type": kind, "url": PICTURE} for kind in kinds]


BODIES: dict[str, dict[str, Any]] = {
    "size": {
        "model": "wan2.6-t2v",
        "input": {"prompt": "A cat", "negative_prompt": "blurry", "audio_url": SOUND, "extend_prompt": True},
        "parameters": {"size": "1088*832", "duration": 15, "shot_type": "multi", "prompt_extend": True, "seed": 7},
    },
    "img_url": {
        "model": "wan2.6-i2v-flash",
        "input": {"prompt": "A cat", "img_url": PICTURE},
        "parameters": {"resolution": "720P", "duration": 2, "audio": False, "watermark": False},
    },
    "frame_urls": {
        "model": "wan2.2-kf2v-flash",
        "input": {"first_frame_url": PICTURE, "last_frame_url": PICTURE},
        "parameters": {"resolution": "480P"},
    },
    "reference_urls": {
        "model": "wan2.6-r2v",
        "input": {"prompt": "character1 runs", "reference_urls": [PICTURE, FILM]},
        "parameters": {"size": "1280*720", "duration": 10, "shot_type": "multi"},
    },
    "2.7 text": {
        "model": "wan2.7-t2v-2026-04-25",
        "input": {"prompt": "A cat", "audio_url": SOUND},
        "parameters": {"resolution": "1080P", "ratio": "3:4", "duration": 15},
    },
    "2.7 image": {
        "model": "wan2.7-i2v",
        "input": {"prompt": "A cat", "media": media("first_frame", "last_frame", "driving_audio")},
        "parameters": {"resolution": "720P", "duration": 3},
    },
    "2.7 reference": {
        "model": "wan2.7-r2v",
        "input": {"prompt": "Image 1 runs", "media": [*media("first_frame"), *media("reference_image")]},
        "parameters": {"resolution": "720P", "ratio": "9:16", "duration": 15},
    },
    "3.0": {
        "model": "wan3.0-video",
        "input": {"prompt": "A cat", "media": media("reference_image", "reference_video", "reference_audio")},
        "parameters": {"resolution": "480P", "ratio": "adaptive", "duration": -1, "audio": False},
    },
}

FLAT: dict[str, dict[str, Any]] = {
    "text": {
        "model": "wan2.6",
        "prompt": "A cat",
        "negative_prompt": "blurry",
        "aspect_ratio": "4:3",
        "duration": 10,
        "resolution": "720p",
        "seed": 1,
        "prompt_extend": True,
        "shot_type": "multi",
        "watermark": False,
        "client_business_id": "attempt-1",
    },
    "image": {"model": "wan2.6", "image_urls": [PICTURE], "resolution": "720p", "duration": 5},
    "reference": {"model": "wan2.6", "prompt": "A cat", "metadata": {"reference_urls": [FILM]}, "shot_type": "single"},
    "flash": {"model": "wan2.6-flash", "image_urls": [PICTURE], "audio": False},
    "3.0": {
        "model": "wan3.0-video",
        "prompt": "A cat",
        "ratio": "adaptive",
        "resolution": "480p",
        "duration": 30,
        "image_with_roles": [{"url": PICTURE, "role": "first_frame"}, {"url": PICTURE, "role": "last_frame"}],
    },
}


def read(body: Any) -> orders.Order:
    return orders.of_dashscope(body, DASHSCOPE, lambda _: (300, 400))


def read_flat(body: Any) -> orders.Order:
    return orders.of_toapis(body, TOAPIS, lambda _: (300, 400))


# ── taken ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("size", ("text", 15, "720p", (1088, 832), True)),
        ("img_url", ("image", 2, "720p", (832, 1108), False)),
        ("frame_urls", ("frames", 5, "480p", (548, 730), False)),
        ("reference_urls", ("reference", 10, "720p", (1280, 720), True)),
        ("2.7 text", ("text", 15, "1080p", (1248, 1648), True)),
        ("2.7 image", ("frames", 3, "720p", (832, 1108), True)),
        ("2.7 reference", ("reference", 15, "720p", (832, 1108), True)),
        ("3.0", ("reference", 5, "480p", (832, 480), False)),
    ],
)
def test_a_dashscope_body_is_read(name: str, expected: tuple[Any, ...]) -> None:
    order = read(BODIES[name])
    assert (order.mode, order.seconds, order.tier, order.size, order.sounding) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", ("text", 10, "720p", (1088, 832), True)),
        ("image", ("image", 5, "720p", (832, 1108), True)),
        ("reference", ("reference", 5, "1080p", (1920, 1080), True)),
        ("flash", ("image", 5, "1080p", (1248, 1662), False)),
        ("3.0", ("frames", 30, "480p", (548, 730), True)),
    ],
)
def test_a_toapis_body_is_read(name: str, expected: tuple[Any, ...]) -> None:
    order = read_flat(FLAT[name])
    assert (order.mode, order.seconds, order.tier, order.size, order.sounding) == expected
    assert order.business_id == ("attempt-1" if name == "text" else "")


@pytest.mark.parametrize(
    ("body", "seconds", "size"),
    [
        ({"model": "wan2.6-t2v", "input": {"prompt": "x"}}, 5, (1920, 1080)),
        ({"model": "wan2.1-t2v-turbo", "input": {"prompt": "x"}, "parameters": {}}, 5, (1280, 720)),
        ({"model": "wan2.7-t2v", "input": {"prompt": "x"}, "parameters": {"ratio": "1:1"}}, 5, (1440, 1440)),
        ({"model": "wan3.0-video", "input": {"prompt": "x"}, "parameters": {"ratio": "4:3"}}, 5, (1648, 1248)),
    ],
)
def test_what_a_body_leaves_out_is_the_models_default(body: Any, seconds: int, size: tuple[int, int]) -> None:
    order = read(body)
    assert (order.seconds, order.size) == (seconds, size)


GUIDES = sorted((Path(__file__).parent / "guides").glob("*.json"))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_bodies_of_the_guides_are_taken(guide: Path) -> None:
    example = json.loads(guide.read_text(encoding="utf-8"))
    order = (read_flat if example["provider"] == "toapis" else read)(example["body"])
    assert order.prompt == example["body"].get("prompt", example["body"].get("input", {}).get("prompt"))


# ── refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────

WRONG: list[tuple[str, str, Any, str]] = [
    # a field of another generation
    ("size", "parameters.resolution", "720P", "'resolution' was unexpected"),
    ("size", "parameters.ratio", "16:9", "'ratio' was unexpected"),
    ("size", "input.img_url", PICTURE, "'img_url' was unexpected"),
    ("img_url", "parameters.size", "1280*720", "'size' was unexpected"),
    ("img_url", "parameters.ratio", "16:9", "'ratio' was unexpected"),
    ("2.7 text", "parameters.size", "1280*720", "'size' was unexpected"),
    ("2.7 text", "parameters.shot_type", "multi", "'shot_type' was unexpected"),
    ("2.7 image", "input.img_url", PICTURE, "'img_url' was unexpected"),
    ("2.7 image", "input.media", ..., "'media' is a required property"),
    ("2.7 image", "parameters.ratio", "16:9", "'ratio' was unexpected"),
    ("2.7 reference", "input.reference_urls", [PICTURE], "'reference_urls' was unexpected"),
    ("reference_urls", "input.media", media("reference_image"), "'media' was unexpected"),
    ("reference_urls", "parameters.prompt_extend", True, "'prompt_extend' was unexpected"),
    ("3.0", "input.negative_prompt", "blurry", "'negative_prompt' was unexpected"),
    # a field that is nobody's
    ("size", "prompt", "A cat", "'prompt' was unexpected"),
    ("size", "parameters.durration", 5, "'durration' was unexpected"),
    ("size", "input.audio", True, "'audio' was unexpected"),
    # values out of range
    ("size", "parameters.duration", 16, "parameters.duration: 16 is greater"),
    ("size", "parameters.duration", 1, "parameters.duration: 1 is less"),
    ("size", "parameters.duration", 5.5, "parameters.duration: 5.5 is not of type"),
    ("size", "parameters.duration", "5", "parameters.duration: '5' is not of type"),
    ("size", "parameters.size", "1280x720", "parameters.size"),
    ("size", "parameters.size", "16:9", "parameters.size"),
    ("size", "parameters.size", "832*480", "parameters.size"),
    ("size", "parameters.seed", 2147483648, "parameters.seed"),
    ("size", "parameters.seed", -1, "parameters.seed"),
    ("size", "parameters.shot_type", "double", "parameters.shot_type"),
    ("size", "parameters.watermark", "true", "parameters.watermark"),
    ("size", "input.prompt", "", "input.prompt"),
    ("size", "input.prompt", ..., "'prompt' is a required property"),
    ("size", "input.audio_url", "vo/desk.mp3", "input.audio_url"),
    ("img_url", "parameters.resolution", "720p", "parameters.resolution"),
    ("img_url", "parameters.resolution", "480P", "parameters.resolution"),
    ("img_url", "input.img_url", "upload:refs/desk.png", "input.img_url"),
    ("frame_urls", "parameters.duration", 4, "parameters.duration"),
    ("frame_urls", "input.last_frame_url", ..., "'last_frame_url' is a required property"),
    ("frame_urls", "input.audio_url", SOUND, "audio_url"),
    ("reference_urls", "input.reference_urls", [], "input.reference_urls"),
    ("reference_urls", "input.reference_urls", [PICTURE] * 6, "input.reference_urls"),
    ("reference_urls", "parameters.duration", 11, "parameters.duration"),
    ("reference_urls", "parameters.audio", True, "parameters.audio"),
    ("2.7 text", "parameters.ratio", "21:9", "parameters.ratio"),
    ("2.7 image", "input.media", media("last_frame"), "input.media"),
    ("2.7 image", "input.media", media("first_frame", "first_frame"), "input.media"),
    ("2.7 image", "input.media", media("first_clip", "driving_audio"), "input.media"),
    ("2.7 image", "input.media", media("reference_image"), "input.media"),
    ("2.7 reference", "input.media", media("first_frame"), "input.media"),
    ("2.7 reference", "input.media", media(*["reference_image"] * 6), "input.media"),
    ("2.7 reference", "input.media", media("reference_video"), "parameters.duration: 15 is greater"),
    ("3.0", "input.media", media("first_frame", "reference_image"), "input.media"),
    ("3.0", "input.media", media("last_frame"), "input.media"),
    ("3.0", "input.media", media(*["reference_video"] * 6), "input.media"),
    ("3.0", "parameters.duration", 31, "parameters.duration"),
    ("3.0", "parameters.duration", 0, "parameters.duration"),
]


@pytest.mark.parametrize(("name", "path", "value", "told"), WRONG)
def test_a_dashscope_body_that_is_wrong_in_one_place_is_refused_with_the_place(
    name: str, path: str, value: Any, told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        read(changed(BODIES[name], path, value))
    assert (caught.value.kind, told in caught.value.message) == ("parameter", True), caught.value.message


WRONG_FLAT: list[tuple[str, str, Any, str]] = [
    ("text", "size", "1280*720", "'size' was unexpected"),
    ("text", "input", {}, "'input' was unexpected"),
    ("text", "duration", 6, "duration: 6 is not one of"),
    ("text", "duration", "5", "duration"),
    ("text", "resolution", "720P", "resolution"),
    ("text", "resolution", "480p", "resolution"),
    ("text", "aspect_ratio", "16x9", "aspect_ratio"),
    ("text", "prompt", ..., "'prompt' is a required property"),
    ("text", "client_business_id", "", "client_business_id"),
    ("text", "metadata", {"urls": []}, "metadata"),
    ("image", "aspect_ratio", "16:9", "aspect_ratio"),
    ("image", "shot_type", "multi", "shot_type"),
    ("image", "image_urls", [PICTURE, PICTURE], "image_urls"),
    ("image", "image_urls", [{"url": PICTURE}], "image_urls"),
    ("image", "image_urls", ["data:image/png;base64,AAAA"], "image_urls"),
    ("image", "metadata", {"reference_urls": [FILM]}, "should not be valid"),
    ("flash", "image_urls", ..., "is not valid under any"),
    ("flash", "aspect_ratio", "16:9", "'aspect_ratio' was unexpected"),
    ("flash", "audio", "no", "audio"),
    ("3.0", "reference_images", [PICTURE], "reference_images"),
    ("3.0", "image_with_roles", [{"url": PICTURE, "role": "last_frame"}], "image_with_roles"),
    ("3.0", "negative_prompt", "blurry", "'negative_prompt' was unexpected"),
    ("3.0", "duration", 1, "duration"),
]


@pytest.mark.parametrize(("name", "path", "value", "told"), WRONG_FLAT)
def test_a_toapis_body_that_is_wrong_in_one_place_is_refused_with_the_place(
    name: str, path: str, value: Any, told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        read_flat(changed(FLAT[name], path, value))
    assert (caught.value.kind, told in caught.value.message) == ("parameter", True), caught.value.message


@pytest.mark.parametrize("body", [[], None, "wan2.7-t2v", {}, {"model": 3}, {"model": None}, {"input": {}}])
def test_what_is_no_body_is_refused(body: Any) -> None:
    for reader in (read, read_flat):
        with pytest.raises(Refusal, match="a model is required"):
            reader(body)


@pytest.mark.parametrize("model", ["wan2.7", "wan2.6", "wan9-t2v", "WAN2.7-T2V", "tokenhub/wan2.7-t2v", ""])
def test_a_model_that_does_not_exist_is_refused_as_such(model: str) -> None:
    with pytest.raises(Refusal) as caught:
        read(BODIES["2.7 text"] | {"model": model})
    assert caught.value.kind == "model"


# ── on the wire ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", ["dashscope", "tokenhub"])
async def test_a_create_without_the_async_header_is_refused(provider: str) -> None:
    async with trade(provider) as customer:
        said = await customer.ask("POST", CREATE[provider], json=BODIES["size"])
        other = await customer.ask("POST", CREATE[provider], json=BODIES["size"], headers={"X-DashScope-Async": "true"})
        assert customer.sandbox.log.lines == []
    assert (said.status, said.json["code"], other.status) == (403, "AccessDenied", 403)


async def test_each_model_has_its_endpoint() -> None:
    two_frames = CREATE["dashscope"].replace("video-generation", "image2video")
    async with trade("dashscope") as customer:
        wrong = [
            await customer.ask("POST", two_frames, json=BODIES["2.7 image"], headers=ASYNC),
            await customer.create(BODIES["frame_urls"]),
        ]
        right = await customer.ask("POST", two_frames, json=BODIES["frame_urls"], headers=ASYNC)
        assert [line["mode"] for line in customer.sandbox.log.booked] == ["frames"]
    assert {(each.status, each.json["message"]) for each in wrong} == {(400, "url error, please check url!")}
    assert right.status == 200


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_is_refused_and_breaks_nothing(data: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for provider in ("dashscope", "toapis"):
        async with trade(provider) as customer:
            said = await customer.ask("POST", CREATE[provider], data=data, headers=headers | ASYNC)
            assert said.status == 400
            assert (await customer.create(BODIES["size"] if provider == "dashscope" else FLAT["text"])).status == 200


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/a.png", "https://10.0.0.1/a.png", "https://localhost/a.png", "https://nas.local/a.png"],
)
async def test_a_service_on_the_internet_cannot_fetch_from_your_network(url: str) -> None:
    async with trade("dashscope") as one, trade("toapis") as two, trade("tokenhub") as three:
        body = changed(BODIES["img_url"], "input.img_url", url)
        said = [
            await one.create(body),
            await two.create(FLAT["image"] | {"image_urls": [url]}),
            await three.create(body),
        ]
    assert [each.status for each in said] == [400, 400, 400]


async def test_tokenhub_cannot_read_dashscopes_store() -> None:
    async with trade("tokenhub") as customer:
        body = changed(BODIES["img_url"], "input.img_url", "oss://dashscope-instant/x/a.png")
        said = await customer.create(body, **{"X-DashScope-OssResourceResolve": "enable"})
    assert (said.status, said.json["code"]) == (400, "InvalidParameter.DataInspection")
