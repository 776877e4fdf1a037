"""The sandbox is faithful: the official `dashscope` SDK, as it is, completes a text and an image job against it."""

from __future__ import annotations

import asyncio
import io
import threading
from concurrent.futures import Future
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from storyrun import media
from storyrun.sandbox import KEY
from tests.customer import Customer, Said, trade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from storyrun.records import MediaInfo

BOUND = 60.0
"""Seconds until a test gives the SDK up: by itself it waits for ever."""


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SDK, with nothing of the user's environment, and nothing left behind by it."""
    import dashscope
    from dashscope.api_entities import http_request

    monkeypatch.setattr(dashscope, "api_key", KEY)
    monkeypatch.setattr(dashscope, "base_http_api_url", dashscope.base_http_api_url)
    yield dashscope
    http_request.close_shared_sync_session()


async def blocking(call: Callable[[], Any]) -> Any:
    """A blocking call in a thread that nobody waits for at the end."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wait_for(asyncio.wrap_future(outcome), BOUND)


async def fetched(customer: Customer, said: Any, folder: Path) -> MediaInfo:
    clip: Said = await customer.ask("GET", said.output.video_url)
    file = folder / "clip.mp4"
    save(file, clip.body)
    return media.probe(file)


def save(file: Path, data: bytes) -> None:
    file.write_bytes(data)


async def test_the_sdk_completes_a_text_job(sdk: Any, tmp_path: Path) -> None:
    async with trade("dashscope", latency=0.5) as customer:
        sdk.base_http_api_url = f"{customer.base}/api/v1"
        said = await blocking(
            lambda: sdk.VideoSynthesis.call(
                model="wan2.7-t2v", prompt="A kitten runs", duration=2, resolution="720P", ratio="1:1", seed=7
            )
        )
        assert (said.status_code, said.output.task_status) == (200, "SUCCEEDED")
        assert (said.usage.video_count, said.usage["duration"]) == (1, 2)
        info = await fetched(customer, said, tmp_path)
        (line,) = customer.sandbox.log.booked
    assert (float(info.duration), info.width, info.height) == (2.0, 960, 960)
    assert line["task_id"] == said.output.task_id
    assert line["request"]["parameters"] == {"duration": 2, "resolution": "720P", "ratio": "1:1", "seed": 7}


async def test_the_sdk_uploads_a_picture_and_completes_an_image_job(sdk: Any, tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("RGB", (400, 300), "teal").save(data, "PNG")
    save(tmp_path / "desk.png", data.getvalue())
    async with trade("dashscope") as customer:
        sdk.base_http_api_url = f"{customer.base}/api/v1"
        said = await blocking(
            lambda: sdk.VideoSynthesis.call(
                model="wan2.7-i2v",
                prompt="Dust moves",
                media=[{"type": "first_frame", "url": f"file://{tmp_path}/desk.png"}],
                duration=2,
                resolution="720P",
            )
        )
        assert said.output.task_status == "SUCCEEDED", said
        info = await fetched(customer, said, tmp_path)
        (line,) = customer.sandbox.log.booked
        assert customer.sandbox.leaks == []
    assert abs(Fraction(info.width, info.height) - Fraction(4, 3)) < Fraction(1, 100)
    assert (line["mode"], line["request"]["input"]["media"][0]["url"][:6]) == ("image", "oss://")


async def test_the_sdk_lists_and_cancels_and_reads_refusals(sdk: Any) -> None:
    async with trade("dashscope", latency=300.0) as customer:
        sdk.base_http_api_url = f"{customer.base}/api/v1"
        order = {"model": "wan2.7-t2v", "prompt": "A kitten runs", "duration": 2}
        created = await blocking(lambda: sdk.VideoSynthesis.async_call(**order))
        listed = await blocking(lambda: sdk.VideoSynthesis.list(model_name="wan2.7-t2v"))
        cancelled = await blocking(lambda: sdk.VideoSynthesis.cancel(created))
        fetched_again = await blocking(lambda: sdk.VideoSynthesis.fetch(created))
        refused = await blocking(lambda: sdk.VideoSynthesis.async_call(**order, size="1280*720"))
    assert [row["task_id"] for row in listed.output["data"]] == [created.output.task_id]
    assert (cancelled.status_code, fetched_again.output.task_status) == (200, "CANCELED")
    assert (refused.status_code, refused.code) == (400, "InvalidParameter")
    assert "size" in refused.message


async def test_the_sdk_orders_twice_when_the_answer_is_lost_which_is_why_it_is_not_used(sdk: Any) -> None:
    async with trade("dashscope", faults={"drop-answer": "1x"}) as customer:
        sdk.base_http_api_url = f"{customer.base}/api/v1"
        await blocking(lambda: sdk.VideoSynthesis.async_call(model="wan2.7-t2v", prompt="A kitten", duration=2))
        assert len(customer.sandbox.log.booked) == 2
