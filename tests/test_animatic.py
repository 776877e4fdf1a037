"""The animatic, from a job to the frames that a player shows. Clips are small, so that they are drawn in no time."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import wave
from array import array
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import av
import pytest
from PIL import Image, ImageDraw, ImageStat

from storyrun import jobs, media
from storyrun.errors import FetchFailed, LostAnswer
from storyrun.providers.animatic import RENDERER, Animatic
from storyrun.records import Accepted, Answer, ErrorClass, Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storyrun.providers.base import Provider
    from storyrun.records import MediaInfo

BLUE, RED, GREEN = (20, 40, 220), (210, 30, 30), (20, 160, 60)


def shot(index: int, start: float, end: float, action: str = "he walks", **more: Any) -> dict[str, Any]:
    return {"index": index, "start": start, "end": end, "action": action, **more}


def job(*shots: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The JSON form of a job, as a ledger row holds it."""
    shots = shots or (shot(1, 0, 1),)
    return {
        "id": "desk",
        "scene": "desk",
        "variant": {},
        "take": 1,
        "provider": "animatic",
        "model": "animatic",
        "mode": "text",
        "prompt": "he walks",
        "shots": list(shots),
        "length": shots[-1]["end"],
        "frame_rate": "30",
        "width": 256,
        "height": 144,
        "billed_resolution": "720p",
        "sounding": True,
        "stem": "desk",
        "fingerprint": "0" * 64,
    } | more


def local(folder: Path, name: str, kind: str = "image") -> dict[str, Any]:
    """A local file of a job."""
    data = (folder / name).read_bytes()
    return {"text": name, "kind": kind, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def picture(
    folder: Path, name: str, colour: tuple[int, int, int], size: tuple[int, int] = (256, 144)
) -> dict[str, Any]:
    Image.new("RGB", size, colour).save(folder / name)
    return local(folder, name)


@pytest.fixture(scope="module")
def animatic() -> Iterator[Animatic]:
    provider = Animatic()
    yield provider
    asyncio.run(provider.aclose())


@pytest.fixture
def draw(tmp_path: Path, animatic: Animatic):
    """Draws a job whose files are in `tmp_path`, the way a run does, and gives the clip."""

    def drawn(form: dict[str, Any], name: str = "clip.part") -> Path:
        task = Task("attempt-1", "attempt-1", form["model"], json.loads(json.dumps(form)), tmp_path)

        async def fetched() -> None:
            await animatic.fetch(task, await animatic.poll(task), tmp_path / name)

        asyncio.run(fetched())
        return tmp_path / name

    return drawn


def frames(path: Path) -> list[Image.Image]:
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def colour(image: Image.Image, box: tuple[int, int, int, int]) -> list[float]:
    return ImageStat.Stat(image.crop(box)).mean


def heard(path: Path) -> array[float]:
    """The left channel."""
    samples = array("f")
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples.frombytes(bytes(frame.planes[0])[: 4 * frame.samples])
    return samples


def loudness(samples: array[float], start: float, end: float) -> float:
    return max(map(abs, samples[round(start * 48000) : round(end * 48000)]))


# ── a provider like any other ────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_a_provider() -> None:
    provider: Provider = Animatic(workers=3)
    assert (provider.name, provider.paid, provider.workers) == ("animatic", False, 3)
    assert Animatic().workers >= 1


def test_the_request_says_what_is_drawn_and_by_which_renderer(tmp_path, animatic) -> None:
    picture(tmp_path, "a.png", RED)
    form = job(shot(1, 0, 2, dialogue=[{"text": "Hi"}]), take=2, first_frame=local(tmp_path, "a.png"), seed=7)
    request = animatic.request(jobs.from_dict(form, tmp_path), {})
    assert request == json.loads(json.dumps(request))
    assert request["renderer"] == RENDERER
    assert request["shots"] == form["shots"]
    assert request["first_frame"] == form["first_frame"]
    assert "seed" not in request


async def test_every_task_is_taken_found_and_done_at_once(tmp_path, animatic) -> None:
    answer = await animatic.submit({}, "attempt-7")
    assert answer.status == 200
    assert animatic.read(answer) == Accepted("attempt-7")
    task = Task("attempt-7", "", "animatic", job(), tmp_path)
    assert await animatic.find(task, frozenset()) == Accepted("attempt-7")
    status = await animatic.poll(task)
    assert (status.state, status.fetchable) == ("succeeded", True)


def test_an_answer_that_cannot_be_read_is_a_lost_one(animatic) -> None:
    with pytest.raises(LostAnswer):
        animatic.read(Answer(200, "<html>"))


async def test_another_process_draws_the_rest_from_the_row_alone(tmp_path) -> None:
    first, second = Animatic(), Animatic()
    accepted = first.read(await first.submit({}, "attempt-1"))
    task = Task("attempt-1", accepted.task_id, "animatic", job(), tmp_path)
    await second.fetch(task, await second.poll(task), tmp_path / "a.part")
    assert media.probe(tmp_path / "a.part").frames == 30
    await second.aclose()


async def test_the_loop_goes_on_while_clips_are_drawn(tmp_path, animatic) -> None:
    task = Task("a", "a", "animatic", job(length=4), tmp_path)
    fetching = asyncio.ensure_future(animatic.fetch(task, await animatic.poll(task), tmp_path / "a.part"))
    turns = 0
    while not fetching.done():
        await asyncio.sleep(0)
        turns += 1
    await fetching
    assert turns > 100


async def test_many_at_once_are_drawn_as_one_alone(tmp_path, animatic) -> None:
    form = job(shot(1, 0, 1, camera="push in", action="naïve café"), shot(2, 1, 2))
    tasks = [Task(str(n), str(n), "animatic", form, tmp_path) for n in range(9)]
    status = await animatic.poll(tasks[0])
    await animatic.fetch(tasks[0], status, tmp_path / "0")
    await asyncio.gather(*(animatic.fetch(task, status, tmp_path / task.task_id) for task in tasks[1:]))
    assert len({(tmp_path / task.task_id).read_bytes() for task in tasks}) == 1


async def test_a_cancelled_clip_stops_and_the_next_is_drawn(tmp_path) -> None:
    provider = Animatic(workers=1)
    long, queued, short = (
        Task(n, n, "animatic", job(length=s), tmp_path) for n, s in (("l", 120), ("q", 120), ("s", 1))
    )
    status = await provider.poll(long)
    started = [asyncio.ensure_future(provider.fetch(task, status, tmp_path / task.task_id)) for task in (long, queued)]
    while not (tmp_path / "l").exists():  # noqa: ASYNC110  a file has no event
        await asyncio.sleep(0)
    for fetching in started:
        fetching.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*started, return_exceptions=True)
    )
    assert not (tmp_path / "q").exists()
    await provider.fetch(short, status, tmp_path / "s")
    assert media.probe(tmp_path / "s").frames == 30
    await provider.aclose()


