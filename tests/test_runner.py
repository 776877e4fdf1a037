"""Ordering: what is bought, what is never bought twice, and what ends it."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal

import pytest

from storyrun.ledger import Ledger
from storyrun.records import ErrorClass, Money, State
from storyrun.runner import Policy
from tests.fakes import (
    READY,
    RUNNING,
    Died,
    FakeClock,
    FakeProvider,
    Fate,
    Story,
    clip_bytes,
    failing,
    lost,
    refusal,
    unsent,
)
from tests.stage import Stage, card, job, jobs_of, other_text, power_stays_on

__all__ = ["power_stays_on"]

LIMIT, MODERATION = ErrorClass.RATE_LIMIT, ErrorClass.MODERATION


def stage(root, stories, **provider) -> Stage:
    return Stage(root, FakeProvider(stories, **provider))


def simple(names: str) -> dict[str, list[Story]]:
    return {name: [Story()] for name in names.split()}


# ── a run, and the same again ────────────────────────────────────────────────────────────────────────────────────────


def test_every_clip_is_ordered_once_polled_downloaded_verified_and_recorded(tmp_path):
    s = stage(tmp_path, {clip: [Story(polls=[RUNNING, READY])] for clip in "abcdefg"})
    outcome = s.play(jobs_of("a b c d e f g"))
    assert (outcome.stopped, outcome.interrupted, outcome.reused) == ("", False, frozenset())
    assert set(s.states().values()) == {"done"}
    assert s.clips() == [f"{clip}_v001.mp4" for clip in "abcdefg"]
    assert s.leftovers() == []
    assert s.provider.calls("create") == 7
    first = s.attempts()[0]
    assert first.sha256
    assert first.bytes == len(clip_bytes())
    assert first.media is not None
    assert first.media.frames == 8
    assert s.told("a") == ["sending", "rendering", "fetching", "done"]


def test_the_same_again_asks_the_provider_nothing_and_reuses_all(tmp_path):
    s = stage(tmp_path, simple("a b c"))
    s.play(jobs_of("a b c"))
    calls = len(s.provider.history)
    outcome = s.play(jobs_of("a b c"))
    assert outcome.reused == {"a", "b", "c"}
    assert len(s.provider.history) == calls


def test_a_changed_word_orders_exactly_that_clip_and_keeps_the_old_file(tmp_path):
    s = stage(tmp_path, simple("a b") | {"a": [Story(), Story()]})
    a, b = jobs_of("a b")
    s.play([a, b])
    outcome = s.play([other_text(a, "another word"), b])
    assert outcome.reused == {"b"}
    assert s.clips() == ["a_v001.mp4", "a_v002.mp4", "b_v001.mp4"]


def test_only_what_is_selected_is_ordered(tmp_path):
    s = stage(tmp_path, simple("b"))
    s.play(jobs_of("a b c"), only=["b"])
    assert s.states() == {"b": "done"}


def test_two_clips_that_are_the_same_are_bought_once_and_each_gets_its_name(tmp_path):
    s = stage(tmp_path, simple("a"))
    outcome = s.play([job("a", prompt="same"), job("b", prompt="same")])
    assert outcome.reused == {"b"}
    assert s.clips() == ["a_v001.mp4", "b_v001.mp4"]
    assert s.provider.booked() == {"a": 1}


def test_one_failing_clip_never_stops_the_others(tmp_path):
    s = stage(
        tmp_path, simple("a c d") | {"b": [Story(refusal(MODERATION, "no blood"))], "e": [Story(polls=[failing()])]}
    )
    outcome = s.play(jobs_of("a b c d e"))
    assert outcome.stopped == ""
    assert s.states() == {"a": "done", "b": "rejected", "c": "done", "d": "done", "e": "failed"}
    assert s.told("b")[-1] == "failed"
    assert "no blood" in [event.sentence for event in s.events if event.clip == "b"][-1]


def test_a_bug_that_hits_one_clip_is_raised_only_when_the_others_are_through(tmp_path):
    s = stage(tmp_path, simple("a c") | {"b": [Story(polls=[ZeroDivisionError("ours")])]})
    with pytest.raises(ZeroDivisionError, match="ours"):
        s.play(jobs_of("a b c"))
    assert s.states() == {"a": "done", "b": "accepted", "c": "done"}


def test_fail_fast_orders_nothing_after_a_failure_and_collects_what_is_open(tmp_path):
    stories = {"a": [Story(polls=[RUNNING, RUNNING, READY])], "b": [Story(polls=[failing()])]}
    s = stage(tmp_path, stories)
    outcome = s.play(jobs_of("a b c d"), concurrency=2, fail_fast=True)
    assert s.states() == {"a": "done", "b": "failed"}
    assert outcome.stopped == ""


# ── the door ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_in_a_paid_run_the_rest_waits_for_the_first_answer_then_four_go_at_once(tmp_path):
    s = stage(tmp_path, simple("a b c d e f g h i"), create_takes=1.0)
    s.play(jobs_of("a b c d e f g h i"), concurrency=9)
    sent = [at for call, _, at in s.provider.when if call == "create"]
    assert sent[:6] == [0, 1, 1, 1, 1, 2]
    assert s.provider.most_at_once["create"] == 4


def test_until_one_is_accepted_orders_go_one_at_a_time(tmp_path):
    no = {clip: [Story(refusal(ErrorClass.PARAMETER))] for clip in "ab"}
    s = stage(tmp_path, no | simple("c d e"), create_takes=1.0)
    s.play(jobs_of("a b c d e"))
    assert [at for call, _, at in s.provider.when if call == "create"] == [0, 1, 2, 3, 3]


def test_a_free_run_needs_no_canary(tmp_path):
    s = stage(tmp_path, simple("a b c d e"), paid=False, create_takes=1.0)
    s.play(jobs_of("a b c d e"))
    assert [at for call, _, at in s.provider.when if call == "create"] == [0, 0, 0, 0, 1]


def test_no_more_tasks_run_at_once_than_asked_for_and_a_slot_is_free_while_its_clip_downloads(tmp_path):
    s = stage(tmp_path, simple("a b c d e f"), fetch_takes=1000.0)
    s.play(jobs_of("a b c d e f"), concurrency=1)
    ordered = [at for call, _, at in s.provider.when if call == "create"]
    assert ordered == [0, 12.5, 25, 37.5, 50, 62.5]  # each waits for one poll, none for a download
    assert s.provider.most_at_once["fetch"] == 4


def test_three_lost_answers_among_the_last_twenty_stop_new_orders_and_nothing_is_sent_again(tmp_path):
    names = " ".join(f"c{number:03}" for number in range(50))
    s = stage(tmp_path, {name: [Story(lost(), booked=True)] for name in names.split()}, create_takes=1.0)
    outcome = s.play(jobs_of(names), concurrency=50)
    assert "no usable answer" in outcome.stopped
    assert s.provider.calls("create") == 3  # one at a time, for none was ever accepted
    assert set(s.states().values()) == {"unknown"}


def test_after_a_good_start_a_breakdown_costs_at_most_six_doubts(tmp_path):
    names = [f"c{number:03}" for number in range(50)]
    stories = {name: [Story(lost(), booked=True)] for name in names[5:]} | {name: [Story()] for name in names[:5]}
    s = stage(tmp_path, stories, create_takes=1.0)
    outcome = s.play(jobs_of(" ".join(names)), concurrency=50)
    assert outcome.stopped
    assert 3 <= list(s.states().values()).count("unknown") <= 6


def test_lost_answers_far_apart_stop_nothing(tmp_path):
    names = [f"c{number:03}" for number in range(60)]
    stories = {name: [Story(lost()) if number % 15 == 14 else Story()] for number, name in enumerate(names)}
    s = stage(tmp_path, stories)
    assert s.play(jobs_of(" ".join(names)), concurrency=1).stopped == ""
    assert list(s.states().values()).count("unknown") == 4


@pytest.mark.parametrize("kind", [ErrorClass.CREDENTIALS, ErrorClass.BALANCE])
def test_a_refused_key_or_an_empty_account_stops_new_orders_at_once_and_collects_the_rest(tmp_path, kind):
    s = stage(tmp_path, simple("a b d e f") | {"c": [Story(refusal(kind))]})
    outcome = s.play(jobs_of("a b c d e f"), concurrency=1)
    assert outcome.stopped
    assert s.states() == {"a": "done", "b": "done", "c": "rejected"}


def test_a_balance_that_a_failed_task_tells_of_stops_new_orders_too(tmp_path):
    s = stage(tmp_path, {"a": [Story(polls=[failing(ErrorClass.BALANCE, "arrears")])]})
    assert "arrears" in s.play(jobs_of("a b"), concurrency=1).stopped
    assert s.states() == {"a": "failed"}


def test_five_orders_in_a_row_that_never_left_stop_the_run(tmp_path):
    s = stage(tmp_path, {clip: [unsent_story() for _ in range(5)] for clip in "ab"})
    outcome = s.play(jobs_of("a b"))
    assert "did not leave this machine" in outcome.stopped
    assert s.provider.calls("create") == 5
    assert {attempt.state for attempt in s.attempts()} == {State.NOT_SENT}
    assert {event.clip for event in s.events if event.kind == "failed"}


def unsent_story() -> Story:
    return Story(unsent())


def test_an_order_that_never_left_is_sent_again_as_a_new_row_with_growing_waits(tmp_path):
    s = stage(tmp_path, {"a": [unsent_story(), unsent_story(), unsent_story(), Story()]})
    assert s.play(jobs_of("a")).stopped == ""
    assert [attempt.state for attempt in s.attempts()] == ["not_sent"] * 3 + ["done"]
    assert [at for call, _, at in s.provider.when if call == "create"] == [0, 1, 3, 7]


@pytest.mark.parametrize(("wish", "seconds"), [(8.0, 8), (0.0, 1), (-3.0, 1), (1e9, 600), (None, 2)])
def test_too_many_requests_pause_every_order_for_as_long_as_the_provider_wants(tmp_path, wish, seconds):
    s = stage(tmp_path, {"a": [Story(refusal(LIMIT, retry_after=wish)), Story()], "b": [Story()]})
    s.play(jobs_of("a b"))
    assert [at for call, _, at in s.provider.when if call == "create"] == [0, seconds, seconds]
    assert s.states() == {"a": "done", "b": "done"}
    assert [attempt.state for attempt in s.attempts() if attempt.clip == "a"] == ["rejected", "done"]


# ── what failed ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("retries", "orders"), [(0, 1), (1, 2), (5, 3)])
def test_a_transient_failure_is_ordered_again_at_once_only_as_often_as_allowed(tmp_path, retries, orders):
    s = stage(tmp_path, {"a": [Story(polls=[failing()]), Story(polls=[failing(None)]), Story()]})
    s.play(jobs_of("a"), retries=retries)
    assert s.provider.calls("create") == orders
    assert s.states() == {"a": "done" if orders == 3 else "failed"}


def test_the_next_run_orders_a_transient_failure_again(tmp_path):
    s = stage(tmp_path, {"a": [Story(polls=[failing()]), Story()]})
    s.play(jobs_of("a"))
    s.play(jobs_of("a"))
    assert [attempt.state for attempt in s.attempts()] == ["failed", "done"]


@pytest.mark.parametrize("story", [Story(refusal(MODERATION)), Story(polls=[failing(MODERATION)])])
def test_refused_content_is_ordered_again_only_when_the_text_changes_or_on_request(tmp_path, story):
    s = stage(tmp_path, {"a": [story, Story(), Story()]})
    (a,) = jobs_of("a")
    s.play([a], retries=3)
    s.play([a], retries=3)
    assert s.provider.calls("create") == 1
    assert "--retry-refused" in s.events[-1].sentence
    s.play([other_text(a, "milder")])
    assert s.provider.calls("create") == 2
    s.play([a], retry_refused=True)
    assert s.provider.calls("create") == 2 + (s.attempts()[0].fingerprint == a.fingerprint)


def test_what_this_plan_may_spend_is_not_passed_by_any_retry(tmp_path):
    s = stage(tmp_path, simple("b") | {"a": [Story(polls=[failing()])] * 5})
    outcome = s.play(
        jobs_of("a b"),
        concurrency=1,
        retries=9,
        budget=Money(Decimal("0.25"), "USD"),
        card=card(free_when_failed=False),
    )
    assert s.provider.calls("create") == 2
    assert "budget" in outcome.stopped
    assert s.states() == {"a": "failed"}


def test_a_clip_that_does_not_fit_does_not_keep_out_one_that_does(tmp_path):
    s = stage(tmp_path, simple("a c"))
    jobs = [job("a", cost="0.10"), job("b", cost="0.90"), job("c", cost="0.10")]
    outcome = s.play(jobs, run_ceiling=Money(Decimal("0.25"), "USD"))
    assert s.states() == {"a": "done", "c": "done"}
    assert "--max-cost" in outcome.stopped
    assert s.told("b") == ["failed"]


# ── doubts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_answer_is_unknown_and_never_sent_again(tmp_path):
    s = stage(tmp_path, {"a": [Story(lost(), booked=True)]})
    for _ in range(3):
        s.play(jobs_of("a"))
    assert s.states() == {"a": "unknown"}
    assert s.provider.calls("create") == 1
    assert s.told("a") == ["sending", "unknown", "unknown", "unknown"]


def test_a_lost_answer_is_looked_for_at_once_and_the_clip_goes_on(tmp_path):
    s = stage(tmp_path, {"a": [Story(lost(), booked=True)]}, finds=True)
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}


def test_what_was_lost_is_looked_for_once_more_at_the_end_and_by_the_next_run(tmp_path):
    s = stage(tmp_path, {"a": [Story(lost(), booked=True)]})
    s.play(jobs_of("a"))
    assert s.provider.calls("find") == 2
    s.provider.finds = True
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}


def test_an_adapter_that_breaks_after_sending_leaves_a_doubt_not_a_second_order(tmp_path):
    s = stage(tmp_path, simple("a b"))

    def breaks(answer):
        raise KeyError("task_id")

    s.provider.read = breaks
    s.play(jobs_of("a b"))
    assert s.states() == {"a": "unknown", "b": "unknown"}
    assert s.provider.calls("create") == 2


def test_an_answer_that_names_the_task_of_another_clip_is_a_doubt(tmp_path):
    s = stage(tmp_path, simple("a b"))
    read = s.provider.read
    s.provider.read = lambda answer: type(read(answer))("task-1")
    s.play(jobs_of("a b"))
    assert sorted(s.states().values()) == ["done", "unknown"]


def test_the_raw_answer_is_on_the_disk_before_anyone_reads_it(tmp_path):
    s = stage(tmp_path, simple("a"))
    kept = []

    def read(answer):
        with sqlite3.connect(s.outputs.ledger_path) as db:
            kept.extend(db.execute("SELECT state, answer FROM attempt").fetchall())
        raise lost()

    s.provider.read = read
    s.play(jobs_of("a"))
    assert kept[0][0] == "sending"
    assert "task-1" in kept[0][1]


def test_the_row_is_on_the_disk_before_the_first_byte_leaves(tmp_path):
    s = stage(tmp_path, simple("a"))
    with pytest.raises(Died):
        s.play(jobs_of("a"), fate=Fate(at=3))  # before the provider did anything
    assert s.provider.history == []
    assert s.states() == {"a": "sending"}


# ── size ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_thousand_clips_take_a_few_seconds_and_no_task_each(tmp_path):
    names = [f"c{number:04}" for number in range(1000)]
    s = stage(tmp_path, {name: [Story(polls=[RUNNING, READY])] for name in names})
    tasks = []
    outcome = s.play(
        jobs_of(" ".join(names)), concurrency=50, observe=lambda event: tasks.append(len(asyncio.all_tasks()))
    )
    assert outcome.stopped == ""
    assert set(s.states().values()) == {"done"}
    assert max(tasks) < 80
    assert set(s.provider.booked().values()) == {1}


def test_the_defaults_are_those_of_the_contract():
    policy = Policy(concurrency=1)
    assert (policy.retries, policy.deadline, policy.creates_in_flight) == (0, None, 4)
    assert FakeClock().monotonic() == 0
    assert Ledger is not None
