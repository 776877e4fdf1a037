"""The three clouds over a real connection: what is sent, and what every documented answer is read as."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storyrun import cards
from storyrun.errors import LostAnswer, MissedPoll, NotFound, NotSent, Rejected
from storyrun.records import Answer, TaskStatus
from tests.clouds import (
    ATTEMPT,
    CLOUDS,
    CREATE,
    KEY,
    MODELS,
    POLL,
    TASKS,
    Recording,
    Reply,
    body_of,
    job_of,
    made,
    ordered,
    polled,
    recording,
    recordings,
    serving,
    task_of,
)


def told(about: str) -> list[Any]:
    return [pytest.param(name, each, id=f"{name}-{each.name}") for name in CLOUDS for each in recordings(name, about)]


# ── every documented answer ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "each"), told("create"))
async def test_an_answer_to_a_create_is_read_as_its_recording_says(name: str, each: Recording) -> None:
    assert each.source.startswith("https://")
    means = each.means
    if "accepted" in means:
        accepted, _ = await ordered(name, each)
        assert accepted.task_id == means["accepted"]
        return
    with pytest.raises((Rejected, LostAnswer)) as caught:
        await ordered(name, each)
    error = caught.value
    if "lost" in means:
        assert isinstance(error, LostAnswer)
        assert "may have been bought" in str(error)
        return
    assert isinstance(error, Rejected)
    assert (error.kind.value, error.code) == (means["refused"], means["code"])
    assert error.retry_after == means.get("retry_after")
    assert "Nothing was bought" in str(error)


@pytest.mark.parametrize(("name", "each"), told("poll"))
async def test_an_answer_to_a_poll_is_read_as_its_recording_says(name: str, each: Recording) -> None:
    means = each.means
    if "missed" in means:
        with pytest.raises(MissedPoll) as caught:
            await polled(name, each)
        assert caught.value.kind.value == means["missed"]
        assert caught.value.retry_after == means.get("retry_after")
        return
    status = await polled(name, each)
    assert status.state == means["state"]
    assert status.fetchable is (status.asset is not None) is means.get("fetchable", False)
    assert means.get("usage", {}).items() <= status.usage.items()
    if status.state == "failed":
        assert status.failure is not None
        assert (status.failure.kind.value, status.failure.code) == (means["class"], means["code"])


@pytest.mark.parametrize("name", CLOUDS)
async def test_messages_carry_the_providers_words_code_request_and_what_to_do(name: str) -> None:
    words = {
        "code": "Arrearage",
        "message": "Access denied, please make sure your account is in good standing.",
        "request_id": "r-42",
    }
    with pytest.raises(Rejected) as caught:
        await ordered(name, Reply(400, words))
    assert str(caught.value) == (
        "Arrearage: Access denied, please make sure your account is in good standing (request r-42). "
        "Nothing was bought. Top up the account or raise its quota, then run again."
    )


async def test_what_a_failed_task_costs_is_said_by_what_the_provider_promises() -> None:
    words = {name: (await polled(name, recording(name, "poll-failed"))).failure for name in CLOUDS}
    said = {name: failure.message for name, failure in words.items() if failure}
    assert "A failed task costs nothing." in said["dashscope"]
    assert "not documented: look at the account" in said["tokenhub"]
    assert "promised nowhere" in said["toapis"]
    assert "The size is not match xxxxxx" in said["dashscope"]


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CLOUDS)
async def test_a_create_is_one_post_of_the_body_to_the_documented_path_with_the_key(name: str) -> None:
    _, asked = await ordered(name, recording(name, "create-accepted"))
    assert (asked.method, asked.path, asked.query) == ("POST", CREATE[name], {})
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    own = {"client_business_id": ATTEMPT} if name == "toapis" else {}
    assert asked.json == body_of(name, seconds=5) | own
    asynchronous = asked.headers.get("X-DashScope-Async")
    assert asynchronous == (None if name == "toapis" else "enable")
    assert "X-DashScope-OssResourceResolve" not in asked.headers


@pytest.mark.parametrize("name", CLOUDS)
async def test_a_poll_asks_once_for_the_task_at_the_documented_path(name: str) -> None:
    async with serving() as server:
        server.plan(recording(name, "poll-running"))
        provider = made(name, server.url)
        await provider.poll(task_of(TASKS[name], MODELS[name]))
        await provider.aclose()
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", POLL[name].format(TASKS[name]))
    assert asked.query == ({"model": "wan2.7-t2v"} if name == "tokenhub" else {})


async def test_tokenhub_asks_with_the_model_that_was_created_whatever_the_guides_sample_does() -> None:
    async with serving() as server:
        server.plan(recording("tokenhub", "poll-running"))
        provider = made("tokenhub", server.url)
        await provider.poll(task_of(TASKS["tokenhub"], "wan2.6-t2v"))
        await provider.aclose()
    assert server.asked[0].query == {"model": "wan2.6-t2v"}


@pytest.mark.parametrize(
    ("model", "path"),
    [("wan2.2-kf2v-flash", "image2video"), ("wanx2.1-kf2v-plus", "image2video"), ("wan2.7-i2v", "video-generation")],
)
async def test_first_and_last_frames_of_the_old_models_go_to_an_endpoint_of_their_own(model: str, path: str) -> None:
    picture = {"text": "https://example.com/a.png", "kind": "image"}
    job = job_of("dashscope", model, "frames", first_frame=picture, last_frame=picture)
    async with serving() as server:
        server.plan(recording("dashscope", "create-accepted"))
        provider = made("dashscope", server.url)
        await provider.submit(provider.request(job, {}), ATTEMPT)
        await provider.aclose()
    assert server.asked[0].path == f"/api/v1/services/aigc/{path}/video-synthesis"


async def test_an_uploaded_file_needs_a_header_on_the_create() -> None:
    body = body_of("dashscope") | {"input": {"prompt": "x", "audio_url": "oss://dir/vo.mp3"}}
    async with serving() as server:
        server.plan(recording("dashscope", "create-accepted"))
        provider = made("dashscope", server.url)
        await provider.submit(body, ATTEMPT)
        await provider.aclose()
    assert server.asked[0].headers["X-DashScope-OssResourceResolve"] == "enable"


@pytest.mark.parametrize("name", CLOUDS)
async def test_a_body_with_a_file_that_has_no_url_is_not_sent(name: str) -> None:
    async with serving() as server:
        provider = made(name, server.url)
        with pytest.raises(NotSent, match=r"refs/desk\.png has not been uploaded; nothing was sent"):
            await provider.submit({"model": MODELS[name], "input": {"img_url": "upload:refs/desk.png"}}, ATTEMPT)
        await provider.aclose()
    assert server.asked == []


@pytest.mark.parametrize("name", CLOUDS)
async def test_a_base_url_may_have_a_path_and_a_version_at_its_end(name: str) -> None:
    async with serving() as server:
        server.plan(recording(name, "create-accepted"))
        version = "/api/v1" if name == "dashscope" else "/v1"
        provider = made(name, f"{server.url}/proxy{version}/")
        await provider.submit(body_of(name), ATTEMPT)
        await provider.aclose()
    assert server.asked[0].path == "/proxy" + CREATE[name]


# ── fetching ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", CLOUDS)
async def test_a_clip_is_fetched_without_the_key(name: str, tmp_path: Any) -> None:
    part = tmp_path / "clip.part"
    async with serving() as server:
        server.plan(Reply(200, b"the clip"))
        provider = made(name, server.url)
        status = TaskStatus("succeeded", "SUCCEEDED", fetchable=True, asset=f"{server.url}/clip.mp4?sig=1")
        await provider.fetch(task_of("t", MODELS[name]), status, part)
        with pytest.raises(NotFound):
            await provider.fetch(task_of("t", MODELS[name]), TaskStatus("succeeded", "SUCCEEDED"), part)
        await provider.aclose()
    assert part.read_bytes() == b"the clip"
    assert KEY not in json.dumps(server.asked[0].headers)


def test_reading_an_answer_is_pure_and_needs_no_connection() -> None:
    provider = made("dashscope", "http://127.0.0.1:9")
    answer = Answer(200, recording("dashscope", "create-accepted").text)
    assert provider.read(answer) == provider.read(answer)


def test_cards_are_readable_from_the_provider() -> None:
    for name in CLOUDS:
        assert made(name, "http://127.0.0.1:9").cards == cards.load(name)


async def test_the_server_of_these_tests_fails_what_nobody_planned_and_what_nobody_came_for() -> None:
    with pytest.raises(AssertionError, match="nobody planned"):
        await polled("dashscope")
    with pytest.raises(AssertionError, match="nobody came for 1"):
        await polled("dashscope", recording("dashscope", "poll-running"), recording("dashscope", "poll-running"))
