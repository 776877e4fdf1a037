"""Typefaces: which font draws which character, how wide a text is, and drawing it.

DejaVu Sans ships with storyrun, so that every machine draws the same. A text that it lacks (Chinese, say) is drawn with
an installed font that has it; which one depends on the text and the installed fonts alone, never on what was drawn
before. What no font has is said once.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from storyrun.errors import UsageError
from storyrun.providers.animatic.coverage import SUFFIXES, covered, is_font

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

SHIPPED = Path(__file__).parents[2] / "fonts"
INSTALLED = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path("/System/Library/Fonts"),
    Path("/Library/Fonts"),
    Path("C:/Windows/Fonts"),
)
"""Where systems keep their fonts. Folders that are not there are passed over."""


class Face(NamedTuple):
    """One face of a font file."""

    path: str
    number: int = 0


ALWAYS = "".join(map(chr, range(0x21, 0x7F))) + "·…×"
"""What cards say beside the author's texts."""

REGULAR = Face(str(SHIPPED / "DejaVuSans.ttf"))
BOLD = Face(str(SHIPPED / "DejaVuSans-Bold.ttf"))


class Fonts:
    """The fonts of this machine. `font` is tried before the shipped one; `warn` is told what cannot be drawn."""

    def __init__(self, font: Path | None, warn: Callable[[str], None], folders: Sequence[Path] = INSTALLED) -> None:
        self._first = () if font is None else (Face(str(font)),)
        self._warn = warn
        self._folders = folders
        self._said: set[str] = set()
        self._lock = Lock()
        self._files: tuple[Path, ...] | None = None
        self._known: dict[str, tuple[Face, ...]] = {}
        if font is not None and not is_font(font):
            raise _no_font(font)

    def for_texts(self, texts: Iterable[str]) -> Typeface:
        """What draws these texts: the first fonts, then as few installed ones as cover the rest."""
        if self._first and not _loads(self._first[0]):
            raise _no_font(self._first[0].path)
        wanted = {character for text in (ALWAYS, *texts) for character in text if _visible(character)}
        # Bold and regular of DejaVu do not cover the same; a character that only one has is drawn with that one.
        faces = [*self._first, REGULAR, BOLD]
        missing = wanted.difference(*(_has(face, frozenset(wanted)) for face in faces))
        if missing:
            with self._lock:
                faces += self._found(missing)
                self._say({character for character in missing if not self._known[character]})
        return Typeface(tuple(faces), frozenset(wanted))

    def _found(self, missing: set[str]) -> list[Face]:
        """Installed faces that together have what is missing, the one that has most of it first."""
        if self._files is None:
            self._files = _installed(self._folders)
        new = missing - self._known.keys()
        if new:
            has = {Face(str(path), number): part for path in self._files for number, part in covered(path, new).items()}
            faces = [face for face in has if _loads(face)]
            self._known |= {character: tuple(face for face in faces if character in has[face]) for character in new}
        chosen: list[Face] = []
        left = {character for character in missing if self._known[character]}
        while left:
            counts = Counter(face for character in sorted(left) for face in self._known[character])
            order = {str(path): place for place, path in enumerate(self._files)}
            best = min(counts, key=lambda face: (-counts[face], order[face.path], face.number))
            chosen.append(best)
            left = {character for character in left if best not in self._known[character]}
        return chosen

    def _say(self, missing: set[str]) -> None:
        new = sorted(missing - self._said)
        if not new:
            return
        self._said.update(new)
        named = " ".join(f"{character} (U+{ord(character):04X})" for character in new[:8])
        more = f" and {len(new) - 8} more" if len(new) > 8 else ""
        self._warn(
            f"no font here can draw {named}{more}; the animatic shows boxes. Install one that can (Debian: "
            "fonts-noto-cjk for Chinese, Japanese and Korean, fonts-noto-core for others), or name a file: "
            "STORYRUN_FONT=/path/to/font.ttf"
        )


