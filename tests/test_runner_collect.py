"""What was ordered is polled to the provider's own verdict, downloaded, verified, and found again later."""

from __future__ import annotations

import os
from decimal import Decimal

import pytest

from storyrun.errors import FetchFailed, LedgerError, MissedPoll
from storyrun.folder import RunFolder
from storyrun.records import ErrorClass, State, TaskStatus
from tests.fakes import MISSING, NO_CLIP, READY, RUNNING, WAITING, FakeProvider, Story, clip_bytes, failing, gone_url
from tests.stage import Stage, card, job, jobs_of, other_text, power_stays_on

__all__ = ["power_stays_on"]

HOUR = 3600.0


def stage(root, stories, **provider) -> Stage:
    told = {clip: [story] if isinstance(story, Story) else story for clip, story in stories.items()}
    return Stage(root, FakeProvider(told, **provider))


def polled(s: Stage) -> list[float]:
    return [at for call, _, at in s.provider.when if call == "poll"]


def missed(kind: ErrorClass = ErrorClass.NETWORK, retry_after: float | None = None) -> MissedPoll:
    return MissedPoll("502 from a proxy", kind=kind, retry_after=retry_after)


def cut() -> FetchFailed:
    return FetchFailed("the connection was reset", kind=ErrorClass.NETWORK)


# ── polling ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_is_asked_about_at_the_providers_pace_with_jitter(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[WAITING, RUNNING, READY])})
    s.play(jobs_of("a"))
    assert polled(s) == [12.5, 25, 37.5]


def test_a_poll_interval_of_the_users_wins(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[RUNNING, RUNNING, READY])})
    s.play(jobs_of("a"), poll_interval=2.0)
    assert polled(s) == [2, 4, 6]


def test_a_provider_that_asks_for_more_time_gets_it(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[TaskStatus("running", "RUNNING", poll_after=90.0), READY])})
    s.play(jobs_of("a"))
    assert polled(s) == [12.5, 102.5]


def test_missed_polls_are_never_a_failure_and_are_asked_again_with_growing_waits(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[missed()] * 20 + [READY])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}
    gaps = [later - earlier for earlier, later in zip(polled(s), polled(s)[1:], strict=False)]
    assert gaps[:6] == [5, 10, 20, 40, 80, 120]
    assert set(gaps[6:]) == {120}


def test_a_poll_that_is_told_to_wait_waits_that_long(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[missed(ErrorClass.RATE_LIMIT, 33.0), READY])})
    s.play(jobs_of("a"))
    assert polled(s) == [12.5, 45.5]


def test_a_key_that_is_refused_in_polls_leaves_the_task_open_and_orders_nothing_more(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[missed(ErrorClass.CREDENTIALS)])})
    outcome = s.play(jobs_of("a b"), concurrency=1)
    assert s.states() == {"a": "accepted"}
    assert "key" in outcome.stopped
    assert s.provider.calls("poll") == 5


def test_a_word_that_nobody_knows_means_still_running(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[TaskStatus("running", "SUSPENDED"), READY])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}


def test_past_the_deadline_a_task_stays_open_and_the_next_run_goes_on_with_it(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[RUNNING] * 4 + [READY]), "b": Story()})
    s.play(jobs_of("a b"), deadline=30.0)
    assert s.states() == {"a": "accepted", "b": "done"}
    assert s.told("a")[-1] == "open"
    assert polled(s)[-1] == 30
    s.play(jobs_of("a b"))
    assert s.states() == {"a": "done", "b": "done"}
    assert s.provider.calls("create") == 2


def test_a_task_not_visible_yet_is_waited_for(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[MISSING] * 5 + [RUNNING, READY])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}


def test_a_task_that_stays_missing_is_left_open_after_ten_minutes_and_never_ordered_again(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[MISSING])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "accepted"}
    assert 600 <= s.clock.seconds < 660
    s.play(jobs_of("a"))
    assert s.provider.calls("create") == 1


