"""Poster frames: one small picture out of the middle of each clip and film, made once and kept in `posters/`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

WIDTH = 480
"""Pixels across; twice that of a card, for fine screens."""

QUALITY = 78
AT_ONCE = 4


def files(manifest: Mapping[str, Any]) -> list[str]:
    """The video files that a manifest names, each once, as it names them."""
    clips = (*manifest["clips"], *manifest["former"])
    return list(dict.fromkeys(clip["file"] for clip in clips if clip["file"]))


def make(run_folder: Path, names: Iterable[str]) -> dict[str, str]:
    """See that every clip has its poster. Clip file to poster, both as seen from `run_folder`.

    Clips whose picture cannot be read here are left out: they may still be what was ordered. Raises OSError when the
    posters cannot be written.
    """
    from concurrent.futures import ThreadPoolExecutor

    wanted = {name: f"posters/{'film-' * name.startswith('films/')}{Path(name).stem}.jpg" for name in names}
    missing = [name for name in wanted if not _there(run_folder / name, run_folder / wanted[name])]
    made = dict.fromkeys(wanted, True)
    if missing:
        (run_folder / "posters").mkdir(parents=True, exist_ok=True)
        pool = ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1))
        try:
            whole = pool.map(lambda name: _make(run_folder / name, run_folder / wanted[name]), missing)
            made |= dict(zip(missing, whole, strict=True))
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C waits for no picture
    return {name: poster for name, poster in wanted.items() if made[name]}


class Darkroom:
    """Makes the posters of one run while its clips arrive; else the page would wait for all of them at the end."""

    def __init__(self, run_folder: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._run_folder = run_folder
        self._pool = ThreadPoolExecutor(1, "posters")

    def develop(self, name: str) -> None:
        """A clip is here, under this name as seen from the run's folder. What fails is made again with the page."""
        self._pool.submit(make, self._run_folder, [name])

    def close(self) -> None:
        """Begin no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _there(clip: Path, poster: Path) -> bool:
    """Whether a poster is there and no older than its clip. An empty one is what a power cut left."""
    try:
        made = poster.stat()
        return made.st_size > 0 and made.st_mtime >= clip.stat().st_mtime
    except OSError:
        return False


def _make(clip: Path, poster: Path) -> bool:
    """Write the poster of one clip; False when there is no picture to be had."""
    import av
    from PIL import Image

    try:
        image = _middle(clip)
    except (av.FFmpegError, FileNotFoundError):
        image = None
    if not isinstance(image, Image.Image):
        return False
    half_made = poster.with_name(f".{poster.name}.{os.getpid()}.new")
    try:
        # No waiting for the disk: what a power cut takes is drawn again.
        image.save(half_made, "JPEG", quality=QUALITY, optimize=True, progressive=True)
        half_made.replace(poster)
    finally:
        half_made.unlink(missing_ok=True)
    return True


def _middle(clip: Path) -> Any:
    """The very frame in the middle of a clip, `WIDTH` pixels across, as a Pillow image; None where there is none.

    Seeks to the key frame before it and decodes from there: a seek alone would land seconds away.
    """
    import av

    with av.open(str(clip), metadata_errors="replace") as container:
        if not container.streams.video:
            return None
        stream = container.streams.video[0]
        if not stream.codec_context:  # None, whatever the types say, where there is no decoder
            return None
        stream.thread_count = 1
        start = stream.start_time or 0
        length = stream.duration or 0
        target = start + length // 2
        container.seek(target, stream=stream, backward=True)
        last = None
        for frame in container.decode(stream):
            if last is not None and frame.pts is not None and frame.pts > target:
                break
            last = frame
        if last is None:
            return None
        height = max(2, round(WIDTH * last.height / last.width))
        return last.reformat(WIDTH, height, "rgb24", interpolation="AREA").to_image()  # type: ignore[no-untyped-call]
