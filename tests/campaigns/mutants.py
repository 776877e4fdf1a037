"""Bugs planted on purpose in the money path: each must be caught by another campaign, or that campaign proves nothing.

Each bug goes into a copy of the package, in a folder of its own. A small form of a campaign is run against the copy, in
a process of its own that finds it first, and stops at the first broken promise. A bug that survives is a violation
here. So is one that does not apply any more, one that breaks the campaign instead of a promise, and a campaign that
finds something in a copy without a bug.

Bugs that another line of defence makes harmless are no bugs; where a promise has two lines, both are taken away.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.campaigns.__main__ import CAMPAIGNS
from tests.campaigns.report import Report, replay
from tests.campaigns.zygote import memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent.parent
AT_ONCE = 2
HUNG = 300.0
"""Seconds after which a campaign against one bug counts as hung."""


class Trial(NamedTuple):
    """The small form of a campaign that a bug must not survive: how much of it, and from which seed on."""

    campaign: str
    runs: int
    seed: int


TROUBLED = (2289, 333, 831)
"""Seeds of `kills` whose first plan is on a service that cannot find a lost order, and soon has an answer to a create
that is lost, one that is a 500, and a task that is not known at its first poll.
"""
KILLS = Trial("kills", 15, TROUBLED[0])
STARTS = Trial("starts", 6, 0)
DEATHS = Trial("deaths", 1, 0)
MATRIX = Trial("matrix", 1, 0)
MACHINE = Trial("machine", 200, 0)


@dataclass(frozen=True)
class Mutant:
    """A bug: in which files of the package which text becomes which, and who must catch it."""

    name: str
    trial: Trial
    changes: tuple[tuple[str, str, str], ...]


def _mutant(name: str, trial: Trial, *changes: tuple[str, str, str]) -> Mutant:
    return Mutant(name, trial, changes)


HTTP, ORDERS, RUNNER = "http/api.py", "runner/orders.py", "runner/__init__.py"
COLLECT, EXISTING, LEDGER = "runner/collect.py", "runner/existing.py", "ledger/__init__.py"

MUTANTS = (
    # ── the create ───────────────────────────────────────────────────────────────────────────────────────────────────
    _mutant(
        "a create is sent again when its answer is lost",
        KILLS,
        (
            HTTP,
            'said = self._said("no usable answer from", error)',
            'if (said := self._said("", error)):\n                return await self.create(path, body, headers)',
        ),
    ),
    _mutant(
        "a lost answer counts as not sent",
        KILLS,
        (
            HTTP,
            "raise LostAnswer(said, kind=ErrorClass.NETWORK, raw=self._kept(received))",
            "raise NotSent(said, kind=ErrorClass.NETWORK)",
        ),
    ),
    _mutant(
        "a 500 on a create counts as a refusal",
        KILLS,
        (
            "providers/answers.py",
            "if (taken or refused) and proven and not ids",
            "if not ids",
        ),
        (
            "providers/answers.py",
            "self._refuse(kind or self._refusals[answer.status], said, answer)",
            "self._refuse(ErrorClass.PROVIDER, said, answer)",
        ),
    ),
    _mutant(
        "any doubt about a create counts as not sent",
        DEATHS,
        (
            ORDERS,
            "ledger.move(attempt.id, State.UNKNOWN, failure=failure",
            "ledger.move(attempt.id, State.NOT_SENT, failure=failure",
        ),
    ),
    _mutant(
        "an order is written down after it was sent",
        KILLS,
        (
            ORDERS,
            "        attempt = ledger.order(",
            '        early = await provider.submit(request, "0" * 32)\n        attempt = ledger.order(',
        ),
        (ORDERS, "answer = await provider.submit(request, attempt.id)", "answer = early"),
    ),
    _mutant(
        "what came back from a create is not kept",
        KILLS,
        (ORDERS, "                ledger.record_answer(attempt.id, _raw(answer))\n", ""),
    ),
    _mutant(
        "forty creates may be in flight",
        KILLS,
        ("runner/errand.py", "creates_in_flight: int = 4", "creates_in_flight: int = 40"),
    ),
    # ── the next start ───────────────────────────────────────────────────────────────────────────────────────────────
    _mutant(
        "what a death left in the air counts as not sent",
        DEATHS,
        (
            RUNNER,
            "errand.ledger.move(attempt.id, State.UNKNOWN, why=",
            "errand.ledger.move(attempt.id, State.NOT_SENT, why=",
        ),
    ),
    _mutant(
        "what is in doubt is ordered again at the next start",
        KILLS,
        (
            RUNNER,
            "        return [attempt for attempt in asked if attempt.state is State.ACCEPTED]",
            (
                "        for each in (each for each in asked if each.state is State.UNKNOWN):\n"
                '            errand.ledger.move(each.id, State.NOT_SENT, why="nobody found it")\n'
                "        return [attempt for attempt in asked if attempt.state is State.ACCEPTED]"
            ),
        ),
    ),
    _mutant(
        "the lock is not taken",
        STARTS,
        ("folder.py", "            lock.acquire(blocking=False)", "            pass"),
    ),
    _mutant(
        "two attempts may be live for one clip",
        STARTS,
        (LEDGER, "raise AlreadyLive(live)", "pass"),
        ("ledger/file.py", "CREATE UNIQUE INDEX attempt_one_live", "CREATE INDEX attempt_one_live"),
        (
            RUNNER,
            "if live is None:\n            if not self._orders_anew(job):",
            "if live is None or live.plan != errand.stem:\n            if not self._orders_anew(job):",
        ),
    ),
    # ── the poll ─────────────────────────────────────────────────────────────────────────────────────────────────────
    _mutant(
        "a task that a poll does not find has failed",
        KILLS,
        (
            COLLECT,
            (
                '            if status.state == "missing" and not errand.kept(attempt):\n'
                "                return self._expire(attempt), None"
            ),
            '            if status.state == "missing":\n                return self._fail(attempt, status), None',
        ),
    ),
    _mutant(
        "a clip that this run does not wait for has failed",
        STARTS,
        (
            COLLECT,
            '            return self._leave(attempt, "this run does not wait for it")',
            '            return self._fail(attempt, TaskStatus("failed", "late")), None',
        ),
    ),
    # ── the clip ─────────────────────────────────────────────────────────────────────────────────────────────────────
    _mutant(
        "a clip arrives under its final name",
        KILLS,
        (COLLECT, "part = folder.part(attempt.id)", "part = folder.file(attempt.file)"),
        (
            COLLECT,
            "        if (adopted := await self._adopt(attempt, part)) is not None:\n            return adopted\n",
            "",
        ),
        (
            COLLECT,
            "await asyncio.to_thread(settle_clip, part, folder.file(file))\n            except FileExistsError:",
            "pass\n            except FileExistsError:",
        ),
    ),
    _mutant(
        "a clip is reused whose file is gone",
        KILLS,
        (
            EXISTING,
            "    if not await same(source, attempt):\n        return False",
            "    if not await same(source, attempt):\n        return True",
        ),
    ),
    _mutant(
        "a clip whose file is gone is bought again",
        KILLS,
        (EXISTING, "State.READY if kept else State.EXPIRED", "State.SUPERSEDED"),
    ),
    # ── redirects, secrets, ceilings ─────────────────────────────────────────────────────────────────────────────────
    _mutant(
        "a create follows a redirect",
        MATRIX,
        (
            HTTP,
            "self.base + path, json=body, headers=headers, allow_redirects=False",
            "self.base + path, json=body, headers=headers, allow_redirects=True",
        ),
    ),
    _mutant(
        "the signed URL of a clip is written down",
        KILLS,
        (COLLECT, "State.READY, why=status.raw,", 'State.READY, why=status.asset or "",'),
    ),
    _mutant(
        "the key goes to the host of the clips",
        KILLS,
        (
            "http/downloads.py",
            'headers = {"Accept-Encoding": "identity"}',
            'headers = {"Accept-Encoding": "identity", "Authorization": "Bearer sandbox-key"}',
        ),
    ),
    _mutant(
        "what is in doubt does not count as spent",
        MACHINE,
        (
            "states.py",
            'State.UNKNOWN: Meaning(True, True, "unknown")',
            'State.UNKNOWN: Meaning(True, False, "unknown")',
        ),
    ),
    _mutant(
        "what may have been bought can be bought again without a word",
        MACHINE,
        (
            "states.py",
            "    if attempt.state is State.UNKNOWN and to is State.SUPERSEDED and not accept_possible_duplicate:",
            "    if not attempt:",
        ),
    ),
)

PROGRAM = """
import json, sys
from importlib import import_module
import storyrun
name, runs, seed = sys.argv[1:]
report = import_module(f"tests.campaigns.{name}").campaign(int(runs), int(seed), stop_at_first=True)
print(json.dumps([storyrun.__file__, report.violations]))
"""


def campaign(runs: int, seed: int = 0, *, stop_at_first: bool = False) -> Report:
    """Every bug, tried with `runs` seeds each."""
    figures: Counter[str] = Counter()
    violations: list[str] = []
    # what is the short form of a campaign to the letter has its own test, beside the one of this campaign
    shipped = {Trial(name, short, 0) for name, (_, short, _) in CAMPAIGNS.items()}
    with (
        tempfile.TemporaryDirectory(prefix="storyrun-mutants-", dir=memory()) as place,
        ThreadPoolExecutor(AT_ONCE) as crew,
    ):
        whole = Path(place, "whole")
        for name in ("storyrun", "schemas"):
            shutil.copytree(ROOT / name, whole / name)
        work: list[tuple[Mutant | None, Trial]] = []
        for nth in range(seed, seed + runs):
            moved = dict.fromkeys(_moved(mutant.trial, nth) for mutant in MUTANTS)
            work += [(None, trial) for trial in moved if runs > 1 or trial not in shipped]
            work += [(mutant, _moved(mutant.trial, nth)) for mutant in MUTANTS]
        tried = crew.map(lambda each: _tried(whole, Path(place, str(each[0])), *each[1]), enumerate(work))
        for (mutant, trial), wrong in zip(work, tried, strict=True):
            figures["controls" if mutant is None else "planted"] += 1
            figures[f"caught by {trial.campaign}"] += mutant is not None and not wrong
            if wrong:
                violations.append(f"{wrong}; {replay('mutants', seed, runs)}")
            if wrong and stop_at_first:
                crew.shutdown(cancel_futures=True)
                break
    figures["caught"] = sum(count for name, count in figures.items() if name.startswith("caught by"))
    return Report("mutants", runs, dict(figures), tuple(violations))


def _moved(trial: Trial, nth: int) -> Trial:
    """The same with another seed. In `starts` every thirtieth is of the same kind."""
    return trial._replace(seed=TROUBLED[nth % len(TROUBLED)] if trial is KILLS else trial.seed + 30 * nth)


def _tried(whole: Path, copy: Path, mutant: Mutant | None, trial: Trial) -> str:
    """What is wrong with the campaign; empty when it caught the bug, or found nothing where there is none."""
    name = "the package without a bug" if mutant is None else f'"{mutant.name}"'
    shutil.copytree(whole, copy, copy_function=os.link)
    for file, old, new in mutant.changes if mutant else ():
        path = copy / "storyrun" / file
        text = path.read_text("utf-8")
        if (times := text.count(old)) != 1:
            return f"{name} does not apply any more: {times} times in {file}: {old.strip()}"
        path.unlink()  # the other copies keep theirs
        path.write_text(text.replace(old, new), encoding="utf-8")
    temporary = copy / "tmp"
    temporary.mkdir()
    env = os.environ | {"PYTHONPATH": f"{copy}{os.pathsep}{ROOT}", "TMPDIR": str(temporary)}
    found: list[str] = []
    for again in _again(trial) if mutant else (trial,):
        wrong, found = _campaign(name, again, copy, env)
        if wrong or found:
            break
    shutil.rmtree(copy)
    if wrong:
        return wrong
    if mutant is None:
        return f"{name} is caught by {trial.campaign}: {found[0]}" if found else ""
    return "" if found else f"{name} survives {' '.join(map(str, trial))}, and twice more"


def _again(trial: Trial) -> Iterator[Trial]:
    """The trial, then longer ones from other seeds: where a kill hits depends on the machine, and so does what it
    shows. All else does the same again.
    """
    yield trial
    if trial.campaign == "kills":
        for more in (2, 4):
            yield trial._replace(runs=more * trial.runs, seed=trial.seed + more)


def _campaign(name: str, trial: Trial, copy: Path, env: Mapping[str, str]) -> tuple[str, list[str]]:
    """What went wrong with a campaign against a copy, and the broken promises that it found."""
    command = [sys.executable, "-c", PROGRAM, *map(str, trial)]
    try:
        ran = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=HUNG, check=False)
    except subprocess.TimeoutExpired:
        return f"{name} hung {trial.campaign}", []
    if ran.returncode != 0:
        return f"{name} broke {trial.campaign} instead of a promise: {ran.stderr.strip().splitlines()[-1:]}", []
    used, found = json.loads(ran.stdout.splitlines()[-1])
    if not Path(used).is_relative_to(copy):
        return f"{trial.campaign} was run against {used} and not against the copy", []
    return "", found
