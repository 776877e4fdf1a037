"""What stands where in a film, in whole frames: the one ground for timelines, subtitles and lists.

The frames are those that were ordered, so that a timeline of the animatic and one of bought clips are the same but for
their media. A clip that is missing, or shorter than ordered, leaves a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

from storyrun.exports.cut.pieces import most, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from storyrun.records import Film, Part

    Clip = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """One part of a film. `clip` is the take that is shown, as the manifest has it; `takes` are all of them.

    `rate` is the frame rate that was ordered, `frames` how many of its frames the part lasts. `first` is where it
    begins in the film, in frames of the film. `start` is the same in seconds.
    """

    part: Part
    clip: Clip
    takes: tuple[Clip, ...]
    rate: Fraction
    frames: int
    start: Fraction
    first: int

    @property
    def missing(self) -> bool:
        """Whether there is no file to show."""
        return self.clip["file"] is None

    @property
    def seconds(self) -> Fraction:
        """How long it is seen, whatever the file has."""
        return self.frames / self.rate

    @property
    def there(self) -> int:
        """Frames that can be seen: those of the file, at most those ordered. All of them where the file is missing."""
        media = self.clip["media"]
        if self.missing or media is None:
            return self.frames
        return min(self.frames, int(media["frames"] / fps(media) * self.rate))


@dataclass(frozen=True)
class Layout:
    """A film with what is known of its clips. `rate` is the frame rate that most of them were ordered in."""

    film: Film
    manifest: Mapping[str, Any]
    folder: Path
    rate: Fraction
    places: tuple[Place, ...]

    @property
    def frames(self) -> int:
        """Frames of the film, in its own rate."""
        return sum(round(place.seconds * self.rate) for place in self.places)

    @property
    def mixed(self) -> bool:
        """Whether its clips were ordered in several frame rates."""
        return any(place.rate != self.rate for place in self.places)

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids of the clips that are not there."""
        return tuple(place.clip["id"] for place in self.places if place.missing)

    @property
    def short(self) -> tuple[str, ...]:
        """A sentence for each clip that has fewer frames than were ordered."""
        return tuple(
            f"{place.clip['id']} has {place.there} frames of {place.frames}: the rest is a gap"
            for place in self.places
            if place.there < place.frames
        )


def of_film(film: Film, manifest: Mapping[str, Any], folder: Path) -> Layout:
    """The layout of a film. `folder` is that of the run, where the manifest lies."""
    clips = {clip["id"]: clip for clip in manifest["clips"]}
    rates = [Fraction(clips[part.clip]["ordered"]["frame_rate"]) for part in film.parts]
    rate = most(rates) if rates else Fraction(24)
    places = []
    first = 0
    for part, own in zip(film.parts, rates, strict=True):
        place = Place(
            part=part,
            clip=clips[shown(part, clips)],
            takes=tuple(clips[take] for take in part.takes),
            rate=own,
            frames=max(1, round(part.length * own)),
            start=first / rate,
            first=first,
        )
        places.append(place)
        first += round(place.seconds * rate)
    return Layout(film, manifest, folder, rate, tuple(places))


def fps(media: Mapping[str, Any]) -> Fraction:
    """The frame rate of a file, exactly: the manifest has it as a number, 23.976... for 24000/1001."""
    return Fraction(str(media["fps"])).limit_denominator(1001)


def timecode(frame: int, rate: Fraction) -> str:
    """Hours, minutes, seconds and frames (SMPTE ST 12-1, non-drop). At 24000/1001 a second is counted as 24 frames."""
    whole = ceil(rate)
    seconds, frames = divmod(frame, whole)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"


def hour(rate: Fraction) -> int:
    """The frame at which films begin: that of 01:00:00:00."""
    return 3600 * ceil(rate)


def heading(shot: Mapping[str, Any]) -> str:
    """What a shot is called in a list: its framing and how its action begins."""
    action = " ".join(str(shot.get("action", "")).split())
    head = action if len(action) <= HEAD else f"{action[: HEAD - 3].rstrip()}..."
    return ": ".join(filter(None, [" ".join(str(shot.get("framing", "")).split()), head])) or f"shot {shot['index']}"


HEAD = 60
"""Characters of an action in a heading."""


def spoken(shot: Mapping[str, Any]) -> str:
    """The dialogue of a shot on one line, with who says it."""
    lines = (": ".join(filter(None, [line.get("speaker", ""), line["text"]])) for line in shot.get("dialogue", ()))
    return " / ".join(" ".join(line.split()) for line in lines)
