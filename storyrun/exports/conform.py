"""Conform: other media under a timeline that an editor has worked on.

The animatic is cut first; then the same cut is wanted with the bought clips. Only what leads to media is touched: every
range, marker, transition, effect, gap, name and the order stay as the editor left them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from storyrun.errors import UsageError
from storyrun.exports import otio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storyrun.exports.layout import Clip

VERSION = re.compile(r"_v[0-9]{3,}$")
"""What a clip's file name has behind its stem."""


@dataclass(frozen=True)
class Conformed:
    """A timeline with other media. The texts are for people.

    `switched` is how many places have their media from this run now. `waiting` are clips that are not made yet: they
    keep the media they had. `unknown` are clips of the timeline that are none of this plan. `uncovered` says where an
    editor uses more than the new media have.
    """

    data: bytes
    switched: int
    waiting: tuple[str, ...]
    unknown: tuple[str, ...]
    uncovered: tuple[str, ...]
    lost: tuple[str, ...]
    """Addresses of old media that stay and are not where the timeline says."""

    @property
    def whole(self) -> bool:
        """Whether every clip of the plan is there and long enough."""
        return not self.waiting and not self.uncovered


def conform(
    source: Path,
    target: Path,
    groups: Mapping[str, Sequence[Clip]],
    shown: Mapping[str, str],
    stems: Mapping[str, str],
    run_folder: Path,
) -> Conformed:
    """Switch the media of the timeline `source`, which is going to lie at `target`.

    `groups` are the takes of each clip by its id without a take, `shown` the take that counts, `stems` file names
    without version to those ids. A take that the editor chose in the timeline is kept where it is there.

    Raises `UsageError` for a file that is no timeline.
    """
    import opentimelineio

    timeline = _read(source)
    url = otio.relative_to(target.parent)
    switched, waiting, unknown, uncovered = 0, [], [], []
    lost: list[str] = []
    for clip in timeline.find_clips():
        group = _group(clip, groups, stems)
        if group is None:
            lost += _rebased(clip, source.parent, target.parent, ours=False)
            if "sound" not in _ours(clip):
                unknown.append(_called(clip))
            continue
        takes = groups[group]
        take = _take(clip, takes, shown[group])
        if take["file"] is None or take["media"] is None:
            lost += _rebased(clip, source.parent, target.parent, ours=True)
            waiting.append(take["id"])
            continue
        uncovered += _switch(clip, takes, take, run_folder, url)
        switched += 1
    text: str = opentimelineio.adapters.write_to_string(timeline, "otio_json")
    return Conformed(
        text.encode(),
        switched,
        tuple(dict.fromkeys(waiting)),
        tuple(dict.fromkeys(unknown)),
        tuple(uncovered),
        tuple(dict.fromkeys(lost)),
    )


def _read(source: Path) -> Any:
    import opentimelineio

    try:
        text = source.read_text(encoding="utf-8")
        timeline = opentimelineio.adapters.read_from_string(text, "otio_json")
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError, TypeError, opentimelineio.exceptions.OTIOError) as error:
        hint = "save it as OpenTimelineIO (.otio) in your editing program"
        raise UsageError(f"{source} cannot be read as OpenTimelineIO", hint) from error
    if not isinstance(timeline, opentimelineio.schema.Timeline):
        raise UsageError(f"{source} holds no timeline", "save the timeline alone as .otio")
    return timeline


def _group(clip: Any, groups: Mapping[str, Sequence[Clip]], stems: Mapping[str, str]) -> str | None:
    """Which clip of the plan a clip of a timeline is: by our metadata, else by the file that it shows."""
    ours = _ours(clip)
    if "sound" in ours:
        return None
    if (told := ours.get("clip")) in groups:
        return str(told)
    for reference in (clip.media_reference, *clip.media_references().values()):
        address = getattr(reference, "target_url", None)
        if address:
            stem = VERSION.sub("", PurePosixPath(unquote(urlsplit(address).path).replace("\\", "/")).stem)
            if stem in stems:
                return stems[stem]
    return None


