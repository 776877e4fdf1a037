"""Our own providers against the sandbox: what they order is taken, and each of its faults is understood."""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from storyrun import jobs, media, providers
from storyrun.clock import rfc3339
from storyrun.errors import FetchFailed, LostAnswer, MissedPoll, NotFound, ProviderError, Rejected
from storyrun.http import DownloadClient, api
from storyrun.records import ErrorClass, MediaSource, Task
from storyrun.sandbox import PROVIDERS, Sandbox, orders, toapis
from storyrun.sandbox.dashscope import DOCUMENT
from tests.customer import SMALL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from storyrun.records import Accepted, MediaInfo, TaskStatus

GOLDEN = sorted((Path(__file__).parent / "golden" / "requests").rglob("*.json"))
ATTEMPT = "0f8fad5bd9cb469fa16570867728950e"


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_body_that_we_order_with_is_taken(file: Path) -> None:
    cases = json.loads(file.read_text(encoding="utf-8").replace("upload:", "https://example.com/"))
    for mode, case in cases.items():
        if mode == "source":
            continue
        if file.parent.name == "toapis":
            order = orders.of_toapis(case["request"], toapis.DOCUMENT, lambda _: None)
        else:
            order = orders.of_dashscope(case["request"], DOCUMENT, lambda _: None)
        assert (order.mode, order.seconds) == (mode, case["job"].get("seconds", order.seconds))
        assert order.sounding or case["job"].get("audio") == "none" or order.model.startswith(("wan2.1", "wan2.2"))


class Shop:
    """One of our providers, set up from what a sandbox says to export."""

    def __init__(self, sandbox: Sandbox, name: str, folder: Path) -> None:
        self.sandbox = sandbox
        self.warned: list[str] = []
        self.provider: Any = providers.build(name, sandbox.environment, self.warned.append)
        self.part = folder / "clip.part"
        self.folder = folder
        self.body = SMALL[name]

    async def order(self, body: Any = None) -> Accepted:
        found: Accepted = self.provider.read(await self.provider.submit(body or self.body, ATTEMPT))
        return found

    def task(self, accepted: Accepted | None = None, **job: Any) -> Task:
        prompt = self.body.get("prompt") or self.body["input"]["prompt"]
        sent = rfc3339(self.sandbox.desk.now())
        task_id = accepted.task_id if accepted else ""
        return Task(ATTEMPT, task_id, self.body["model"], {"prompt": prompt, **job}, self.folder, sent)

    async def poll(self, accepted: Accepted) -> TaskStatus:
        found: TaskStatus = await self.provider.poll(self.task(accepted))
        return found

    async def fetch(self, accepted: Accepted) -> MediaInfo:
        await self.provider.fetch(self.task(accepted), await self.poll(accepted), self.part)
        return media.probe(self.part)


@asynccontextmanager
async def shop(name: str, folder: Path, **options: Any) -> AsyncIterator[Shop]:
    async with Sandbox(**options) as sandbox:
        made = Shop(sandbox, name, folder)
        try:
            yield made
        finally:
            await made.provider.aclose()


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    "faults", [{}, {"other-shape": 1}, {"redirect-elsewhere": 1}, {"url-later": 1}, {"odd-status": 1}]
)
async def test_a_clip_is_ordered_and_fetched_and_no_key_goes_along(
    name: str, faults: dict[str, float], tmp_path: Path
) -> None:
    async with shop(name, tmp_path, faults=faults) as made:
        accepted = await made.order()
        for _ in range(3 if "url-later" in faults else 0):
            assert not (await made.poll(accepted)).fetchable
        info = await made.fetch(accepted)
        assert len(made.sandbox.log.booked) == 1
        assert made.sandbox.leaks == []
    assert (float(info.duration), info.width, info.height) == (2.0, 832, 480)


