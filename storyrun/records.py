"""The records that flow through the program, and nothing else. Imports nothing of ours.

Left of the run: `Storyboard` (what was written), `ModelCard` (what a model takes), `Job` (one clip to order), `Plan`.
Right of it: `TaskStatus` (what a provider says), `Attempt` (a row of the ledger), `MediaInfo` (what a file is).

Times are exact: seconds as `Fraction`, frames as `int`. Money is `Decimal` with its currency.
"""

from __future__ import annotations

from dataclasses import field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from storyrun.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

Where = tuple[str | int, ...]
"""The way to a value in the storyboard: ("scenes", 0, "shots", 1, "action")."""


Mode = Literal["text", "image", "frames", "reference"]
"""text-to-video; image-to-video from a first frame; first and last frame; reference-to-video."""

MediaKind = Literal["image", "video", "audio"]

Severity = Literal["error", "warning", "note"]


# ── problems ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@record
class Mark:
    """A place in a text file. Line and column count from 1, columns in characters."""

    line: int
    column: int


@record
class Problem:
    """Something wrong in a storyboard: what, where, and what to write instead."""

    severity: Severity
    code: str
    file: str
    line: int
    column: int
    sentence: str
    hint: str = ""
    source: str = ""

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        """Sort key: by file, then by place."""
        return (self.file, self.line, self.column, self.code, self.sentence)


# ── the storyboard as written ────────────────────────────────────────────────────────────────────────────────────────


@record
class Text:
    """A scalar as it was typed. It may hold Jinja; it is judged after rendering."""

    value: str
    where: Where

    @property
    def templated(self) -> bool:
        """Whether it must be rendered before it means anything."""
        return "{{" in self.value or "{%" in self.value or "{#" in self.value


@record
class Line:
    """One line of dialogue. `speaker` is None when the author named none."""

    speaker: Text | None
    text: Text


@record
class Shot:
    """One uninterrupted view inside a scene. `fields`: seconds, framing, camera, action, sound."""

    where: Where
    fields: Mapping[str, Text]
    dialogue: tuple[Line, ...] = ()


@record
class Scene:
    """One entry under `scenes`.

    `settings` holds the scalar settings by key; None is a written null, which removes a default. `references` lists
    names (None: not written; empty: written as null or []).
    """

    id: str
    where: Where
    settings: Mapping[str, Text | None]
    vars: Mapping[str, Text | None]
    references: tuple[Text, ...] | None
    shots: tuple[Shot, ...]


@record
class AxisValue:
    """One value of an axis. `label` is the text or the row's id; `columns` is None for a text."""

    label: str
    columns: Mapping[str, str] | None = None


@record
class Axis:
    """One line of `matrix`."""

    name: str
    where: Where
    values: tuple[AxisValue, ...]


@record
class Reference:
    """A named reference: paths beside the plan, or https URLs."""

    name: str
    where: Where
    images: tuple[Text, ...] = ()
    videos: tuple[Text, ...] = ()
    voice: Text | None = None


@record
class Money:
    """An amount in one currency. `exact` is False when it is an upper bound (written with `~`)."""

    amount: Decimal
    currency: str
    exact: bool = True


@record
class Price:
    """Price of one second of one resolution. `audio` is None when sound makes no difference."""

    resolution: str
    currency: str
    per_second: Decimal
    audio: bool | None
    source: str
    as_of: str


@record
class Cut:
    """How a person wants the clips put together (`cut:`), not yet rendered. None is what nobody wrote.

    `transition` is `cut` or `fade`; `fade` are the seconds of a fade.
    """

    where: Where
    name: Text | None = None
    length: Text | None = None
    sound: Text | None = None
    clip_sound: Text | None = None
    transition: Text | None = None
    fade: Text | None = None
    subtitles: Text | None = None


@record
class Storyboard:
    """One plan file, read and of the right shape, not yet rendered.

    `defaults` are scene settings by key, `default_references` and `default_vars` their list- and map-shaped ones.
    `prices` are the plan's own prices by "provider/model". `sha256` is of the bytes of the file. `refused` are the
    places of what its schema refused: texts there are empty, the rest is left out, and nothing is concluded from it.
    """

    path: Path
    sha256: str
    title: str
    provider: str | None
    model: Text | None
    defaults: Mapping[str, Text | None]
    default_references: tuple[Text, ...] | None
    vars: Mapping[str, Text]
    matrix: tuple[Axis, ...]
    exclude: tuple[Mapping[str, str], ...]
    references: Mapping[str, Reference]
    scenes: tuple[Scene, ...]
    budget: Money | None
    prices: Mapping[str, tuple[Price, ...]]
    refused: frozenset[Where] = frozenset()
    cut: Cut | None = None


# ── model cards ──────────────────────────────────────────────────────────────────────────────────────────────────────


