"""The storyboard as a person wrote it: read and of the right shape, nothing rendered. And what is wrong with it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