@pytest.mark.parametrize(
    ("keeps", "hours", "state"), [(24, 25, "expired"), (24, 23, "accepted"), (None, 999, "accepted")]
)
def test_a_missing_task_is_expired_only_past_the_keeping_time_of_its_card(tmp_path, keeps, hours, state):
    s = stage(tmp_path, {"a": Story(polls=[MISSING])})
    s.play(jobs_of("a"), deadline=20.0, card=card(keeps_hours=keeps))
    s.clock.seconds += hours * HOUR
    s.play(jobs_of("a"), deadline=20.0, card=card(keeps_hours=keeps))
    assert s.states() == {"a": state}
    s.play(jobs_of("a"), deadline=20.0, card=card(keeps_hours=keeps))
    assert s.provider.calls("create") == 1
    assert s.told("a")[-1] == ("failed" if state == "expired" else "open")


def test_a_success_without_a_clip_stays_open_and_is_asked_again(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[NO_CLIP, NO_CLIP, READY])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}
    t = stage(tmp_path / "never", {"a": Story(polls=[NO_CLIP])})
    t.play(jobs_of("a"))
    assert t.states() == {"a": "accepted"}


def test_what_the_provider_says_of_a_failure_and_of_usage_is_kept(tmp_path):
    usage = {"video_count": 1}
    failed = TaskStatus("failed", "FAILED", failure=failing(ErrorClass.MODERATION, "not this").failure, usage=usage)
    s = stage(
        tmp_path, {"a": Story(polls=[failed]), "b": Story(polls=[TaskStatus("succeeded", "OK", True, usage=usage)])}
    )
    s.play(jobs_of("a b"))
    a, b = s.attempts()
    assert a.failure is not None
    assert (a.failure.kind, a.failure.message, a.usage) == ("moderation", "not this", usage)
    assert b.usage == usage


