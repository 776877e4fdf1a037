"""Subtitles drawn into the picture: white with a dark outline, low in the picture, inside its safe margins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from storyrun.exports.cues import Cue


class Typeface(Protocol):
    """Draws and measures texts; sizes are pixels per em."""

    def width(self, text: str, size: int, bold: bool = False) -> float: ...

    def draw(
        self, draw: ImageDraw, x: float, baseline: float, text: str, size: int, ink: tuple[int, ...], bold: bool = False
    ) -> None: ...


class Fonts(Protocol):
    """Finds what draws some texts."""

    def for_texts(self, texts: Iterable[str]) -> Typeface: ...


SMALLEST = 9
"""Pixels per em."""


class Letters:
    """The subtitles of a film of one size."""

    def __init__(self, fonts: Fonts, size: tuple[int, int], cues: Sequence[Cue]) -> None:
        self._size = size
        self._cues = cues
        self._face = fonts.for_texts([cue.text for cue in cues])
        self._laid: dict[str, Laid] = {}

    def at(self, moment: Fraction) -> Laid | None:
        """What is to be read at a moment of the film."""
        for cue in self._cues:
            if cue.start <= moment < cue.end:
                if cue.text not in self._laid:
                    self._laid[cue.text] = self._lay(cue.text)
                return self._laid[cue.text]
        return None

    def _lay(self, text: str) -> Laid:
        """Centred lines that end above the lower margin, in the lower third of the picture."""
        from PIL import Image, ImageDraw, ImageFilter

        wide, high = self._size
        size = max(SMALLEST, round(min(wide, high) * 0.06))
        margin = round(high * (0.07 if wide > high else 0.12))
        while True:
            lines = self._lines(text, size, wide * 0.86)
            step = round(size * 1.3)
            if step * len(lines) <= high / 3 - margin or size <= SMALLEST:
                break
            size -= 1
        edge = max(1, round(size / 12))
        top = max(0, high - margin - step * len(lines)) // 2 * 2
        letters = Image.new("L", (wide, high - top))
        draw = ImageDraw.Draw(letters)
        for number, line in enumerate(lines):
            x = round((wide - self._face.width(line, size, True)) / 2)
            self._face.draw(draw, x, round(step * (number + 0.78)), line, size, (255,), True)
        return Laid(top, letters, letters.filter(ImageFilter.MaxFilter(2 * edge + 1)))

    def _lines(self, text: str, size: int, room: float) -> list[str]:
        """The text in lines that fit, as even as they come; what has no spaces breaks anywhere."""
        words = [piece for word in text.split() for piece in self._pieces(word, size, room)]
        count = len(self._filled(words, size, room))
        low, top = room / 2, room
        while top - low > 1:  # the narrowest column with as few lines: no word stands alone in the last one
            middle = (low + top) / 2
            low, top = (low, middle) if len(self._filled(words, size, middle)) <= count else (middle, top)
        return self._filled(words, size, top)

    def _filled(self, words: Sequence[str], size: int, room: float) -> list[str]:
        lines: list[str] = []
        for word in words:
            if lines and self._face.width(f"{lines[-1]} {word}", size, True) <= room:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
        return lines

    def _pieces(self, word: str, size: int, room: float) -> list[str]:
        pieces = [""]
        for character in word:
            if pieces[-1] and self._face.width(pieces[-1] + character, size, True) > room:
                pieces.append("")
            pieces[-1] += character
        return pieces


class Laid:
    """Letters and their outline, from row `top` down."""

    def __init__(self, top: int, letters: Image, outline: Image) -> None:
        self._top = top
        self._masks = [(letters, outline), *[(letters.reduce(2), outline.reduce(2))] * 2]

    def lay(self, planes: Sequence[Image]) -> None:
        """Over the planes of a frame: Y', Cb, Cr."""
        for number, (plane, (letters, outline)) in enumerate(zip(planes, self._masks, strict=True)):
            box = (0, self._top >> (number > 0))
            for mask, value in ((outline, 128 if number else 16), (letters, 128 if number else 235)):
                plane.paste(value, (*box, box[0] + mask.width, box[1] + mask.height), mask)
