"""Nonsense of three kinds, and nothing may come of it but words for people.

    bytes     YAML files with bytes changed, cut, repeated, spliced and put in between
    values    plans that were right, with values and keys replaced, added and taken away
    answers   what the three providers say, with types, keys, ids, addresses and bytes changed

A case is made of its number alone: case n of `campaign(..., seed)` is case 0 of `campaign(1, seed + n)`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.campaigns.fuzzed_answers import Answers
from tests.campaigns.fuzzed_plans import Plans
from tests.campaigns.report import Report, replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

MOST = 5.0
"""Seconds of processor time that a case may take. A case takes milliseconds; the machine may be busy with others."""
GROWTH = 512 * 1024 * 1024
"""Bytes that the process may grow by."""
SHOWN = 20
"""Violations that are told; the others are counted."""


class Hung(BaseException):
    """A case took too long. Not an Exception: nothing may catch it and go on."""


@contextlib.contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Ends what takes more processor time than this with `Hung`; outside the main thread nothing can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hung

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where nobody says."""
    if not sys.platform.startswith("linux"):
        return 0
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def judged(case: Callable[[], list[str]]) -> list[str]:
    """What is wrong with one case: what it says itself, or what it raised, or that it did not end."""
    try:
        with bounded(MOST):
            return case()
    except Hung:
        return [f"took more than {MOST:g} s"]
    except Exception as error:  # noqa: BLE001 - whatever is raised is the finding
        last = traceback.extract_tb(error.__traceback__)[-1]
        return [f"raised {type(error).__name__}: {str(error)[:200]} at {last.filename}:{last.lineno}"]


def campaign(runs: int, seed: int = 0, *, stop_at_first: bool = False) -> Report:
    """`runs` cases of each kind. Of the plans one in 50 goes through the command line too, of the answers one in 20
    through a real server.
    """
    figures: Counter[str] = Counter()
    violations: list[str] = []
    began, most = resident(), 0
    with tempfile.TemporaryDirectory(prefix="storyrun-fuzz-") as folder:
        plans = Plans(Path(folder), figures)
        with Answers(Path(folder), figures) as answers:
            for kind, case in (("bytes", plans.of_bytes), ("values", plans.of_values), ("answers", answers.case)):
                for number in range(seed, seed + runs):
                    wrong = judged(partial(case, number))
                    violations += [f"{kind}: {finding}; {replay('fuzz', number)}" for finding in wrong]
                    figures[f"{kind} cases"] += 1
                    if number % 50 == 0:
                        most = max(most, resident() - began)
                    if violations and stop_at_first:
                        return Report("fuzz", runs, dict(figures), tuple(violations[:SHOWN]))
    figures["megabytes grown"] = most // 1024**2
    if most > GROWTH:
        violations.append(f"the process grew by {most // 1024**2} MB; {replay('fuzz', seed, runs)}")
    figures["violations"] = len(violations)
    return Report("fuzz", runs, dict(figures), tuple(violations[:SHOWN]))
