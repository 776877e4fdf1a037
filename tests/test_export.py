"""`storyrun export`: what is written where, and the lists and subtitles read back with their libraries."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import opentimelineio as otio
import pytest
import srt
import webvtt

from storyrun import exports
from storyrun.errors import UsageError
from storyrun.exports import layout as layouts
from storyrun.exports import requests, shotlist, srtfile, vttfile
from tests.handover import HOSTILE, Project, clip, exported, laid, missing
from tests.rehearsal import typed

if TYPE_CHECKING:
    from storyrun.exports.layout import Layout

NTSC = Fraction(24000, 1001)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return exported(tmp_path_factory.mktemp)


def written(module: Any, film: Layout) -> str:
    """A film's subtitles as text."""
    data: bytes = module.content([film], Path("x"))[0]
    return data.decode()


class TestTheVerb:
    def test_one_file_for_each_film_and_format_and_one_list_for_the_plan(self, project):
        per_film = [
            f"spot_{city}{end}" for city in ("Oslo", "Tokyo") for end in (".edl", ".otio", ".srt", ".vtt", ".xml")
        ]
        assert sorted(path.name for path in project.exports.glob("[!.]*")) == sorted(
            [*per_film, "spot.csv", "spot.jsonl"]
        )

    def test_it_changes_no_clip_and_writes_the_same_to_the_byte_again(self, project):
        before = {path: path.read_bytes() for path in project.run_folder.rglob("*") if path.is_file()}
        project.export()
        assert {path: path.read_bytes() for path in project.run_folder.rglob("*") if path.is_file()} == before

    def test_only_and_format_and_to_choose(self, project, tmp_path):
        ran = project.export("--only", "spot_Oslo", "--format", "otio", "--to", str(tmp_path / "cut.otio"))
        assert (ran.code, ran.out) == (0, f"{tmp_path / 'cut.otio'}\n")
        ran = project.export("--format", "srt,csv", "--to", str(tmp_path / "there"), "--json")
        told = json.loads(ran.out)
        assert [(file["format"], Path(file["file"]).name) for file in told["files"]] == [
            ("srt", "spot_Oslo.srt"), ("srt", "spot_Tokyo.srt"), ("csv", "spot.csv"),
        ]  # fmt: skip
        assert all(Path(file["file"]).is_file() for file in told["files"])

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--format", "oito"), "there is no format oito did you mean `otio`?"),
            (("--only", "spot_Olso"), "no film is called spot_Olso did you mean `spot_Oslo`?"),
            (("--name", "{scene}"), "--name goes with --deliver DIR"),
            (("--format", "csv", "--deliver", "x"), "--format and --deliver are different things"),
            (("--deliver", "x", "--to", "y"), "--deliver names the folder itself"),
        ],
    )
    def test_what_means_nothing_is_refused(self, project, words, said):
        ran = project.export(*words)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.said

    def test_several_files_do_not_go_into_one(self, project, tmp_path):
        (tmp_path / "list.csv").write_text("mine")
        ran = project.export("--format", "csv,jsonl", "--to", str(tmp_path / "list.csv"))
        assert (ran.code, "is a file, and several are to be written" in ran.said) == (2, True)
        assert (tmp_path / "list.csv").read_text() == "mine"

    def test_what_an_editor_changed_is_not_written_over(self, tmp_path):
        made = Project(tmp_path)
        made.draw()
        assert made.export("--format", "otio,csv").code == 0
        cut = made.exports / "spot_Oslo.otio"
        cut.write_text(cut.read_text() + "\n")
        (made.exports / "spot.csv").unlink()
        ran = made.export()
        assert (ran.code, "not written over" in ran.said, str(cut) in ran.said) == (2, True, True)
        assert sorted(path.name for path in made.exports.glob("[!.]*")) == ["spot_Oslo.otio", "spot_Tokyo.otio"]
        assert made.export("--format", "otio", "--to", str(made.exports)).code == 0, "--to says so"
        assert made.export().code == 0

    def test_what_a_format_cannot_say_is_a_note_among_all_and_a_refusal_when_asked_for(
        self, project, tmp_path, monkeypatch
    ):
        def refuse(film, what):
            raise UsageError(f"there is no timecode at 16 frames a second, which {what} needs")

        monkeypatch.setattr("storyrun.exports.edl.refuse", refuse)
        ran = project.export("--to", str(tmp_path), "--only", "spot_Oslo")
        assert ran.code == 0
        assert [Path(line).suffix for line in ran.out.splitlines()] == [".otio", ".srt", ".vtt", ".csv", ".jsonl"]
        assert "note: no edl: there is no timecode at 16 frames a second, which an EDL needs" in ran.err
        assert "note: no fcp7: there is no timecode at 16 frames a second, which FCP7 XML needs" in ran.err
        ran = project.export("--format", "fcp7,csv", "--to", str(tmp_path / "x"))
        assert (ran.code, ran.out, "FCP7 XML needs" in ran.said) == (2, "", True)
        assert not (tmp_path / "x").exists()

    def test_without_the_extra_the_lists_are_written_and_a_note_says_what_brings_the_rest(
        self, project, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("storyrun.exports.find_spec", lambda library: None)
        ran = project.export("--to", str(tmp_path))
        assert ran.code == 0
        assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["spot.csv", "spot.jsonl"]
        assert "without otio, edl, fcp7, srt, vtt: pip install 'storyrun[otio]'" in ran.said
        ran = project.export("--format", "vtt", "--to", str(tmp_path))
        assert (ran.code, "pip install 'storyrun[otio]'" in ran.said) == (2, True)
        doctor = typed("doctor").out
        assert "no otio, edl, fcp7, srt, vtt here; timelines and subtitles: pip install 'storyrun[otio]'" in doctor

    def test_a_plan_that_was_never_run_has_timelines_of_gaps_and_exits_1(self, tmp_path):
        made = Project(tmp_path)
        ran = made.export("--format", "otio,csv,jsonl")
        assert ran.code == 1
        assert "missing, a gap in the timeline: hook[city=Oslo] end hook[city=Tokyo]" in ran.said
        timeline = otio.adapters.read_from_file(str(made.exports / "spot_Oslo.otio"))
        assert timeline.duration().to_seconds() == 3
        assert {type(each.media_reference) for each in timeline.tracks[0]} == {otio.schema.MissingReference}
        first = json.loads((made.exports / "spot.jsonl").read_text().splitlines()[0])
        assert (first["status"], first["task_id"], first["request"]["scene"]) == ("planned", None, "hook")
        assert not (tmp_path / "outputs/ledger.sqlite").exists()

    def test_the_extras_are_loaded_by_the_formats_alone(self):
        assert set(exports.EXPORTS) == {"otio", "edl", "fcp7", "srt", "vtt", "csv", "jsonl"}
        for name, export in exports.EXPORTS.items():
            assert exports.lacking(name) == []
            assert export.timeline <= (not export.whole)


class TestSubtitles:
    def test_srt_has_each_line_in_its_share_of_its_shot(self, project):
        subtitles = list(srt.parse((project.exports / "spot_Oslo.srt").read_text("utf-8")))
        assert [each.content for each in subtitles] == ["mira: Anyone <i>here</i> & there?", "The rain answers."]
        assert subtitles[0].start == timedelta(0)
        assert subtitles[0].end == subtitles[1].start
        assert subtitles[1].end == timedelta(seconds=1)

    def test_vtt_names_the_speaker_as_voice_and_escapes_the_rest(self, project):
        first, second = webvtt.read(str(project.exports / "spot_Oslo.vtt")).captions
        assert (first.voice, first.raw_text) == ("mira", "<v mira>Anyone &lt;i&gt;here&lt;/i&gt; &amp; there?")
        assert (second.voice, second.text, second.end) == (None, "The rain answers.", "00:00:01.000")

    def test_times_are_those_of_the_film(self, tmp_path):
        said = [{"index": 1, "start": 0.5, "end": 1.5, "dialogue": [{"speaker": "A", "text": "x"}]}]
        made = laid(tmp_path, clip("a", rate=NTSC), clip("b", rate=NTSC, shots=said))
        (found,) = srt.parse(written(srtfile, made))
        assert found.start == timedelta(milliseconds=round((48 / NTSC + Fraction(1, 2)) * 1000))
        (cue,) = webvtt.from_string(written(vttfile, made)).captions
        assert timedelta(milliseconds=cue.start_time.in_milliseconds()) == found.start

    def test_where_nobody_speaks_there_is_no_file_and_a_note(self, tmp_path):
        made = laid(tmp_path, clip("a"))
        for content in (srtfile.content, vttfile.content):
            assert content([made], tmp_path) == (None, ("nobody says anything: no subtitles",))
        assert exports.write("srt", [made], tmp_path / "x.srt")[0] is False
        assert not (tmp_path / "x.srt").exists()

    def test_hostile_lines_stay_one_subtitle(self, tmp_path):
        evil = f"{HOSTILE}\n\n2\n00:00:00,000 --> 00:00:09,000\nevil\x00\x1b"
        shots = [{"index": 1, "start": 0, "end": 2, "dialogue": [{"speaker": f"{HOSTILE}>\n", "text": evil}]}]
        made = laid(tmp_path, clip("a", shots=shots))
        (found,) = srt.parse(written(srtfile, made))
        assert "\n" not in found.content
        assert found.content.endswith("evil")
        (cue,) = webvtt.from_string(written(vttfile, made)).captions
        assert cue.raw_text.count("<") == cue.raw_text.count(">") == 1
        assert cue.end == "00:00:02.000"


class TestLists:
    def rows(self, data: bytes) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))

    def test_a_row_for_each_shot_with_its_time_in_the_film(self, project):
        rows = self.rows((project.exports / "spot.csv").read_bytes())
        assert [(row["clip"], row["shot"], row["start_tc"], row["end_tc"]) for row in rows[:3]] == [
            ("hook[city=Oslo]", "1", "01:00:00:00", "01:00:01:00"),
            ("hook[city=Oslo]", "2", "01:00:01:00", "01:00:02:00"),
            ("end", "1", "01:00:02:00", "01:00:03:00"),
        ]  # fmt: skip
        assert len(rows) == 6
        assert (rows[0]["framing"], rows[0]["takes"], rows[0]["seed"], rows[0]["status"]) == (
            "wide shot",
            "2",
            "5",
            "done",
        )
        assert rows[0]["dialogue"] == "mira: Anyone <i>here</i> & there? / The rain answers."
        assert all((project.run_folder / row["file"]).is_file() for row in rows)

    def test_no_cell_is_a_formula(self, project, tmp_path):
        shots = [{"index": 1, "start": 0, "end": 2, "action": "\t=2", "camera": "-3"}]
        evil = clip("a", prompt="=1", negative_prompt="@x", problems=["+1"], shots=shots)
        for data in (
            (project.exports / "spot.csv").read_bytes(),
            shotlist.content([laid(tmp_path, evil)], tmp_path)[0],
        ):
            for row in self.rows(data):
                assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())

    def test_a_clip_costs_once_however_many_films_and_shots_show_it(self, tmp_path):
        shots = [{"index": 1, "start": 0, "end": 1}, {"index": 2, "start": 1, "end": 2}]
        made = laid(tmp_path, clip("a", shots=shots), missing("b", cost={"quoted": None, "billed": None}))
        rows = self.rows(shotlist.content([made, made], tmp_path)[0])
        assert [row["cost"] for row in rows] == ["0.2", "", "", "", "", ""]
        assert [row["status"] for row in rows[:3]] == ["done", "done", "planned"]

    def test_a_request_to_a_line_and_every_take_once(self, project):
        lines = [json.loads(line) for line in (project.exports / "spot.jsonl").read_text("ascii").split("\n")[:-1]]
        assert sorted(line["id"] for line in lines) == sorted(clip["id"] for clip in project.manifest["clips"])
        first = lines[0]
        known = project.clip(first["id"])
        assert list(first) == "id fingerprint provider model request status task_id".split()
        assert all(first[key] == known[key] for key in ("fingerprint", "model", "request", "status", "task_id"))

    def test_a_line_stays_a_line(self, tmp_path):
        made = laid(tmp_path, clip("a", request={"prompt": f"{HOSTILE}\n\u2028\x85\udc80"}))
        (line,) = requests.content([made], tmp_path)[0].decode().splitlines()
        assert json.loads(line)["request"] == {"prompt": f"{HOSTILE}\n\u2028\x85\udc80"}


@pytest.mark.parametrize(
    ("frame", "rate", "said"),
    [
        (0, Fraction(24), "00:00:00:00"), (86400, Fraction(24), "01:00:00:00"), (86400, NTSC, "01:00:00:00"),
        (86400 + 24 * 61 + 23, NTSC, "01:01:01:23"), (17, Fraction(16), "00:00:01:01"),
    ],
)  # fmt: skip
def test_timecodes_count_whole_frames(frame, rate, said):
    assert layouts.timecode(frame, rate) == said
