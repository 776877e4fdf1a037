"""What only some clouds can do: look for a task whose answer was lost, cancel one."""

from __future__ import annotations

from typing import Any

import pytest

from storyrun.errors import MissedPoll
from storyrun.records import Accepted
from tests.clouds import ATTEMPT, TASKS, Asked, Reply, Server, recording, talk, task_of

PROMPT = "A kitten running in the moonlight"
SENT = "2026-11-20T10:00:00Z"
SENT_MS = 1795168800000


# ── a lost answer at ToAPIs ──────────────────────────────────────────────────────────────────────────────────────────


async def found_at_toapis(*replies: Any) -> tuple[Any, Asked]:
    async def act(provider: Any, server: Server) -> Any:
        server.plan(*replies)
        return await provider.find(task_of("", "wan2.6"), frozenset()), server.asked[0]

    answer: tuple[Any, Asked] = await talk("toapis", act)
    return answer


async def test_toapis_finds_a_task_by_the_id_that_we_gave_it() -> None:
    body = {"id": TASKS["toapis"], "status": "in_progress", "model": "wan2.6", "client_business_id": ATTEMPT}
    accepted, asked = await found_at_toapis(Reply(200, body))
    assert accepted.task_id == TASKS["toapis"]
    assert (asked.method, asked.path) == ("GET", f"/v1/videos/generations/{ATTEMPT}")


@pytest.mark.parametrize(
    "reply",
    [
        recording("toapis", "poll-missing"),
        recording("toapis", "poll-missing-400"),
        Reply(200, {"id": "video_1", "status": "queued", "client_business_id": "somebody-elses"}),
        Reply(200, {"id": "video_1", "status": "queued", "model": "another-model"}),
        Reply(200, {"id": "not/an/id", "status": "queued"}),
    ],
    ids=["404", "400", "another order", "another model", "no id"],
)
async def test_toapis_adopts_nothing_that_is_not_ours(reply: Any) -> None:
    assert (await found_at_toapis(reply))[0] is None


@pytest.mark.parametrize(
    "reply", [Reply(500, ""), Reply(200, "<html>"), Reply(404, "<html>"), Reply(401, {"error": {}})]
)
async def test_toapis_that_does_not_say_is_no_answer(reply: Reply) -> None:
    with pytest.raises(MissedPoll):
        await found_at_toapis(reply)


async def test_tokenhub_cannot_look_and_asks_nothing() -> None:
    assert (
        await talk("tokenhub", lambda provider, _: provider.find(task_of("", "wan2.7-t2v", sent_at=SENT), frozenset()))
        is None
    )


# ── a lost answer at DashScope ───────────────────────────────────────────────────────────────────────────────────────


def row(task_id: str, after: float = 1.0, model: str = "wan2.6-t2v", status: str = "SUCCEEDED") -> dict[str, Any]:
    return {"task_id": task_id, "gmt_create": SENT_MS + int(after * 1000), "model_name": model, "status": status}


def listed(*rows: Any, pages: int = 1, page: int = 1) -> Reply:
    return Reply(200, {"total": len(rows), "data": list(rows), "total_page": pages, "page_no": page, "page_size": 100})


def asked_for(prompt: str | None, status: str = "SUCCEEDED") -> Reply:
    output = {"task_status": status} | ({} if prompt is None else {"orig_prompt": prompt})
    return Reply(200, {"request_id": "r", "output": output})


async def found_at_dashscope(*replies: Reply, sent_at: str = SENT, owned: frozenset[str] = frozenset()) -> Any:
    async def act(provider: Any, server: Server) -> Any:
        server.plan(*replies)
        found = await provider.find(task_of("", "wan2.6-t2v", sent_at=sent_at, prompt=PROMPT), owned)
        assert {asked.method for asked in server.asked} <= {"GET"}
        return found

    return await talk("dashscope", act)


async def test_dashscope_finds_the_one_task_of_that_model_that_time_and_exactly_that_prompt() -> None:
    async def act(provider: Any, server: Server) -> Any:
        server.plan(listed(row("t-1"), row("t-2")), asked_for("another"), asked_for(PROMPT))
        return await provider.find(task_of("", "wan2.6-t2v", sent_at=SENT, prompt=PROMPT), frozenset()), server.asked

    accepted, asked = await talk("dashscope", act)
    assert accepted == Accepted("t-2")
    assert [each.path for each in asked] == ["/api/v1/tasks", "/api/v1/tasks/t-1", "/api/v1/tasks/t-2"]
    assert asked[0].query == {"model_name": "wan2.6-t2v", "page_no": "1", "page_size": "100"}


