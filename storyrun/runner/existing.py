"""What was bought before: is its file still there and the same, and does it lie under the clip's own name?"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from storyrun.folder import link_clip, sha256_of
from storyrun.records import State
from storyrun.runner.collect import CLOCK_STEP
from storyrun.runner.errand import moment

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.records import Attempt, Job
    from storyrun.runner.errand import Errand


async def place(errand: Errand, job: Job, attempt: Attempt) -> bool:
    """Put the clip of a done attempt under the job's own name. False: the file is gone or no longer the same."""
    own = errand.ledger.placing(errand.stem, errand.namespace, job.id, attempt.id)
    if own is not None and await same(errand.folder.file(own), attempt):
        errand.say("reused", attempt, clip=job.id)
        return True
    source = await _where(errand, attempt)
    if not await same(source, attempt):
        return False
    if own is None:
        placing = errand.ledger.link(
            plan=errand.stem, provider=errand.namespace, clip=job.id, stem=job.stem, attempt_id=attempt.id
        )
        own = placing.file
    try:
        await asyncio.to_thread(link_clip, source, errand.folder.file(own))
    except FileExistsError:
        errand.notes.append(f"{own} is not the clip that lay there: move it away and run again")
        errand.say("open", attempt, errand.notes[-1], clip=job.id)
    else:
        errand.say("reused", attempt, "made before, linked under its own name", clip=job.id)
    return True


async def _where(errand: Errand, attempt: Attempt) -> Path:
    """Where the clip of a done attempt should lie; or, where nothing lies there, a whole one of another plan that had
    it linked.
    """
    own = errand.home(attempt).file(attempt.file)
    if not await asyncio.to_thread(os.path.lexists, own):
        for placing in errand.ledger.placings(attempt.id):
            other = errand.folder_of(placing.plan).file(placing.file)
            if await same(other, attempt):
                return other
    return own


def gone(errand: Errand, attempt: Attempt) -> Attempt:
    """The file of a done attempt is gone: ready to be fetched again while it can be had, else expired."""
    kept = errand.kept(attempt)
    why = "its file is gone or changed" + ("" if kept else ", and the provider's keeping time is over")
    return errand.ledger.move(attempt.id, State.READY if kept else State.EXPIRED, why=why)


async def still_open(errand: Errand, attempt: Attempt) -> Attempt | None:
    """What is to be collected of an attempt that today's plan lacks: None where its clip is here, or cannot be had."""
    if attempt.state is not State.DONE:
        return attempt
    own = errand.home(attempt).file(attempt.file)
    if await asyncio.to_thread(os.path.lexists, own):
        return None
    if (other := await _where(errand, attempt)) != own:
        await asyncio.to_thread(link_clip, other, own)
        return None
    if why := errand.elsewhere(attempt):
        errand.say("open", attempt, f"its file is gone; it was {why}")
        return None
    attempt = gone(errand, attempt)
    if attempt.state is State.READY:
        return attempt
    errand.failed(attempt, "its file is gone, and the provider's keeping time is over")
    return None


async def same(path: Path, attempt: Attempt) -> bool:
    """Whether a file is the clip as it was recorded: by size, and by hash if it was touched since."""
    found = await asyncio.to_thread(_stat, path)
    if found is None or found.st_size != attempt.bytes:
        return False
    if attempt.finished_at and found.st_mtime <= moment(attempt.finished_at).timestamp() + CLOCK_STEP:
        return True
    return await asyncio.to_thread(sha256_of, path) == attempt.sha256


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
