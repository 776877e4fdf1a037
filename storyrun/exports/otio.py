"""OpenTimelineIO: one timeline for a film, its clips in story order with all their takes, and their shots as markers.

A clip's takes are its media references, by clip id; the active one is the take that is shown. So an editing program
can switch takes, and `conform` can switch all of them to other media. Names, ranges and markers come from the plan
alone: the timeline of the animatic and that of bought clips are the same but for the media.
"""

from __future__ import annotations

import os
import re
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from storyrun.exports import layout as layouts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storyrun.exports.layout import Clip, Layout, Place
    from storyrun.records import MediaSource

    Url = Callable[[Path], str]

NAMESPACE = "storyrun"
"""The key of our metadata."""

UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
"""What no name in an edit list may hold: line ends, control characters, and what XML has no place for."""


def content(films: Sequence[Layout], target: Path) -> tuple[bytes, tuple[str, ...]]:
    """The timeline of a film as `.otio`. Media are named as seen from its folder: both can be moved together."""
    import opentimelineio

    (film,) = films
    made = timeline(film, relative_to(target.parent))
    text: str = opentimelineio.adapters.write_to_string(made, "otio_json")
    return text.encode(), notes(film)


def notes(film: Layout) -> tuple[str, ...]:
    """What is to be said of a film's timeline, whatever its format."""
    fade = film.film.fade
    faded = (f"the fade of {float(fade):g} s is not in it: `storyrun assemble` makes it",) if fade else ()
    other = (
        f"{place.clip['id']} has {rate} frames a second, and {place.rate} were ordered"
        for place in film.places
        if place.clip["media"] and (rate := layouts.fps(place.clip["media"])) != place.rate
    )
    return (*film.short, *other, *faded)


def relative_to(folder: Path) -> Url:
    """URLs of files as seen from a folder; whole ones where there is no way (another drive)."""
    start = folder.resolve()

    def url(path: Path) -> str:
        there = path.resolve()
        try:
            return quote(Path(os.path.relpath(there, start)).as_posix())
        except ValueError:
            return there.as_uri()

    return url


def timeline(film: Layout, url: Url) -> Any:
    """The film as an `opentimelineio.schema.Timeline`. `url` names a file."""
    from opentimelineio import opentime, schema

    rate = float(film.rate)
    start = opentime.RationalTime(layouts.hour(film.rate), rate)
    made = schema.Timeline(name(film.film.title), global_start_time=start)
    made.metadata[NAMESPACE] = plain(
        {
            "film": film.film.stem,
            "variant": dict(film.film.variant),
            "fade": str(film.film.fade),
            "provider": film.manifest["provider"],
            "storyboard": dict(film.manifest["storyboard"]),
            "generator": film.manifest["generator"],
        }
    )
    video = schema.Track("pictures", kind=schema.TrackKind.Video)
    for place in film.places:
        video.extend(_shown(place, film, url))
    made.tracks.append(video)
    if film.film.clip_sound is not None and any(place.clip["ordered"]["sound"] for place in film.places):
        sound = schema.Track("clip sound", kind=schema.TrackKind.Audio)
        for place in film.places:
            sound.extend(_heard(place, film, url))
        made.tracks.append(sound)
    if film.film.sound is not None and film.places:
        made.tracks.append(_across(film, film.film.sound, url))
    return made


def references(takes: Sequence[Clip], folder: Path, rate: Fraction, frames: int, url: Url) -> dict[str, Any]:
    """A media reference for each take, by clip id. One that is not there is missing, as long as it was ordered."""
    from opentimelineio import schema

    found: dict[str, Any] = {}
    for clip in takes:
        if clip["file"] is None or clip["media"] is None:
            found[clip["id"]] = schema.MissingReference(clip["id"], stretch(0, frames, rate), facts(clip))
        else:
            path = folder / clip["file"]
            there = stretch(0, clip["media"]["frames"], layouts.fps(clip["media"]))
            made = schema.ExternalReference(url(path), there, facts(clip))
            made.name = name(path.name)
            found[clip["id"]] = made
    return found


