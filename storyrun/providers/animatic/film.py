"""From a brief to an MP4: every frame of an animatic, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun import media
from storyrun.providers.animatic import brief as briefs
from storyrun.providers.animatic import moves, sound
from storyrun.providers.animatic.backdrop import Marks, content, plate, seen
from storyrun.providers.animatic.drawing import Bar, Pen, tint
from storyrun.providers.animatic.layout import Sheet
from storyrun.providers.animatic.planes import Canvas, Planes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from storyrun.providers.animatic.brief import Brief
    from storyrun.providers.animatic.fonts import Fonts
    from storyrun.providers.animatic.layout import Leaf


class Stopped(Exception):
    """Somebody asked to stop before the last frame."""


def render(
    job: Mapping[str, Any], folder: Path, part: Path, fonts: Fonts, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Draw a job (its JSON form) into the MP4 file `part`. `folder` is where local paths start.

    Raises `FetchFailed` for a local file that is gone, changed or unreadable, `Stopped` when `stopped` says so, and
    `OSError` when the disk does.
    """
    brief = briefs.read(job)
    typeface = fonts.for_texts(brief.texts)
    pictures = _Pictures(brief, folder)
    heard = _heard(brief, folder) if brief.sounding else b""
    sheet = Sheet(brief.size, typeface.width, picture=bool(pictures))
    pen = Pen(sheet, typeface)
    bar = Bar(sheet, typeface, brief)
    canvas = Canvas(brief.size)
    bar.start(canvas)
    quality = 26 if pictures else 20
    with media.Film(part, brief.size, brief.rate, sound=brief.sounding, quality=quality, sharp=not pictures) as film:
        played = 0
        for leaf in sheet.leaves(brief):
            first = brief.cuts[leaf.cut].first
            for frame in _over(pictures, leaf, pen, canvas) if pictures else _plain(brief, leaf, pen, canvas):
                if stopped():
                    raise Stopped
                bar.update(canvas, frame)
                film.add_frame(canvas.frame, cut=frame == first)
                if heard and (frame + 1) % round(brief.rate) == 0:
                    upto = round((frame + 1) / brief.rate * media.SAMPLE_RATE) * 4
                    film.add_sound(heard[played:upto])
                    played = upto
        film.add_sound(heard[played:])


def _heard(brief: Brief, folder: Path) -> bytes:
    """All of the sound: a local file, else a tick on each cut."""
    samples = round(brief.frames / brief.rate * media.SAMPLE_RATE)
    if brief.audio:
        return sound.of_file(content(brief.audio, folder), brief.audio["text"], samples)
    return sound.ticks((float(cut.first / brief.rate) for cut in brief.cuts[1:]), samples)


def _view(brief: Brief, leaf: Leaf, move: moves.Move, frame: int) -> moves.View:
    """Where a shot's camera is at a frame."""
    cut = brief.cuts[leaf.cut]
    since = frame - cut.first
    return move.at(since / max(1, cut.last - cut.first - 1), float(since / brief.rate))


def _plain(brief: Brief, leaf: Leaf, pen: Pen, canvas: Canvas) -> Iterator[int]:
    """The frames of a leaf without a picture, each on the canvas when it is given out."""
    cut = brief.cuts[leaf.cut]
    move = moves.read(cut.camera)
    still = pen.plain(leaf)
    canvas.show(still)
    marks = Marks(pen.sheet, still, tint(leaf.cut)[0], cut.framing, leaf)
    # Marks move on every second frame, as drawings in animation do; it saves a fifth of the time.
    every = max(1, round(brief.rate / 15))
    for frame in range(leaf.first, leaf.last):
        if frame == leaf.first or (not move.still and frame % every == 0):
            marks.draw(canvas, _view(brief, leaf, move, frame))
        yield frame


def _over(pictures: _Pictures, leaf: Leaf, pen: Pen, canvas: Canvas) -> Iterator[int]:
    """The frames of a leaf with a picture under its texts, each on the canvas when it is given out."""
    brief = pictures.brief
    move = moves.read(brief.cuts[leaf.cut].camera)
    overlay = pen.overlay(leaf)
    for frame in range(leaf.first, leaf.last):
        if frame == leaf.first or not move.still or pictures.faded(frame):
            canvas.show(pictures.seen(leaf, frame, pen.sheet, _view(brief, leaf, move, frame)))
            overlay.lay(canvas)
        yield frame


class _Pictures:
    """The local pictures of a job, and which of them lies under a frame."""

    def __init__(self, brief: Brief, folder: Path) -> None:
        self.brief = brief
        images = [brief.first_frame, brief.last_frame, *(image for _, image in brief.references)]
        self._plates = {image["text"]: plate(image, folder, brief.size) for image in images if image}

    def __bool__(self) -> bool:
        return bool(self._plates)

    def seen(self, leaf: Leaf, frame: int, sheet: Sheet, view: moves.View) -> Planes:
        """The picture of a frame, down to the bar."""
        from PIL import Image

        below = seen(self._plates[self._named(leaf)], sheet, view)
        part = self.faded(frame)
        if not part or not self.brief.last_frame:
            return below
        last = seen(self._plates[self.brief.last_frame["text"]], sheet, moves.View())
        return Planes(*(Image.blend(*pair, part) for pair in zip(below, last, strict=True)))

    def faded(self, frame: int) -> float:
        """How much of the last frame is seen: it comes in over the final second."""
        if not self.brief.last_frame:
            return 0.0
        second = max(1, min(round(self.brief.rate), self.brief.frames // 2))
        return max(0.0, (frame + 1 - self.brief.frames + second) / second)

    def _named(self, leaf: Leaf) -> str:
        """The first shot starts on the first frame; another shows the reference that it names, else the first one."""
        brief = self.brief
        named = brief.cuts[leaf.cut].references
        others = [image for name, image in brief.references if name in named]
        others += [image for _, image in brief.references]
        own = [brief.first_frame] if leaf.cut == 0 else []
        name: str = next(image["text"] for image in [*own, *others, brief.first_frame, brief.last_frame] if image)
        return name