# ── downloading ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trouble", [gone_url(), cut(), (clip_bytes()[:500], cut())])
def test_an_address_gone_stale_or_a_cut_body_asks_for_a_fresh_one(tmp_path, trouble):
    s = stage(tmp_path, {"a": Story(fetches=[trouble, trouble, clip_bytes()])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}
    assert [call for call, _ in s.provider.history] == ["create", *["poll", "fetch"] * 3]


@pytest.mark.parametrize("junk", [b"", b"<html>no</html>", clip_bytes()[: len(clip_bytes()) // 2]])
def test_what_is_no_whole_video_never_gets_a_final_name(tmp_path, junk):
    s = stage(tmp_path, {"a": Story(fetches=[junk, clip_bytes()])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}
    t = stage(tmp_path / "always", {"a": Story(fetches=[junk])})
    t.play(jobs_of("a"))
    assert t.states() == {"a": "ready"}
    assert (t.clips(), t.leftovers()) == ([], [])


def test_after_five_failed_downloads_a_clip_waits_for_the_next_run(tmp_path):
    s = stage(tmp_path, {"a": Story(fetches=[cut()] * 5 + [clip_bytes()]), "b": Story()})
    s.play(jobs_of("a b"))
    assert s.states() == {"a": "ready", "b": "done"}
    assert s.provider.calls("fetch", "a") == 5
    assert s.told("a")[-1] == "open"
    s.play(jobs_of("a b"))
    assert s.states() == {"a": "done", "b": "done"}
    assert s.provider.calls("create") == 2


def test_half_of_a_paid_clip_is_kept_to_be_resumed_and_swept_once_it_is_done(tmp_path):
    s = stage(tmp_path, {"a": Story(fetches=[(clip_bytes()[:500], cut())] * 5 + [clip_bytes()])})
    s.play(jobs_of("a"))
    assert len(s.leftovers()) == 1
    (s.folder.clips / ".stray.part").write_bytes(b"from a run long ago")
    s.play(jobs_of("a"))
    assert s.leftovers() == []


def test_a_success_that_goes_back_to_running_is_waited_for(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[READY, RUNNING, RUNNING, READY], fetches=[cut(), clip_bytes()])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}


def test_a_success_is_taken_back_only_when_the_provider_says_so_five_times(tmp_path):
    once = stage(tmp_path, {"a": Story(polls=[READY, failing(), READY], fetches=[cut(), clip_bytes()])})
    once.play(jobs_of("a"))
    assert once.states() == {"a": "done"}
    always = stage(tmp_path / "always", {"a": Story(polls=[READY, failing()], fetches=[cut()])})
    always.play(jobs_of("a"))
    assert always.states() == {"a": "failed"}


def test_a_ready_clip_that_the_provider_no_longer_has_is_expired_past_its_keeping_time(tmp_path):
    s = stage(tmp_path, {"a": Story(polls=[READY, READY, READY, READY, READY, MISSING], fetches=[gone_url()])})
    s.play(jobs_of("a"))
    assert s.states() == {"a": "ready"}
    s.clock.seconds += 25 * HOUR
    s.play(jobs_of("a"))
    assert s.states() == {"a": "expired"}
    assert s.provider.calls("create") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [(clip_bytes(frames=4), " s"), (clip_bytes(width=32), "32"), (clip_bytes(height=64), "64")],
    ids=["half as long", "too narrow", "another shape"],
)
def test_a_clip_not_as_ordered_is_fetched_once_more_and_then_kept_with_its_problems(tmp_path, wrong, said):
    once = stage(tmp_path, {"a": Story(fetches=[wrong, clip_bytes()])})
    once.play(jobs_of("a"))
    assert [attempt.problems for attempt in once.attempts()] == [()]
    always = stage(tmp_path / "always", {"a": Story(fetches=[wrong])})
    always.play(jobs_of("a"))
    (attempt,) = always.attempts()
    assert attempt.state == "done"
    assert said in attempt.problems[0]
    assert always.provider.calls("fetch") == 2
    assert "not as ordered" in always.events[-1].sentence
    always.play(jobs_of("a"))
    assert always.provider.calls("create") == 1


def test_silence_where_sound_was_ordered_is_a_problem_and_sound_is_none(tmp_path):
    s = stage(tmp_path, {"a": Story(), "b": Story(fetches=[clip_bytes(sound=True)])})
    s.play([job("a", sounding=True), job("b", sounding=True)])
    silent, sounding = s.attempts()
    assert len(silent.problems) == 1
    assert sounding.problems == ()


def test_a_disk_that_fails_stops_the_run(tmp_path):
    full = OSError(28, "No space left on device")
    s = stage(tmp_path, {"a": Story(fetches=[full]), "b": Story()})
    with pytest.raises(LedgerError, match="No space left"):
        s.play(jobs_of("a b"), concurrency=1)
    assert s.states()["a"] == "ready"


def test_what_cannot_be_drawn_on_this_machine_is_not_tried_five_times(tmp_path):
    s = stage(tmp_path, {"a": Story(fetches=[FetchFailed("desk.png is gone", kind=ErrorClass.FILE)])}, paid=False)
    s.play(jobs_of("a"))
    assert s.provider.calls("fetch") == 1
    assert s.states() == {"a": "ready"}
    assert "desk.png is gone" in s.events[-1].sentence


def test_on_a_free_provider_rendering_is_bounded_by_concurrency(tmp_path):
    s = stage(tmp_path, {clip: Story() for clip in "abcdefg"}, paid=False, fetch_takes=10.0)
    s.play(jobs_of("a b c d e f g"), concurrency=6)
    assert s.provider.most_at_once["fetch"] == 6
    assert set(s.states().values()) == {"done"}


# ── what is already there ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reverted_edit_finds_its_old_clip(tmp_path):
    s = stage(tmp_path, {"a": [Story(), Story()]})
    (a,) = jobs_of("a")
    s.play([a])
    s.play([other_text(a, "other")])
    assert s.play([a]).reused == {"a"}
    assert s.clips() == ["a_v001.mp4", "a_v002.mp4"]


def test_a_renamed_scene_is_reused_under_its_own_name_without_a_copy(tmp_path):
    s = stage(tmp_path, {"old": Story()})
    s.play([job("old", prompt="same")])
    assert s.play([job("new", prompt="same")]).reused == {"new"}
    assert s.clips() == ["new_v001.mp4", "old_v001.mp4"]
    assert (s.folder.clips / "new_v001.mp4").samefile(s.folder.clips / "old_v001.mp4")
    assert s.play([job("new", prompt="same")]).reused == {"new"}


def test_a_scene_renamed_while_its_task_is_open_is_collected_and_linked(tmp_path):
    s = stage(tmp_path, {"old": Story(polls=[RUNNING, RUNNING, READY])})
    s.play([job("old", prompt="same")], deadline=5.0)
    s.play([job("new", prompt="same")])
    assert s.clips() == ["new_v001.mp4", "old_v001.mp4"]
    assert s.provider.calls("create") == 1
    assert "reused" in s.told("new")


@pytest.mark.parametrize("selected", [["b"], []])
def test_open_tasks_are_collected_whatever_is_selected_also_of_clips_that_left_the_plan(tmp_path, selected):
    s = stage(tmp_path, {"a": Story(polls=[RUNNING, RUNNING, READY]), "gone": Story(polls=[RUNNING, RUNNING, READY])})
    s.play(jobs_of("a gone"), deadline=5.0)
    s.play(jobs_of("a c"), only=[])
    assert s.states() == {"a": "done", "gone": "done"}
    assert s.clips() == ["a_v001.mp4", "gone_v001.mp4"]
    assert s.provider.calls("create") == 2


def test_a_clip_that_is_not_selected_is_not_ordered_when_its_old_task_comes_to_nothing(tmp_path):
    s = stage(tmp_path, {"old": Story(polls=[RUNNING, READY, failing()], fetches=[cut()])})
    s.play([job("old", prompt="same")], deadline=5.0)
    s.play([job("new", prompt="same")], only=[], retries=3)
    assert s.states() == {"old": "failed"}
    assert s.provider.calls("create") == 1


@pytest.mark.parametrize(("retries", "state"), [(0, "failed"), (1, "done")])
def test_an_old_task_that_fails_now_is_ordered_again_at_once_if_that_is_allowed(tmp_path, retries, state):
    s = stage(tmp_path, {"a": [Story(polls=[RUNNING, failing()]), Story()]})
    s.play(jobs_of("a"), deadline=5.0)
    s.play(jobs_of("a"), retries=retries)
    assert s.states() == {"a": state}


def test_a_deleted_file_is_fetched_again_while_it_can_be_had(tmp_path):
    s = stage(tmp_path, {"a": Story()})
    s.play(jobs_of("a"))
    (s.folder.clips / "a_v001.mp4").unlink()
    assert s.play(jobs_of("a")).reused == frozenset()
    assert s.clips() == ["a_v001.mp4"]
    assert s.provider.calls("create") == 1


def test_a_deleted_file_that_nobody_keeps_any_more_is_expired_and_not_bought_again(tmp_path):
    s = stage(tmp_path, {"a": Story()})
    s.play(jobs_of("a"))
    (s.folder.clips / "a_v001.mp4").unlink()
    s.clock.seconds += 25 * HOUR
    s.play(jobs_of("a"))
    s.play(jobs_of("a"))
    assert s.states() == {"a": "expired"}
    assert s.provider.calls("create") == 1


def test_a_deleted_file_of_a_clip_that_the_plan_lacks_by_now_is_fetched_again_or_expired(tmp_path):
    s = stage(tmp_path, {"a": Story(), "b": Story()})
    s.play(jobs_of("a"))
    (s.folder.clips / "a_v001.mp4").unlink()
    s.play(jobs_of("b"))
    assert s.clips() == ["a_v001.mp4", "b_v001.mp4"]
    (s.folder.clips / "a_v001.mp4").unlink()
    s.clock.seconds += 25 * HOUR
    s.play(jobs_of("b"))
    assert s.states() == {"a": "expired", "b": "done"}
    assert s.provider.calls("create") == 2


@pytest.mark.parametrize("today", ["a", "b"], ids=["in-the-plan", "former"])
def test_a_clip_that_another_plan_still_has_is_taken_from_there_and_never_expires(tmp_path, today):
    s = stage(tmp_path, {"a": Story(), "b": Story()})
    s.play(jobs_of("a"))
    copy = Stage(tmp_path, s.provider, plan="copy")
    copy.play(jobs_of("a"))
    (s.folder.clips / "a_v001.mp4").unlink()
    s.clock.seconds += 25 * HOUR
    s.play(jobs_of(today))
    assert "a_v001.mp4" in s.clips()
    assert s.states()["a"] == "done"
    (copy.folder.clips / "a_v001.mp4").unlink()
    (s.folder.clips / "a_v001.mp4").unlink()
    s.play(jobs_of(today))
    assert s.states()["a"] == "expired"


def test_a_deleted_link_is_made_again_and_a_deleted_original_does_not_matter(tmp_path):
    s = stage(tmp_path, {"old": Story()})
    s.play([job("old", prompt="same")])
    s.play([job("new", prompt="same")])
    (s.folder.clips / "new_v001.mp4").unlink()
    assert s.play([job("new", prompt="same")]).reused == {"new"}
    (s.folder.clips / "old_v001.mp4").unlink()
    assert s.play([job("new", prompt="same")]).reused == {"new"}
    assert s.provider.calls("fetch") == 1


@pytest.mark.parametrize("change", [lambda clip: clip[:-1], lambda clip: clip[:-1] + b"!"], ids=["cut", "changed"])
def test_a_changed_file_is_kept_and_the_clip_comes_back_under_its_next_name(tmp_path, change):
    s = stage(tmp_path, {"a": Story()})
    s.play(jobs_of("a"))
    graded = change(clip_bytes())
    (s.folder.clips / "a_v001.mp4").write_bytes(graded)
    s.play(jobs_of("a"))
    assert s.attempts()[0].file == "clips/a_v002.mp4"
    assert (s.folder.clips / "a_v001.mp4").read_bytes() == graded
    assert (s.folder.clips / "a_v002.mp4").read_bytes() == clip_bytes()
    assert s.play(jobs_of("a")).reused == {"a"}


def test_a_strangers_file_under_the_name_is_neither_taken_nor_overwritten(tmp_path):
    s = stage(tmp_path, {"a": Story()})
    s.folder.prepare()
    for name in ("a_v001.mp4", "a_v002.mp4"):
        (s.folder.clips / name).write_bytes(clip_bytes(sound=True))
        os.utime(s.folder.clips / name, (0, 0))  # from before the order
    s.play(jobs_of("a"))
    assert s.states() == {"a": "ready"}
    assert "move them away" in s.events[-1].sentence
    (s.folder.clips / "a_v002.mp4").unlink()
    s.play(jobs_of("a"))
    assert s.attempts()[0].file == "clips/a_v002.mp4"
    assert (s.folder.clips / "a_v001.mp4").read_bytes() == clip_bytes(sound=True)


def test_a_touched_file_is_hashed_again_and_still_the_same(tmp_path, monkeypatch):
    s = stage(tmp_path, {"a": Story()})
    s.play(jobs_of("a"))
    os.utime(s.folder.clips / "a_v001.mp4")
    assert s.play(jobs_of("a")).reused == {"a"}
    os.utime(s.folder.clips / "a_v001.mp4", (0, 0))  # older than the row: not even read
    monkeypatch.setattr("storyrun.runner.existing.sha256_of", None)
    assert s.play(jobs_of("a")).reused == {"a"}


def test_two_names_of_one_price(tmp_path):
    """A clip made for another plan costs this one nothing: it has no row of its own."""
    s = stage(tmp_path, {"a": Story()})
    s.play(jobs_of("a"))
    copy = Stage(tmp_path, s.provider, plan="copy")
    copy.play(jobs_of("a"))
    assert copy.attempts() == []
    assert [attempt.reserved.amount for attempt in s.attempts() if attempt.reserved] == [Decimal("0.10")]


def test_the_folder_of_a_run_is_what_the_contract_says(tmp_path):
    s = stage(tmp_path, {"a": Story()})
    s.play(jobs_of("a"))
    assert s.folder == RunFolder(tmp_path / "outputs" / "plan" / "tokenhub")
    assert s.attempts()[0].state is State.DONE
