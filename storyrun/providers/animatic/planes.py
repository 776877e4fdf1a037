"""Pictures as video keeps them: a plane of brightness and two of colour at half the size (yuv420p, BT.709, 16 to 235).

These are the bytes that the encoder reads, and Pillow draws in them. What stands still is converted once.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from av.video.plane import VideoPlane
    from PIL.Image import Image

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""

# Rows of the conversion from RGB: Y', Cb and Cr of ITU-R BT.709 in 8 bits, with their offsets.
# Recommendation ITU-R BT.709-6, items 3.2 to 3.5: https://www.itu.int/rec/R-REC-BT.709
_Y = (0.2126 * 219 / 255, 0.7152 * 219 / 255, 0.0722 * 219 / 255, 16.0)
_B = tuple(224 / 255 * part / 1.8556 for part in (-0.2126, -0.7152, 1 - 0.0722))
_R = tuple(224 / 255 * part / 1.5748 for part in (1 - 0.2126, -0.7152, -0.0722))
_MATRIX = (*_Y, *_B, 128.0, *_R, 128.0)


class Planes(NamedTuple):
    """Three grey pictures: brightness, and blue and red difference at half the width and height."""

    y: Image
    u: Image
    v: Image


def planes(image: Image) -> Planes:
    """A picture of even width and height: RGB, or YCbCr already in our levels."""
    y, u, v = (image if image.mode == "YCbCr" else image.convert("RGB", _MATRIX)).split()
    return Planes(y, u.reduce(2), v.reduce(2))


def level(colour: Colour) -> Colour:
    """One colour as (Y', Cb, Cr)."""
    rows = (_MATRIX[0:4], _MATRIX[4:8], _MATRIX[8:12])
    y, u, v = (round(sum(part * weight for part, weight in zip((*colour, 1.0), row, strict=True))) for row in rows)
    return y, u, v


class Overlay:
    """Something half transparent that is laid over many frames. Only the rows that it covers are touched."""

    def __init__(self, image: Image) -> None:
        """From an RGBA picture of even width and height."""
        from PIL.Image import Resampling

        alpha = image.getchannel("A")
        masks = (alpha, *[alpha.reduce(2)] * 2)
        layers = list(zip(planes(image.convert("RGB")), masks, strict=True))
        covered = alpha.reduce((1, 2)).resize((1, image.height // 2), Resampling.BOX).tobytes()
        self._bands: list[tuple[int, list[tuple[Image, Image]]]] = []
        for first, last in _runs(covered):
            cut = [_rows(layer, 1 if number else 2, first, last) for number, layer in enumerate(layers)]
            self._bands.append((first, cut))

    def lay(self, canvas: Canvas) -> None:
        """Over what is on the canvas."""
        for first, pieces in self._bands:
            for number, (piece, mask) in enumerate(pieces):
                canvas.planes[number].paste(piece, (0, first if number else 2 * first), mask)


def _runs(values: bytes) -> list[tuple[int, int]]:
    """Where values other than 0 stand together: the first, and one after the last."""
    edges = [at for at, (before, value) in enumerate(pairwise((0, *values, 0))) if bool(before) != bool(value)]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _rows(layer: tuple[Image, Image], scale: int, first: int, last: int) -> tuple[Image, Image]:
    """The same rows of a plane and its mask."""
    plane, mask = layer
    box = (0, scale * first, plane.width, scale * last)
    return plane.crop(box), mask.crop(box)


class Canvas:
    """One frame that is changed in place and encoded over and over. Pillow draws straight into its memory."""

    def __init__(self, size: tuple[int, int]) -> None:
        from av import VideoFrame

        self.frame = VideoFrame(*size, "yuv420p")
        self.planes = Planes(*(_mapped(plane) for plane in self.frame.planes))

    def show(self, picture: Planes, x: int = 0, y: int = 0) -> None:
        """Put a picture at an even place."""
        for number, (target, plane) in enumerate(zip(self.planes, picture, strict=True)):
            target.paste(plane, (x >> (number > 0), y >> (number > 0)))


def _mapped(plane: VideoPlane) -> Image:
    """A plane of a video frame as a picture on the same memory."""
    from PIL import Image

    memory: Any = memoryview(plane)
    image = Image.frombuffer("L", (plane.width, plane.height), memory, "raw", "L", plane.line_size, 1)
    image.readonly = 0  # without this Pillow would draw on a copy
    return image
