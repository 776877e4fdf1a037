"""What the ledger is asked. Reads, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from storyrun.errors import LedgerError
from storyrun.ledger import file as ledgerfile
from storyrun.ledger import names, rows
from storyrun.records import Attempt, Money, State

if TYPE_CHECKING:
    from storyrun.ledger.file import LedgerFile
    from storyrun.ledger.names import Placing


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


COUNTED_BY_PLAN = "SELECT counted, count(*) FROM attempt WHERE plan = ? AND provider = ? GROUP BY counted"
COUNTED_BY_RUN = "SELECT counted, count(*) FROM attempt WHERE run = ? GROUP BY counted"
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


class Asking:
    """The questions. `Ledger` adds the writes."""

    _file: LedgerFile

    def owner(self, plan: str, provider: str) -> Run | None:
        """The newest run of this plan and provider, unless it has ended."""
        found = self._file.read(
            "SELECT id, plan, provider, plan_path, pid, host, started_at, ended_at FROM run"
            " WHERE plan = ? AND provider = ? ORDER BY number DESC LIMIT 1",
            plan,
            provider,
        )
        return Run(*found[0]) if found and found[0]["ended_at"] is None else None

    def answer(self, attempt_id: str) -> str | None:
        """What `record_answer` kept."""
        found = self._file.read("SELECT answer FROM attempt WHERE id = ?", attempt_id)
        return found[0]["answer"] if found else None

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
        for money, count in self._counted(COUNTED_BY_PLAN, plan, provider):
            if money is not None and money.amount:
                sum_ = sums.get(money.currency, Money(Decimal(0), money.currency))
                sums[money.currency] = Money(
                    sum_.amount + money.amount * count, money.currency, exact=sum_.exact and money.exact
                )
        return tuple(sums[currency] for currency in sorted(sums))

    def unpriced(self, plan: str, provider: str) -> int:
        """How many attempts count as spent without a known price."""
        return sum(count for money, count in self._counted(COUNTED_BY_PLAN, plan, provider) if money is None)

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

    def placing(self, plan: str, provider: str, clip: str, attempt_id: str) -> str | None:
        """The file (relative to the run folder) under which this plan knows that attempt's clip, if it does."""
        placing = names.find(self._file, plan, provider, clip, attempt_id)
        return placing.file if placing else None

    def placings(self, attempt_id: str) -> list[Placing]:
        """Every name that an attempt's clip has, under whichever plan."""
        return names.of(self._file, attempt_id)

    def _attempts(self, where: str, *parameters: object) -> list[Attempt]:
        found = self._file.read(f"SELECT {rows.COLUMNS} FROM attempt {where}", *parameters)  # noqa: S608 - ours, above
        try:
            return [rows.as_attempt(row) for row in found]
        except ValueError as error:
            raise ledgerfile.damaged(self._file.path, error) from error
