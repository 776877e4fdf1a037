"""Subtitles: what is said in a clip, and when. From the dialogue of its shots."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Cue:
    """One subtitle: from when to when, in seconds, its text, and who says it, empty where nobody is named."""

    start: Fraction
    end: Fraction
    text: str
    speaker: str = ""


def of_shots(shots: Sequence[Mapping[str, Any]], start: Fraction, length: Fraction) -> tuple[Cue, ...]:
    """The subtitles of a clip that begins at `start` and is seen for `length`. `shots` are those of the manifest.

    Several lines in one shot share its window by their lengths. Who speaks is not in the text: that is seen.
    """
    found = []
    for shot in shots:
        first, last = (min(Fraction(str(shot[end])), length) for end in ("start", "end"))
        lines = [
            (text, " ".join(line.get("speaker", "").split()))
            for line in shot.get("dialogue", ())
            if (text := " ".join(line["text"].split()))
        ]
        weights = [len(text) for text, _ in lines]
        for number, (text, speaker) in enumerate(lines):
            begin, end = (first + (last - first) * sum(weights[:upto]) / sum(weights) for upto in (number, number + 1))
            if begin < end:
                found.append(Cue(start + begin, start + end, text, speaker))
    return tuple(found)
