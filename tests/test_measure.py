"""Delivered against ordered: what is seen and heard in real clips, and what of it is told."""

from __future__ import annotations

import csv
import io
import json
import math
from array import array
from fractions import Fraction

import pytest
from av import VideoFrame
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from storyrun import measure, media
from storyrun.errors import LedgerError
from storyrun.exports import claims
from storyrun.measure import Measured
from tests.rehearsal import opening, typed

SIZE, RATE = (160, 90), Fraction(25)


def picture(seed, shift=0):
    """A textured picture that moves with `shift`."""
    image = Image.new("L", (40, 12))
    image.putdata([(x * seed * 37 + y * 61 * (seed + 1)) % 200 + 30 for y in range(12) for x in range(40)])
    grown = image.resize((SIZE[0] + 400, SIZE[1]), Image.Resampling.BICUBIC)
    return grown.crop((shift, 0, shift + SIZE[0], SIZE[1])).convert("RGB")


def tone(seconds, loud=0.2):
    values = (round(loud * 32767 * math.sin(n * 0.06)) for n in range(round(seconds * media.SAMPLE_RATE)))
    return array("h", [value for each in values for value in (each, each)]).tobytes()


def film(path, parts, sound=None):
    """A clip of parts: (kind, seconds); kinds are numbers (a moving texture), `black`, `still`."""
    with media.Film(path, SIZE, RATE, sound=sound is not None, quality=16, sharp=False) as made:
        number = 0
        for kind, seconds in parts:
            for _ in range(round(seconds * RATE)):
                shift = 0 if kind == "still" else number * 2
                image = Image.new("RGB", SIZE) if kind == "black" else picture(9 if kind == "still" else kind, shift)
                made.add_frame(VideoFrame.from_image(image).reformat(format="yuv420p"))
                number += 1
        if sound is not None:
            made.add_sound(sound)
    return measure.measure(path)


def near(found, expected):
    return len(found) == len(expected) and all(
        abs(a - b) <= Fraction(1, 10)
        for pair, other in zip(found, expected, strict=True)
        for a, b in zip(pair, other, strict=True)
    )


# ── what is found ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hard_cuts_are_found_to_the_frame_and_nothing_else(tmp_path):
    found = film(tmp_path / "a.mp4", [(1, 2), (4, 1.2), (7, 2)])
    assert found.cuts == (Fraction(2), Fraction("3.2"))
    assert (found.black, found.frozen, found.silent) == ((), (), None)


def test_a_moving_picture_has_no_cut_and_does_not_stand_still(tmp_path):
    assert film(tmp_path / "a.mp4", [(3, 4)]) == Measured()


def test_black_in_the_middle_is_a_stretch(tmp_path):
    found = film(tmp_path / "a.mp4", [(1, 1), ("black", 1.4), (4, 1)])
    assert near(found.black, [(Fraction(1), Fraction("2.4"))])
    assert measure.problems(found, seconds=Fraction("3.4"), sound=False) == ("is black from 1 s to 2.4 s",)


def test_black_until_the_end_has_an_end(tmp_path):
    found = film(tmp_path / "a.mp4", [(1, 1), ("black", 2)])
    assert near(found.black, [(Fraction(1), Fraction(3))])


def test_a_short_fade_to_black_is_no_problem(tmp_path):
    found = film(tmp_path / "a.mp4", [(1, 3), ("black", 0.6)])
    assert found.black
    assert measure.problems(found, seconds=Fraction("3.6"), sound=False) == ()


def test_a_picture_that_stands_still_is_told_with_its_seconds(tmp_path):
    found = film(tmp_path / "a.mp4", [(1, 1), ("still", 3), (4, 1)])
    assert near(found.frozen, [(Fraction(1), Fraction(4))])
    assert measure.problems(found, seconds=Fraction(5), sound=False) == (), "it may be meant"
    word, *_ = measure.warnings(found, shots=SHOTS[:1], ordered=ORDERED, media=MEDIA | {"duration": 5})
    assert word.startswith("stands still from 1")


def test_a_clip_that_never_moves_is_a_problem_and_no_warning_besides(tmp_path):
    found = film(tmp_path / "a.mp4", [("still", 3)])
    assert measure.problems(found, seconds=Fraction(3), sound=False) == ("stands still all the time",)
    assert measure.warnings(found, shots=SHOTS[:1], ordered=ORDERED, media=MEDIA | {"duration": 3}) == ()


def test_all_black_is_told_once_and_not_as_still_too(tmp_path):
    found = film(tmp_path / "a.mp4", [("black", 3)])
    assert measure.problems(found, seconds=Fraction(3), sound=False) == ("is black all the time",)


