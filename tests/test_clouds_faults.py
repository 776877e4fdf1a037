"""What clouds do wrong to several clips at once, end to end. One clip and one fault: `tests/campaigns/matrix.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from storyrun import retry
from storyrun.sandbox import PROVIDERS
from tests.rehearsal import SPEED, opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Stage

each_cloud = pytest.mark.parametrize("name", PROVIDERS)


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog) -> Iterator[Callable[..., Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


def test_three_lost_answers_stop_new_orders(cloud):
    stage = cloud("tokenhub", clips=6, faults={"drop-answer": "1"})
    ran = stage.run("--concurrency", "1")
    assert (ran.code, stage.states, stage.creates) == (5, ["unknown"] * 3, 3)
    assert "orders brought no usable answer" in ran.said


@each_cloud
def test_an_empty_balance_in_the_middle_stops_orders_and_keeps_what_is_bought(cloud, name):
    stage = cloud(name, clips=4, faults={"no-balance": "2+"})
    ran = stage.run("--concurrency", "1")
    assert (ran.code, stage.states) == (5, ["done", "done", "rejected"])
    assert stage.statuses() == ["done", "done", "failed", "planned"]
    assert stage.manifest["clips"][2]["error"]["class"] == "balance"
    assert "Top up the account" in stage.manifest["clips"][2]["error"]["message"]
    assert "stopped: the account has no balance left" in ran.said
    assert (stage.booked, stage.creates) == (2, 3)


@each_cloud
def test_one_refusal_lets_the_rest_go_on_and_is_not_sent_again(cloud, name):
    stage = cloud(name, clips=3, faults={"moderation": "1x"})
    ran = stage.run("--concurrency", "1")
    assert (ran.code, stage.statuses()) == (1, ["failed", "done", "done"])
    assert "refused" in ran.said
    assert "change the text" in ran.said
    assert stage.manifest["clips"][0]["error"]["class"] == "moderation"
    assert (stage.run().code, stage.creates) == (1, 3)
    assert (stage.run("--retry-refused").code, stage.booked, stage.creates) == (0, 3, 4)


@each_cloud
def test_a_storm_of_429_buys_every_clip_once(cloud, name):
    stage = cloud(name, clips=5, faults={"429": "0.5"}, concurrency_limit=2, latency=0.05)
    assert stage.run("--concurrency", "5").code == 0
    assert stage.statuses() == ["done"] * 5
    assert stage.booked == 5
    assert stage.states.count("done") == 5
    assert stage.states.count("rejected") == stage.creates - 5 > 0


def test_retries_orders_a_failed_task_again_at_once(cloud):
    stage = cloud("dashscope", faults={"failed": "1x"})
    assert (stage.run("--retries", "1").code, stage.states, stage.booked) == (0, ["failed", "done"], 2)


def test_a_sandbox_that_is_gone_costs_nothing(cloud, monkeypatch, unused_tcp_port):
    stage = cloud("dashscope", clips=2)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", f"http://127.0.0.1:{unused_tcp_port}")
    stage.sandbox.port = unused_tcp_port
    ran = stage.run()
    assert ran.code == 5
    assert set(stage.states) == {"not_sent"}
    assert "five orders in a row did not leave this machine" in ran.said
    assert (stage.booked, stage.creates) == (0, 0)


def test_the_clock_of_these_tests_is_quick_enough_for_every_wait_of_the_table():
    """Five tries of a download wait three minutes; that is why the table's last word can be heard here at all."""
    waits = [retry.advise(retry.Step.FETCH, nth).wait for nth in range(1, 5)]
    assert sum(wait or 0 for wait in waits) / SPEED < 3
