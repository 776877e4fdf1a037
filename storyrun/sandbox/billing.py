"""The bill: an append-only file of JSON lines, written before the answer that it is about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Bill:
    """What was booked, failed and cancelled, in the order it happened.

    Lines have `event` (`booked`, `failed`, `cancelled`), `at`, `provider`, `account`, `task_id`; a booked one also
    what was ordered. A failed or cancelled task costs nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, **what: Any) -> None:
        """One line, handed to the system before this returns: it is there even if this process is killed."""
        line = {"n": len(self.lines) + 1, "event": event, **what}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        self.lines.append(line)

    def events(self, event: str) -> list[dict[str, Any]]:
        """The lines of one kind."""
        return [line for line in self.lines if line["event"] == event]

    @property
    def booked(self) -> list[dict[str, Any]]:
        """What was bought: one line for each task."""
        return self.events("booked")

    def close(self) -> None:
        """No more lines."""
        self._file.close()
