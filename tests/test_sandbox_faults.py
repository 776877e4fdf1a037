"""Every fault of the sandbox does what its line says, and only as often as its chance says."""

from __future__ import annotations

import gzip
import json
from email.utils import parsedate_to_datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from storyrun import measure, media
from storyrun.errors import FetchFailed
from storyrun.http import DownloadClient
from storyrun.sandbox import FAULTS, PROVIDERS
from storyrun.sandbox.chances import Chances
from storyrun.sandbox.faults import bomb
from tests.customer import SMALL, Customer, Hands, Said, stage_of, task_of, trade, url_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storyrun.measure import Measured
    from storyrun.records import MediaInfo


def probed(data: bytes, folder: Path) -> MediaInfo:
    file = folder / "clip.mp4"
    file.write_bytes(data)
    return media.probe(file)


def size(file: Path) -> int:
    return file.stat().st_size


def code_of(said: Said) -> str:
    """The provider's own word for an error."""
    return str(said.json["error"]["type"] if "error" in said.json else said.json["code"])


TRIED: set[str] = set()
"""Faults that a test of this file is about."""


def tries(*rows: Any) -> list[Any]:
    """The rows of a table of tests, each a fault or a tuple that begins with one."""
    TRIED.update(row[0] if isinstance(row, tuple) else row for row in rows)
    return list(rows)


# ── creates that are not booked ──────────────────────────────────────────────────────────────────────────────────────

REFUSED = {
    "429": ((429, "Throttling.RateQuota"), (429, "rate_limit_error")),
    "429-date": ((429, "Throttling.RateQuota"), (429, "rate_limit_error")),
    "bad-key": ((401, "InvalidApiKey"), (401, "authentication_error")),
    "no-balance": ((400, "Arrearage"), (402, "insufficient_quota")),
    "moderation": ((400, "DataInspectionFailed"), (422, "content_policy_violation")),
    "invalid": ((400, "InvalidParameter"), (400, "invalid_request")),
    "echo": ((400, "InvalidParameter"), (400, "invalid_request")),
    "create-500-unbooked": ((500, "InternalError"), (500, "internal_error")),
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", tries(*REFUSED))
async def test_a_refused_create_says_so_in_the_providers_words_and_is_not_booked(fault: str, provider: str) -> None:
    async with trade(provider, faults={fault: "1x"}) as customer:
        refused = await customer.create()
        assert customer.sandbox.log.lines == []
        assert (await customer.create()).status == 200
        assert len(customer.sandbox.log.booked) == 1
    assert (refused.status, code_of(refused)) == REFUSED[fault][provider == "toapis"]


async def test_a_429_says_when_to_come_back_in_seconds_or_as_a_date() -> None:
    clock = Hands()
    async with trade("dashscope", clock=clock, faults={"429": "1x", "429-date": "1x"}) as customer:
        first, second = await customer.create(), await customer.create()
    assert first.headers["Retry-After"] == "2"
    assert (parsedate_to_datetime(second.headers["Retry-After"]) - clock.moment).total_seconds() == 2


async def test_an_echo_repeats_the_key_and_a_signed_url() -> None:
    async with trade("dashscope", faults={"echo": 1}) as customer:
        said = (await customer.create()).json["message"]
    assert ("sandbox-key" in said, "Signature=" in said) == (True, True)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", tries("create-307"))
async def test_a_redirected_create_is_booked_by_those_who_follow(provider: str, fault: str) -> None:
    async with trade(provider, faults={fault: "1x"}) as customer:
        said = await customer.create()
        assert (said.status, customer.sandbox.log.booked) == (307, [])
        headers = customer.key | {"X-DashScope-Async": "enable"}
        url = customer.sandbox.origin + said.headers["Location"]
        followed = await customer.session.post(url, json=SMALL[provider], headers=headers)
        assert (followed.status, len(customer.sandbox.log.booked)) == (200, 1)


# ── creates without a usable answer ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "booked"),
    tries(("drop-answer", 1), ("reset-after-read", 1), ("cut-answer", 1), ("reset-unbooked", 0)),
)
async def test_a_create_without_an_answer_is_on_the_bill_if_it_was_booked(
    fault: str, provider: str, booked: int
) -> None:
    async with trade(provider, faults={fault: "1x"}) as customer:
        with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)):
            await customer.create()
        assert len(customer.sandbox.log.booked) == booked
        assert stage_of(await customer.poll(await customer.create())) in ("SUCCEEDED", "completed")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", tries("create-500-booked", "html-200", "no-id"))
