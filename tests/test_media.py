"""What a video file is and whether it is what was ordered: every claim on real files, every damage on real bytes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import pytest

from storyrun import media
from storyrun.errors import FetchFailed
from storyrun.records import ErrorClass, MediaInfo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = (64, 48)


def grey(level: int, size: tuple[int, int] = SIZE) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    for number, plane in enumerate(frame.planes):
        plane.update(bytes([128 if number else level]) * plane.buffer_size)
    return frame


def film(path: Path, *, frames: int = 30, rate: Fraction = Fraction(30), sound: bool = True) -> Path:
    """A clip of noise, so that every frame has a weight."""
    with media.Film(path, SIZE, rate, sound=sound) as writer:
        frame = grey(100)
        luma = memoryview(frame.planes[0])
        for number in range(frames):
            for place in range(0, len(luma), 7):
                luma[place] = (place * (number + 3) * 2654435761 >> 7) & 0xFF
            writer.add_frame(frame, cut=number == 0)
        writer.add_sound(bytes(4 * round(frames / rate * media.SAMPLE_RATE)))
    return path


def other(path: Path, form: str, codec: str, options: dict[str, str] | None = None) -> Path:
    """A clip as somebody else's program might write it."""
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, 30)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(20):
            frame = grey(40 + 9 * number)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return film(tmp_path_factory.mktemp("clip") / "clip.mp4")


def refusal(path: Path, data: bytes) -> str:
    """The sentence with which bytes are refused."""
    path.write_bytes(data)
    with pytest.raises(FetchFailed) as caught:
        media.probe(path)
    assert caught.value.kind is ErrorClass.FILE
    return caught.value.sentence


# ── what it is ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_whole_clip_is_told_as_it_is(clip):
    assert media.probe(clip) == MediaInfo(Fraction(1), 64, 48, Fraction(30), 30, "h264", "aac")


@pytest.mark.parametrize(("rate", "frames"), [("16", 32), ("24", 1), ("25", 50), ("30000/1001", 60), ("24000/1001", 7)])
def test_length_is_counted_in_frames_and_exact(tmp_path, rate, frames):
    info = media.probe(film(tmp_path / "a.mp4", frames=frames, rate=Fraction(rate), sound=False))
    assert (info.frames, info.fps, info.duration) == (frames, Fraction(rate), frames / Fraction(rate))
    assert info.audio_codec is None


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libx264", "h264", {}),  # the index at the end
        ("libx264", "h264", {"movflags": "frag_keyframe+empty_moov"}),  # no index, but fragments
        ("libx265", "hevc", {}),
        ("libvpx-vp9", "vp9", {}),
    ],
)
def test_clips_of_other_encoders_are_taken(tmp_path, codec, name, options):
    info = media.probe(other(tmp_path / "a.mp4", "mp4", codec, options))
    assert (info.frames, info.width, info.height, info.video_codec) == (20, *SIZE, name)