def test_nothing_heavy_is_loaded_before_something_is_drawn() -> None:
    program = (
        "import sys, storyrun.media, storyrun.providers.animatic as a; a.Animatic(); "
        "print({'av', 'PIL', 'asyncio', 'jsonschema', 'aiohttp', 'concurrent.futures'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def check(path: Path, form: dict[str, Any]) -> MediaInfo:
    """What holds for every clip."""
    info = media.probe(path)
    assert media.differences(form, info) == ()
    rate = Fraction(form["frame_rate"])
    assert info.frames == round(Fraction(str(form["length"])) * rate)
    assert (info.fps, info.video_codec, info.audio_codec) == (rate, "h264", "aac" if form["sounding"] else None)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.codec_context.pix_fmt == "yuv420p"
        assert sum(1 for _ in container.decode(video)) == info.frames
        assert video.duration is not None
        assert video.time_base is not None
        assert video.duration * video.time_base == info.duration
        for sound in container.streams.audio:
            assert sound.duration is not None
            assert sound.time_base is not None
            assert abs(sound.duration * sound.time_base - info.duration) <= Fraction(1, 48000)
    return info


@pytest.mark.parametrize(
    "size", [(1280, 720), (720, 1280), (960, 960), (832, 480), (1088, 832), (1920, 1080), (64, 64), (66, 34), (40, 200)]
)
def test_the_picture_has_exactly_the_ordered_pixels(draw, size) -> None:
    form = job(
        shot(1, 0, 0.2, camera="orbit", dialogue=[{"speaker": "mira", "text": "Now."}]), width=size[0], height=size[1]
    )
    info = check(draw(form), form)
    assert (info.width, info.height) == size


@pytest.mark.parametrize(
    ("rate", "length"),
    [("30", 2), ("24", 2), ("16", 5.0625), ("25", 0.5), ("30000/1001", 3), ("24000/1001", 2), ("30", 0.01), ("60", 1)],
)
def test_the_clip_has_exactly_the_ordered_frames(draw, rate, length) -> None:
    form = job(shot(1, 0, length), frame_rate=rate)
    if length < 0.02:  # nothing is shorter than a frame
        assert media.probe(draw(form)).frames == 1
    else:
        check(draw(form), form)


@pytest.mark.parametrize("frame", [{"pixels": [1080, 1920]}, {}])
def test_without_ordered_pixels_the_first_frame_gives_the_shape(draw, tmp_path, frame) -> None:
    form = job(shot(1, 0, 0.1), first_frame=picture(tmp_path, "a.png", RED, (540, 960)) | frame)
    del form["width"], form["height"]
    info = media.probe(draw(form))
    assert (info.width, info.height) == ((720, 1280) if frame else (1280, 720))


def test_the_same_job_gives_the_same_bytes_on_any_number_of_cores(tmp_path) -> None:
    """In two processes with different hash seeds, one of them held to one core."""
    picture(tmp_path, "a.png", GREEN)
    form = job(
        shot(1, 0, 0.5, "Straße — naïve", camera="push in"),
        shot(2, 0.5, 1, "المحقق", camera="handheld", dialogue=[{"text": "Hi"}]),
        references=[{"name": "desk", "word": "Image 1", "media": [local(tmp_path, "a.png")]}],
    )
    program = (
        "import json, os, sys\n"
        "from pathlib import Path\n"
        "if sys.argv[2] == '1' and hasattr(os, 'sched_setaffinity'):\n"
        "    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from storyrun.providers.animatic.film import render\n"
        "from storyrun.providers.animatic.fonts import Fonts\n"
        "for name, job in json.load(sys.stdin).items():\n"
        "    render(job, Path(sys.argv[1]), Path(sys.argv[1], name + sys.argv[2]), Fonts(None, print))\n"
    )
    plain = {key: value for key, value in form.items() if key != "references"}
    for seed in "12":
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path), seed],
            input=json.dumps({"plain": plain, "picture": form}),
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
    for name in ("plain", "picture"):
        assert (tmp_path / f"{name}1").read_bytes() == (tmp_path / f"{name}2").read_bytes()


