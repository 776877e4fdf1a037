"""What one run works with: passed along instead of a dozen arguments. It also speaks to the observer, safely."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from storyrun import retry
from storyrun.errors import InUseError
from storyrun.folder import Outputs
from storyrun.providers import accounts
from storyrun.records import ClipEvent, Failure, Task
from storyrun.runner.pacing import Limits, Usual, limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from storyrun.clock import Clock
    from storyrun.errors import ProviderError
    from storyrun.folder import RunFolder
    from storyrun.ledger import Ledger
    from storyrun.providers.base import Provider
    from storyrun.records import Attempt, ModelCard, Money, Plan, TaskStatus
    from storyrun.runner.door import Door
    from storyrun.runner.pacing import Questions
    from storyrun.runner.room import Room

POLL_GAP = (10.0, 15.0)
"""Seconds between two questions about one task, where the provider names none: what the guides advise."""


@dataclass(frozen=True)
class Policy:
    """How a run goes about it.

    `concurrency`: tasks at the provider at once over all models (None: as many of each model as its card allows; of
    those whose card does not say, as many together as the provider has `workers`). `poll_interval`: seconds between two
    questions about one task, the first included (None: the provider's own). `deadline`: seconds that this run waits for
    any one clip (None: as long as it takes); what is late stays open. `retries`: how often a clip that failed is
    ordered again at once. `retry_refused`: order again what was refused for its content or parameters. `fail_fast`:
    order nothing more after the first failure.
    """

    concurrency: int | None = None
    poll_interval: float | None = None
    deadline: float | None = None
    retries: int = 0
    retry_refused: bool = False
    fail_fast: bool = False
    budget: Money | None = None
    run_ceiling: Money | None = None
    creates_in_flight: int = 4


class StopSignal:
    """The first Ctrl-C: set `drain`, and the run orders and asks nothing more, waits for its creates, and returns."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()


@dataclass
class Errand:
    """One run, and everything it works with."""

    plan: Plan
    provider: Provider
    ledger: Ledger
    folder: RunFolder
    run_id: str
    plan_path: str
    plan_folder: Path
    policy: Policy
    clock: Clock
    jitter: Callable[[], float]
    observe: Callable[[ClipEvent], None] | None
    stop: StopSignal
    door: Door
    questions: Questions
    room: Room
    orders: bool = True
    """Whether this run may order anything; else it only collects."""
    notes: list[str] = field(default_factory=list)
    """What nobody could be told while it happened."""
    bugs: list[Exception] = field(default_factory=list)
    """What should never happen and hit one clip only: raised when the others are through."""
    over_budget: str = ""
    """Why something was not ordered though the door was open."""
    names: dict[str, str] = field(default_factory=dict)
    """The clip to speak of, by attempt id, where another clip than the attempt's own waits for it."""
    locks: ExitStack = field(default_factory=ExitStack)
    """Locks of other plans whose open clips this run looks after."""
    _held: dict[str, RunFolder] = field(default_factory=dict)
    _warned: bool = False

    def __post_init__(self) -> None:
        self.usual = Usual(self.ledger, self.namespace)

    @property
    def stem(self) -> str:
        """The plan's name in the ledger."""
        return self.plan.storyboard.path.stem

    @property
    def namespace(self) -> str:
        """The provider's name in the ledger (with its host when rehearsed)."""
        return self.plan.provider

    def mine(self, attempt: Attempt) -> bool:
        """Whether this plan ordered it. Another plan's rows are touched only under that plan's lock."""
        return attempt.plan == self.stem

    # ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def elsewhere(self, attempt: Attempt) -> str:
        """Why an attempt is not asked about here: it was ordered at another base URL. Empty where it was not."""
        if accounts.difference(attempt.account, self.provider.account) != "base":
            return ""
        there, here = accounts.place(attempt.account), accounts.place(self.provider.account)
        return f"ordered at {there}, and {here} is not asked about it"

    def other_key(self, attempt: Attempt) -> str:
        """Why "not found" says nothing of an attempt: it was ordered with another key. Empty where it was not."""
        if accounts.difference(attempt.account, self.provider.account) != "key":
            return ""
        return f"ordered with another key of {accounts.place(attempt.account)} than today's"

    def warn_of_key(self, attempt: Attempt) -> None:
        """Tell once in a run that today's key is not the one of what is open."""
        if not self._warned and (other := self.other_key(attempt)):
            self._warned = True
            self.notes.append(f"{attempt.clip}: {other}; whatever today's does not find stays as it is")

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def home(self, attempt: Attempt) -> RunFolder:
        """The folder in which an attempt's own file lies: that of the plan that ordered it."""
        if self.mine(attempt):
            return self.folder
        return self._held.get(attempt.plan) or self.folder_of(attempt.plan)

    def folder_of(self, plan: str) -> RunFolder:
        """The folder of a plan's clips of this provider."""
        return self._outputs.run_folder(plan, self.namespace)

    def holds(self, attempt: Attempt) -> bool:
        """Whether this run may look after an attempt: its own, or that of a plan which no live run is working on.

        Takes that plan's lock until the end of this run.
        """
        if self.mine(attempt) or attempt.plan in self._held:
            return True
        folder = self._outputs.run_folder(attempt.plan, self.namespace)
        try:
            folder.prepare()
            self.locks.enter_context(folder.hold())
        except InUseError:
            return False
        self._held[attempt.plan] = folder
        return True

    def task(self, attempt: Attempt) -> Task:
        """What the provider needs to know of an attempt."""
        folder = self.plan_folder
        if attempt.plan_path and not self.mine(attempt):
            folder = (self._outputs.root / attempt.plan_path).parent
        return Task(attempt.id, attempt.task_id or "", attempt.model, attempt.job, folder, attempt.created_at)

    @property
    def _outputs(self) -> Outputs:
        return Outputs(self.folder.path.parent.parent)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def gap(self, status: TaskStatus | None = None) -> float:
        """Seconds until the next question about a task: spread, so that many tasks do not ask at once."""
        if (interval := self.policy.poll_interval) is not None:
            low, high = 0.9 * interval, 1.1 * interval
        else:
            low, high = getattr(self.provider, "poll_gap", POLL_GAP if self.provider.paid else (0.0, 0.0))
        gap = low + (high - low) * self.jitter()
        if status is not None and status.poll_after is not None:
            gap = max(gap, retry.bounded(status.poll_after))
        return gap

    def first_gap(self, model: str) -> float:
        """Seconds from an order to the first question about it: the gap, or nearly the time that a model usually takes.

        What is learnt is when clips were seen to be ready. They were so up to a gap before, hence half a gap less.
        """
        gap = self.gap()
        if self.policy.poll_interval is not None or not self.provider.paid:
            return gap
        usual = self.usual.soonest(model)
        return gap if usual is None else max(gap, usual - gap / 2)

    async def wait(self, seconds: float, begun: float) -> bool:
        """Wait, but not past the deadline of a clip that has been waited for since `begun`. False: it has passed."""
        if self.policy.deadline is None:
            await self.clock.sleep(seconds)
            return True
        left = begun + self.policy.deadline - self.clock.monotonic()
        if left <= 0:
            return False
        await self.clock.sleep(min(seconds, left))
        return True

    def late(self, begun: float) -> bool:
        """Whether the deadline of a clip that has been waited for since `begun` has passed."""
        return self.policy.deadline is not None and self.clock.monotonic() - begun >= self.policy.deadline

    def kept(self, attempt: Attempt) -> bool:
        """Whether the provider may still have the clip, by the keeping time on the model's card."""
        until = self.kept_until(attempt)
        return until is None or self.clock.now() < until

    def kept_until(self, attempt: Attempt) -> datetime | None:
        """When the keeping time of a clip is over; None: never, or nobody knows."""
        card = self._card(attempt.model)
        if card is None or card.keeps_hours is None:
            return None
        return moment(attempt.finished_at or attempt.changed_at) + timedelta(hours=card.keeps_hours)

    def limits(self, model: str) -> Limits:
        """What the account may do with a model."""
        return limits(self._card(model), self.provider.name, getattr(self.provider, "creates_per_second", None))

    def _card(self, model: str) -> ModelCard | None:
        return self.plan.cards.get(model) or getattr(self.provider, "cards", {}).get(model)

    # ── talk ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def say(self, kind: Any, attempt: Attempt | None = None, sentence: str = "", *, clip: str = "") -> None:
        """Tell the observer. One that raises is told nothing more, and the run goes on."""
        if attempt is not None and not clip:
            clip = self.names.get(attempt.id, attempt.clip)
        event = ClipEvent(clip, kind, sentence, attempt)
        try:
            if self.observe is not None:
                self.observe(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not reach the money path
            self.observe = None
            said = self.redacted(f"{type(error).__name__}: {error}")
            self.notes.append(f"the progress display failed ({said}); the run went on without")

    def failed(self, attempt: Attempt, sentence: str) -> Attempt:
        """Tell of a clip that failed for good, and order nothing more if that is what the user wants."""
        self.say("failed", attempt, sentence)
        self._fail_fast()
        return attempt

    def unordered(self, clip: str, sentence: str) -> None:
        """The same of a clip that came to no order."""
        self.say("failed", sentence=sentence, clip=clip)
        self._fail_fast()

    def _fail_fast(self) -> None:
        if self.policy.fail_fast:
            self.door.close("a clip failed, and --fail-fast was given", fault=False)

    def stumbled(self, bug: Exception, attempt: Attempt | None = None, *, clip: str = "") -> None:
        """Keep a bug of ours that hit one clip, so that the others can go on."""
        self.bugs.append(bug)
        self.say("open", attempt, self.redacted(f"a bug in storyrun: {type(bug).__name__}: {bug}"), clip=clip)

    def redacted(self, text: str) -> str:
        """What an exception says that nobody planned, without the provider's key: it may have been in its hands."""
        redact: Callable[[str], str] = getattr(self.provider, "redacted", str)
        return redact(text)


def moment(stored: str) -> datetime:
    """A time as the ledger holds it."""
    at = datetime.fromisoformat(stored)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def reason(said: Failure | ProviderError | None, otherwise: str) -> str:
    """What a failure or an error says, in one line, with the provider's own code."""
    if said is None:
        return otherwise
    message = said.message if isinstance(said, Failure) else str(said)
    return (message or otherwise) + (f" ({said.code})" if said.code and said.code not in message else "")
