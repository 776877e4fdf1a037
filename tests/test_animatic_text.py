"""What is written on an animatic: nothing is cut off, all stands where it can be read, every letter has a font."""

from __future__ import annotations

import struct
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyrun.errors import UsageError
from storyrun.providers.animatic import brief, fonts, moves
from storyrun.providers.animatic.coverage import covered, is_font
from storyrun.providers.animatic.layout import Leaf, Sheet
from storyrun.providers.animatic.moves import Move
from storyrun.providers.animatic.pages import fit, line_height, wrap

SANS = Path(fonts.REGULAR.path)
LONG = ("A tense detective investigation, rain on the window of a third-floor office; " * 60)[:3000].strip()


def letters(text: str) -> str:
    return "".join(text.split())


# ── lines and pages ──────────────────────────────────────────────────────────────────────────────────────────────────


def even(text: str, size: int = 10) -> float:
    """Every character half as wide as high; marks and joiners take no room."""
    return sum(character not in "\u0301\u200d" for character in text) * size / 2


TEXTS = st.text(st.sampled_from("ab c,-—。「霓虹灯é\u0301שلا🎬\u200d \n\t"), max_size=300)


@given(TEXTS, st.integers(5, 900), st.integers(5, 500), st.integers(1, 9))
def test_no_character_is_lost_whatever_the_box(text: str, width: int, height: int, pages: int) -> None:
    fitted = fit(text, width, height, even, largest=56, floor=20, pages=pages)
    assert letters("".join("".join(page) for page in fitted.pages)) == letters(text)
    assert all(page for page in fitted.pages)


@given(TEXTS, st.integers(20, 900))
def test_no_line_is_wider_than_its_box(text: str, width: int) -> None:
    for line in wrap(text, width, even):
        assert even(line) <= width


def test_lines_break_at_spaces_after_hyphens_and_between_ideographs() -> None:
    assert wrap("the old-fashioned door", 45, even) == ["the old-", "fashioned", "door"]
    assert wrap("霓虹灯下，他走过。", 20, even) == ["霓虹灯", "下，他走", "过。"]
    assert wrap("x" * 10, 15, even) == ["xxx", "xxx", "xxx", "x"]
    assert wrap("a\nb  c", 100, even) == ["a b c"]


def test_text_shrinks_first_then_turns_pages_then_shrinks_further() -> None:
    def sizes(count: int, pages: int) -> tuple[int, int]:
        fitted = fit("word " * count, 400, 200, even, largest=50, floor=20, pages=pages)
        return fitted.size, len(fitted.pages)

    assert sizes(3, 5) == (50, 1)
    assert sizes(30, 5)[1] == 1
    assert 20 < sizes(30, 5)[0] < 50
    assert sizes(150, 5) == (20, 3)
    size, pages = sizes(150, 1)
    assert size < 20
    assert pages == 1


def test_a_few_lines_are_about_equally_long() -> None:
    fitted = fit("he moves carefully through a dim corridor with a flashlight", 500, 200, even, largest=20, floor=20)
    assert fitted.pages == (("he moves carefully through a", "dim corridor with a flashlight"),)


# ── the card ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def leaves(*shots: dict[str, Any], size: tuple[int, int] = (1280, 720), picture: bool = False, **more: Any):
    job = {"scene": "key-clue", "shots": list(shots), "length": shots[-1]["end"], "frame_rate": "30"}
    drawn = brief.read(job | {"width": size[0], "height": size[1]} | more)
    typeface = fonts.Fonts(None, lambda _: None, ()).for_texts(drawn.texts)
    sheet = Sheet(size, typeface.width, picture=picture)
    return sheet, sheet.leaves(drawn)


def words(found: tuple[Leaf, ...]) -> Counter[str]:
    return Counter(word for leaf in found for line in leaf.lines for word in line.text.split())


SIZES = [(1280, 720), (720, 1280), (960, 960), (832, 480), (480, 832), (624, 624), (1920, 1080)]


