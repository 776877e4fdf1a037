"""Drawing the parts of a card that stand still, and the small ones that do not: texts, timecode, progress line."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from storyrun.providers.animatic.brief import timecode
from storyrun.providers.animatic.planes import Overlay, Planes, level, planes

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from PIL.Image import Image

    from storyrun.providers.animatic.brief import Brief
    from storyrun.providers.animatic.fonts import Typeface
    from storyrun.providers.animatic.layout import Leaf, Sheet
    from storyrun.providers.animatic.planes import Canvas, Colour

TINTS: tuple[tuple[Colour, Colour], ...] = (
    ((20, 32, 54), (122, 176, 255)),
    ((48, 24, 40), (255, 140, 178)),
    ((16, 42, 40), (92, 220, 190)),
    ((54, 34, 18), (255, 186, 102)),
    ((36, 28, 62), (178, 156, 255)),
    ((36, 44, 20), (190, 220, 104)),
    ((56, 24, 22), (255, 146, 122)),
    ((14, 42, 56), (104, 206, 240)),
)
"""Ground and accent of a shot; the next shot has the next one, so that a cut is felt."""

BAR: Colour = (11, 11, 11)
BRIGHT: Colour = (240, 240, 240)
DIM: Colour = (164, 169, 180)
DIM_ON_PICTURE: Colour = (206, 209, 216)
TODO: Colour = (58, 61, 70)


def tint(cut: int) -> tuple[Colour, Colour]:
    """Ground and accent of the shot that is seen as number `cut`, from 0."""
    return TINTS[cut % len(TINTS)]


class Pen:
    """Draws the texts of one clip."""

    def __init__(self, sheet: Sheet, typeface: Typeface) -> None:
        self.sheet = sheet
        self.typeface = typeface

    def plain(self, leaf: Leaf) -> Planes:
        """A card without a picture: the ground and the texts, down to the bar."""
        from PIL import Image

        ground, _ = tint(leaf.cut)
        # Drawn in the colours of video at once: nothing is left to convert.
        image = Image.new("YCbCr", (self.sheet.width, self.sheet.bar), level(ground))
        self._paint(image, leaf, level((ground[0] * 2 // 5, ground[1] * 2 // 5, ground[2] * 2 // 5)), level)
        return planes(image)

    def overlay(self, leaf: Leaf) -> Overlay:
        """What lies over a picture: shade where there are texts, and the texts."""
        from PIL import Image

        image = Image.new("RGBA", (self.sheet.width, self.sheet.bar), (0, 0, 0, 0))
        image.putalpha(self._shade(leaf))
        self._paint(image, leaf, (0, 0, 0, 200), lambda colour: colour)
        return Overlay(image)

    def _paint(
        self, image: Image, leaf: Leaf, panel: tuple[int, ...], mixed: Callable[[Colour], tuple[int, ...]]
    ) -> None:
        """The texts, the boxes behind subtitles, and a line in the shot's colour beside what is seen."""
        from PIL import ImageDraw

        sheet, (_, accent) = self.sheet, tint(leaf.cut)
        draw = ImageDraw.Draw(image)
        for left, top, right, bottom in leaf.panels:
            draw.rounded_rectangle((left, top, right - 1, bottom - 1), sheet.px(10), fill=panel)
        left, top, right, bottom = sheet.edge(leaf)
        if top < bottom:
            draw.rectangle((left, top, right - 1, bottom - 1), fill=mixed(accent))
        dim = DIM_ON_PICTURE if sheet.picture else DIM
        inks = {"bright": mixed(BRIGHT), "dim": mixed(dim), "accent": mixed(accent)}
        for line in leaf.lines:
            self.typeface.draw(draw, line.x, line.baseline, line.text, line.size, inks[line.ink], line.bold)

    def _shade(self, leaf: Leaf) -> Image:
        """How dark the picture is made: below its head and above the first line of text it stays as it is."""
        from PIL import Image

        sheet = self.sheet
        head = max((line.baseline for line in leaf.lines if line.baseline < leaf.content[0]), default=sheet.top)
        reach = sheet.px(90)
        column = Image.new("L", (1, sheet.bar))
        for y in range(sheet.bar):
            above = min(1.0, max(0.0, 1 - (y - head) / reach))
            below = min(1.0, max(0.0, 1 - (leaf.content[0] - y) / reach))
            column.putpixel((0, y), round(max(180 * above, 178 * below)))
        return column.resize((sheet.width, sheet.bar))


