"""What a person sees while clips are made: bars on a terminal, plain lines anywhere else.

An observer like any other: it gets events and can break nothing. It writes to the stream it is given (stderr) and reads
neither the environment nor the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.records import ClipEvent

ENDS = {
    "done": "made",
    "reused": "reused",
    "failed": "failed",
    "unknown": "unclear",
    "open": "still open",
}
"""The kinds of event after which nothing more happens to a clip in this run, and the word for each."""

MAKING = ("rendering", "fetching", "sending")
TROUBLE = ("failed", "unknown", "open")
NAMES_SHOWN = 3
NAME_WIDTH = 36
SENTENCE_WIDTH = 500
WIDTH = 80
"""Columns of the bars where the terminal does not say."""
LINE_GAP = 1.0
"""Seconds between two plain lines, at least."""
COUNTER_GAP = 30.0
"""Seconds after which a plain line says how things stand though nothing ended."""


class Progress:
    """Follows one run of `total` clips.

    `terminal`: draw bars; else plain lines, one per ended clip, at most one a second (what falls into the same second
    is told together). `colour`: False under NO_COLOR. `quiet`: say nothing but trouble. `now`: a monotonic clock, in
    seconds. Call `close()` at the end, whatever happened.
    """

    def __init__(
        self,
        total: int,
        stream: TextIO,
        *,
        terminal: bool,
        now: Callable[[], float],
        colour: bool = True,
        quiet: bool = False,
    ) -> None:
        self._standing = _Standing(total)
        self._view: _Bars | _Lines
        if terminal and not quiet:
            self._view = _Bars(self._standing, stream, colour=colour)
        else:
            self._view = _Lines(self._standing, stream, now, quiet=quiet)

    def __call__(self, event: ClipEvent) -> None:
        """Takes one event."""
        if event.kind == "note":
            self._view.say(": ".join(filter(None, (harmless(event.clip), harmless(event.sentence, SENTENCE_WIDTH)))))
        else:
            self._standing.take(event)
            self._view.show(event)

    def close(self) -> None:
        """Ends the bars, or tells what was not told yet."""
        self._view.close()


class _Standing:
    """How things stand: which clips have ended and how, which are being made."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._ended: dict[str, str] = {}
        self._active: dict[str, str] = {}
        self._counts = dict.fromkeys(ENDS, 0)

    def take(self, event: ClipEvent) -> None:
        self._active.pop(event.clip, None)
        if (before := self._ended.pop(event.clip, None)) is not None:
            self._counts[before] -= 1  # a clip may come back to life: it is ordered or fetched again
        if event.kind in ENDS:
            self._ended[event.clip] = event.kind
            self._counts[event.kind] += 1
        elif event.kind != "waiting":
            self._active[event.clip] = event.kind

    @property
    def through(self) -> int:
        return len(self._ended)

    @property
    def total(self) -> int:
        return max(self._total, len(self._ended) + len(self._active))

    @property
    def active(self) -> bool:
        return bool(self._active)

    def __str__(self) -> str:
        """What is being made, by name as far as it fits, and what went wrong."""
        made = {kind: [clip for clip, now in self._active.items() if now == kind] for kind in MAKING}
        parts = [f"{kind} {_few(clips)}" for kind, clips in made.items() if clips]
        parts += [f"{self._counts[kind]} {ENDS[kind]}" for kind in TROUBLE if self._counts[kind]]
        return "; ".join(parts)


