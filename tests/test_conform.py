"""`storyrun export --conform`: other media under a cut, and nothing else of the cut changed."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import opentimelineio as otio
import pytest

from storyrun.errors import UsageError
from storyrun.exports import conform as conforming
from storyrun.exports import otio as timelines
from tests.handover import Project, clip, laid, missing
from tests.rehearsal import opening, typed

RATE = 24

MEDIA = ("media_reference", "media_references", "active_media_reference_key")


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog):
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


def without_media(timeline: Any) -> Any:
    """A timeline as JSON data without what leads to media, nor our own metadata of clips."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(each) for each in value]
        if not isinstance(value, dict):
            return value
        kept = {key: cleaned(each) for key, each in value.items() if key not in MEDIA}
        if str(value.get("OTIO_SCHEMA")).startswith("Clip."):
            kept["metadata"].pop("storyrun", None)
        return kept

    return cleaned(json.loads(timeline.to_json_string()))


def span(first: float, length: float, rate: float = RATE) -> Any:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(first, rate), otio.opentime.RationalTime(length, rate))


def edited(timeline: Any) -> Any:
    """What an editor makes of it: reordered, trimmed, split, annotated, slowed down, faded, with things of others."""
    pictures = timeline.tracks[0]
    first, second, third = list(pictures)
    del pictures[:]
    second.source_range = span(6, 20)
    half = first.deepcopy()
    first.source_range, half.source_range = span(0, 10), span(24, 12)
    half.name = "hook again, renamed"
    half.markers.append(otio.schema.Marker("fix the hand", span(30, 1), "RED", {"mine": {"x": 1}}))
    half.effects.append(otio.schema.LinearTimeWarp("slow", time_scalar=0.5))
    strange = otio.schema.Clip(
        "archive", otio.schema.ExternalReference("archive/a%20b.mov", span(0, 99)), span(3, 30), {"resolve": {"id": 7}}
    )
    three = otio.opentime.RationalTime(3, RATE)
    fade = otio.schema.Transition("SMPTE_Dissolve", "x", three, three)
    nested = otio.schema.Stack("compound", [third])
    pictures.extend([second, otio.schema.Gap(source_range=span(0, 7)), half, fade, first, strange, nested])
    timeline.metadata["editor"] = {"project": "Häldén"}
    timeline.name = "The spot, v7 locked"
    return timeline