async def test_a_booked_create_may_have_a_useless_answer(fault: str, provider: str) -> None:
    async with trade(provider, faults={fault: 1}) as customer:
        said = await customer.create()
        (line,) = customer.sandbox.log.booked
        assert stage_of(await customer.poll(line["task_id"])) in ("SUCCEEDED", "completed")
    assert said.status == (500 if fault == "create-500-booked" else 200)
    assert line["task_id"].encode() not in said.body
    assert (said.json is None) == (fault == "html-200")


@pytest.mark.parametrize("fault", tries("slow-answer"))
async def test_a_slow_answer_comes_after_its_seconds(fault: str) -> None:
    clock = Hands()
    async with trade("toapis", clock=clock, slow=130.0, faults={fault: 1}) as customer:
        begun = clock.monotonic()
        assert (await customer.create()).status == 200
    assert clock.monotonic() - begun == 130


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", tries("other-shape"))
async def test_the_other_documented_shape_says_the_same(fault: str) -> None:
    async with trade("tokenhub", faults={fault: 1}) as customer:
        created = await customer.create()
        done = await customer.poll(created)
        assert created.json.keys() == {"id", "object", "status", "model"}
        assert (done.json["status"], done.json["metadata"]["url"]) == ("succeeded", url_of(done))
    async with trade("toapis", faults={fault: 1}) as customer:
        created = await customer.create()
        done = await customer.poll(created)
        assert created.json == {"code": 200, "data": [{"status": "submitted", "task_id": task_of(created)}]}
        assert (done.json["status"], done.json["url"]) == ("completed", url_of(done))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", tries("poll-404-first"))
async def test_a_task_is_not_known_yet_at_its_first_poll(provider: str, fault: str) -> None:
    async with trade(provider, faults={fault: 1}) as customer:
        created = await customer.create()
        first, second = await customer.poll(created), await customer.poll(created)
    assert first.status == 404 if provider == "toapis" else stage_of(first) == "UNKNOWN"
    assert url_of(second)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("fault", "status"), tries(("poll-500", 500), ("poll-429", 429), ("poll-html", 200)))
async def test_a_poll_without_a_usable_answer_harms_no_task(provider: str, fault: str, status: int) -> None:
    async with trade(provider, faults={fault: "1x"}) as customer:
        created = await customer.create()
        first, second = await customer.poll(created), await customer.poll(created)
    assert first.status == status
    assert (first.json is None) == (fault == "poll-html")
    assert url_of(second)


@pytest.mark.parametrize("fault", tries("poll-reset"))
async def test_the_connection_of_a_poll_may_be_reset(fault: str) -> None:
    async with trade("dashscope", faults={fault: "1x"}) as customer:
        created = await customer.create()
        customer.session._retry_connection = False  # aiohttp asks again by itself
        with pytest.raises(aiohttp.ClientError):
            await customer.poll(created)
        assert url_of(await customer.poll(created))


async def words(customer: Customer, clock: Hands, polls: int) -> list[str]:
    """The status words of a task of 10 s, polled every 4 s."""
    created, found = await customer.create(), []
    for _ in range(polls):
        found.append(stage_of(await customer.poll(created)))
        clock.move(4)
    return found


@pytest.mark.parametrize(
    ("fault", "expected"),
    tries(
        ("odd-status", ["ALMOST_DONE", "TRANSCODING", "ALMOST_DONE", "SUCCEEDED", "SUCCEEDED"]),
        ("status-back", ["PENDING", "PENDING", "RUNNING", "RUNNING", "SUCCEEDED"]),
        ("stuck", ["PENDING", "RUNNING", "RUNNING", "RUNNING", "RUNNING"]),
        ("failed", ["PENDING", "RUNNING", "RUNNING", "FAILED", "FAILED"]),
    ),
)
async def test_a_status_may_be_odd_go_back_never_end_or_be_a_failure(fault: str, expected: list[str]) -> None:
    clock = Hands()
    async with trade("dashscope", clock=clock, latency=10.0, faults={fault: 1}) as customer:
        assert await words(customer, clock, 5) == expected


async def test_a_success_may_go_back_to_running() -> None:
    async with trade("toapis", faults={"status-back": 1}) as customer:
        created = await customer.create()
        found = [stage_of(await customer.poll(created)) for _ in range(3)]
    assert found == ["completed", "in_progress", "completed"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("fault", "without"), tries(("success-without-url", 6), ("url-later", 3)))
async def test_a_success_may_be_without_a_url(provider: str, fault: str, without: int) -> None:
    async with trade(provider, faults={fault: 1}) as customer:
        created = await customer.create()
        said = [await customer.poll(created) for _ in range(6)]
    assert {stage_of(each) for each in said} <= {"SUCCEEDED", "completed"}
    assert [url_of(each) for each in said].count(None) == without


