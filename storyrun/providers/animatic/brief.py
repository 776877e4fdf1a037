"""What is to be drawn: a job's JSON form in whole frames, with nothing of money and models left in it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIUM = (1280, 720)
"""Pixels where neither the job nor a picture says how many."""


@dataclass(frozen=True)
class Cut:
    """A shot in frames: `first` to before `last`. `dialogue` is (speaker or "", text) pairs."""

    number: int
    first: int
    last: int
    framing: str
    camera: str
    action: str
    dialogue: tuple[tuple[str, str], ...]
    sound: str
    references: tuple[str, ...] = ()
    """Names of the references in its texts."""


@dataclass(frozen=True)
class Brief:
    """A clip to draw. Media are as in the job: {"text", "kind", "sha256", ...}; only local ones are in here."""

    size: tuple[int, int]
    rate: Fraction
    frames: int
    scene: str
    shots: int
    """How many shots the scene shows in this clip."""
    label: str
    """Axis values and take, for people: "Tokyo · wide · take 2"."""
    cuts: tuple[Cut, ...]
    sounding: bool
    first_frame: Mapping[str, Any] | None
    last_frame: Mapping[str, Any] | None
    references: tuple[tuple[str, Mapping[str, Any]], ...]
    """(what the prompt calls it, its first local image)."""
    audio: Mapping[str, Any] | None

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that will be written on the picture."""
        spoken = (part for cut in self.cuts for pair in cut.dialogue for part in pair)
        told = (part for cut in self.cuts for part in (cut.framing, cut.camera, cut.action, cut.sound))
        return (self.scene, self.label, *told, *spoken)


def read(job: Mapping[str, Any]) -> Brief:
    """The brief of a job in its JSON form (see `jobs.as_dict`)."""
    rate = Fraction(job["frame_rate"])
    frames = max(1, round(Fraction(str(job["length"])) * rate))
    take = job.get("take", 1)
    label = " · ".join([*job.get("variant", {}).values(), *([f"take {take}"] if take > 1 else [])])
    return Brief(
        size=_size(job),
        rate=rate,
        frames=frames,
        scene=job["scene"],
        shots=len(job["shots"]),
        label=label,
        cuts=_cuts(job["shots"], rate, frames),
        sounding=job.get("sounding", True),
        first_frame=_local(job.get("first_frame")),
        last_frame=_local(job.get("last_frame")),
        references=tuple(
            (reference["name"], image)
            for reference in job.get("references", ())
            if (image := next(filter(_is_picture, reference["media"]), None))
        ),
        audio=_local(job.get("audio_file")),
    )


def timecode(frame: int, rate: Fraction) -> str:
    """HH:MM:SS:FF, counting whole frames. A rate such as 30000/1001 counts 30, as editing programs do."""
    count = max(1, round(rate))
    seconds, part = divmod(frame, count)
    digits = max(2, len(str(count - 1)))
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{part:0{digits}}"


def _cuts(shots: list[Mapping[str, Any]], rate: Fraction, frames: int) -> tuple[Cut, ...]:
    """Shots in frames. One that is too short for a frame is not seen; the last one lasts until the end."""
    starts = [0, *(min(frames, round(Fraction(str(shot["start"])) * rate)) for shot in shots[1:])]
    cuts = []
    for shot, first, last in zip(shots, starts, [*starts[1:], frames], strict=True):
        if first < last:
            cuts.append(
                Cut(
                    number=shot["index"],
                    first=first,
                    last=last,
                    framing=_line(shot.get("framing", "")),
                    camera=_line(shot.get("camera", "")),
                    action=_line(shot.get("action", "")),
                    dialogue=tuple(
                        (_line(line.get("speaker", "")), _line(line["text"])) for line in shot.get("dialogue", ())
                    ),
                    sound=_line(shot.get("sound", "")),
                    references=tuple(shot.get("references", ())),
                )
            )
    return tuple(cuts)


def _line(text: str) -> str:
    return " ".join(text.split())


def _local(media: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Media that lie on this machine; a URL is not fetched for a preview."""
    return media if media and "sha256" in media else None


def _is_picture(media: Mapping[str, Any]) -> bool:
    return media["kind"] == "image" and "sha256" in media


def _size(job: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels of the clip, even. Where the job does not know them, the first frame's shape in a medium size."""
    if "width" in job:
        return job["width"] + job["width"] % 2, job["height"] + job["height"] % 2
    across, down = job.get("first_frame", {}).get("pixels") or MEDIUM
    scale = sqrt(MEDIUM[0] * MEDIUM[1] / (across * down))
    return max(2, 2 * round(across * scale / 2)), max(2, 2 * round(down * scale / 2))
