"""The timeline of a run as figures for an SVG: for each clip when it was queued, rendered and downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

PAUSE = 30 * 60
"""Seconds in which nothing is under way after which a run counts as another one."""

ROWS = 60
"""Clips that get a row each. More are folded: a row then holds clips one after the other."""

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
"""Seconds between two marks of the axis."""

NAMES = ("queue", "render", "download")
PHASES = (("queue", "submitted_at", "accepted_at"), ("render", "accepted_at", "ready_at"))


@dataclass(frozen=True)
class Bar:
    """One phase of a clip: where it starts and how wide it is, in percent of the whole."""

    phase: str
    x: float
    width: float


@dataclass(frozen=True)
class Row:
    """One row: its name, empty when folded, and (title, bars) of each clip in it."""

    name: str
    clips: tuple[tuple[str, tuple[Bar, ...]], ...]


@dataclass(frozen=True)
class Timeline:
    """All of it. `marks` are (percent, text); `said` tells in words what the picture shows."""

    rows: tuple[Row, ...]
    marks: tuple[tuple[float, str], ...]
    said: str
    folded: bool
    phases: tuple[str, ...]


def phases(clip: Mapping[str, Any], *, drawn: bool) -> list[tuple[str, float, float]]:
    """(phase, start, end) of a clip in seconds since 1970, as far as it has come. `drawn`: here, by the animatic."""
    found = []
    if drawn:  # nobody queues, and drawing is all there is
        whole = clip["status"] == "done" and clip["submitted_at"] and clip["finished_at"]
        return [("drawing", _seconds(clip["submitted_at"]), _seconds(clip["finished_at"]))] if whole else []
    for name, start, end in PHASES:
        if clip.get(start) and clip.get(end):
            found.append((name, _seconds(clip[start]), _seconds(clip[end])))
    if clip["status"] == "done" and clip.get("ready_at") and clip["finished_at"]:
        found.append(("download", _seconds(clip["ready_at"]), _seconds(clip["finished_at"])))
    return [each for each in found if each[2] >= each[1]]


def build(clips: Sequence[Mapping[str, Any]], zone: tzinfo, *, drawn: bool) -> Timeline | None:
    """The timeline of the newest run among these clips; None when nothing took a second.

    The newest run is what lies together in time, back to the first pause, so that it can be drawn from the ledger
    alone.
    """
    timed = [(clip, found) for clip in clips if (found := phases(clip, drawn=drawn))]
    timed.sort(key=lambda each: (each[1][0][1], each[1][-1][2]))
    newest: list[tuple[Mapping[str, Any], list[tuple[str, float, float]]]] = []
    reach = 0.0
    for each in timed:
        if newest and each[1][0][1] > reach + PAUSE:
            newest.clear()
        reach = max(reach, each[1][-1][2])
        newest.append(each)
    if not newest:
        return None
    start = newest[0][1][0][1]
    whole = reach - start
    if whole < 1:
        return None
    folded = len(newest) > ROWS
    lanes: list[list[tuple[str, tuple[Bar, ...]]]] = []
    ends: list[float] = []
    names = []
    for clip, found in newest:
        bars = tuple(
            Bar(name, round(100 * (first - start) / whole, 2), round(100 * (last - first) / whole, 2))
            for name, first, last in found
        )
        title = f"{clip['id']}: " + ", ".join(f"{name} {span(last - first)}" for name, first, last in found)
        lane = next((n for n, end in enumerate(ends) if folded and end <= found[0][1]), None)
        if lane is None:
            lanes.append([])
            ends.append(0.0)
            names.append("" if folded else clip["id"])
            lane = len(lanes) - 1
        lanes[lane].append((title, bars))
        ends[lane] = found[-1][2]
    rows = tuple(Row(name, tuple(lane)) for name, lane in zip(names, lanes, strict=True))
    return Timeline(rows, _marks(whole), _said(newest, start, reach, zone), folded, ("drawing",) if drawn else NAMES)


def span(seconds: float) -> str:
    """A length of time for people: `4 s`, `3 min 20 s`, `1 h 25 min`."""
    total = round(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"
    return f"{rest} s"


def _marks(whole: float) -> tuple[tuple[float, str], ...]:
    step = next((step for step in STEPS if whole / step <= 6), STEPS[-1] * max(1, round(whole / STEPS[-1] / 6)))
    return tuple((round(100 * n * step / whole, 2), span(n * step)) for n in range(int(whole / step) + 1))


def _said(
    newest: Sequence[tuple[Mapping[str, Any], list[tuple[str, float, float]]]], start: float, end: float, zone: tzinfo
) -> str:
    first, last = (datetime.fromtimestamp(moment, zone) for moment in (start, end))
    until = last.strftime("%H:%M" if first.date() == last.date() else "%d %b %H:%M")
    number = len(newest)
    plural = "" if number == 1 else "s"
    since = f"{first.day} {first.strftime('%b %Y, %H:%M')}"
    parts = [f"{number} clip{plural} from {since} to {until}, {span(end - start)} in all"]
    told = []
    for name in ("drawing", *NAMES):
        lengths = [until - since for _, found in newest for phase, since, until in found if phase == name]
        if lengths:
            told.append(f"{name} {span(median(lengths))}")
    if told:
        parts.append(f"as a rule {', '.join(told)}")
    clip, longest = max(((clip, found[-1][2] - found[0][1]) for clip, found in newest), key=lambda each: each[1])
    if number > 1:
        parts.append(f"at most {span(longest)}, for {clip['id']}")
    return "; ".join(parts) + "."


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
