"""What is looked at before a paid run sends anything: is this the ledger of these clips, and can the disk take more.

A ledger put back from an old copy says of everything since then that it was never bought. The manifest beside it was
written later and names the tasks; it decides nothing about money, but it may stop a run.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from storyrun import disk
from storyrun.cli import planning, show
from storyrun.errors import LedgerError
from storyrun.records import State

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from storyrun.cli.performing import Wishes
    from storyrun.cli.planning import Prepared
    from storyrun.folder import RunFolder
    from storyrun.ledger import Ledger
    from storyrun.providers.base import Provider

OF_OURS = re.compile(r"clips/(.+)_v(\d{3,})\.mp4")
"""The name of a clip: its stem and its version."""

NAMED = 3
"""How many clips are named in a sentence."""


def ledger_is_of_these_clips(prepared: Prepared, place: RunFolder, ledger: Ledger | None, path: Path) -> str:
    """See that the ledger at `path` (None: there is none) knows what lies beside it; a note for people, or nothing.

    Raises `LedgerError` when the manifest of this plan and provider names tasks or orders that the ledger has never
    heard of. Without a manifest the clips themselves are asked: a name of ours is written down before it is used, so
    that one above every recorded version comes from another ledger. Other files are nobody's business.
    """
    entries, note = _entries(place.manifest, prepared.label)
    beside = "" if ledger else "gone, or "
    if entries is None:
        files = _unknown_files(prepared, place, ledger)
        if files:
            raise LedgerError(
                f"the ledger {path} is {beside}older than the clips beside it: it does not know {_few(files)} in "
                f"{place.path}; nothing was ordered",
                "put the newer ledger back from a copy, with its -wal file if there is one; if this is all there is, "
                "move those clips away, and what they show may be bought again",
            )
    elif strangers := _unknown_orders(entries, prepared.label, ledger):
        raise LedgerError(
            f"the ledger {path} is {beside}older than the clips beside it: {place.manifest} names "
            f"{_few(strangers)}, of whose order it knows nothing; nothing was ordered",
            "put the newer ledger back from a copy, with its -wal file if there is one; if this is all there is, move "
            f"{place.manifest.name} away, and what it names may be bought again",
        )
    return note


def disk_has_room(prepared: Prepared, wishes: Wishes, provider: Provider, ledger: Ledger, place: RunFolder) -> None:
    """See that the clips in flight, and the ledger, will fit on the disk. Raises `LedgerError` with the numbers.

    Nothing is asked where nothing is to be ordered.
    """
    from storyrun.runner.collect import DOWNLOADS
    from storyrun.runner.pacing import limits
    from storyrun.runner.room import Room

    plan = prepared.plan
    live = ledger.fingerprints(prepared.label, live=True)
    new = {job.fingerprint: job for job in plan.jobs if job.id in prepared.chosen and job.fingerprint not in live}
    if not new or not wishes.orders:
        return
    width = wishes.concurrency or sum(
        limits(plan.cards.get(model), provider.name).running or provider.workers
        for model in {job.model for job in new.values()}
    )
    attempts = ledger.attempts(prepared.stem, prepared.label, live=True)
    coming = sum(attempt.state in (State.ACCEPTED, State.READY) for attempt in attempts)
    room = Room(lambda: disk.free(place.path), ledger, prepared.label, paid=provider.paid, where=place.path)
    flight = room.heaviest([*new.values()], width + DOWNLOADS)  # those being made, and those on their way here
    sentence, hint = room.lack(flight, others=coming)
    if sentence:
        if coming:
            line = " ".join(map(show.quoted, ("fetch", str(prepared.path), *planning.repeated(prepared.out))))
            hint += f"; what is open is collected with `storyrun {line}`"
        raise LedgerError(f"{sentence}; nothing was ordered", hint)


def _entries(manifest: Path, label: str) -> tuple[list[dict[str, Any]] | None, str]:
    """The clips of the manifest of this provider, None without one; and a note when it cannot be read."""
    try:
        read = json.loads(manifest.read_bytes())
        if read["provider"] != label:
            return [], ""
        return [entry for entry in (*read["clips"], *read["former"]) if isinstance(entry, dict)], ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, f"{manifest} is no manifest any more; it is written anew"


def _unknown_orders(entries: Iterable[dict[str, Any]], label: str, ledger: Ledger | None) -> list[str]:
    """The clips of a manifest whose order the ledger does not have."""
    tasks = ledger.task_ids(label) if ledger else frozenset()
    fingerprints = ledger.fingerprints(label, live=False) if ledger else frozenset()

    def unknown(entry: dict[str, Any]) -> bool:
        task, fingerprint = entry.get("task_id"), entry.get("fingerprint")
        if isinstance(task, str) and task:
            return task not in tasks
        return bool(entry.get("submitted_at")) and isinstance(fingerprint, str) and fingerprint not in fingerprints

    return [str(entry.get("id")) for entry in entries if unknown(entry)]


def _unknown_files(prepared: Prepared, place: RunFolder, ledger: Ledger | None) -> list[str]:
    """Clips of today's plan on the disk, that are to be ordered, under names which the ledger never gave."""
    known = _versions(ledger.files(prepared.stem, prepared.label) if ledger else ())
    live = ledger.fingerprints(prepared.label, live=True) if ledger else frozenset()
    there = _versions(f"clips/{path.name}" for path in place.clips.glob("[!.]*.mp4"))
    stems = [job.stem for job in prepared.plan.jobs if job.fingerprint not in live]
    return [
        f"{stem}_v{there[stem]:03d}.mp4" for stem in dict.fromkeys(stems) if there.get(stem, 0) > known.get(stem, 0)
    ]


def _versions(files: Iterable[str]) -> dict[str, int]:
    """The highest version of each stem."""
    highest: dict[str, int] = {}
    for file in files:
        if found := OF_OURS.fullmatch(file):
            highest[found[1]] = max(int(found[2]), highest.get(found[1], 0))
    return highest


def _few(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
