"""SubRip subtitles (`.srt`), with the speaker in front of each line."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from storyrun.exports import subtitles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from storyrun.exports.layout import Layout


def content(films: Sequence[Layout], target: Path) -> tuple[bytes | None, tuple[str, ...]]:
    """What is said in a film; None when nobody says anything."""
    import srt

    said = []
    for number, cue in enumerate(subtitles.spoken(films), 1):
        start, end = (timedelta(milliseconds=at) for at in subtitles.milliseconds(cue))
        text = subtitles.line(f"{cue.speaker}: {cue.text}" if cue.speaker else cue.text)
        said.append(srt.Subtitle(number, start, end, text))
    return (srt.compose(said).encode(), ()) if said else (None, (subtitles.NOBODY,))
