"""The only truth: every attempt to buy a clip, committed to the disk before the next thing happens.

    order          sending, with its name and its budget reservation, before the first byte leaves
    record_answer  what came back, before anyone parses it
    move           every other change of state

The manifest and the report are views of this. No file, network or provider is touched here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any

from storyrun import states
from storyrun.errors import TransitionError
from storyrun.ledger import file as ledgerfile
from storyrun.ledger import names, rows
from storyrun.ledger.asking import COUNTED_BY_PLAN, COUNTED_BY_RUN, Asking, Run, Step
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


class Ledger(Asking):
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
                _check_ceiling(clip, reserved, budget, "the budget", self._counted(COUNTED_BY_PLAN, plan, provider))
            if run_ceiling is not None:
                _check_ceiling(clip, reserved, run_ceiling, "--max-cost", self._counted(COUNTED_BY_RUN, run))
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

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def link(self, *, plan: str, provider: str, clip: str, stem: str, attempt_id: str) -> Placing:
        """Give a reused clip its own next name under this plan and clip id. The same again gives the same name."""
        with self._file.transaction():
            if (placing := names.find(self._file, plan, provider, clip, attempt_id)) is None:
                version, file = names.following(self._file, plan, provider, clip, stem)
                placing = Placing(plan, provider, clip, attempt_id, version, file)
                names.give(self._file, placing, stem)
            return placing

    def next_file(self, attempt_id: str) -> str:
        """The next free name for an attempt's clip, to `move` it to when a stranger's file lies under its own."""
        attempt = self.attempt(attempt_id)
        return names.following(self._file, attempt.plan, attempt.provider, attempt.clip, attempt.job["stem"])[1]

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _note(self, attempt: Attempt, before: State | None, by: str, why: str) -> None:
        self._file.write(
            "INSERT INTO history (attempt, before, after, at, by, why) VALUES (?, ?, ?, ?, ?, ?)",
            (attempt.id, before, attempt.state, attempt.changed_at, rows.text(by), rows.text(why)),
        )

    def _now(self) -> str:
        return self._clock.now().astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
