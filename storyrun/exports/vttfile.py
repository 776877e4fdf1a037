"""WebVTT subtitles (`.vtt`), with the speaker as the voice of each line (W3C WebVTT 4.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun.exports import subtitles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from storyrun.exports.layout import Layout


def content(films: Sequence[Layout], target: Path) -> tuple[bytes | None, tuple[str, ...]]:
    """What is said in a film; None when nobody says anything."""
    import webvtt

    file = webvtt.WebVTT()
    for cue in subtitles.spoken(films):
        start, end = map(_clock, subtitles.milliseconds(cue))
        text = _escaped(cue.text)
        voice = _escaped(cue.speaker)
        file.captions.append(webvtt.Caption(start, end, f"<v {voice}>{text}" if voice else text))
    text = file.content.rstrip("\n") + "\n"
    return (text.encode(), ()) if file.captions else (None, (subtitles.NOBODY,))


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"


def _escaped(text: str) -> str:
    """A text in which nothing is a tag or an arrow."""
    from html import escape

    return escape(subtitles.line(text), quote=False)