# ── what it is not ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>AccessDenied</body></html>", "is a web page or XML, not a video"),
        (b'\xef\xbb\xbf\n<?xml version="1.0"?><Error/>', "is a web page or XML, not a video"),
        (b'{"code": "InvalidSignature"}', "is JSON text, not a video"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not an MP4 video"),
        (b"#EXTM3U\nhttp://127.0.0.1:9/clip.ts\n", "is not an MP4 video"),
        (bytes(range(256)) * 20, "is not an MP4 video"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, data, said):
    assert said in refusal(tmp_path / "a.mp4", data)


def test_another_container_is_no_mp4(tmp_path):
    assert "is not an MP4 video" in refusal(tmp_path / "b", other(tmp_path / "a", "matroska", "libx264").read_bytes())


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", 48000, layout="mono")
        frame = av.AudioFrame("fltp", "mono", 48000)
        frame.sample_rate = 48000
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "has no video in it" in refusal(path, path.read_bytes())


def test_a_clip_cut_anywhere_is_caught_though_its_index_is_whole(tmp_path, clip):
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    for length in [*range(20, len(data), len(data) // 40), len(data) - 1]:
        assert "the file is" in refusal(tmp_path / "cut.mp4", data[:length])


@pytest.mark.parametrize("options", [{"movflags": "frag_keyframe+empty_moov"}, {}])
def test_a_clip_cut_before_its_index_or_in_a_fragment_is_caught(tmp_path, options):
    data = other(tmp_path / "a.mp4", "mp4", "libx264", options).read_bytes()
    assert "is cut off" in refusal(tmp_path / "cut.mp4", data[: len(data) * 3 // 4])


def test_a_cut_clip_is_caught_when_its_last_box_says_until_the_end(tmp_path, clip):
    """Then only the frames that are not there tell."""
    data = bytearray(clip.read_bytes())
    box = data.index(b"mdat") - 4
    data[box : box + 4] = bytes(4)
    (tmp_path / "open.mp4").write_bytes(data)
    assert media.probe(tmp_path / "open.mp4").frames == 30
    said = refusal(tmp_path / "cut.mp4", bytes(data[: len(data) * 3 // 5]))
    assert "is damaged at frame" in said or "frames of 30" in said


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, middle: data[:middle] + bytes(600) + data[middle + 600 :],  # a hole
        lambda data, middle: data[:middle] + b"x" + data[middle:-1],  # a byte too many
        lambda data, middle: data[: middle - 9000] + data[middle : middle + 9000] + data[middle:],  # a part twice
    ],
)
def test_bytes_of_the_right_number_in_the_wrong_place_are_caught(tmp_path, clip, damage: Callable[[bytes, int], bytes]):
    data = clip.read_bytes()
    damaged = damage(data, (data.index(b"mdat") + len(data)) // 2)
    assert len(damaged) == len(data)
    assert "is damaged" in refusal(tmp_path / "a.mp4", damaged)


def test_no_damage_to_the_index_ends_in_anything_but_a_sentence(tmp_path, clip):
    data = clip.read_bytes()
    for place in range(8, data.index(b"mdat"), 23):
        path = tmp_path / "a.mp4"
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xA5]) + data[place + 1 :])
        with contextlib.suppress(FetchFailed):
            media.probe(path)


# ── whether it is as ordered ─────────────────────────────────────────────────────────────────────────────────────────

ORDER: dict[str, Any] = {
    "provider": "tokenhub",
    "mode": "text",
    "length": 5,
    "width": 1280,
    "height": 720,
    "sounding": True,
}
GOT = MediaInfo(Fraction(5), 1280, 720, Fraction(30), 150, "h264", "aac")


@pytest.mark.parametrize(
    ("order", "got", "said"),
    [
        ({}, {}, ()),
        ({}, {"duration": Fraction(21, 4)}, ()),
        ({}, {"duration": Fraction(4)}, ("4 s of 5",)),
        ({"length": 2.5}, {"duration": Fraction(151, 30)}, ("5.03 s of 2.5",)),
        ({}, {"height": 704}, ("1280x704 instead of 1280x720",)),
        ({"mode": "reference"}, {"width": 720, "height": 1280}, ("720x1280 instead of 1280x720",)),
        ({"mode": "image"}, {"width": 1264, "height": 712}, ()),
        ({"mode": "frames"}, {"width": 960, "height": 720}, ("960x720 instead of 1280x720",)),
        ({"mode": "image", "provider": "animatic"}, {"width": 1264, "height": 712}, ("1264x712 instead of 1280x720",)),
        ({"mode": "image", "width": None}, {"width": 333}, ()),
        ({}, {"audio_codec": None}, ("is silent",)),
        ({"sounding": False}, {"audio_codec": None}, ()),
        ({"sounding": False}, {}, ()),
        ({}, {"duration": Fraction(4), "audio_codec": None}, ("4 s of 5", "is silent")),
    ],
)
def test_what_is_not_as_ordered_is_said(order, got, said):
    job = {key: value for key, value in {**ORDER, **order}.items() if value is not None}
    info = MediaInfo(**{field: got.get(field, getattr(GOT, field)) for field in GOT.__dataclass_fields__})
    assert media.differences(job, info) == said


# ── writing one ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_frame_may_be_changed_as_soon_as_it_was_added(tmp_path):
    """Each frame of the file shows what the one frame in memory showed at that moment."""
    frame = grey(0)
    with media.Film(tmp_path / "a.mp4", SIZE, Fraction(30), sound=False) as writer:
        for number in range(20):
            luma = memoryview(frame.planes[0])
            luma[:] = bytes([30 + 9 * number]) * len(luma)
            writer.add_frame(frame, cut=number == 0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        seen = [bytes(frame.planes[0])[0] for frame in container.decode(video=0)]
    assert seen == pytest.approx([30 + 9 * number for number in range(20)], abs=2)


def test_a_film_can_be_played_everywhere_before_it_is_whole_on_disk(clip):
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.pix_fmt, video.codec_context.name, audio.codec_context.name) == (
            "yuv420p",
            "h264",
            "aac",
        )
        assert (audio.codec_context.sample_rate, audio.codec_context.layout.name) == (48000, "stereo")
        assert (video.codec_context.colorspace, video.codec_context.color_range) == (1, 1)


def test_sound_is_as_long_as_the_picture_to_the_sample(clip):
    with av.open(str(clip)) as container:
        for stream in container.streams:
            assert stream.duration is not None
            assert stream.time_base is not None
            assert stream.duration * stream.time_base == 1
        assert container.duration == av.time_base


def test_neither_time_nor_version_goes_into_a_film(tmp_path, clip):
    data = film(tmp_path / "again.mp4").read_bytes()
    assert data == clip.read_bytes()
    assert b"Lavf" not in data
    assert b"Lavc" not in data


def test_a_folder_that_is_not_there_is_the_disks_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        film(tmp_path / "no" / "a.mp4")


def test_a_full_disk_is_the_disks_error(tmp_path):
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.test_media import film\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try:\n    film(Path(sys.argv[1]), frames=90)\n"
        "except OSError as error:\n    sys.exit(0 if 'large' in str(error) else str(error))\n"
        "sys.exit('written')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.mp4")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
