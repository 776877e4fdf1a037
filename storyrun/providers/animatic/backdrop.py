"""What moves when the camera moves: marks in space on a plain card, the picture itself where there is one."""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyrun.errors import FetchFailed
from storyrun.providers.animatic.planes import Planes, level, planes
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from PIL.Image import Image

    from storyrun.providers.animatic.layout import Box, Leaf, Sheet
    from storyrun.providers.animatic.moves import View
    from storyrun.providers.animatic.planes import Canvas, Colour

_PHASES = 4
"""Steps within a pixel in which a mark is drawn, so that slow moves do not jerk."""


class Marks:
    """Small crosses at two depths behind the texts of a plain card. They follow the camera like things in a room."""

    def __init__(self, sheet: Sheet, still: Planes, ground: Colour, framing: str, leaf: Leaf) -> None:
        self._sheet = sheet
        self._still = still.y
        self._ground = level(ground)[0]
        self._texts = [sheet.edge(leaf), *map(sheet.box, leaf.lines)]
        self._panels = [(panel, still.y.crop(panel)) for panel in leaf.panels]
        step = 200 * sheet.unit * _closeness(framing)
        self._points = [
            (depth, tuple(product(_lattice(step, shift, sheet.width), _lattice(step, shift, sheet.bar))))
            for depth, shift in ((0.55, 0.0), (1.0, 0.5))
        ]

    def draw(self, canvas: Canvas, view: View) -> None:
        """The marks as seen now, behind the texts."""
        from PIL import ImageChops

        # One copy and a few small pastes: much cheaper than putting back what each mark has left.
        seen = canvas.planes.y
        seen.paste(self._still, (0, 0))
        for mark, bright, (left, top, right, bottom) in self._placed(view):
            box = (left, top, right, bottom)
            if any(left < x1 and x0 < right and top < y1 and y0 < bottom for x0, y0, x1, y1 in self._texts):
                under = seen.crop(box)
                over = under.copy()
                over.paste(bright, None, mark)
                seen.paste(ImageChops.lighter(under, over), box)
            else:
                seen.paste(bright, box, mark)
        for panel, tile in self._panels:
            seen.paste(tile, panel)

    def _placed(self, view: View) -> Iterator[tuple[Image, int, Box]]:
        """Every mark in sight: its shape, how bright it is, and where it goes."""
        sheet = self._sheet
        middle = (sheet.width / 2, sheet.bar / 2)
        room = 1 - 1 / view.zoom
        cos, sin = math.cos(math.radians(view.roll)), math.sin(math.radians(view.roll))
        for depth, points in self._points:
            scale = view.zoom ** (2 * depth)
            shift = (-view.x * room * sheet.width * depth, view.y * room * sheet.bar * depth)
            arm = round(sheet.unit * (3 + 5 * depth) * scale * 4) / 4
            side = 2 * int(arm) + 4
            bright = self._ground + (26 if depth == 1.0 else 16)
            for x, y in points:
                from_x, from_y = (x + shift[0]) * scale, (y + shift[1]) * scale
                at_x, at_y = middle[0] + from_x * cos - from_y * sin, middle[1] + from_x * sin + from_y * cos
                left, top = int(at_x) - side // 2, int(at_y) - side // 2
                if 0 <= left < sheet.width - side and 0 <= top < sheet.bar - side:
                    phases = int(at_x % 1 * _PHASES), int(at_y % 1 * _PHASES)
                    mark = _mark(arm, side, max(1.0, 1.6 * sheet.unit), phases)
                    yield mark, bright, (left, top, left + side, top + side)


def _closeness(framing: str) -> float:
    """How large things look: close-ups have few large marks, wide shots many small ones."""
    words = framing.lower()
    if "close" in words or "macro" in words or "insert" in words:
        return 1.4
    return 0.8 if any(word in words for word in ("wide", "long", "establish", "aerial")) else 1.0


def _lattice(step: float, shift: float, length: int) -> list[float]:
    """Places around the middle and beyond each edge, so that a camera that moves finds more."""
    count = int(0.75 * length / step) + 1
    return [(number + shift) * step for number in range(-count, count + 1)]


