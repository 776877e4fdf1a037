"""Local files on their way to a provider: the same file that was planned, each content once, small enough."""

from __future__ import annotations

import asyncio
import hashlib
import io
from typing import TYPE_CHECKING, NamedTuple

from storyrun.errors import NotSent
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from PIL import Image

    from storyrun.records import MediaSource

MOST_PIXELS = 80_000_000
"""Pictures larger than this are not opened: Pillow takes them for a decompression bomb at 89 million."""
SMALLEST = 240
"""Pixels of a side that every model takes."""

MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
"""What a file is by its first bytes; WebP is looked at apart."""


class Once:
    """Does a thing once per key while it lasts, for everybody who asks; what failed is tried again."""

    def __init__(self, lifetime: float | None = None) -> None:
        """`lifetime`: seconds for which a result is good, None for ever."""
        self._lifetime = lifetime
        self._made: dict[object, tuple[float, asyncio.Task[str]]] = {}

    async def get(self, key: object, make: Callable[[], Awaitable[str]]) -> str:
        """The result for `key`, made now if there is none."""
        now = asyncio.get_running_loop().time()
        known = self._made.get(key)
        if known is None or _spent(known[1]) or (self._lifetime is not None and now - known[0] >= self._lifetime):
            task = asyncio.ensure_future(_coroutine(make))
            task.add_done_callback(_spent)
            known = self._made[key] = (now, task)
        return await asyncio.shield(known[1])

    async def aclose(self) -> None:
        """Leave what is under way."""
        tasks = [task for _, task in self._made.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _coroutine(make: Callable[[], Awaitable[str]]) -> str:
    return await make()


def _spent(task: asyncio.Task[str]) -> bool:
    """Whether a task ended without a result; looks at its error, so that nobody has to."""
    return task.done() and (task.cancelled() or task.exception() is not None)


class Picture(NamedTuple):
    """A picture ready to go up. `note` says what was done to it, "" for nothing."""

    data: bytes
    mime: str
    note: str


def check_unchanged(source: MediaSource) -> None:
    """Raise `NotSent` unless a local file is still the one that the plan was made with."""
    try:
        with path_of(source).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NotSent(f"{source.text} cannot be read: {error.strerror or error}", kind=ErrorClass.FILE) from error
    if found != source.sha256:
        raise NotSent(f"{source.text} has changed since the plan was read; run again", kind=ErrorClass.FILE)


def path_of(source: MediaSource) -> Path:
    """Where a local file lies. Raises `NotSent` for a URL: that is sent as it is."""
    if source.path is None:
        raise NotSent(f"{source.text} is no local file", kind=ErrorClass.FILE)
    return source.path


def picture(source: MediaSource, types: frozenset[str], most: int) -> Picture:
    """A picture as one of `types` in at most `most` bytes, encoded anew as JPEG only if it must be.

    Raises `NotSent` for a file that is no picture, has changed, or cannot be made small enough.
    """
    check_unchanged(source)
    data = path_of(source).read_bytes()
    mime = mime_of(data)
    if mime in types and len(data) <= most:
        return Picture(data, mime, "")
    wide, high = source.pixels or (0, 0)
    if wide * high > MOST_PIXELS:
        raise NotSent(f"{source.text} is {wide}x{high} pixels: make it smaller", kind=ErrorClass.FILE)
    why = f"{len(data) / 1048576:.1f} MB" if mime in types else f"{mime.removeprefix('image/') or 'an unknown type'}"
    return Picture(_as_jpeg(source, data, most), "image/jpeg", f"{source.text} is {why}, so a JPEG of it is sent")


def mime_of(data: bytes) -> str:
    """The type of a picture by its first bytes; "image/bmp" and the like for others that start so, else ""."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith(b"BM"):
        return "image/bmp"
    return next((mime for magic, mime in MAGIC.items() if data.startswith(magic)), "")


def _as_jpeg(source: MediaSource, data: bytes, most: int) -> bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = _flat(ImageOps.exif_transpose(opened))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise NotSent(f"{source.text} cannot be opened as a picture: {error}", kind=ErrorClass.FILE) from error
    while True:
        for quality in (92, 85, 75):
            out = io.BytesIO()
            image.save(out, "JPEG", quality=quality, optimize=True)
            if out.tell() <= most:
                return out.getvalue()
        smaller = (image.width * 4 // 5, image.height * 4 // 5)
        if min(smaller) < SMALLEST:
            raise NotSent(f"{source.text} cannot be made smaller than {most} bytes", kind=ErrorClass.FILE)
        image = image.resize(smaller)


def _flat(image: Image.Image) -> Image.Image:
    """Without an alpha channel: what was clear is white."""
    from PIL import Image

    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