class _Bars:
    """One bar of the clips that are through, and under it what is being made."""

    def __init__(self, standing: _Standing, stream: TextIO, *, colour: bool) -> None:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no watching thread for two lines of text
        self._tqdm = tqdm
        self._standing = standing
        self._stream = stream
        size: dict[str, Any] = {"dynamic_ncols": True} if _has_width(stream) else {"ncols": WIDTH, "nrows": 24}
        self._bar: Any = tqdm(
            total=standing.total,
            file=stream,
            **size,
            colour="green" if colour else None,
            bar_format="{n_fmt}/{total_fmt} clips |{bar}| {elapsed} gone, {remaining} left",
        )
        self._now: Any = tqdm(total=0, file=stream, position=1, leave=False, bar_format="{desc}", **size)

    def show(self, event: ClipEvent) -> None:
        if event.kind in TROUBLE:
            self.say(_ending(event))
        self._bar.total = self._standing.total
        self._bar.update(self._standing.through - self._bar.n)
        # thousands of clips may be reused in a moment
        self._now.set_description_str(str(self._standing), refresh=event.kind != "reused")

    def say(self, line: str) -> None:
        self._tqdm.write(line, file=self._stream)

    def close(self) -> None:
        self._now.close()
        self._bar.refresh()
        self._bar.close()


class _Lines:
    """Plain lines for logs and pipes."""

    def __init__(self, standing: _Standing, stream: TextIO, now: Callable[[], float], *, quiet: bool) -> None:
        self._standing = standing
        self._stream = stream
        self._now = now
        self._quiet = quiet
        self._last: float | None = None
        self._begun = now()
        self._untold: list[ClipEvent] = []

    def show(self, event: ClipEvent) -> None:
        if event.kind in ENDS and (event.kind in TROUBLE or not self._quiet):
            self._untold.append(event)
        if self._untold and (self._last is None or self._now() - self._last >= LINE_GAP):
            self._tell()
        elif self._now() - (self._last or self._begun) >= COUNTER_GAP and self._standing.active and not self._quiet:
            self._line(f"{self._through()}, {self._standing}")

    def say(self, line: str) -> None:
        if not self._quiet:
            self._line(line)

    def close(self) -> None:
        if self._untold:
            self._tell()

    def _through(self) -> str:
        return f"{self._standing.through}/{self._standing.total} clips"

    def _tell(self) -> None:
        """One line for all that ended since the last one."""
        if len(self._untold) == 1:
            told = _ending(self._untold[0])
        else:
            told = "; ".join(
                f"{word}: {_few([_named(event) for event in same])}"
                for kind, word in ENDS.items()
                if (same := [event for event in self._untold if event.kind == kind])
            )
        self._untold.clear()
        self._line(f"{self._through()}, {told}")

    def _line(self, line: str) -> None:
        self._last = self._now()
        self._stream.write(line + "\n")
        self._stream.flush()


def _has_width(stream: TextIO) -> bool:
    """Whether the terminal says how wide it is. Some in containers say 0, and tqdm then draws nothing."""
    import os

    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        return False


def _ending(event: ClipEvent) -> str:
    """How one clip ended: its name, the word, why."""
    why = f": {harmless(event.sentence, SENTENCE_WIDTH)}" if event.sentence else ""
    return f"{harmless(event.clip)} {ENDS[event.kind]}{why}"


def _named(event: ClipEvent) -> str:
    """A clip among others; where it is in trouble, with the reason."""
    if event.kind in TROUBLE and event.sentence:
        return f"{event.clip} ({event.sentence})"
    return event.clip


def _few(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    width = SENTENCE_WIDTH if any(" (" in name for name in names) else NAME_WIDTH
    return ", ".join(harmless(name, width) for name in names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def harmless(text: str, width: int = NAME_WIDTH) -> str:
    """A text from elsewhere, fit for one line of a terminal: no control or direction marks, at most `width` columns.

    Wide characters (Chinese, emoji) count two columns, combining marks none. What is cut shows as `…`.
    """
    import unicodedata

    shown: list[str] = []
    used = [0]
    for mark in text:
        # control, format, surrogate, private, unassigned; line and paragraph separators
        clean = "?" if (category := unicodedata.category(mark)).startswith("C") or category in ("Zl", "Zp") else mark
        columns = 0 if category in ("Mn", "Me") else 1 + (unicodedata.east_asian_width(clean) in "WF")
        if used[-1] + columns > width or len(shown) >= 4 * width:
            while used[-1] > width - 1:
                used.pop()
                shown.pop()
            return "".join(shown) + "…"
        shown.append(clean)
        used.append(used[-1] + columns)
    return "".join(shown)