@pytest.mark.parametrize("fault", tries("other-task-id"))
async def test_a_poll_may_name_another_task(fault: str) -> None:
    async with trade("dashscope", faults={fault: 1}) as customer:
        created = await customer.create()
        assert task_of(await customer.poll(created)) == task_of(created)[::-1]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", tries("failed", "failed-no-reason", "failed-moderation"))
async def test_a_task_may_fail_in_an_answer_of_200_and_is_billed_once_and_given_back(provider: str, fault: str) -> None:
    async with trade(provider, faults={fault: 1}) as customer:
        created = await customer.create()
        said = [await customer.poll(created) for _ in range(2)][1]
        assert [line["event"] for line in customer.sandbox.log.lines] == ["booked", "failed"]
    assert (said.status, stage_of(said).lower()) == (200, "failed")
    where = said.json.get("error", {}) if provider == "toapis" else said.json["output"]
    reason = {"failed": "nternal", "failed-moderation": "", "failed-no-reason": None}[fault]
    assert "message" not in where if reason is None else reason in where["message"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("fault", "times"), tries(("bills-more", 2), ("bills-failed", 1)))
async def test_a_usage_may_say_more_than_was_ordered_or_that_a_failure_is_billed(
    provider: str, fault: str, times: int
) -> None:
    async with trade(provider, faults={fault: 1}) as customer:
        said = await customer.poll(await customer.create())
        ordered = customer.sandbox.log.booked[0]["seconds"]
    assert said.json["usage"]["duration"] == times * ordered
    assert (stage_of(said).lower() == "failed") is (fault == "bills-failed")


# ── clips ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "wrong"),
    tries(
        ("wrong-length", lambda info: info.frames == 30),
        ("wrong-size", lambda info: (info.width, info.height) == (640, 480)),
        ("silent", lambda info: info.audio_codec is None),
    ),
)
async def test_a_clip_may_not_be_as_ordered(fault: str, wrong: Callable[[MediaInfo], bool], tmp_path: Path) -> None:
    async with trade("dashscope", faults={fault: 1}) as customer:
        assert wrong(probed((await customer.ask("GET", await customer.url())).body, tmp_path))


@pytest.mark.parametrize(
    ("fault", "seen"),
    tries(
        ("black", lambda found: found.black and found.silent),
        ("frozen", lambda found: found.frozen and not found.black),
        ("silence", lambda found: found.silent and not found.frozen),
        ("no-cuts", lambda found: found.silent == found.cuts == ()),
    ),
)
async def test_a_clip_may_look_or_sound_wrong(fault: str, seen: Callable[[Measured], object], tmp_path: Path) -> None:
    prompt = "Shot 1 [0-2s]: a cat walks. Shot 2 [2-4s]: a dog runs."
    body = {"model": "wan2.7-t2v", "input": {"prompt": prompt}, "parameters": {"duration": 4}}
    found = {}
    for faults in ({}, {fault: 1}):
        async with trade("dashscope", faults=faults) as customer:
            clip = tmp_path / "clip.mp4"
            clip.write_bytes((await customer.ask("GET", await customer.url(body))).body)
            found[bool(faults)] = measure.measure(clip)
    assert found[False].cuts == (Fraction(2),)
    assert not found[False].silent
    assert not found[False].frozen
    assert seen(found[True])


@pytest.mark.parametrize("fault", tries("zero-bytes", "html-video", "truncated-video"))
async def test_a_download_may_be_whole_and_no_video(fault: str, tmp_path: Path) -> None:
    async with trade("dashscope", faults={fault: 1}) as customer:
        said = await customer.ask("GET", await customer.url())
    assert (said.status, int(said.headers["Content-Length"])) == (200, len(said.body))
    with pytest.raises(FetchFailed):
        probed(said.body, tmp_path)


@pytest.mark.parametrize("fault", tries("cut-download"))
async def test_a_download_that_stops_half_way_goes_on_with_range(fault: str, tmp_path: Path) -> None:
    part, client, sizes = tmp_path / "clip.part", DownloadClient(loopback=True), []
    async with trade("dashscope", faults={fault: "2x"}) as customer:
        url = await customer.url()
        for _ in range(2):
            with pytest.raises(FetchFailed):
                await client.fetch(url, part)
            sizes.append(size(part))
        await client.fetch(url, part)
        await client.aclose()
        whole = len((await customer.ask("GET", url)).body)
    assert [round(each / whole, 2) for each in (*sizes, size(part))] == [0.5, 0.75, 1]


