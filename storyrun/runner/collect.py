"""From an accepted task to a verified clip: poll, download, verify, record.

Only the provider's own word ends a task. A missed poll, an unknown word, our own patience: none is a verdict, the task
stays open and the next run asks on.
"""

from __future__ import annotations

import asyncio
import errno
from contextlib import suppress
from itertools import count
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from storyrun import reconcile, retry
from storyrun.errors import FetchFailed, LedgerError, NotFound, ProviderError
from storyrun.folder import settle_clip, sha256_of
from storyrun.media import differences, probe
from storyrun.records import ErrorClass, State, TaskStatus
from storyrun.retry import Step
from storyrun.runner.errand import moment, reason

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from storyrun.records import Attempt, MediaInfo
    from storyrun.runner.errand import Errand

DOWNLOADS = 4
"""Clips of a paid provider that are downloaded at once; on a free one a download is the rendering itself."""

CLOCK_STEP = 2.0
"""Seconds by which file times and ours may differ."""


class Clip(NamedTuple):
    """A whole video file as it was found."""

    media: MediaInfo
    sha256: str
    bytes: int


class Collector:
    """Looks after open attempts of one run. A slot at the provider is free once its task has ended; downloads wait
    in a line of their own, in the order in which the provider will drop them.
    """

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._line: asyncio.PriorityQueue[tuple[float, str, int, str, TaskStatus | None]] = asyncio.PriorityQueue()
        self._tickets = count()
        self.in_care: set[str] = set()
        """Ids of the attempts that are looked after right now."""
        self.left: set[str] = set()
        """Ids of those that this run has given up waiting for: they stay open."""

    async def collect(self, attempt: Attempt, *, just_ordered: bool = False) -> Attempt:
        """Poll an accepted attempt to its end and see to its clip.

        Returns it as it stands: done, failed, expired, open (accepted), or ready and on its way. What was ordered at
        another base URL is left as it is, and nobody is asked.
        """
        if why := self._errand.elsewhere(attempt):
            return self._leave(attempt, why)[0]
        self._errand.warn_of_key(attempt)
        self.in_care.add(attempt.id)
        status, in_line = None, False
        try:
            if attempt.state is State.ACCEPTED:
                attempt, status = await self._watch(attempt, just_ordered=just_ordered)
            if attempt.state is State.READY and self._errand.provider.paid:
                until = self._errand.kept_until(attempt)
                end = until.timestamp() if until else inf
                self._line.put_nowait((end, attempt.changed_at, next(self._tickets), attempt.id, status))
                in_line = True  # and in care until it is through
            elif attempt.state is State.READY:
                attempt = await self._download(attempt, status)
        finally:
            if not in_line:
                self.in_care.discard(attempt.id)
        return attempt

    async def carry(self) -> None:
        """Download what stands in line, for ever: one of a few that do so side by side."""
        errand = self._errand
        while True:
            *_, attempt_id, status = await self._line.get()
            attempt = errand.ledger.attempt(attempt_id)
            try:
                await self._download(attempt, status)
            except LedgerError:
                raise
            except Exception as bug:  # noqa: BLE001 - kept and raised at the end; the other clips go on
                errand.stumbled(bug, attempt)
            finally:
                self.in_care.discard(attempt_id)
                self._line.task_done()

    async def all_carried(self) -> None:
        """Wait until nothing stands in line."""
        await self._line.join()

    # ── polling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watch(self, attempt: Attempt, *, just_ordered: bool) -> tuple[Attempt, TaskStatus | None]:
        """Poll until the provider gives its verdict, or this run's patience ends."""
        errand = self._errand
        begun = errand.clock.monotonic()
        puzzled: float | None = None
        if not just_ordered:
            errand.say("rendering", attempt)
        elif not await errand.wait(errand.first_gap(attempt.model), begun):  # no task is done the moment it is born
            return self._leave(attempt, "this run does not wait for it")
        while True:
            status = await self._ask(attempt, begun)
            if isinstance(status, str):
                return self._leave(attempt, status)
            if status.state == "succeeded" and status.fetchable:
                billed = reconcile.billed(attempt, status.usage)
                usage = status.usage or None
                ready = errand.ledger.move(attempt.id, State.READY, why=status.raw, usage=usage, billed=billed)
                if just_ordered:
                    taken = moment(ready.changed_at) - moment(attempt.changed_at)
                    errand.usual.learn(attempt.model, max(0.0, taken.total_seconds()))
                return ready, status
            if status.state == "failed":
                return self._fail(attempt, status), None
            if status.state == "missing" and (other := errand.other_key(attempt)):
                return self._leave(attempt, _not_found(other))
            if status.state == "missing" and not errand.kept(attempt):
                return self._expire(attempt), None
            if status.state in ("missing", "succeeded"):
                puzzled = errand.clock.monotonic() if puzzled is None else puzzled
                if errand.clock.monotonic() - puzzled >= retry.MISSING_PATIENCE:
                    return self._leave(attempt, _puzzle(status))
            else:
                puzzled = None
            if not await errand.wait(errand.gap(status), begun):
                return self._leave(attempt, f"the provider says {status.raw or status.state}")

    async def _ask(self, attempt: Attempt, begun: float) -> TaskStatus | str:
        """One answered question, however often it takes; or why there is no answer when the deadline has passed or the
        key was refused.
        """
        errand, nth = self._errand, 0
        while True:
            nth += 1
            await errand.questions.turn()
            while pause := errand.questions.pause_left:
                if not await errand.wait(pause, begun):
                    return "the provider wants to be asked less often"
                await errand.questions.turn()
            try:
                return await errand.provider.poll(errand.task(attempt))
            except NotFound as error:
                return TaskStatus("missing", str(error))
            except ProviderError as error:
                advice = retry.advise(Step.POLL, nth, error.kind, error.retry_after)
                said = reason(error, "no reason given")
                if error.kind is ErrorClass.RATE_LIMIT and advice.wait is not None:
                    errand.questions.pause(advice.wait)  # the account is meant, not this task
            if advice.stop and errand.orders and (other := errand.other_key(attempt)):
                return f"{said}; it was {other}"  # says nothing about today's key and its own orders
            if advice.stop:
                errand.door.close(advice.stop)
            if advice.wait is None or not await errand.wait(advice.wait, begun):
                return f"no answer about it was to be had in time: {said}"

    def _leave(self, attempt: Attempt, why: str) -> tuple[Attempt, None]:
        """Nothing is known against it: it stays open, and the next run asks on."""
        self.left.add(attempt.id)
        self._errand.say("open", attempt, why)
        return attempt, None

    def _fail(self, attempt: Attempt, status: TaskStatus) -> Attempt:
        errand = self._errand
        billed = reconcile.billed(attempt, status.usage, failed=True)
        failed = errand.ledger.move(
            attempt.id, State.FAILED, why=status.raw, failure=status.failure, usage=status.usage or None, billed=billed
        )
        if status.failure is not None and status.failure.kind in retry.STOPS:
            errand.door.close(reason(status.failure, status.raw))
        return errand.failed(failed, reason(status.failure, f"the provider says {status.raw}"))

    def _expire(self, attempt: Attempt) -> Attempt:
        why = "the provider does not know it any more, and its keeping time is over"
        return self._errand.failed(self._errand.ledger.move(attempt.id, State.EXPIRED, why=why), why)

    # ── downloading ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _download(self, attempt: Attempt, status: TaskStatus | None) -> Attempt:
        """Fetch a ready clip, verify it, and give it its final name. `status` None: ask for a fresh address first."""
        errand = self._errand
        errand.say("fetching" if errand.provider.paid else "rendering", attempt)
        folder = errand.home(attempt)
        part = folder.part(attempt.id)
        begun = errand.clock.monotonic()
        if (adopted := await self._adopt(attempt, part)) is not None:
            return adopted
        failures, unlike = 0, False
        while True:
            answer = status or await self._ask(attempt, begun)
            if isinstance(answer, str):
                return self._leave(attempt, answer)[0]
            status = answer
            if status.state == "missing" and (other := errand.other_key(attempt)):
                return self._leave(attempt, _not_found(other))[0]
            if status.state == "missing" and not errand.kept(attempt):
                _drop(part)
                return self._expire(attempt)
            trouble: ProviderError | None = None
            if status.state == "succeeded" and status.fetchable:
                try:
                    clip = await self._fetch(attempt, status, part)
                except ProviderError as error:
                    trouble = error
                else:
                    problems = differences(attempt.job, clip.media)
                    if not problems or unlike:
                        return await self._record(attempt, part, clip)
                    unlike, status = True, None
                    _drop(part)
                    errand.say("note", attempt, f"not as ordered: {'; '.join(problems)}; it is fetched once more")
                    continue
            failures += 1
            step = Step.FETCH if errand.provider.paid else Step.RENDER
            advice = retry.advise(step, failures, retry_after=trouble.retry_after if trouble else None)
            if advice.wait is None and status.state == "failed":
                # said as often as we asked: the provider takes its success back
                _drop(part)
                return self._fail(attempt, status)
            said = reason(trouble, f"the provider says {status.raw or status.state}")
            if advice.wait is None or not await errand.wait(advice.wait, begun):
                return self._leave(attempt, f"not there yet: {said}")[0]
            status = None

    async def _fetch(self, attempt: Attempt, status: TaskStatus, part: Path) -> Clip:
        """The bytes, and what they are. What is no whole video is not kept to be resumed."""
        errand = self._errand
        try:
            if not errand.provider.paid:
                _drop(part)
            await errand.provider.fetch(errand.task(attempt), status, part)
            return await asyncio.to_thread(_examine, part)
        except FetchFailed as error:
            if error.kind is ErrorClass.FILE:
                _drop(part)
            raise
        except asyncio.CancelledError:
            if not errand.provider.paid:
                _drop(part)
            raise
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _drop(part)  # what is left of the disk is for the ledger
            raise LedgerError(f"cannot write {part}: {error.strerror or error}; the clip stays bought") from error

    async def _record(self, attempt: Attempt, part: Path, clip: Clip) -> Attempt:
        """Give a verified clip its final name, then write it down. A stranger's file under that name stays."""
        errand = self._errand
        folder = errand.home(attempt)
        file = attempt.file
        try:
            try:
                await asyncio.to_thread(settle_clip, part, folder.file(file))
            except FileExistsError:
                file = errand.ledger.next_file(attempt.id)
                await asyncio.to_thread(settle_clip, part, folder.file(file))
                errand.say("note", attempt, f"{attempt.file} is not the clip that was recorded; it is now {file}")
        except FileExistsError:
            _drop(part)
            return self._leave(attempt, f"{attempt.file} and {file} are other files: move them away and run again")[0]
        return self._done(attempt, file, clip)

    async def _adopt(self, attempt: Attempt, part: Path) -> Attempt | None:
        """A whole clip that got its final name just before a death, or None. No older file, no other content."""
        errand, file = self._errand, attempt.file
        for _ in range(2):
            final = errand.home(attempt).file(file)
            try:
                found = _stat(final)
            except FileNotFoundError:
                return None
            if found.st_mtime >= moment(attempt.created_at).timestamp() - CLOCK_STEP:
                with suppress(FetchFailed):
                    clip = await asyncio.to_thread(_examine, final)
                    if attempt.sha256 in (None, clip.sha256):
                        _drop(part)
                        return self._done(attempt, file, clip)
            file = errand.ledger.next_file(attempt.id)  # a stranger's file lies there: see `_record`
        return None

    def _done(self, attempt: Attempt, file: str, clip: Clip) -> Attempt:
        errand, problems = self._errand, differences(attempt.job, clip.media)
        done = errand.ledger.move(
            attempt.id,
            State.DONE,
            media=clip.media,
            sha256=clip.sha256,
            bytes=clip.bytes,
            problems=problems,
            file=file,
        )
        errand.say("done", done, f"not as ordered: {'; '.join(problems)}" if problems else "")
        return done


def _examine(file: Path) -> Clip:
    """What a file is, in full: counted, hashed and weighed. Raises `FetchFailed` when it is no whole video."""
    return Clip(probe(file), sha256_of(file), file.stat().st_size)


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)


def _stat(file: Path) -> os.stat_result:
    return file.stat()


def _not_found(other_key: str) -> str:
    return f"not found, which says nothing: it was {other_key}"


def _puzzle(status: TaskStatus) -> str:
    if status.state == "missing":
        return "the provider does not know this task: is it the same account?"
    return "the provider says it is done and gives no clip"
