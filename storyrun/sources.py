"""Files and URLs that a plan refers to: where they are, whether they may be used, and what they really are.

A plan may only name files inside its own folder: a storyboard from the internet must not be able to upload
`~/.ssh/id_rsa` as a reference picture. What a file is, is decided by its first bytes and not by its name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from storyrun.records import MediaSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.records import MediaKind

CODES = {
    "SR170": "a file is missing",
    "SR171": "a file lies outside the plan's folder",
    "SR172": "a file is not what its name or its place claims",
    "SR173": "a URL that cannot be used: only https is taken",
    "SR174": "the kind of a reference cannot be told from its extension",
}

EXTENSIONS: dict[str, MediaKind] = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"), "image"),
    **dict.fromkeys((".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi"), "video"),
    **dict.fromkeys((".mp3", ".wav", ".m4a", ".aac", ".flac", ".ogg"), "audio"),
}
ARTICLE = {"image": "an image", "video": "a video", "audio": "an audio file"}


class SourceFault(Exception):
    """Why a file or URL cannot be used: a problem code, a sentence, a hint."""

    def __init__(self, code: str, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.hint = hint


def is_url(text: str) -> bool:
    """Whether a text names something on the network rather than a file beside the plan."""
    return "://" in text or text.startswith("data:")


def kind_by_name(text: str) -> MediaKind | None:
    """What a path or URL is by its extension; None when the extension says nothing."""
    path = urlsplit(text).path if is_url(text) else text
    return EXTENSIONS.get(PurePosixPath(path).suffix.lower())


def inside(folder: Path, text: str) -> Path:
    """The existing file that `text` names beside the plan. Raises `SourceFault`, also for a way out of the folder."""
    if not text.strip() or "\0" in text:
        raise SourceFault("SR170", f"`{text}` is not a path")
    root = folder.resolve()
    try:
        found = (root / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceFault("SR170", f"{text} cannot be opened: {error}") from None
    if not found.is_relative_to(root):
        raise SourceFault(
            "SR171", f"{text} lies outside the plan's folder", "copy the file beside the plan and name it from there"
        )
    if not found.is_file():
        if found.is_dir():
            raise SourceFault("SR170", f"{text} is a folder, not a file")
        raise SourceFault("SR170", f"{text} does not exist", _neighbour(root, text))
    return found


def _neighbour(root: Path, text: str) -> str:
    """A hint that names the file that was probably meant."""
    from difflib import get_close_matches

    parent = (root / text).parent
    try:
        names = sorted(entry.name for entry in parent.iterdir() if entry.is_file())[:2000]
    except OSError:
        return f"paths start at the plan's folder, {root.name}/"
    close = get_close_matches(Path(text).name, names, n=1)
    return f"did you mean {(Path(text).parent / close[0]).as_posix()}?" if close else f"paths start at {root.name}/"


def sniff(path: Path) -> MediaKind | None:
    """What a file is by its first bytes; None when it is no picture, film or sound that we know."""
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")):
        return "image"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "image", b"WAVE": "audio", b"AVI ": "video"}.get(head[8:12])  # type: ignore[return-value]
    if head[4:8] == b"ftyp":
        return "audio" if head[8:11] == b"M4A" else "video"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video"
    if head.startswith((b"ID3", b"fLaC", b"OggS")) or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return "audio"
    return None


def media_source(
    folder: Path, text: str, kind: MediaKind | None, remember: Callable[[Path], MediaSource | None]
) -> MediaSource:
    """The file or https URL that a plan names, looked at. `kind` None: its extension decides.

    `remember` answers for a file that was looked at before (None: not yet), so that each is hashed once.
    Raises `SourceFault`.
    """
    named = kind_by_name(text)
    if is_url(text):
        scheme = urlsplit(text)
        if scheme.scheme != "https" or not scheme.hostname:
            hint = "name a file beside the plan, or an https URL"
            raise SourceFault("SR173", f"`{text[:80]}` is not an https URL", hint)
        if kind is None and named is None:
            raise SourceFault(
                "SR174",
                f"{text[:80]} does not tell what it is",
                "write it under `images:`, `videos:` or `voice:` of the reference",
            )
        return MediaSource(text, kind or named or "image", None, "")
    path = inside(folder, text)
    wanted = kind or named
    known = remember(path)
    if known is None:
        real = sniff(path)
        if real is None:
            raise SourceFault("SR172", f"{text} is neither a picture nor a film nor a sound", "export it again")
        known = MediaSource(
            text, real, path, _sha256(path), path.stat().st_size, _pixels(path) if real == "image" else None
        )
    if wanted is not None and known.kind != wanted:
        raise SourceFault("SR172", f"{text} should be {ARTICLE[wanted]} but is {ARTICLE[known.kind]}")
    return MediaSource(text, known.kind, path, known.sha256, known.bytes, known.pixels)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pixels(path: Path) -> tuple[int, int] | None:
    import imagesize

    try:
        width, height = imagesize.get(str(path))
    except (OSError, ValueError):
        return None
    return (int(width), int(height)) if width > 0 and height > 0 else None
