"""The table of what to do after an error. Money hangs on it: nothing that may be bought is repeated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storyrun import retry
from storyrun.records import Attempt, ErrorClass, Failure, State
from storyrun.retry import Advice, Step, advise


def waits(step: Step, tries: int, kind: ErrorClass | None = None) -> list[float | None]:
    return [advise(step, nth, kind).wait for nth in range(1, tries + 1)]


def test_a_create_that_never_left_is_tried_again_with_growing_waits_and_the_fifth_in_a_row_stops_the_run() -> None:
    assert waits(Step.NOT_SENT, 4) == [1, 2, 4, 8]
    last = advise(Step.NOT_SENT, 5, ErrorClass.NETWORK)
    assert last.wait is None
    assert "did not leave this machine" in last.stop


def test_too_many_requests_are_waited_out_for_as_long_as_the_provider_wants() -> None:
    assert advise(Step.REFUSED, 1, ErrorClass.RATE_LIMIT, 17.5) == Advice(17.5)
    assert waits(Step.REFUSED, 3, ErrorClass.RATE_LIMIT) == [2, 4, 8]
    assert advise(Step.REFUSED, 1000, ErrorClass.RATE_LIMIT) == Advice(600)


@pytest.mark.parametrize(
    ("wish", "seconds"), [(0, 1), (-5, 1), (8, 8), (99999999, 600), (float("inf"), 600), (float("nan"), 1)]
)
def test_a_retry_after_is_kept_between_one_second_and_ten_minutes(wish: float, seconds: float) -> None:
    assert advise(Step.REFUSED, 1, ErrorClass.RATE_LIMIT, wish).wait == seconds


@pytest.mark.parametrize("kind", [ErrorClass.CREDENTIALS, ErrorClass.BALANCE])
def test_a_refused_key_and_an_empty_account_stop_the_run_at_once(kind: ErrorClass) -> None:
    advice = advise(Step.REFUSED, 1, kind)
    assert advice.wait is None
    assert advice.stop


@pytest.mark.parametrize("kind", [kind for kind in ErrorClass if kind not in {"rate_limit", "credentials", "balance"}])
def test_any_other_refusal_is_left_as_it_is_and_stops_nothing(kind: ErrorClass) -> None:
    assert advise(Step.REFUSED, 1, kind) == Advice(None)


def test_a_poll_is_missed_for_as_long_as_it_takes_and_only_a_refused_key_ends_the_asking() -> None:
    assert waits(Step.POLL, 6) == [5, 10, 20, 40, 80, 120]
    assert advise(Step.POLL, 10**9, ErrorClass.NETWORK) == Advice(120)
    assert None not in waits(Step.POLL, 4, ErrorClass.CREDENTIALS)
    assert advise(Step.POLL, 5, ErrorClass.CREDENTIALS).wait is None


def test_five_failed_downloads_are_enough_for_one_run_and_stop_nothing_else() -> None:
    assert waits(Step.FETCH, 5) == [5, 15, 45, 120, None]
    assert advise(Step.FETCH, 5).stop == ""
    assert waits(Step.RENDER, 1) == [None]


def dead(state: State, kind: ErrorClass | None) -> Attempt:
    row = Attempt("i", 1, "r", "p", "v", "c", "f", state, "m", {}, {}, "clips/c.mp4", "2020", "2020")
    return replace(row, failure=Failure(kind, "", "") if kind else None)


@pytest.mark.parametrize("state", [State.FAILED, State.REJECTED])
@pytest.mark.parametrize("kind", [ErrorClass.MODERATION, ErrorClass.PARAMETER])
def test_what_was_refused_for_what_it_says_is_ordered_again_only_on_request(state: State, kind: ErrorClass) -> None:
    assert not retry.orders_again(dead(state, kind), retry_refused=False)
    assert retry.orders_again(dead(state, kind), retry_refused=True)
    assert not retry.transient(dead(state, kind).failure)


@pytest.mark.parametrize(
    "newest",
    [
        None,
        dead(State.FAILED, ErrorClass.PROVIDER),
        dead(State.FAILED, None),
        dead(State.REJECTED, ErrorClass.RATE_LIMIT),
        dead(State.REJECTED, ErrorClass.BALANCE),
        dead(State.NOT_SENT, ErrorClass.NETWORK),
        dead(State.SUPERSEDED, ErrorClass.MODERATION),
    ],
)
def test_the_next_run_orders_again_whatever_may_go_better_then(newest: Attempt | None) -> None:
    assert retry.orders_again(newest, retry_refused=False)


def test_only_what_may_go_better_in_a_moment_is_transient() -> None:
    assert retry.transient(None)
    assert retry.transient(Failure(ErrorClass.PROVIDER, "", ""))
    assert not retry.transient(Failure(ErrorClass.BALANCE, "", ""))
    assert not retry.transient(Failure(ErrorClass.CREDENTIALS, "", ""))
