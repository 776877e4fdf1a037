"""What a person sees while clips are made, on a terminal and in a log."""

from __future__ import annotations

import io
import os
import select

import pytest

from storyrun.progress import Progress, harmless
from storyrun.records import ClipEvent


class Seconds:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def plain(total: int = 3, **options: bool) -> tuple[Progress, io.StringIO, Seconds]:
    stream, now = io.StringIO(), Seconds()
    return Progress(total, stream, terminal=False, now=now, **options), stream, now


def drawn(*events: ClipEvent, total: int = 3, colour: bool = False) -> str:
    stream = io.StringIO()
    progress = Progress(total, stream, terminal=True, now=Seconds(), colour=colour)
    for event in events:
        progress(event)
    progress.close()
    return stream.getvalue()


def test_off_a_terminal_each_end_is_one_line_with_the_count() -> None:
    progress, stream, now = plain()
    for clip in ("hook", "pour", "can"):
        progress(ClipEvent(clip, "rendering"))
    for clip, kind, why in (("hook", "done", ""), ("pour", "failed", "refused by moderation"), ("can", "reused", "")):
        now.at += 2
        progress(ClipEvent(clip, kind, why))  # type: ignore[arg-type]
    progress.close()
    assert stream.getvalue().splitlines() == [
        "1/3 clips, hook made",
        "2/3 clips, pour failed: refused by moderation",
        "3/3 clips, can reused",
    ]


def test_at_most_one_line_a_second_and_nothing_untold_at_the_end() -> None:
    progress, stream, now = plain(1000)
    for number in range(1000):
        now.at += 0.004
        progress(ClipEvent(f"c{number}", "done" if number != 700 else "failed", "" if number != 700 else "no sky"))
    progress.close()
    lines = stream.getvalue().splitlines()
    assert 4 <= len(lines) <= 6
    assert lines[-1].startswith("1000/1000 clips")
    assert "failed: c700 (no sky)" in stream.getvalue()
    assert "made: c1, c2, c3 and 247 more" in lines[1]


def test_a_long_silence_is_broken_by_a_line_that_says_what_is_being_made() -> None:
    progress, stream, now = plain(9)
    for clip in "abcde":
        progress(ClipEvent(clip, "rendering"))
        now.at += 40
    assert stream.getvalue().splitlines()[-1] == "0/9 clips, rendering a, b, c and 2 more"
    assert len(stream.getvalue().splitlines()) == 4


def test_quiet_tells_only_of_trouble() -> None:
    progress, stream, now = plain(quiet=True)
    for clip, kind in (("a", "rendering"), ("a", "done"), ("b", "note"), ("b", "unknown"), ("c", "reused")):
        now.at += 60
        progress(ClipEvent(clip, kind, "because"))  # type: ignore[arg-type]
    progress.close()
    assert stream.getvalue() == "2/3 clips, b unclear: because\n"


def test_a_clip_that_is_fetched_again_is_not_counted_twice() -> None:
    progress, stream, now = plain(1)
    for kind in ("done", "fetching", "done"):
        now.at += 2
        progress(ClipEvent("a", kind))
    assert stream.getvalue() == "1/1 clips, a made\n" * 2


def test_clips_that_nobody_counted_beforehand_raise_the_total() -> None:
    progress, stream, now = plain(1)
    for clip in "ab":
        now.at += 2
        progress(ClipEvent(clip, "done"))
    assert stream.getvalue().splitlines()[-1] == "2/2 clips, b made"


def test_the_bars_show_made_of_total_what_is_rendering_and_the_time_left() -> None:
    shown = drawn(*[ClipEvent(clip, "rendering") for clip in "abcdef"], ClipEvent("a", "done"), total=6)
    assert "0/6 clips" in shown
    assert "1/6 clips" in shown
    assert "rendering a, b, c and 3 more" in shown
    assert "rendering b, c, d and 2 more" in shown
    assert " left" in shown


def test_trouble_stands_on_a_line_of_its_own_above_the_bars() -> None:
    shown = drawn(ClipEvent("pour", "failed", "refused by moderation"), ClipEvent("can", "unknown", "no answer"))
    assert "pour failed: refused by moderation\n" in shown
    assert "1 failed; 1 unclear" in shown


def test_a_terminal_that_does_not_say_how_wide_it_is_gets_its_bars_all_the_same() -> None:
    ours, theirs = os.openpty()  # 0 columns and 0 rows, as in many containers
    with os.fdopen(theirs, "w") as stream:
        progress = Progress(1, stream, terminal=True, now=Seconds(), colour=False)
        progress(ClipEvent("hook", "rendering"))
        shown = ""
        while "rendering hook" not in shown and select.select([ours], [], [], 5)[0]:  # it comes in pieces
            shown += os.read(ours, 65536).decode()
        progress.close()
    os.close(ours)
    assert "0/1 clips" in shown
    assert "rendering hook" in shown


@pytest.mark.parametrize(("colour", "painted"), [(True, True), (False, False)])
def test_no_colour_where_none_is_wanted(colour: bool, painted: bool) -> None:
    assert ("\x1b[32m" in drawn(ClipEvent("a", "done"), colour=colour)) is painted


@pytest.mark.parametrize("terminal", [True, False])
def test_no_name_and_no_sentence_reaches_the_terminal_as_a_command(terminal: bool) -> None:
    stream, now = io.StringIO(), Seconds()
    progress = Progress(3, stream, terminal=terminal, now=now, colour=False)
    evil = "a\x1b]0;title\x07\r\n\u202eevil\u2028\x9b2J"
    for kind in ("note", "rendering", "failed"):
        now.at += 60
        progress(ClipEvent(evil, kind, evil))
    progress.close()
    told = stream.getvalue().replace("\x1b[A", "")  # the bars' own way up
    assert not {"\x1b", "\x07", "\u202e", "\u2028", "\x9b"} & set(told)
    assert "a?]0;title???" in told


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("hook", "hook"),
        ("x" * 36, "x" * 36),
        ("x" * 37, "x" * 35 + "…"),
        ("漢" * 18, "漢" * 18),
        ("漢" * 19, "漢" * 17 + "…"),
        ("e" + "\u0301" * 500, "e" + "\u0301" * 143 + "…"),
        ("\ud800", "?"),
        ("", ""),
    ],
    ids=["short", "just fits", "too long", "wide fits", "wide too long", "stacked accents", "surrogate", "empty"],
)
def test_a_name_takes_no_more_than_its_columns(name: str, shown: str) -> None:
    assert harmless(name) == shown


def test_ten_thousand_reused_clips_cost_no_ten_thousand_drawings() -> None:
    assert len(drawn(*[ClipEvent(f"c{n}", "reused") for n in range(10_000)], total=10_000)) < 200_000


def test_without_a_terminal_tqdm_is_not_loaded() -> None:
    import subprocess
    import sys

    program = (
        "import io, sys; from storyrun.progress import Progress; "
        "Progress(1, io.StringIO(), terminal=False, now=lambda: 0.0); print('tqdm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
