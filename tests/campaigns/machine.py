"""The ledger against a model of its table: whatever is asked of it in whatever order, both say the same.

Hypothesis writes the stories; each move of the table must be taken in them, and each other one tried and refused.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from storyrun.errors import TransitionError
from storyrun.ledger import AlreadyLive, Ledger, OverBudget, TaskTaken
from storyrun.records import Money, State
from tests.campaigns.report import Report, replay
from tests.ledgers import PATHS, ROWS, TickingClock, order, usd

LIVE = {row[0] for row in ROWS if row[1] == "live"}
SPENT = {row[0] for row in ROWS if row[2] == "spent"}
MOVES = [(row[0], to) for row in ROWS for to in row[4:]]
NO_MOVES = [(start, to) for start in PATHS for to in PATHS if (start, to) not in MOVES]

PLANS, CLIPS, FINGERPRINTS = ("spot", "copy"), ("hook", "pour"), ("f1", "f2", "f3")
PRICES = (None, "0", "0.10", "0.30")
CEILINGS = (None, None, "0.50", "0.80")
BILLS = (None, None, "0.05", "0.40")
TASKS = ("t1", "t2", "t3", "t4", "t5", "t6")

with tempfile.TemporaryDirectory() as folder:
    Ledger.open(Path(folder) / "ledger.sqlite", TickingClock()).close()
    EMPTY = (Path(folder) / "ledger.sqlite").read_bytes()

ENOUGH = 200
"""Stories after which nothing of the table may be left untried."""

taken: Counter[tuple[str, str]] = Counter()
refused: Counter[tuple[str, str]] = Counter()


@dataclass
class Row:
    """An attempt as the model has it."""

    id: str
    run: str
    plan: str
    clip: str
    fingerprint: str
    price: str | None
    free: bool
    file: str
    state: str = "sending"
    task: str | None = None
    billed: str | None = None
    steps: int = 1

    @property
    def cost(self):
        """None where it counts and has no price."""
        if self.billed is not None:
            return Decimal(self.billed)
        if self.state not in SPENT or (self.state == "failed" and self.free):
            return Decimal(0)
        return None if self.price is None else Decimal(self.price)


class LedgerAgainstModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.path.write_bytes(EMPTY)
        self.rows = []
        self.names = {}  # (plan, clip, attempt) -> version

    def teardown(self):
        self.ledger.close()
        self.folder.cleanup()

    @initialize()
    def begin(self):
        self.clock = TickingClock()
        self.open()
        self.runs = {plan: self.ledger.begin_run(plan, "tokenhub", "", 1, "here") for plan in PLANS}

    def open(self):
        self.ledger = Ledger.open(self.path, self.clock)
        self.ledger._file.write("PRAGMA synchronous = OFF", ())  # nothing dies here

    @rule()
    def reopen(self):
        self.ledger.close()
        self.open()

    @rule(plan=st.sampled_from(PLANS))
    def begin_run(self, plan):
        self.runs[plan] = self.ledger.begin_run(plan, "tokenhub", "", 1, "here")

    def version(self, plan, clip):
        return 1 + max((version for (p, c, _), version in self.names.items() if (p, c) == (plan, clip)), default=0)

    @rule(
        plan=st.sampled_from(PLANS),
        clip=st.sampled_from(CLIPS),
        fingerprint=st.sampled_from(FINGERPRINTS),
        price=st.sampled_from(PRICES),
        free=st.booleans(),
        budget=st.sampled_from(CEILINGS),
        ceiling=st.sampled_from(CEILINGS),
    )
    def order(self, **order):
        self.place(**order)

    def place(self, plan, clip, fingerprint, price, free, budget, ceiling):
        run = self.runs[plan]
        live = [row for row in self.rows if row.fingerprint == fingerprint and row.state in LIVE]
        bounds = [
            (budget, [row.cost for row in self.rows if row.plan == plan]),
            (ceiling, [row.cost for row in self.rows if row.run == run]),
        ]

        def go():
            return order(
                self.ledger,
                run,
                clip,
                fingerprint,
                plan=plan,
                reserved=price and usd(price),
                free_when_failed=free,
                budget=budget and usd(budget),
                run_ceiling=ceiling and usd(ceiling),
            )

        if live:
            with pytest.raises(AlreadyLive) as refused:
                go()
            assert refused.value.attempt.id == live[0].id
        elif any(bound is not None and not self.fits(price, bound, costs) for bound, costs in bounds):
            with pytest.raises(OverBudget):
                go()
        else:
            attempt = go()
            version = self.version(plan, clip)
            assert attempt.file == f"clips/{clip}_v{version:03d}.mp4"
            self.names[plan, clip, attempt.id] = version
            self.rows.append(Row(attempt.id, run, plan, clip, fingerprint, price, free, attempt.file))

    @staticmethod
    def fits(price, bound, costs):
        if price is None or Decimal(price) == 0:
            return price is not None
        return None not in costs and sum(costs) + Decimal(price) <= Decimal(bound)

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), to=st.sampled_from(list(State)), task=st.sampled_from(TASKS), accept=st.booleans())
    def try_any_move(self, data, to, task, accept):
        row = data.draw(st.sampled_from(self.rows))
        given = {"task_id": task} if to is State.ACCEPTED else {}
        self.move(row, to.value, accept, **given, **({"sha256": "00"} if to is State.DONE else {}))

    @rule(moves=st.lists(st.sampled_from(MOVES), min_size=1, max_size=4), billed=st.sampled_from(BILLS))
    def take(self, moves, billed):
        """Moves of the table, each by an attempt that stands there or is brought there."""
        for start, to in moves:
            row = self.standing_at(start, billed)
            self.go(row, to, billed)

    @rule(start=st.sampled_from(sorted(PATHS)))
    def take_every_move_of_the_table(self, start):
        for to in (to for begin, to in MOVES if begin == start):
            self.go(self.standing_at(start, None), to, None)

    @rule(start=st.sampled_from(sorted(PATHS)))
    def try_every_move_that_is_not_in_the_table(self, start):
        row = self.standing_at(start, None)
        for to in (to for begin, to in NO_MOVES if begin == start):
            self.go(row, to, None)
        if start == "unknown":
            self.move(row, "superseded", False)

    def standing_at(self, start, billed):
        """An attempt in this state, brought there if there is none."""
        row = next((row for row in self.rows if row.state == start), None)
        if row is None:
            self.place("spot", "hook", f"f-{len(self.rows)}", "0.10", False, None, None)
            row = self.rows[-1]
            for state in PATHS[start].split():
                self.go(row, state, billed)
        return row

    def go(self, row, to, billed):
        given: dict[str, Any] = {"task_id": f"t-{row.id}"} if to == "accepted" else {}
        if billed and to in {"ready", "failed"}:
            given["billed"] = usd(billed)
        self.move(row, to, True, **given, **({"sha256": "00"} if to == "done" else {}))

    def move(self, row, to, accept, **given):
        def go():
            return self.ledger.move(row.id, State(to), accept_possible_duplicate=accept, **given)

        task = given.get("task_id")
        if (row.state, to) not in MOVES or ((row.state, to) == ("unknown", "superseded") and not accept):
            with pytest.raises(TransitionError):
                go()
            refused[row.state, to] += 1
        elif task and any(other.task == task for other in self.rows):
            with pytest.raises(TaskTaken):
                go()
        else:
            assert go().state == to
            taken[row.state, to] += 1
            row.state, row.steps = to, row.steps + 1
            row.task = row.task or task
            if "billed" in given:
                row.billed = str(given["billed"].amount)

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), plan=st.sampled_from(PLANS), clip=st.sampled_from(CLIPS))
    def link(self, data, plan, clip):
        row = data.draw(st.sampled_from(self.rows))
        key = (plan, clip, row.id)
        version = self.names.setdefault(key, self.version(plan, clip))
        placing = self.ledger.link(plan=plan, provider="tokenhub", clip=clip, stem=clip, attempt_id=row.id)
        assert placing.version == version
        assert placing.file == self.ledger.placing(plan, "tokenhub", clip, row.id) == f"clips/{clip}_v{version:03d}.mp4"

    @invariant()
    def the_ledger_says_what_the_model_says(self):
        if not hasattr(self, "ledger"):
            return
        attempts = self.ledger.attempts()
        assert [(a.id, a.state, a.task_id, a.file, a.clip) for a in attempts] == [
            (row.id, row.state, row.task, row.file, row.clip) for row in self.rows
        ]
        live = {attempt.id for attempt in self.ledger.attempts(live=True)}
        assert live == {row.id for row in self.rows if row.state in LIVE}
        assert [len(self.ledger.history(row.id)) for row in self.rows] == [row.steps for row in self.rows]
        for plan in PLANS:
            costs = [row.cost for row in self.rows if row.plan == plan]
            total = sum((cost for cost in costs if cost is not None), Decimal(0))
            assert self.ledger.spent(plan, "tokenhub") == ((Money(total, "USD"),) if total else ())
            assert self.ledger.unpriced(plan, "tokenhub") == costs.count(None)


def campaign(runs: int, seed: int = 0, *, stop_at_first: bool = False) -> Report:
    """`runs` stories of ten steps each. The first one in which ledger and model differ ends it, told as short as it
    can be told.

    What is taken and refused is counted from here on only, so that it can be said of these stories.
    """
    taken.clear()
    refused.clear()
    options = settings(
        max_examples=runs,
        stateful_step_count=10,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),  # a slow machine is no violation
        report_multiple_bugs=False,
    )
    violations: list[str] = []
    again = replay("machine", seed, runs)
    try:
        run_state_machine_as_test(seeded(seed)(type("Machine", (LedgerAgainstModel,), {})), settings=options)
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - any of them is the story of a violation
        story = " / ".join(line.strip() for line in "\n".join(getattr(error, "__notes__", ())).splitlines())
        violations.append(f"ledger and model differ ({type(error).__name__}: {error}): {story}; {again}")
    for what, counted, wanted in (("taken", taken, MOVES), ("tried and refused", refused, NO_MOVES)):
        missing = sorted(set(wanted) - set(counted))
        if missing and not violations and runs >= ENOUGH:
            told = ", ".join(f"{start} -> {to}" for start, to in missing)
            violations.append(f"never {what} in {runs} stories: {told}; {again}")
    if wrong := sorted(set(taken) - set(MOVES)):
        violations.append(f"taken, and not in the table: {wrong}; {again}")
    figures = {
        "transitions taken": taken.total(),
        "kinds of transition taken": len(taken),
        "kinds of transition in the table": len(MOVES),
        "moves refused": refused.total(),
        "kinds of move refused": len(refused),
    }
    return Report("machine", runs, figures, tuple(violations))
