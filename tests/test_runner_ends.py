"""What ends a run before its end, and two runs in one project: nothing in flight is forgotten or bought twice."""

from __future__ import annotations

import asyncio

import pytest

from storyrun.errors import LedgerError
from tests.fakes import READY, RUNNING, FakeProvider, Story, failing, lost
from tests.stage import MortalLedger, Stage, job, jobs_of, power_stays_on, until

__all__ = ["power_stays_on"]


def stage(root, stories, **provider) -> Stage:
    return Stage(root, FakeProvider(stories, **provider))


def simple(names: str) -> dict[str, list[Story]]:
    return {name: [Story()] for name in names.split()}


# ── what ends a run ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_ctrl_c_waits_for_the_creates_in_flight_and_records_every_one(tmp_path):
    s = stage(tmp_path, simple("a b c d e f"), create_takes=5.0)

    async def interrupted():
        running = asyncio.ensure_future(s.perform(jobs_of("a b c d e f")))
        await until(lambda: s.provider.calls("create") >= 4)
        s.stop.drain.set()
        return await running

    outcome = asyncio.run(interrupted())
    assert outcome.interrupted
    assert s.provider.at_once["create"] == 0
    assert len(s.states()) == s.provider.calls("create") < 6
    assert set(s.states().values()) <= {"accepted", "ready"}
    assert s.play(jobs_of("a b c d e f")).interrupted is False
    assert set(s.states().values()) == {"done"}
    assert set(s.provider.booked().values()) == {1}


def test_a_cancelled_run_still_waits_for_the_creates_in_flight(tmp_path):
    s = stage(tmp_path, simple("a b c d"), create_takes=5.0)

    async def cancelled():
        running = asyncio.ensure_future(s.perform(jobs_of("a b c d")))
        await until(lambda: s.provider.calls("create") >= 3)
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert set(s.states().values()) <= {"accepted", "ready"}
    assert len(s.states()) == s.provider.calls("create")


def test_a_free_rendering_in_progress_is_dropped_at_the_first_ctrl_c(tmp_path):
    s = stage(tmp_path, simple("a b"), paid=False, fetch_takes=1e9)

    async def interrupted():
        running = asyncio.ensure_future(s.perform(jobs_of("a b")))
        await until(lambda: s.provider.at_once["fetch"] == 2)
        s.stop.drain.set()
        return await running

    assert asyncio.run(interrupted()).interrupted
    assert (s.clips(), s.leftovers()) == ([], [])


def test_a_ledger_that_fails_stops_everything_and_says_what_was_bought(tmp_path, monkeypatch):
    s = stage(tmp_path, simple("a b c d e f"), create_takes=1.0)

    def full(self, attempt_id, raw):
        monkeypatch.setattr(MortalLedger, "order", full)
        raise LedgerError("the disk is full")

    monkeypatch.setattr(MortalLedger, "record_answer", full)
    with pytest.raises(LedgerError, match="disk is full"):
        s.play(jobs_of("a b c d e f"))
    assert s.provider.calls("create") == 1
    assert "task task-1" in s.events[-1].sentence
    assert s.provider.at_once["create"] == 0


def test_an_observer_that_raises_is_dropped_with_a_note_and_breaks_nothing(tmp_path):
    s = stage(tmp_path, simple("a b"))
    seen = []

    def breaks(event):
        seen.append(event)
        raise RuntimeError("no screen")

    outcome = s.play(jobs_of("a b"), observe=breaks)
    assert s.states() == {"a": "done", "b": "done"}
    assert len(seen) == 1
    assert "no screen" in outcome.notes[0]


# ── two plans, one project ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_copied_under_a_new_name_buys_nothing(tmp_path):
    s = stage(tmp_path, simple("a b"))
    s.play(jobs_of("a b"))
    copy = Stage(tmp_path, s.provider, plan="copy")
    assert copy.play(jobs_of("a b")).reused == {"a", "b"}
    assert copy.clips() == ["a_v001.mp4", "b_v001.mp4"]
    assert s.provider.calls("create") == 2


def test_two_live_runs_never_buy_the_same_clip_and_both_get_it(tmp_path):
    stories = {clip: [Story(polls=[RUNNING, RUNNING, READY])] for clip in "abcdef"}
    one = stage(tmp_path, stories, create_takes=1.0)
    two = Stage(tmp_path, one.provider, plan="two")

    async def both():
        return await asyncio.gather(one.perform(jobs_of("a b c d")), two.perform(jobs_of("c d e f")))

    asyncio.run(both())
    assert set(one.provider.booked().values()) == {1}
    assert one.clips() == [f"{clip}_v001.mp4" for clip in "abcd"]
    assert two.clips() == [f"{clip}_v001.mp4" for clip in "cdef"]


def test_what_another_run_fails_to_buy_is_ordered_by_the_one_that_waits(tmp_path):
    one = stage(tmp_path, {"a": [Story(polls=[RUNNING, failing()])], "b": [Story()]})
    two = Stage(tmp_path, one.provider, plan="two")

    async def both():
        first = asyncio.ensure_future(one.perform([job("a", prompt="same")]))
        await until(lambda: one.provider.tasks)
        return await asyncio.gather(first, two.perform([job("b", prompt="same")]))

    asyncio.run(both())
    assert one.states() == {"a": "failed"}
    assert two.states() == {"b": "done"}


def test_waiting_for_another_run_ends_at_the_deadline(tmp_path):
    one = stage(tmp_path, {"a": [Story(polls=[RUNNING])]})
    two = Stage(tmp_path, one.provider, plan="two")

    async def both():
        first = asyncio.ensure_future(one.perform(jobs_of("a"), deadline=5000))
        await until(lambda: one.provider.tasks)
        await two.perform(jobs_of("a"), deadline=60)
        assert two.clock.seconds < 80
        await first

    asyncio.run(both())
    assert two.told("a")[-1] == "open"


def test_what_a_dead_run_of_another_plan_left_open_is_taken_over(tmp_path):
    one = stage(tmp_path, {"a": [Story(polls=[RUNNING, RUNNING, READY])], "b": [Story(lost(), booked=True)]})
    one.play(jobs_of("a b"), deadline=1)
    assert one.states() == {"a": "accepted", "b": "unknown"}
    renamed = Stage(tmp_path, one.provider, plan="renamed")
    outcome = renamed.play(jobs_of("a b"))
    assert outcome.reused == {"a"}
    assert one.states() == {"a": "done", "b": "unknown"}
    assert renamed.clips() == ["a_v001.mp4"]
    assert renamed.told("b")[-1] == "unknown"
    assert one.provider.calls("create") == 2