class Bar:
    """The bar at the foot: a progress line with a tick at each cut, and the timecode. Draws only what changes."""

    def __init__(self, sheet: Sheet, typeface: Typeface, brief: Brief) -> None:
        self.sheet = sheet
        self.typeface = typeface
        self.brief = brief
        self._size = sheet.bar_text
        digit = max(-(-typeface.width(character, self._size) // 1) for character in "0123456789")
        self._cells = dict.fromkeys("0123456789", int(digit)) | {":": round(typeface.width(":", self._size))}
        self._high = 2 * -(-round(self._size * 1.3) // 2)
        self._top = (sheet.bar + sheet.line + sheet.px(12)) // 2 * 2
        self._shown = ""
        self._reached = 0

    def start(self, canvas: Canvas) -> None:
        """The whole bar, before the first frame."""
        canvas.show(planes(self._ground()), 0, self.sheet.bar)

    def update(self, canvas: Canvas, frame: int) -> None:
        """The bar of this frame; frames come in order."""
        text = timecode(frame, self.brief.rate)
        for place, (character, before) in enumerate(zip(text, self._shown or " " * len(text), strict=True)):
            if character != before:
                canvas.planes.y.paste(self._digits[character], (self._places[place], self._top))
        self._shown = text
        x = self.sheet.width * (frame + 1) // self.brief.frames // 2 * 2
        if x > self._reached:
            canvas.show(_crop(self._done, self._reached, x), self._reached, self.sheet.bar)
            self._reached = x

    @cached_property
    def _places(self) -> list[int]:
        """Where each character of the timecode starts, and where it ends. All digits get the room of the widest."""
        return list(accumulate((self._cells[c] for c in timecode(0, self.brief.rate)), initial=self.sheet.left))

    @cached_property
    def _digits(self) -> dict[str, Image]:
        """Each character of the timecode. Grey on grey: only the plane of brightness has it."""
        from PIL import Image, ImageDraw

        digits = {}
        for character, wide in self._cells.items():
            image = Image.new("RGB", (wide + wide % 2, self._high), BAR)
            x = (wide - self.typeface.width(character, self._size)) / 2
            self.typeface.draw(ImageDraw.Draw(image), x, round(self._high * 0.78), character, self._size, BRIGHT)
            digits[character] = planes(image).y.crop((0, 0, wide, self._high))
        return digits

    @cached_property
    def _done(self) -> Planes:
        """The progress line when all is over."""
        return planes(self._line([tint(place)[1] for place in range(len(self.brief.cuts))]))

    def _ground(self) -> Image:
        from PIL import Image, ImageDraw

        sheet = self.sheet
        image = Image.new("RGB", (sheet.width, sheet.height - sheet.bar), BAR)
        image.paste(self._line([TODO] * len(self.brief.cuts)))
        draw = ImageDraw.Draw(image)
        baseline = self._top - sheet.bar + round(self._high * 0.78)
        total = timecode(self.brief.frames, self.brief.rate)
        shape = f"{sheet.width}×{sheet.height}  {rate(self.brief.rate)} fps"
        after = self._places[-1] + sheet.px(16)
        self.typeface.draw(draw, after, baseline, f"/ {total}", self._size * 3 // 4, DIM)
        after += round(self.typeface.width(f"/ {total}", self._size * 3 // 4)) + sheet.px(30)
        x = sheet.right - self.typeface.width(shape, self._size * 3 // 4)
        if x > after:
            self.typeface.draw(draw, x, baseline, shape, self._size * 3 // 4, DIM)
        return image

    def _line(self, colours: list[Colour]) -> Image:
        """The progress line with each shot in its colour, and a gap between shots."""
        from PIL import Image, ImageDraw

        sheet = self.sheet
        image = Image.new("RGB", (sheet.width, sheet.line), BAR)
        draw = ImageDraw.Draw(image)
        gap = sheet.px(4)
        for cut, colour in zip(self.brief.cuts, colours, strict=True):
            left, right = (sheet.width * frame // self.brief.frames for frame in (cut.first, cut.last))
            last = right - 1 - (gap if cut.last < self.brief.frames else 0)
            draw.rectangle((left, 0, max(left, last), sheet.line), fill=colour)
        return image


def rate(value: Fraction) -> str:
    """Frames per second for people: 30, 29.97."""
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.2f}"


def _crop(picture: Planes, left: int, right: int) -> Planes:
    y, u, v = picture
    return Planes(
        y.crop((left, 0, right, y.height)),
        u.crop((left // 2, 0, right // 2, u.height)),
        v.crop((left // 2, 0, right // 2, v.height)),
    )