def _ours(clip: Any) -> Mapping[str, Any]:
    """Our metadata of a clip; nothing where there are none, or others have put something in their place."""
    found = clip.metadata.get(otio.NAMESPACE)
    return found if hasattr(found, "keys") else {}


def _take(clip: Any, takes: Sequence[Clip], shown: str) -> Clip:
    """The take to show: the editor's, if we wrote the timeline with another one and it is there; else ours."""
    by_id = {take["id"]: take for take in takes}
    active = clip.active_media_reference_key
    written = _ours(clip).get("take")
    chosen = by_id.get(active)
    if chosen is not None and written is not None and chosen["take"] != written and chosen["file"] is not None:
        return chosen
    return by_id[shown]


def _switch(clip: Any, takes: Sequence[Clip], take: Clip, run_folder: Path, url: otio.Url) -> list[str]:
    """Put other media under one clip; what of its range they do not have, in sentences."""
    from opentimelineio import opentime

    old = clip.media_reference
    had = old.available_range if old is not None else None
    rate = Fraction(take["ordered"]["frame_rate"])
    frames = round(Fraction(str(take["ordered"]["seconds"])) * rate)
    found = otio.references(takes, run_folder, rate, frames, url)
    new = found[take["id"]]
    if had is not None and had.start_time.value:
        # A program that counts the frames of a file from its timecode: so do the ranges that it wrote.
        for reference in found.values():
            there = reference.available_range
            start = had.start_time.rescaled_to(there.duration.rate)
            reference.available_range = opentime.TimeRange(start, there.duration)
    if clip.source_range is None and had is not None and had.duration != new.available_range.duration:
        clip.source_range = had  # all of the old medium was seen: just that long it stays
    clip.set_media_references(found, otio.active_key(take))
    part = _ours(clip).get("part")
    clip.metadata.update(otio.facts(take))
    if part:
        clip.metadata[otio.NAMESPACE]["part"] = part
    used = clip.source_range
    if used is None:
        return []
    first, end = (_seconds(at) for at in (used.start_time, used.end_time_exclusive()))
    there = new.available_range
    begins, ends = (_seconds(at) for at in (there.start_time, there.end_time_exclusive()))
    slack = Fraction(1, 1_000_000)
    if first < begins - slack or end > ends + slack:
        wanted = f"{_plain(first - begins)} to {_plain(end - begins)} s"
        return [f"{_called(clip)} uses {wanted} of {take['id']}, which is {_plain(ends - begins)} s long"]
    return []


def _rebased(clip: Any, old: Path, new: Path, *, ours: bool) -> Iterator[str]:
    """Media that are left alone lead to the same place when the timeline moves to another folder.

    Yields those that are not there: the timeline was saved elsewhere than where it was written. Of those the address of
    what is not `ours` stays as it is.
    """
    for reference in clip.media_references().values():
        address = getattr(reference, "target_url", "")
        if not address or urlsplit(address).scheme or address.startswith("/"):
            continue
        there = old / unquote(address)
        if not there.exists():
            yield unquote(address)
        if old.resolve() != new.resolve() and (ours or there.exists()):
            reference.target_url = otio.relative_to(new)(there)


def _called(clip: Any) -> str:
    """What a clip is called in the timeline; its file's name where it is called nothing."""
    address = getattr(clip.media_reference, "target_url", "") or ""
    return clip.name or unquote(address.rpartition("/")[2]) or "a clip without a name"


def _seconds(time: Any) -> Fraction:
    """A time as an exact fraction: rates are those of frames or of samples."""
    rate = Fraction(time.rate).limit_denominator(1001)
    return Fraction(time.value) / rate


def _plain(seconds: Fraction) -> str:
    return f"{float(seconds):.3f}".rstrip("0").rstrip(".")
