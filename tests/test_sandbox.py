"""The sandbox as a customer sees it: the three services from order to clip, the bill, the limits, the verb."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from storyrun import media
from storyrun.errors import UsageError
from storyrun.sandbox import KEY, PROVIDERS, Sandbox
from tests.customer import POLL, SMALL, Customer, Hands, stage_of, task_of, trade, url_of

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.records import MediaInfo

WORDS = {
    "tokenhub": ["PENDING", "RUNNING", "SUCCEEDED"],
    "dashscope": ["PENDING", "RUNNING", "SUCCEEDED"],
    "toapis": ["queued", "in_progress", "completed"],
}


def probed(data: bytes, folder: Path) -> MediaInfo:
    file = folder / "clip.mp4"
    file.write_bytes(data)
    return media.probe(file)


def there(path: Path) -> bool:
    return path.exists()


# ── from order to clip ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_task_waits_runs_and_ends_in_a_clip_as_ordered(provider: str, tmp_path: Path) -> None:
    clock = Hands()
    async with trade(provider, clock=clock, latency=10.0) as customer:
        created = await customer.create()
        words = [stage_of(await customer.poll(created))]
        clock.move(5)
        words.append(stage_of(await customer.poll(created)))
        assert url_of(await customer.poll(created)) is None
        clock.move(5)
        done = await customer.poll(created)
        clip = await customer.ask("GET", url_of(done) or "")
    assert [*words, stage_of(done)] == WORDS[provider]
    info = probed(clip.body, tmp_path)
    assert (float(info.duration), info.width, info.height, float(info.fps)) == (2.0, 832, 480, 30.0)
    assert info.audio_codec == "aac"
    assert (customer.sandbox.counts["create"], customer.sandbox.counts["download"]) == (1, 1)


async def test_dashscope_answers_in_its_documented_shape() -> None:
    async with trade("dashscope") as customer:
        created = await customer.create()
        done = await customer.poll(created)
        asked = await customer.poll("never-heard-of")
    assert created.json.keys() == {"request_id", "output"}
    assert created.json["output"] == {"task_id": task_of(created), "task_status": "PENDING"}
    output = done.json["output"]
    assert output.keys() == {
        *("task_id", "task_status", "submit_time", "scheduled_time", "end_time", "orig_prompt", "video_url")
    }
    assert output["orig_prompt"] == SMALL["dashscope"]["input"]["prompt"]
    assert done.json["usage"] == {
        "duration": 2.0,
        "input_video_duration": 0,
        "output_video_duration": 2,
        "video_count": 1,
        "SR": 480,
        "ratio": "16:9",
    }
    assert (asked.status, asked.json["output"]) == (200, {"task_id": "never-heard-of", "task_status": "UNKNOWN"})


async def test_toapis_knows_a_task_by_the_callers_own_id_too() -> None:
    body = SMALL["toapis"] | {"client_business_id": "attempt-7"}
    async with trade("toapis") as customer:
        created = await customer.create(body)
        done = await customer.poll("attempt-7")
        unknown = await customer.poll("attempt-8")
    assert created.json["object"] == "generation.task"
    assert created.json["status"] == "queued"
    assert (done.json["id"], done.json["client_business_id"]) == (task_of(created), "attempt-7")
    assert done.json["result"]["type"] == "video"
    assert done.json["expires_at"] - done.json["completed_at"] == 86400
    assert (unknown.status, unknown.json["error"]["type"]) == (404, "not_found_error")


async def test_toapis_books_the_same_business_id_twice_because_no_page_promises_otherwise() -> None:
    body = SMALL["toapis"] | {"client_business_id": "attempt-7"}
    async with trade("toapis") as customer:
        await customer.create(body)
        await customer.create(body)
        assert [line["business_id"] for line in customer.sandbox.log.booked] == ["attempt-7", "attempt-7"]


async def test_toapis_tells_what_is_left_of_the_money() -> None:
    body = {"model": "wan2.6-flash", "prompt": "A cat", "image_urls": ["https://example.com/a.png"], "duration": 5}
    async with trade("toapis") as customer:
        before = (await customer.ask("GET", "/v1/balance")).json
        await customer.create(body)
        after = (await customer.ask("GET", "/balance")).json
    assert (before["remain_balance"], before["used_balance"], before["unlimited_quota"]) == (1000, 0, False)
    assert before["remain_balance"] - after["remain_balance"] == after["used_balance"] > 0


async def test_tokenhub_wants_the_model_of_the_create_in_the_poll() -> None:
    async with trade("tokenhub") as customer:
        created = await customer.create()
        path = POLL["tokenhub"].format(id=task_of(created), model="wan2.6-t2v")
        wrong = await customer.ask("GET", path)
        none = await customer.ask("GET", path.partition("?")[0])
        assert (await customer.poll(created)).status == 200
    assert (wrong.status, wrong.json["code"], none.status) == (400, "InvalidParameter", 400)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("key", ["", "sk-real-looking", "Bearer sandbox-key"])
async def test_a_key_that_is_not_the_sandboxs_is_refused_everywhere(provider: str, key: str) -> None:
    async with trade(provider, key=key) as customer:
        created, polled = await customer.create(), await customer.poll("x")
        assert customer.sandbox.log.lines == []
    assert (created.status, polled.status) == (401, 401)


async def test_accounts_do_not_see_each_others_tasks() -> None:
    async with trade("dashscope") as one:
        other = Customer(one.sandbox, "dashscope", one.session, "sandbox-other")
        created = await one.create()
        assert stage_of(await other.poll(created)) == "UNKNOWN"
        assert (await other.ask("GET", "/api/v1/tasks")).json["total"] == 0
        assert [line["account"] for line in one.sandbox.log.booked] == ["key"]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_task_is_forgotten_a_day_after_it_ended(provider: str) -> None:
    clock = Hands()
    async with trade(provider, clock=clock) as customer:
        created = await customer.create()
        clock.move(24 * 3600 - 1)
        assert stage_of(await customer.poll(created)) == WORDS[provider][2]
        clock.move(1)
        gone = await customer.poll(created)
    assert gone.status == 404 if provider == "toapis" else stage_of(gone) == "UNKNOWN"


async def test_no_two_sandboxes_give_the_same_task_id_although_their_seed_is_the_same() -> None:
    clock = Hands()
    async with trade("dashscope", clock=clock) as one:
        first = task_of(await one.create())
    clock.move(60)
    async with trade("dashscope", clock=clock) as two:
        assert task_of(await two.create()) != first


# ── list and cancel ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_dashscope_lists_tasks_by_time_model_and_status() -> None:
    clock = Hands()  # 09:00 UTC, 17:00 in Beijing

    async def listed(**query: Any) -> list[str]:
        said = await customer.ask("GET", "/api/v1/tasks/", params=query)
        assert said.json.keys() == {"total", "data", "total_page", "page_no", "page_size", "request_id"}
        return [row["task_id"] for row in said.json["data"]]

    async with trade("dashscope", clock=clock, latency=100.0) as customer:
        first = task_of(await customer.create())
        clock.move(60)
        second = task_of(await customer.create())
        clock.move(45)
        assert await listed() == [second, first]
        assert await listed(status="SUCCEEDED") == [first]
        assert await listed(model_name="wan2.7-t2v") == []
        assert await listed(start_time="20261120170030", end_time="20261120180000") == [second]
        assert await listed(page_no=2, page_size=1) == [first]
        row = (await customer.ask("GET", "/api/v1/tasks")).json["data"][1]
        bad = await customer.ask("GET", "/api/v1/tasks", params={"start_time": "2026-11-20"})
    assert (row["status"], row["model_name"]) == ("SUCCEEDED", "wan3.0-video")
    assert row["end_time"] - row["gmt_create"] == 100_000
    assert bad.status == 400


async def test_dashscope_cancels_what_still_waits_and_nothing_else() -> None:
    clock = Hands()
    async with trade("dashscope", clock=clock, latency=100.0) as customer:
        waiting, running = task_of(await customer.create()), ""
        assert (await customer.ask("POST", f"/api/v1/tasks/{waiting}/cancel")).status == 200
        assert stage_of(await customer.poll(waiting)) == "CANCELED"
        running = task_of(await customer.create())
        clock.move(50)
        refused = await customer.ask("POST", f"/api/v1/tasks/{running}/cancel")
        assert [line["event"] for line in customer.sandbox.log.lines] == ["booked", "cancelled", "booked"]
    assert (refused.status, refused.json["code"]) == (400, "UnsupportedOperation")


# ── the bill ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_bill_is_in_the_file_before_the_answer_is_on_its_way(tmp_path: Path) -> None:
    """Seen from inside the answer that never comes: the create hangs in `slow-answer`, and is on the bill."""
    log = tmp_path / "sub" / "bill.jsonl"
    asleep, go_on = asyncio.Event(), asyncio.Event()

    class Waits(Hands):
        async def sleep(self, seconds: float) -> None:
            asleep.set()
            await go_on.wait()

    async with trade("dashscope", log=log, clock=Waits(), faults={"slow-answer": 1}) as customer:
        create = asyncio.create_task(customer.create())
        await asleep.wait()
        (line,) = [json.loads(text) for text in log.read_text().splitlines()]
        assert not create.done()
        go_on.set()
        assert line["task_id"] == task_of(await create)
    assert (line["event"], line["model"], line["seconds"], line["size"]) == ("booked", "wan3.0-video", 2, "832x480")
    assert line["request"] == SMALL["dashscope"]
    assert line["cost"] == "0.10 USD"
    assert line["at"] == "2026-11-20T09:00:00Z"


async def test_the_bill_is_appended_to_and_holds_nothing_refused_and_no_key(tmp_path: Path) -> None:
    log = tmp_path / "bill.jsonl"
    for _ in range(2):
        async with trade("dashscope", log=log) as customer:
            await customer.create()
            await customer.create({"model": "wan2.7-t2v", "input": {}})
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["booked", "booked"]
    assert KEY not in log.read_text()


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_more_running_tasks_than_allowed_are_refused_until_one_ends(provider: str) -> None:
    clock = Hands()
    async with trade(provider, clock=clock, latency=10.0, concurrency_limit=2) as customer:
        other = Customer(customer.sandbox, provider, customer.session, "sandbox-other")
        statuses = [(await customer.create()).status for _ in range(2)]
        third = await customer.create()
        assert (await other.create()).status == 200
        clock.move(10)
        assert (await customer.create()).status == 200
        assert len(customer.sandbox.log.booked) == 4
    assert (statuses, third.status, third.headers["Retry-After"]) == ([200, 200], 429, "2")


async def test_more_polls_a_second_than_allowed_are_refused() -> None:
    clock = Hands()
    async with trade("dashscope", clock=clock, poll_limit=3) as customer:
        created = await customer.create()
        assert [(await customer.poll(created)).status for _ in range(5)] == [200, 200, 200, 429, 429]
        clock.move(1)
        assert (await customer.poll(created)).status == 200


async def test_tasks_take_between_the_two_latencies_and_the_same_again_with_the_same_seed() -> None:
    async def taken(seed: int) -> list[float]:
        async with trade("dashscope", clock=Hands(), latency=(2.0, 9.0), seed=seed) as customer:
            for _ in range(8):
                await customer.create()
            return [task.takes.total_seconds() for task in customer.sandbox.desk.tasks]

    first = await taken(1)
    assert all(2 <= seconds <= 9 for seconds in first)
    assert len(set(first)) == 8
    assert await taken(1) == first != await taken(2)


# ── starting it ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"drop-anwser": 1}, "there is no fault `drop-anwser`"),
        ({"429": "often"}, "`often` is no chance"),
        ({"429": 1.5}, "`1.5` is no chance"),
        ({"429": "-1"}, "`-1` is no chance"),
        ({"429": "x"}, "`x` is no chance"),
    ],
)
def test_a_fault_or_chance_that_does_not_exist_is_refused(faults: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Sandbox(faults=faults)


async def test_a_sandbox_says_what_to_export_and_leaves_nothing_behind() -> None:
    async with Sandbox() as sandbox:
        port, bill = sandbox.port, sandbox.log.path
        assert sandbox.environment["TOKENHUB_BASE_URL"] == f"http://127.0.0.1:{port}/tokenhub"
        assert sandbox.environment["DASHSCOPE_API_KEY"] == KEY
        assert len(sandbox.environment) == 6
    assert not there(bill.parent)
    with pytest.raises(OSError, match=str(port)):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_an_error_and_nothing_is_left_open() -> None:
    async with Sandbox() as sandbox:
        with pytest.raises(OSError, match="address already in use"):
            async with Sandbox(port=sandbox.port):
                pass


def run(*arguments: str) -> subprocess.Popen[str]:
    """`storyrun sandbox` in a process of its own."""
    code = "import sys; from storyrun.cli.sandbox import command; command.main(sys.argv[1:], 'storyrun sandbox')"
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=pipe, stderr=pipe, text=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_verb_prints_the_exports_serves_and_ends_cleanly(end: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "bill.jsonl"
    with run("--latency", "0", "--fault", "429=1x", "--log", str(log)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(6)]
        exported = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        statuses = asyncio.run(_order_twice(exported["TOAPIS_BASE_URL"], exported["TOAPIS_API_KEY"]))
        process.send_signal(end)
        rest, told = process.communicate(timeout=10)
    assert statuses == [429, 200]
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in told
    assert told.splitlines()[-1] == "1 clip was ordered"
    assert len(log.read_text().splitlines()) == 1


async def _order_twice(base: str, key: str) -> list[int]:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        return [(await session.post(f"{base}/v1/videos/generations", json=SMALL["toapis"])).status for _ in range(2)]
