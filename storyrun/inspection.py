"""Delivered against ordered: clips are looked at and listened to while the run goes on, and judged when it is over.

What was measured is kept beside the manifest, by the hash of the clip, so that each is measured once. What is wrong
goes into the ledger with the other problems of the clip, once: a person's `settle --keep` is not undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun import folder, measure
from storyrun.records import State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from storyrun.folder import RunFolder
    from storyrun.ledger import Ledger
    from storyrun.measure import Measured
    from storyrun.records import Attempt, ClipEvent


class Inspection:
    """Inspects the clips of one plan on one provider. An observer of the run; `finish` when it is over."""

    def __init__(self, ledger: Ledger, place: RunFolder, plan: str, provider: str) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._ledger = ledger
        self._place = place
        self._plan = plan
        self._provider = provider
        self._pool = ThreadPoolExecutor(1, "inspection")
        self._known = measure.known(place.measures)
        self._measuring: dict[str, Future[Measured]] = {}

    def __call__(self, event: ClipEvent) -> None:
        """A clip that has just arrived is measured beside everything else."""
        if event.kind == "done" and event.attempt is not None and event.attempt.plan == self._plan:
            self._begin(event.attempt)

    def finish(self, *, hurry: bool = False) -> tuple[str, ...]:
        """Judge every clip that is here. Returns what a person should know: clips that could not be measured.

        With `hurry` nothing is waited for; the next run measures what is left. Raises `LedgerError`.
        """
        live = self._ledger.attempts(self._plan, self._provider, live=True)
        done = [attempt for attempt in live if attempt.state is State.DONE]
        if hurry:
            for measuring in self._measuring.values():
                measuring.cancel()
        else:
            for attempt in done:
                self._begin(attempt)
        notes = self._gather(done)
        self._pool.shutdown()
        for attempt in done:
            if attempt.sha256 in self._known:
                self._judge(attempt, self._known[attempt.sha256])
        return notes

    def close(self) -> None:
        """Leave what is not measured to the next run."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, attempt: Attempt) -> None:
        sha256 = attempt.sha256
        if sha256 is None or sha256 in self._known or sha256 in self._measuring:
            return
        file = self._place.file(attempt.file)
        if file.is_file():
            self._measuring[sha256] = self._pool.submit(measure.measure, file)

    def _gather(self, done: Sequence[Attempt]) -> tuple[str, ...]:
        """Wait for the measures and keep them. Returns a note for each that failed."""
        clips = {attempt.sha256: attempt.clip for attempt in reversed(done)}
        notes = []
        new: dict[str, Measured] = {}
        for sha256, measuring in self._measuring.items():
            if measuring.cancelled():
                continue
            if (error := measuring.exception()) is None:
                new[sha256] = measuring.result()
            else:
                what = clips.get(sha256, "a clip")
                notes.append(f"{what} could not be looked at ({type(error).__name__}: {error})")
        if new:
            self._known |= new
            folder.write_atomically(self._place.measures, measure.written(self._known))
        return tuple(notes)

    def _judge(self, attempt: Attempt, found: Measured) -> None:
        """Add what is wrong to the problems of a clip, unless somebody has judged them already."""
        if attempt.media is None:
            return
        sound = bool(attempt.job.get("sounding")) and found.silent is not None
        told = measure.problems(found, seconds=attempt.media.duration, sound=sound)
        new = [problem for problem in told if problem not in attempt.problems]
        if new and not self._judged(attempt):
            self._ledger.set_problems(attempt.id, (*attempt.problems, *new), why="seen in the clip")

    def _judged(self, attempt: Attempt) -> bool:
        """Whether the problems of this clip were set since it last became done."""
        *_, last = self._ledger.history(attempt.id)
        return last.before is State.DONE and last.after is State.DONE