def test_silence_is_heard_and_sound_is_not_silent(tmp_path):
    loud = film(tmp_path / "loud.mp4", [(1, 2)], tone(2))
    assert loud.silent == ()
    quiet = film(tmp_path / "quiet.mp4", [(1, 2)], tone(2, 0))
    assert measure.problems(quiet, seconds=Fraction(2), sound=True) == ("is silent",)
    assert measure.problems(quiet, seconds=Fraction(2), sound=False) == ()
    half = film(tmp_path / "half.mp4", [(1, 2)], tone(1) + tone(1, 0))
    assert near(half.silent or (), [(Fraction(1), Fraction(2))])
    assert measure.problems(half, seconds=Fraction(2), sound=True) == ()


def test_what_was_measured_is_the_same_when_it_is_read_back(tmp_path):
    found = film(tmp_path / "a.mp4", [(1, 1), ("black", 1), (4, 1)], tone(3, 0))
    (tmp_path / "measures.json").write_bytes(measure.written({"ab": found}))
    again = measure.known(tmp_path / "measures.json")
    assert measure.as_dict(again["ab"]) == measure.as_dict(found)
    for broken in (b"", b"[]", b'{"ab": {"black": 3}}', b'{"ab": null}'):
        (tmp_path / "measures.json").write_bytes(broken)
        assert measure.known(tmp_path / "measures.json") == {}
    assert measure.known(tmp_path / "none.json") == {}


# ── what is told of it ───────────────────────────────────────────────────────────────────────────────────────────────

ORDERED = {"seconds": 9, "width": 160, "height": 90, "frame_rate": "25", "sound": True}
MEDIA = {
    "duration": 9,
    "width": 160,
    "height": 90,
    "fps": 25,
    "frames": 225,
    "video_codec": "h264",
    "audio_codec": "aac",
}
SHOTS = [{"index": n, "start": 3 * n - 3, "end": 3 * n} for n in (1, 2, 3)]


def told(found, **changes):
    ordered = {**ORDERED, **{key: changes[key] for key in changes.keys() & ORDERED.keys()}}
    return measure.warnings(
        found, shots=SHOTS, ordered=ordered, media={**MEDIA, **{k: changes[k] for k in changes.keys() & MEDIA.keys()}}
    )


def test_cuts_where_they_were_written_are_no_reason_to_speak():
    assert told(Measured(silent=(), cuts=(Fraction("2.8"), Fraction("6.24")))) == ()


def test_a_missing_cut_names_its_shot_and_an_unwritten_one_its_time():
    found = Measured(silent=(), cuts=(Fraction("4.5"), Fraction(6)))
    assert told(found) == ("no cut found at 3 s, where shot 2 begins", "a cut at 4.5 s that nobody wrote")


def test_a_cut_missing_in_black_is_told_as_black_alone():
    assert told(Measured(black=((Fraction(2), Fraction(7)),), silent=())) == ()


def test_another_frame_rate_and_unordered_sound_are_told():
    found = Measured(silent=(), cuts=(Fraction(3), Fraction(6)))
    assert told(found, fps=23.976, sound=False) == (
        "23.98 frames a second instead of 25",
        "has sound, and none was ordered",
    )
    assert told(Measured(silent=((Fraction(0), Fraction(9)),), cuts=(Fraction(3), Fraction(6))), sound=False) == ()


@given(st.lists(st.integers(0, 60)), st.lists(st.integers(0, 60)))
def test_every_cut_is_matched_missing_or_extra_and_none_is_two(written, found):
    written, found = sorted({Fraction(each, 4) for each in written}), sorted({Fraction(each, 4) for each in found})
    missing, extra = measure.compare_cuts(written, found)
    assert set(missing) <= set(written)
    assert set(extra) <= set(found)
    assert len(written) - len(missing) == len(found) - len(extra)
    for at in missing:
        assert all(abs(at - each) > measure.AROUND for each in extra)


# ── in a run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog):
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


@pytest.mark.parametrize(
    ("fault", "problem"),
    [("black", "is black all the time"), ("frozen", "stands still all the time"), ("silence", "is silent")],
)
def test_a_spoilt_clip_is_told_until_somebody_keeps_it(cloud, fault, problem):
    stage = cloud("toapis", faults={fault: "1"})
    ran = stage.run()
    assert ran.code == 1
    (clip,) = stage.manifest["clips"]
    assert problem in clip["problems"]
    assert problem in ran.said
    assert clip["status"] == "done"
    assert clip["measured"] is not None
    assert stage.booked == 1
    assert stage.run().code == 1
    assert typed("settle", str(stage.plan), "c1", "--keep").code == 0
    (stage.place / "measures.json").unlink()
    assert stage.run().code == 0, "a person's word stands, also when the clip is looked at again"
    assert stage.manifest["clips"][0]["problems"] == []
    assert stage.booked == 1


