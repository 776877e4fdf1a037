"""What goes wrong between us and the clouds, fault by fault. What may have been bought is never called refused."""

from __future__ import annotations

from typing import Any

import pytest

from storyrun.errors import LostAnswer, MissedPoll, NotSent, Rejected
from storyrun.records import ErrorClass
from tests.clouds import (
    ATTEMPT,
    CLOUDS,
    KEY,
    MODELS,
    TASKS,
    Reply,
    body_of,
    made,
    ordered,
    polled,
    recording,
    serving,
    task_of,
)

NEITHER = [
    Reply(200, "<html>Welcome to the hotel</html>"),
    Reply(200, ""),
    Reply(200, "[]"),
    Reply(200, "null"),
    Reply(200, {}),
    Reply(200, {"output": {"task_status": "PENDING"}, "request_id": "r"}),
    Reply(200, {"output": None, "request_id": "r"}),
    Reply(200, {"code": "Brand.New", "message": "never seen", "request_id": "r"}),
    Reply(200, {"output": {"task_id": 12345, "task_status": "PENDING"}}),
    *(Reply(200, {"output": {"task_id": bad}}) for bad in ("a/b", "..", "a\nb", "x" * 201, "-x", " ", {"id": 1})),
    Reply(200, {"id": "https://evil.example/x", "status": "queued"}),
    Reply(202, {"status": "queued"}),
    Reply(400, {"output": {"task_id": "t-1"}, "code": "InvalidParameter"}),
    Reply(400, {"error": {"code": "InvalidParameter", "about": {"task_id": "t-1"}}}),
    Reply(429, [{"task_id": "t-1"}, {"task_id": "t-2"}]),
    Reply(400, '{"code": "InvalidParameter", "output": {"task_id": "t-1"'),
    Reply(400, {"code": "InternalError", "message": "broken"}),
    *(Reply(status, {"code": "InvalidParameter", "message": "x"}) for status in (408, 409, 425, 500, 502, 503, 504)),
    Reply(502, "<html>Bad gateway</html>"),
    Reply(reset=True),
]


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(
    "reply", NEITHER, ids=lambda reply: "reset" if reply.reset else f"{reply.status}-{reply.body}"[:60]
)
async def test_what_is_neither_a_task_nor_a_proven_refusal_may_have_been_bought(name: str, reply: Reply) -> None:
    with pytest.raises(LostAnswer):
        await ordered(name, reply)


@pytest.mark.parametrize("name", CLOUDS)
async def test_nothing_is_sent_where_nobody_listens(name: str) -> None:
    async with serving() as server:
        closed = server.url
    provider = made(name, closed)
    with pytest.raises(NotSent):
        await provider.submit(body_of(name), ATTEMPT)
    with pytest.raises(MissedPoll):
        await provider.poll(task_of(TASKS[name], MODELS[name]))
    await provider.aclose()


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_refusal_that_shows_where_it_leads(name: str, status: int) -> None:
    target = "https://elsewhere.example/v2/create?token=secret"
    with pytest.raises(Rejected) as caught:
        await ordered(name, Reply(status, "", {"Location": target}))
    assert "redirects to https://elsewhere.example/v2/create?..." in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.kind is ErrorClass.PROVIDER, "a base URL is mended, the text need not change"


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("status", [404, 405])
async def test_an_address_that_is_not_there_is_no_fault_of_the_clip(name: str, status: int) -> None:
    with pytest.raises(Rejected) as caught:
        await ordered(name, Reply(status, "<html>nothing here</html>"))
    assert caught.value.kind is ErrorClass.PROVIDER
    assert "Is http://127.0.0.1:" in str(caught.value)


MISSED = [
    Reply(200, "<html>Welcome to the hotel</html>"),
    Reply(200, "[1]"),
    Reply(200, {}),
    Reply(200, {"request_id": "r", "output": {"task_id": "x", "task_status": None}}),
    Reply(500, {"output": {"task_status": "FAILED"}}),
    Reply(502, "<html>Bad gateway</html>"),
    Reply(404, "<html>Not found</html>"),
    Reply(302, "", {"Location": "https://elsewhere.example/"}),
    Reply(403, {"code": "AccessDenied", "message": "no"}),
]


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(
    "reply", MISSED, ids=lambda reply: "reset" if reply.reset else f"{reply.status}-{reply.body}"[:60]
)
async def test_what_is_no_usable_answer_to_a_poll_says_nothing_about_the_clip(name: str, reply: Reply) -> None:
    with pytest.raises(MissedPoll):
        await polled(name, reply)


