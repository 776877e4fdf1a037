"""What may have been bought: what a person is told of it, and what happens to their word."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from storyrun.cli import settle
from storyrun.cli.show import standing
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.folder import Outputs
from storyrun.ledger import Ledger
from storyrun.providers.toapis import ToApis
from storyrun.records import Echo, State
from tests.clouds import ATTEMPT, polled, recording
from tests.plays import SPOT, START, Shop, planned
from tests.rehearsal import opening, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Ran, Stage


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog) -> Iterator[Callable[..., Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


@pytest.fixture
def lost(cloud) -> Stage:
    """Two clips at TokenHub, both bought, both without an answer; nothing can look for them there."""
    stage: Stage = cloud("tokenhub", clips=2, faults={"drop-answer": "1"})
    assert stage.run("--concurrency", "1").code == 4
    assert stage.states == ["unknown"] * 2
    return stage


def bought(stage: Stage) -> list[str]:
    return [line["task_id"] for line in stage.sandbox.log.booked]


def word(*words: str) -> Ran:
    return typed("settle", "plan.yaml", *words)


def polls(stage: Stage) -> int:
    return stage.sandbox.counts["poll"]


# ── --adopt ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_takes_up_the_task_that_the_provider_knows_with_the_same_prompt(lost):
    first, second = bought(lost)
    assert word("c1", "--adopt", f" {first} ").code == 0
    assert word("c2", "--adopt", second).code == 0
    assert (lost.fetch().code, lost.states, lost.booked, lost.creates) == (0, ["done"] * 2, 2, 2)


def test_a_task_with_another_prompt_is_refused_and_both_are_shown(lost):
    ran = word("c1", "--adopt", bought(lost)[1])
    assert ran.code == 2
    assert "has another prompt than c1; nothing was changed" in ran.said
    assert 'there "Dust moves in light 2" here "Dust moves in light 1"' in ran.said
    assert lost.states == ["unknown"] * 2


def test_a_task_that_the_provider_does_not_know_is_refused(lost):
    ran = word("c1", "--adopt", "0385dc79-5ff8-4d82-bcb6-000000000001")
    assert (ran.code, lost.states) == (2, ["unknown"] * 2)
    assert "tokenhub does not know task 0385dc79" in ran.said


def test_a_task_of_another_order_is_refused_by_name_and_nobody_is_asked(lost):
    first, _ = bought(lost)
    assert word("c1", "--adopt", first).code == 0
    asked = polls(lost)
    ran = word("c2", "--adopt", first)
    assert (ran.code, polls(lost), lost.states[1]) == (2, asked, "unknown")
    assert f"task {first} is already that of c1 of plan (attempt {lost.attempts[0].id}); nothing was asked" in ran.said


@pytest.mark.parametrize("written", ["a/../b", "two words", "?x=1", "", "\x1b[31mred", "-x" * 101])
def test_what_is_no_task_id_is_refused_and_nobody_is_asked(lost, written):
    asked = polls(lost)
    ran = word("c1", f"--adopt={written}")
    assert (ran.code, polls(lost), lost.states) == (2, asked, ["unknown"] * 2)
    assert "\x1b" not in ran.said
    assert "nothing was" in ran.said


def test_with_another_key_nobody_is_asked(lost, monkeypatch):
    monkeypatch.setenv("TOKENHUB_API_KEY", "sandbox-somebody-else")
    asked = polls(lost)
    ran = word("c1", "--adopt", bought(lost)[0])
    assert (ran.code, polls(lost), lost.states) == (2, asked, ["unknown"] * 2)
    assert "c1 was ordered with another TOKENHUB_API_KEY than today's" in ran.said


def test_at_another_address_nobody_is_asked(lost, monkeypatch):
    there = lost.sandbox.environment["TOKENHUB_BASE_URL"]
    monkeypatch.setenv("TOKENHUB_BASE_URL", f"{there}/elsewhere")
    asked = lost.sandbox.counts.total()
    ran = word("c1", "--adopt", bought(lost)[0])
    assert (ran.code, lost.sandbox.counts.total(), lost.states) == (2, asked, ["unknown"] * 2)
    assert f"c1 was ordered at {there}, and TOKENHUB_BASE_URL leads to {there}/elsewhere today" in ran.said
    assert f"set TOKENHUB_BASE_URL={there}" in ran.said


def test_a_task_that_carries_another_order_s_id_is_refused(cloud, monkeypatch):
    async def finds_nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(ToApis, "find", finds_nothing)
    stage = cloud("toapis", clips=2, faults={"drop-answer": "1"})
    assert (stage.run("--concurrency", "1").code, stage.states) == (4, ["unknown"] * 2)
    ran = word("c1", "--adopt", bought(stage)[1])
    assert (ran.code, stage.states) == (2, ["unknown"] * 2)
    assert "was ordered as c2 of plan, not as c1; nothing was changed" in ran.said
    assert word("c1", "--adopt", bought(stage)[0]).code == 0


async def test_what_providers_repeat_of_an_order_is_read_and_nothing_else_is_made_up():
    said = [
        (await polled(name, recording(name, about))).echo
        for name, about in (
            ("dashscope", "poll-succeeded"),
            ("tokenhub", "poll-running-gateway"),
            ("toapis", "poll-running"),
            ("dashscope", "poll-running"),
        )
    ]
    assert said == [
        Echo(prompt="A kitten running in the moonlight"),
        Echo(model="wan2.7-t2v"),
        Echo(model="wan2.6"),
        Echo(),
    ]


@pytest.mark.parametrize(
    ("echo", "said"),
    [
        (Echo(), ""),
        (Echo(prompt=" Dust moves in light 1\n"), ""),
        (Echo(model="wan2.6-t2v"), "is of wan2.6-t2v, and c1 of wan3.0-video"),
        (Echo(attempt_id=ATTEMPT), "was ordered as an order that this ledger does not know, not as c1"),
    ],
)
def test_what_is_not_repeated_is_no_reason_to_refuse(lost, echo, said):
    with Ledger.open(Outputs(lost.folder / "outputs").ledger_path, SystemClock()) as ledger:
        attempt = ledger.attempts()[0]
        if not said:
            settle._compare(ledger, attempt, "t-1", echo)
            return
        with pytest.raises(UsageError, match=said):
            settle._compare(ledger, attempt, "t-1", echo)


def test_long_prompts_are_shown_where_they_differ():
    one, other = "very long " * 40 + "one end", "very long " * 40 + "other end"
    assert [text[-8:] for text in settle._apart(one, other)] == [" one end", "ther end"]
    assert all(len(text) < 80 for text in settle._apart(one, other))
    assert settle._apart("short", "short and more") == ("short", "short and more")


# ── the other words, and who said them ───────────────────────────────────────────────────────────────────────────────


def test_what_may_be_bought_is_bought_again_only_with_the_second_word(lost):
    assert word("c1", "--rebuy").code == 2
    assert lost.states == ["unknown"] * 2
    assert word("c1", "--rebuy", "--accept-possible-duplicate", "--why", "the console is empty").code == 0
    lost.sandbox.faults = {}
    assert lost.states == ["superseded", "unknown"]


def history(stage: Stage, number: int) -> list[tuple[str, str, str]]:
    with Ledger.open(Outputs(stage.folder / "outputs").ledger_path, SystemClock()) as ledger:
        return [(step.after, step.by, step.why) for step in ledger.history(stage.attempts[number].id)]


def test_who_when_and_why_are_kept_and_shown_for_what_was_given_up(lost, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ana")
    assert word("c1", "--abandon", "--why", "the client\ncut it").code == 0
    assert word("c2", "--not-created").code == 0
    assert history(lost, 0)[-1] == ("abandoned", "ana", "the client\ncut it")
    assert history(lost, 1)[-1] == ("not_sent", "ana", "settle --not-created")
    said = typed("status", "plan.yaml")
    at = lost.attempts[0].changed_at[:4]
    line = next(line for line in said.out.splitlines() if "given up by" in line)
    assert line.split()[:6] == ["c1", "given", "up", "by", "ana,", line.split()[5]]
    assert line.split()[5].startswith(at)
    assert line.endswith(r": the client\ncut it")
    (view,) = json.loads(typed("status", "plan.yaml", "--json").out)
    assert [clip["standing"] for clip in view["clips"]] == ["given up", "failed"]
    assert view["clips"][0]["given_up"]["by"] == "ana"
    assert view["clips"][0]["given_up"]["why"] == "the client\ncut it"
    assert view["clips"][1]["given_up"] is None


# ── what is told of them ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_summary_tells_time_price_and_the_head_of_the_prompt_and_so_does_status(lost):
    for ran in (lost.run(), lost.fetch(), typed("status", "plan.yaml")):
        lines = [line.strip() for line in ran.out.splitlines()]
        for number in (1, 2):
            sent = next(place for place, line in enumerate(lines) if re.match(rf"c{number} .* sent \d", line))
            assert "no answer" in lines[sent]
            assert lines[sent + 1] == f'"Dust moves in light {number}"'
        assert "--adopt ID | --not-created" in ran.out


def test_programs_get_the_same_facts(lost):
    (view,) = json.loads(typed("status", "plan.yaml", "--json").out)
    assert view["needs_you"] == ["c1", "c2"]
    for clip, attempt in zip(view["clips"], lost.attempts, strict=True):
        assert (clip["standing"], clip["prompt"]) == ("unclear", attempt.job["prompt"])
        assert clip["submitted_at"][:19] == attempt.created_at[:19]
        assert (clip["cost"]["quoted"] is None) == (attempt.reserved is None)


def unclear(tmp_path, prompt: str, cost: Any = None) -> dict[str, Any]:
    clip = {"prompt": prompt, "cost": {"quoted": cost}, "submitted_at": START.isoformat(), "status": "unknown"}
    return {**clip, "error": None, "fingerprint": "f"}


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ("short", '"short"'),
        ("a\n  new\tline", '"a new line"'),
        ("red \x1b[31mand \u202eback", r'"red \x1b[31mand \u202eback"'),
        ("word " * 40, '"' + "word " * 9 + 'wo..."'),
    ],
)
def test_the_head_of_a_prompt_is_one_harmless_line_of_fifty(tmp_path, prompt, shown):
    assert standing._head(unclear(tmp_path, prompt)) == shown


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (None, "no known price"),
        ({"amount": 0.5, "currency": "USD", "exact": True}, "0.50 USD"),
        ({"amount": 0.5, "currency": "USD", "exact": False}, "~0.50 USD"),
        ({"amount": 0, "currency": "USD", "exact": True}, ""),
    ],
)
def test_a_price_that_nobody_knows_is_not_nothing(tmp_path, cost, said):
    assert standing._price(unclear(tmp_path, "x", cost)) == said


# ── status and quote speak alike ─────────────────────────────────────────────────────────────────────────────────────


def test_an_edited_clip_is_changed_in_status_as_in_the_quote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    with shop.ledger:
        for job, state in zip(plan.jobs, (State.DONE, State.SUPERSEDED, State.DONE), strict=False):
            shop.bring(job, state)
    planned(SPOT.replace("a hand", "a paw"), tmp_path)
    quoted = {clip["id"]: clip["status"] for clip in json.loads(typed("quote", "spot.yaml", "--json").out)["clips"]}
    (view,) = json.loads(typed("status", "spot.yaml", "--json").out)
    told = {clip["id"]: clip["standing"] for clip in view["clips"]}
    assert {clip for clip in quoted if quoted[clip] == "changed"} == {"pour[format=wide]"}
    assert told["pour[format=wide]"] == "changed"
    assert {clip for clip in told if told[clip] == "not ordered"} == {clip for clip in quoted if quoted[clip] == "new"}
    said = typed("status", "spot.yaml").said
    assert "1 changed the next run orders what is written now pour[format=wide]" in said


def changed(cloud, lost: str) -> Stage:
    """One clip at TokenHub without an answer, then ordered anew with another text."""
    stage: Stage = cloud("tokenhub", faults={"drop-answer": lost})
    assert stage.run().code == 4
    stage.plan.write_text(stage.plan.read_text("utf-8").replace("Dust", "Sand"), encoding="utf-8")
    return stage


def test_a_clip_that_was_changed_since_is_settled_by_the_line_that_was_told(cloud):
    stage = changed(cloud, "1x")
    told = stage.run()
    assert told.code == 4
    assert f"settle {stage.plan} c1 --adopt" in told.said
    assert stage.states == ["unknown", "done"]
    assert word("c1", "--not-created").code == 0
    assert stage.states == ["not_sent", "done"]


def test_of_two_that_are_unclear_one_must_be_named(cloud):
    stage = changed(cloud, "2x")
    stage.run()
    first, second = stage.attempts
    refused = word("c1", "--abandon")
    assert refused.code == 2
    assert f"{first.id} (unknown, ordered " in refused.said
    assert f"{second.id} (unknown, ordered " in refused.said
    assert word(first.id, "--abandon").code == 0
    assert stage.states == ["abandoned", "unknown"]


def test_a_clip_that_is_unclear_at_one_of_two_hosts_is_settled_by_its_id(tmp_path, monkeypatch, caplog):
    """A sandbox that was started again on another port is another place; the word is wanted at one of them."""
    with opening(tmp_path, monkeypatch, caplog) as cloud:
        first = cloud("tokenhub")
        assert first.run().code == 0
        second = cloud("tokenhub", faults={"drop-answer": "1x"})
        assert second.run().code == 4
        ran = typed("settle", str(second.plan), "c1", "--not-created")
        assert ran.code == 0, ran.said
        assert "c1: was unclear, is now not ordered next storyrun" in ran.said
        assert second.run().code == 0


def test_a_clip_that_is_unclear_at_two_hosts_is_settled_at_that_of_today_or_by_its_attempt(
    tmp_path, monkeypatch, caplog
):
    with opening(tmp_path, monkeypatch, caplog) as cloud:
        first = cloud("tokenhub", faults={"drop-answer": "1x"})
        assert first.run().code == 4
        second = cloud("tokenhub", faults={"drop-answer": "1x"})
        assert second.run().code == 4
        ran = typed("settle", str(second.plan), "c1", "--not-created", "--json")
        assert ran.code == 0, ran.said
        states = {attempt.provider: str(attempt.state) for attempt in second.attempts}
        assert states == {first.label: "unknown", second.label: "not_sent"}
        monkeypatch.delenv("TOKENHUB_BASE_URL")
        left = next(attempt for attempt in second.attempts if attempt.provider == first.label)
        ran = typed("settle", str(second.plan), left.id, "--abandon")
        assert ran.code == 0, ran.said
