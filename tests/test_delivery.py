"""Clips under the names of a delivery, and the JSON beside each clip."""

from __future__ import annotations

import hashlib
import json
import subprocess
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyrun import folder as folders
from storyrun import media
from storyrun.cli import main
from storyrun.errors import UsageError
from storyrun.exports import delivery, names, sidecars
from storyrun.folder import Outputs
from tests.handover import HOSTILE, Project, clip, missing
from tests.test_cut import CREDENTIALS, frame_of

PLAN = """\
version: 1
title: Cold Brew / Autumn
defaults: {resolution: 480p, seconds: 1, aspect_ratio: "{{ format.ratio }}"}
matrix:
  city: [Oslo, São Paulo]
  format: [{id: wide, ratio: "16:9"}]
scenes:
  - {id: hook, takes: 2, seed: 3, prompt: "rain in {{ city }}"}
  - {id: end, prompt: the logo}
"""

OSLO = "hook[city=Oslo,format=wide]"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A project that is drawn once; nobody changes it."""
    made = Project(tmp_path_factory.mktemp("drawn"), PLAN)
    made.draw()
    return made


@pytest.fixture
def project(drawn, tmp_path):
    """A copy of it with the same clips, for tests that break things."""
    made = Project(tmp_path / "copy", PLAN)
    subprocess.run(["cp", "-r", drawn.folder / "outputs", made.folder], check=True)
    return made


def lying(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def signed(path):
    """A clip with content credentials of its maker."""
    path.parent.mkdir()
    with media.Film(path, (64, 36), Fraction(8), sound=False) as writer:
        writer.add_frame(frame_of(120, (64, 36)))
    path.write_bytes(path.read_bytes() + CREDENTIALS)
    return path


class TestDelivery:
    def test_the_clips_lie_there_under_their_names_to_the_byte_and_sha256sum_says_so(self, drawn, tmp_path):
        target = tmp_path / "to the client"
        ran = drawn.export("--deliver", str(target), "--name", "{scene}_{city}_t{take:02}")
        assert (ran.code, ran.err) == (0, "")
        clips = ["end_t01.mp4", "hook_Oslo_t01.mp4", "hook_São-Paulo_t01.mp4"]
        assert lying(target) == sorted(["checksums.sha256", "delivery.json", *clips])
        assert (target / "hook_Oslo_t01.mp4").read_bytes() == (drawn.run_folder / drawn.clip(OSLO)["file"]).read_bytes()
        checked = subprocess.run(
            ["sha256sum", "-c", "checksums.sha256"], cwd=target, capture_output=True, text=True, check=True
        )
        assert checked.stdout.count(": OK\n") == 3
        (record,) = [each for each in json.loads((target / "delivery.json").read_text())["files"] if each["id"] == OSLO]
        assert (record["file"], record["prompt"], record["seed"]) == ("hook_Oslo_t01.mp4", "rain in Oslo", 3)

    def test_axes_columns_folders_and_literal_braces_fill_a_name(self, drawn, tmp_path):
        pattern = "{title}/{city}/{{v{version:03}}}-{scene}_{format.ratio}_{format}_{provider}_{model}_{take}.mp4"
        assert drawn.export("--deliver", str(tmp_path), "--name", pattern, "--only", "spot_Oslo*").code == 0
        model = drawn.clip(OSLO)["model"]
        assert lying(tmp_path / "Cold-Brew---Autumn/Oslo") == [
            f"{{v001}}-hook_16-9_wide_animatic_{model}_1.mp4",
        ]  # fmt: skip
        assert (tmp_path / f"Cold-Brew---Autumn/{{v001}}-end_16-9_wide_animatic_{model}_1.mp4").is_file()

    def test_without_a_name_they_are_called_as_they_are(self, drawn, tmp_path):
        assert drawn.export("--deliver", str(tmp_path), "--all-takes").code == 0
        there = [path.name for path in (drawn.run_folder / "clips").glob("*.mp4")]
        assert [name for name in lying(tmp_path) if name.endswith(".mp4")] == sorted(there)

    def test_a_pick_is_what_is_delivered(self, project, tmp_path):
        assert main(["pick", str(project.plan), f"{OSLO}#2"]) == 0
        ran = project.export("--deliver", str(tmp_path / "x"), "--name", "{scene}-{city}-{take}", "--json")
        assert [file["file"] for file in json.loads(ran.out)["files"]] == [
            "hook-Oslo-2.mp4", "end-1.mp4", "hook-São-Paulo-1.mp4",
        ]  # fmt: skip

    def test_names_that_are_alike_are_all_listed_before_anything_is_copied(self, drawn, tmp_path):
        ran = drawn.export("--deliver", str(tmp_path / "x"), "--name", "{scene}", "--all-takes")
        assert ran.code == 2
        assert f"hook.mp4: {OSLO}, {OSLO}#2, hook[city=São Paulo,format=wide]" in ran.said
        assert "nothing was copied" in ran.said
        assert not (tmp_path / "x").exists()

    def test_again_copies_nothing_and_keeps_the_lists(self, drawn, tmp_path):
        words = ("--deliver", str(tmp_path), "--name", "{scene}_{city}", "--json")
        first = json.loads(drawn.export(*words).out)["files"]
        before = {path: (path.read_bytes(), path.stat().st_ino) for path in tmp_path.glob("*.mp4")}
        second = drawn.export(*words)
        assert second.code == 0
        assert [file["new"] for file in first] == [True] * 3
        assert [file["new"] for file in json.loads(second.out)["files"]] == [False] * 3
        assert {path: (path.read_bytes(), path.stat().st_ino) for path in tmp_path.glob("*.mp4")} == before

    def test_a_second_delivery_into_the_folder_joins_the_first_in_the_lists(self, drawn, tmp_path):
        assert drawn.export("--deliver", str(tmp_path), "--name", "a/{scene}_{city}").code == 0
        assert drawn.export("--deliver", str(tmp_path), "--name", "b/{scene}_{city}").code == 0
        (tmp_path / "a/end.mp4").unlink()
        assert drawn.export("--deliver", str(tmp_path), "--name", "b/{scene}_{city}").code == 0
        listed = [line.partition("  ")[2] for line in (tmp_path / "checksums.sha256").read_text().splitlines()]
        assert listed == [name for name in lying(tmp_path) if name.endswith(".mp4")]
        assert len(listed) == 5
        assert sorted(each["file"] for each in json.loads((tmp_path / "delivery.json").read_text())["files"]) == listed

    @pytest.mark.parametrize("name", ["hook_Oslo.mp4", "HOOK_oslo.mp4"])
    def test_another_file_in_the_way_is_never_overwritten(self, drawn, tmp_path, name):
        (tmp_path / name).write_text("the client's own")
        ran = drawn.export("--deliver", str(tmp_path), "--name", "{scene}_{city}")
        assert (ran.code, f"hook_Oslo.mp4: {OSLO}" in ran.said, "nothing was copied" in ran.said) == (2, True, True)
        assert lying(tmp_path) == [name]
        assert (tmp_path / name).read_text() == "the client's own"

    @pytest.mark.parametrize("name", ["checksums.sha256", "delivery.json"])
    def test_lists_of_others_are_never_overwritten(self, drawn, tmp_path, name):
        (tmp_path / name).write_text("somebody else's\n")
        ran = drawn.export("--deliver", str(tmp_path))
        assert (ran.code, "is not of a delivery of ours" in ran.said) == (2, True)
        assert lying(tmp_path) == [name]

    def test_missing_clips_stop_it_and_are_listed_unless_a_part_is_wanted(self, project, tmp_path):
        (project.run_folder / project.clip("end[format=wide]")["file"]).unlink()
        ran = project.export("--deliver", str(tmp_path / "x"), "--name", "{scene}_{city}")
        assert (ran.code, ran.out) == (1, "")
        assert "1 of 3 clips missing, nothing was copied: end[format=wide]" in ran.said
        assert not (tmp_path / "x").exists()
        ran = project.export("--deliver", str(tmp_path / "x"), "--name", "{scene}_{city}", "--partial")
        assert (ran.code, "missing: end[format=wide]" in ran.said) == (1, True)
        assert len(list((tmp_path / "x").glob("*.mp4"))) == 2

    def test_a_clip_that_rotted_on_the_disk_is_not_delivered(self, project, tmp_path):
        path = project.run_folder / project.clip(OSLO)["file"]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        ran = project.export("--deliver", str(tmp_path / "x"), "--name", "{scene}_{city}", "--json")
        assert (ran.code, json.loads(ran.out)["damaged"]) == (1, [OSLO])
        assert lying(tmp_path / "x") == ["checksums.sha256", "delivery.json", "end.mp4", "hook_São-Paulo.mp4"]

    def test_content_credentials_are_in_the_copy(self, tmp_path):
        path = signed(tmp_path / "clips/hook_v001.mp4")
        hook = clip("hook", sha256=folders.sha256_of(path))
        manifest = {"storyboard": {}, "provider": "p", "generator": "g"}
        made = delivery.deliver([hook], {"hook": PurePosixPath("a/x.mp4")}, manifest, tmp_path, tmp_path / "to")
        assert [copy.sha256 for copy in made.copies] == [hook["sha256"]]
        assert media.has_credentials(tmp_path / "to/a/x.mp4")

    def test_the_clips_folder_itself_is_no_place_for_it(self, drawn):
        for place in (drawn.run_folder / "clips", drawn.run_folder / "clips/x"):
            ran = drawn.export("--deliver", str(place))
            assert (ran.code, "the folder of the clips themselves" in ran.said) == (2, True)
        assert not (drawn.run_folder / "clips/x").exists()

    def test_nothing_made_says_what_makes_it(self, tmp_path):
        ran = Project(tmp_path, PLAN).export("--deliver", str(tmp_path / "x"))
        assert (ran.code, f"make them first: storyrun {tmp_path / 'spot.yaml'}" in ran.said) == (1, True)


class TestNames:
    @pytest.mark.parametrize(
        ("pattern", "said"),
        [
            ("{scen}", "there is no {scen}"),
            ("{format.ration}", "there is no {format.ration}"),
            ("{scene", "expected '}'"),
            ("{}", "there is no {}"),
            ("{0}", "there is no {0}"),
            ("{scene:02}", "{scene:02} cannot be filled in"),
            ("{take:>5}", "{take:>5} cannot be filled in"),
            ("{take!r}", "{take!r} cannot be filled in"),
            ("{take.__class__}", "there is no {take.__class__}"),
            ("a:b{scene}", "no file's name may hold ':'"),
            ("a\\b", "no file's name may hold"),
            ("\u202e{scene}", "no file's name may hold"),
            ("/srv/{scene}", "is no name in the folder"),
            ("", "is no name in the folder"),
        ],
    )
    def test_a_pattern_that_cannot_be_filled_in_is_refused(self, pattern, said):
        with pytest.raises(UsageError) as refused:
            names.Pattern(pattern, ["city", "format"], {"format": {"wide": {"ratio": "16:9"}}})
        assert said in refused.value.sentence

    def test_the_nearest_field_is_named(self):
        with pytest.raises(UsageError) as refused:
            names.Pattern("{ctiy}", ["city"])
        assert refused.value.hint == "did you mean `city`?"

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("{scene}_{city}_t{take}", "hook_t1.mp4"),
            ("{city}_{scene}", "hook.mp4"),
            ("{city}/{scene}", "hook.mp4"),
            ("{scene}/{city}", None),
            ("{city}", None),
            ("_{scene}_{city}", "_hook.mp4"),
            ("{scene} ({take})", "hook (1).mp4"),
            ("{scene}.MP4", "hook.MP4.mp4"),
            ("../{scene}", None),
            ("a/./{scene}", "a/hook.mp4"),
            (".{scene}", None),
            ("nul", None),
            ("con.{scene}", None),
            ("-{scene}", None),
            ("x" * 300, None),
        ],
    )
    def test_an_empty_value_goes_with_its_separator_and_what_is_no_name_is_refused(self, pattern, name):
        made = [clip("hook")]
        reader = names.Pattern(pattern, ["city"])
        if name is None:
            with pytest.raises(UsageError, match="these names cannot be; nothing was copied"):
                names.of_clips(made, reader, "t", "p")
        else:
            assert names.of_clips(made, reader, "t", "p") == {"hook": PurePosixPath(name)}

    @given(values=st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=4), title=st.text(max_size=80))
    def test_whatever_the_values_a_name_is_one_safe_file_in_the_folder_or_refused(self, values, title):
        made = [clip(f"c{number}", variant={"city": value}) for number, value in enumerate(values)]
        try:
            called = names.of_clips(made, names.Pattern("{title}/{city}_{scene}", ["city"]), title, "p")
        except UsageError:
            return
        assert len({names.folded(str(name)) for name in called.values()}) == len(made)
        for name in called.values():
            assert len(name.parts) == (2 if title else 1)
            assert not name.is_absolute()
            for part in name.parts:
                assert part not in ("", ".", "..")
                assert len(part.encode()) <= 255
                assert all(c.isalnum() or c in "_-." for c in part)
                assert not part.startswith((".", "-"))

    def test_hostile_values_become_plain_letters(self):
        made = [clip("hook", variant={"city": f"../{HOSTILE}\n"})]
        (name,) = names.of_clips(made, names.Pattern("{scene}_{city}", ["city"]), "t", "p").values()
        assert len(name.parts) == 1
        assert all(c.isalnum() or c in "_-." for c in name.name)


class TestSidecars:
    def test_each_clip_has_its_own_after_a_run(self, drawn):
        for each in drawn.manifest["clips"]:
            path = drawn.run_folder / each["file"]
            told = json.loads(path.with_suffix(".json").read_text("utf-8"))
            assert told["file"] == path.name
            assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            same = "id prompt seed model request task_id take variant shots cost media submitted_at finished_at".split()
            assert {key: told[key] for key in same} == {key: each[key] for key in same}
            assert told["credentials"] is False

    def test_a_second_run_leaves_them_alone_and_draws_nothing(self, project):
        project.draw()  # the copy has other times of its own
        found = sorted((project.run_folder / "clips").iterdir())
        before = [(path, path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in found]
        project.draw()
        after = sorted((project.run_folder / "clips").iterdir())
        assert [(path, path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in after] == before
        assert project.manifest["totals"]["reused"] == 5

    def test_a_broken_one_is_written_anew_and_one_that_cannot_be_written_is_a_warning(self, project, capsys):
        first, second = sorted((project.run_folder / "clips").glob("*.json"))[:2]
        first.write_bytes(b"")
        project.draw()
        assert json.loads(first.read_text("utf-8"))["version"] == 1
        second.unlink()
        second.mkdir()
        assert main(["run", str(project.plan), "--provider", "animatic", "--quiet"]) == 0
        said = capsys.readouterr().err
        assert "warning: the JSON files beside the clips" in said
        assert "could not be written: Is a directory" in said

    def test_they_are_no_clips_where_the_ledger_is_gone(self, project):
        outputs = Outputs(project.folder / "outputs")
        outputs.ledger_path.unlink()
        assert folders.clips_without_ledger(outputs)
        for path in (project.run_folder / "clips").glob("*.mp4"):
            path.unlink()
        assert not folders.clips_without_ledger(outputs)

    def test_credentials_are_told_and_the_clip_is_not_touched(self, tmp_path):
        path = signed(tmp_path / "clips/hook_v001.mp4")
        before = (path.read_bytes(), path.stat().st_mtime_ns)
        manifest = {
            "storyboard": {"path": "x", "title": "y", "sha256": None}, "provider": "p", "generator": "g",
            "clips": [clip("hook"), missing("end")], "former": [],
        }  # fmt: skip
        assert (sidecars.write(manifest, tmp_path), sidecars.write(manifest, tmp_path)) == (1, 0)
        assert json.loads(path.with_suffix(".json").read_text())["credentials"] is True
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
        assert lying(tmp_path / "clips") == ["hook_v001.json", "hook_v001.mp4"]

    def test_money_is_a_number(self, drawn):
        told = json.loads(next((drawn.run_folder / "clips").glob("*.json")).read_text("utf-8"), parse_float=Decimal)
        assert told["cost"]["quoted"] == {"amount": 0, "currency": "", "exact": True}