class Typeface:
    """Draws and measures the texts that it was made for. Sizes are pixels per em."""

    def __init__(self, faces: tuple[Face, ...], characters: frozenset[str]) -> None:
        self._regular = _choices(faces, characters)
        bold = tuple(sorted(faces, key=lambda face: face != BOLD)) if faces[0] == REGULAR else faces
        self._bold = _choices(bold, characters)
        self._widths: dict[tuple[str, int, bool], float] = {}

    def width(self, text: str, size: int, bold: bool = False) -> float:
        """Width of one line, in pixels."""
        key = (text, size, bold)
        width = self._widths.get(key)
        if width is None:
            width = sum(font.getlength(part) for font, part in self._parts(text, size, bold))
            self._widths[key] = width
        return width

    def draw(
        self, draw: ImageDraw, x: float, baseline: float, text: str, size: int, ink: tuple[int, ...], bold: bool = False
    ) -> None:
        """Draw one line on its baseline, from `x` to the right."""
        for font, part in self._parts(text, size, bold):
            draw.text((x, baseline), part, fill=ink, font=font, anchor="ls")
            x += font.getlength(part)

    def _parts(self, text: str, size: int, bold: bool) -> list[tuple[FreeTypeFont, str]]:
        """The text cut where the font changes. Marks and spaces stay with what they follow."""
        choice = self._bold if bold else self._regular
        parts: list[tuple[Face, str]] = []
        for character in text:
            face = choice.get(character)
            if parts and (face is None or face == parts[-1][0] or unicodedata.combining(character)):
                parts[-1] = (parts[-1][0], parts[-1][1] + character)
            elif _visible(character) or character == " ":
                parts.append((face or (BOLD if bold else REGULAR), character))
        return [(_font(face, size, _shaped(part)), part) for face, part in parts]


def _choices(faces: tuple[Face, ...], characters: frozenset[str]) -> dict[str, Face]:
    """The first face that has each character."""
    choice: dict[str, Face] = {}
    left = characters
    for face in faces:
        has = _has(face, left)
        choice.update(dict.fromkeys(has, face))
        left -= has
    return choice


def _visible(character: str) -> bool:
    """Whether a character needs a glyph: not for spaces, controls, joiners and variation selectors."""
    return (
        unicodedata.category(character) not in {"Zs", "Zl", "Zp", "Cc", "Cf"} and not "\ufe00" <= character <= "\ufe0f"
    )


def _shaped(text: str) -> bool:
    """Whether letters change shape or order, as in Arabic or Hindi, so that a shaping engine has to place them.

    Everything else is placed the simple way, which is the same wherever Pillow was built.
    """
    return any("\u0590" <= c <= "\u10ff" or "\u1780" <= c <= "\u18af" or unicodedata.combining(c) for c in text)


@lru_cache(maxsize=256)
def _has(face: Face, characters: frozenset[str]) -> frozenset[str]:
    return covered(Path(face.path), characters).get(face.number, frozenset())


@lru_cache(maxsize=128)
def _font(face: Face, size: int, shaped: bool) -> FreeTypeFont:
    from PIL import ImageFont, features

    engine = ImageFont.Layout.RAQM if shaped and features.check("raqm") else ImageFont.Layout.BASIC
    return ImageFont.truetype(face.path, size, index=face.number, layout_engine=engine)


@lru_cache(maxsize=1024)
def _loads(face: Face) -> bool:
    """Whether a font that says what it has can be drawn with, too."""
    from PIL import ImageFont

    try:
        return ImageFont.truetype(face.path, 20, index=face.number).getlength("a") >= 0
    except (OSError, ValueError):
        return False


def _no_font(path: object) -> UsageError:
    return UsageError(f"{path} is not a font file that can be drawn with", "name a .ttf, .otf or .ttc file")


def _installed(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Font files in a fixed order: plain upright sans faces first, then by name."""

    def rank(path: Path) -> tuple[bool, bool, str]:
        name = path.stem.lower()
        fancy = ("bold", "italic", "oblique", "black", "light", "thin", "medium", "mono", "cond", "serif")
        return any(word in name for word in fancy), "sans" not in name, str(path)

    files = (file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return tuple(sorted(files, key=rank))
