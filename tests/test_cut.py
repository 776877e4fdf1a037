"""Films that were put together, read back frame by frame and sample by sample."""

from __future__ import annotations

import hashlib
import math
from array import array
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import av
import pytest

from storyrun import media
from storyrun.errors import LedgerError, UsageError
from storyrun.exports import cues, cut
from storyrun.exports.cut.letters import Letters
from storyrun.exports.cut.pictures import mapped
from storyrun.exports.cut.pieces import shown
from storyrun.providers.animatic.fonts import Fonts
from storyrun.records import Film, MediaSource, Part

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (96, 54)
RATE = Fraction(24)
LOUD = 8000
"""Peak of the tones."""

CREDENTIALS = (8 + 16 + 24).to_bytes(4, "big") + b"uuid" + media.CREDENTIALS + bytes(24)


def frame_of(level: int, size: tuple[int, int]) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    for number, plane in enumerate(frame.planes):
        plane.update(bytes([128 if number else level]) * plane.buffer_size)
    return frame


def tone(hertz: float, seconds: Fraction) -> bytes:
    samples = array("h")
    for place in range(round(seconds * 48000)):
        value = round(LOUD * math.sin(2 * math.pi * hertz * place / 48000))
        samples.extend((value, value))
    return samples.tobytes()


class Bench:
    """A run's folder with clips in it, and the manifest that tells of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "clips").mkdir()
        self.manifest: dict[str, Any] = {"provider": "dashscope", "clips": []}
        self.drawn: list[tuple[str, tuple[int, int], Fraction, int]] = []

    def clip(
        self,
        name: str,
        *,
        level: int = 120,
        seconds: Fraction = Fraction(1),
        rate: Fraction = RATE,
        size: tuple[int, int] = SIZE,
        hertz: float | None = 440,
        rising: bool = False,
        **told: Any,
    ) -> Path:
        """A clip of one grey, or of one that gets brighter frame by frame, with a tone."""
        path = self.folder / "clips" / f"{name}.mp4"
        frames = round(seconds * rate)
        with media.Film(path, size, rate, sound=hertz is not None) as writer:
            for number in range(frames):
                writer.add_frame(frame_of(level + (number * 4 if rising else 0), size), cut=number == 0)
            writer.add_sound(b"" if hertz is None else tone(hertz, frames / rate))
        self.tell(name, file=f"clips/{name}.mp4", **told)
        return path

    def tell(self, name: str, **told: Any) -> None:
        shots = [{"index": 1, "start": 0, "end": 1}]
        self.manifest["clips"].append(
            {"id": name, "status": "done", "picked": False, "file": None, "shots": shots} | told
        )

    def film(self, *parts: str | tuple[str, ...], seconds: Fraction = Fraction(1), **changes: Any) -> Film:
        made = []
        for part in parts:
            takes = (part,) if isinstance(part, str) else part
            made.append(Part(takes[0], takes[0], takes, takes[0], False, seconds))
        fields: dict[str, Any] = {
            "variant": {}, "title": "The spot, überall", "stem": "spot", "parts": tuple(made), "sound": None,
            "length": len(parts) * seconds, "clip_sound": Decimal(0), "fade": Fraction(0), "subtitles": "none",
        }  # fmt: skip
        return Film(**(fields | changes))

    def card(self, clip: str, size: tuple[int, int], rate: Fraction, frames: int, path: Path) -> None:
        self.drawn.append((clip, size, rate, frames))
        with media.Film(path, size, rate, sound=False) as writer:
            for _ in range(frames):
                writer.add_frame(frame_of(200, size))

    def assemble(self, *parts: str | tuple[str, ...], **changes: Any) -> cut.Assembled:
        fonts = Fonts(None, pytest.fail)
        film = self.film(*parts, **changes)
        return cut.assemble(
            film, self.manifest, self.folder, card=self.card, fonts=fonts, comment="spot.yaml, storyrun"
        )

    def file(self, name: str, hertz: float, seconds: Fraction) -> MediaSource:
        """A sound file."""
        path = self.folder / name
        with av.open(str(path), "w", format="wav") as container:
            stream = container.add_stream("pcm_s16le", 48000, layout="stereo")
            data = tone(hertz, seconds)
            frame = av.AudioFrame("s16", "stereo", len(data) // 4)
            frame.sample_rate = 48000
            frame.planes[0].update(data)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return MediaSource(name, "audio", path, "0" * 64)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


def pictures(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def luma(frame: av.VideoFrame, *, box: tuple[int, int, int, int] | None = None) -> float:
    """Mean brightness of a frame, or of a box (left, top, right, bottom) of it."""
    plane = frame.planes[0]
    left, top, right, bottom = box or (0, 0, frame.width, frame.height)
    data = bytes(plane)
    rows = [data[row * plane.line_size + left : row * plane.line_size + right] for row in range(top, bottom)]
    return sum(map(sum, rows)) / ((right - left) * (bottom - top))


def lights(path: Path) -> list[float]:
    return [luma(frame) for frame in pictures(path)]


def heard(path: Path) -> array[int]:
    """Left channel, 48 kHz, as a player hears it."""
    found: array[int] = array("h")
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", 48000)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                found.frombytes(bytes(part.planes[0])[: part.samples * 2])
    return found


def loudness(samples: array[int], start: float, end: float) -> float:
    """Effective value between two moments in seconds."""
    part = samples[round(start * 48000) : round(end * 48000)]
    return math.sqrt(sum(value * value for value in part) / len(part))


def crossings(samples: array[int], start: float, end: float) -> float:
    """About the tone's frequency between two moments."""
    part = samples[round(start * 48000) : round(end * 48000)]
    ups = sum(a < 0 <= b for a, b in pairwise(part))
    return ups / (end - start)


