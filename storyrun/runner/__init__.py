"""The only loop: from jobs to clips. What is bought is written down first, what is open is always collected.

run
 └ plot         what an earlier death left behind, then every clip, then those that others are making
    └ _clip     one clip: reuse, continue, order or leave it
       orders   the one function that sends a create, behind the door that says when; its uploads come first
       collect  poll, download, verify, record
       existing what is already there
       pacing   how fast all this may go
       room     whether the disk can take it
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from storyrun import disk, retry
from storyrun.clock import rfc3339
from storyrun.errors import LedgerError
from storyrun.records import State
from storyrun.runner.collect import DOWNLOADS, Collector
from storyrun.runner.door import Door
from storyrun.runner.errand import Errand, Policy, StopSignal, reason
from storyrun.runner.existing import gone, place, still_open
from storyrun.runner.orders import Orders, find
from storyrun.runner.pacing import Questions, Ramps
from storyrun.runner.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from storyrun.clock import Clock
    from storyrun.folder import RunFolder
    from storyrun.ledger import Ledger
    from storyrun.providers.base import Provider
    from storyrun.records import Attempt, ClipEvent, Job, Plan

__all__ = ["Outcome", "Policy", "StopSignal", "run"]

OTHERS_GAP = 3.0
"""Seconds between two looks at the ledger for a clip that another run is making."""

OPEN = (State.ACCEPTED, State.READY)


@dataclass(frozen=True)
class Outcome:
    """How a run went; what became of the clips is in the ledger.

    `stopped`: why it ended early (exit 5), empty otherwise. `interrupted`: by Ctrl-C. `reused`: ids of the clips that
    were there already. `notes`: what an observer could not be told. Times are RFC 3339.
    """

    stopped: str
    interrupted: bool
    reused: frozenset[str]
    started_at: str
    finished_at: str
    notes: tuple[str, ...] = ()


class Item(NamedTuple):
    """One thing for a worker: a clip of the plan, or an attempt that today's plan lacks (`job` None)."""

    job: Job | None
    attempt: Attempt | None = None

    @property
    def model(self) -> str:
        """The model that makes it."""
        return self.job.model if self.job else self.attempt.model if self.attempt else ""


async def run(
    *,
    plan: Plan,
    selected: frozenset[str],
    provider: Provider,
    ledger: Ledger,
    folder: RunFolder,
    run_id: str,
    plan_path: str,
    plan_folder: Path,
    policy: Policy,
    clock: Clock,
    jitter: Callable[[], float],
    observe: Callable[[ClipEvent], None],
    stop: StopSignal,
    free: Callable[[Path], int | None] = disk.free,
) -> Outcome:
    """Make the `selected` clips of a plan (ids), and collect all that this plan has open.

    The caller holds the lock of `folder`, has prepared it, and has entered `run_id`. `plan_path` is the plan as seen
    from the outputs folder, `plan_folder` where the paths in its jobs start. `jitter` gives chance in [0, 1), `free`
    the bytes that may still be written below a folder: before each order it must be enough for all clips in flight.

    Raises `LedgerError` when the ledger or the disk fails, after the creates in flight have come back. When it is
    cancelled, it waits for these too. Anything else that it raises is a bug of ours, raised after all other clips.
    """
    ramps = Ramps(lambda model: errand.limits(model).creates_per_second)
    door = Door(policy.creates_in_flight, clock, ramps, careful=provider.paid)
    errand = Errand(
        plan=plan,
        provider=provider,
        ledger=ledger,
        folder=folder,
        run_id=run_id,
        plan_path=plan_path,
        plan_folder=plan_folder,
        policy=policy,
        clock=clock,
        jitter=jitter,
        observe=observe,
        stop=stop,
        door=door,
        orders=bool(selected),
        questions=Questions(getattr(provider, "polls_per_second", None), clock),
        room=Room(lambda: free(folder.path), ledger, plan.provider, paid=provider.paid, where=folder.path),
    )
    loop = _Run(errand, selected)
    started_at = rfc3339(clock.now())
    work = asyncio.create_task(loop.plot())
    drain = asyncio.create_task(stop.drain.wait())
    try:
        await asyncio.wait({work, drain}, return_when=asyncio.FIRST_COMPLETED)
        interrupted = stop.drain.is_set() and not work.done()
    finally:
        # a create in flight is money in flight: whatever ends the run waits for it
        drain.cancel()
        work.cancel()
        results = [*await asyncio.gather(work, return_exceptions=True), *await loop.orders.settle()]
        errand.locks.close()
    _raise_worst(results, errand.bugs, errand.notes)
    if not interrupted:
        loop.sweep()
    return Outcome(
        stopped=door.fault or errand.over_budget,
        interrupted=interrupted,
        reused=frozenset(loop.reused),
        started_at=started_at,
        finished_at=rfc3339(clock.now()),
        notes=tuple(errand.notes),
    )


