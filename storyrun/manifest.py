"""The record of a run that people and programs read. A view: rebuilt from the ledger, and nothing is decided by it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyrun import folder, jobs, measure, reconcile
from storyrun.clock import rfc3339
from storyrun.folder import RunFolder
from storyrun.records import ErrorClass, Failure, Money, State
from storyrun.states import STATES, cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from storyrun.ledger import Ledger
    from storyrun.measure import Measured
    from storyrun.records import Attempt, Job, MediaInfo, Plan

VERSION = 1

URL = re.compile(r"""(https?:(?:\\?/){2})(?:[^\s/?#"<>@\\]*@)?([^\s?#"<>]*)(?:[?#][^\s"<>]+)?""", re.IGNORECASE)
"""An http(s) URL, also with the `\\/` of JSON: what it starts with, host and path; then the query or fragment."""


def build(
    *,
    plan: Plan,
    ledger: Ledger | None,
    run_folder: Path,
    plan_stem: str,
    provider: str,
    generator: str,
    started_at: datetime,
    finished_at: datetime | None,
    reused: frozenset[str],
) -> dict[str, Any]:
    """The manifest (DESIGN section 8) of a plan as the ledger holds it, as JSON data.

    `provider` is the name that counts in the ledger. `reused` are the ids of the clips that were there before this run.
    `finished_at` is None while it goes on. The same plan, ledger and files give the same manifest but for the times.
    """
    board = plan.storyboard
    view = _View(ledger, run_folder, plan_stem, provider, plan.picks)
    clips = [view.of_plan(job) for job in plan.jobs]
    return {
        "version": VERSION,
        "storyboard": {
            "path": _relative(board.path, run_folder),
            "title": board.title or board.path.name,
            "sha256": board.sha256,
        },
        "provider": provider,
        "generator": generator,
        "started_at": rfc3339(started_at),
        "finished_at": rfc3339(finished_at) if finished_at else None,
        "totals": _totals(clips, reused, view.own),
        "clips": clips,
        "former": view.former({job.fingerprint for job in plan.jobs}),
    }


def build_from_ledger(
    *,
    ledger: Ledger,
    run_folder: Path,
    plan_stem: str,
    provider: str,
    generator: str,
    started_at: datetime,
    finished_at: datetime | None,
) -> dict[str, Any]:
    """The manifest of a plan whose file is gone: no clip is planned, all that the ledger holds is `former`.

    Title and hash of the plan are those of the last manifest; without one the hash is null.
    """
    view = _View(ledger, run_folder, plan_stem, provider)
    known = {"path": plan_stem, "title": plan_stem, "sha256": None}
    if view.own and view.own[-1].plan_path:
        plan_path = run_folder.parent.parent / view.own[-1].plan_path
        known |= {"path": _relative(plan_path, run_folder), "title": plan_path.name}
    return {
        "version": VERSION,
        "storyboard": known | _last_storyboard(run_folder),
        "provider": provider,
        "generator": generator,
        "started_at": rfc3339(started_at),
        "finished_at": rfc3339(finished_at) if finished_at else None,
        "totals": _totals([], frozenset(), view.own),
        "clips": [],
        "former": view.former(frozenset()),
    }


def write(run_folder: RunFolder, manifest: Mapping[str, Any]) -> None:
    """Put the manifest in its place, whole or not at all."""
    text = json.dumps(manifest, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    # Half a character, which a provider may send, has no UTF-8; as \udXXX it is JSON again.
    folder.write_atomically(run_folder.manifest, text.encode(errors="backslashreplace"))


def without_queries(value: Any) -> Any:
    """JSON data with every http(s) URL in its texts cut before the query, and without a user name.

    Providers sign result URLs there, and nothing signed is kept.
    """
    if isinstance(value, str):
        return URL.sub(r"\1\2", value)
    if isinstance(value, Mapping):
        return {without_queries(key): without_queries(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_queries(item) for item in value]
    return value


class _View:
    """What the ledger holds for one plan and provider, clip by clip."""

    def __init__(
        self,
        ledger: Ledger | None,
        run_folder: Path,
        plan_stem: str,
        provider: str,
        picks: frozenset[str] = frozenset(),
    ) -> None:
        self.own: Sequence[Attempt] = ledger.attempts(plan=plan_stem, provider=provider) if ledger else []
        self._picks = picks
        self._moments = ledger.moments(provider) if ledger else {}
        self._measured = measure.known(RunFolder(run_folder).measures)
        self._ledger = ledger
        self._folder = run_folder
        self._plan = plan_stem
        self._provider = provider
        self._by_fingerprint: dict[str, list[Attempt]] = {}
        for attempt in self.own:
            self._by_fingerprint.setdefault(attempt.fingerprint, []).append(attempt)

    def of_plan(self, job: Job) -> dict[str, Any]:
        """A clip of today's plan: the live attempt under any plan or id, else this plan's newest for it."""
        mine = self._by_fingerprint.get(job.fingerprint, [])
        attempt = _standing(mine)
        if self._ledger and (attempt is None or not STATES[attempt.state].live):
            attempt = self._ledger.live(self._provider, job.fingerprint) or attempt
        return self._clip(jobs.as_dict(job), attempt, mine)

    def former(self, planned: Iterable[str]) -> list[dict[str, Any]]:
        """What was bought for this plan, or may have been, and is in none of today's clips."""
        today = set(planned)
        groups = [group for fingerprint, group in self._by_fingerprint.items() if fingerprint not in today]
        return [
            self._clip(group[-1].job, _standing(group) or group[-1], group)
            for group in groups
            if any(STATES[attempt.state].live or _counts(attempt) for attempt in group)
        ]

    def _clip(self, job: Mapping[str, Any], attempt: Attempt | None, mine: Sequence[Attempt]) -> dict[str, Any]:
        file = self._file(job["id"], attempt) if attempt else None
        status = _status(attempt, own=attempt in mine, file=file)
        shown = attempt if status != "planned" else None
        media = shown.media if shown else None
        done = status == "done"
        found = self._measured.get(shown.sha256 or "") if shown else None
        return {
            "id": job["id"],
            "scene": job["scene"],
            "variant": dict(job["variant"]),
            "take": job["take"],
            "model": job["model"],
            "status": status,
            "fingerprint": job["fingerprint"],
            "prompt": without_queries(job["prompt"]),
            "negative_prompt": without_queries(job.get("negative_prompt")),
            "seed": job.get("seed"),
            "request": without_queries(shown.request) if shown else None,
            "task_id": shown.task_id if shown else None,
            "shots": without_queries(job["shots"]),
            "file": file if done else None,
            "sha256": shown.sha256 if shown and done else None,
            "bytes": shown.bytes if shown and done else None,
            "media": _media(media) if media and done else None,
            "problems": [without_queries(problem) for problem in shown.problems] if shown else [],
            "warnings": [*_warnings(job, media, found)] if media and done else [],
            "measured": measure.as_dict(found) if found and done else None,
            "picked": job["id"] in self._picks,
            "ordered": _ordered(job),
            "submitted_at": _moment(shown.created_at) if shown else None,
            "accepted_at": self._since(shown, State.ACCEPTED),
            "ready_at": self._since(shown, State.READY),
            "finished_at": _moment(shown.finished_at) if shown else None,
            "usage": without_queries(shown.usage) or None if shown else None,
            "cost": _cost(job, mine),
            "reconciled": _reconciled(shown, mine),
            "error": _error(shown) if shown and not done else None,
        }

    def _since(self, attempt: Attempt | None, state: State) -> str | None:
        """When an attempt first came to a state."""
        return _moment(self._moments.get((attempt.id, state))) if attempt else None

    def _file(self, clip: str, attempt: Attempt) -> str | None:
        """Where this plan has the clip of a done attempt, None when the file is not there."""
        if attempt.state is not State.DONE or self._ledger is None:
            return None
        ordered_here = attempt.plan == self._plan
        if ordered_here and attempt.clip == clip:
            names: list[str | None] = [attempt.file]
        else:
            linked = self._ledger.placing(self._plan, self._provider, clip, attempt.id)
            names = [linked, attempt.file if ordered_here else None]
        return next((name for name in names if name and (self._folder / name).is_file()), None)


def _standing(attempts: Sequence[Attempt]) -> Attempt | None:
    """Of several attempts at one job the one that says where it stands: the live one, else the newest to be shown."""
    shown = [attempt for attempt in attempts if STATES[attempt.state].shown]
    live = [attempt for attempt in shown if STATES[attempt.state].live]
    return next(reversed(live or shown), None)


def _status(attempt: Attempt | None, *, own: bool, file: str | None) -> str:
    if attempt is None:
        return "planned"
    if attempt.state is State.DONE and file is None:
        # Ours: the next run fetches it again. Another plan's: the next run links it.
        return "open" if own else "planned"
    return STATES[attempt.state].shown or "failed"


def _error(attempt: Attempt) -> dict[str, str] | None:
    """Why it is not done. None for what a person gave up, and for what is under way."""
    failure = attempt.failure
    if attempt.state is State.EXPIRED:
        message = failure.message if failure else "the provider no longer has the clip"
        failure = Failure(ErrorClass.EXPIRED, failure.code if failure else "", message)
    if failure is None and attempt.state in (State.FAILED, State.REJECTED, State.NOT_SENT):
        failure = Failure(ErrorClass.PROVIDER, "", "the provider gave no reason")
    if failure is None or attempt.state in (State.ABANDONED, State.SUPERSEDED):
        return None
    error: dict[str, str] = {"class": str(failure.kind), "code": failure.code, "message": failure.message}
    return {key: without_queries(text) for key, text in error.items()}


def _counts(attempt: Attempt) -> bool:
    """Whether an attempt counts as spent, be it unpriced."""
    spent = cost(attempt)
    return spent is None or spent.amount > 0


def _cost(job: Mapping[str, Any], mine: Sequence[Attempt]) -> dict[str, Any]:
    """What this plan counts as spent for a clip, over all its attempts at this very job."""
    counted = [attempt for attempt in mine if _counts(attempt)]
    currency = job.get("quote", {}).get("currency", "")
    nothing = Money(Decimal(0), currency)
    reserved = [attempt.reserved for attempt in counted if attempt.reserved]
    billed = [attempt.billed for attempt in counted if attempt.billed]
    quoted = _sum(reserved, nothing) if len(reserved) == len(counted) else None
    return {
        "quoted": money(quoted) if quoted else None,
        "billed": money(_sum(billed, nothing)) if billed and len(billed) == len(counted) else None,
    }


def _reconciled(shown: Attempt | None, mine: Sequence[Attempt]) -> dict[str, Any] | None:
    """The account of the order that stands for a clip; None where this plan ordered nothing for it."""
    if shown is None or shown not in mine:
        return None
    account = reconcile.account(shown)
    delivered, billed = account.delivered_seconds, account.billed_seconds
    others = [attempt for attempt in mine if attempt.id != shown.id]
    return {
        "quoted": money(account.quoted) if account.quoted else None,
        "ordered_seconds": jobs.number(account.ordered_seconds),
        "delivered_seconds": None if delivered is None else jobs.number(delivered),
        "billed_seconds": None if billed is None else jobs.number(billed),
        "billed": money(account.billed) if account.billed else None,
        "differences": [*account.differences, *reconcile.earlier(others)],
    }


def _sum(amounts: Sequence[Money], nothing: Money) -> Money:
    if not amounts:
        return nothing
    newest = amounts[-1].currency
    same = [each for each in amounts if each.currency == newest]
    return Money(sum((each.amount for each in same), Decimal(0)), newest, all(each.exact for each in same))


def _totals(clips: Sequence[Mapping[str, Any]], reused: frozenset[str], own: Sequence[Attempt]) -> dict[str, Any]:
    statuses = [clip["status"] for clip in clips]
    spent: dict[str, list[Money]] = {}
    for attempt in own:
        amount = cost(attempt)
        if amount and amount.amount:
            spent.setdefault(amount.currency, []).append(amount)
    return {
        "clips": len(clips),
        "done": statuses.count("done"),
        "reused": sum(clip["status"] == "done" and clip["id"] in reused for clip in clips),
        **{status: statuses.count(status) for status in ("failed", "unknown", "open", "planned")},
        "cost": [money(_sum(spent[currency], spent[currency][0])) for currency in sorted(spent)],
    }


def money(amount: Money) -> dict[str, Any]:
    """An amount as JSON: a number, whole ones without a point."""
    value = amount.amount
    plain = int(value) if value == value.to_integral_value() else float(value)
    return {"amount": plain, "currency": amount.currency, "exact": amount.exact}


def _ordered(job: Mapping[str, Any]) -> dict[str, Any]:
    """What the file is to be, as far as that was said; pixels are null where a picture decides them."""
    return {
        "seconds": job["length"],
        "width": job.get("width"),
        "height": job.get("height"),
        "frame_rate": job["frame_rate"],
        "sound": bool(job.get("sounding")),
    }


def _warnings(job: Mapping[str, Any], media: MediaInfo, found: Measured | None) -> tuple[str, ...]:
    if found is None:
        return ()
    return measure.warnings(found, shots=job["shots"], ordered=_ordered(job), media=_media(media))


def _media(info: MediaInfo) -> dict[str, Any]:
    return {
        "duration": jobs.number(info.duration),
        "width": info.width,
        "height": info.height,
        "fps": jobs.number(info.fps),
        "frames": info.frames,
        "video_codec": info.video_codec,
        "audio_codec": info.audio_codec,
    }


def _moment(text: str | None) -> str | None:
    return rfc3339(datetime.fromisoformat(text)) if text else None


def _relative(path: Path, run_folder: Path) -> str:
    """A path as seen from the manifest; the whole path where there is no way (another drive)."""
    try:
        return Path(os.path.relpath(path, run_folder)).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def _last_storyboard(run_folder: Path) -> dict[str, Any]:
    """What the last manifest said of the plan file; nothing when there is none, or no whole one."""
    try:
        storyboard = json.loads((run_folder / "manifest.json").read_bytes())["storyboard"]
        return {key: storyboard[key] for key in ("title", "sha256")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