def test_shots_shown_as_one_are_a_warning_and_no_failure(cloud):
    stage = cloud("dashscope", faults={"no-cuts": "1"})
    stage.plan.write_text(
        "version: 1\ntitle: Cuts\nprovider: dashscope\nmodel: wan2.7\ndefaults: {resolution: 720p}\nscenes:\n"
        "  - id: c1\n    shots:\n      - {seconds: 2, action: a cat walks}\n      - {seconds: 2, action: a dog runs}\n",
        encoding="utf-8",
    )
    ran = stage.run()
    assert ran.code == 0, ran.said
    (clip,) = stage.manifest["clips"]
    assert clip["problems"] == []
    assert clip["warnings"] == ["no cut found at 2 s, where shot 2 begins"]


def test_clips_that_a_death_left_unmeasured_are_measured_by_the_next_run(cloud):
    stage = cloud("toapis", faults={"frozen": "1"})
    assert stage.run().code == 1
    (stage.place / "measures.json").unlink()
    ledger_says = stage.attempts[0].problems
    assert "stands still all the time" in ledger_says
    assert stage.run().code == 1
    assert stage.attempts[0].problems == ledger_says, "nothing is told twice"
    assert set(json.loads((stage.place / "measures.json").read_bytes())) == {stage.attempts[0].sha256}


def test_claims_say_what_support_wants_to_know(cloud):
    stage = cloud("toapis", clips=3, faults={"frozen": "1"})
    stage.run()
    manifest = stage.manifest
    manifest["clips"][1]["problems"] = []
    manifest["clips"][2]["task_id"] = "=cmd|' /C calc'!A0"
    path = claims.write(manifest, stage.place)
    assert path is not None
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))
    assert [row["clip"] for row in rows] == ["c1", "c3"]
    first = rows[0]
    assert first["task_id"] == manifest["clips"][0]["task_id"]
    assert first["claim"].startswith("not as ordered: ")
    assert "stands still" in first["claim"]
    assert first["ordered"].startswith("2 s, 832x480")
    assert "60 frames" in first["delivered"]
    assert f"sha256 {manifest['clips'][0]['sha256']}" in first["evidence"]
    assert first["submitted_at"] == manifest["clips"][0]["submitted_at"]
    assert rows[1]["task_id"] == "'=cmd|' /C calc'!A0"


def test_without_claims_there_is_no_file_and_an_old_one_goes(cloud):
    stage = cloud("toapis")
    assert stage.run().code == 0
    (stage.place / "claims.csv").write_text("old", encoding="utf-8")
    assert claims.write(stage.manifest, stage.place) is None
    assert not (stage.place / "claims.csv").exists()


@pytest.mark.parametrize("glow", [40, 60, 200])
def test_a_night_with_a_light_in_it_is_not_black(tmp_path, glow):
    path = tmp_path / "night.mp4"
    with media.Film(path, SIZE, RATE, sound=False, quality=16, sharp=False) as made:
        for number in range(50):
            image = Image.new("RGB", SIZE, (12, 12, 14))
            image.paste((glow,) * 3, (20 + number, 40, 34 + number, 54))
            made.add_frame(VideoFrame.from_image(image).reformat(format="yuv420p"))
    assert measure.problems(measure.measure(path), seconds=Fraction(2), sound=False) == ()


def test_a_bell_and_nothing_else_is_not_silent(tmp_path):
    bell = tone(0.2)
    found = film(tmp_path / "bell.mp4", [(1, 5)], bell + bytes(len(tone(5)) - len(bell)))
    assert sum((b - a for a, b in found.silent), Fraction(0)) >= Fraction(19, 4)
    assert measure.problems(found, seconds=Fraction(5), sound=True) == ()


def test_a_disk_that_fails_while_clips_are_judged_leaves_a_manifest_of_the_run(cloud, monkeypatch):
    stage = cloud("toapis")

    def fails(self, **how):
        raise LedgerError("no space left")

    monkeypatch.setattr("storyrun.inspection.Inspection.finish", fails)
    assert stage.run().code == 6
    assert (stage.statuses(), stage.manifest["finished_at"] is not None) == (["done"], True)


def test_ctrl_c_while_clips_are_judged_leaves_them_to_the_next_run(cloud, monkeypatch):
    stage = cloud("toapis", faults={"frozen": "1"})

    def interrupted(self, **how):
        raise KeyboardInterrupt

    with monkeypatch.context() as pressed:
        pressed.setattr("storyrun.inspection.Inspection.finish", interrupted)
        assert stage.run().code == 130
    assert (stage.statuses(), stage.manifest["finished_at"] is not None) == (["done"], True)
    assert stage.run().code == 1
