"""How an attempt lies in the ledger's file: records to columns and back."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun.records import Attempt, ErrorClass, Failure, MediaInfo, Money, State
from storyrun.states import STATES, cost

if TYPE_CHECKING:
    import sqlite3


def text(value: str) -> str:
    """Text that SQLite takes: a lone surrogate, which a provider can send, becomes its escape."""
    return value.encode("utf-8", "backslashreplace").decode()


def money(amount: Money | None) -> str | None:
    """`0.60 USD`, or `~0.60 USD` for an upper bound."""
    return f"{'' if amount.exact else '~'}{amount.amount:f} {amount.currency}" if amount else None


def as_money(stored: str | None) -> Money | None:
    """The way back from `money`; nothing and the empty text are no known price."""
    if not stored:
        return None
    amount, _, currency = stored.removeprefix("~").partition(" ")
    return Money(Decimal(amount), currency, exact=not stored.startswith("~"))


def _json(value: Any) -> str:
    return text(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=dict))


def changing_columns(attempt: Attempt) -> dict[str, Any]:
    """What a move writes. `counted` is text, so that its sums stay exact; empty: counts, and no price is known."""
    failure, media = attempt.failure, attempt.media
    return {
        "id": attempt.id,
        "state": attempt.state.value,
        "live": int(STATES[attempt.state].live),
        "billed": money(attempt.billed),
        "counted": money(cost(attempt)) or "",
        "task_id": attempt.task_id,
        "file": attempt.file,
        "usage": _json(dict(attempt.usage)),
        "failure": failure and _json([failure.kind.value, failure.code, failure.message, failure.request_id]),
        "media": media
        and _json(
            {
                "duration": str(media.duration),
                "width": media.width,
                "height": media.height,
                "fps": str(media.fps),
                "frames": media.frames,
                "video_codec": media.video_codec,
                "audio_codec": media.audio_codec,
            }
        ),
        "sha256": attempt.sha256,
        "bytes": attempt.bytes,
        "problems": _json(attempt.problems),
        "changed_at": attempt.changed_at,
        "finished_at": attempt.finished_at,
    }


def fixed_columns(attempt: Attempt) -> dict[str, Any]:
    """What is written once, with `sending`."""
    return {
        "run": attempt.run,
        "plan": attempt.plan,
        "plan_path": attempt.plan_path,
        "provider": attempt.provider,
        "clip": attempt.clip,
        "fingerprint": attempt.fingerprint,
        "model": attempt.model,
        "account": attempt.account,
        "job": _json(dict(attempt.job)),
        "request": _json(dict(attempt.request)),
        "free_when_failed": int(attempt.free_when_failed),
        "reserved": money(attempt.reserved),
        "created_at": attempt.created_at,
    }


COLUMNS = (
    "number, id, run, plan, plan_path, provider, clip, fingerprint, model, account, job, request, file, state, "
    "free_when_failed, reserved, billed, task_id, usage, failure, media, sha256, bytes, problems, "
    "created_at, changed_at, finished_at"
)
"""What `as_attempt` needs of a row."""

INSERT = (
    "INSERT INTO attempt (run, plan, plan_path, provider, clip, fingerprint, model, account, job, request, "
    "free_when_failed, reserved, created_at, id, state, live, billed, counted, task_id, file, usage, failure, media, "
    "sha256, bytes, problems, changed_at, finished_at) "
    "VALUES (:run, :plan, :plan_path, :provider, :clip, :fingerprint, :model, :account, :job, :request, "
    ":free_when_failed, :reserved, :created_at, :id, :state, :live, :billed, :counted, :task_id, :file, :usage, "
    ":failure, :media, :sha256, :bytes, :problems, :changed_at, :finished_at)"
)
"""Takes the columns of `fixed_columns` and `changing_columns`."""

UPDATE = (
    "UPDATE attempt SET state = :state, live = :live, billed = :billed, counted = :counted, task_id = :task_id, "
    "file = :file, usage = :usage, failure = :failure, media = :media, sha256 = :sha256, bytes = :bytes, "
    "problems = :problems, changed_at = :changed_at, finished_at = :finished_at WHERE id = :id"
)
"""Takes those of `changing_columns`."""


def as_attempt(row: sqlite3.Row) -> Attempt:
    """A row as a record. Raises ValueError when it cannot be one."""
    try:
        failure = json.loads(row["failure"]) if row["failure"] else None
        media = json.loads(row["media"]) if row["media"] else None
        if media:
            media |= {"duration": Fraction(media["duration"]), "fps": Fraction(media["fps"])}
        return Attempt(
            id=row["id"],
            number=row["number"],
            run=row["run"],
            plan=row["plan"],
            plan_path=row["plan_path"],
            provider=row["provider"],
            clip=row["clip"],
            fingerprint=row["fingerprint"],
            state=State(row["state"]),
            model=row["model"],
            account=row["account"],
            job=json.loads(row["job"]),
            request=json.loads(row["request"]),
            file=row["file"],
            created_at=row["created_at"],
            changed_at=row["changed_at"],
            finished_at=row["finished_at"],
            task_id=row["task_id"],
            free_when_failed=bool(row["free_when_failed"]),
            reserved=as_money(row["reserved"]),
            billed=as_money(row["billed"]),
            usage=json.loads(row["usage"]),
            failure=Failure(ErrorClass(failure[0]), *failure[1:]) if failure else None,
            media=MediaInfo(**media) if media else None,
            sha256=row["sha256"],
            bytes=row["bytes"],
            problems=tuple(json.loads(row["problems"])),
        )
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError) as error:
        raise ValueError(f"attempt number {row['number']}: {error}") from error