def facts(clip: Clip) -> dict[str, Any]:
    """What our metadata say of a take."""
    keys = (
        "scene variant take status model prompt negative_prompt seed fingerprint task_id sha256 file cost "
        "picked problems"
    ).split()
    told = {key: clip.get(key) for key in keys}
    return {NAMESPACE: plain({"clip": clip["id"].removesuffix(f"#{clip['take']}"), **told})}


def stretch(start: int, frames: int, rate: Fraction) -> Any:
    """A range of whole frames."""
    from opentimelineio import opentime

    fast = float(rate)
    return opentime.TimeRange(opentime.RationalTime(start, fast), opentime.RationalTime(frames, fast))


def name(text: str) -> str:
    """A text as a name that every format can write."""
    return UNWRITABLE.sub(" ", text).strip()


def plain(value: Any) -> Any:
    """JSON data as metadata that every reader takes: no half characters, no zeros in texts, no numbers over 64 bits."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


# ── tracks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shown(place: Place, film: Layout, url: Url) -> list[Any]:
    """The clip of a part, and a gap where its file is too short."""
    from opentimelineio import schema

    clip = schema.Clip(name(place.part.clip), source_range=stretch(0, place.there, place.rate))
    clip.set_media_references(
        references(place.takes, film.folder, place.rate, place.frames, url), active_key(place.clip)
    )
    clip.metadata.update(facts(place.clip))
    clip.markers.extend(_markers(place))
    return [clip, *_rest(place)]


def _heard(place: Place, film: Layout, url: Url) -> list[Any]:
    """The sound of a part: programs that read timelines do not take it from the picture's file by themselves."""
    from opentimelineio import schema

    if not place.clip["ordered"]["sound"]:
        return [schema.Gap(source_range=stretch(0, place.frames, place.rate))]
    clip = schema.Clip(name(place.part.clip), source_range=stretch(0, place.there, place.rate))
    clip.set_media_references(
        references(place.takes, film.folder, place.rate, place.frames, url), active_key(place.clip)
    )
    clip.metadata.update(facts(place.clip))
    clip.metadata[NAMESPACE]["part"] = "sound"
    return [clip, *_rest(place)]


def active_key(clip: Clip) -> str:
    """The key of a take among the media references of its clip."""
    key: str = clip["id"]
    return key


def _rest(place: Place) -> list[Any]:
    from opentimelineio import schema

    rest = place.frames - place.there
    return [schema.Gap(source_range=stretch(0, rest, place.rate))] if rest else []


def _markers(place: Place) -> list[Any]:
    """A marker for each shot, where its window is in the clip."""
    from opentimelineio import schema

    found = []
    for shot in place.clip["shots"]:
        first, end = (min(place.there, round(Fraction(str(shot[key])) * place.rate)) for key in ("start", "end"))
        if first >= end:
            continue
        found.append(
            schema.Marker(
                name(layouts.heading(shot)),
                stretch(first, end - first, place.rate),
                schema.MarkerColor.GREEN,
                {NAMESPACE: plain(dict(shot))},
                name(layouts.spoken(shot)),
            )
        )
    return found


def _across(film: Layout, sound: MediaSource, url: Url) -> Any:
    """The track of the film's own sound: until the film ends, or the sound does."""
    from opentimelineio import schema

    path = sound.path or Path(sound.text)
    there = _length(path)
    frames = film.frames if there is None else min(film.frames, floor(there * film.rate))
    track = schema.Track("sound", kind=schema.TrackKind.Audio)
    if frames:
        available = None if there is None else stretch(0, max(frames, floor(there * film.rate)), film.rate)
        medium = schema.ExternalReference(url(path), available)
        medium.name = name(path.name)
        clip = schema.Clip(name(sound.text), medium, stretch(0, frames, film.rate))
        clip.metadata[NAMESPACE] = plain({"sound": sound.text, "sha256": sound.sha256})
        track.append(clip)
    return track


def _length(path: Path) -> Fraction | None:
    """Seconds of a sound file; None where it does not say."""
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.audio[0]
            if stream.duration is not None and stream.time_base is not None:
                return stream.duration * stream.time_base
            return Fraction(container.duration, av.time_base) if container.duration else None
    except (av.FFmpegError, OSError, IndexError):
        return None