def check_places(sheet: Sheet, found: tuple[Leaf, ...]) -> None:
    """All texts are in the inner nine tenths, above the bar, and none lies on another."""
    for leaf in found:
        boxes = [sheet.box(line) for line in leaf.lines]
        for left, top, right, bottom in boxes:
            assert sheet.left - 1 <= left < right <= sheet.right + 1
            assert 0.03 * sheet.height <= top < bottom <= sheet.bar
        for one, (left, top, right, bottom) in enumerate(boxes):
            for other, (a, b, c, d) in enumerate(boxes[one + 1 :], one + 1):
                apart = left >= c or a >= right or top + 2 >= d or b + 2 >= bottom
                assert apart, (leaf.lines[one], leaf.lines[other])


@pytest.mark.parametrize("picture", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_every_word_of_a_shot_is_shown_where_it_can_be_read(size, picture) -> None:
    talk = [{"speaker": "mira (low)", "text": "Anyone here?"}, {"text": LONG[:200]}]
    sheet, found = leaves(
        {"index": 2, "start": 0, "end": 6, "framing": "medium shot", "camera": "slow push in", "action": LONG[:500]}
        | {"dialogue": talk, "sound": "distant sirens"},
        size=size,
        picture=picture,
        variant={"city": "New York", "format": "wide"},
        take=3,
    )
    everything = "key-clue shot 2 New York · wide · take 3 medium shot · slow push in sound: distant sirens mira (low)"
    spoken = f"{LONG[:500]} {talk[0]['text']} {talk[1]['text']}"
    assert not Counter(f"{everything} {spoken}".split()).keys() - words(found).keys()
    check_places(sheet, found)


@pytest.mark.parametrize("picture", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seconds", [0.2, 3])
def test_more_than_anybody_can_read_is_still_in_its_place(size, picture, seconds) -> None:
    sheet, found = leaves(
        {"index": 1, "start": 0, "end": seconds, "framing": LONG[:150], "camera": LONG[:150], "action": LONG}
        | {"dialogue": [{"speaker": LONG[:80], "text": LONG[:400]}] * 3, "sound": LONG[:300]},
        size=size,
        picture=picture,
        scene="a-scene-with-a-very-long-name-that-somebody-wrote-because-they-could-and-nobody-stopped-them",
        variant={"product": LONG[:120]},
    )
    check_places(sheet, found)


@pytest.mark.parametrize("seconds", [0.1, 0.5, 2, 5, 15])
@pytest.mark.parametrize("size", [(1280, 720), (480, 832)])
def test_a_long_action_is_shown_whole_in_any_time(size, seconds) -> None:
    sheet, found = leaves({"index": 1, "start": 0, "end": seconds, "action": LONG}, size=size)
    shown = words(found)
    assert all(shown[word] >= count for word, count in Counter(LONG.split()).items())
    assert all(line.baseline <= sheet.bar for leaf in found for line in leaf.lines)
    assert len(found) <= max(1, seconds / 1.5)


def test_dialogue_is_shown_line_after_line_evenly_over_the_shot() -> None:
    talk = [{"speaker": "a", "text": "One."}, {"speaker": "b", "text": "Two."}, {"text": "Three."}]
    _, found = leaves({"index": 1, "start": 0, "end": 3, "action": "they talk", "dialogue": talk})
    said = [
        (leaf.first, leaf.last, {line.text for line in leaf.lines} & {"One.", "Two.", "Three.", "a", "b"})
        for leaf in found
    ]
    assert said == [(0, 30, {"a", "One."}), (30, 60, {"b", "Two."}), (60, 90, {"Three."})]
    assert len({leaf.panels[0][3] for leaf in found}) == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=15), st.sampled_from(["30", "24", "16", "30000/1001"]))
