"""The only truth: every attempt to buy a clip, committed to the disk before the next thing happens.

    order          sending, with its name and its budget reservation, before the first byte leaves
    record_answer  what came back, before anyone parses it
    move           every other change of state

The manifest and the report are views of this. No file, network or provider is touched here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from storyrun import states
from storyrun.errors import LedgerError, TransitionError
from storyrun.ledger import file as ledgerfile
from storyrun.ledger import names, rows
from storyrun.ledger.names import Placing
from storyrun.ledger.refusals import AlreadyLive, OverBudget, TaskTaken
from storyrun.records import Attempt, Money, State
from storyrun.states import MOVES, STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from storyrun.clock import Clock
    from storyrun.ledger.file import LedgerFile
    from storyrun.records import Failure, MediaInfo

__all__ = ["MOVES", "STATES", "AlreadyLive", "Ledger", "OverBudget", "Placing", "Run", "Step", "TaskTaken"]

ANSWER_BYTES = 65536
"""How much of a raw answer is kept."""

_SECRET = re.compile(r"(?i)(^|[-_])(authorization|api[-_]?key|access[-_]?token|secret|password|cookie)$")


@dataclass(frozen=True)
class Run:
    """One run of a plan on a provider. `pid` and `host` are for the message to whoever finds it in use."""

    id: str
    plan: str
    provider: str
    plan_path: str
    pid: int
    host: str
    started_at: str
    ended_at: str | None = None


@dataclass(frozen=True)
class Step:
    """A line of history. `before` is None for the order itself; both are `done` where problems were settled."""

    before: State | None
    after: State
    at: str
    by: str
    why: str


_COUNTED_BY_PLAN = "SELECT counted, count(*) FROM attempt WHERE plan = ? AND provider = ? GROUP BY counted"
_COUNTED_BY_RUN = "SELECT counted, count(*) FROM attempt WHERE run = ? GROUP BY counted"
"""What counts against a ceiling, as (amount, how many times): sums that are exact and read from the index alone."""

_DURATIONS = """
    SELECT (SELECT min(at) FROM history WHERE attempt = attempt.id AND after = 'accepted') AS accepted,
           (SELECT min(at) FROM history WHERE attempt = attempt.id AND after = 'ready') AS ready
    FROM attempt WHERE provider = ? AND model = ? AND ready IS NOT NULL ORDER BY number DESC LIMIT 200"""


_MOMENTS = """
    SELECT attempt, after, min(history.at) AS at FROM history JOIN attempt ON attempt.id = history.attempt
    WHERE attempt.provider = ? AND after IN ('accepted', 'ready') GROUP BY attempt, after"""


_WEIGHTS = """
    SELECT bytes, job FROM attempt WHERE provider = ? AND model = ? AND bytes > 0 ORDER BY number DESC LIMIT 200"""
_FINGERPRINTS = "SELECT fingerprint FROM attempt WHERE provider = ?"
_LIVE_FINGERPRINTS = f"{_FINGERPRINTS} AND live"
_FILES = "SELECT file FROM placing WHERE plan = ? AND provider = ?"


def _secret(request: object) -> str | None:
    """The first key anywhere in a request that is named like a secret."""
    if isinstance(request, Mapping):
        named = next((str(key) for key in request if _SECRET.search(str(key))), None)
        return named or _secret(list(request.values()))
    if isinstance(request, list | tuple):
        return next((found for value in request if (found := _secret(value))), None)
    return None


def _check_ceiling(
    clip: str, wanted: Money | None, ceiling: Money, name: str, counted: list[tuple[Money | None, int]]
) -> None:
    sentence, hint = states.over_ceiling(wanted, ceiling, name, counted)
    if sentence:
        raise OverBudget(f"{clip} was not ordered: {sentence}", hint, ceiling)


def _random_id() -> str:
    from uuid import uuid4

    return uuid4().hex


class Ledger:
    """An open ledger. Safe to share between threads; every write is one transaction, on the disk when it returns.

    A write that fails raises `LedgerError`, and so does every write after it: what may have been bought and could not
    be recorded must not be followed by another order. On a full disk what came of the orders in flight is still
    recorded, in the room of the ballast (see `file`). Refusals (`AlreadyLive`, `OverBudget`, `TaskTaken`,
    `TransitionError`) write nothing and do no harm.
    """

    def __init__(self, file: LedgerFile, clock: Clock, new_id: Callable[[], str]) -> None:
        self._file = file
        self._clock = clock
        self._new_id = new_id

    @classmethod
    def open(cls, path: Path, clock: Clock, new_id: Callable[[], str] = _random_id) -> Self:
        """Open the ledger at `path`, made if it is not there.

        Raises `LedgerError` when it is damaged, foreign, newer than the program, or cannot be written.
        """
        return cls(ledgerfile.open_to_write(path, new_id), clock, new_id)

    @classmethod
    def peek(cls, path: Path, clock: Clock) -> Self | None:
        """Open the ledger to look at it, beside a run at work, and write nothing. None when there is no file.

        For a look, not for life: read, then close. Raises `LedgerError` as `open` does.
        """
        return cls(ledgerfile.open_to_read(path), clock, _random_id) if path.exists() else None

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_run(self, plan: str, provider: str, plan_path: str, pid: int, host: str) -> str:
        """Enter a run. Its caller holds the lock of this plan and provider. Returns its id."""
        run = self._new_id()
        with self._file.transaction():
            self._file.write(
                "INSERT INTO run (id, plan, provider, plan_path, pid, host, started_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (run, plan, provider, plan_path, pid, rows.text(host), self._now()),
            )
        return run

    def end_run(self, run: str) -> None:
        """Note that a run has ended. One that died has no end."""
        with self._file.transaction():
            self._file.write("UPDATE run SET ended_at = ? WHERE id = ?", (self._now(), run))

    def owner(self, plan: str, provider: str) -> Run | None:
        """The newest run of this plan and provider, unless it has ended."""
        found = self._file.read(
            "SELECT id, plan, provider, plan_path, pid, host, started_at, ended_at FROM run"
            " WHERE plan = ? AND provider = ? ORDER BY number DESC LIMIT 1",
            plan,
            provider,
        )
        return Run(*found[0]) if found and found[0]["ended_at"] is None else None

    # ── ordering ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def order(
        self,
        *,
        run: str,
        plan: str,
        plan_path: str,
        provider: str,
        job: Mapping[str, Any],
        request: Mapping[str, Any],
        account: str,
        reserved: Money | None,
        free_when_failed: bool,
        budget: Money | None,
        run_ceiling: Money | None,
    ) -> Attempt:
        """Enter an attempt as `sending`, with its file name and what it may cost. Only then may a byte leave.

        `job` is the job's JSON form. `budget` bounds all that this plan ever ordered on this provider, `run_ceiling`
        what this run orders; both are checked in the transaction that enters the row. Raises `AlreadyLive` and
        `OverBudget`; ValueError (our bug) for a request that carries a secret.
        """
        if (key := _secret(request)) is not None:
            raise ValueError(f"a request with {key} must not reach the ledger")
        if reserved is not None and not (reserved.amount.is_finite() and reserved.amount >= 0):
            raise ValueError(f"no price: {reserved.amount}")
        clip, now = str(job["id"]), self._now()
        with self._file.transaction():
            if (live := self.live(provider, job["fingerprint"])) is not None:
                raise AlreadyLive(live)
            if budget is not None:
                _check_ceiling(clip, reserved, budget, "the budget", self._counted(_COUNTED_BY_PLAN, plan, provider))
            if run_ceiling is not None:
                _check_ceiling(clip, reserved, run_ceiling, "--max-cost", self._counted(_COUNTED_BY_RUN, run))
            version, file = names.following(self._file, plan, provider, clip, job["stem"])
            attempt = Attempt(
                id=self._new_id(),
                number=0,
                run=run,
                plan=plan,
                plan_path=plan_path,
                provider=provider,
                clip=clip,
                fingerprint=job["fingerprint"],
                state=State.SENDING,
                model=job["model"],
                account=account,
                job=job,
                request=request,
                file=file,
                created_at=now,
                changed_at=now,
                reserved=reserved,
                free_when_failed=free_when_failed,
            )
            self._file.write(rows.INSERT, rows.fixed_columns(attempt) | rows.changing_columns(attempt))
            names.give(self._file, Placing(plan, provider, clip, attempt.id, version, file), job["stem"])
            self._note(attempt, None, "storyrun", "")
            return self.attempt(attempt.id)

    def record_answer(self, attempt_id: str, raw: str) -> None:
        """Keep what came back from a create, before anyone reads it: the first 64 KB, redacted by the caller."""
        kept = raw.encode("utf-8", "backslashreplace")[:ANSWER_BYTES].decode("utf-8", "ignore")

        def write() -> None:
            with self._file.transaction():
                attempt = self.attempt(attempt_id)
                if attempt.state not in {State.SENDING, State.UNKNOWN}:
                    raise TransitionError(f"attempt {attempt_id} is {attempt.state} and waits for no answer")
                self._file.write("UPDATE attempt SET answer = ? WHERE id = ?", (kept, attempt_id))

        self._file.record(write)

    def answer(self, attempt_id: str) -> str | None:
        """What `record_answer` kept."""
        found = self._file.read("SELECT answer FROM attempt WHERE id = ?", attempt_id)
        return found[0]["answer"] if found else None

    # ── moving ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def move(
        self,
        attempt_id: str,
        to: State,
        *,
        by: str = "storyrun",
        why: str = "",
        task_id: str | None = None,
        failure: Failure | None = None,
        media: MediaInfo | None = None,
        sha256: str | None = None,
        bytes: int | None = None,
        problems: Sequence[str] | None = None,
        usage: Mapping[str, Any] | None = None,
        billed: Money | None = None,
        file: str | None = None,
        accept_possible_duplicate: bool = False,
    ) -> Attempt:
        """Take an attempt to another state: the only function that does.

        What is not given stays as it was, but a failure is forgotten once the attempt is open or done, and problems
        once it is done again. `file` renames a clip (see `next_file`). `by` and `why` go into the history. Raises
        `TransitionError` for a move that the table does not have, for `accepted` without a task id, `done` without a
        hash, a task id at any other time; `TaskTaken` for the task id of another attempt.
        """

        def write() -> Attempt:
            with self._file.transaction():
                old = self.attempt(attempt_id)
                states.check_move(old, to, accept_possible_duplicate=accept_possible_duplicate)
                shown, now = STATES[to].shown, self._now()
                new = replace(
                    old,
                    state=to,
                    changed_at=now,
                    finished_at=now if shown in {"done", "failed"} else old.finished_at if not shown else None,
                    task_id=task_id or old.task_id,
                    failure=failure or (None if shown in {"open", "done"} else old.failure),
                    media=media or old.media,
                    sha256=sha256 or old.sha256,
                    bytes=old.bytes if bytes is None else bytes,
                    problems=tuple(problems or ()) if to is State.DONE else old.problems,
                    usage=old.usage if usage is None else usage,
                    billed=billed or old.billed,
                    file=file or old.file,
                )
                if to is State.ACCEPTED and not new.task_id:
                    raise TransitionError(f"attempt {attempt_id} cannot be accepted without a task id")
                if to is State.DONE and not new.sha256:
                    raise TransitionError(f"attempt {attempt_id} cannot be done without the hash of its clip")
                if new.task_id != old.task_id:
                    self._claim(old, to, str(new.task_id))
                if new.file != old.file:
                    names.rename(self._file, new)
                self._file.write(rows.UPDATE, rows.changing_columns(new))
                self._note(new, old.state, by, why)
                return self.attempt(attempt_id)

        # what became of an order is also written when the disk is full: it may be the only trace of a bought clip
        return self._file.record(write) if to in MOVES[State.SENDING] else write()

    def set_problems(self, attempt_id: str, problems: Sequence[str], *, by: str = "storyrun", why: str = "") -> Attempt:
        """Say anew what is not as ordered in a clip that is done; `settle --keep` clears it."""
        with self._file.transaction():
            old = self.attempt(attempt_id)
            if old.state is not State.DONE:
                raise TransitionError(f"attempt {attempt_id} is {old.state}; only what is done has problems")
            new = replace(old, problems=tuple(problems), changed_at=self._now())
            self._file.write(rows.UPDATE, rows.changing_columns(new))
            self._note(new, State.DONE, by, why)
            return new

    def _claim(self, attempt: Attempt, to: State, task_id: str) -> None:
        if attempt.task_id:
            raise TransitionError(f"attempt {attempt.id} is task {attempt.task_id}; it cannot become {task_id}")
        if to is not State.ACCEPTED:
            raise TransitionError(f"attempt {attempt.id} gets a task id when it is accepted, not when it is {to}")
        if (owner := self.task_owner(attempt.provider, task_id)) is not None:
            raise TaskTaken(task_id, owner)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def attempt(self, attempt_id: str) -> Attempt:
        """The attempt with this id. Raises `LedgerError` when there is none."""
        found = self._attempts("WHERE id = ?", attempt_id)
        if not found:
            raise LedgerError(f"the ledger {self._file.path} has no attempt {attempt_id}")
        return found[0]

    def attempts(self, plan: str | None = None, provider: str | None = None, live: bool | None = None) -> list[Attempt]:
        """All attempts, or those of a plan, of a provider, or (not) live, in the order in which they were made."""
        return self._attempts(
            "WHERE plan = coalesce(?, plan) AND provider = coalesce(?, provider) AND live = coalesce(?, live)"
            " ORDER BY number",
            plan,
            provider,
            live,
        )

    def live(self, provider: str, fingerprint: str) -> Attempt | None:
        """The live attempt for this fingerprint, whatever plan ordered it."""
        found = self._attempts("WHERE provider = ? AND fingerprint = ? AND live", provider, fingerprint)
        return found[0] if found else None

    def newest(self, plan: str, provider: str, clip: str) -> Attempt | None:
        """The last attempt that this plan made for this clip id, in whatever state."""
        found = self._attempts(
            "WHERE plan = ? AND provider = ? AND clip = ? ORDER BY number DESC LIMIT 1", plan, provider, clip
        )
        return found[0] if found else None

    def task_owner(self, provider: str, task_id: str) -> Attempt | None:
        """The attempt that a task belongs to, whatever plan ordered it."""
        found = self._attempts("WHERE provider = ? AND task_id = ?", provider, task_id)
        return found[0] if found else None

    def task_ids(self, provider: str) -> frozenset[str]:
        """Every task id that belongs to an attempt on this provider."""
        found = self._file.read("SELECT task_id FROM attempt WHERE provider = ? AND task_id IS NOT NULL", provider)
        return frozenset(row[0] for row in found)

    def taskless(self, provider: str, model: str) -> list[Attempt]:
        """The attempts that may have been bought and have no task id: in doubt, or settled while they were."""
        return self._attempts(
            "WHERE provider = ? AND model = ? AND task_id IS NULL"
            " AND state IN ('sending', 'unknown', 'abandoned', 'superseded') ORDER BY number",
            provider,
            model,
        )

    def orphaned_sending(self, plan: str, provider: str, run: str) -> list[Attempt]:
        """What earlier runs of this plan and provider left in `sending` when they died. For the holder of the lock."""
        return self._attempts(
            "WHERE plan = ? AND provider = ? AND run <> ? AND live AND state = 'sending' ORDER BY number",
            plan,
            provider,
            run,
        )

    def history(self, attempt_id: str) -> list[Step]:
        """Every state an attempt ever went to, with who, when and why, oldest first."""
        found = self._file.read("SELECT * FROM history WHERE attempt = ? ORDER BY number", attempt_id)
        try:
            return [
                Step(row["before"] and State(row["before"]), State(row["after"]), row["at"], row["by"], row["why"])
                for row in found
            ]
        except ValueError as error:
            raise ledgerfile.damaged(self._file.path, f"history of attempt {attempt_id}: {error}") from error

    def spent(self, plan: str, provider: str) -> tuple[Money, ...]:
        """What this plan has spent and reserved on this provider, per currency: billed where known, else reserved.

        What costs nothing is left out, and so is what has no known price: see `unpriced`.
        """
        sums: dict[str, Money] = {}
        for money, count in self._counted(_COUNTED_BY_PLAN, plan, provider):
            if money is not None and money.amount:
                sum_ = sums.get(money.currency, Money(Decimal(0), money.currency))
                sums[money.currency] = Money(
                    sum_.amount + money.amount * count, money.currency, exact=sum_.exact and money.exact
                )
        return tuple(sums[currency] for currency in sorted(sums))

    def unpriced(self, plan: str, provider: str) -> int:
        """How many attempts count as spent without a known price."""
        return sum(count for money, count in self._counted(_COUNTED_BY_PLAN, plan, provider) if money is None)

    def durations(self, provider: str, model: str) -> list[float]:
        """Seconds from accepted to ready of the last 200 clips of a model, oldest first, to plan polls by."""
        seconds = [
            (datetime.fromisoformat(row["ready"]) - datetime.fromisoformat(row["accepted"])).total_seconds()
            for row in reversed(self._file.read(_DURATIONS, provider, model))
        ]
        return [each for each in seconds if each >= 0]  # the wall clock can have been put back

    def moments(self, provider: str) -> dict[tuple[str, State], str]:
        """When the attempts at a provider were first accepted and ready, by attempt id and state."""
        found = self._file.read(_MOMENTS, provider)
        return {(row["attempt"], State(row["after"])): row["at"] for row in found}

    def weights(self, provider: str, model: str, resolution: str) -> list[float]:
        """Bytes per second of the last 200 clips of a model, those of one billed resolution."""
        found = self._file.read(_WEIGHTS, provider, model)
        told = [(row["bytes"], json.loads(row["job"])) for row in found]
        return [
            weight / job["length"]
            for weight, job in told
            if job.get("billed_resolution") == resolution and job.get("length")
        ]

    def fingerprints(self, provider: str, *, live: bool) -> set[str]:
        """The fingerprints of every attempt at a provider, or only of the live ones."""
        return {row[0] for row in self._file.read(_LIVE_FINGERPRINTS if live else _FINGERPRINTS, provider)}

    def files(self, plan: str, provider: str) -> set[str]:
        """Every file name that was ever given to a clip of this plan, relative to the run folder."""
        return {row[0] for row in self._file.read(_FILES, plan, provider)}

    def _counted(self, sql: str, *parameters: object) -> list[tuple[Money | None, int]]:
        return [(rows.as_money(row[0]), row[1]) for row in self._file.read(sql, *parameters)]

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def link(self, *, plan: str, provider: str, clip: str, stem: str, attempt_id: str) -> Placing:
        """Give a reused clip its own next name under this plan and clip id. The same again gives the same name."""
        with self._file.transaction():
            if (placing := names.find(self._file, plan, provider, clip, attempt_id)) is None:
                version, file = names.following(self._file, plan, provider, clip, stem)
                placing = Placing(plan, provider, clip, attempt_id, version, file)
                names.give(self._file, placing, stem)
            return placing

    def placing(self, plan: str, provider: str, clip: str, attempt_id: str) -> str | None:
        """The file (relative to the run folder) under which this plan knows that attempt's clip, if it does."""
        placing = names.find(self._file, plan, provider, clip, attempt_id)
        return placing.file if placing else None

    def placings(self, attempt_id: str) -> list[Placing]:
        """Every name that an attempt's clip has, under whichever plan."""
        return names.of(self._file, attempt_id)

    def next_file(self, attempt_id: str) -> str:
        """The next free name for an attempt's clip, to `move` it to when a stranger's file lies under its own."""
        attempt = self.attempt(attempt_id)
        return names.following(self._file, attempt.plan, attempt.provider, attempt.clip, attempt.job["stem"])[1]

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _attempts(self, where: str, *parameters: object) -> list[Attempt]:
        found = self._file.read(f"SELECT {rows.COLUMNS} FROM attempt {where}", *parameters)  # noqa: S608 - ours, above
        try:
            return [rows.as_attempt(row) for row in found]
        except ValueError as error:
            raise ledgerfile.damaged(self._file.path, error) from error

    def _note(self, attempt: Attempt, before: State | None, by: str, why: str) -> None:
        self._file.write(
            "INSERT INTO history (attempt, before, after, at, by, why) VALUES (?, ?, ?, ?, ?, ?)",
            (attempt.id, before, attempt.state, attempt.changed_at, rows.text(by), rows.text(why)),
        )

    def _now(self) -> str:
        return self._clock.now().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
