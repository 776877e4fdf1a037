"""What the tests of the ledger share: the table by hand, a clock, orders, and other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from storyrun.ledger import Ledger
from storyrun.records import Attempt, Money, State

# Section 7 of the design, by hand: state, live, spent, in the manifest, where to.
TABLE = """
    sending      live  spent  unknown  accepted rejected not_sent unknown
    unknown      live  spent  unknown  accepted not_sent abandoned superseded
    accepted     live  spent  open     ready failed expired abandoned superseded
    ready        live  spent  open     done failed expired abandoned superseded
    done         live  spent  done     ready expired abandoned superseded
    expired      live  spent  failed   abandoned superseded
    abandoned    live  spent  failed   superseded
    failed       -     spent  failed
    rejected     -     -      failed
    not_sent     -     -      failed
    superseded   -     spent  -
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()]

PATHS = {
    "sending": "",
    "unknown": "unknown",
    "accepted": "accepted",
    "ready": "accepted ready",
    "done": "accepted ready done",
    "expired": "accepted expired",
    "abandoned": "unknown abandoned",
    "failed": "accepted failed",
    "rejected": "rejected",
    "not_sent": "not_sent",
    "superseded": "accepted superseded",
}
"""A way to each state."""


class TickingClock:
    """Every look at it takes a second."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def usd(amount: str, exact: bool = True) -> Money:
    return Money(Decimal(amount), "USD", exact)


def order(ledger: Ledger, run: str, clip: str = "hook", fingerprint: str = "", /, **changed: Any) -> Attempt:
    """An order with everything in it that a test does not care about."""
    job = {
        "id": clip,
        "stem": clip,
        "fingerprint": fingerprint or f"of {clip}",
        "model": "wan2.7-t2v",
        "prompt": "A cat",
    }
    arguments: dict[str, Any] = {
        "plan": "spot",
        "plan_path": "../spot.yaml",
        "provider": "tokenhub",
        "job": job | changed.pop("job", {}),
        "request": {"model": "wan2.7-t2v", "prompt": "A cat"},
        "account": "ab12",
        "reserved": usd("0.60"),
        "free_when_failed": False,
        "budget": None,
        "run_ceiling": None,
    }
    return ledger.order(run=run, **(arguments | changed))


@contextmanager
def hasty(path):
    """A ledger that does not wait for the disk, for tests in which nothing dies."""
    with Ledger.open(path, TickingClock()) as ledger:
        ledger._file.write("PRAGMA synchronous = OFF", ())
        yield ledger


def go(ledger, attempt, *states, **given):
    """Take an attempt along a way, with what every state needs."""
    for state in map(State, states):
        ledger.move(attempt.id, state, **needs(attempt, state) | given, why=f"to {state}")
    return ledger.attempt(attempt.id)


def needs(attempt, state):
    """What a move to this state cannot do without."""
    return {State.ACCEPTED: {"task_id": f"t-{attempt.id}"}, State.DONE: {"sha256": "00"}}.get(state, {})


@contextmanager
def other_process(*arguments):
    """The program `ledger_writers.py` with pipes; gone when the block ends."""
    program = Path(__file__).with_name("ledger_writers.py")
    environment = os.environ | {"PYTHONPATH": str(program.parent.parent)}
    process = subprocess.Popen(
        [sys.executable, program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        bufsize=1,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ask(process, line):
    process.stdin.write(f"{line}\n")


def hear(process):
    return process.stdout.readline().split()
