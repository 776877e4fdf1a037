"""Subtitles of a film: what is said, by whom and when, in the film's own time, which begins at 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun.exports import cues
from storyrun.exports.otio import UNWRITABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storyrun.exports.cues import Cue
    from storyrun.exports.layout import Layout

NOBODY = "nobody says anything: no subtitles"


def spoken(films: Sequence[Layout]) -> list[Cue]:
    """What is said in one film, line by line."""
    (film,) = films
    return [cue for place in film.places for cue in cues.of_shots(place.clip["shots"], place.start, place.seconds)]


def milliseconds(cue: Cue) -> tuple[int, int]:
    """From when to when, in whole milliseconds; never for no time at all."""
    start = round(cue.start * 1000)
    return start, max(start + 1, round(cue.end * 1000))


def line(text: str) -> str:
    """A text that stays on one line of a subtitle file."""
    return " ".join(UNWRITABLE.sub(" ", text).split())
