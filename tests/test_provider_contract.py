"""What the runner relies on, for every provider there is: the same tests through the whole port.

A new provider is picked up by its line in `providers.PROVIDERS`. If it is spoken to over HTTP it needs the recordings
create-accepted, create-refused, poll-running, poll-succeeded and poll-failed.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import cards, jobs, providers
from storyrun.errors import FetchFailed, LostAnswer, MissedPoll, NotFound, NotSent, ProviderError, Rejected
from storyrun.media import probe
from storyrun.records import Accepted, Answer, ErrorClass, Task, TaskStatus
from tests.clouds import ATTEMPT, Recording, Reply, Server, job_of, made, recording, serving
from tests.fakes import clip_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from storyrun.providers.base import Provider
    from storyrun.records import Job

STATES = {"waiting", "running", "succeeded", "failed", "missing"}


@dataclass
class Stage:
    """A provider, the job to order from it, and the server behind it (which the animatic does not use)."""

    name: str
    provider: Provider
    job: Job
    server: Server
    folder: Path

    @property
    def remote(self) -> bool:
        return providers.environment(self.name) is not None

    def plan(self, *answers: str | Reply) -> None:
        """What the provider answers next: recordings by name, or replies. The animatic answers by itself."""
        if self.remote:
            self.server.plan(*(self.recorded(each) if isinstance(each, str) else each for each in answers))

    def recorded(self, name: str) -> Recording:
        """A recording whose clip is on the server of the test."""
        found = recording(self.name, name)
        text = json.dumps(found.body).replace("https://", f"{self.server.url}/", 1) if "succeeded" in name else None
        return found if text is None else replace(found, body=json.loads(text))

    def task(self, accepted: Accepted) -> Task:
        """The accepted attempt as it comes out of a ledger row."""
        form = json.loads(json.dumps(jobs.as_dict(self.job)))
        return Task(ATTEMPT, accepted.task_id, self.job.model, form, self.folder, "2026-11-20T10:00:00Z")

    async def ordered(self) -> Task:
        self.plan("create-accepted")
        answer = await self.provider.submit(self.provider.request(self.job, {}), ATTEMPT)
        return self.task(self.provider.read(answer))


@pytest.fixture(params=list(providers.PROVIDERS))
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    name = request.param
    model = next((model for model, card in cards.load(name).items() if "text" in card.modes), name)
    if name == "toapis":
        model = "wan2.6"  # the model of its recordings
    job = job_of(name, model, folder=tmp_path, seconds=1, frame_rate="8", width=64, height=36, sounding=False)
    async with serving() as server:
        provider = made(name, server.url)
        yield Stage(name, provider, job, server, tmp_path)
        await provider.aclose()


class TestEveryProvider:
    async def test_says_who_it_is_what_it_costs_and_how_much_it_takes_at_once(self, stage: Stage) -> None:
        provider: Any = stage.provider
        assert provider.name == stage.name
        assert isinstance(provider.paid, bool)
        assert isinstance(provider.workers, int)
        assert provider.workers >= 1
        low, high = getattr(provider, "poll_gap", (0.0, 0.0))
        assert 0 <= low <= high
        for rate in ("creates_per_second", "polls_per_second"):
            assert getattr(provider, rate, 1.0) > 0
        assert all(model.provider == stage.name for model in getattr(provider, "cards", {}).values())

    async def test_a_request_is_pure_and_json(self, stage: Stage) -> None:
        first, second = (stage.provider.request(stage.job, {}) for _ in range(2))
        assert first == second == json.loads(json.dumps(first))
        assert first == providers.body(stage.name, stage.job)
        assert stage.server.asked == []

    async def test_submit_sends_the_request_once_and_leaves_it_as_it_is(self, stage: Stage) -> None:
        stage.plan("create-accepted")
        request = stage.provider.request(stage.job, {})
        before = copy.deepcopy(request)
        answer = await stage.provider.submit(request, ATTEMPT)
        assert request == before
        assert len(stage.server.asked) == (1 if stage.remote else 0)
        assert isinstance(answer, Answer)

    async def test_an_answer_can_be_read_by_another_instance_after_a_death(self, stage: Stage) -> None:
        stage.plan("create-accepted")
        answer = await stage.provider.submit(stage.provider.request(stage.job, {}), ATTEMPT)
        other = made(stage.name, "http://127.0.0.1:9")
        kept = Answer(answer.status, json.loads(json.dumps(answer.body)))
        assert other.read(kept).task_id == stage.provider.read(answer).task_id != ""
        await other.aclose()

    async def test_an_answer_that_is_none_is_never_a_refusal(self, stage: Stage) -> None:
        broken = ["", "<html>", "{}", "[]", "null"]
        foreign = ['{"task_id": null}', '{"output": 5}', "[" * 5000, "1e999", "\ufeff{}"]
        for body in broken + (foreign if stage.remote else []):
            with pytest.raises(LostAnswer):
                stage.provider.read(Answer(200, body))

    async def test_a_refusal_says_what_kind_it_is(self, stage: Stage) -> None:
        if not stage.remote:
            return  # nothing refuses an animatic
        stage.plan("create-refused")
        answer = await stage.provider.submit(stage.provider.request(stage.job, {}), ATTEMPT)
        with pytest.raises(Rejected) as caught:
            stage.provider.read(answer)
        assert caught.value.kind in ErrorClass
        assert str(caught.value)

    async def test_a_poll_says_where_a_task_stands(self, stage: Stage) -> None:
        task = await stage.ordered()
        known = replace(task, task_id=self.task_id(stage, "poll-running") or task.task_id)
        stage.plan("poll-running")
        status = await stage.provider.poll(known)
        assert status.state in STATES
        assert status.state == ("running" if stage.remote else "succeeded")
        assert status.raw
        assert not (status.fetchable and status.state != "succeeded")

    async def test_a_failed_task_has_its_reason(self, stage: Stage) -> None:
        if not stage.remote:
            return  # an animatic fails when it is drawn
        task = await stage.ordered()
        stage.plan("poll-failed")
        status = await stage.provider.poll(replace(task, task_id=self.task_id(stage, "poll-failed")))
        assert status.state == "failed"
        assert status.failure is not None
        assert status.failure.kind in ErrorClass
        assert status.failure.message
        assert not status.fetchable

    async def test_a_finished_clip_is_written_to_the_part_and_nowhere_else(self, stage: Stage) -> None:
        task = await stage.ordered()
        stage.plan("poll-succeeded", Reply(200, clip_bytes(frames=8)))
        task = replace(task, task_id=self.task_id(stage, "poll-succeeded") or task.task_id)
        status = await stage.provider.poll(task)
        assert status.fetchable
        part = stage.folder / "clips" / ".abc.part"
        part.parent.mkdir()
        await stage.provider.fetch(task, status, part)
        media = probe(part)
        assert (media.width, media.height, media.frames) == (64, 36, 8)
        assert [path.name for path in part.parent.iterdir()] == [part.name]

    async def test_what_the_way_to_the_clip_raises_is_a_provider_error(self, stage: Stage) -> None:
        if not stage.remote:
            return  # there is no way to an animatic
        task = await stage.ordered()
        for reply, error in ((Reply(403, ""), NotFound), (Reply(500, ""), FetchFailed)):
            stage.plan(reply)
            status = TaskStatus("succeeded", "done", fetchable=True, asset=f"{stage.server.url}/clip.mp4")
            with pytest.raises(error):
                await stage.provider.fetch(task, status, stage.folder / "x.part")

    async def test_looking_for_a_lost_task_orders_nothing_and_adopts_nothing_of_others(self, stage: Stage) -> None:
        stage.server.otherwise = Reply(200, {"data": [], "total_page": 0, "id": "t", "client_business_id": "another's"})
        found = await self.quietly(stage.provider.find(stage.task(Accepted("")), frozenset()))
        assert found is None or found == Accepted(ATTEMPT)
        assert {asked.method for asked in stage.server.asked} <= {"GET"}

    async def test_nonsense_raises_nothing_but_errors_of_the_port(self, stage: Stage) -> None:
        """Whatever comes back, the runner can tell what it means for money."""
        task = await stage.ordered()
        nonsense: list[Any] = [
            "",
            "<html>",
            "[]",
            "7",
            '{"output": []}',
            '{"data": [1, 2]}',
            '{"error": 5}',
            "\x00",
            "{" * 99,
        ]
        for body in nonsense:
            for status in (200, 404, 500):
                stage.plan(Reply(status, body))
                if stage.remote:
                    with pytest.raises((NotSent, LostAnswer, Rejected)):
                        stage.provider.read(await stage.provider.submit(stage.provider.request(stage.job, {}), ATTEMPT))
                    stage.plan(Reply(status, body))
                found = await self.quietly(stage.provider.poll(task), (MissedPoll, NotFound))
                assert found is None or found.state in STATES

    async def test_it_can_be_let_go_of_twice_and_before_it_was_used(self, stage: Stage) -> None:
        other = made(stage.name, "http://127.0.0.1:9")
        for provider in (other, stage.provider):
            await provider.aclose()
            await provider.aclose()

    def task_id(self, stage: Stage, name: str) -> str:
        """The task that a recording speaks of; "" for the animatic."""
        if not stage.remote:
            return ""
        body = recording(stage.name, name).body
        return str((body.get("output") or {}).get("task_id") or body.get("id"))

    async def quietly(self, call: Any, errors: tuple[type[ProviderError], ...] = (ProviderError,)) -> Any:
        try:
            return await call
        except errors:
            return None
