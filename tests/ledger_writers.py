"""Other processes for the tests of the ledger and the run folder: a program that is told what to do.

order LEDGER PLAN    for each line "clip fingerprint price budget": ordered ID | live ID | over
work LEDGER          for each line: a forked child that orders and moves without end, telling each commit; it is
                     killed from outside, and its end is told
fill LEDGER BYTES    orders until a file may not grow any more; tells every commit and every error
hold FOLDER          holds a run folder until its input ends
peek LEDGER          looks at a ledger as a user who may only read
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from storyrun.errors import InUseError, LedgerError
from storyrun.folder import RunFolder
from storyrun.ledger import AlreadyLive, Ledger, OverBudget
from storyrun.records import State
from tests.ledgers import TickingClock, order, usd

if TYPE_CHECKING:
    from collections.abc import Callable


def tell(*words: object) -> None:
    """In one write, so that a kill leaves whole lines."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _order(path: str, plan: str) -> None:
    with Ledger.open(Path(path), TickingClock()) as ledger:
        run = ledger.begin_run(plan, "tokenhub", "", os.getpid(), "here")
        tell("ready")
        for line in sys.stdin:
            clip, fingerprint, price, budget = line.split()
            try:
                attempt = order(ledger, run, clip, fingerprint, plan=plan, reserved=usd(price), budget=usd(budget))
                tell("ordered", attempt.id)
            except AlreadyLive as other:
                tell("live", other.attempt.id)
            except OverBudget:
                tell("over")


def _work(path: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _work_without_end(Path(path), line.strip())
        _, status = os.waitpid(child, 0)
        tell("dead", os.waitstatus_to_exitcode(status))


def _work_without_end(path: Path, name: str) -> None:
    tell("pid", os.getpid())
    ledger = Ledger.open(path, TickingClock())
    run = ledger.begin_run("spot", "tokenhub", "", os.getpid(), "here")
    number = 0
    while True:
        number += 1
        attempt = order(ledger, run, f"{name}-{number}")
        tell(attempt.id, "sending")
        for state in (State.ACCEPTED, State.READY, State.DONE):
            ledger.move(attempt.id, state, task_id=f"task-{attempt.id}", sha256="00")
            tell(attempt.id, state)


def _fill(path: str, limit: str) -> None:
    ledger = Ledger.open(Path(path), TickingClock())
    run = ledger.begin_run("spot", "tokenhub", "", os.getpid(), "here")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        for number in range(1000):
            tell("ordered", order(ledger, run, f"clip-{number}").id)
    except LedgerError as error:
        tell("failed", error)
    # There is room again, and still nothing is ordered: what happened at the failure is not known well enough.
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    for attempt in ledger.attempts():
        try:
            ledger.move(attempt.id, State.UNKNOWN)
            tell("moved", attempt.id)
        except LedgerError as error:
            tell("refused", error)


def _hold(path: str) -> None:
    try:
        with RunFolder(Path(path)).hold():
            tell("held")
            sys.stdin.read()
    except InUseError as error:
        tell("in use", error)


def _peek(path: str) -> None:
    import sqlite3  # noqa: F401 - while we may still read it

    if os.geteuid() == 0:
        os.setgroups([])
        os.setuid(65534)
    try:
        (Path(path).parent / "trial").touch()
        tell("can write")
    except OSError:
        tell("cannot write")
    ledger = Ledger.peek(Path(path), TickingClock())
    assert ledger is not None
    tell(len(ledger.attempts()), "attempts")


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]]
    verbs = {"order": _order, "work": _work, "fill": _fill, "hold": _hold, "peek": _peek}
    verbs[sys.argv[1]](*sys.argv[2:])