class _Run:
    """The state of the loop: what is to do, what was put aside."""

    def __init__(self, errand: Errand, selected: frozenset[str]) -> None:
        self._errand = errand
        self._selected = selected
        self._collector = Collector(errand)
        self.orders = Orders(errand, self._collector.in_care)
        self._aside: list[tuple[Job, float]] = []
        self._at_work: set[str] = set()
        self._lost = False
        self._recovered: set[str] = set()
        self.reused: set[str] = set()

    async def plot(self) -> None:
        """From the first clip to the last."""
        await self._recover(self._errand.stem)
        async with asyncio.TaskGroup() as group:
            carriers = [group.create_task(self._collector.carry()) for _ in range(DOWNLOADS)]
            await self._work(self._all())
            if self._lost:
                found = await self._recover(self._errand.stem)
                await self._work(Item(None, attempt) for attempt in found)
            while self._aside:
                await self._work(await self._others_moved())
            await self._collector.all_carried()
            for carrier in carriers:
                carrier.cancel()

    def sweep(self) -> None:
        """Remove half clips, but those of paid ones that the next run can resume."""
        self._errand.folder.sweep_parts(self._collector.left if self._errand.provider.paid else ())

    async def _recover(self, plan: str) -> list[Attempt]:
        """What a death or a lost answer left in doubt becomes unknown, then accepted where the provider can tell.

        Returns what was found.
        """
        errand = self._errand
        self._recovered.add(plan)
        for attempt in errand.ledger.orphaned_sending(plan, errand.namespace, errand.run_id):
            errand.ledger.move(attempt.id, State.UNKNOWN, why="the run that sent it died before it had the answer")
        unknown = [a for a in errand.ledger.attempts(plan, errand.namespace, live=True) if a.state is State.UNKNOWN]
        asked = [await find(errand, attempt) for attempt in unknown]
        return [attempt for attempt in asked if attempt.state is State.ACCEPTED]

    def _all(self) -> Iterator[Item]:
        """What is bought comes first: it may expire. Then the plan, in its order."""
        errand = self._errand
        open_now = {
            attempt.fingerprint: attempt
            for attempt in errand.ledger.attempts(errand.stem, errand.namespace, live=True)
            if attempt.state in OPEN
        }
        begun = set()
        for job in errand.plan.jobs:
            if job.fingerprint in open_now:
                del open_now[job.fingerprint]
                begun.add(job.id)
                yield Item(job)
        for attempt in open_now.values():
            yield Item(None, attempt)
        planned = {job.fingerprint for job in errand.plan.jobs}
        for attempt in errand.ledger.attempts(errand.stem, errand.namespace, live=True):
            if attempt.state is State.DONE and attempt.fingerprint not in planned:
                yield Item(None, attempt)
        for job in errand.plan.jobs:
            if job.id in self._selected and job.id not in begun:
                yield Item(job)

    async def _work(self, items: Iterable[Item]) -> None:
        """As many workers as tasks may run at the provider, over one stream of items or one for each model."""

        async def worker(items: Iterator[Item]) -> None:
            for item in items:
                try:
                    if item.job is not None:
                        await self._alone(item.job)
                    elif item.attempt and (there := await still_open(self._errand, item.attempt)):
                        await self._collector.collect(there)
                except LedgerError:
                    raise
                except Exception as bug:  # noqa: BLE001 - kept and raised at the end; the other clips go on
                    self._errand.stumbled(bug, item.attempt, clip=item.job.id if item.job else "")

        async with asyncio.TaskGroup() as group:
            for stream, width in self._streams(items):
                for _ in range(width):
                    group.create_task(worker(stream))

    def _streams(self, items: Iterable[Item]) -> list[tuple[Iterator[Item], int]]:
        """The items with how many of them may be at work: a model that has its own limit holds up no other."""
        errand = self._errand
        if (concurrency := errand.policy.concurrency) is not None:
            return [(iter(items), concurrency)]
        streams: dict[str, tuple[list[Item], int]] = {}
        for item in items:
            model = item.model
            if (running := errand.limits(model).running) is None:
                model, running = "", errand.provider.workers
            streams.setdefault(model, ([], running))[0].append(item)
        return [(iter(stream), running) for stream, running in streams.values()]

    # ── one clip ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _alone(self, job: Job) -> None:
        """One clip, unless a worker is at one that is the same."""
        if job.fingerprint in self._at_work:
            self._put_aside(job, "the same as another clip, which is being made")
            return
        self._at_work.add(job.fingerprint)
        try:
            await self._clip(job)
        finally:
            self._at_work.discard(job.fingerprint)

    async def _clip(self, job: Job) -> None:
        """Bring one clip as far as this run can: reuse, continue, order, put aside, or leave it."""
        errand, retries, ordered = self._errand, self._errand.policy.retries, False
        live = errand.ledger.live(errand.namespace, job.fingerprint)
        if live is None:
            if not self._orders_anew(job):
                return
            live, ordered = await self._order(job), True
        while live is not None:
            if ordered and live.state is State.ACCEPTED and live.run == errand.run_id:
                live = await self._collector.collect(live, just_ordered=True)
            else:
                live = await self._see_to(job, live)
            if live is None or live.state is not State.FAILED or not retry.transient(live.failure):
                return
            if retries <= 0 or job.id not in self._selected:
                return
            retries -= 1
            live, ordered = await self._order(job), True

    async def _order(self, job: Job) -> Attempt | None:
        """Order a clip; None when nothing came of it. An answer that was lost is looked for at once."""
        live = await self.orders.order(job)
        if live is not None and live.state is State.UNKNOWN and live.run == self._errand.run_id:
            self._lost = True
            live = await find(self._errand, live)
        return live

    async def _see_to(self, job: Job, live: Attempt) -> Attempt | None:
        """Go on with what was ordered before this run, or by another. Returns it as it stands; None: put aside."""
        errand, collector = self._errand, self._collector
        if live.state in (State.SENDING, State.UNKNOWN, *OPEN):
            if live.id in collector.in_care:
                self._put_aside(job, f"the same as {live.clip}, which is being made")
                return None
            if errand.holds(live):
                if live.plan not in self._recovered:
                    await self._recover(live.plan)
                    live = errand.ledger.attempt(live.id)
            elif live.state is not State.UNKNOWN:
                self._put_aside(job, f"being made for {live.plan}")
                return None
        if live.state is State.DONE:
            if await place(errand, job, live):
                self.reused.add(job.id)
                return live
            if why := errand.elsewhere(live):
                errand.say("open", live, f"its file is gone; it was {why}", clip=job.id)
                return live
            if not errand.holds(live):
                errand.say("open", live, f"its file is gone, and a run of {live.plan} is at work", clip=job.id)
                return live
            live = gone(errand, live)
        if live.state in OPEN and live.id not in collector.left:
            if foreign := (live.plan, live.clip) != (errand.stem, job.id):
                errand.names[live.id] = job.id
            live = await collector.collect(live)
            if foreign and live.state is State.DONE:
                return await self._see_to(job, live)
            if foreign and live.id in collector.in_care:
                self._put_aside(job, "to be linked under its own name")
                return None
        elif live.state in OPEN:
            errand.say("open", live, clip=job.id)
        elif live.state in (State.EXPIRED, State.ABANDONED):
            errand.say("failed", live, f"bought and {live.state}: storyrun settle", clip=job.id)
        elif live.state is State.UNKNOWN:
            why = errand.elsewhere(live) or errand.other_key(live)
            said = f"may have been bought: {reason(live.failure, 'no answer')}"
            errand.say("unknown", live, f"{said}; it was {why}" if why else said, clip=job.id)
        return live

    def _orders_anew(self, job: Job) -> bool:
        """Whether a clip of which nothing is live is to be ordered: it is selected, and was not refused as it is."""
        errand = self._errand
        if job.id not in self._selected:
            return False
        newest = errand.ledger.newest(errand.stem, errand.namespace, job.id)
        if newest is None or newest.fingerprint != job.fingerprint:
            return True
        if retry.orders_again(newest, retry_refused=errand.policy.retry_refused):
            return True
        said = reason(newest.failure, "no reason given")
        errand.say("failed", newest, f"refused before: {said}; change the text, or give --retry-refused")
        return False

    # ── clips that others make ───────────────────────────────────────────────────────────────────────────────────────

    def _put_aside(self, job: Job, why: str) -> None:
        self._aside.append((job, self._errand.clock.monotonic()))
        self._errand.say("waiting", sentence=why, clip=job.id)

    async def _others_moved(self) -> list[Item]:
        """Wait until something changed for a clip that was put aside, and take it back."""
        errand = self._errand
        while True:
            await errand.clock.sleep(OTHERS_GAP)
            moved: list[Item] = []
            waiting = []
            for job, since in self._aside:
                live = errand.ledger.live(errand.namespace, job.fingerprint)
                if live is None or not self._busy(live):
                    moved.append(Item(job))
                elif errand.late(since):
                    errand.say("open", live, f"still being made for {live.plan}", clip=job.id)
                else:
                    waiting.append((job, since))
            self._aside = waiting
            if moved or not waiting:
                return moved

    def _busy(self, live: Attempt) -> bool:
        """Whether somebody is at work on an attempt: a download of this run, or another run that is alive."""
        if live.id in self._collector.in_care:
            return True
        return live.state in (State.SENDING, *OPEN) and not self._errand.holds(live)


def _raise_worst(results: list[BaseException | None], bugs: list[Exception], notes: list[str]) -> None:
    """Raise what ended the run: the ledger's failure first, then bugs of ours. The notes of the run go with it."""
    flat: list[BaseException] = []
    for result in [*results, *bugs]:
        if isinstance(result, BaseExceptionGroup):
            flat += _flatten(result)
        elif isinstance(result, BaseException):
            flat.append(result)
    flat = [error for error in flat if not isinstance(error, asyncio.CancelledError)]
    if flat:
        worst = min(flat, key=lambda error: (isinstance(error, Exception), not isinstance(error, LedgerError)))
        for note in notes:
            worst.add_note(note)
        raise worst


def _flatten(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flatten(error)
        else:
            yield error
