"""What is seen and heard in a clip: black and frozen stretches, silence, cuts. Then, what of it is not as ordered.

A small picture of every frame goes through FFmpeg's own detectors (PyAV carries them). Hard cuts only: a dissolve is
none.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from av import AudioFrame, VideoFrame
    from av.container import InputContainer
    from av.filter import Graph

WIDTH = 320
"""Pixels across in which a picture is judged."""

BLACK, FROZEN, SILENT = 0.5, 1.5, 0.5
"""Seconds from which a stretch is noted."""

BLACK_TOLD, FROZEN_TOLD = 1.0, 2.0
"""Seconds from which a stretch is told. A fade is shorter, and a model's still picture moves."""

NEARLY_ALL, ALL_SILENT = Fraction(95, 100), Fraction(98, 100)
"""The share of a clip that counts as all of it. A bell and nothing else is not silence."""

DARK, ALL_DARK = 0.05, 0.995
"""Black is a picture of which this share of the pixels has no more than this of full light: a lamp in the night is
none, nor is a scene that is lit like one."""

NOISE = 0.0002
"""Mean difference of two pictures, of 1, below which nothing moves: a frozen clip differs by its coding alone."""
QUIET = -55
"""dB below which nothing is heard."""

SCORE, ABOVE, NEIGHBOURS = 1.5, 8.0, 12
"""A cut: FFmpeg's scene score reaches this, and this many times the median of so many frames on either side.

The score alone depends on the pictures: 2 to 12 at the cuts of a drawing, 0.05 elsewhere, and far more in film.
"""

CLOSE = 3
"""Frames in which there is one cut: coding may spread it over two."""

AROUND = Fraction(3, 10)
"""Seconds by which a cut may miss the window that was written."""

Stretch = tuple[Fraction, Fraction]
"""From and to, in seconds of the clip."""


@record
class Measured:
    """What was found in a clip, in seconds from its start. `silent` is None where there is no sound at all."""

    black: tuple[Stretch, ...] = ()
    frozen: tuple[Stretch, ...] = ()
    silent: tuple[Stretch, ...] | None = None
    cuts: tuple[Fraction, ...] = ()


def measure(path: Path) -> Measured:
    """Look at and listen to a whole video file. Takes about an eighth of its length on one core (720p).

    Raises `av.FFmpegError` for a file that cannot be decoded, `OSError` for one that cannot be read.
    """
    import av

    with av.open(str(path), metadata_errors="replace") as file:
        watched = _watched(file)
    with av.open(str(path), metadata_errors="replace") as file:
        silent = _heard(file) if file.streams.audio else None
    return Measured(watched.black, watched.frozen, silent, watched.cuts)