def test_leaves_cover_every_frame_once(hundredths: list[int], rate: str) -> None:
    ends = [sum(hundredths[: n + 1]) / 100 for n in range(len(hundredths))]
    shots = [
        {"index": n + 1, "start": start, "end": end, "action": LONG[:600]}
        for n, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    ]
    _, found = leaves(*shots, size=(320, 180), frame_rate=rate)
    frames = [frame for leaf in found for frame in range(leaf.first, leaf.last)]
    assert frames == list(range(max(1, round(Fraction(str(ends[-1])) * Fraction(rate)))))


@pytest.mark.parametrize(
    ("frame", "rate", "said"),
    [
        (0, "30", "00:00:00:00"),
        (29, "30", "00:00:00:29"),
        (30, "30", "00:00:01:00"),
        (95, "24", "00:00:03:23"),
        (30 * 3725 + 4, "30", "01:02:05:04"),
        (30, "30000/1001", "00:00:01:00"),
        (17, "16", "00:00:01:01"),
        (125, "120", "00:00:01:005"),
    ],
)
def test_timecode_counts_whole_frames(frame, rate, said) -> None:
    assert brief.timecode(frame, Fraction(rate)) == said


# ── cameras ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("camera", "signs"),
    [
        ("", ""),
        ("static", ""),
        ("locked off, tripod", ""),
        ("pull focus to the door", ""),
        ("50mm lens, shallow depth of field", ""),
        ("slow push in", "push+"),
        ("The camera pushes in slowly", "push+"),
        ("push-in", "push+"),
        ("dolly in", "push+"),
        ("dolly out", "push-"),
        ("pull back", "push-"),
        ("slow pull-out", "push-"),
        ("zoom", "push+"),
        ("crash zoom out", "push-"),
        ("camera moves closer", "push+"),
        ("pan left", "pan-"),
        ("panning right across the room", "pan+"),
        ("pan in the hallway", "pan+"),
        ("whip pan to the left", "pan-"),
        ("tracking shot, left to right", "push+ pan+"),
        ("truck left", "push+ pan-"),
        ("tilt up", "tilt+"),
        ("tilts down to her hands", "tilt-"),
        ("crane up", "tilt+"),
        ("camera descends", "tilt-"),
        ("orbit around him", "push+ pan+"),
        ("dutch roll", "roll+"),
        ("roll left", "roll-"),
        ("handheld", "shake+"),
        ("hand-held, slow push in", "push+ shake+"),
        ("pan left, then tilt up", "pan- tilt+"),
    ],
)
def test_the_words_of_a_director_move_the_camera(camera, signs) -> None:
    move = moves.read(camera)
    named = {name: getattr(move, name) for name in ("push", "pan", "tilt", "roll", "shake")}
    assert " ".join(f"{name}{'+' if value > 0 else '-'}" for name, value in named.items() if value) == signs
    assert move.still is (signs == "")


def test_slow_is_less_than_fast() -> None:
    assert 0 < moves.read("slow pan right").pan < moves.read("pan right").pan < moves.read("fast pan right").pan


@given(
    st.builds(Move, *[st.floats(-0.5, 0.5)] * 3, st.floats(-12, 12), st.floats(0, 1)), st.floats(0, 1), st.floats(0, 30)
)
def test_the_camera_never_sees_beyond_the_picture(move: Move, part: float, seconds: float) -> None:
    view = move.at(part, seconds)
    assert view.zoom >= 1
    assert abs(view.x) <= 1
    assert abs(view.y) <= 1


def test_a_move_goes_from_one_end_to_the_other() -> None:
    assert (moves.read("pan left").at(0, 0).x, moves.read("pan left").at(1, 3).x) == (1, -1)
    assert (moves.read("tilt up").at(0, 0).y, moves.read("tilt up").at(1, 3).y) == (-1, 1)
    assert moves.read("push in").at(0, 0).zoom == 1 < moves.read("push in").at(1, 3).zoom
    assert moves.read("pull out").at(1, 3).zoom == 1 < moves.read("pull out").at(0, 0).zoom


