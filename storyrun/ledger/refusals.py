"""What the ledger refuses without harm: nothing was written, and the run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun.errors import StoryrunError, UsageError

if TYPE_CHECKING:
    from storyrun.records import Attempt, Money


class AlreadyLive(StoryrunError):
    """Refused: `attempt` of this or another plan is live for the same fingerprint. Nothing was written."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(f"{attempt.clip} of {attempt.plan} is already ordered, and {attempt.state}")
        self.attempt = attempt


class OverBudget(UsageError):
    """Refused: the next clip would pass `ceiling`, or cannot be held against it. Nothing was written."""

    def __init__(self, sentence: str, hint: str, ceiling: Money) -> None:
        super().__init__(sentence, hint)
        self.ceiling = ceiling


class TaskTaken(UsageError):
    """Refused: the task id belongs to `attempt` already. Nothing was written."""

    def __init__(self, task_id: str, attempt: Attempt) -> None:
        super().__init__(f"task {task_id} is already that of {attempt.clip} of {attempt.plan} (attempt {attempt.id})")
        self.attempt = attempt