class Desk:
    """A run's folder, and a timeline that was written for other clips."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.old = laid(folder / "animatic", clip("hook"), clip("hook#2"), clip("pour"), clip("end"))
        self.source = folder / "cut" / "cut.otio"
        self.source.parent.mkdir()
        self.timeline = timelines.timeline(self.old, timelines.relative_to(self.source.parent))

    def save(self) -> None:
        otio.adapters.write_to_file(self.timeline, str(self.source))

    def conform(self, *clips: dict[str, Any], shown: dict[str, str] | None = None) -> tuple[conforming.Conformed, Any]:
        groups: dict[str, list[Any]] = {}
        for each in clips:
            groups.setdefault(each["id"].partition("#")[0], []).append(each)
        first = {group: takes[0]["id"] for group, takes in groups.items()}
        stems = {each["id"].replace("#", "_t"): each["id"].partition("#")[0] for each in clips}
        made = conforming.conform(
            self.source, self.folder / "new/x.otio", groups, first | (shown or {}), stems, self.folder / "dashscope"
        )
        return made, otio.adapters.read_from_string(made.data.decode(), "otio_json")


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def address(made: Any, folder: Path) -> str:
    return (folder / "new" / unquote(made.media_reference.target_url)).resolve().relative_to(folder).as_posix()


def test_ranges_order_markers_effects_gaps_transitions_and_what_others_wrote_stay_to_the_letter(desk):
    edited(desk.timeline)
    desk.save()
    made, timeline = desk.conform(clip("hook", seed=99), clip("hook#2"), clip("pour"), clip("end"))
    assert without_media(timeline) == without_media(desk.timeline)
    assert (made.switched, made.waiting, made.unknown, made.uncovered) == (7, (), ("archive",), ())
    pictures = timeline.tracks[0]
    assert [address(pictures[n], desk.folder) for n in (0, 2, 4)] == [
        "dashscope/clips/pour_v001.mp4", "dashscope/clips/hook_v001.mp4", "dashscope/clips/hook_v001.mp4",
    ]  # fmt: skip
    assert address(pictures[6][0], desk.folder) == "dashscope/clips/end_v001.mp4", "also inside a compound clip"
    assert pictures[2].metadata["storyrun"]["seed"] == 99
    assert pictures[5].media_reference.target_url == "archive/a%20b.mov"
    sound = timeline.tracks[1][0]
    assert sound.metadata["storyrun"]["part"] == "sound"
    assert address(sound, desk.folder) == "dashscope/clips/hook_v001.mp4"


def test_twice_is_the_same_to_the_byte(desk):
    edited(desk.timeline)
    desk.save()
    clips = (clip("hook"), clip("hook#2"), clip("pour"), clip("end"))
    first, _ = desk.conform(*clips)
    desk.source.write_bytes(first.data)
    second, _ = desk.conform(*clips)
    assert second.data == first.data


def test_a_take_that_the_editor_chose_is_kept_where_it_is_there(desk):
    hook = desk.timeline.tracks[0][0]
    hook.set_media_references(hook.media_references(), "hook#2")
    desk.save()
    rest = (clip("pour"), clip("end"))
    _, timeline = desk.conform(clip("hook"), clip("hook#2"), *rest)
    assert timeline.tracks[0][0].active_media_reference_key == "hook#2"
    assert timeline.tracks[0][0].metadata["storyrun"]["take"] == 2
    _, timeline = desk.conform(clip("hook"), missing("hook#2"), *rest)
    assert timeline.tracks[0][0].active_media_reference_key == "hook"


def test_a_pick_that_came_after_the_timeline_counts(desk):
    desk.save()
    _, timeline = desk.conform(clip("hook"), clip("hook#2"), clip("pour"), clip("end"), shown={"hook": "hook#2"})
    assert timeline.tracks[0][0].active_media_reference_key == "hook#2"


def test_without_our_metadata_clips_are_known_by_their_files(desk):
    """What many editing programs save: names and files, and nothing of what others wrote into the metadata."""
    for each in desk.timeline.find_clips():
        url = each.media_reference.target_url
        path = (desk.source.parent / unquote(url)).resolve()
        each.metadata.clear()
        each.media_reference = otio.schema.ExternalReference(path.as_uri(), each.media_reference.available_range)
    desk.timeline.tracks[0][1].media_reference.target_url = "C:\\media\\pour_v003.mp4"
    desk.save()
    made, timeline = desk.conform(clip("hook"), clip("hook#2"), clip("pour"), clip("end"))
    assert (made.switched, made.unknown) == (6, ())
    assert address(timeline.tracks[0][1], desk.folder) == "dashscope/clips/pour_v001.mp4"


def test_a_clip_that_is_not_made_yet_keeps_the_media_it_had(desk):
    (desk.folder / "animatic/clips").mkdir(parents=True)
    (desk.folder / "animatic/clips/pour_v001.mp4").touch()
    desk.save()
    made, timeline = desk.conform(clip("hook"), missing("pour"), clip("end"))
    assert (made.switched, made.waiting, made.whole) == (4, ("pour",), False)
    assert address(timeline.tracks[0][1], desk.folder) == "animatic/clips/pour_v001.mp4", (
        "found from the new folder too"
    )


def test_more_than_the_new_media_have_is_told_and_left_as_the_editor_set_it(desk):
    desk.timeline.tracks[0][1].source_range = span(10, 38)
    desk.save()
    short = clip("pour", media=clip("pour")["media"] | {"frames": 45})
    made, timeline = desk.conform(clip("hook"), clip("hook#2"), short, clip("end"))
    assert made.uncovered[0] == "pour uses 0.417 to 2 s of pour, which is 1.875 s long"
    assert not made.whole
    assert timeline.tracks[0][1].source_range == span(10, 38)


def test_a_clip_without_a_range_stays_as_long_as_it_was(desk):
    desk.timeline.tracks[0][1].source_range = None
    desk.save()
    longer = clip("pour", media=clip("pour")["media"] | {"frames": 60})
    made, timeline = desk.conform(clip("hook"), clip("hook#2"), longer, clip("end"))
    assert timeline.duration() == desk.timeline.duration()
    assert timeline.tracks[0][1].source_range == span(0, 48)
    assert made.whole


def test_ranges_that_count_from_the_timecode_of_a_file_still_fit(desk):
    """Some programs write available and source ranges from the file's timecode: both begin at an hour then."""
    pour = desk.timeline.tracks[0][1]
    pour.media_reference.available_range = span(86400, 48)
    pour.source_range = span(86406, 20)
    desk.save()
    made, timeline = desk.conform(clip("hook"), clip("hook#2"), clip("pour"), clip("end"))
    assert made.whole
    assert timeline.tracks[0][1].source_range == span(86406, 20)
    assert timeline.tracks[0][1].media_reference.available_range == span(86400, 48)


def test_media_of_another_rate_are_judged_by_seconds(desk):
    desk.save()
    other = clip("pour", rate=Fraction(30), ordered=clip("pour")["ordered"])
    made, timeline = desk.conform(clip("hook"), clip("hook#2"), other, clip("end"))
    assert made.whole
    assert timeline.tracks[0][1].media_reference.available_range == span(0, 60, 30)
    assert timeline.tracks[0][1].source_range == span(0, 48)


@pytest.mark.parametrize(
    "text", ["", "{}", "no", "[1, 2]", '{"OTIO_SCHEMA": "Clip.2", "name": "x"}', '{"OTIO_SCHEMA": "Timeline.1"}\x00{']
)
def test_what_is_no_timeline_is_refused_in_words(desk, text):
    desk.source.write_text(text)
    with pytest.raises(UsageError, match=r"cut\.otio (cannot be read as OpenTimelineIO|holds no timeline)"):
        desk.conform(clip("hook"))