def shape(made: cut.Assembled) -> tuple[Any, ...]:
    info = media.probe(made.path)
    return info.frames, info.fps, (info.width, info.height), info.audio_codec


# ── copied ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_clips_that_are_alike_are_copied_packet_by_packet(bench):
    paths = [bench.clip("a", level=40), bench.clip("b", level=120), bench.clip("c", level=200)]
    made = bench.assemble("a", "b", "c")
    assert made.copied
    assert made.whole
    assert packets(made.path) == [packet for path in paths for packet in packets(path)]
    assert shape(made) == (72, RATE, SIZE, "aac")
    assert made.seconds == 3
    assert lights(made.path) == pytest.approx([40] * 24 + [120] * 24 + [200] * 24, abs=2)


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30000/1001", "16"])
def test_copies_are_exact_at_every_rate(bench, rate):
    for name in "abc":
        bench.clip(name, rate=Fraction(rate), seconds=Fraction(2), hertz=None)
    made = bench.assemble("a", "b", "c", seconds=Fraction(2))
    assert made.copied
    assert shape(made) == (3 * round(2 * Fraction(rate)), Fraction(rate), SIZE, None)
    times = [frame.time for frame in pictures(made.path)]
    assert times == pytest.approx([number / Fraction(rate) for number in range(len(times))], abs=0.001)


