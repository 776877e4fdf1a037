"""What was ordered belongs to one host and one account: elsewhere nobody is asked, and another key proves nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from storyrun import jobs, providers
from storyrun.clock import SystemClock
from storyrun.errors import MissedPoll
from storyrun.folder import Outputs
from storyrun.http import Secret
from storyrun.ledger import Ledger
from storyrun.providers import accounts
from storyrun.records import ErrorClass, Money, State
from tests.clouds import CLOUDS, KEY, made
from tests.fakes import MISSING, READY, RUNNING, FakeProvider, Story, lost
from tests.rehearsal import opening, typed
from tests.stage import Stage, job, jobs_of, power_stays_on
from tests.written import plan_file, write_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from storyrun.records import Job
    from storyrun.runner import Outcome
    from tests import rehearsal

__all__ = ["power_stays_on"]

INTL = "https://dashscope-intl.aliyuncs.com"
MAINLAND = "https://dashscope.aliyuncs.com"
ONE, OTHER = f"{INTL} aaaaaaaaaaaa", f"{INTL} bbbbbbbbbbbb"
AWAY = f"{MAINLAND} aaaaaaaaaaaa"
HOUR = 3600.0


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog) -> Iterator[Callable[..., rehearsal.Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


# ── the text in the row ──────────────────────────────────────────────────────────────────────────────────────────────


def test_an_account_is_where_and_a_print_of_the_key_and_never_the_key():
    text = str(accounts.of(INTL, Secret("sk-0123456789abcdef0123456789abcdef")))
    base, _, print_ = text.partition(" ")
    assert base == INTL
    assert (len(print_), set(print_) - set("0123456789abcdef")) == (12, set())
    assert "0123456789abcdef"[:6] not in text
    assert accounts.of(MAINLAND, Secret("sk-0123456789abcdef0123456789abcdef")).key != print_, "not the same elsewhere"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://Example.COM:443/", "https://example.com"),
        ("http://127.0.0.1:80/v", "http://127.0.0.1/v"),
        ("https://example.com:8443/pre/Fix/", "https://example.com:8443/pre/Fix"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_one_place_is_one_text_however_it_is_written(written, read):
    assert accounts.origin(written) == read


@pytest.mark.parametrize(
    ("ordered", "today", "how"),
    [(ONE, ONE, ""), (ONE, OTHER, "key"), (ONE, AWAY, "base"), ("", ONE, ""), (ONE, "", ""), ("ab12", ONE, "")],
)
def test_what_an_older_ledger_does_not_say_is_no_difference(ordered, today, how):
    assert accounts.difference(ordered, today) == how


@pytest.mark.parametrize("name", CLOUDS)
def test_every_cloud_says_its_account_and_the_animatic_has_none(name):
    said = made(name, "http://127.0.0.1:9/prefix/v1").account
    assert said == str(accounts.of("http://127.0.0.1:9/prefix", Secret(KEY)))
    assert KEY not in said
    assert providers.build("animatic", {}, lambda _: None).account == ""


def test_the_row_of_an_order_has_the_account_and_no_key(cloud):
    stage = cloud("dashscope")
    assert stage.run().code == 0
    (attempt,) = stage.attempts
    account = accounts.read(attempt.account)
    assert account is not None
    assert account.base == stage.sandbox.environment["DASHSCOPE_BASE_URL"]


# ── another key at the same host ─────────────────────────────────────────────────────────────────────────────────────


def stage(root, stories, account: str = ONE, **provider) -> Stage:
    return Stage(root, FakeProvider(stories, account=account, **provider))


def last(s: Stage, clip: str) -> str:
    return [event.sentence for event in s.events if event.clip == clip][-1]


def notes(outcome: Outcome) -> list[str]:
    return [note for note in outcome.notes if "another key" in note]


def test_with_another_key_what_is_open_is_polled_with_one_warning_in_a_run(tmp_path):
    s = stage(tmp_path, {clip: [Story(polls=[RUNNING, READY])] for clip in "abc"})
    assert notes(s.play(jobs_of("a b c"), deadline=5.0)) == []
    s.provider.account = OTHER
    outcome = s.play(jobs_of("a b c"))
    assert set(s.states().values()) == {"done"}
    assert len(notes(outcome)) == 1
    assert notes(s.play(jobs_of("a b c"))) == [], "nothing is open any more"


@pytest.mark.parametrize("hours", [0, 999])
@pytest.mark.parametrize("polls", [[MISSING], [READY, MISSING]], ids=["accepted", "ready"])
def test_what_another_key_does_not_find_changes_no_state_ever(tmp_path, hours, polls):
    s = stage(tmp_path, {"a": [Story(polls=polls, fetches=[MissedPoll("cut", kind=ErrorClass.NETWORK)])]})
    s.play(jobs_of("a"), deadline=20.0)
    before = s.states()
    s.provider.account = OTHER
    s.clock.seconds += hours * HOUR
    polled = s.provider.calls("poll")
    s.play(jobs_of("a"))
    assert s.states() == before
    assert s.provider.calls("poll") > polled
    assert s.told("a")[-1] == "open"
    assert "another key of dashscope-intl.aliyuncs.com" in last(s, "a")
    s.provider.account = ONE
    s.play(jobs_of("a"), deadline=60.0)
    assert s.states() == ({"a": "expired"} if hours else before), "its own key is believed"


def test_a_row_that_does_not_say_its_account_is_polled_and_expires_as_ever(tmp_path):
    s = stage(tmp_path, {"a": [Story(polls=[MISSING])]}, account="")
    s.play(jobs_of("a"), deadline=20.0)
    s.provider.account = OTHER
    s.clock.seconds += 25 * HOUR
    assert notes(s.play(jobs_of("a"), deadline=20.0)) == []
    assert s.states() == {"a": "expired"}


def test_a_task_that_today_s_key_may_not_see_stops_no_order_of_its_own(tmp_path):
    refused = MissedPoll("not yours", kind=ErrorClass.CREDENTIALS)
    s = stage(tmp_path, {"a": [Story(polls=[RUNNING, refused])], "b": [Story()]})
    s.play(jobs_of("a"), deadline=20.0)
    s.provider.account = OTHER
    outcome = s.play(jobs_of("a b"), concurrency=1)
    assert outcome.stopped == ""
    assert s.states() == {"a": "accepted", "b": "done"}
    assert "another key" in last(s, "a")


def test_a_lost_order_is_not_looked_for_with_another_key_and_that_is_said(tmp_path):
    s = stage(tmp_path, {"a": [Story(lost(), booked=True)]})
    s.play(jobs_of("a"))
    asked = s.provider.calls("find")
    s.provider.finds, s.provider.account = True, OTHER
    s.play(jobs_of("a"))
    assert (s.provider.calls("find"), s.states()) == (asked, {"a": "unknown"})
    assert any("not looked for: it was ordered with another key" in event.sentence for event in s.events)
    s.provider.account = ONE
    s.play(jobs_of("a"))
    assert s.states() == {"a": "done"}


def test_another_account_of_a_real_service_does_not_know_the_task_and_it_stays_open(cloud, monkeypatch):
    s = cloud("dashscope", clips=2, latency=0.4)
    assert s.run("--deadline", "0").code == 4
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sandbox-other-account")
    ran = s.fetch()
    assert (ran.code, s.states) == (4, ["accepted"] * 2)
    assert ran.err.count("note:") == 1
    assert "whatever today's does not find stays as it is" in ran.said
    assert "c1 still open: not found, which says nothing: it was ordered with another key" in ran.said
    monkeypatch.setenv("DASHSCOPE_API_KEY", s.sandbox.environment["DASHSCOPE_API_KEY"])
    assert (s.fetch().code, s.states, s.booked, s.creates) == (0, ["done"] * 2, 2, 2)


# ── another host ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("story", [Story(polls=[RUNNING]), Story(lost(), booked=True)], ids=["accepted", "unknown"])
def test_of_what_was_ordered_elsewhere_nobody_is_asked(tmp_path, story):
    s = stage(tmp_path, {"a": [story]}, finds=False)
    s.play(jobs_of("a"), deadline=20.0)
    before, calls = s.states(), len(s.provider.history)
    s.provider.account, s.provider.finds = AWAY, True
    s.clock.seconds += 999 * HOUR
    s.play(jobs_of("a"))
    assert (s.states(), len(s.provider.history)) == (before, calls)
    assert s.told("a")[-1] in ("open", "unknown")
    assert "ordered at dashscope-intl.aliyuncs.com, and dashscope.aliyuncs.com is not asked" in last(s, "a")


@pytest.mark.parametrize("story", [Story(polls=[RUNNING]), Story(lost(), booked=True)], ids=["accepted", "unknown"])
def test_another_plan_s_clip_that_is_open_elsewhere_is_neither_asked_about_nor_bought_again(tmp_path, story):
    s = stage(tmp_path, {"a": [story], "b": [Story()]})
    s.play(jobs_of("a"), deadline=20.0)
    s.provider.account = AWAY
    other = Stage(tmp_path, s.provider, plan="copy")
    asked = [s.provider.calls(kind, "a") for kind in ("create", "poll", "find")]
    other.play(jobs_of("a b"))
    assert other.states() == {"b": "done"}
    assert [s.provider.calls(kind, "a") for kind in ("create", "poll", "find")] == asked
    assert other.told("a")[-1] in ("open", "unknown")
    assert "is not asked about it" in last(other, "a")


def test_what_is_done_is_reused_whatever_the_host_is_today(tmp_path):
    s = stage(tmp_path, {"a": [Story()]})
    s.play(jobs_of("a"))
    s.provider.account = AWAY
    assert s.play(jobs_of("a")).reused == {"a"}


@pytest.mark.parametrize("hours", [0, 999])
def test_a_missing_file_of_another_host_is_not_asked_for_there_and_nothing_is_given_up(tmp_path, hours):
    s = stage(tmp_path, {"a": [Story()]})
    s.play(jobs_of("a"))
    (s.folder.clips / "a_v001.mp4").unlink()
    s.provider.account = AWAY
    s.clock.seconds += hours * HOUR
    calls = len(s.provider.history)
    s.play(jobs_of("a"))
    assert (s.states(), len(s.provider.history)) == ({"a": "done"}, calls)
    assert "its file is gone; it was ordered at dashscope-intl" in last(s, "a")
    s.clock.seconds -= hours * HOUR
    s.provider.account = ONE
    s.play(jobs_of("a"))
    assert s.clips() == ["a_v001.mp4"]
    assert s.provider.calls("create") == 1


PLAN = """
provider: dashscope
model: wan2.6-t2v
scenes:
- {id: a, seconds: 5, resolution: 720p, prompt: x}
- {id: b, seconds: 5, resolution: 720p, prompt: y}
- {id: c, seconds: 5, resolution: 720p, prompt: z}
"""


@pytest.fixture
def left_open(tmp_path, monkeypatch) -> Callable[..., None]:
    """Leaves attempts at the international host as if a run had ordered them there, one in each of the states."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-nobody-is-asked")
    monkeypatch.setenv("DASHSCOPE_BASE_URL", MAINLAND)
    plan = plan_file(write_plan(tmp_path, PLAN))

    def leave(*states: State, account: str = ONE) -> None:
        outputs = Outputs(tmp_path / "outputs")
        outputs.run_folder("plan", "dashscope").prepare()
        with Ledger.open(outputs.ledger_path, SystemClock()) as ledger:
            run = ledger.begin_run("plan", "dashscope", "../plan.yaml", 1, "here")
            for each, state in zip(plan.jobs, states, strict=False):
                attempt = ledger.order(
                    run=run, plan="plan", plan_path="../plan.yaml", provider="dashscope", job=jobs.as_dict(each),
                    request={}, account=account, reserved=Money(Decimal(1), "USD"), budget=None, run_ceiling=None,
                    free_when_failed=False,
                )  # fmt: skip
                if state in (State.ACCEPTED, State.READY):
                    ledger.move(attempt.id, State.ACCEPTED, task_id=f"task-{attempt.number}")
                if state in (State.UNKNOWN, State.READY):
                    ledger.move(attempt.id, state)
            ledger.end_run(run)

    return leave