async def test_only_what_was_made_about_then_and_by_that_model_is_asked_for_its_prompt() -> None:
    far = [row("early", -700), row("late", 1000), row("other", 1, "wan2.7-t2v"), {"task_id": "x"}, "nonsense", None]
    far += [row("huge") | {"gmt_create": 10**400}, row("text") | {"gmt_create": "now"}, row("a/b")]
    assert await found_at_dashscope(listed(*far, row("t-1", -500)), asked_for(PROMPT)) == Accepted("t-1")


@pytest.mark.parametrize(
    "replies",
    [
        [listed()],
        [listed(row("t-1")), asked_for("another")],
        [listed(row("t-1"), row("t-2")), asked_for(PROMPT), asked_for(PROMPT)],
        [listed(row("t-1"), row("t-2")), asked_for(PROMPT), asked_for(None, "RUNNING")],
        [listed(*(row(f"t-{n}") for n in range(41)))],
    ],
    ids=["none", "another prompt", "two", "one more that does not say yet", "too many"],
)
async def test_dashscope_adopts_nothing_when_it_could_be_another(replies: list[Reply]) -> None:
    assert await found_at_dashscope(*replies) is None


async def test_the_tasks_that_could_be_it_are_named_for_a_person_and_nobody_else_s() -> None:
    async def act(provider: Any, server: Server) -> Any:
        server.plan(listed(*(row(f"t-{n}") for n in range(4))))
        server.plan(asked_for(PROMPT), asked_for("another"), asked_for(PROMPT), asked_for(None, "RUNNING"))
        return await provider.find(task_of("", "wan2.6-t2v", sent_at=SENT, prompt=PROMPT), frozenset({"t-0"}))

    warned: list[str] = []
    assert await talk("dashscope", act, warned) is None
    assert warned == [f"{ATTEMPT}, sent {SENT}, could be task t-2, t-3; none was adopted"]


async def test_a_task_that_belongs_to_another_order_is_no_match() -> None:
    replies = [listed(row("mine"), row("takes")), asked_for(PROMPT), asked_for(PROMPT)]
    assert await found_at_dashscope(*replies, owned=frozenset({"takes"})) == Accepted("mine")


async def test_without_the_time_of_the_order_nothing_is_asked_and_nothing_adopted() -> None:
    assert await found_at_dashscope(sent_at="") is None


async def test_a_time_without_a_zone_is_in_utc() -> None:
    assert await found_at_dashscope(listed(row("t")), asked_for(PROMPT), sent_at="2026-11-20 10:00:00") == Accepted("t")


async def test_all_pages_are_looked_through_but_not_for_ever() -> None:
    assert await found_at_dashscope(listed(row("x", 9999), pages=2), listed(row("t"), pages=2), asked_for(PROMPT)) == (
        Accepted("t")
    )
    with pytest.raises(MissedPoll, match="too many to look through"):
        await found_at_dashscope(*[listed(row("x", 9999), pages=9)] * 5)


async def test_the_documented_list_is_read() -> None:
    async def act(provider: Any, server: Server) -> Any:
        server.plan(recording("dashscope", "list"), asked_for(None, "RUNNING"))
        return await provider.candidates(task_of("", "wanx2.1-kf2v-plus", sent_at="2025-04-25T08:07:00Z"))

    (candidate,) = await talk("dashscope", act)
    assert (candidate.task_id, candidate.status, candidate.prompt) == (
        "50e2ccea-abc4-43d7-a0dc-000000000001",
        "RUNNING",
        None,
    )


@pytest.mark.parametrize("reply", [Reply(500, ""), Reply(200, {"data": None}), Reply(200, "<html>"), Reply(429, {})])
async def test_a_list_that_is_none_is_no_answer(reply: Reply) -> None:
    with pytest.raises(MissedPoll):
        await found_at_dashscope(reply)


# ── cancelling ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def cancelled(reply: Any) -> tuple[bool, Asked]:
    async def act(provider: Any, server: Server) -> Any:
        server.plan(reply)
        return await provider.cancel(task_of("t-1", "wan2.6-t2v")), server.asked[0]

    answer: tuple[bool, Asked] = await talk("dashscope", act)
    return answer


async def test_a_pending_task_is_cancelled_and_one_that_runs_is_not() -> None:
    done, asked = await cancelled(recording("dashscope", "cancel-done"))
    assert done
    assert (asked.method, asked.path) == ("POST", "/api/v1/tasks/t-1/cancel")
    assert (await cancelled(recording("dashscope", "cancel-too-late")))[0] is False
    with pytest.raises(MissedPoll):
        await cancelled(Reply(500, ""))
