"""What a clip is called: every name it ever had under a plan and provider, so that none is given twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from storyrun.errors import TransitionError

if TYPE_CHECKING:
    from storyrun.ledger.file import LedgerFile
    from storyrun.records import Attempt


@dataclass(frozen=True)
class Placing:
    """The name of an attempt's clip under one plan, provider and clip id; `file` is relative to the run folder."""

    plan: str
    provider: str
    clip: str
    attempt: str
    version: int
    file: str


def find(book: LedgerFile, plan: str, provider: str, clip: str, attempt_id: str) -> Placing | None:
    """The name under which this plan knows that attempt's clip: its own if it ordered it, else a link's."""
    rows = book.read(
        "SELECT version, file FROM placing WHERE plan = ? AND provider = ? AND clip = ? AND attempt = ?",
        plan,
        provider,
        clip,
        attempt_id,
    )
    return Placing(plan, provider, clip, attempt_id, *rows[0]) if rows else None


def of(book: LedgerFile, attempt_id: str) -> list[Placing]:
    """Every name that an attempt's clip has, under whichever plan."""
    rows = book.read(
        "SELECT plan, provider, clip, attempt, version, file FROM placing WHERE attempt = ? ORDER BY plan, clip",
        attempt_id,
    )
    return [Placing(*row) for row in rows]


def following(book: LedgerFile, plan: str, provider: str, clip: str, stem: str) -> tuple[int, str]:
    """The version above every recorded one of this clip id, and the file of that name.

    Also above every one of this stem: after an edit (`New York` to `New-York`) it can be another id's.
    """
    highest = [
        book.read(
            "SELECT max(version) FROM placing WHERE plan = ? AND provider = ? AND clip = ?", plan, provider, clip
        ),
        book.read(
            "SELECT max(version) FROM placing WHERE plan = ? AND provider = ? AND stem = ?",
            plan,
            provider,
            _folded(stem),
        ),
    ]
    version = 1 + max(rows[0][0] or 0 for rows in highest)
    return version, f"clips/{stem}_v{version:03d}.mp4"


def give(book: LedgerFile, placing: Placing, stem: str) -> None:
    """Write a name down, inside a transaction."""
    book.write(
        "INSERT INTO placing (plan, provider, clip, attempt, stem, version, file) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (placing.plan, placing.provider, placing.clip, placing.attempt, _folded(stem), placing.version, placing.file),
    )


def rename(book: LedgerFile, attempt: Attempt) -> None:
    """Give an attempt's clip the following name, inside a transaction. Raises `TransitionError` for any other."""
    version, file = following(book, attempt.plan, attempt.provider, attempt.clip, attempt.job["stem"])
    if attempt.file != file:
        raise TransitionError(f"the next name of attempt {attempt.id} is {file}, not {attempt.file}")
    book.write(
        "UPDATE placing SET version = ?, file = ? WHERE plan = ? AND provider = ? AND clip = ? AND attempt = ?",
        (version, file, attempt.plan, attempt.provider, attempt.clip, attempt.id),
    )


def _folded(stem: str) -> str:
    """On some disks `A.mp4` and `a.mp4` are one file, and so are the two spellings of an accent."""
    from unicodedata import normalize

    return normalize("NFC", normalize("NFC", stem).casefold())