@pytest.mark.parametrize("words", [["run", "plan.yaml", "--yes"], ["fetch", "plan.yaml"], ["fetch", "outputs"]])
def test_run_and_fetch_refuse_before_anything_is_sent_or_asked(left_open, words, monkeypatch):
    left_open(State.ACCEPTED, State.UNKNOWN, State.READY)
    monkeypatch.setattr("storyrun.providers.build", None)
    ran = typed(*words)
    assert ran.code == 2
    assert "3 open clips of plan were ordered at dashscope-intl.aliyuncs.com" in ran.said
    assert "DASHSCOPE_BASE_URL leads to dashscope.aliyuncs.com today; nothing was sent" in ran.said
    place = words[1]
    assert f"DASHSCOPE_BASE_URL=https://dashscope-intl.aliyuncs.com storyrun fetch {place}" in ran.said


def test_one_that_a_death_left_in_sending_is_refused_too_and_a_preview_is_not(left_open):
    left_open(State.SENDING)
    ran = typed("run", "plan.yaml", "--yes", "--only", "c")
    assert (ran.code, "1 open clip of plan was ordered at" in ran.said) == (2, True)
    assert typed("quote", "plan.yaml").code == 0
    assert typed("status", "plan.yaml").code == 0


def test_a_variable_that_is_not_set_means_the_usual_host(left_open, monkeypatch):
    left_open(State.ACCEPTED, account=AWAY)
    monkeypatch.delenv("DASHSCOPE_BASE_URL")
    ran = typed("fetch", "plan.yaml")
    assert ran.code == 2
    assert "leads to dashscope-intl.aliyuncs.com today" in ran.said