@record
class ModelCard:
    """What one model on one provider accepts and costs. `schema` is the whole card as read."""

    provider: str
    model: str
    family: str
    modes: tuple[Mode, ...]
    frame_rate: Fraction
    default_seconds: Fraction
    default_resolution: str
    default_ratio: str
    sizes: Mapping[str, Mapping[str, tuple[int, int]]]
    """Pixels by resolution and ratio: sizes["720p"]["16:9"] == (1280, 720)."""
    multi_shot: bool
    """Writes several shots into one clip."""
    shot_type_field: bool
    """The API has a `shot_type` field, sent as `multi` for several shots."""
    sound: Literal["always", "optional", "never"]
    reference_words: Literal["character", "numbered", "name"]
    """How a prompt names references: `character1` counted together; `Image 1`, `Video 1` by kind; the plain name."""
    prices: tuple[Price, ...]
    billed_reference_seconds: Fraction
    """The most seconds of reference video that one clip is billed for; 0 when they are free."""
    keeps_hours: int | None
    """How long the provider keeps a finished clip, in hours; None: as long as we like."""
    free_when_failed: bool
    retires: str | None
    warning: str
    """A sentence to show when the card is used (an unconfirmed model, say); empty for none."""
    sources: tuple[str, ...]
    schema: Mapping[str, Any] = field(repr=False, compare=False)


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@record
class MediaSource:
    """A file or URL that goes along with a job.

    `text` is what the author wrote (a path relative to the plan, or an https URL); `path` is the resolved file, None
    for a URL; `sha256` is of the file's bytes, "" for a URL; `pixels` of a local image, None where unknown.
    """

    text: str
    kind: MediaKind
    path: Path | None
    sha256: str
    bytes: int = 0
    pixels: tuple[int, int] | None = None


@record
class BoundReference:
    """A reference as one job carries it. `word` is what the prompt calls it: `character1`, `Image 1 and Image 2`."""

    name: str
    media: tuple[MediaSource, ...]
    voice: MediaSource | None
    word: str


@record
class ShotWindow:
    """A shot of a job, rendered: when it starts and ends inside the clip (seconds), and its texts.

    `index` counts from 1 within the scene. `dialogue` is (speaker or "", text) pairs. The texts are for people: they
    call references by their own names, whatever the prompt calls them; `references` are the names in them.
    """

    index: int
    start: Fraction
    end: Fraction
    framing: str
    camera: str
    action: str
    dialogue: tuple[tuple[str, str], ...]
    sound: str
    references: tuple[str, ...] = ()


@record
class Job:
    """The complete, provider-neutral order of one clip: scene x variant x take.

    Settings that nobody wrote are None and stay unsent. What the model then does is in `length`, `size` and the card.
    `shots` always has at least one window; a `prompt` scene is one window whose action is the prompt.
    """

    id: str
    scene: str
    variant: Mapping[str, str]
    take: int
    provider: str
    model: str
    mode: Mode
    prompt: str
    negative_prompt: str | None
    seconds: Fraction | None
    resolution: str | None
    aspect_ratio: str | None
    seed: int | None
    prompt_extend: bool | None
    watermark: bool | None
    shot_type: str | None
    audio: str | None
    """None: not written; "auto", "none", or "file" when `audio_file` is set."""
    audio_file: MediaSource | None
    references: tuple[BoundReference, ...]
    first_frame: MediaSource | None
    last_frame: MediaSource | None
    shots: tuple[ShotWindow, ...]
    length: Fraction
    """Seconds of the clip to expect."""
    frame_rate: Fraction
    size: tuple[int, int] | None
    """Pixels (width, height) to expect; None when a frame of unknown shape decides."""
    billed_resolution: str
    sounding: bool
    """Whether the clip is expected to have sound."""
    stem: str
    """The clip's file name without `_v001.mp4`."""
    fingerprint: str
    quote: Money | None
    """What it should cost at most; None when no price is known; amount 0 and currency "" on the animatic."""
    premise: str
    look: str
    """The parts of the prompt that are not in a shot, for telling people what changed."""
    places: Mapping[str, Mark] = field(default_factory=dict, compare=False)
    """Where each field was written in the storyboard: "shots[1].action", "look", "seconds"."""

    @property
    def frames(self) -> int:
        """Whole frames of the clip."""
        return round(self.length * self.frame_rate)


@record
class Part:
    """One place in a film: the takes of one clip, in order, and the one to show.

    `clip` is the id without its take; `takes` and `shown` are clip ids. `picked`: a person chose it. `length` is in
    seconds.
    """

    scene: str
    clip: str
    takes: tuple[str, ...]
    shown: str
    picked: bool
    length: Fraction


@record
class Film:
    """One film of a plan: a combination of its axes, in story order.

    `variant` is {axis: text or row id}, empty for a plan without axes. `stem` is its file name without `.mp4`. `length`
    are the seconds that it must have: what `cut.length` says, else the sum of its parts. `sound` plays across all of
    it. `clip_sound` is the gain of the clips' own sound in dB, None when it is off. `fade` are the seconds of a fade
    through black at each cut, half before it and half after, 0 for a plain cut: no part gets shorter.
    """

    variant: Mapping[str, str]
    title: str
    stem: str
    parts: tuple[Part, ...]
    length: Fraction
    sound: MediaSource | None
    clip_sound: Decimal | None
    fade: Fraction
    subtitles: Literal["none", "soft", "burnt"]


@record
class Plan:
    """A storyboard with its jobs for one provider, in storyboard order."""

    storyboard: Storyboard
    provider: str
    jobs: tuple[Job, ...]
    cards: Mapping[str, ModelCard]
    """The card of each model used, by model id."""
    notes: tuple[str, ...] = ()
    picks: frozenset[str] = frozenset()
    """Ids of the clips that a person chose among their takes."""
    films: tuple[Film, ...] = ()
    """What the clips become when they are put together."""


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