def known(file: Path) -> dict[str, Measured]:
    """What was measured before, by the SHA-256 of the clip. Empty where the file is not there, or no such file."""
    import json

    try:
        return {sha256: from_dict(form) for sha256, form in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def written(found: Mapping[str, Measured]) -> bytes:
    """The file that `known` reads."""
    import json

    return json.dumps({sha256: as_dict(each) for sha256, each in sorted(found.items())}, indent=1).encode()


def as_dict(found: Measured) -> dict[str, Any]:
    """The JSON form: seconds as numbers, to the millisecond."""
    return {
        "black": [_pair(each) for each in found.black],
        "frozen": [_pair(each) for each in found.frozen],
        "silent": None if found.silent is None else [_pair(each) for each in found.silent],
        "cuts": [_number(each) for each in found.cuts],
    }


def from_dict(form: Mapping[str, Any]) -> Measured:
    """Back from the JSON form. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
    silent = form["silent"]
    return Measured(
        tuple(map(_stretch, form["black"])),
        tuple(map(_stretch, form["frozen"])),
        None if silent is None else tuple(map(_stretch, silent)),
        tuple(Fraction(str(each)) for each in form["cuts"]),
    )


def problems(found: Measured, *, seconds: Fraction, sound: bool) -> tuple[str, ...]:
    """What nobody can have ordered in a clip of so many seconds, as "is black from 1 s to 3 s"; empty when all is well.

    `sound`: it was to have some. A clip without a sound stream is told of elsewhere.
    """
    told = [*_stretches("is black", found.black, BLACK_TOLD, seconds)]
    if _sum(_still(found)) >= NEARLY_ALL * seconds:
        told.append("stands still all the time")
    if sound and found.silent and _sum(found.silent) >= ALL_SILENT * seconds:
        told.append("is silent")
    return tuple(told)


def warnings(
    found: Measured, *, shots: Sequence[Mapping[str, Any]], ordered: Mapping[str, Any], media: Mapping[str, Any]
) -> tuple[str, ...]:
    """What a person may like to look at: a picture that stands still for a while, missing and unwritten cuts, another
    frame rate, sound that nobody ordered.

    `shots`, `ordered` and `media` are those of a manifest's clip.
    """
    told: list[str] = []
    if _sum(_still(found)) < NEARLY_ALL * Fraction(str(media["duration"])):  # a while: it may be meant
        told += _stretches("stands still", _still(found), FROZEN_TOLD, Fraction(str(media["duration"])))
    written = [Fraction(str(shot["start"])) for shot in shots[1:]]
    missing, extra = compare_cuts(written, found.cuts)
    for at in missing:
        if any(start <= at <= end for start, end in (*found.black, *found.frozen)):
            continue  # told as what it is
        shot = next(shot for shot in shots if Fraction(str(shot["start"])) == at)
        told.append(f"no cut found at {_said(at)} s, where shot {shot['index']} begins")
    if extra:
        told.append(f"{'a cut' if len(extra) == 1 else 'cuts'} at {_listed(extra)} s that nobody wrote")
    rate = Fraction(ordered["frame_rate"])
    if abs(Fraction(str(media["fps"])) - rate) > Fraction(1, 100):
        told.append(f"{_said(Fraction(str(media['fps'])))} frames a second instead of {_said(rate)}")
    if not ordered["sound"] and media["audio_codec"] is not None and not _all_silent(found, media):
        told.append("has sound, and none was ordered")
    return tuple(told)


def compare_cuts(
    written: Sequence[Fraction], found: Sequence[Fraction]
) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """The cuts that were written and not found, and those found and not written. One matches one, the nearest first."""
    pairs = sorted((abs(a - b), a, b) for a in written for b in found if abs(a - b) <= AROUND)
    matched: set[Fraction] = set()
    used: set[Fraction] = set()
    for _, a, b in pairs:
        if a not in matched and b not in used:
            matched.add(a)
            used.add(b)
    return tuple(a for a in written if a not in matched), tuple(b for b in found if b not in used)


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _watched(file: InputContainer) -> Measured:
    """The pictures of a file."""
    import av

    stream = file.streams.video[0]
    stream.thread_count = 1
    graph = av.filter.Graph()
    last = source = graph.add_buffer(template=stream)
    for name, arguments in (
        ("scale", f"{WIDTH}:-2"),
        ("freezedetect", f"n={NOISE}:d={FROZEN}"),
        ("blackdetect", f"d={BLACK}:pix_th={DARK}:pic_th={ALL_DARK}"),
        ("scdet", "threshold=100"),  # for its scores: what a cut is, we decide
        ("buffersink", None),
    ):
        filter_ = graph.add(name, arguments)
        last.link_to(filter_)
        last = filter_
    graph.configure()
    times: list[Fraction] = []
    scores: list[float] = []
    black, frozen = _Stretches("lavfi.black"), _Stretches("lavfi.freezedetect.freeze")

    def look() -> None:
        for frame in _pulled(graph):
            notes = frame.metadata
            times.append(_time(frame) - start)
            scores.append(float(notes.get("lavfi.scd.score", 0)))
            black.note(notes)
            frozen.note(notes)

    start = Fraction(0)
    step = 1 / (stream.average_rate or Fraction(25))
    for number, frame in enumerate(file.decode(stream)):
        if number == 0:
            start = _time(frame)
        source.push(frame)
        look()
    source.push(None)
    look()
    end = (times[-1] if times else Fraction(0)) + step
    return Measured(
        black=black.all(start, end), frozen=frozen.all(start, end), cuts=tuple(times[place] for place in _cuts(scores))
    )


def _cuts(scores: Sequence[float]) -> Iterator[int]:
    """The frames at which there is a cut. The first two have nothing before them to be compared with."""
    from statistics import median

    for place, score in enumerate(scores):
        if score < SCORE or place < 2 or score < max(scores[max(0, place - CLOSE) : place + CLOSE + 1]):
            continue
        around = [*scores[max(0, place - NEIGHBOURS) : place], *scores[place + 1 : place + 1 + NEIGHBOURS]]
        if score >= ABOVE * (median(around) if around else 0):
            yield place


def _heard(file: InputContainer) -> tuple[Stretch, ...]:
    """The silent stretches of a file's sound."""
    import av

    stream = file.streams.audio[0]
    graph = av.filter.Graph()
    source = graph.add_abuffer(template=stream)
    quiet = graph.add("silencedetect", f"n={QUIET}dB:d={SILENT}:mono=0")
    sink = graph.add("abuffersink")
    source.link_to(quiet)
    quiet.link_to(sink)
    graph.configure()
    silent = _Stretches("lavfi.silence")
    end = start = Fraction(0)
    for number, frame in enumerate(file.decode(stream)):
        if number == 0:
            start = _time(frame)
        end = _time(frame) - start + Fraction(frame.samples, frame.sample_rate)
        source.push(frame)
        for heard in _pulled(graph):
            silent.note(heard.metadata)
    source.push(None)
    for heard in _pulled(graph):
        silent.note(heard.metadata)
    return silent.all(start, end)


class _Stretches:
    """Collects what a detector notes on frames: `<prefix>_start`, then `<prefix>_end`, or no end at all."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._begun: Fraction | None = None
        self._whole: list[Stretch] = []

    def note(self, notes: Mapping[str, str]) -> None:
        if (end := notes.get(f"{self._prefix}_end")) is not None and self._begun is not None:
            self._whole.append((self._begun, Fraction(end)))
            self._begun = None
        if (begun := notes.get(f"{self._prefix}_start")) is not None:
            self._begun = Fraction(begun)

    def all(self, start: Fraction, end: Fraction) -> tuple[Stretch, ...]:
        """From the start of the clip; the last one may go on to its end."""
        whole = [(a - start, b - start) for a, b in self._whole]
        if self._begun is not None:
            whole.append((self._begun - start, end))
        return tuple((max(a, Fraction(0)), b) for a, b in whole)


def _pulled(graph: Graph) -> Iterator[VideoFrame | AudioFrame]:
    import av

    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _time(frame: VideoFrame | AudioFrame) -> Fraction:
    if frame.pts is None or frame.time_base is None:
        return Fraction(0)
    return frame.pts * frame.time_base


# ── telling ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stretches(word: str, found: Iterable[Stretch], least: float, seconds: Fraction) -> Iterator[str]:
    long = [(a, b) for a, b in found if b - a >= Fraction(str(least))]
    if long and _sum(long) >= NEARLY_ALL * seconds:
        yield f"{word} all the time"
        return
    for a, b in long:
        yield f"{word} from {_said(a)} s to {_said(b)} s"


def _still(found: Measured) -> list[Stretch]:
    """Where nothing moves and there is something to see: black does not move either."""
    return [each for each in found.frozen if not any(_inside(each, black) for black in found.black)]


def _all_silent(found: Measured, media: Mapping[str, Any]) -> bool:
    return bool(found.silent) and _sum(found.silent or ()) >= NEARLY_ALL * Fraction(str(media["duration"]))


def _inside(inner: Stretch, outer: Stretch) -> bool:
    slack = AROUND
    return outer[0] - slack <= inner[0] and inner[1] <= outer[1] + slack


def _sum(stretches: Iterable[Stretch]) -> Fraction:
    return sum((b - a for a, b in stretches), Fraction(0))


def _listed(moments: Sequence[Fraction]) -> str:
    words = [_said(each) for each in moments[:5]]
    return ", ".join(words) + (f" and {len(moments) - 5} more" if len(moments) > 5 else "")


def _said(seconds: Fraction) -> str:
    return f"{float(seconds):.2f}".rstrip("0").rstrip(".")


def _pair(stretch: Stretch) -> list[float]:
    return [_number(stretch[0]), _number(stretch[1])]


def _stretch(pair: Sequence[float]) -> Stretch:
    start, end = pair
    return Fraction(str(start)), Fraction(str(end))


def _number(seconds: Fraction) -> float:
    value = round(float(seconds), 3)
    return int(value) if value == int(value) else value
