"""Two runs at once, as processes: one owner per plan and provider, one buyer per clip, and readers that disturb nobody.

The names are those of the fault catalogue: C-01 two runs of one plan, C-02 a killed owner, C-04 a lock that does not
work, C-06 two plans, C-08 readers, C-09 a word said in the middle of a run; F-11 few descriptors, F-13 nobody listens.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from storyrun.folder import RunFolder
from tests.fakes import READY, RUNNING, FakeProvider, Story
from tests.rehearsal import opening, typed
from tests.stage import Stage, jobs_of, power_stays_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Stage as Cloud

__all__ = ["power_stays_on"]

ROOT = Path(__file__).parent.parent
BOUND = 30.0
"""Seconds in which a process does what it is waited for."""


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog) -> Iterator[Callable[..., Cloud]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


@contextmanager
def process(*words: object, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """storyrun as a process of its own, on the real clock; gone when the block ends."""
    running = subprocess.Popen(
        [sys.executable, "-m", "storyrun", *map(str, words)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    with running:
        try:
            yield running
        finally:
            running.kill()


def made(stage: Cloud, *words: object, **options: Any) -> Any:
    """The plan being made by another process, asking as often as it may."""
    return process("run", stage.plan, "--yes", "--poll-interval", "0.1", *words, **options)


def until(it_is_so: Callable[[], object]) -> None:
    """Waits for another process, not for ever."""
    end = time.monotonic() + BOUND
    while not it_is_so():
        assert time.monotonic() < end, "it never came to be so"
        time.sleep(0.02)


def test_c_01_c_09_while_a_run_lives_a_second_one_and_a_settle_are_refused_and_readers_are_not(cloud):
    stage = cloud("toapis", clips=1, latency=(60.0, 60.0))
    with made(stage) as owner:
        until(lambda: stage.creates and stage.states == ["accepted"])
        began = stage.attempts[0].created_at[:15]
        asked = stage.creates
        for words in (("run", "--yes"), ("fetch",)):
            ran = typed(words[0], str(stage.plan), *words[1:])
            assert ran.code == 3
            assert f"is being made on {stage.label} by process {owner.pid} on {socket.gethostname()}" in ran.said
            assert f"since {began}" in ran.said
            assert "nothing was sent" in ran.said
        for word in ("--abandon", "--rebuy"):
            ran = typed("settle", str(stage.plan), "c1", word)
            assert ran.code == 3
            assert "in" in ran.said
        assert typed("status", str(stage.plan)).code == 0
        assert typed("quote", str(stage.plan)).code == 0
        assert (stage.creates, stage.states, owner.poll()) == (asked, ["accepted"], None)
        assert typed("run", str(stage.plan), "--provider", "animatic").code == 0, "another provider is another run"

        owner.send_signal(signal.SIGKILL)
        owner.wait()
        # C-02: no unlock command, the kernel let go
        assert stage.run("--deadline", "0").code == 4
        assert (stage.creates, stage.states) == (1, ["accepted", "done"] if len(stage.states) > 1 else ["accepted"])


def test_c_01_of_many_starts_at_once_one_works_and_the_others_leave_with_3(cloud):
    stage = cloud("toapis", clips=2, latency=(1.0, 1.0))
    with made(stage) as one, made(stage) as two, made(stage) as three, made(stage) as four:
        several = [one, two, three, four]
        said = [each.communicate(timeout=BOUND) for each in several]
        codes = [each.returncode for each in several]
    assert codes.count(0) >= 1, said
    assert set(codes) <= {0, 3}, said
    assert codes.count(3) >= 2, said
    assert (stage.creates, stage.booked, stage.states) == (2, 2, ["done", "done"])


def test_c_06_two_plans_of_one_project_run_side_by_side_and_buy_what_they_share_once(cloud):
    stage = cloud("toapis", clips=4, latency=(0.5, 1.0))
    other = stage.folder / "other.yaml"
    text = stage.plan.read_text("utf-8")
    other.write_text(text.replace("c1, prompt: Dust", "c1, prompt: Rust").replace("{id: c", "{id: d"), "utf-8")
    with made(stage) as one, process("run", other, "--yes", "--poll-interval", "0.1") as two:
        said = [each.communicate(timeout=2 * BOUND) for each in (one, two)]
        assert [one.returncode, two.returncode] == [0, 0], said
    assert (stage.creates, stage.booked) == (5, 5)
    assert len({attempt.fingerprint for attempt in stage.attempts}) == 5
    assert {attempt.plan for attempt in stage.attempts} == {"plan", "other"}
    assert stage.files() == [f"c{n}_v001.mp4" for n in range(1, 5)]
    there = stage.folder / "outputs/other" / stage.label
    assert sorted(path.name for path in (there / "clips").glob("*.mp4")) == [f"d{n}_v001.mp4" for n in range(1, 5)]
    assert [clip["status"] for clip in json.loads((there / "manifest.json").read_text("utf-8"))["clips"]] == [
        "done"
    ] * 4


def test_c_08_whoever_reads_while_a_run_writes_sees_whole_files_and_true_states(cloud):
    stage = cloud("toapis", clips=6, latency=(0.2, 0.6))
    reads = 0
    with made(stage) as run:
        until((stage.place / "manifest.json").exists)
        while run.poll() is None:
            assert {clip["status"] for clip in stage.manifest["clips"]} <= {"planned", "open", "unknown", "done"}
            told = typed("status", str(stage.plan), "--json")
            assert told.code == 0
            json.loads(told.out)
            assert json.loads(typed("quote", str(stage.plan), "--json").out)["clips"]
            reads += 1
        assert run.returncode == 0, run.communicate()
    assert reads > 3
    assert (stage.booked, stage.statuses()) == (6, ["done"] * 6)


def test_c_04_where_no_lock_holds_the_ledger_still_lets_each_clip_be_bought_once(tmp_path, monkeypatch):
    monkeypatch.setattr(RunFolder, "hold", lambda self: nullcontext())
    stories = {clip: [Story(polls=[RUNNING, READY])] for clip in "abcdef"}
    one = Stage(tmp_path, FakeProvider(stories, create_takes=1.0))
    two = Stage(tmp_path, one.provider)

    async def both() -> None:
        await asyncio.gather(one.perform(jobs_of("a b c d e f")), two.perform(jobs_of("a b c d e f")))

    asyncio.run(both())
    assert one.provider.calls("create") == 6
    assert set(one.provider.booked().values()) == {1}
    assert one.play(jobs_of("a b c d e f")).stopped == ""
    assert set(one.states().values()) == {"done"}
    assert one.provider.calls("create") == 6


@pytest.mark.parametrize("deaf", ["stdout", "stderr", "both"])
def test_f_13_when_nobody_listens_any_more_every_clip_is_still_made_and_recorded(cloud, deaf):
    stage = cloud("toapis", clips=4, latency=(1.2, 1.6))
    with made(stage, "--json") as run:
        until(lambda: stage.creates)
        for name in ("stdout", "stderr"):
            if deaf in (name, "both"):
                getattr(run, name).close()
        run.wait(BOUND)
        assert run.returncode in (0, 1) if deaf == "stderr" else run.returncode == 1, "1: it could not be told"
    assert (stage.creates, stage.booked, stage.states) == (4, 4, ["done"] * 4)
    assert stage.statuses() == ["done"] * 4
    assert stage.manifest["finished_at"] is not None


def test_f_13_nobody_hears_the_second_ctrl_c_either_and_it_leaves_at_once(cloud):
    stage = cloud("toapis", clips=1, faults={"slow-answer": "1"}, slow=3.0)
    with made(stage) as run:
        until(lambda: stage.creates)
        run.stderr.close()
        until(lambda: run.poll() is not None or run.send_signal(signal.SIGINT))
        assert run.returncode == 130
    assert stage.states == ["sending"]


def test_f_11_with_few_file_descriptors_a_run_works_or_buys_nothing_twice_and_says_why(cloud):
    stage = cloud("toapis", clips=30, latency=(0.1, 0.3))

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with made(stage, "--concurrency", "30", preexec_fn=few) as run:
        out, err = run.communicate(timeout=2 * BOUND)
    assert "Traceback" not in err
    assert (run.returncode, stage.creates, stage.booked) == (0, 30, 30), (out, err)
    assert set(stage.states) == {"done"}
