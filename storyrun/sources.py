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
FOREIGN = {
    b"\x00\x00\x01\x00": "an icon",
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop file",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"<svg": "an SVG",
    b"<?xm": "an SVG or other XML",
    b"FORM": "an AIFF",
    b"0&\xb2u": "a Windows Media file",
    b"PK\3\4": "a ZIP or Office file",
}
"""Files that people do have, and no model takes, by their first four bytes."""

BRANDS = {**dict.fromkeys((b"heic", b"heix", b"hevc", b"mif1", b"msf1"), "a HEIC"), b"avif": "an AVIF"}
"""Pictures in the container of MP4, by its brand."""

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
    path = text
    if is_url(text):
        try:
            path = urlsplit(text).path
        except ValueError:
            return None
    return EXTENSIONS.get(PurePosixPath(path).suffix.lower())


def inside(folder: Path, text: str) -> Path:
    """The existing file that `text` names beside the plan. Raises `SourceFault`, also for a way out of the folder."""
    if not text.strip() or "\0" in text:
        raise SourceFault("SR170", f"`{text}` is not a path")
    root = folder.resolve()
    try:
        found = (root / text).resolve()
        if not found.is_relative_to(root):
            hint = "copy the file beside the plan and name it from there"
            raise SourceFault("SR171", f"{shortened(text)} lies outside the plan's folder", hint)
        if Path(text).is_absolute():
            hint = f"write {found.relative_to(root).as_posix()}: then the folder can be moved"
            raise SourceFault("SR171", f"{shortened(text)} starts at the root of the disk", hint)
        if found.is_file():
            return found
        if found.exists():
            what = "a folder, not a file" if found.is_dir() else "not a plain file"
            raise SourceFault("SR170", f"{shortened(text)} is {what}")
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceFault("SR170", f"{shortened(text)} cannot be opened: {_reason(error)}") from None
    raise SourceFault("SR170", f"{shortened(text)} does not exist", _neighbour(root, text))


def shortened(text: str) -> str:
    """A path or URL in a sentence."""
    return text if len(text) <= 100 else f"{text[:60]}...{text[-30:]}"


def _reason(error: Exception) -> str:
    """What the system says, starting small, without a path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "its links lead in a circle" if isinstance(error, RuntimeError) else "it is not a path"


def _neighbour(root: Path, text: str) -> str:
    """A hint that names the file that was probably meant."""
    from difflib import get_close_matches

    start = f"paths start at the plan's folder, {root.name}/"
    if "\\" in text:
        return f"write {text.replace(chr(92), '/')}"
    try:
        parent = (root / text).parent
        names = [entry.name for entry in parent.iterdir() if entry.is_file()] if parent.is_relative_to(root) else []
    except OSError:
        return start
    close = get_close_matches(Path(text).name, sorted(names)[:2000], n=1)
    return f"did you mean {(Path(text).parent / close[0]).as_posix()}?" if close else start


def sniff(path: Path) -> MediaKind | None:
    """What a file is by its first bytes; None when it is no picture, film or sound that we know."""
    head = _head(path)
    if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")):
        return "image"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return "image"
    if head.startswith(b"RIFF"):
        return {b"WEBP": "image", b"WAVE": "audio", b"AVI ": "video"}.get(head[8:12])  # type: ignore[return-value]
    if head[4:8] == b"ftyp":
        if head[8:12] in BRANDS:
            return None
        return "audio" if head[8:11] == b"M4A" else "video"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video"
    if head.startswith((b"ID3", b"fLaC", b"OggS")) or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return "audio"
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64)


def _stranger(path: Path) -> tuple[str, str]:
    """What a file is that is no picture, film or sound that we know, and what to do about it."""
    head = _head(path)
    foreign = FOREIGN.get(head[:4], "")
    if head[4:8] == b"ftyp":
        foreign = f"{BRANDS[head[8:12]]} picture"
    if foreign:
        return f"is {foreign}, which no model takes", "export it as PNG or JPEG, MP4, or WAV or MP3"
    if not head:
        return "is empty", "export it again"
    return "is neither a picture nor a film nor a sound", "what a file is, its first bytes say: export it again"


def media_source(
    folder: Path, text: str, kind: MediaKind | None, remember: Callable[[Path], MediaSource | None]
) -> MediaSource:
    """The file or https URL that a plan names, looked at. `kind` None: its extension decides.

    `remember` answers for a file that was looked at before (None: not yet), so that each is hashed once.
    Raises `SourceFault`.
    """
    named = kind_by_name(text)
    wanted = kind or named
    if is_url(text):
        _check_url(text)
        if wanted is None:
            hint = "write it under `images:`, `videos:` or `voice:` of the reference"
            raise SourceFault(
                "SR174", f"{shortened(text)} does not say whether it is a picture, a film or a sound", hint
            )
        return MediaSource(text, wanted, None, "")
    path = inside(folder, text)
    known = remember(path)
    if known is None:
        try:
            known = _looked_at(path, text)
        except OSError as error:
            raise SourceFault("SR170", f"{shortened(text)} cannot be read: {_reason(error)}") from None
    if wanted is not None and known.kind != wanted:
        hint = "what a file is, its first bytes say, not its name"
        raise SourceFault("SR172", f"{shortened(text)} should be {ARTICLE[wanted]} but is {ARTICLE[known.kind]}", hint)
    return MediaSource(text, known.kind, path, known.sha256, known.bytes, known.pixels)


def _check_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in text):
        hint = "name a file beside the plan, or an https URL"
        raise SourceFault("SR173", f"`{shortened(text)}` is not an https URL", hint)


def _looked_at(path: Path, text: str) -> MediaSource:
    real = sniff(path)
    if real is None:
        what, hint = _stranger(path)
        raise SourceFault("SR172", f"{shortened(text)} {what}", hint)
    pixels = _pixels(path) if real == "image" else None
    return MediaSource(text, real, path, _sha256(path), path.stat().st_size, pixels)


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