REFUSED = {
    "429": ErrorClass.RATE_LIMIT,
    "429-date": ErrorClass.RATE_LIMIT,
    "bad-key": ErrorClass.CREDENTIALS,
    "no-balance": ErrorClass.BALANCE,
    "moderation": ErrorClass.MODERATION,
    "invalid": ErrorClass.PARAMETER,
    "echo": ErrorClass.PARAMETER,
    "create-307": ErrorClass.PROVIDER,
}


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("fault", REFUSED)
async def test_a_refusal_is_a_refusal_and_nothing_was_bought(name: str, fault: str, tmp_path: Path) -> None:
    async with shop(name, tmp_path, faults={fault: 1}) as made:
        with pytest.raises(Rejected) as caught:
            await made.order()
        assert (made.sandbox.log.booked, made.sandbox.counts["create"]) == ([], 1)
    assert caught.value.kind is REFUSED[fault]
    assert "sandbox-key" not in str(caught.value)
    assert "secret" not in str(caught.value)
    if fault.startswith("429"):
        assert caught.value.retry_after == pytest.approx(2, abs=1.1)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "booked"),
    [
        *(("create-500-booked", 1), ("drop-answer", 1), ("reset-after-read", 1), ("cut-answer", 1), ("html-200", 1)),
        *(("no-id", 1), ("slow-answer", 1), ("create-500-unbooked", 0), ("reset-unbooked", 0)),
    ],
)
async def test_an_order_without_a_usable_answer_may_have_been_bought_and_is_not_sent_again(
    name: str, fault: str, booked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "CREATE_READ", 0.3)
    async with shop(name, tmp_path, faults={fault: "1x"}, slow=0.6) as made:
        with pytest.raises(LostAnswer):
            await made.order()
        assert (len(made.sandbox.log.booked), made.sandbox.counts["create"]) == (booked, 1)
        found = await made.provider.find(made.task(), frozenset())
        assert made.sandbox.counts["create"] == 1
        expected = [line["task_id"] for line in made.sandbox.log.booked] if name != "tokenhub" else []
        assert ([found.task_id] if found else []) == expected


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("fault", ["poll-500", "poll-429", "poll-html", "poll-reset", "other-task-id"])
async def test_a_useless_poll_says_nothing_about_the_task(name: str, fault: str, tmp_path: Path) -> None:
    async with shop(name, tmp_path, faults={fault: 1}) as made:
        accepted = await made.order()
        with pytest.raises(MissedPoll):
            await made.poll(accepted)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "states"),
    [
        ("poll-404-first", ["missing", "succeeded"]),
        ("status-back", ["succeeded", "running"]),
        ("stuck", ["running", "running"]),
        ("success-without-url", ["succeeded", "succeeded"]),
        ("failed", ["failed", "failed"]),
        ("failed-no-reason", ["failed", "failed"]),
        ("failed-moderation", ["failed", "failed"]),
    ],
)
async def test_a_strange_task_is_seen_as_it_is(name: str, fault: str, states: list[str], tmp_path: Path) -> None:
    async with shop(name, tmp_path, faults={fault: 1}) as made:
        accepted = await made.order()
        found = [await made.poll(accepted) for _ in range(2)]
    assert [each.state for each in found] == states
    assert not any(each.fetchable for each in found) or fault in ("poll-404-first", "status-back")
    if fault == "failed-moderation" and name == "dashscope":
        assert found[0].failure is not None
        assert found[0].failure.kind is ErrorClass.MODERATION


@pytest.mark.parametrize(
    "fault",
    [
        *("zero-bytes", "html-video", "truncated-video", "gzip-bomb", "endless-body", "redirect-loop"),
        *("redirect-inside", "cut-download"),
    ],
)
async def test_what_is_no_whole_clip_is_not_taken_for_one(fault: str, tmp_path: Path) -> None:
    async with shop("dashscope", tmp_path, faults={fault: 1}) as made:
        made.provider._downloads = DownloadClient(loopback=True, max_bytes=5_000_000)
        with pytest.raises(FetchFailed):
            await made.fetch(await made.order())
        assert made.sandbox.leaks == []


async def test_a_url_that_expired_asks_for_a_fresh_one(tmp_path: Path) -> None:
    async with shop("dashscope", tmp_path, faults={"url-expired-first": 1}) as made:
        accepted = await made.order()
        with pytest.raises(NotFound):
            await made.fetch(accepted)
        assert (await made.fetch(accepted)).frames == 60


@pytest.mark.parametrize("name", ["toapis", "dashscope"])
async def test_a_local_picture_goes_up_and_is_ordered_with(name: str, tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (1400, 1050), "teal").save(data, "PNG")
    source = written(tmp_path / "desk.png", data.getvalue())
    model = "wan3.0-video"
    async with shop(name, tmp_path) as made:
        url = await made.provider.upload(source, model)
        form = {
            "id": "desk",
            "scene": "desk",
            "variant": {},
            "take": 1,
            "provider": name,
            "model": model,
            "mode": "image",
            "prompt": "Dust moves",
            "seconds": 2,
            "resolution": "480p",
            "length": 2,
            "frame_rate": "30",
            "shots": [{"index": 1, "start": 0, "end": 2}],
            "stem": "desk",
            "sounding": True,
            "billed_resolution": "480p",
            "fingerprint": "00",
            "first_frame": {"text": "desk.png", "kind": "image", "sha256": source.sha256, "bytes": source.bytes},
        }
        request = made.provider.request(jobs.from_dict(form, tmp_path), {"desk.png": url})
        info = await made.fetch(await made.order(request))
        assert made.sandbox.log.booked[0]["mode"] == "image"
        assert made.sandbox.leaks == []
    assert info.width / info.height == pytest.approx(4 / 3, abs=0.01)


async def test_a_status_word_that_nobody_knows_means_still_running(tmp_path: Path) -> None:
    async with shop("dashscope", tmp_path, faults={"odd-status": 1}, latency=60.0) as made:
        status = await made.poll(await made.order())
    assert (status.state, status.raw) == ("running", "ALMOST_DONE")


def written(file: Path, data: bytes) -> MediaSource:
    file.write_bytes(data)
    return MediaSource(file.name, "image", file, hashlib.sha256(data).hexdigest(), len(data), (1400, 1050))


async def test_the_errors_of_a_provider_are_ours(tmp_path: Path) -> None:
    async with shop("dashscope", tmp_path) as made:
        with pytest.raises(ProviderError, match="Model not exist"):
            await made.order(made.body | {"model": "wan9"})
