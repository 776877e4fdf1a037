"""Right of the run: what a provider says of a task, what a file is, a row of the ledger, what happened to a clip."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from storyrun.record import record
from storyrun.records.storyboard import Money

if TYPE_CHECKING:
    from collections.abc import Mapping

# ── the provider's side ──────────────────────────────────────────────────────────────────────────────────────────────


class ErrorClass(StrEnum):
    """What kind of no it was. Decides what happens to the rest of the run and what to tell the user."""

    CREDENTIALS = "credentials"
    BALANCE = "balance"
    MODERATION = "moderation"
    PARAMETER = "parameter"
    RATE_LIMIT = "rate_limit"
    PROVIDER = "provider"
    NETWORK = "network"
    EXPIRED = "expired"
    FILE = "file"
    """The clip that arrived is not a whole video."""


@record
class Failure:
    """Why an attempt did not become a clip. `kind` may be absent when a provider gives no reason."""

    kind: ErrorClass
    code: str
    message: str
    request_id: str = ""


@record
class Task:
    """What a poll or a fetch needs to know of an accepted attempt, rebuilt from its ledger row alone."""

    attempt_id: str
    task_id: str
    model: str
    job: Mapping[str, Any]
    """The job as its ledger row holds it (see `jobs.as_dict`)."""
    folder: Path
    """The plan's folder, where the paths in the job start."""
    sent_at: str = ""
    """When its create was about to be sent, RFC 3339; empty where nobody knows. For `find`."""


@record
class Answer:
    """What came back from a create, before anyone reads it: HTTP status (0 where there is none) and bounded body."""

    status: int
    body: str
    request_id: str = ""
    retry_after: float | None = None
    location: str = ""
    """Where a redirect points. Nobody goes there."""


@record
class Accepted:
    """A create that was taken, by the provider's task id."""

    task_id: str
    request_id: str = ""


@record
class Echo:
    """What a provider repeats of how a task was ordered; empty where it does not. `attempt_id` is an id of ours."""

    model: str = ""
    prompt: str = ""
    attempt_id: str = ""


@record
class TaskStatus:
    """What the provider says of a task now. `raw` is its own word.

    `asset` is a download URL (never stored, never printed) or None when the provider fetches by task. A success is
    ready to fetch only if `fetchable`.
    """

    state: Literal["waiting", "running", "succeeded", "failed", "missing"]
    raw: str
    fetchable: bool = False
    asset: str | None = field(default=None, repr=False)
    failure: Failure | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    poll_after: float | None = None
    echo: Echo = field(default=Echo(), repr=False, compare=False)


@record
class MediaInfo:
    """What a video file really is: counted, not believed. `duration` in seconds is frames / fps of the video stream."""

    duration: Fraction
    width: int
    height: int
    fps: Fraction
    frames: int
    video_codec: str
    audio_codec: str | None


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────────────────


class State(StrEnum):
    """The states of an attempt. What each means for money is in `ledger.STATES`."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    READY = "ready"
    DONE = "done"
    EXPIRED = "expired"
    ABANDONED = "abandoned"
    FAILED = "failed"
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    SUPERSEDED = "superseded"


@record
class Attempt:
    """One row of the ledger: one try to buy a job, by the plan that ordered it.

    `plan` is the plan's stem, `provider` the name that counts in the ledger (`dashscope@127.0.0.1-8080` when
    rehearsed). `file` is the clip's name relative to the run folder (`clips/....mp4`), fixed with `sending`.
    `reserved` is what it counts in the budget, None when unpriced.
    """

    id: str
    number: int
    run: str
    plan: str
    provider: str
    clip: str
    fingerprint: str
    state: State
    model: str
    job: Mapping[str, Any]
    request: Mapping[str, Any]
    file: str
    created_at: str
    changed_at: str
    plan_path: str = ""
    """The plan file as seen from the outputs folder ("../plan.yaml"), for a resume without it."""
    task_id: str | None = None
    account: str = ""
    reserved: Money | None = None
    billed: Money | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    media: MediaInfo | None = None
    sha256: str | None = None
    bytes: int | None = None
    problems: tuple[str, ...] = ()
    finished_at: str | None = None
    free_when_failed: bool = False
    """What the model card said when it was ordered: a failed task costs nothing."""


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@record
class ClipEvent:
    """Something happened to a clip during a run. Observers (the bars, a log) get these and can break nothing."""

    clip: str
    kind: Literal["waiting", "sending", "rendering", "fetching", "done", "reused", "failed", "unknown", "open", "note"]
    sentence: str = ""
    attempt: Attempt | None = None