def reordered(bench: Bench, name: str, level: int) -> Path:
    """A clip whose frames are not stored in the order in which they are seen, as clouds encode theirs."""
    path = bench.folder / "clips" / f"{name}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", RATE, {"bf": "3", "b-adapt": "0", "g": "48"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(24):
            frame = frame_of(level + 5 * (number % 7), SIZE)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    bench.tell(name, file=f"clips/{name}.mp4")
    return path


def test_frames_that_are_stored_out_of_order_are_copied_too(bench):
    paths = [reordered(bench, "a", 40), reordered(bench, "b", 160)]
    made = bench.assemble("a", "b")
    assert made.copied
    assert packets(made.path) == [packet for path in paths for packet in packets(path)]
    assert lights(made.path) == lights(paths[0]) + lights(paths[1])


def test_what_another_encoder_set_up_is_not_copied_behind_it(bench):
    bench.clip("a", level=40, hertz=None)
    reordered(bench, "b", 160)
    made = bench.assemble("a", "b")
    assert not made.copied
    assert shape(made)[0] == 48
    assert lights(made.path)[24:26] == pytest.approx([160, 165], abs=2)


# ── shown anew ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_shapes_become_that_of_most_clips_with_black_beside_the_other(bench):
    bench.clip("a", level=180)
    bench.clip("b", level=180, size=(54, 96))
    bench.clip("c", level=180)
    made = bench.assemble("a", "b", "c")
    assert not made.copied
    assert shape(made) == (72, RATE, SIZE, "aac")
    upright = pictures(made.path)[36]
    assert luma(upright, box=(0, 0, 30, 54)) == pytest.approx(16, abs=2)
    assert luma(upright, box=(66, 0, 96, 54)) == pytest.approx(16, abs=2)
    assert luma(upright, box=(36, 2, 60, 52)) == pytest.approx(180, abs=3)


def test_two_rates_become_that_of_most_clips_and_no_clip_gets_faster(bench):
    bench.clip("a", level=20, rate=Fraction(12), rising=True, seconds=Fraction(2))
    bench.clip("b")
    bench.clip("c")
    made = bench.assemble("a", "b", "c", seconds=Fraction(1))
    assert shape(made)[:2] == (72, RATE)
    assert lights(made.path)[:24] == pytest.approx([20 + 4 * (number // 2) for number in range(24)], abs=2)


def test_a_clip_that_came_short_is_held_and_one_that_came_long_is_cut(bench):
    bench.clip("short", seconds=Fraction(3, 4), rising=True, level=40)
    bench.clip("long", seconds=Fraction(5, 4), level=200)
    made = bench.assemble("short", "long")
    assert made.notes == (
        "short is 0.75 s of 1: its last frame is held",
        "long is 1.25 s of 1: its end is cut off",
    )
    assert not made.whole
    found = lights(made.path)
    assert len(found) == 48
    assert found[17:24] == pytest.approx([40 + 17 * 4] * 7, abs=2)
    assert found[24:] == pytest.approx([200] * 24, abs=2)


def test_colours_of_full_range_are_brought_to_ours(bench):
    path = bench.folder / "clips" / "full.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", RATE)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.color_range = 2
        for number in range(24):
            frame = frame_of(255, SIZE)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    bench.tell("full", file="clips/full.mp4")
    bench.clip("a")
    assert lights(bench.assemble("a", "full").path)[24:] == pytest.approx([235] * 24, abs=2)


def test_a_fade_darkens_both_sides_of_a_cut_and_no_length(bench):
    bench.clip("a", level=180)
    bench.clip("b", level=180)
    made = bench.assemble("a", "b", fade=Fraction(1, 2))
    found = lights(made.path)
    assert len(found) == 48
    assert found[:18] == pytest.approx([180] * 18, abs=2)
    assert found[30:] == pytest.approx([180] * 18, abs=2)
    assert found[18:24] == sorted(found[18:24], reverse=True)
    assert found[24:30] == sorted(found[24:30])
    assert max(found[23], found[24]) < 40
    assert bench.assemble("a", fade=Fraction(1, 2)).copied


def test_a_film_is_the_same_to_the_byte_when_it_is_made_again(bench):
    bench.clip("a", level=40)
    bench.clip("b", rate=Fraction(30), rising=True)
    how = {"fade": Fraction(1, 2), "sound": bench.file("vo.wav", 300, Fraction(1)), "clip_sound": Decimal(-6)}
    first = bench.assemble("a", "b", **how)
    again = bench.assemble("a", "b", **how)
    assert first.sha256 == again.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert [path.name for path in first.path.parent.iterdir()] == ["spot.mp4"]


def test_a_film_says_what_it_is(bench):
    bench.clip("a")
    with av.open(str(bench.assemble("a").path)) as container:
        assert container.metadata["title"] == "The spot, überall"
        assert container.metadata["comment"] == "spot.yaml, storyrun"
        assert "encoder" not in container.metadata


# ── sound ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_clips_sound_begins_at_its_first_frame(bench):
    for name, hertz in (("a", 440), ("b", 880), ("c", 440), ("d", 880)):
        bench.clip(name, hertz=hertz)
    samples = heard(bench.assemble("a", "b", "c", "d").path)
    assert len(samples) == pytest.approx(4 * 48000, abs=1024)
    for at, before, after in ((1, 440, 880), (2, 880, 440), (3, 440, 880)):
        assert crossings(samples, at - 0.1, at - 0.005) == pytest.approx(before, rel=0.03)
        assert crossings(samples, at + 0.005, at + 0.1) == pytest.approx(after, rel=0.03)


def test_a_silent_clip_among_others_is_silence_of_its_length(bench):
    bench.clip("a")
    bench.clip("b", hertz=None)
    bench.clip("c", hertz=880)
    samples = heard(bench.assemble("a", "b", "c").path)
    assert loudness(samples, 0.1, 0.9) == pytest.approx(LOUD / math.sqrt(2), rel=0.03)
    assert loudness(samples, 1.05, 1.95) < 20
    assert crossings(samples, 2.05, 2.9) == pytest.approx(880, rel=0.03)


@pytest.mark.parametrize("seconds", [Fraction(1), Fraction(5)])
def test_a_sound_file_is_padded_with_silence_and_cut_to_the_picture(bench, seconds):
    bench.clip("a", hertz=None)
    bench.clip("b", hertz=None)
    made = bench.assemble("a", "b", sound=bench.file("vo.wav", 300, seconds))
    assert made.copied
    samples = heard(made.path)
    assert len(samples) == pytest.approx(2 * 48000, abs=1024)
    assert crossings(samples, 0.05, 0.95) == pytest.approx(300, rel=0.03)
    assert (loudness(samples, 1.05, 1.95) < 20) == (seconds == 1)


def test_the_clips_are_laid_under_the_sound_at_their_gain(bench):
    bench.clip("a")
    bench.clip("b")
    plain = heard(bench.assemble("a", "b").path)
    lower = heard(bench.assemble("a", "b", clip_sound=Decimal(-12)).path)
    assert loudness(lower, 0.1, 1.9) / loudness(plain, 0.1, 1.9) == pytest.approx(10 ** (-12 / 20), rel=0.02)
    voice = bench.file("vo.wav", 300, Fraction(1))
    under = heard(bench.assemble("a", "b", sound=voice, clip_sound=Decimal(-12)).path)
    assert loudness(under, 1.1, 1.9) / loudness(plain, 0.1, 1.9) == pytest.approx(10 ** (-12 / 20), rel=0.03)
    both = math.sqrt(1 + 10 ** (-24 / 20)) * LOUD / math.sqrt(2)
    assert loudness(under, 0.1, 0.9) == pytest.approx(both, rel=0.03)


def test_clip_sound_off_leaves_the_films_own_sound_or_none(bench):
    bench.clip("a")
    bench.clip("b")
    assert shape(bench.assemble("a", "b", clip_sound=None))[3] is None
    samples = heard(bench.assemble("a", "b", clip_sound=None, sound=bench.file("vo.wav", 300, Fraction(1))).path)
    assert crossings(samples, 0.05, 0.95) == pytest.approx(300, rel=0.03)
    assert loudness(samples, 1.05, 1.95) < 20


def test_what_is_too_loud_is_held_and_does_not_clip(bench):
    bench.clip("a")
    voice = bench.file("vo.wav", 441, Fraction(1))
    samples = heard(bench.assemble("a", sound=voice, clip_sound=Decimal(12)).path)
    assert max(samples) < 32700
    assert max(samples) > 28000
    assert crossings(samples, 0.1, 0.9) == pytest.approx(440, rel=0.01)
    flat = sum(abs(value) > 32000 for value in samples)
    assert flat < len(samples) // 20


def test_a_sound_file_that_cannot_be_read_is_bad_input_and_leaves_nothing(bench):
    bench.clip("a")
    (bench.folder / "vo.mp3").write_bytes(b"ID3" + bytes(200))
    with pytest.raises(UsageError, match=r"vo\.mp3 cannot be read as sound"):
        bench.assemble("a", sound=MediaSource("vo.mp3", "audio", bench.folder / "vo.mp3", ""))
    assert list((bench.folder / "films").iterdir()) == []


# ── subtitles ────────────────────────────────────────────────────────────────────────────────────────────────────────


def spoken(*lines: str, start: float = 0.25, end: float = 0.75) -> list[dict[str, Any]]:
    return [
        {"index": 1, "start": 0, "end": start},
        {"index": 2, "start": start, "end": end, "dialogue": [{"speaker": "Ann", "text": line} for line in lines]},
        {"index": 3, "start": end, "end": 1},
    ]


def test_the_lines_of_a_shot_share_its_window_and_none_reaches_beyond_the_clip():
    found = cues.of_shots(spoken("Now!", "Not just yet"), Fraction(10), Fraction(1))
    assert [(cue.start, cue.end, cue.text) for cue in found] == [
        (Fraction("10.25"), Fraction("10.375"), "Now!"),
        (Fraction("10.375"), Fraction("10.75"), "Not just yet"),
    ]
    assert [cue.end for cue in cues.of_shots(spoken("Now!"), Fraction(0), Fraction(1, 2))] == [Fraction(1, 2)]
    assert cues.of_shots(spoken("Now!"), Fraction(0), Fraction(1, 4)) == ()


def test_soft_subtitles_are_a_track_that_says_it_when_it_is_said(bench):
    bench.clip("a", shots=spoken("Où est la clé ?"))
    bench.clip("b", shots=spoken("Here.", "I think"))
    made = bench.assemble("a", "b", subtitles="soft")
    assert made.copied
    with av.open(str(made.path)) as container:
        (track,) = container.streams.subtitles
        assert track.codec_context.name == "mov_text"
        said = [
            (packet.pts, packet.duration, bytes(packet)[2:].decode())
            for packet in container.demux(track)
            if packet.size > 2
        ]
        assert track.time_base == Fraction(1, 1000)
    assert said == [(250, 500, "Où est la clé ?"), (1250, 208, "Here."), (1458, 292, "I think")]


def test_burnt_subtitles_are_in_the_lower_third_while_they_are_said_and_nowhere_else(bench):
    size = (320, 180)
    bench.clip("a", size=size, shots=spoken("Is anyone here?"))
    bench.clip("b", size=size)
    frames = pictures(bench.assemble("a", "b", subtitles="burnt").path)
    for number, frame in enumerate(frames):
        rows = [bytes(frame.planes[0])[row * frame.planes[0].line_size :][:320] for row in range(180)]
        lower = max(max(row) for row in rows[120:]) - min(min(row) for row in rows[120:])
        assert max(max(row) for row in rows[:118]) - min(min(row) for row in rows[:118]) < 12
        if 6 <= number < 18:
            assert lower > 180
            assert max(max(row[:22] + row[-22:]) for row in rows) < 135  # inside the margins
            assert max(rows[-6]) < 135
        else:
            assert lower < 12


@pytest.mark.parametrize("size", [(854, 480), (320, 180), (180, 320)])
@pytest.mark.parametrize(
    "text",
    [
        "I could swear that I heard somebody walking up and down these stairs the whole night long, and so did she.",
        "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichenverordnungsentwurf",
    ],
)
def test_long_lines_are_wrapped_inside_the_margins_of_the_lower_third(size, text):
    letters = Letters(Fonts(None, pytest.fail), size, [cues.Cue(Fraction(0), Fraction(1), text)])
    planes = mapped(frame_of(100, size))
    laid = letters.at(Fraction(1, 2))
    assert laid is not None
    laid.lay(planes)
    changed = planes[0].point([0 if value == 100 else 255 for value in range(256)]).getbbox()
    assert changed is not None
    left, top, right, bottom = changed
    wide, high = size
    assert 0.05 * wide - 1 <= left < right <= 0.95 * wide + 1
    assert bottom <= 0.95 * high
    assert top >= 0.64 * high
    assert letters.at(Fraction(1)) is None


def test_an_animatic_has_its_dialogue_in_the_picture_and_is_copied(bench):
    bench.clip("a", shots=spoken("Is anyone here?"))
    bench.manifest["provider"] = "animatic"
    assert bench.assemble("a", subtitles="burnt").copied


# ── what is shown, and what is missing ───────────────────────────────────────────────────────────────────────────────


def test_the_picked_take_is_shown_else_the_first_that_is_done():
    part = Part("a", "a", ("a", "a#2", "a#3"), "a", False, Fraction(1))
    failed, done = {"status": "failed", "picked": False}, {"status": "done", "picked": False}
    assert shown(part, {"a": failed, "a#2": done, "a#3": done}) == "a#2"
    assert shown(part, {"a": done, "a#2": done, "a#3": {"status": "done", "picked": True}}) == "a#3"
    assert shown(part, {"a": failed, "a#2": failed, "a#3": failed}) == "a"
    assert shown(part, {}) == "a"


def test_in_the_place_of_a_missing_clip_stands_a_card_of_just_its_length(bench):
    bench.clip("a")
    bench.tell("b", status="failed")
    made = bench.assemble("a", "b", "a", seconds=Fraction(1))
    assert bench.drawn == [("b", SIZE, RATE, 24)]
    assert made.missing == ("b",)
    assert not made.whole
    assert lights(made.path) == pytest.approx([120] * 24 + [200] * 24 + [120] * 24, abs=2)
    assert loudness(heard(made.path), 1.05, 1.95) < 20


def test_a_damaged_clip_is_missing_and_it_is_said_why(bench):
    path = bench.clip("a")
    bench.clip("b")
    path.write_bytes(path.read_bytes()[:-700])
    made = bench.assemble("a", "b")
    assert made.missing == ("a",)
    assert any(note.startswith("a: the file is ") for note in made.notes)


def test_a_film_of_cards_alone_has_the_size_that_was_ordered(bench):
    ordered = {"seconds": 1, "width": 64, "height": 36, "frame_rate": "30", "sound": True}
    bench.tell("a", status="planned", ordered=ordered)
    assert shape(bench.assemble("a")) == (30, Fraction(30), (64, 36), None)


def test_credentials_of_clips_are_seen_and_stay_in_the_clips_alone(bench):
    plain, signed = bench.clip("a"), bench.clip("b")
    signed.write_bytes(signed.read_bytes() + CREDENTIALS)
    before = signed.read_bytes()
    assert (media.has_credentials(plain), media.has_credentials(signed)) == (False, True)
    made = bench.assemble("a", "b")
    assert made.unsigned == ("b",)
    assert made.whole
    assert not media.has_credentials(made.path)
    assert signed.read_bytes() == before


def test_a_disk_that_fails_is_told_as_such(bench):
    bench.clip("a")
    (bench.folder / "films").write_text("in the way")
    with pytest.raises(LedgerError, match=r"spot\.mp4 could not be written"):
        bench.assemble("a")


# ── single shots ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_shots_of_a_clip_are_the_clip_frame_by_frame(bench):
    shots = [
        {"index": number, "start": start, "end": end}
        for number, start, end in ((1, 0, 0.5), (2, 0.5, 1.3), (3, 1.3, 2))
    ]
    path = bench.clip("hall_v001", level=30, rising=True, seconds=Fraction(2), shots=shots)
    made = list(cut.split(bench.manifest["clips"][0], bench.folder))
    assert [each.path.name for each in made] == [f"hall_v001_s{number}.mp4" for number in (1, 2, 3)]
    assert [each.frames for each in made] == [12, 19, 17]
    assert all(each.whole for each in made)
    assert made[0].copied  # it begins with the clip's key frame
    assert not made[1].copied
    assert [value for each in made for value in lights(each.path)] == pytest.approx(lights(path), abs=2)
    for each in made:
        samples = heard(each.path)
        assert len(samples) == pytest.approx(each.seconds * 48000, abs=1100)
        assert crossings(samples, 0.05, float(each.seconds) - 0.05) == pytest.approx(440, rel=0.03)


def test_a_shot_after_the_end_of_a_short_clip_is_left_out_and_the_last_lasts_to_the_end(bench):
    shots = [
        {"index": 1, "start": 0, "end": 0.5},
        {"index": 2, "start": 0.5, "end": 1},
        {"index": 3, "start": 1, "end": 2},
    ]
    bench.clip("hall_v001", shots=shots)
    assert [each.frames for each in cut.split(bench.manifest["clips"][0], bench.folder)] == [12, 12]
    bench.manifest["clips"].clear()
    bench.clip("hall_v001", seconds=Fraction(9, 4), shots=shots)
    assert [each.frames for each in cut.split(bench.manifest["clips"][0], bench.folder)] == [12, 12, 30]