@pytest.mark.parametrize("fault", tries("gzip-bomb"))
async def test_a_clip_may_be_a_bomb(fault: str) -> None:
    async with (
        trade("dashscope", faults={fault: 1}) as customer,
        customer.session.get(await customer.url()) as response,
    ):
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.content_length == len(bomb())
    assert len(bomb()) < 2 * 1024 * 1024
    member = bomb()[: len(bomb()) // 64]
    assert member * 64 == bomb()
    assert len(gzip.decompress(member)) * 64 == 1024**3


@pytest.mark.parametrize("fault", tries("endless-body"))
async def test_a_clip_may_never_end(fault: str) -> None:
    async with (
        trade("dashscope", faults={fault: 1}) as customer,
        customer.session.get(await customer.url()) as response,
    ):
        assert response.content_length is None
        assert len(await response.content.readexactly(8_000_000)) == 8_000_000


@pytest.mark.parametrize("fault", tries("slow-drip"))
async def test_a_clip_may_drip(fault: str) -> None:
    clock = Hands()
    async with trade("dashscope", clock=clock, faults={fault: 1}) as customer:
        url, begun = await customer.url(), clock.monotonic()
        async with customer.session.get(url) as response:
            await response.content.readexactly(100)
        assert clock.monotonic() - begun >= 99


@pytest.mark.parametrize(
    ("fault", "to"),
    tries(
        ("redirect-loop", "{url}"),
        ("redirect-inside", "https://169.254.169.254/latest/meta-data/"),
        ("redirect-elsewhere", "http://localhost:{port}/elsewhere/dashscope/{id}.mp4"),
    ),
)
async def test_a_clips_url_may_lead_elsewhere(fault: str, to: str) -> None:
    async with trade("dashscope", faults={fault: 1}) as customer:
        done = await customer.poll(await customer.create())
        url = url_of(done) or ""
        said = await customer.ask("GET", url)
        path = url.removeprefix(customer.sandbox.origin)
        expected = to.format(url=path, port=customer.sandbox.port, id=task_of(done))
        assert URL(said.headers["Location"]) == URL(expected)
        if fault == "redirect-elsewhere":
            assert (await customer.ask("GET", said.headers["Location"])).body[4:8] == b"ftyp"
            await customer.ask("GET", said.headers["Location"], headers=customer.key)
            assert [leak.partition("/dashscope")[0] for leak in customer.sandbox.leaks] == ["/elsewhere"]
    assert said.status == 302


@pytest.mark.parametrize("fault", tries("url-expired-first"))
async def test_the_first_url_of_a_clip_may_be_no_longer_good(fault: str) -> None:
    async with trade("dashscope", faults={fault: 1}) as customer:
        created = await customer.create()
        first = await customer.ask("GET", url_of(await customer.poll(created)) or "")
        second = await customer.ask("GET", url_of(await customer.poll(created)) or "")
    assert (first.status, second.status) == (403, 200)


# ── chance ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_fault_has_a_line_and_a_test() -> None:
    assert set(FAULTS) == TRIED
    assert [fault.line for fault in FAULTS.values() if not fault.line[0].islower() or fault.line.endswith(".")] == []


@pytest.mark.parametrize(
    ("chance", "happens"),
    [
        (0, [False] * 5),
        (1, [True] * 5),
        ("1.0", [True] * 5),
        ("2x", [True, True, False, False, False]),
        ("3+", [False, False, False, True, True]),
        ("0+", [True] * 5),
    ],
)
def test_a_chance_is_a_share_or_the_first_ones_or_all_after_them(chance: str | float, happens: list[bool]) -> None:
    chances = Chances({"429": chance}, seed=1)
    assert [chances.draw("429") for _ in range(5)] == happens


def test_chance_is_the_same_again_with_the_same_seed_whatever_other_faults_there_are() -> None:
    def drawn(seed: int, **others: float) -> list[bool]:
        chances = Chances({**others, "429": 0.3}, seed)
        return [(others and chances.draw("failed"), chances.draw("429"))[1] for _ in range(1000)]

    assert drawn(7) == drawn(7, failed=0.5) != drawn(8)
    assert 250 < drawn(7).count(True) < 350


async def test_two_runs_with_one_seed_have_the_same_bill() -> None:
    async def billed(seed: int) -> str:
        faults = {"429": 0.3, "failed": 0.3, "stuck": 0.3, "wrong-size": 0.3}
        async with trade("dashscope", clock=Hands(), seed=seed, faults=faults) as customer:
            for _ in range(20):
                await customer.create()
            return json.dumps(customer.sandbox.log.lines)

    assert await billed(3) == await billed(3) != await billed(4)
