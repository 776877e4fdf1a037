"""What clouds do wrong, end to end: each fault ends in clear words, the right state, a valid manifest, and one bill."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import pytest

from storyrun import retry
from storyrun.http import DownloadClient
from storyrun.sandbox import PROVIDERS
from tests.rehearsal import SPEED, opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Stage

each_cloud = pytest.mark.parametrize("name", PROVIDERS)

PATIENCE = 60.0
"""Seconds after which a run gives up on what puzzles it, here."""


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog) -> Iterator[Callable[..., Stage]]:
    monkeypatch.setattr(retry, "MISSING_PATIENCE", PATIENCE)
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


@dataclass(frozen=True)
class Ends:
    """How a run of one clip with one fault ends: exit code, states, status, what is said; and how the next run does."""

    code: int
    states: str
    status: str
    says: str
    words: str = ""
    booked: int = 1
    latency: float = 0.0
    chance: str = "1"


IN_EVERY_DIALECT: dict[str, Ends] = {
    "429": Ends(0, "rejected rejected rejected done", "done", "c1 made", chance="3x"),
    "moderation": Ends(1, "rejected", "failed", "Nothing was bought. Change the text", booked=0),
    "invalid": Ends(1, "rejected", "failed", "Nothing was bought. Change what is named here", booked=0),
    "echo": Ends(1, "rejected", "failed", "Bearer ***", booked=0),
    "poll-404-first": Ends(0, "done", "done", "c1 made"),
    "poll-500": Ends(0, "done", "done", "c1 made", chance="2x"),
    "odd-status": Ends(0, "done", "done", "c1 made", latency=0.2),
    "success-without-url": Ends(4, "accepted", "open", "c1 still open: the provider says it is done and gives no clip"),
    "other-task-id": Ends(4, "accepted", "open", "was asked for: it is not used", words="--deadline 20"),
    "failed-moderation": Ends(1, "failed", "failed", "Change the text"),
}
"""Faults that each cloud has words of its own for."""

SOMEWHERE: dict[str, Ends] = {
    "429-date": Ends(0, "rejected rejected done", "done", "c1 made", chance="2x"),
    "create-307": Ends(1, "rejected", "failed", "orders are not sent after redirects. Nothing was bought", booked=0),
    "poll-429": Ends(0, "done", "done", "c1 made", chance="2x"),
    "poll-html": Ends(0, "done", "done", "c1 made", chance="2x"),
    "poll-reset": Ends(0, "done", "done", "c1 made", chance="2x"),
    "status-back": Ends(0, "done", "done", "c1 made", latency=0.2),
    "url-later": Ends(0, "done", "done", "c1 made"),
    "stuck": Ends(4, "accepted", "open", "c1 still open: the provider says", words="--deadline 20"),
    "wrong-length": Ends(1, "done", "done", "not as ordered: 1 s of 2"),
    "wrong-size": Ends(1, "done", "done", "not as ordered: 640x480 instead of 832x480"),
    "silent": Ends(1, "done", "done", "not as ordered: is silent"),
    "url-expired-first": Ends(0, "done", "done", "c1 made"),
    "cut-download": Ends(0, "done", "done", "c1 made", chance="2x"),
    "redirect-elsewhere": Ends(0, "done", "done", "c1 made"),
}
"""Faults that look the same on every cloud: each is tried on one of them."""

TRIED = [(name, fault) for fault in IN_EVERY_DIALECT for name in PROVIDERS]
TRIED += [(name, fault) for name, fault in zip(cycle(PROVIDERS), SOMEWHERE, strict=False)]

NO_CLIP = {
    "zero-bytes": "not there yet: the file is empty",
    "html-video": "not there yet: the file is a web page or XML, not a video",
    "truncated-video": "not there yet: the file is cut off",
    "gzip-bomb": "not there yet: the clip comes compressed, which nobody asked for",
    "endless-body": "not there yet: the clip is larger than 300000 bytes",
    "redirect-loop": "not there yet: more than 3 redirects",
    "redirect-inside": "not there yet: the result is not on a public address",
}

LOST = {
    "create-500-booked": "InternalError: An internal error has occured",
    "drop-answer": "no usable answer from",
    "reset-after-read": "Connection reset",
    "cut-answer": "no usable answer from",
    "html-200": "an answer that says neither yes nor no (HTTP 200)",
    "no-id": "an answer that says neither yes nor no (HTTP 200)",
}
"""A create was booked, and its answer is no good."""


@pytest.mark.parametrize(("name", "fault"), TRIED)
def test_ends_as_it_should_and_nothing_is_bought_twice(cloud, name, fault):
    ends = {**IN_EVERY_DIALECT, **SOMEWHERE}[fault]
    stage = cloud(name, faults={fault: ends.chance}, latency=ends.latency)
    ran = stage.run(*ends.words.split())
    assert (ran.code, " ".join(stage.states), stage.statuses()) == (ends.code, ends.states, [ends.status]), ran.said
    assert ends.says in ran.said or ends.says in str(stage.manifest["clips"][0]["error"])
    assert stage.booked == ends.booked
    assert sum(file.endswith(".mp4") for file in stage.files()) == stage.states.count("done")
    again = stage.run("--deadline", "0")
    assert stage.booked == ends.booked
    assert again.code == ends.code
    if ends.code in (0, 4):
        assert stage.creates == len(ends.states.split()), "an order went out again"


@pytest.mark.parametrize("fault", NO_CLIP)
def test_a_clip_that_does_not_come_stays_open_and_leaves_nothing_behind(cloud, fault, monkeypatch):
    assert DownloadClient.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(DownloadClient.__init__.__kwdefaults__, "max_bytes", 300_000)
    stage = cloud("dashscope", faults={fault: "1"})
    ran = stage.run()
    assert (ran.code, stage.states, stage.statuses()) == (4, ["ready"], ["open"])
    assert f"c1 still open: {NO_CLIP[fault]}" in ran.said
    assert "storyrun fetch" in ran.said
    assert (stage.booked, stage.creates) == (1, 1)
    assert sum(path.stat().st_size for path in stage.place.rglob("*.part")) <= 2_000_000
    assert [file for file in stage.files() if file.endswith(".mp4")] == []
    assert stage.fetch("--deadline", "0").code == 4
    assert (stage.booked, stage.creates) == (1, 1)


@each_cloud
@pytest.mark.parametrize("fault", LOST)
def test_a_lost_answer_is_looked_for_and_never_ordered_again(cloud, name, fault):
    """ToAPIs knows an order by our id, DashScope by a list; at TokenHub there is nothing, so a person decides."""
    stage = cloud(name, faults={fault: "1"})
    ran = stage.run()
    found = name != "tokenhub"
    assert (ran.code, stage.states, stage.statuses()) == (
        (0, ["done"], ["done"]) if found else (4, ["unknown"], ["unknown"])
    )
    if not found:
        assert LOST[fault] in ran.said
        assert "may be bought" in ran.said
        assert "--adopt ID | --not-created" in ran.said
    assert stage.run("--deadline", "0").code == ran.code
    assert stage.fetch().code == ran.code
    assert (stage.booked, stage.creates) == (1, 1)


@each_cloud
@pytest.mark.parametrize("fault", ["create-500-unbooked", "reset-unbooked"])
def test_an_order_that_cannot_be_found_stays_unclear(cloud, name, fault):
    stage = cloud(name, faults={fault: "1x"})
    assert stage.run().code == 4
    assert (stage.states, stage.statuses()) == (["unknown"], ["unknown"])
    assert stage.run().code == 4
    assert (stage.booked, stage.creates) == (0, 1)


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


@each_cloud
@pytest.mark.parametrize("fault", ["failed", "failed-no-reason"])
def test_a_task_that_fails_is_ordered_again_only_when_asked(cloud, name, fault):
    """Whether a failed one is paid for is the provider's to say, and is told with it."""
    stage = cloud(name, faults={fault: "1x"})
    ran = stage.run()
    assert (ran.code, stage.states, stage.booked) == (1, ["failed"], 1)
    assert "the next run orders again" in ran.said
    assert (stage.run().code, stage.states, stage.booked) == (0, ["failed", "done"], 2)


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
