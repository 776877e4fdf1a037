"""Whether the disk has room for what is about to be bought: a clip that cannot be written down is money at risk.

Looked at before a run sends anything, and again before each order. What clips will weigh is learnt from those that the
ledger has of the same model and resolution; until then it is assumed.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storyrun.ledger import Ledger
    from storyrun.records import Job

SPARE = 1.5
"""How many times the expected bytes must be free."""

LEDGER_BYTES = 8 << 20
"""Room for the ledger, its log (about 4 MB before it is folded in), the ballast and the manifest."""

BIT_RATES = {"480p": 6.0, "720p": 12.0, "1080p": 24.0}
"""Megabits a second that a clip is assumed to have: twice what such video commonly has."""

DRAWN_BIT_RATE = 1.0
"""The same for animatics, which are still pictures (100 kB for a few seconds, measured)."""


class Room:
    """The room below one run folder. `free` tells the bytes that are left there, or None when nobody knows."""

    def __init__(
        self, free: Callable[[], int | None], ledger: Ledger, provider: str, *, paid: bool, where: object
    ) -> None:
        self._free = free
        self._ledger = ledger
        self._provider = provider
        self._paid = paid
        self._where = where
        self._rates: dict[tuple[str, str], tuple[float, str]] = {}
        self._heaviest = 0.0

    def lack(self, jobs: Sequence[Job], others: int = 0) -> tuple[str, str]:
        """Why these clips cannot be in flight at once, and what helps; two empty texts when there is room.

        `others`: clips that are being made already, each taken to weigh as much as the heaviest so far.
        """
        if (free := self._free()) is None:
            return "", ""
        weights = [self._rate(job)[0] * float(job.length) for job in jobs]
        self._heaviest = max([self._heaviest, *weights])
        needed = (sum(weights) + others * self._heaviest) * SPARE
        if free >= needed + LEDGER_BYTES:
            return "", ""
        number = len(jobs) + others
        sentence = (
            f"the disk of {self._where} has {_megabytes(free)} free; {number} clip{'s' if number > 1 else ''} in "
            f"flight may need {_megabytes(needed)} ({self._rate(jobs[0])[1]}), the ledger {_megabytes(LEDGER_BYTES)}"
            if number
            else f"the disk of {self._where} has {_megabytes(free)} free, the ledger needs {_megabytes(LEDGER_BYTES)}"
        )
        return sentence, (
            f"make {_megabytes(needed + LEDGER_BYTES - free)} free, name another disk with --out, or have fewer clips "
            "made at once with --concurrency"
        )

    def heaviest(self, jobs: Sequence[Job], number: int) -> list[Job]:
        """The clips that will weigh the most."""
        return sorted(jobs, key=lambda job: -self._rate(job)[0] * float(job.length))[:number]

    def _rate(self, job: Job) -> tuple[float, str]:
        """Bytes a second of a clip, and how that is known."""
        kind = (job.model, job.billed_resolution)
        if kind not in self._rates:
            known = self._ledger.weights(self._provider, *kind)
            megabits = BIT_RATES.get(kind[1], max(BIT_RATES.values())) if self._paid else DRAWN_BIT_RATE
            self._rates[kind] = (
                (max(known), "by what such clips weighed here")
                if known
                else (megabits * 1e6 / 8, f"taken as {megabits:g} Mbit/s{f' at {kind[1]}' if self._paid else ''}")
            )
        return self._rates[kind]


def _megabytes(count: float) -> str:
    """Rounded up, in millions of bytes."""
    return f"{ceil(count / 1e6)} MB"
