"""Time as a port: what the time is, and waiting. Everything that waits gets a `Clock` passed in."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The wall clock for records, a monotonic clock for waiting, and sleep."""

    def now(self) -> datetime:
        """The time of day, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait this many seconds."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC with whole seconds, for the manifest and for people."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