@lru_cache(maxsize=4096)
def _mark(arm: float, side: int, thick: float, phases: tuple[int, int]) -> Image:
    """The shape of a cross with soft edges, its middle so many quarters of a pixel beyond the middle of the tile."""
    from PIL import Image

    def cover(middle: float, reach: float) -> list[float]:
        """How much of each pixel a bar covers."""
        return [max(0.0, min(at + 1, middle + reach) - max(at, middle - reach)) for at in range(side)]

    def row(thin: float, long: float) -> bytes:
        return bytes(round(255 * min(1.0, max(a * thin, b * long))) for a, b in zip(long_x, thin_x, strict=True))

    x, y = (side // 2 + phase / _PHASES for phase in phases)
    long_x, thin_x = cover(x, arm), cover(x, thick / 2)
    kinds = list(zip(cover(y, thick / 2), cover(y, arm), strict=True))
    rows = {kind: row(*kind) for kind in set(kinds)}
    return Image.frombytes("L", (side, side), b"".join(rows[kind] for kind in kinds))


def seen(picture: Planes, sheet: Sheet, view: View) -> Planes:
    """What the camera sees of a picture that fills the frame, down to the bar."""
    part = sheet.bar / sheet.height
    return Planes(
        _window(picture.y, (sheet.width, sheet.bar), part, view),
        _window(picture.u, (sheet.width // 2, sheet.bar // 2), part, view),
        _window(picture.v, (sheet.width // 2, sheet.bar // 2), part, view),
    )


def _window(plane: Image, size: tuple[int, int], part: float, view: View) -> Image:
    """The upper `part` of what is seen of a plane, at a size in pixels.

    The nearest pixel will do: planes are kept at twice the size they are seen at, and this takes a sixth of the time.
    """
    from PIL import Image

    wide, high = plane.width / view.zoom, plane.height / view.zoom
    left = (plane.width - wide) * (1 + view.x) / 2
    top = (plane.height - high) * (1 - view.y) / 2
    if not view.roll:
        return plane.resize(size, Image.Resampling.NEAREST, box=(left, top, left + wide, top + high * part))
    # A rolled camera turns what it sees about the middle of the frame.
    across, down = wide / size[0], high * part / size[1]
    cos, sin = math.cos(math.radians(view.roll)), math.sin(math.radians(view.roll))
    x, y = left + wide / 2, top + high / 2
    half_wide, half_high = wide / 2, high / 2
    rows = (
        (across * cos, down * sin, x - cos * half_wide - sin * half_high),
        (-across * sin, down * cos, y + sin * half_wide - cos * half_high),
    )
    return plane.transform(size, Image.Transform.AFFINE, (*rows[0], *rows[1]), Image.Resampling.NEAREST)


def plate(media: Mapping[str, Any], folder: Path, size: tuple[int, int]) -> Planes:
    """A local picture that fills a frame of a size, kept at twice that size.

    Raises `FetchFailed` when it is gone, changed or no picture.
    """
    from io import BytesIO

    from PIL import Image, ImageOps

    data = content(media, folder)
    try:
        with Image.open(BytesIO(data)) as opened:
            opened.draft("RGB", (size[0] * 2, size[1] * 2))
            image = ImageOps.exif_transpose(opened)
            if image.has_transparency_data:
                ground = Image.new("RGBA", image.size, (40, 42, 48, 255))
                image = Image.alpha_composite(ground, image.convert("RGBA"))
            image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FetchFailed(f"{media['text']} cannot be read as a picture ({error})", kind=ErrorClass.FILE) from error
    # A little finer than the frame, for a camera that comes closer, and not more: the nearest pixel would flicker.
    y, u, v = planes(_filled(image, (size[0] * 5 // 4, size[1] * 5 // 4)))
    large = (size[0] * 2, size[1] * 2)
    return Planes(*(plane.resize(to, Image.Resampling.BILINEAR) for plane, to in ((y, large), (u, size), (v, size))))


def _filled(image: Image, size: tuple[int, int]) -> Image:
    """The picture on the whole frame: cut where the shapes are close, else whole on a blurred one of itself."""
    from PIL import Image, ImageEnhance, ImageFilter, ImageOps

    shapes = sorted((image.width / image.height, size[0] / size[1]))
    filled = ImageOps.fit(image, size, Image.Resampling.BICUBIC, centering=(0.5, 0.35))
    if shapes[1] / shapes[0] <= 1.5:
        return filled
    small = filled.resize((max(1, size[0] // 8), max(1, size[1] // 8)), Image.Resampling.BILINEAR)
    behind = small.filter(ImageFilter.GaussianBlur(max(size) / 200)).resize(size, Image.Resampling.BICUBIC)
    behind = ImageEnhance.Brightness(behind).enhance(0.45)
    whole = ImageOps.contain(image, size, Image.Resampling.BICUBIC)
    behind.paste(whole, ((size[0] - whole.width) // 2, (size[1] - whole.height) * 3 // 10))
    return behind


def content(media: Mapping[str, Any], folder: Path) -> bytes:
    """The bytes of a local file of the job, as they were when it was planned."""
    try:
        data = Path(folder, media["text"]).read_bytes()
    except OSError as error:
        raise FetchFailed(f"{media['text']} cannot be read ({error.strerror})", kind=ErrorClass.FILE) from error
    if hashlib.sha256(data).hexdigest() != media["sha256"]:
        raise FetchFailed(f"{media['text']} has changed since the clip was ordered", kind=ErrorClass.FILE)
    return data
