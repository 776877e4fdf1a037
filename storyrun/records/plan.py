"""What a model takes, what is to be made of a storyboard, and what becomes of it in the cut."""

from __future__ import annotations

from dataclasses import field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from storyrun.record import record
from storyrun.records.storyboard import Mark, MediaKind, Mode, Money, Price, Storyboard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    films: Sequence[Film] = ()
    """What the clips become when they are put together (see `jobs.films`)."""