def test_metadata_of_others_in_our_place_do_no_harm(desk):
    for each, value in zip(desk.timeline.find_clips(), ("text", 3, ["clip"], {"clip": 5}, {}), strict=False):
        each.metadata["storyrun"] = value
    desk.save()
    made, _ = desk.conform(clip("hook"), clip("hook#2"), clip("pour"), clip("end"))
    assert made.switched == 6, "the files tell"


class TestTheVerb:
    PLAN = """\
version: 1
title: A rehearsal
provider: toapis
model: wan3.0-video
defaults: {resolution: 480p, aspect_ratio: "16:9"}
scenes:
  - id: c1
    shots: [{seconds: 1, framing: wide, action: Dust moves}, {seconds: 1, action: It settles}]
  - {id: c2, prompt: A door, seconds: 3}
"""

    def test_the_timeline_of_the_animatic_and_that_of_the_bought_clips_differ_in_their_media_alone(self, cloud):
        stage = cloud("toapis")
        stage.plan.write_text(self.PLAN)
        assert typed("preview", str(stage.plan), "--quiet").code == 0
        ran = stage.run()
        drawn = typed("export", "plan.yaml", "--provider", "animatic", "--format", "otio")
        bought = typed("export", "plan.yaml", "--format", "otio")
        assert drawn.code == 0
        first, second = (otio.adapters.read_from_file(each.out.strip()) for each in (drawn, bought))
        told = [without_media(timeline) for timeline in (first, second)]
        for each in told:
            del each["metadata"]["storyrun"]["provider"]
        assert told[0] == told[1]
        assert first.tracks[0][0].media_reference.target_url != "", ran.said
        shutil.copy(drawn.out.strip(), "cut.otio")
        made = typed("export", "plan.yaml", "--conform", "cut.otio", "--json")
        told_of = json.loads(made.out)
        assert (made.code, told_of["switched"], told_of["missing"]) == (bought.code, 4, [])
        conformed = otio.adapters.read_from_file(told_of["file"])
        assert without_media(conformed) == without_media(otio.adapters.read_from_file("cut.otio"))
        urls = [unquote(each.media_reference.target_url) for each in conformed.find_clips()]
        files = [(Path(told_of["file"]).parent / url).resolve() for url in urls]
        assert files == [stage.place.resolve() / f"clips/c{n}_v001.mp4" for n in (1, 2, 1, 2)]
        assert all(file.is_file() for file in files)

    def test_media_that_are_not_made_yet_and_not_where_the_timeline_says_are_told(self, tmp_path):
        """A timeline that was saved beside the plan: seen from there its clips are nowhere."""
        made = Project(tmp_path, self.PLAN)
        made.draw()
        assert made.export("--format", "otio").code == 0
        there = tmp_path / "outputs/spot/animatic/exports/spot.otio"
        (tmp_path / "cut.otio").write_bytes(there.read_bytes())
        words = ("export", str(made.plan), "--provider", "toapis", "--conform")
        moved = typed(*words, str(tmp_path / "cut.otio"), "--json")
        assert moved.code == 1
        assert json.loads(moved.out)["lost"] == ["../clips/c1_v001.mp4", "../clips/c2_v001.mp4"]
        assert "save the timeline in the folder that it was exported to" in moved.said
        kept = typed(*words, str(there), "--json")
        told = json.loads(kept.out)
        assert (kept.code, told["lost"]) == (1, [])
        urls = {each.media_reference.target_url for each in otio.adapters.read_from_file(told["file"]).find_clips()}
        assert all((Path(told["file"]).parent / unquote(url)).is_file() for url in urls)

    def test_the_file_that_was_read_is_written_over_only_when_told_so(self, tmp_path):
        made = Project(tmp_path, self.PLAN)
        made.draw()
        assert made.export("--format", "otio").code == 0
        source = made.exports / "spot.otio"
        before = source.read_bytes()
        ran = made.export("--conform", str(source))
        assert (ran.code, ran.out.strip()) == (0, str(made.exports / "spot_conformed.otio"))
        assert source.read_bytes() == before
        again = made.exports / "spot_conformed.otio"
        ran = made.export("--conform", str(again))
        assert (ran.code, "would be written over; nothing was" in ran.said, "--to" in ran.said) == (2, True, True)
        assert made.export("--conform", str(again), "--to", str(again)).code == 0
        assert json.loads(made.export("--conform", str(again), "--to", str(tmp_path), "--json").out)["file"] == str(
            tmp_path / "spot_conformed.otio"
        )

    def test_a_timeline_of_something_else_is_refused(self, tmp_path):
        made = Project(tmp_path, self.PLAN)
        other = otio.schema.Timeline("x")
        other.tracks.append(otio.schema.Track("v", [otio.schema.Clip("y", source_range=span(0, 1))]))
        otio.adapters.write_to_file(other, str(tmp_path / "other.otio"))
        ran = made.export("--conform", str(tmp_path / "other.otio"))
        assert (ran.code, "other.otio shows no clip of spot.yaml; nothing was written" in ran.said) == (2, True)
        ran = made.export("--conform", str(tmp_path / "none.otio"))
        assert (ran.code, "there is no file" in ran.said) == (2, True)
        assert not made.exports.exists()
