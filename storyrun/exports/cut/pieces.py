"""What a film is made of: which take of each clip, what its file really is, and for how long it is seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

from storyrun import media
from storyrun.errors import FetchFailed
from storyrun.exports import cues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from storyrun.exports.cues import Cue
    from storyrun.records import Film, MediaInfo, Part

    Card = Callable[[str, tuple[int, int], Fraction, int, Path], None]
    """Draws the card of a missing clip: its id, the size, the frame rate, how many frames, and the file to write."""

T = TypeVar("T")

USUAL = ((1280, 720), Fraction(24))
"""Size and frame rate of a film in which every clip is missing, and none says what was ordered."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a file. `first` is the first frame of it that is seen, `seconds` how long it is to be seen.

    `cues` are its subtitles, in the film's time. `card`: it stands for a clip that is missing.
    """

    clip: str
    path: Path
    info: MediaInfo
    first: int
    seconds: Fraction
    cues: tuple[Cue, ...] = ()
    card: bool = False

    def frames(self, rate: Fraction) -> int:
        """Whole frames of a film of this rate in which it is seen."""
        return max(1, round(self.seconds * rate))

    @property
    def there(self) -> Fraction:
        """Seconds that the file has of it."""
        return (self.info.frames - self.first) / self.info.fps

    def difference(self, rate: Fraction) -> str:
        """What is done where the file has less or more than was ordered, for people; empty where it has just that."""
        if abs(self.there - self.seconds) < Fraction(1, 2) / rate:
            return ""
        end = "its last frame is held" if self.there < self.seconds else "its end is cut off"
        return f"{self.clip} is {_plain(self.there)} s of {_plain(self.seconds)}: {end}"


def shown(part: Part, clips: Mapping[str, Mapping[str, Any]]) -> str:
    """The take that is seen: the picked one, else the first that is done, else the first."""
    for take in part.takes:
        if clips.get(take, {}).get("picked"):
            return take
    done = (take for take in part.takes if clips.get(take, {}).get("status") == "done")
    return part.shown if part.picked else next(done, part.takes[0])


def of_film(
    film: Film, clips: Mapping[str, Mapping[str, Any]], folder: Path, cards: Path, card: Card
) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    """The pieces of a film, and what is to be said of them. `cards` is a folder to draw missing clips in."""
    notes = []
    found: list[tuple[str, Path | None, MediaInfo | None]] = []
    for part in film.parts:
        take = shown(part, clips)
        name = clips.get(take, {}).get("file")
        path, info = (folder / name if name else None), None
        if path is not None:
            try:
                info = media.probe(path)
            except (FetchFailed, OSError) as error:
                why = error.sentence if isinstance(error, FetchFailed) else error.strerror or str(error)
                notes.append(f"{take}: {why}")
        found.append((take, path, info))
    size, rate = form([info for _, _, info in found if info], clips.values())
    pieces = []
    start = Fraction(0)
    for number, (part, (take, path, info)) in enumerate(zip(film.parts, found, strict=True)):
        frames = max(1, round(part.length * rate))
        said = cues.of_shots(clips.get(take, {}).get("shots", ()), start, frames / rate)
        if path is None or info is None:
            drawn = cards / f"{number}.mp4"
            card(take, size, rate, frames, drawn)
            pieces.append(Piece(take, drawn, media.probe(drawn), 0, part.length, said, card=True))
        else:
            pieces.append(Piece(take, path, info, 0, part.length, said))
            notes += filter(None, [pieces[-1].difference(rate)])
        start += frames / rate
    return tuple(pieces), tuple(notes)


def form(infos: Iterable[MediaInfo], clips: Iterable[Mapping[str, Any]] = ()) -> tuple[tuple[int, int], Fraction]:
    """Size and frame rate of a film: those of most of its clips, else what was ordered."""
    known = list(infos)
    if known:
        return most((info.width, info.height) for info in known), most(info.fps for info in known)
    for clip in clips:
        ordered = clip.get("ordered") or {}
        if ordered.get("width") and ordered.get("height"):
            return (ordered["width"], ordered["height"]), Fraction(ordered["frame_rate"])
    return USUAL


def most(values: Iterable[T]) -> T:
    """The value that is there most often; of several the one that comes first."""
    return Counter(values).most_common(1)[0][0]


def _plain(seconds: Fraction) -> str:
    return f"{float(seconds):.2f}".rstrip("0").rstrip(".")
