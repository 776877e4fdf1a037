"""EDL (CMX 3600): the oldest edit list that there is. One track of pictures, times in timecode, eight letters a reel.

Read back with the adapter that writes it. Record times begin at 01:00:00:00; shots are locators at record times, which
is where editing programs look for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from storyrun.errors import UsageError
from storyrun.exports import layout as layouts
from storyrun.exports import otio

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction
    from pathlib import Path

    from storyrun.exports.layout import Layout

REEL = 8
"""Letters of a reel's name."""

MOST = 999
"""Events that can be numbered with three digits."""


def content(films: Sequence[Layout], target: Path) -> tuple[bytes, tuple[str, ...]]:
    """The pictures of a film as an EDL, with whole paths. Raises `UsageError` for what an EDL cannot say."""
    import opentimelineio

    (film,) = films
    refuse(film, "an EDL")
    if len(film.places) > MOST:
        raise UsageError(f"an EDL has at most {MOST} events, and this film has {len(film.places)} clips")
    made = otio.timeline(film, lambda path: otio.name(str(path.resolve())))
    pictures = made.tracks[0]
    for track in list(made.tracks)[1:]:
        made.tracks.remove(track)
    drop = _drop(film.rate)
    start = _start(film.rate, drop=drop)
    reels: set[str] = set()
    for clip, place in zip(made.find_clips(), film.places, strict=True):
        key = clip.active_media_reference_key
        reel = _reel(place.clip["scene"], reels)
        comments = [f"MISSING: {otio.name(key)}"] if place.missing else []
        clip.metadata["cmx_3600"] = {"reel": reel, "comments": comments}
        for marker in clip.markers:
            first = int(marker.marked_range.start_time.value) + place.first + start
            marker.marked_range = otio.stretch(first, int(marker.marked_range.duration.value), film.rate)
    pictures.insert(0, opentimelineio.schema.Gap(source_range=otio.stretch(0, start, film.rate)))
    made.name = otio.name(made.name) or film.film.stem
    text: str = opentimelineio.adapters.write_to_string(made, "cmx_3600", rate=float(film.rate), style="nucoda")
    head, end, rest = text.partition("\n")
    mode = "DROP FRAME" if drop else "NON-DROP FRAME"
    return f"{head}{end}FCM: {mode}\n{rest.lstrip()}".encode(), (*otio.notes(film), *_silent(film))


def refuse(film: Layout, what: str) -> None:
    """Raise `UsageError` for a film that has no timecode: of mixed frame rates, or of one that SMPTE does not know."""
    from opentimelineio import opentime

    if film.mixed:
        rates = ", ".join(sorted({str(place.rate) for place in film.places}))
        raise UsageError(f"{what} counts in one frame rate, and this film has clips of {rates}", "use --format otio")
    if not opentime.RationalTime.is_smpte_timecode_rate(float(film.rate)):
        raise UsageError(
            f"there is no timecode at {film.rate} frames a second, which {what} needs", "use --format otio"
        )


def _drop(rate: Fraction) -> bool:
    """Whether the adapter counts in drop-frame timecode: it does at 30000/1001 and 60000/1001."""
    return rate.denominator == 1001 and rate.numerator in (30000, 60000)


def _start(rate: Fraction, *, drop: bool) -> int:
    """The frame that is called 01:00:00:00, or 01:00:00;00 in drop-frame timecode."""
    whole = layouts.hour(rate)
    return whole - 54 * 2 * (whole // 108000) if drop else whole


def _reel(text: str, taken: set[str]) -> str:
    """A name of a reel that no other has: at most eight capital letters and digits."""
    short = re.sub("[^A-Z0-9]", "", text.upper())[:REEL] or "CLIP"
    found, number = short, 1
    while found in taken:
        number += 1
        found = f"{short[: REEL - len(str(number))]}{number}"
    taken.add(found)
    return found


def _silent(film: Layout) -> tuple[str, ...]:
    return ("an EDL has the pictures alone: the film's sound is not in it",) if film.film.sound is not None else ()
