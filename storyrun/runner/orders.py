"""Ordering: the one function that sends creates, and the loop that may call it again.

`_create` is the only place in the program that buys. It starts from a committed `sending` row, sends once, and writes
down what came back before anyone reads it. Nothing around it repeats an order that may have been taken.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING

from storyrun import jobs
from storyrun.errors import LedgerError, NotSent, ProviderError, Rejected
from storyrun.ledger import AlreadyLive, OverBudget, TaskTaken
from storyrun.records import ErrorClass, Failure, State
from storyrun.runner.errand import moment, reason
from storyrun.runner.uploads import Uploads, to_be_stored

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from storyrun.records import Answer, Attempt, Job
    from storyrun.runner.errand import Errand


ALIKE_FOR = timedelta(days=1)
"""How far apart two orders of one prompt are sent at most when the task of one may be taken for the other's: a
provider looks for a task among those of about its time.
"""


class Orders:
    """Buys clips. Creates in flight outlive the worker that asked for them: see `settle`."""

    def __init__(self, errand: Errand, in_care: Collection[str]) -> None:
        self._errand = errand
        self._in_care = in_care
        self._uploads = Uploads(errand)
        self._in_flight: set[asyncio.Task[Attempt | None]] = set()

    async def order(self, job: Job) -> Attempt | None:
        """Order a clip, as often as that is safe and useful. Its local files go up first.

        Returns the attempt that is live now (accepted or unknown; of another run, if that was faster), a rejected one
        that stays so, or None when nothing was ordered and the reason was told.
        """
        errand = self._errand
        begun = errand.clock.monotonic()
        while not errand.door.closed:
            try:
                uploads = await self._uploads.of(job, begun)
            except ProviderError as error:
                errand.unordered(job.id, f"not ordered, nothing was sent: {reason(error, 'a file was not uploaded')}")
                return None
            if not await errand.door.enter(job.model):
                return None
            if errand.stop.drain.is_set() or not self._room_for(job):
                await errand.door.leave()
                return None
            create = asyncio.create_task(self._take_turn(job, uploads))
            self._in_flight.add(create)
            attempt = await asyncio.shield(create)
            self._in_flight.discard(create)
            if attempt is None or attempt.state not in (State.NOT_SENT, State.REJECTED):
                return attempt
            if not self._again(attempt):
                return errand.failed(attempt, self._refusal(attempt))
            if not await errand.wait(0, begun):
                return errand.failed(attempt, f"not ordered before the deadline: {self._refusal(attempt)}")
            errand.say("waiting", attempt, f"{self._refusal(attempt)}; it is ordered again")
        return None

    async def settle(self) -> list[BaseException]:
        """Wait for the creates in flight. Returns what went wrong in them."""
        results = await asyncio.gather(*self._in_flight, return_exceptions=True)
        return [result for result in results if isinstance(result, BaseException)]

    async def _take_turn(self, job: Job, uploads: Mapping[str, str]) -> Attempt | None:
        try:
            return await self._create(job, uploads)
        except AlreadyLive as other:
            return other.attempt
        except OverBudget as refusal:
            self._errand.over_budget = refusal.sentence
            self._errand.say("failed", sentence=f"not ordered: {refusal.sentence}", clip=job.id)
            return None
        finally:
            await self._errand.door.leave()

    async def _create(self, job: Job, uploads: Mapping[str, str]) -> Attempt:
        """Send one create from its committed row, and record what became of it."""
        errand, ledger, provider = self._errand, self._errand.ledger, self._errand.provider
        request = provider.request(job, uploads)
        attempt = ledger.order(
            run=errand.run_id,
            plan=errand.stem,
            plan_path=errand.plan_path,
            provider=errand.namespace,
            job=jobs.as_dict(job),
            request=provider.request(job, to_be_stored(uploads)),
            account=provider.account,
            reserved=job.quote,
            free_when_failed=errand.plan.cards[job.model].free_when_failed,
            budget=errand.policy.budget,
            run_ceiling=errand.policy.run_ceiling,
        )
        errand.say("sending", attempt)
        answer: Answer | None = None
        try:
            try:
                answer = await provider.submit(request, attempt.id)
                ledger.record_answer(attempt.id, _raw(answer))
                task_id = provider.read(answer).task_id
            except NotSent as error:
                errand.door.unsent(error)
                return ledger.move(attempt.id, State.NOT_SENT, failure=_failure(error), why=str(error))
            except Rejected as error:
                errand.door.refused(error)
                return ledger.move(attempt.id, State.REJECTED, failure=_failure(error), why=str(error))
            except LedgerError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever went wrong after sending, it may have been bought
                return self._doubt(attempt, error)
            try:
                accepted = ledger.move(attempt.id, State.ACCEPTED, task_id=task_id)
            except TaskTaken as taken:
                return self._doubt(attempt, taken)
            errand.door.accepted(job.model)
            errand.say("rendering", accepted)
            return accepted
        except LedgerError:
            self._cry_out(attempt, answer)
            raise

    def _room_for(self, job: Job) -> bool:
        """Whether the disk can take this clip beside all that is in flight. If not, nothing more is ordered, and what
        is open is collected as far as it goes.
        """
        errand = self._errand
        if not errand.provider.paid:
            return True
        sentence, _ = errand.room.lack([job], others=len(self._in_care) + len(self._in_flight))
        if sentence:
            errand.door.close(sentence)
        return not sentence

    def _doubt(self, attempt: Attempt, error: Exception) -> Attempt:
        """No usable answer came: it may have been bought, and is never sent again."""
        self._errand.door.lost()
        if isinstance(error, ProviderError):
            failure = _failure(error)
            if error.raw:
                self._errand.ledger.record_answer(attempt.id, error.raw)
        else:
            failure = Failure(ErrorClass.PROVIDER, type(error).__name__, self._errand.redacted(str(error)))
        return self._errand.ledger.move(attempt.id, State.UNKNOWN, failure=failure, why=failure.message)

    def _cry_out(self, attempt: Attempt, answer: Answer | None) -> None:
        """The ledger failed under an order in flight: the only record of it is what is said now."""
        try:
            bought = f"task {self._errand.provider.read(answer).task_id}" if answer else "an order without an answer"
        except Exception:  # noqa: BLE001 - said as well as it can be
            bought = "an order with an answer that cannot be read"
        sentence = f"{bought} (attempt {attempt.id}) could not be written into the ledger"
        self._errand.notes.append(f"{attempt.clip}: {sentence}")
        self._errand.say("note", attempt, sentence)

    def _again(self, attempt: Attempt) -> bool:
        """Whether this refusal is one to wait out; the door knows how long, and is closed if there is no point."""
        if self._errand.door.closed:
            return False
        limited = attempt.failure is not None and attempt.failure.kind is ErrorClass.RATE_LIMIT
        return attempt.state is State.NOT_SENT or limited

    def _refusal(self, attempt: Attempt) -> str:
        if attempt.state is State.NOT_SENT:
            return f"nothing was sent: {reason(attempt.failure, 'no connection')}"
        return f"refused: {reason(attempt.failure, 'no reason given')}"


async def find(errand: Errand, attempt: Attempt) -> Attempt:
    """Ask the provider for the task of an attempt whose answer was lost. Can only make it accepted.

    Not elsewhere and not with another key, where "nothing found" would mean nothing; and what only looks alike is not
    taken while another order that looks the same has no task.
    """
    if why := errand.elsewhere(attempt) or errand.other_key(attempt):
        errand.warn_of_key(attempt)
        errand.say("note", attempt, f"not looked for: it was {why}")
        return attempt
    await errand.questions.turn()
    try:
        found = await errand.provider.find(errand.task(attempt), errand.ledger.task_ids(errand.namespace))
        if found is None:
            return attempt
        if twin := _twin(errand, attempt):
            said = f"it could be task {found.task_id}, and so could {twin.clip} of {twin.plan}: storyrun settle"
            errand.say("note", attempt, said)
            return attempt
        return errand.ledger.move(attempt.id, State.ACCEPTED, task_id=found.task_id, why="found at the provider")
    except (ProviderError, TaskTaken) as error:
        errand.say("note", attempt, f"could not be looked for: {error}")
    return attempt


def _twin(errand: Errand, attempt: Attempt) -> Attempt | None:
    """Another order of the same prompt without a task, where the provider knows orders by their looks alone.

    Asked after the search: what was being sent meanwhile has its task by then, or may be the owner of what was found.
    """
    if not getattr(errand.provider, "found_by_likeness", False):
        return None
    alike = errand.ledger.taskless(errand.namespace, attempt.model)
    prompt, sent = attempt.job.get("prompt"), moment(attempt.created_at)
    for each in alike:
        same_day = abs(moment(each.created_at) - sent) < ALIKE_FOR
        if each.id != attempt.id and each.job.get("prompt") == prompt and same_day:
            return each
    return None


def _failure(error: ProviderError) -> Failure:
    return Failure(error.kind, error.code, str(error), error.request_id)


def _raw(answer: Answer) -> str:
    """An answer as the ledger keeps it."""
    return json.dumps({"status": answer.status, "request_id": answer.request_id, "body": answer.body})
