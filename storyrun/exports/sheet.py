"""`contact-sheet.jpg`: every clip of a plan in one picture, for a mail or a wall.

Each clip is there once, with the take that counts: the picked one, else the first that is done. A clip that is not
there is a card with the reason. At most `HIGHEST` pixels high: many clips make small pictures.
"""

from __future__ import annotations

import os
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyrun import folder
from storyrun.exports import posters as pictures
from storyrun.exports.report.view import group_id
from storyrun.exports.report.words import harmless, seconds, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

    from storyrun.exports.report import Standing

    Clip = Mapping[str, Any]

NAME = "contact-sheet.jpg"
HIGHEST = 5000
WIDTH = 2000
MARGIN, GAP = 48, 20
TILES = (460, 360, 300, 240, 190, 150, 118)
"""Widths of a picture that are tried, from the largest."""

FONTS = Path(__file__).parents[1] / "fonts"
PAPER, INK, SOFT, SCREEN, WELL = "#f6f5f2", "#1b1a18", "#5f5b54", "#17161a", "#e9e6df"
TONES = {"done": "#1d6b3f", "failed": "#a4201c", "refused": "#a4201c", "expired": "#a4201c", "unclear": "#a4201c"}
"""Colour of a standing's word; all others are brown."""


def write(
    manifest: Mapping[str, Any],
    run_folder: Path,
    *,
    standing: Callable[[Clip], Standing],
    shown: frozenset[str] | None = None,
) -> Path | None:
    """Draw the sheet into the folder of the run, and make the posters that it lacks; returns its path.

    None, and no file, when there is no clip to show. Raises `LedgerError` or OSError when it cannot be written.
    """
    clips = chosen([clip for clip in manifest["clips"] if shown is None or clip["id"] in shown])
    target = run_folder / NAME
    if not clips:
        target.unlink(missing_ok=True)
        return None
    posters = pictures.make(run_folder, [clip["file"] for clip in clips if clip["file"]])
    image = draw(manifest, clips, {name: run_folder / poster for name, poster in posters.items()}, standing)
    data = BytesIO()
    image.save(data, "JPEG", quality=84, optimize=True, progressive=True)
    folder.write_atomically(target, data.getvalue())
    return target


