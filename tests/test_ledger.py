"""The ledger: its state table, one owner per task, what a row keeps, its ceilings and its names."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from fractions import Fraction

import pytest

from storyrun import states
from storyrun.errors import LedgerError, TransitionError
from storyrun.ledger import MOVES, STATES, AlreadyLive, Ledger, OverBudget, Placing, TaskTaken
from storyrun.records import ErrorClass, Failure, MediaInfo, Money, State
from tests.ledgers import PATHS, ROWS, TickingClock, go, hasty, needs, order, usd

MEDIA = MediaInfo(Fraction(121, 24), 1280, 720, Fraction(30000, 1001), 150, "h264", "aac")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with hasty(path) as ledger:
        yield ledger


@pytest.fixture
def run(ledger):
    return ledger.begin_run("spot", "tokenhub", "../spot.yaml", 4711, "here")


# ── the state table ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_table_in_code_is_the_table_of_the_design():
    for state, live, spent, shown, *moves in ROWS:
        meaning = STATES[State(state)]
        assert (meaning.live, meaning.spent, meaning.shown) == (live != "-", spent != "-", shown.strip("-"))
        assert MOVES[State(state)] == {State(to) for to in moves}
    assert [row[0] for row in ROWS] == [*State] == [*STATES] == [*MOVES]


@pytest.mark.parametrize(("start", "moves"), [(row[0], row[4:]) for row in ROWS])
def test_every_move_of_the_table_is_taken_and_every_other_refused(ledger, run, start, moves):
    for to in State:
        attempt = go(ledger, order(ledger, run, f"to-{to}"), *PATHS[start].split())
        history = ledger.history(attempt.id)
        if to in moves:
            after = ledger.move(attempt.id, to, accept_possible_duplicate=True, **needs(attempt, to))
            assert after.state is to
            assert ledger.history(attempt.id)[-1].before is State(start)
        else:
            with pytest.raises(TransitionError, match=f"cannot go from {start} to {to}"):
                ledger.move(attempt.id, to, accept_possible_duplicate=True, **needs(attempt, to))
            assert ledger.attempt(attempt.id) == attempt
            assert ledger.history(attempt.id) == history


def test_an_unknown_attempt_is_superseded_only_where_a_possible_duplicate_is_accepted(ledger, run):
    attempt = go(ledger, order(ledger, run), "unknown")
    with pytest.raises(TransitionError, match="may have been bought"):
        ledger.move(attempt.id, State.SUPERSEDED)
    assert ledger.move(attempt.id, State.SUPERSEDED, accept_possible_duplicate=True).state is State.SUPERSEDED


@pytest.mark.parametrize(("state", "live"), [row[:2] for row in ROWS])
def test_a_fingerprint_is_ordered_again_only_when_nothing_live_is_in_its_way(ledger, run, state, live):
    attempt = go(ledger, order(ledger, run), *PATHS[state].split())
    assert (ledger.live("tokenhub", attempt.fingerprint) == attempt) == (live == "live")
    assert (ledger.attempts(live=True) == [attempt]) == (live == "live")
    if live == "live":
        with pytest.raises(AlreadyLive) as refused:
            order(ledger, run, "another-clip", attempt.fingerprint, plan="another")
        assert refused.value.attempt == attempt
        assert ledger.attempts() == [attempt]
    else:
        assert order(ledger, run).file == "clips/hook_v002.mp4"


@pytest.mark.parametrize(("state", "spent"), [(row[0], row[2]) for row in ROWS])
def test_what_counts_as_spent_is_as_in_the_table(ledger, run, state, spent):
    go(ledger, order(ledger, run, reserved=usd("0.60")), *PATHS[state].split())
    go(ledger, order(ledger, run, "unpriced", reserved=None), *PATHS[state].split())
    assert ledger.spent("spot", "tokenhub") == ((usd("0.60"),) if spent == "spent" else ())
    assert ledger.unpriced("spot", "tokenhub") == (spent == "spent")


def test_a_failed_attempt_is_free_only_where_the_card_says_so(ledger, run):
    attempt = go(ledger, order(ledger, run, free_when_failed=True), "accepted", "failed")
    assert ledger.spent("spot", "tokenhub") == ()
    assert states.cost(attempt) == usd("0.00")
    go(ledger, order(ledger, run, "billed", free_when_failed=True), "accepted", "failed", billed=usd("0.10"))
    assert ledger.spent("spot", "tokenhub") == (usd("0.10"),)


def test_history_says_who_when_and_why_of_every_move(ledger, run):
    attempt = order(ledger, run)
    ledger.move(attempt.id, State.UNKNOWN, why="no answer")
    ledger.move(attempt.id, State.ACCEPTED, task_id="t1", by="mo", why="found it in the console")
    ledger.move(attempt.id, State.READY)
    ledger.move(attempt.id, State.DONE, sha256="00", problems=["4 s of 5"])
    ledger.set_problems(attempt.id, [], by="mo", why="it will do")
    steps = ledger.history(attempt.id)
    assert [(step.before, step.after) for step in steps] == [
        (None, "sending"),
        ("sending", "unknown"),
        ("unknown", "accepted"),
        ("accepted", "ready"),
        ("ready", "done"),
        ("done", "done"),
    ]
    assert [(step.by, step.why) for step in steps[1:3]] == [
        ("storyrun", "no answer"),
        ("mo", "found it in the console"),
    ]
    assert steps[-1].by == "mo"
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert steps[0].at.startswith("2026-01-01T00:00:")
    assert ledger.attempt(attempt.id).problems == ()


def test_problems_belong_to_what_is_done(ledger, run):
    attempt = go(ledger, order(ledger, run), "accepted", "ready", "done", problems=["it is silent"])
    assert attempt.problems == ("it is silent",)
    assert go(ledger, attempt, "ready", "done").problems == ()
    with pytest.raises(TransitionError, match="only what is done"):
        ledger.set_problems(go(ledger, attempt, "expired").id, [])


# ── one owner per task ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_task_id_is_set_once_and_never_changed(ledger, run, path):
    attempt = order(ledger, run)
    with pytest.raises(TransitionError, match="not when it is unknown"):
        ledger.move(attempt.id, State.UNKNOWN, task_id="t1")
    with pytest.raises(TransitionError, match="without a task id"):
        ledger.move(attempt.id, State.ACCEPTED)
    ledger.move(attempt.id, State.ACCEPTED, task_id="t1")
    with pytest.raises(TransitionError, match="cannot become t2"):
        ledger.move(attempt.id, State.READY, task_id="t2")
    assert ledger.move(attempt.id, State.READY).task_id == "t1"
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match="never changes"):
        db.execute("UPDATE attempt SET task_id = 't3'")


def test_a_task_has_one_owner_per_provider(ledger, run):
    first = go(ledger, order(ledger, run, "first"), "accepted", task_id="t1")
    second = order(ledger, run, "second")
    with pytest.raises(TaskTaken) as refused:
        ledger.move(second.id, State.ACCEPTED, task_id="t1")
    assert refused.value.attempt == first
    assert ledger.attempt(second.id) == second
    elsewhere = order(ledger, run, "elsewhere", provider="toapis")
    assert ledger.move(elsewhere.id, State.ACCEPTED, task_id="t1").task_id == "t1"


def test_the_two_indexes_hold_without_the_code_around_them(ledger, run, path):
    one = go(ledger, order(ledger, run, "one"), "accepted", task_id="t1")
    two = go(ledger, order(ledger, run, "two"), "unknown")
    with closing(sqlite3.connect(path)) as db:
        with pytest.raises(sqlite3.IntegrityError, match=r"attempt\.fingerprint"):
            db.execute("UPDATE attempt SET fingerprint = ? WHERE id = ?", (one.fingerprint, two.id))
        with pytest.raises(sqlite3.IntegrityError, match=r"attempt\.task_id"):
            db.execute("UPDATE attempt SET task_id = 't1' WHERE id = ?", (two.id,))


@pytest.mark.parametrize("statement", ["DELETE FROM attempt", "DELETE FROM history", "UPDATE history SET by = 'me'"])
def test_nothing_bought_and_nothing_past_is_ever_taken_back(ledger, run, path, statement):
    order(ledger, run)
    with closing(sqlite3.connect(path)) as db, pytest.raises(sqlite3.IntegrityError, match=r"never deleted|history"):
        db.execute(statement)


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_keeps_everything_to_the_letter(ledger, run, path):
    job = {"prompt": "雨の東京 “neon” \x00 \ud83d", "length": 6, "shots": [{"index": 1, "start": 0.5}]}
    attempt = order(ledger, run, job=job, request={"input": {"prompt": "雨"}}, reserved=usd("0.1000", exact=False))
    assert (attempt.job["prompt"], attempt.job["shots"]) == (job["prompt"], job["shots"])
    assert attempt.request == {"input": {"prompt": "雨"}}
    assert (attempt.plan_path, attempt.account, attempt.run) == ("../spot.yaml", "ab12", run)
    failure = Failure(ErrorClass.NETWORK, "ReadError", "the answer was lost \udfff", "req-1")
    assert ledger.move(attempt.id, State.UNKNOWN, failure=failure).failure == failure
    accepted = ledger.move(attempt.id, State.ACCEPTED, task_id="t1")
    assert accepted.failure is None, "an open attempt has not failed"
    ready = ledger.move(attempt.id, State.READY, usage={"seconds": 6, "sr": {"720": True}}, billed=usd("0.05"))
    assert ready.finished_at is None
    done = ledger.move(attempt.id, State.DONE, media=MEDIA, sha256="ab" * 32, bytes=7, problems=["4 s of 5"])
    assert (done.media, done.sha256, done.bytes, done.problems) == (MEDIA, "ab" * 32, 7, ("4 s of 5",))
    assert (done.usage, done.billed) == ({"seconds": 6, "sr": {"720": True}}, usd("0.05"))
    assert done.reserved == Money(Decimal("0.1000"), "USD", exact=False)
    assert done.finished_at == done.changed_at > done.created_at
    ledger.close()
    with Ledger.open(path, TickingClock()) as again:
        assert again.attempt(attempt.id) == done
        assert again.attempts() == [done]


def test_a_failure_stays_until_the_attempt_is_open_again(ledger, run):
    failure = Failure(ErrorClass.NETWORK, "", "the answer was lost")
    attempt = go(ledger, order(ledger, run), "unknown", failure=failure)
    assert go(ledger, attempt, "abandoned").failure == failure


def test_done_needs_the_hash_of_the_clip(ledger, run):
    attempt = order(ledger, run)
    for state in (State.ACCEPTED, State.READY):
        ledger.move(attempt.id, state, task_id="t1")
    with pytest.raises(TransitionError, match="hash"):
        ledger.move(attempt.id, State.DONE)


def test_the_raw_answer_is_kept_before_anyone_reads_it_and_bounded(ledger, run):
    attempt = order(ledger, run)
    assert ledger.answer(attempt.id) is None
    ledger.record_answer(attempt.id, "\udc80" + "€" * 40_000)
    kept = ledger.answer(attempt.id)
    assert kept.startswith("\\udc80€€")
    assert 65_530 < len(kept.encode()) <= 65_536
    assert ledger.attempt(attempt.id).state is State.SENDING
    go(ledger, attempt, "accepted")
    with pytest.raises(TransitionError, match="waits for no answer"):
        ledger.record_answer(attempt.id, "late")


@pytest.mark.parametrize(
    "request_",
    [
        {"Authorization": "Bearer x"},
        {"headers": {"x-api-key": "x"}},
        {"input": [{"api_key": "x"}]},
        {"apikey": "x"},
        {"access_token": "x"},
        {"client-secret": "x"},
    ],
)
def test_a_request_with_a_secret_never_reaches_the_file(ledger, run, request_):
    with pytest.raises(ValueError, match="must not reach the ledger"):
        order(ledger, run, request=request_)
    assert ledger.attempts() == []


def test_a_request_may_have_fields_that_only_sound_secret(ledger, run):
    request = {"max_tokens": 3, "author": "x", "secretary": "x", "prompt": "the api_key on his desk"}
    assert order(ledger, run, request=request).request == request


def test_rows_are_found_by_plan_provider_clip_and_life(ledger, run):
    first = go(ledger, order(ledger, run), "rejected")
    second = order(ledger, run)
    other = order(ledger, run, "pour", plan="other")
    third = order(ledger, run, "pour", provider="toapis")
    assert [attempt.number for attempt in ledger.attempts()] == [1, 2, 3, 4]
    assert ledger.attempts(plan="spot") == [first, second, third]
    assert ledger.attempts(plan="spot", provider="tokenhub", live=True) == [second]
    assert ledger.attempts(live=False) == [first]
    assert ledger.newest("spot", "tokenhub", "hook") == second
    assert ledger.newest("other", "tokenhub", "pour") == other
    assert ledger.newest("other", "tokenhub", "hook") is None
    with pytest.raises(LedgerError, match="has no attempt nobody"):
        ledger.attempt("nobody")


def test_what_a_dead_run_left_in_sending_is_found_by_the_next_run_of_that_plan_alone(ledger, run):
    left = order(ledger, run, "left")
    go(ledger, order(ledger, run, "told"), "unknown")
    order(ledger, run, "elsewhere", plan="other")
    now = ledger.begin_run("spot", "tokenhub", "../spot.yaml", 4712, "here")
    order(ledger, now, "mine")
    assert ledger.orphaned_sending("spot", "tokenhub", now) == [left]


def test_the_owner_of_a_plan_is_its_newest_run_until_it_ends(ledger, run):
    owner = ledger.owner("spot", "tokenhub")
    assert owner is not None
    assert (owner.id, owner.pid, owner.host, owner.plan_path) == (run, 4711, "here", "../spot.yaml")
    assert ledger.owner("spot", "toapis") is None
    later = ledger.begin_run("spot", "tokenhub", "", 4712, "here")
    ledger.end_run(later)
    assert ledger.owner("spot", "tokenhub") is None, "the first one died; it is no owner"


def test_durations_are_seconds_from_accepted_to_ready_of_one_model(ledger, run):
    for clip in ("a", "b"):
        go(ledger, order(ledger, run, clip), "accepted", "ready", "done", "ready")
    go(ledger, order(ledger, run, "rendering"), "accepted")
    go(ledger, order(ledger, run, "other", job={"model": "wan2.6"}), "accepted", "ready")
    assert ledger.durations("tokenhub", "wan2.7-t2v") == [1.0, 1.0]
    assert ledger.durations("toapis", "wan2.7-t2v") == []


# ── ceilings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_budget_bounds_all_that_the_plan_ever_ordered_and_max_cost_what_the_run_orders(ledger, run):
    order(ledger, run, "a", reserved=usd("0.10"), budget=usd("0.30"))
    later = ledger.begin_run("spot", "tokenhub", "", 1, "here")
    order(ledger, later, "b", reserved=usd("0.10"), budget=usd("0.30"), run_ceiling=usd("0.20"))
    with pytest.raises(OverBudget, match=r"d was not ordered.* 0\.11 USD, and 0\.10 of the budget of 0\.30 USD"):
        order(ledger, later, "d", reserved=usd("0.11"), budget=usd("0.30"))
    order(ledger, later, "c", reserved=usd("0.10"), budget=usd("0.30"), run_ceiling=usd("0.20"))
    with pytest.raises(OverBudget, match=r"and 0\.00 of --max-cost of 0\.20 USD is left") as refused:
        order(ledger, later, "d", reserved=usd("0.01"), run_ceiling=usd("0.20"))
    assert refused.value.ceiling == usd("0.20")
    assert len(ledger.attempts()) == 3
    order(ledger, later, "d", reserved=usd("0.30"), budget=usd("0.30"), plan="other")
    order(ledger, later, "d", "d", reserved=usd("0.30"), budget=usd("0.30"), provider="toapis")


def test_what_was_billed_replaces_what_was_reserved(ledger, run):
    first = order(ledger, run, "a", reserved=usd("0.90", exact=False), budget=usd("1"))
    assert ledger.spent("spot", "tokenhub") == (usd("0.90", exact=False),)
    go(ledger, first, "accepted", "ready", billed=usd("0.40"))
    assert ledger.spent("spot", "tokenhub") == (usd("0.40"),)
    second = order(ledger, run, "b", reserved=usd("0.60"), budget=usd("1"))
    go(ledger, second, "accepted", "ready", billed=usd("0.70"))
    assert ledger.spent("spot", "tokenhub") == (usd("1.10"),)
    with pytest.raises(OverBudget, match=r"0\.00 of the budget|, and 0 of"):
        order(ledger, run, "c", reserved=usd("0.01"), budget=usd("1"))


def test_an_order_that_came_to_nothing_gives_its_money_back(ledger, run):
    for end in ("rejected", "not_sent"):
        go(ledger, order(ledger, run, end, reserved=usd("1"), budget=usd("1"), run_ceiling=usd("1")), end)
    order(ledger, run, "a", reserved=usd("1"), budget=usd("1"), run_ceiling=usd("1"))
    with pytest.raises(OverBudget):
        order(ledger, run, "b", reserved=usd("1"), budget=usd("1"), run_ceiling=usd("1"))


@pytest.mark.parametrize("ceiling", ["budget", "run_ceiling"])
def test_what_cannot_be_compared_with_a_ceiling_is_refused_under_it(ledger, run, ceiling):
    with pytest.raises(OverBudget, match="no price is known for it"):
        order(ledger, run, reserved=None, **{ceiling: usd("100")})
    with pytest.raises(OverBudget, match=r"priced in CNY, and .* is in USD"):
        order(ledger, run, reserved=Money(Decimal(1), "CNY"), **{ceiling: usd("100")})
    assert ledger.attempts() == []
    order(ledger, run, "yuan", reserved=Money(Decimal(1), "CNY"))
    with pytest.raises(OverBudget, match="has earlier clips in CNY"):
        order(ledger, run, **{ceiling: usd("100")})


@pytest.mark.parametrize("ceiling", ["budget", "run_ceiling"])
def test_a_ceiling_cannot_be_kept_over_earlier_clips_without_a_price(ledger, run, ceiling):
    unpriced = order(ledger, run, "unpriced", reserved=None)
    with pytest.raises(OverBudget, match="1 earlier clip without a known price") as refused:
        order(ledger, run, **{ceiling: usd("100")})
    assert "--max-cost" in refused.value.hint
    go(ledger, unpriced, "accepted", "ready", billed=usd("3"))
    order(ledger, run, **{ceiling: usd("100")})


def test_what_costs_nothing_fits_under_every_ceiling_and_is_no_money(ledger, run):
    free = Money(Decimal(0), "")
    order(ledger, run, "a", reserved=free, budget=usd("0"), run_ceiling=usd("0"))
    assert ledger.spent("spot", "tokenhub") == ()
    assert ledger.unpriced("spot", "tokenhub") == 0
    order(ledger, run, "b", reserved=usd("1"), budget=usd("1"))


def test_sums_of_money_are_exact_and_per_currency(ledger, run):
    for number in range(30):
        order(ledger, run, f"a{number}", reserved=usd("0.10"))
    order(ledger, run, "b", reserved=Money(Decimal("1E+2"), "CNY", exact=False))
    assert ledger.spent("spot", "tokenhub") == (Money(Decimal(100), "CNY", exact=False), usd("3.00"))


@pytest.mark.parametrize("amount", ["NaN", "-1", "Infinity"])
def test_a_price_that_is_none_is_our_bug(ledger, run, amount):
    with pytest.raises(ValueError, match="no price"):
        order(ledger, run, reserved=usd(amount))


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_fixed_with_sending_and_given_once(ledger, run):
    files = []
    for _ in range(3):
        attempt = order(ledger, run)
        files.append(attempt.file)
        go(ledger, attempt, "rejected")
    assert files == ["clips/hook_v001.mp4", "clips/hook_v002.mp4", "clips/hook_v003.mp4"]
    assert order(ledger, run, "hook", "x", plan="other").file == "clips/hook_v001.mp4"
    assert order(ledger, run, "hook", "x", provider="toapis").file == "clips/hook_v001.mp4"


def test_a_version_above_999_has_the_digits_it_needs(ledger, run, path):
    order(ledger, run)
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE placing SET version = 999")
        db.commit()
    assert order(ledger, run, "hook", "next").file == "clips/hook_v1000.mp4"


@pytest.mark.parametrize("stem", ["s_New-York", "S_NEW-YORK"])
def test_two_ids_that_an_edit_gave_one_file_name_share_its_versions(ledger, run, stem):
    order(ledger, run, "s[city=New York]", job={"stem": "s_New-York"})
    assert order(ledger, run, "s[city=New-York]", job={"stem": stem}).file == f"clips/{stem}_v002.mp4"


def test_names_that_differ_only_in_how_an_accent_is_written_are_one(ledger, run):
    order(ledger, run, "a", job={"stem": "caf\u00e9"})
    assert order(ledger, run, "b", job={"stem": "cafe\u0301"}).file == "clips/cafe\u0301_v002.mp4"


def test_a_reused_clip_gets_its_own_next_name_under_another_id_or_plan(ledger, run):
    attempt = order(ledger, run)
    assert ledger.placing("spot", "tokenhub", "hook", attempt.id) == attempt.file
    assert ledger.placing("spot", "tokenhub", "opening", attempt.id) is None
    other = order(ledger, run, "opening", "other")
    linked = ledger.link(plan="spot", provider="tokenhub", clip="opening", stem="opening", attempt_id=attempt.id)
    assert linked == Placing("spot", "tokenhub", "opening", attempt.id, 2, "clips/opening_v002.mp4")
    again = ledger.link(plan="spot", provider="tokenhub", clip="opening", stem="opening", attempt_id=attempt.id)
    assert again == linked
    assert ledger.placing("spot", "tokenhub", "opening", attempt.id) == linked.file
    copied = ledger.link(plan="copy", provider="tokenhub", clip="hook", stem="hook", attempt_id=attempt.id)
    assert copied.file == "clips/hook_v001.mp4"
    own = ledger.link(plan="spot", provider="tokenhub", clip="hook", stem="hook", attempt_id=attempt.id)
    assert own.file == attempt.file
    go(ledger, other, "rejected")
    assert order(ledger, run, "opening", "third").file == "clips/opening_v003.mp4"


def test_a_clip_can_be_renamed_to_the_next_free_name_only(ledger, run):
    attempt = go(ledger, order(ledger, run), "accepted", "ready")
    assert ledger.next_file(attempt.id) == "clips/hook_v002.mp4"
    with pytest.raises(TransitionError, match=r"is clips/hook_v002\.mp4, not clips/elsewhere\.mp4"):
        go(ledger, attempt, "done", file="clips/elsewhere.mp4")
    assert go(ledger, attempt, "done", file="clips/hook_v002.mp4").file == "clips/hook_v002.mp4"
    assert ledger.placing("spot", "tokenhub", "hook", attempt.id) == "clips/hook_v002.mp4"
    assert ledger.next_file(attempt.id) == "clips/hook_v003.mp4"
    assert go(ledger, attempt, "ready", "done", file=attempt.file.replace("1", "2")).state is State.DONE