def test_fetch_of_several_plans_asks_nobody_when_one_of_them_is_elsewhere(cloud, tmp_path):
    """The first would be collected here; the second has its clip at another path of the same service."""
    s = cloud("dashscope", latency=0.2)
    assert s.run("--deadline", "0").code == 4
    with Ledger.open(Outputs(tmp_path / "outputs").ledger_path, SystemClock()) as ledger:
        (attempt,) = ledger.attempts()
        run = ledger.begin_run("zebra", attempt.provider, "../zebra.yaml", 1, "here")
        away = attempt.account.replace("/dashscope ", "/elsewhere ")
        assert away != attempt.account
        ledger.order(
            run=run, plan="zebra", plan_path="../zebra.yaml", provider=attempt.provider, request={}, account=away,
            job={**attempt.job, "fingerprint": "f" * 64}, reserved=None, budget=None, run_ceiling=None,
            free_when_failed=False,
        )  # fmt: skip
        ledger.end_run(run)
    asked = s.sandbox.counts.total()
    ran = typed("fetch", "outputs")
    assert ran.code == 2
    assert "1 open clip of zebra was ordered at http://127.0.0.1" in ran.said
    assert s.sandbox.counts.total() == asked


def test_nothing_is_refused_where_the_ledger_does_not_say(left_open, monkeypatch):
    left_open(State.ACCEPTED, account="")
    monkeypatch.setattr("storyrun.cli.fetch.order", lambda *_: (_ for _ in ()).throw(InterruptedError("it went on")))
    assert "it went on" in typed("fetch", "plan.yaml").said