def chosen(clips: Sequence[Clip]) -> list[Clip]:
    """Of each clip the take to show: the picked one, else the first that is done, else the first."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(group_id(clip), []).append(clip)
    return [
        min(takes, key=lambda clip: (not clip["picked"], clip["status"] != "done", clip["take"]))
        for takes in groups.values()
    ]


def draw(
    manifest: Mapping[str, Any],
    clips: Sequence[Clip],
    posters: Mapping[str, Path],
    standing: Callable[[Clip], Standing],
) -> Image:
    """The sheet of these clips. `posters`: clip file to picture."""
    from PIL import Image, ImageDraw

    upright = sum(_upright(clip) for clip in clips) * 2 > len(clips)
    columns, tile, high, caption = _layout(len(clips), upright)
    rows = -(-len(clips) // columns)
    head = 150
    width = max(columns * (tile + GAP) - GAP, 900) + 2 * MARGIN
    sheet = Image.new("RGB", (width, head + rows * (high + caption + GAP) - GAP + MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    _line(pen, MARGIN, 88, manifest["storyboard"]["title"], 44, INK, width - 2 * MARGIN, bold=True)
    _line(pen, MARGIN, 124, _told(manifest, clips), 22, SOFT, width - 2 * MARGIN)
    for number, clip in enumerate(clips):
        x = MARGIN + number % columns * (tile + GAP)
        y = head + number // columns * (high + caption + GAP)
        _tile(sheet, pen, clip, posters.get(clip["file"] or ""), standing(clip), (x, y, tile, high))
    return sheet


def _upright(clip: Clip) -> bool:
    shape = clip["media"] or clip["ordered"]
    return bool(shape["height"]) and shape["height"] > shape["width"]


def _layout(count: int, upright: bool) -> tuple[int, int, int, int]:
    """Columns, then width and height of a picture and the height of what stands below it."""
    for tile in TILES:
        columns = min(count, (WIDTH - 2 * MARGIN + GAP) // (tile + GAP))
        high = tile * 5 // 4 if upright else tile * 9 // 16
        caption = round(2.9 * _size(tile))
        if 150 + -(-count // columns) * (high + caption + GAP) + MARGIN <= HIGHEST:
            break
    else:  # thousands: the sheet becomes wider
        columns = -(-count // ((HIGHEST - 150 - MARGIN) // (high + caption + GAP)))
    return columns, tile, high, caption


def _size(tile: int) -> int:
    """Pixels of the letters below a picture."""
    return max(11, min(20, tile // 17))


def _told(manifest: Mapping[str, Any], clips: Sequence[Clip]) -> str:
    done = sum(clip["status"] == "done" for clip in clips)
    plural = "" if len(clips) == 1 else "s"
    whole = f"{len(clips)} clip{plural}" if done == len(clips) else f"{done} of {len(clips)} clip{plural} here"
    return f"{manifest['provider']}, {whole}, {manifest['finished_at'] or manifest['started_at']}"


def _tile(
    sheet: Image, pen: ImageDraw, clip: Clip, poster: Path | None, stands: Standing, box: tuple[int, int, int, int]
) -> None:
    """One clip: its picture, or why there is none, then its id, its length and how it stands."""
    x, y, tile, high = box
    size = _size(tile)
    picture = _picture(poster, (tile, high)) if poster else None
    colour = TONES.get(stands.kind, "#7d4f00")
    if picture is not None:
        pen.rectangle((x, y, x + tile - 1, y + high - 1), fill=SCREEN)
        sheet.paste(picture, (x + (tile - picture.width) // 2, y + (high - picture.height) // 2))
    else:
        pen.rectangle((x, y, x + tile - 1, y + high - 1), fill=WELL)
        error = clip["error"] or {}
        reason = ": ".join(part for part in (error.get("code"), error.get("message")) if part) or stands.say
        room = tile - size
        baseline = y + 2 * size
        _line(pen, x + size // 2, baseline, stands.word, round(size * 1.3), colour, room, bold=True)
        for line in _wrapped(reason or clip["prompt"], size, room, most=(high - 3 * size) // round(size * 1.4)):
            baseline += round(size * 1.4)
            _line(pen, x + size // 2, baseline, line, size, SOFT, room)
    told = seconds((clip["media"] or {}).get("duration") or clip["ordered"]["seconds"])
    word = f"{stands.word}, not as ordered" if clip["problems"] else stands.word
    if clip["problems"]:
        colour = "#7d4f00"
    star = "★ " if clip["picked"] else ""
    name = f"{star}{clip['id']}"
    if _font(size, bold=True).getlength(harmless(name)) > tile:  # what tells clips apart stands at the end of an id
        name = star + " ".join([clip["scene"], *clip["variant"].values(), *([f"#{clip['take']}"] * (clip["take"] > 1))])
    _line(pen, x, y + high + round(1.25 * size), name, size, INK, tile, bold=True)
    end = _line(pen, x, y + high + round(2.55 * size), f"{told}  ", size, SOFT, tile)
    _line(pen, end, y + high + round(2.55 * size), word, size, colour, x + tile - end)


def _picture(poster: Path, room: tuple[int, int]) -> Image | None:
    """A poster made to fit; None when its file is gone or no picture."""
    from PIL import Image

    try:
        with Image.open(poster) as image:
            image.draft("RGB", room)
            scale = min(room[0] / image.width, room[1] / image.height)
            size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
            return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    except OSError:
        return None


def _line(
    pen: ImageDraw, x: float, baseline: float, text: str, size: int, ink: str, room: float, *, bold: bool = False
) -> float:
    """Write on one line, cut to `room` pixels; returns where it ends."""
    font = _font(size, bold)
    text = shortened(harmless(text), 400) + (" " * (len(text) - len(text.rstrip())))
    if font.getlength(text) > room:
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if font.getlength(f"{text[:middle]}…") <= room else (low, middle - 1)
        text = f"{text[:low].rstrip()}…"
    pen.text((x, baseline), text, fill=ink, font=font, anchor="ls")
    return x + font.getlength(text)


def _wrapped(text: str, size: int, room: float, most: int) -> list[str]:
    """A text in lines of `room` pixels, at most `most` of them; long words are left to be cut."""
    font = _font(size, bold=False)
    lines: list[str] = []
    for word in shortened(harmless(text), 400).split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if 0 < most < len(lines):
        lines[most - 1 :] = [" ".join(lines[most - 1 :])]
    return lines[: max(0, most)]


@lru_cache(maxsize=32)
def _font(size: int, bold: bool) -> FreeTypeFont:
    """The font that storyrun ships. What it lacks, Chinese say, is drawn as boxes: the page has the text."""
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(os.fspath(FONTS / name), size, layout_engine=ImageFont.Layout.BASIC)