# ── the picture ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cut_is_seen_by_its_ground_and_only_there(draw) -> None:
    seen = frames(draw(job(shot(1, 0, 0.5), shot(2, 0.5, 1), shot(3, 1, 1.5))))
    grounds = [colour(image, (100, 20, 250, 30)) for image in seen]
    steps = [max(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in pairwise(grounds)]
    assert [place + 1 for place, step in enumerate(steps) if step > 8] == [15, 30]
    assert max(step for place, step in enumerate(steps) if place + 1 not in (15, 30)) < 2


def test_a_player_can_jump_to_each_cut(draw) -> None:
    with av.open(str(draw(job(shot(1, 0, 0.5), shot(2, 0.5, 1.2), shot(3, 1.2, 1.5))))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [number for number, packet in enumerate(packets) if packet.is_keyframe] == [0, 15, 36]


def test_the_progress_line_grows_with_the_clip_and_shows_the_cuts(draw) -> None:
    seen = frames(draw(job(shot(1, 0, 0.5), shot(2, 0.5, 1), width=640, height=360)))
    row = next(y for y in range(359, 0, -1) if sum(seen[-1].getpixel((100, y))) > 300)  # type: ignore[arg-type]
    lit = [sum(sum(image.getpixel((x, row))) > 300 for x in range(0, 640, 2)) * 2 for image in seen]  # type: ignore[arg-type]
    assert lit == pytest.approx([640 * (number + 1) / 30 for number in range(30)], abs=12)
    assert [x for x in range(4, 636) if sum(seen[-1].getpixel((x, row))) < 200] == pytest.approx([318, 319], abs=2)  # type: ignore[arg-type]


def test_every_frame_has_its_own_timecode(draw) -> None:
    seen = frames(draw(job(width=640, height=360)))
    boxes = [image.crop((0, 330, 200, 356)).convert("1").tobytes() for image in seen]
    assert len(set(boxes)) == len(boxes) == 30


def test_marks_move_with_the_camera_and_stand_still_without(draw) -> None:
    def changed(camera: dict[str, str]) -> float:
        seen = frames(draw(job(shot(1, 0, 1, "", **camera), width=320, height=180)))
        from PIL import ImageChops

        return ImageStat.Stat(ImageChops.difference(seen[2], seen[-1]).crop((0, 30, 320, 140))).sum[0]

    still = changed({})
    assert still < 2000
    for camera in ("slow push in", "pan left", "tilt up", "handheld", "orbit around her", "dutch roll"):
        assert changed({"camera": camera}) > 10 * max(still, 200), camera


def test_marks_never_cover_what_is_written(draw) -> None:
    """Below the caption, which names the camera, all that is bright in a still shot is bright in a moving one."""
    from PIL import ImageChops

    talk = [{"speaker": "mira", "text": "Now."}]
    shots = [
        shot(1, 0, 1, "the door closes behind him " * 3, framing="wide", camera=c, dialogue=talk) for c in ("x", "pan")
    ]
    still, moving = (frames(draw(job(one, width=960, height=540))) for one in shots)
    written = still[5].convert("L").point(lambda value: 255 if value > 120 else 0).crop((0, 150, 960, 460))
    for image in moving:
        seen = image.convert("L").crop((0, 150, 960, 460))
        lost = ImageChops.multiply(written, seen.point(lambda value: 255 if value < 90 else 0))
        assert lost.getbbox() is None


def test_the_first_frame_opens_and_the_last_frame_closes_the_clip(draw, tmp_path) -> None:
    form = job(shot(1, 0, 2), first_frame=picture(tmp_path, "a.png", RED), last_frame=picture(tmp_path, "b.png", BLUE))
    seen = frames(draw(form))
    middle = (100, 50, 200, 60)
    assert colour(seen[0], middle) == pytest.approx(RED, abs=40)
    assert colour(seen[29], middle) == pytest.approx(RED, abs=40)
    assert colour(seen[-1], middle) == pytest.approx(BLUE, abs=40)


def test_a_shot_shows_the_reference_that_it_names(draw, tmp_path) -> None:
    references = [
        {"name": "desk", "word": "Image 1", "media": [picture(tmp_path, "a.png", RED)]},
        {"name": "lamp", "word": "Image 2", "media": [picture(tmp_path, "b.png", GREEN)]},
        {"name": "film", "word": "Video 1", "media": [{"text": "https://a.b/c.mp4", "kind": "video"}]},
    ]
    burning = {**shot(1, 0, 0.5, "the lamp burns"), "references": ["lamp"]}
    form = job(burning, shot(2, 0.5, 1, "the room"), references=references)
    seen = frames(draw(form))
    assert colour(seen[3], (100, 50, 200, 60)) == pytest.approx(GREEN, abs=40)
    assert colour(seen[20], (100, 50, 200, 60)) == pytest.approx(RED, abs=40)


def test_the_picture_grows_when_the_camera_comes_closer(draw, tmp_path) -> None:
    image = Image.new("RGB", (640, 360), (0, 0, 0))
    ImageDraw.Draw(image).rectangle((260, 120, 380, 240), fill=(255, 255, 255))
    image.save(tmp_path / "a.png")

    def widths(camera: str) -> tuple[int, int]:
        form = job(shot(1, 0, 1, "", camera=camera), width=640, height=360, first_frame=local(tmp_path, "a.png"))
        seen = frames(draw(form))
        first, last = (sum(image.getpixel((x, 150))[0] > 128 for x in range(640)) for image in (seen[0], seen[-1]))  # type: ignore[index]
        return first, last

    first, last = widths("push in")
    assert (first, last) == pytest.approx((121, 140), abs=4)
    assert widths("pull out") == pytest.approx((last, first), abs=4)
    assert widths("static") == pytest.approx((first, first), abs=2)


@pytest.mark.parametrize("mode", ["RGBA", "L", "CMYK", "P", "1", "I;16"])
def test_pictures_of_every_kind_are_shown(draw, tmp_path, mode) -> None:
    name = "a.tif" if mode in {"CMYK", "I;16"} else "a.png"
    Image.new("L", (90, 300), 200).convert(mode).save(tmp_path / name)
    assert media.probe(draw(job(shot(1, 0, 0.1), first_frame=local(tmp_path, name)))).frames == 3


# ── the sound ────────────────────────────────────────────────────────────────────────────────────────────────────────


def tone(folder: Path, seconds: float, rate: int = 22050) -> dict[str, Any]:
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(array("h", [12000 if n // 25 % 2 else -12000 for n in range(round(seconds * rate))]).tobytes())
    return local(folder, "a.wav", "audio")


def test_each_cut_is_marked_softly_and_nothing_else_is_heard(draw) -> None:
    samples = heard(draw(job(shot(1, 0, 1), shot(2, 1, 1.5), shot(3, 1.5, 3))))
    assert all(0.02 < loudness(samples, cut, cut + 0.05) < 0.1 for cut in (1, 1.5))
    assert all(loudness(samples, *part) < 0.005 for part in ((0, 0.9), (1.15, 1.45), (1.7, 3)))


@pytest.mark.parametrize(("seconds", "until"), [(1, 1.0), (5, 2.0)])
def test_a_local_file_is_the_sound_padded_or_cut_to_length(draw, tmp_path, seconds, until) -> None:
    form = job(shot(1, 0, 2), audio="file", audio_file=tone(tmp_path, seconds))
    path = draw(form)
    check(path, form)
    samples = heard(path)
    assert loudness(samples, until - 0.2, until - 0.05) > 0.2
    if until < 2:
        assert loudness(samples, until + 0.1, 2) < 0.005


def test_sound_at_a_url_is_not_fetched_for_a_preview(draw) -> None:
    form = job(audio="file", audio_file={"text": "https://a.b/vo.mp3", "kind": "audio"})
    check(draw(form), form)


def test_a_clip_ordered_without_sound_has_none(draw) -> None:
    form = job(audio="none", sounding=False)
    check(draw(form), form)


# ── files that are not what they were ────────────────────────────────────────────────────────────────────────────────


def spoilt(folder: Path, how: str, media_form: dict[str, Any]) -> dict[str, Any]:
    path = folder / media_form["text"]
    if how == "gone":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "changed":
        path.write_bytes(path.read_bytes() + b"x")
    else:
        path.write_bytes(b"<html>")
        return local(folder, media_form["text"], media_form["kind"])
    return media_form


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("gone", "cannot be read (No such file or directory)"),
        ("a folder", "cannot be read (Is a directory)"),
        ("changed", "has changed since the clip was ordered"),
        ("no picture", "cannot be read as a picture"),
    ],
)
@pytest.mark.parametrize("place", ["first_frame", "last_frame", "references"])
def test_a_picture_that_is_not_what_it_was_is_a_sentence(draw, tmp_path, how, said, place) -> None:
    bad = spoilt(tmp_path, how, picture(tmp_path, "refs desk.png", RED))
    more = [{"name": "a", "word": "Image 1", "media": [bad]}] if place == "references" else bad
    with pytest.raises(FetchFailed, match=r"^refs desk\.png ") as caught:
        draw(job(**{place: more}))
    assert said in caught.value.sentence
    assert caught.value.kind is ErrorClass.FILE


@pytest.mark.parametrize(("how", "said"), [("gone", "No such file"), ("changed", "changed"), ("html", "read as sound")])
def test_sound_that_is_not_what_it_was_is_a_sentence(draw, tmp_path, how, said) -> None:
    with pytest.raises(FetchFailed, match=said) as caught:
        draw(job(audio_file=spoilt(tmp_path, how, tone(tmp_path, 1))))
    assert caught.value.kind is ErrorClass.FILE


def test_a_silent_video_is_no_sound(draw, tmp_path) -> None:
    draw(job(sounding=False), "silent.mp4")
    with pytest.raises(FetchFailed, match=r"silent\.mp4 cannot be read as sound"):
        draw(job(audio_file=local(tmp_path, "silent.mp4", "audio")))


# ── plans at the edge ────────────────────────────────────────────────────────────────────────────────────────────────

LONG = ("a tense investigation in the rain, " * 100)[:3000]


@pytest.mark.parametrize(
    "shots",
    [
        pytest.param([shot(1, 0, 1, "")], id="nothing to say"),
        pytest.param([{"index": 3, "start": 0, "end": 2}], id="only seconds"),
        pytest.param([shot(1, 0, 2, LONG)], id="3000 characters"),
        pytest.param([shot(1, 0, 1, "x" * 500)], id="one word of 500 letters"),
        pytest.param(
            [shot(1, 0, 1, "שלום עולם المحقق 🎬🔥 👩\u200d👩\u200d👧 \u200b\x07é")], id="right to left, emoji, controls"
        ),
        pytest.param([shot(1, 0, 0.1, LONG), shot(2, 0.1, 1)], id="a tenth of a second"),
        pytest.param([shot(1, 0, 0.01), shot(2, 0.01, 0.02), shot(3, 0.02, 1)], id="shots shorter than a frame"),
        pytest.param([shot(n + 1, n, n + 1, camera="roll") for n in range(15)], id="15 shots in 15 s"),
        pytest.param([shot(1, 0, 1, dialogue=[{"speaker": LONG[:300], "text": LONG}] * 9, sound=LONG)], id="talk"),
        pytest.param([shot(1, 0, 1, framing=LONG, camera=LONG)], id="long captions"),
    ],
)
def test_any_plan_is_drawn(draw, shots) -> None:
    form = job(*shots, frame_rate="16", variant={"city": "Llanfairpwllgwyngyll" * 5}, scene="a" * 120, take=99)
    check(draw(form), form)