# ── a task that was found ────────────────────────────────────────────────────────────────────────────────────────────


def takes(*fingerprints: str) -> list[Job]:
    """Clips of one prompt that differ only in what a provider does not repeat."""
    return [job(clip, prompt="same", fingerprint=mark * 64) for clip, mark in zip("abc", fingerprints, strict=False)]


def both_lost() -> dict[str, list[Story]]:
    return {clip: [Story(lost(), booked=True)] for clip in "ab"}


def test_the_provider_is_told_which_tasks_have_an_owner(tmp_path):
    s = stage(tmp_path, {"a": [Story()], "b": [Story(lost(), booked=False)]})
    s.play(jobs_of("a b"), concurrency=1)
    assert s.provider.owned == {"task-1"}


def test_of_two_lost_orders_of_one_prompt_none_is_adopted_where_only_looks_tell(tmp_path):
    s = stage(tmp_path, both_lost(), finds=True)
    s.provider.found_by_likeness = True
    s.play(takes("1", "2"))
    s.play(takes("1", "2"))
    assert s.states() == {"a": "unknown", "b": "unknown"}
    said = {event.sentence for event in s.events if event.kind == "note"}
    assert "it could be task task-1, and so could b of plan: storyrun settle" in said
    assert s.provider.calls("create") == 2


def test_where_our_own_id_tells_both_are_found(tmp_path):
    s = stage(tmp_path, both_lost(), finds=True)
    s.play(takes("1", "2"))
    assert s.states() == {"a": "done", "b": "done"}


def test_by_looks_an_order_without_a_double_is_found(tmp_path):
    s = stage(tmp_path, both_lost(), finds=True)
    s.provider.found_by_likeness = True
    s.play(jobs_of("a b"))
    assert s.states() == {"a": "done", "b": "done"}


@pytest.mark.parametrize(
    ("settled", "apart", "state"),
    [(State.NOT_SENT, 0, "done"), (State.ABANDONED, 0, "unknown"), (State.ABANDONED, 30 * HOUR, "done")],
)
def test_a_double_that_a_person_gave_up_may_still_own_the_task_of_that_day(tmp_path, settled, apart, state):
    s = stage(tmp_path, both_lost())
    s.provider.found_by_likeness = True
    s.play(takes("1"))
    with Ledger.open(s.outputs.ledger_path, s.clock) as ledger:
        ledger.move(ledger.attempts()[0].id, settled, by="ana", why="the test")
    s.clock.seconds += apart
    s.provider.finds = True
    s.play([takes("1", "2")[1]])
    assert s.states()["b"] == state


def test_takes_of_one_prompt_lost_at_dashscope_are_left_to_a_person_with_the_tasks_that_could_be_it(cloud):
    s = cloud("dashscope", faults={"drop-answer": "1"})
    s.plan.write_text(s.plan.read_text("utf-8").replace("prompt:", "takes: 2, prompt:"), "utf-8")
    ran = s.run()
    assert (ran.code, s.states, s.booked) == (4, ["unknown"] * 2, 2)
    ids = [line["task_id"] for line in s.sandbox.log.booked]
    again = s.run()
    assert "warning: c1, sent" in again.said
    assert all(task_id in again.said for task_id in ids)
    assert (again.code, s.states, s.creates) == (4, ["unknown"] * 2, 2)


def test_the_take_whose_answer_came_is_no_candidate_for_the_one_whose_was_lost(cloud):
    s = cloud("dashscope", faults={"drop-answer": "1x"})
    s.plan.write_text(s.plan.read_text("utf-8").replace("prompt:", "takes: 2, prompt:"), "utf-8")
    assert (s.run().code, s.states, s.booked, s.creates) == (0, ["done"] * 2, 2, 2)