# ── fonts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def font_with(path: Path, characters: str, form: int = 12, *, drop: bytes = b"") -> Path:
    """The shipped font, telling that it has these characters and no others; each looks like an A."""
    data = SANS.read_bytes()
    codes = sorted(map(ord, characters))
    if form == 12:
        body = b"".join(struct.pack(">III", code, code, 36) for code in codes)
        table = struct.pack(">HHIII", 12, 0, 16 + len(body), 0, len(codes)) + body
    else:
        codes = [*codes, 0xFFFF]
        deltas = [(36 - code) & 0xFFFF for code in codes[:-1]] + [1]
        columns = (codes, [0], codes, deltas, [0] * len(codes))
        body = b"".join(struct.pack(f">{len(column)}H", *column) for column in columns)
        table = struct.pack(">7H", 4, 14 + len(body), 0, 2 * len(codes), 0, 0, 0) + body
    cmap = struct.pack(">HHHHI", 0, 1, 3, 10 if form == 12 else 1, 12) + table
    count = struct.unpack(">H", data[4:6])[0]
    head = bytearray(data[: 12 + 16 * count])
    for at in range(12, len(head), 16):
        if head[at : at + 4] == b"cmap":
            head[at + 8 : at + 16] = struct.pack(">II", len(data), len(cmap))
        if head[at : at + 4] == drop:
            head[at : at + 4] = b"xxxx"
    path.write_bytes(bytes(head) + data[len(head) :] + cmap)
    return path


def collection(path: Path, *members: Path) -> Path:
    """Fonts in one file."""
    head = struct.pack(">4sIII", b"ttcf", 0x10000, len(members), 0)[:12]
    start, starts, parts = 12 + 4 * len(members), [], []
    for member in members:
        data = bytearray(member.read_bytes())
        for at in range(12, 12 + 16 * struct.unpack(">H", data[4:6])[0], 16):
            data[at + 8 : at + 12] = struct.pack(">I", struct.unpack(">I", data[at + 8 : at + 12])[0] + start)
        starts.append(start)
        parts.append(bytes(data))
        start += len(data)
    path.write_bytes(head + struct.pack(f">{len(starts)}I", *starts) + b"".join(parts))
    return path


def drawn_by(face: fonts.Typeface, text: str) -> list[tuple[str, str]]:
    return [(Path(str(font.path)).name, part) for font, part in face._parts(text, 20, bold=False)]


def test_the_shipped_font_has_european_letters_and_no_chinese() -> None:
    text = "Azéñß€—“”…·×ЖΩאع"
    assert covered(SANS, text + "侦探🎬") == {0: frozenset(text)}
    assert is_font(SANS)
    assert (SANS.parent / "LICENSE.txt").read_text(encoding="utf-8").count("Copyright") > 2


@pytest.mark.parametrize("form", [4, 12])
def test_coverage_is_read_from_both_kinds_of_character_maps(tmp_path, form) -> None:
    path = font_with(tmp_path / "a.ttf", "侦探字", form)
    assert covered(path, "探侦A" + "\U0001f3ac") == {0: frozenset("侦探")}
    both = collection(tmp_path / "b.ttc", SANS, path)
    assert covered(both, "A侦") == {0: frozenset("A"), 1: frozenset("侦")}


def test_what_is_no_font_covers_nothing(tmp_path) -> None:
    bitmap = font_with(tmp_path / "emoji.ttf", "🎬", drop=b"glyf")
    for number, data in enumerate((b"", b"<html>", SANS.read_bytes()[:300], b"\0\1\0\0\0\x09" + b"\xff" * 200)):
        (tmp_path / f"{number}.ttf").write_bytes(data)
    for path in (*tmp_path.glob("*.ttf"), tmp_path / "not there.ttf", tmp_path):
        assert covered(path, "A🎬") == {}
        assert path == bitmap or not is_font(path) or path.name == "2.ttf"
    assert not is_font(bitmap)


