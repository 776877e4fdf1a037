"""Every exception that storyrun raises on purpose.

StoryrunError                  a sentence for people, and an exit code
├── PlanError                  the storyboard is wrong; carries its problems             exit 2
├── UsageError                 refused before anything was sent: usage, key, consent     exit 2
├── InUseError                 another live run owns this plan and provider              exit 3
├── LedgerError                the ledger or the disk failed; nothing is ordered after   exit 6
│   └── TransitionError        a move that the state table does not know: our bug       exit 70
└── ProviderError              what a provider or the way to it answered
    ├── NotSent                proven that nothing left this machine
    ├── Rejected               a proven refusal of a create
    ├── LostAnswer             sent, no usable answer: it may have been bought
    ├── MissedPoll             a question without a usable answer: ask again
    ├── NotFound               the provider does not know the task
    └── FetchFailed            the bytes of a clip did not arrive whole
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storyrun.records import ErrorClass, Problem


class StoryrunError(Exception):
    """A sentence for people. `hint` names the next thing to type; `exit_code` ends the process."""

    exit_code = 70

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class PlanError(StoryrunError):
    """The storyboard cannot be run as written. Nothing was sent."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        errors = sum(problem.severity == "error" for problem in problems)
        super().__init__(f"{errors} problem{'s' if errors != 1 else ''} in the storyboard; nothing was sent")
        self.problems = tuple(problems)


class UsageError(StoryrunError):
    """Refused before anything was sent: a wrong option, a missing key, no consent, over budget."""

    exit_code = 2


class InUseError(StoryrunError):
    """Another live run holds the lock of this plan and provider."""

    exit_code = 3


class LedgerError(StoryrunError):
    """The ledger or the disk under it failed. No create may follow."""

    exit_code = 6


class TransitionError(LedgerError):
    """An attempt was asked to make a move that the state table does not have. Always our bug."""

    exit_code = 70


class ProviderError(StoryrunError):
    """An answer of a provider, or of the way to it, that is not a success.

    `kind` is the class of the error (see `records.ErrorClass`), `code` and `request_id` are the provider's own,
    `retry_after` is what it asked us to wait, in seconds, and `raw` what came over the wire, bounded and redacted.
    """

    def __init__(
        self,
        sentence: str,
        *,
        kind: ErrorClass,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        raw: str = "",
    ) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.raw = raw


class NotSent(ProviderError):
    """Proven that nothing left: refused connection, unknown host, connect timeout."""


class Rejected(ProviderError):
    """A create was refused for certain: on the adapter's list of definite refusals."""


class LostAnswer(ProviderError):
    """A create was sent and no usable answer came back. It may have been bought."""


class MissedPoll(ProviderError):
    """A poll brought no usable answer. Says nothing about the task."""


class NotFound(ProviderError):
    """The provider does not know the task, or no longer."""


class FetchFailed(ProviderError):
    """A clip did not arrive whole. The task is as bought as before."""
