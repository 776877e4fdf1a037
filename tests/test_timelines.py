"""The timelines of `storyrun export`: OTIO, EDL and FCP7 XML, each read back with the library that editors use."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import opentimelineio as otio
import pytest

from storyrun import media
from storyrun.errors import UsageError
from storyrun.exports import edl, fcp7
from storyrun.exports import layout as layouts
from storyrun.exports import otio as timelines
from storyrun.exports.edl import REEL
from storyrun.records import MediaSource
from tests.handover import HOSTILE, clip, exported, laid, missing

NTSC = Fraction(24000, 1001)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return exported(tmp_path_factory.mktemp)


def read(path: Path, **options: Any) -> Any:
    return otio.adapters.read_from_file(str(path), **options)


def seconds(time: Any) -> Fraction:
    return Fraction(time.value) / Fraction(time.rate).limit_denominator(1001)


def frames(span: Any) -> tuple[float, float]:
    return span.start_time.value, span.duration.value


def inside(inner: Any, outer: Any) -> bool:
    ends = [(seconds(each.start_time), seconds(each.end_time_exclusive())) for each in (inner, outer)]
    return ends[1][0] <= ends[0][0] <= ends[0][1] <= ends[1][1]


def track(timeline: Any, name: str) -> Any:
    (found,) = [each for each in timeline.tracks if each.name == name]
    return found


class TestOtio:
    def test_clips_in_story_order_with_whole_frames_inside_their_media(self, project):
        for city in ("Oslo", "Tokyo"):
            timeline = read(project.exports / f"spot_{city}.otio")
            pictures = track(timeline, "pictures")
            assert [each.name for each in pictures] == [f"hook[city={city}]", "end"]
            assert timeline.global_start_time.to_timecode() == "01:00:00:00"
            assert seconds(timeline.duration()) == 3
            for each in timeline.find_clips():
                path = project.exports / unquote(each.media_reference.target_url)
                span = each.source_range
                assert all(value.is_integer() for value in frames(span))
                assert inside(span, each.media_reference.available_range)
                if path.suffix == ".mp4":
                    info = media.probe(path)
                    assert frames(each.media_reference.available_range) == (0, info.frames)
                    assert Fraction(span.duration.rate).limit_denominator(1001) == info.fps
                for marker in each.markers:
                    assert inside(marker.marked_range, span)

    def test_a_moved_project_still_finds_its_media(self, project, tmp_path):
        moved = tmp_path / "moved, 50% é"
        moved.mkdir()
        shutil.copytree(project.folder, moved / "x")
        timeline = read(moved / "x/outputs/spot/animatic/exports/spot_Oslo.otio")
        for each in timeline.find_clips():
            for reference in each.media_references().values():
                address = urlsplit(reference.target_url)
                assert (address.scheme, address.query, address.fragment) == ("", "", "")
                assert (moved / "x/outputs/spot/animatic/exports" / unquote(address.path)).is_file()

    def test_takes_are_media_of_one_clip_and_the_pick_is_active(self, tmp_path):
        made = laid(tmp_path, clip("hook"), clip("hook#2", picked=True, seed=8), missing("hook#3"), clip("end"))
        hook, end = timelines.timeline(made, str).find_clips()[:2]
        assert list(hook.media_references()) == ["hook", "hook#2", "hook#3"]
        assert (hook.active_media_reference_key, hook.name) == ("hook#2", "hook")
        assert hook.media_references()["hook#3"].is_missing_reference
        assert frames(hook.media_references()["hook#3"].available_range) == (0, 48)
        facts = hook.metadata["storyrun"]
        assert (facts["clip"], facts["take"], facts["seed"], facts["task_id"]) == ("hook", 2, 8, "task-1")
        assert dict(facts["cost"]["quoted"]) == {"amount": 0.2, "currency": "USD", "exact": True}
        assert hook.media_references()["hook"].metadata["storyrun"]["seed"] == 7
        assert end.active_media_reference_key == "end"

    def test_without_a_pick_the_first_take_that_is_there_is_active(self, tmp_path):
        made = laid(tmp_path, missing("hook"), clip("hook#2"), clip("hook#3"))
        assert timelines.timeline(made, str).find_clips()[0].active_media_reference_key == "hook#2"

    def test_an_axis_value_with_a_hash_is_no_take(self, tmp_path):
        assert (
            timelines.facts(clip("hook") | {"id": "hook[colour=#2]", "take": 1})["storyrun"]["clip"]
            == "hook[colour=#2]"
        )
        assert timelines.facts(clip("hook") | {"id": "hook[c=#2]#2", "take": 2})["storyrun"]["clip"] == "hook[c=#2]"

    def test_shots_are_markers_with_their_dialogue(self, project):
        hook = track(read(project.exports / "spot_Oslo.otio"), "pictures")[0]
        assert [(marker.name, *frames(marker.marked_range)) for marker in hook.markers] == [
            ('wide shot: rain in Oslo, a "quoted" <b>&amp;</b> ]]> é =1+1 --> end', 0, 30), ("close-up: eyes", 30, 30),
        ]  # fmt: skip
        first = hook.markers[0]
        assert first.comment == "mira: Anyone <i>here</i> & there? / The rain answers."
        assert first.metadata["storyrun"]["dialogue"][0]["speaker"] == "mira"
        assert hook.metadata["storyrun"]["negative_prompt"] == "=cmd|' /C calc'!A0"

    def test_frame_rates_are_fractions(self, tmp_path):
        made = laid(tmp_path, clip("a", rate=NTSC), clip("b", rate=NTSC))
        timeline = otio.adapters.read_from_string(
            timelines.content([made], tmp_path / "x.otio")[0].decode(), "otio_json"
        )
        assert seconds(timeline.duration()) == 2 * 48 / NTSC
        assert timeline.global_start_time == otio.opentime.RationalTime(86400, 24000 / 1001)
        assert timeline.global_start_time.to_timecode() == "01:00:00:00"

    def test_clips_of_several_rates_keep_their_own(self, tmp_path):
        made = laid(tmp_path, clip("a"), clip("b", rate=Fraction(30)), clip("c"))
        timeline = timelines.timeline(made, str)
        assert [frames(each.source_range) for each in track(timeline, "pictures")] == [(0, 48), (0, 60), (0, 48)]
        assert seconds(timeline.duration()) == 6

    def test_a_file_that_is_too_short_is_seen_as_long_as_it_lasts_and_the_rest_is_a_gap(self, tmp_path):
        short = clip("a", media=clip("a")["media"] | {"frames": 45})
        made = laid(tmp_path, short, clip("b"))
        data, notes = timelines.content([made], tmp_path / "x.otio")
        assert notes == ("a has 45 frames of 48: the rest is a gap",)
        pictures = track(otio.adapters.read_from_string(data.decode(), "otio_json"), "pictures")
        assert [(type(each).__name__, *frames(each.source_range)) for each in pictures] == [
            ("Clip", 0, 45), ("Gap", 0, 3), ("Clip", 0, 48),
        ]  # fmt: skip
        assert pictures[0].markers[0].marked_range.end_time_exclusive().value == 45

    def test_a_file_of_another_rate_is_told(self, tmp_path):
        made = laid(tmp_path, clip("a", rate=NTSC, ordered=clip("a")["ordered"]))
        data, notes = timelines.content([made], tmp_path / "x.otio")
        assert notes == ("a has 24000/1001 frames a second, and 24 were ordered",)
        (shown, *_) = otio.adapters.read_from_string(data.decode(), "otio_json").find_clips()
        assert frames(shown.source_range) == (0, 48)
        assert inside(shown.source_range, shown.media_reference.available_range)

    def test_a_file_that_is_longer_is_seen_as_long_as_was_ordered(self, tmp_path):
        made = laid(tmp_path, clip("a", media=clip("a")["media"] | {"frames": 50}))
        (shown, *_) = timelines.timeline(made, str).find_clips()
        assert frames(shown.source_range) == (0, 48)
        assert frames(shown.media_reference.available_range) == (0, 50)

    def test_the_sound_of_the_film_lies_across_it_and_the_clips_sound_under_them(self, project, tmp_path):
        timeline = read(project.exports / "spot_Oslo.otio")
        assert [(each.name, each.kind) for each in timeline.tracks] == [
            ("pictures", "Video"), ("clip sound", "Audio"), ("sound", "Audio"),
        ]  # fmt: skip
        (across,) = track(timeline, "sound")
        assert frames(across.source_range) == (0, 75), "the sound is 2.5 s of the film's 3"
        assert [frames(each.source_range) for each in track(timeline, "clip sound")] == [(0, 60), (0, 30)]
        gone = MediaSource("vo.wav", "audio", tmp_path / "gone.wav", "")
        made = laid(tmp_path, clip("a"), sound=gone, clip_sound=None)
        timeline = timelines.timeline(made, str)
        assert [each.name for each in timeline.tracks] == ["pictures", "sound"]
        assert frames(track(timeline, "sound")[0].source_range) == (0, 48)

    def test_hostile_names_and_texts_come_back(self, tmp_path):
        said = [{"speaker": HOSTILE, "text": HOSTILE}]
        evil = f"{HOSTILE}\n\x00\x1b[31m\udc80"
        shots = [{"index": 1, "start": 0, "end": 2, "framing": evil, "action": evil, "dialogue": said}]
        made = laid(tmp_path, clip("a", prompt=evil, shots=shots, seed=2**70), title=evil)
        timeline = otio.adapters.read_from_string(timelines.content([made], tmp_path / "x")[0].decode(), "otio_json")
        assert "\n" not in timeline.name
        assert timeline.name.startswith(HOSTILE)
        (shown, *_) = timeline.find_clips()
        assert shown.metadata["storyrun"]["prompt"] == f"{HOSTILE}\n\x1b[31m?"
        assert shown.metadata["storyrun"]["seed"] == str(2**70)


class TestEdl:
    @staticmethod
    def back(made: layouts.Layout) -> tuple[str, Any]:
        text = edl.content([made], Path("x.edl"))[0].decode()
        return text, otio.adapters.read_from_string(text, "cmx_3600", rate=float(made.rate))

    def test_events_times_names_and_files_come_back(self, project):
        timeline = read(project.exports / "spot_Oslo.edl", rate=30)
        (pictures,) = timeline.tracks
        assert [each.name for each in pictures] == ["hook[city=Oslo]", "end"]
        assert [frames(each.source_range) for each in pictures] == [(0, 60), (0, 30)]
        assert -pictures.source_range.start_time.value == 108000, "the record begins at 01:00:00:00"
        files = [Path(each.media_reference.target_url) for each in pictures]
        assert [file.name for file in files] == ["hook_Oslo_v001.mp4", "end_v001.mp4"]
        assert all(file.is_file() for file in files)

    def test_the_bytes_are_those_of_a_cmx_3600_list(self, tmp_path):
        """A golden list, paired with what must be true of it above."""
        text, _ = self.back(laid(tmp_path, clip("a", rate=NTSC), missing("b", rate=NTSC)))
        assert text == (
            "TITLE: The spot\nFCM: NON-DROP FRAME\n"
            "001  A        V     C        00:00:00:00 00:00:02:00 01:00:00:00 01:00:02:00\n"
            f"* FROM CLIP NAME:  a\n* FROM FILE: {tmp_path}/clips/a_v001.mp4\n"
            "* LOC: 01:00:00:00 GREEN   IN A\n"
            "002  B        V     C        00:00:00:00 00:00:02:00 01:00:02:00 01:00:04:00\n"
            "* FROM CLIP NAME:  b\n* LOC: 01:00:02:00 GREEN   IN B\n* MISSING: b\n"
        )

    @pytest.mark.parametrize(
        "rate", [Fraction(24), Fraction(25), NTSC, Fraction(30), Fraction(30000, 1001), Fraction(60)]
    )
    def test_lengths_add_up_and_shots_lie_in_the_record_times_of_their_events(self, tmp_path, rate):
        shots = [
            {"index": 1, "start": 0, "end": 1, "action": "one"},
            {"index": 2, "start": 1, "end": 2, "action": "two"},
        ]
        made = laid(tmp_path, *(clip(f"c{n}", rate=rate, shots=shots) for n in range(5)))
        text, timeline = self.back(made)
        (pictures,) = timeline.tracks
        assert sum(each.source_range.duration.value for each in pictures) == made.frames
        assert text.count("01:00:00") >= 2, text
        assert ("FCM: DROP FRAME" in text) == (rate == Fraction(30000, 1001)) == (";" in text)
        start = -pictures.source_range.start_time.value
        for each in pictures:
            span = pictures.range_of_child(each)
            for marker in each.markers:
                at = marker.marked_range.start_time.value - start
                assert span.start_time.value - 1e-6 <= at < span.end_time_exclusive().value

    def test_reels_have_at_most_eight_letters_and_no_two_are_alike(self, tmp_path):
        names = ["investigation", "investigations", "investig-ation", "東京", "京都", "a b"]
        _, timeline = self.back(laid(tmp_path, *(clip(name) for name in names)))
        reels = [each.metadata["cmx_3600"]["reel"] for each in timeline.tracks[0]]
        assert reels == ["INVESTIG", "INVESTI2", "INVESTI3", "CLIP", "CLIP2", "AB"]
        assert max(map(len, reels)) <= REEL

    def test_a_short_file_leaves_a_gap_in_the_record_times(self, tmp_path):
        _, timeline = self.back(laid(tmp_path, clip("a", media=clip("a")["media"] | {"frames": 45}), clip("b")))
        assert [(type(each).__name__, each.source_range.duration.value) for each in timeline.tracks[0]] == [
            ("Clip", 45), ("Gap", 3), ("Clip", 48),
        ]  # fmt: skip

    def test_hostile_texts_stay_on_their_lines(self, tmp_path):
        evil = f"{HOSTILE}\n002  EVIL V C 00:00:00:00 00:00:01:00 00:00:00:00 00:00:01:00"
        shots = [{"index": 1, "start": 0, "end": 2, "framing": evil}]
        _, timeline = self.back(laid(tmp_path, clip("a", shots=shots), title=evil))
        assert [each.name for each in timeline.find_clips()] == ["a"]

    def test_what_has_no_timecode_is_refused(self, tmp_path):
        for content in (edl.content, fcp7.content):
            with pytest.raises(UsageError, match="clips of 24, 30"):
                content([laid(tmp_path, clip("a"), clip("b", rate=Fraction(30)))], tmp_path)
            with pytest.raises(UsageError, match="no timecode at 16 frames a second"):
                content([laid(tmp_path, clip("a", rate=Fraction(16)))], tmp_path)
        with pytest.raises(UsageError, match="at most 999 events"):
            edl.content([laid(tmp_path, *(clip(f"c{n}") for n in range(1000)))], tmp_path)

    def test_the_fade_is_told(self, tmp_path):
        assert (
            "`storyrun assemble` makes it"
            in edl.content([laid(tmp_path, clip("a"), fade=Fraction(1, 2))], tmp_path)[1][0]
        )


class TestFcp7:
    def test_clips_times_markers_and_files_come_back(self, project):
        timeline = read(project.exports / "spot_Tokyo.xml")
        assert timeline.name == 'The "spot" & <two> · Tokyo'
        assert timeline.global_start_time == otio.opentime.RationalTime(108000, 30)
        pictures, heard, across = timeline.tracks
        assert [(each.kind, len(each)) for each in timeline.tracks] == [("Video", 2), ("Audio", 2), ("Audio", 1)]
        assert [each.name for each in pictures] == ["hook[city=Tokyo]", "end"]
        assert [frames(each.source_range) for each in pictures] == [(0, 60), (0, 30)]
        assert [frames(each.source_range) for each in heard] == [(0, 60), (0, 30)]
        assert frames(across[0].source_range) == (0, 75)
        assert [marker.name for marker in pictures[0].markers] == [
            'wide shot: rain in Tokyo, a "quoted" <b>&amp;</b> ]]> é =1+1 --> end', "close-up: eyes",
        ]  # fmt: skip
        assert (
            pictures[0].markers[0].metadata["fcp_xml"]["comment"]
            == "mira: Anyone <i>here</i> & there? / The rain answers."
        )

    def test_media_are_whole_file_addresses_that_lead_to_the_files(self, project):
        for each in read(project.exports / "spot_Tokyo.xml").find_clips():
            address = urlsplit(each.media_reference.target_url)
            assert address.scheme == "file"
            assert Path(unquote(address.path)).is_file()

    def test_the_sequence_says_how_large_it_is_and_which_stream_is_heard(self, project):
        text = (project.exports / "spot_Oslo.xml").read_text("utf-8")
        width, height = (project.clip("end")["media"][key] for key in ("width", "height"))
        assert f"<width>{width}</width>" in text
        assert f"<height>{height}</height>" in text
        assert text.count("<mediatype>audio</mediatype>") == 2
        assert text.count("<pathurl>") == 3, "a picture and its sound are one file"

    @pytest.mark.parametrize("rate", [Fraction(24), NTSC, Fraction(30000, 1001)])
    def test_rates_and_missing_clips_come_back(self, tmp_path, rate):
        made = laid(tmp_path, clip("a", rate=rate), missing("b", rate=rate), clip("c", rate=rate))
        timeline = otio.adapters.read_from_string(fcp7.content([made], tmp_path)[0].decode(), "fcp_xml")
        pictures = timeline.tracks[0]
        assert sum(seconds(each.source_range.duration) for each in pictures) == made.frames / rate
        assert [each.name for each in pictures] == ["a", "b", "c"]
        assert pictures[1].media_reference.is_missing_reference
        assert timeline.global_start_time.value == layouts.hour(rate)

    def test_hostile_texts_are_xml(self, tmp_path):
        evil = f"{HOSTILE}\x00\x0b\x1b\ufffe\udc80"
        shots = [{"index": 1, "start": 0, "end": 2, "framing": evil, "dialogue": [{"text": evil}]}]
        made = laid(tmp_path, clip("a", shots=shots), title=evil)
        timeline = otio.adapters.read_from_string(fcp7.content([made], tmp_path)[0].decode(), "fcp_xml")
        assert timeline.name == HOSTILE
        assert timeline.tracks[0][0].markers[0].name.startswith(HOSTILE[:40])