def test_an_installed_font_draws_what_the_shipped_one_lacks(tmp_path) -> None:
    said: list[str] = []
    font_with(tmp_path / "Some Sans.ttf", "侦探")
    face = fonts.Fonts(None, said.append, [tmp_path]).for_texts(["the 侦探, again"])
    assert drawn_by(face, "the 侦探, again") == [
        ("DejaVuSans.ttf", "the "),
        ("Some Sans.ttf", "侦探"),
        ("DejaVuSans.ttf", ", again"),
    ]
    assert face.width("侦探", 20) == pytest.approx(face.width("AA", 20), abs=1)
    assert said == []


def test_which_font_draws_depends_on_nothing_that_was_drawn_before(tmp_path) -> None:
    """Fewest fonts first, then plain ones, then by name, whatever the order of the files and of the clips."""
    font_with(tmp_path / "B Sans.ttf", "侦探")
    font_with(tmp_path / "A Sans Bold.ttf", "侦探字")
    font_with(tmp_path / "A Sans.ttf", "侦探")
    font_with(tmp_path / "A Sans Italic.ttf", "侦探")
    known = fonts.Fonts(None, pytest.fail, [tmp_path])
    assert drawn_by(known.for_texts(["字"]), "字") == [("A Sans Bold.ttf", "字")]
    for one in (known, fonts.Fonts(None, pytest.fail, [tmp_path])):
        assert drawn_by(one.for_texts(["侦探"]), "侦探") == [("A Sans.ttf", "侦探")]
        assert drawn_by(one.for_texts(["侦探字"]), "侦探字") == [("A Sans Bold.ttf", "侦探字")]


def test_what_no_font_has_is_said_once_with_what_to_do(tmp_path) -> None:
    said: list[str] = []
    known = fonts.Fonts(None, said.append, [tmp_path, tmp_path / "not there"])
    for text in ("侦 and é \u200d\ufe0f\t", "侦", "侦探"):
        known.for_texts([text])
    assert len(said) == 2
    assert "侦 (U+4FA6)" in said[0]
    assert "STORYRUN_FONT=" in said[0]
    assert "探 (U+63A2)" in said[1]
    assert "侦" not in said[1]


def test_a_font_of_the_users_comes_first(tmp_path) -> None:
    own = font_with(tmp_path / "own.ttf", "AB侦")
    face = fonts.Fonts(own, pytest.fail, ()).for_texts(["ABC侦"])
    assert drawn_by(face, "ABC侦") == [("own.ttf", "AB"), ("DejaVuSans.ttf", "C"), ("own.ttf", "侦")]


@pytest.mark.parametrize("data", [None, b"not a font"])
def test_a_font_of_the_users_that_is_none_is_refused(tmp_path, data) -> None:
    if data:
        (tmp_path / "own.ttf").write_bytes(data)
    with pytest.raises(UsageError, match=r"own\.ttf is not a font file"):
        fonts.Fonts(tmp_path / "own.ttf", pytest.fail)


def test_a_font_that_says_more_than_it_can_draw_is_passed_over(tmp_path) -> None:
    whole = font_with(tmp_path / "B Sans.ttf", "侦").read_bytes()
    (tmp_path / "A Sans.ttf").write_bytes(whole.replace(b"head", b"xxxx", 1))
    assert is_font(tmp_path / "A Sans.ttf")
    face = fonts.Fonts(None, pytest.fail, [tmp_path]).for_texts(["侦"])
    assert drawn_by(face, "侦") == [("B Sans.ttf", "侦")]
    with pytest.raises(UsageError, match="is not a font file"):
        fonts.Fonts(tmp_path / "A Sans.ttf", pytest.fail).for_texts(["a"])


def test_sizes_are_pixels_and_lines_have_room() -> None:
    face = fonts.Fonts(None, pytest.fail, ()).for_texts(["Å"])
    assert face.width("MMMM", 40) == pytest.approx(2 * face.width("MMMM", 20), rel=0.05)
    assert face.width("Anyone", 30, bold=True) > face.width("Anyone", 30)
    assert line_height(100) == 132
