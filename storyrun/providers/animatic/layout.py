"""Where everything stands on a card, frame by frame. Pure: it measures text and draws nothing.

A clip is a row of leaves. Within a leaf nothing changes but the timecode, the progress line and a moving camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from storyrun.providers.animatic.pages import Fitted, fit, line_height

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.providers.animatic.brief import Brief, Cut

    Measure = Callable[[str, int, bool], float]
    """Width of a line of text, by size and boldness."""

Ink = Literal["bright", "dim", "accent"]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; right and bottom are outside."""


@dataclass(frozen=True)
class Line:
    """One line of text, from `x` on `baseline`."""

    x: int
    baseline: int
    text: str
    size: int
    ink: Ink
    bold: bool = False


@dataclass(frozen=True)
class Leaf:
    """Frames `first` to before `last` of a clip, all with the same texts. `cut` counts the shots seen from 0."""

    first: int
    last: int
    cut: int
    lines: tuple[Line, ...]
    panels: tuple[Box, ...]
    """Dark boxes behind subtitles."""
    content: tuple[int, int]
    """From where to where, top to bottom, the text about the shot stands."""


class Sheet:
    """The measures of a card of one size, in pixels. Text stays inside the inner nine tenths of the picture.

    With a `picture` under it the text keeps to the lower part and is smaller.
    """

    def __init__(self, size: tuple[int, int], measure: Measure, *, picture: bool) -> None:
        self.width, self.height = size
        self.measure = measure
        self.picture = picture
        self.unit = max(0.4, min(size) / 720)
        self.left = round(max(0.05 * self.width, 28 * self.unit))
        self.right = self.width - self.left
        self.top = round(0.05 * self.height)
        self.small = self.px(22)
        self.bar_text = self.px(28)
        bar = round(0.05 * self.height) + line_height(self.bar_text) + self.px(16)
        self.bar = max(2, (self.height - bar) // 2 * 2)
        """The first row of the bar with timecode and progress line; even, so that colours end there too."""
        self.line = max(2, self.px(6) // 2 * 2)
        """Rows of the progress line, at the top of the bar."""

    def px(self, units: float) -> int:
        """Units of a card whose shorter side is 720, in pixels."""
        return max(1, round(units * self.unit))

    def leaves(self, brief: Brief) -> tuple[Leaf, ...]:
        """The whole clip."""
        leaves: list[Leaf] = []
        for place, cut in enumerate(brief.cuts):
            title, under = self._title(brief, cut)
            label, below = self._label(brief, under)
            leaves += self._shot(cut, place, title, label, max(under, below), brief)
        return tuple(leaves)

    def box(self, line: Line) -> Box:
        """The room that a line of text takes."""
        wide = round(self.measure(line.text, line.size, line.bold))
        return (line.x, line.baseline - line.size, line.x + wide, line.baseline + line.size // 3)

    def edge(self, leaf: Leaf) -> Box:
        """The line beside the text about the shot; of no height where there is no text."""
        left, (top, bottom) = max(0, self.left - self.px(20)), leaf.content
        return (left, top, left + self.px(4), bottom)

    # ── the head: what this is ───────────────────────────────────────────────────────────────────────────────────────

    def _title(self, brief: Brief, cut: Cut) -> tuple[tuple[Line, ...], int]:
        """Scene and shot, upper left, and the row below them."""
        number = f"shot {cut.number} of {brief.shots}" if brief.shots > 1 else f"shot {cut.number}"
        gap, size = self.px(18), self.px(30)
        whole = self.right - self.left if self._stacked else round((self.right - self.left) * 0.58)
        while True:
            room = whole - gap - round(self.measure(f"{number}  99/99", size, False))
            if size <= self.px(22) or self.measure(brief.scene, size, True) <= room:
                break
            size -= 1
        name = fit(brief.scene, room, 2 * line_height(size), self._bold, largest=size, floor=max(6, size // 2))
        lines = self._block(name, 0, self.left, self.top, "bright", bold=True)
        end = self.left + round(self.measure(lines[-1].text, name.size, True)) + gap
        return (*lines, Line(end, lines[-1].baseline, number, name.size, "dim")), self.top + name.height

    def _label(self, brief: Brief, under: int) -> tuple[tuple[Line, ...], int]:
        """Axis values and take: upper right, or `under` the title where the picture is narrow; and the row below."""
        if not brief.label:
            return (), under
        room = self.right - self.left if self._stacked else round((self.right - self.left) * 0.38)
        label = fit(brief.label, room, 3 * line_height(self.small), self._plain, largest=self.small, floor=self.px(14))
        top = under if self._stacked else self.top + self.px(4)
        lines = self._block(label, 0, self.left, top, "dim")
        if not self._stacked:
            lines = tuple(replace(line, x=self.right - round(self._plain(line.text, line.size))) for line in lines)
        return lines, top + label.height

    @property
    def _stacked(self) -> bool:
        return self.width < self.height * 1.2

    # ── the shot: what is seen and said ──────────────────────────────────────────────────────────────────────────────

    def _shot(
        self, cut: Cut, place: int, head: tuple[Line, ...], label: tuple[Line, ...], below: int, brief: Brief
    ) -> list[Leaf]:
        """A shot's leaves: a new one whenever the action or the dialogue turns a page."""
        seconds = float((cut.last - cut.first) / brief.rate)
        spoken = self._spoken(cut, seconds)
        tallest = max((page.height + self.px(28 + 18) for page in spoken), default=0)
        bottom = self.bar - self.px(24) - tallest
        top = below + self.px(20)
        caption, sound = self._caption(cut), self._sound(cut)
        above = caption.height + (self.px(10) if caption.pages else 0)
        under = sound.height + (self.px(14) if sound.pages else 0)
        action = self._action(cut, max(line_height(6), bottom - top - above - under), seconds)
        leaves = []
        turns = sorted({*_turns(cut, len(action.pages)), *_turns(cut, len(spoken))})
        for first, last in pairwise(turns):
            page = _page(cut, len(action.pages), first)
            number = f"{head[-1].text}  {page + 1}/{len(action.pages)}" if len(action.pages) > 1 else head[-1].text
            title = (*head[:-1], replace(head[-1], text=number))
            high = above + (line_height(action.size) * len(action.pages[page]) if action.pages else 0) + under
            # On a plain card the text stands a little above the middle; on a picture it keeps to the bottom.
            start = bottom - high if self.picture else top + max(0, round((bottom - top - high) * 0.42))
            lines, y = self._content(caption, action, page, sound, start)
            said, panels = self._subtitle(spoken[_page(cut, len(spoken), first)]) if spoken else ((), ())
            leaves.append(Leaf(first, last, place, (*title, *label, *lines, *said), panels, (start, y)))
        return leaves

    @property
    def _column(self) -> int:
        """How wide the text about a shot runs: not over all of a wide picture."""
        part = 1.0 if self._stacked else 0.8 if self.picture else 0.86
        return round((self.right - self.left) * part)

    def _caption(self, cut: Cut) -> Fitted:
        text = " · ".join(filter(None, (cut.framing, cut.camera)))
        size = self.px(26)
        return fit(text, self._column, 3 * line_height(size), self._bold, largest=size, floor=self.px(16))

    def _sound(self, cut: Cut) -> Fitted:
        text = f"sound: {cut.sound}" if cut.sound else ""
        size = self.small
        return fit(text, self._column, 3 * line_height(size), self._plain, largest=size, floor=self.px(16))

    def _action(self, cut: Cut, height: int, seconds: float) -> Fitted:
        """The action: large on a plain card, smaller on a picture, which it must leave room to see."""
        largest, floor = (38, 24) if self.picture else (56, 26)
        if self.picture:
            height = min(height, round((self.bar - self.top) * 0.5))
        return fit(
            cut.action,
            self._column,
            height,
            self._plain,
            largest=self.px(largest),
            floor=max(6, self.px(floor)),
            pages=max(1, int(seconds / 1.5)),
        )

    def _content(
        self, caption: Fitted, action: Fitted, page: int, sound: Fitted, y: int
    ) -> tuple[tuple[Line, ...], int]:
        """Caption, one page of the action, sound; from row `y` down, and the row where they end."""
        lines = self._block(caption, 0, self.left, y, "accent", bold=True)
        y += caption.height + (self.px(10) if caption.pages else 0)
        lines += self._block(action, page, self.left, y, "bright")
        y += line_height(action.size) * (len(action.pages[page]) if action.pages else 0)
        if sound.pages:
            y += self.px(14)
            lines += self._block(sound, 0, self.left, y, "dim")
            y += sound.height
        return lines, y

    def _spoken(self, cut: Cut, seconds: float) -> list[_Spoken]:
        """The dialogue as subtitles, one after the other; smaller, and more lines at once, when time is short."""
        pages: list[_Spoken] = []
        for size, most in ((34, 3 if self._stacked else 2), (30, 3), (26, 4), (20, 6), (14, 12), (9, 40)):
            pages = [page for who, text in cut.dialogue for page in self._said(who, text, self.px(size), most)]
            if len(pages) <= max(len(cut.dialogue), int(seconds / 0.9)):
                break
        return pages

    def _said(self, who: str, text: str, size: int, most_lines: int) -> list[_Spoken]:
        """One line of dialogue in subtitles of so many lines, none of them higher than a third of the picture."""
        width = round((self.right - self.left) * (0.94 if self._stacked else 0.8))
        small = self.px(20)
        name = fit(who, width, 2 * line_height(small), self._bold, largest=small, floor=6)
        most_lines = max(1, min(most_lines, (self.height // 3 - name.height) // line_height(size)))
        said = fit(text, width, self.height, self._plain, largest=size, floor=size, pages=10**6, most_lines=most_lines)
        return [_Spoken(name, Fitted(said.size, (page,))) for page in said.pages]

    def _subtitle(self, spoken: _Spoken) -> tuple[tuple[Line, ...], tuple[Box, ...]]:
        """One subtitle, centred above the bar."""
        pad = self.px(14)
        bottom = self.bar - self.px(24)
        top = bottom - spoken.height - 2 * pad
        lines: list[Line] = []
        y = top + pad
        for fitted, ink, bold in ((spoken.name, "accent", True), (spoken.text, "bright", False)):
            for line in self._block(fitted, 0, 0, y, ink, bold=bold):  # type: ignore[arg-type]
                x = (self.width - round(self.measure(line.text, line.size, bold))) // 2
                lines.append(replace(line, x=x))
            y += fitted.height
        wide = max(round(self.measure(line.text, line.size, line.bold)) for line in lines) if lines else 0
        half = wide // 2 + pad * 2
        return tuple(lines), ((self.width // 2 - half, top, self.width // 2 + half, bottom),)

    def _block(self, fitted: Fitted, page: int, x: int, y: int, ink: Ink, *, bold: bool = False) -> tuple[Line, ...]:
        """The lines of one page, from the row `y` down."""
        if not fitted.pages:
            return ()
        step = line_height(fitted.size)
        return tuple(
            Line(x, y + step * row + round(step * 0.76), text, fitted.size, ink, bold)
            for row, text in enumerate(fitted.pages[page])
        )

    def _plain(self, text: str, size: int) -> float:
        return self.measure(text, size, False)

    def _bold(self, text: str, size: int) -> float:
        return self.measure(text, size, True)


@dataclass(frozen=True)
class _Spoken:
    """One subtitle: who, and one page of what they say."""

    name: Fitted
    text: Fitted

    @property
    def height(self) -> int:
        return self.name.height + self.text.height


def _turns(cut: Cut, pages: int) -> list[int]:
    """The frames at which each of so many pages starts, and the end."""
    return [cut.first + (cut.last - cut.first) * page // max(1, pages) for page in range(max(1, pages) + 1)]


def _page(cut: Cut, pages: int, frame: int) -> int:
    """The page seen at a frame."""
    starts = _turns(cut, pages)
    return max(page for page, start in enumerate(starts[:-1]) if start <= frame)