@pytest.mark.parametrize("name", CLOUDS)
async def test_a_reset_instead_of_an_answer_says_nothing_about_the_clip(name: str) -> None:
    async with serving() as server:
        server.otherwise = Reply(reset=True)  # however often: aiohttp itself asks again after the first
        provider = made(name, server.url)
        with pytest.raises(MissedPoll):
            await provider.poll(task_of(TASKS[name], MODELS[name]))
        await provider.aclose()


@pytest.mark.parametrize("name", CLOUDS)
async def test_an_answer_that_speaks_of_another_task_is_not_used(name: str) -> None:
    with pytest.raises(MissedPoll, match=rf"names task {TASKS[name]} where another-task was asked for"):
        await polled(name, recording(name, "poll-running"), task_id="another-task")


async def test_an_answer_that_names_our_own_id_is_ours_whatever_the_tasks_is_called() -> None:
    body = {"id": "video_resource_1", "status": "in_progress", "client_business_id": ATTEMPT}
    assert (await polled("toapis", Reply(200, body))).state == "running"
    with pytest.raises(MissedPoll):
        await polled("toapis", Reply(200, body | {"client_business_id": "somebody-elses"}))


@pytest.mark.parametrize("word", ["running", "RUNNING", "In Progress", "in-progress", "processing", "whatever", "5"])
@pytest.mark.parametrize("name", CLOUDS)
async def test_a_word_that_nobody_knows_means_still_running_and_is_kept(name: str, word: str) -> None:
    status = await polled(name, Reply(200, {"id": TASKS[name], "status": word}))
    assert (status.state, status.raw) == ("running", word)


@pytest.mark.parametrize(
    "url", ["", None, "oss://bucket/clip.mp4", "file:///etc/passwd", 5, ["https://x.example/a.mp4"], {"url": "x"}]
)
async def test_a_success_without_a_url_that_can_be_fetched_is_not_fetchable(url: Any) -> None:
    body = {"output": {"task_id": TASKS["dashscope"], "task_status": "SUCCEEDED", "video_url": url}}
    status = await polled("dashscope", Reply(200, body))
    assert (status.state, status.fetchable, status.asset) == ("succeeded", False, None)


@pytest.mark.parametrize("name", CLOUDS)
async def test_neither_the_key_nor_a_signed_url_is_ever_in_a_message(name: str) -> None:
    echo = f"bad key {KEY}; see https://cdn.example/clip.mp4?Signature=canary-signature and more"
    for reply in (Reply(400, {"code": "InvalidParameter", "message": echo}), Reply(500, {"error": {"message": echo}})):
        with pytest.raises((Rejected, LostAnswer)) as caught:
            await ordered(name, reply)
        assert "canary" not in str(caught.value) + repr(caught.value) + caught.value.raw
    with pytest.raises(MissedPoll) as missed:
        await polled(name, Reply(500, {"code": "InternalError", "message": echo}))
    failed = await polled(name, Reply(200, {"id": TASKS[name], "status": "failed", "error": {"message": echo}}))
    done = await polled(name, recording(name, "poll-succeeded"))
    assert done.asset is not None
    assert "secret" in done.asset
    assert "canary" not in f"{missed.value}{failed}"
    assert "secret" not in repr(done)


@pytest.mark.parametrize("name", CLOUDS)
async def test_somebody_elses_words_are_cut_and_kept_on_one_line(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        await ordered(name, Reply(400, {"code": "InvalidParameter", "message": "no\n" * 4000}))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", CLOUDS)
async def test_somebody_elses_words_cannot_command_a_terminal_and_a_code_cannot_carry_the_key(name: str) -> None:
    with pytest.raises(Rejected) as caught:
        await ordered(name, Reply(400, {"code": f"InvalidParameter.{KEY}", "message": "a \x1b[2J \x07 b\u202e"}))
    assert "a [2J b" in str(caught.value)
    assert str(caught.value).isprintable()
    assert KEY not in str(caught.value) + caught.value.code
    odd = await polled(name, Reply(200, {"id": TASKS[name], "status": "\x1b[31m" + "x" * 500}))
    assert odd.state == "running"
    assert odd.raw.isprintable()
    assert len(odd.raw) <= 100
