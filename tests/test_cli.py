"""The command line as people and other programs meet it: streams, exit codes, choices, interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import pytest

from storyrun import validation
from storyrun.cli import main
from tests.written import write_plan

ROOT = Path(__file__).parent.parent

SPOT = """\
    title: A spot
    matrix: {city: [Oslo, Rome]}
    defaults: {resolution: 480p}
    scenes:
      - id: hook
        shots:
          - {seconds: 1, framing: wide, action: "a street in {{ city }}"}
          - {seconds: 1, camera: pan left, action: a door}
      - {id: end, seconds: 1, prompt: the end}
"""


@pytest.fixture
def spot(tmp_path, monkeypatch):
    """A plan of three small clips, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return write_plan(tmp_path, SPOT, "spot.yaml")


def manifest_of(folder: Path, plan: str = "spot") -> dict[str, Any]:
    read: dict[str, Any] = json.loads(
        (folder / "outputs" / plan / "animatic" / "manifest.json").read_text(encoding="utf-8")
    )
    assert validation.fits(read, validation.schema("manifest"))
    return read


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.mp4"))


def start(words: list[str], folder: Path, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "storyrun", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        **options,
    )


class TestTheMainJob:
    def test_makes_every_clip_and_a_valid_manifest(self, spot, capsys):
        assert main(["spot.yaml"]) == 0
        out, err = capsys.readouterr()
        assert "3" in out
        assert "3/3 clips" in err
        manifest = manifest_of(spot.parent)
        assert [clip["status"] for clip in manifest["clips"]] == ["done"] * 3
        assert files(spot.parent) == ["end_v001.mp4", "hook_Oslo_v001.mp4", "hook_Rome_v001.mp4"]
        for clip in manifest["clips"]:
            path = spot.parent / "outputs/spot/animatic" / clip["file"]
            assert path.stat().st_size == clip["bytes"]
            with av.open(str(path)) as film:
                assert film.streams.video[0].frames == clip["media"]["frames"]
                assert (film.streams.video[0].width, film.streams.video[0].height) == (832, 480)
        assert sum(clip["media"]["frames"] for clip in manifest["clips"]) == 30 * (2 + 2 + 1)

    def test_run_again_reuses_everything_and_draws_nothing(self, spot, capsys):
        main(["spot.yaml"])
        before = {path: path.stat().st_mtime_ns for path in spot.parent.rglob("*.mp4")}
        assert main(["spot.yaml"]) == 0
        assert {path: path.stat().st_mtime_ns for path in spot.parent.rglob("*.mp4")} == before
        assert manifest_of(spot.parent)["totals"]["reused"] == 3
        assert "3 reused" in capsys.readouterr().out

    def test_a_changed_word_draws_exactly_the_clips_it_touches_and_quote_said_so(self, spot, capsys):
        main(["spot.yaml"])
        spot.write_text(spot.read_text().replace("a door", "a gate"))
        capsys.readouterr()
        assert main(["quote", "spot.yaml"]) == 0
        told = capsys.readouterr().out
        line = next(n for n, text in enumerate(spot.read_text().splitlines(), 1) if "a gate" in text)
        assert f"changed: shots[1].action, spot.yaml:{line}" in told
        assert re.search(r"end\s.*reused", told)
        assert main(["spot.yaml"]) == 0
        assert files(spot.parent) == [
            "end_v001.mp4",
            "hook_Oslo_v001.mp4",
            "hook_Oslo_v002.mp4",
            "hook_Rome_v001.mp4",
            "hook_Rome_v002.mp4",
        ]

    def test_a_reverted_edit_finds_its_old_clip(self, spot):
        main(["spot.yaml"])
        text = spot.read_text()
        spot.write_text(text.replace("a door", "a gate"))
        main(["spot.yaml"])
        spot.write_text(text)
        assert main(["spot.yaml"]) == 0
        assert {clip["file"] for clip in manifest_of(spot.parent)["clips"]} == {
            "clips/end_v001.mp4",
            "clips/hook_Oslo_v001.mp4",
            "clips/hook_Rome_v001.mp4",
        }
        assert len(files(spot.parent)) == 5

    def test_a_copy_of_the_plan_reuses_every_clip_under_its_own_names(self, spot, capsys):
        main(["spot.yaml"])
        (spot.parent / "copy.yaml").write_text(spot.read_text())
        assert main(["copy.yaml"]) == 0
        manifest = manifest_of(spot.parent, "copy")
        assert manifest["totals"]["reused"] == manifest["totals"]["done"] == 3
        for clip in manifest["clips"]:
            here = spot.parent / "outputs/copy/animatic" / clip["file"]
            there = spot.parent / "outputs/spot/animatic" / clip["file"]
            assert here.read_bytes() == there.read_bytes()

    def test_a_lost_clip_is_drawn_again_under_its_name(self, spot):
        main(["spot.yaml"])
        lost = spot.parent / "outputs/spot/animatic/clips/end_v001.mp4"
        before = lost.read_bytes()
        lost.unlink()
        assert main(["spot.yaml"]) == 0
        assert lost.read_bytes() == before

    def test_the_manifest_is_a_view_and_can_be_deleted(self, spot):
        main(["spot.yaml"])
        path = spot.parent / "outputs/spot/animatic/manifest.json"
        first = json.loads(path.read_text())
        path.unlink()
        main(["spot.yaml"])
        second = json.loads(path.read_text())
        assert [clip["sha256"] for clip in first["clips"]] == [clip["sha256"] for clip in second["clips"]]

    def test_the_same_plan_gives_the_same_bytes_elsewhere(self, spot, tmp_path_factory):
        main(["spot.yaml"])
        main(["spot.yaml", "--out", str(tmp_path_factory.mktemp("other")), "--concurrency", "1"])
        first = {clip["id"]: clip["sha256"] for clip in manifest_of(spot.parent)["clips"]}
        other = next(Path(tmp_path_factory.getbasetemp()).glob("other*/spot/animatic/manifest.json"))
        assert {clip["id"]: clip["sha256"] for clip in json.loads(other.read_text())["clips"]} == first


class TestChoices:
    def test_only_takes_an_id_to_the_letter_or_a_pattern(self, spot):
        assert main(["spot.yaml", "--only", "hook[city=Rome]"]) == 0
        assert files(spot.parent) == ["hook_Rome_v001.mp4"]
        assert [clip["status"] for clip in manifest_of(spot.parent)["clips"]] == ["planned", "done", "planned"]
        assert main(["spot.yaml", "--only", "hook*"]) == 0
        assert files(spot.parent) == ["hook_Oslo_v001.mp4", "hook_Rome_v001.mp4"]

    def test_only_what_exists(self, spot, capsys):
        assert main(["spot.yaml", "--only", "hok[city=Rome]"]) == 2
        assert "did you mean `hook[city=Rome]`?" in capsys.readouterr().err

    def test_first_takes_so_many(self, spot):
        assert main(["spot.yaml", "--first", "1"]) == 0
        assert files(spot.parent) == ["hook_Oslo_v001.mp4"]

    def test_preview_is_the_animatic_whatever_the_plan_says(self, spot):
        spot.write_text("provider: dashscope\nmodel: wan2.7-t2v\n" + spot.read_text().replace("480p", "720p"))
        spot.write_text(spot.read_text().replace("seconds: 1", "seconds: 2"))
        assert main(["preview", "spot.yaml", "--first", "1"]) == 0
        assert files(spot.parent) == ["hook_Oslo_v001.mp4"]


class TestStreams:
    def test_json_on_stdout_is_the_manifest_and_nothing_else(self, spot, capsys):
        assert main(["spot.yaml", "--json"]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == manifest_of(spot.parent)
        assert "clips" in err

    @pytest.mark.parametrize(
        "words",
        [
            ["prompts", "spot.yaml"],
            ["quote", "spot.yaml"],
            ["status", "spot.yaml"],
            ["models"],
            ["models", "wan2.7"],
            ["schema"],
            ["check", "spot.yaml"],
            ["run", "spot.yaml", "--dry-run"],
        ],
    )
    def test_every_verb_has_json(self, spot, capsys, words):
        assert main([*words, "--json"]) == 0
        out, _ = capsys.readouterr()
        assert json.loads(out) is not None

    def test_prompts_as_json_are_what_the_contract_says(self, spot, capsys):
        assert main(["prompts", "spot.yaml", "--json", "--only", "end"]) == 0
        (entry,) = json.loads(capsys.readouterr().out)
        assert set(entry) == {"id", "prompt", "negative_prompt", "request"}
        assert entry["prompt"] == "the end"

    def test_quiet_says_nothing_while_all_is_well(self, spot, capsys):
        assert main(["spot.yaml", "--quiet"]) == 0
        assert capsys.readouterr().err == ""

    def test_quote_check_prompts_and_status_write_nothing(self, spot):
        for verb in ("quote", "check", "prompts", "status"):
            assert main([verb, "spot.yaml"]) == 0
        assert sorted(path.name for path in spot.parent.iterdir()) == ["spot.yaml"]

    def test_no_escape_codes_off_a_terminal(self, spot, capsys):
        main(["spot.yaml"])
        main(["prompts", "spot.yaml"])
        main(["quote", "spot.yaml"])
        out, err = capsys.readouterr()
        assert "\x1b" not in out + err

    def test_a_reader_that_leaves_early_causes_no_traceback(self, spot):
        ran = subprocess.run(
            f"{sys.executable} -m storyrun schema storyboard | head -n 1",
            shell=True,
            cwd=spot.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.stdout.strip() == "{"
        assert ran.stderr == ""


class TestRefusals:
    def test_a_bad_plan_prints_its_problems_and_sends_nothing(self, spot, capsys):
        spot.write_text(spot.read_text().replace("camera:", "camra:"))
        assert main(["spot.yaml"]) == 2
        err = capsys.readouterr().err
        assert re.search(r"spot\.yaml:\d+:\d+: error SR\d+ ", err)
        assert "did you mean" in err
        assert "nothing was sent" in err
        assert not (spot.parent / "outputs").exists()

    def test_check_takes_many_files_and_reports_all(self, spot, capsys):
        for name in ("a.yaml", "b.yaml"):
            write_plan(spot.parent, "scenes: [{id: a, prompt: x, sede: 1}]\n", name)
        assert main(["check", "a.yaml", "spot.yaml", "b.yaml"]) == 2
        out, err = capsys.readouterr()
        assert out.count("error SR") == 2
        assert "spot.yaml: 2 scenes, 3 clips, 5 s on animatic, no errors" in out
        assert "2 errors in 2 files" in err

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["chek", "spot.yaml"], "did you mean `check`?"),
            (["spit.yaml"], "did you mean spot.yaml?"),
            (["check", "none.yaml"], "none.yaml"),
            (["run", "spot.yaml", "--concurrency", "0"], "concurrency"),
            (["spot.yaml", "--provider", "vimeo"], "vimeo"),
            (["models", "wan27"], "did you mean"),
            (["schema", "storybord"], "did you mean"),
            (["spot.yaml", "--provider", "tokenhub"], "needs a model"),
            (["spot.yaml", "--max-cost", "much"], "--max-cost 20"),
        ],
    )
    def test_a_wrong_word_gets_a_suggestion(self, spot, capsys, words, said):
        assert main(words) == 2
        out, err = capsys.readouterr()
        assert said in out + err
        assert "Traceback" not in out + err

    def test_clips_without_their_ledger_stop_everything(self, spot, capsys):
        main(["spot.yaml"])
        (spot.parent / "outputs/ledger.sqlite").unlink()
        for stray in (spot.parent / "outputs").glob("ledger.sqlite-*"):
            stray.unlink()
        assert main(["spot.yaml"]) == 6
        assert "nothing was ordered" in capsys.readouterr().err

    def test_a_damaged_ledger_stops_everything(self, spot, capsys):
        main(["spot.yaml"])
        (spot.parent / "outputs/ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
        assert main(["spot.yaml"]) == 6
        assert "Traceback" not in capsys.readouterr().err

    def test_outputs_that_cannot_be_written(self, spot, capsys):
        (spot.parent / "outputs").write_text("a file where a folder should be")
        assert main(["spot.yaml"]) == 6
        assert "outputs" in capsys.readouterr().err


class TestInterruption:
    LONG = "scenes:\n" + "".join(
        f"  - {{id: s{n}, seconds: 60, resolution: 1080p, prompt: number {n}}}\n" for n in range(6)
    )

    def wait_for_a_part(self, process, folder: Path) -> None:
        deadline = time.monotonic() + 60
        while not list(folder.rglob("*.part")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_ctrl_c_stops_with_130_and_the_line_that_goes_on(self, tmp_path):
        write_plan(tmp_path, self.LONG, "long.yaml")
        process = start(["long.yaml"], tmp_path)
        self.wait_for_a_part(process, tmp_path)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "storyrun long.yaml" in out + err
        assert "Traceback" not in err
        manifest = json.loads((tmp_path / "outputs/long/animatic/manifest.json").read_text())
        assert validation.fits(manifest, validation.schema("manifest"))
        assert manifest["totals"]["clips"] == 6
        assert not list(tmp_path.rglob("*.part"))

    def test_a_killed_run_goes_on_where_it_was_with_no_half_file_under_a_final_name(self, tmp_path):
        text = self.LONG.replace("seconds: 60", "seconds: 8")
        write_plan(tmp_path, text, "long.yaml")
        process = start(["long.yaml", "--only", "s0", "--only", "s1"], tmp_path)
        self.wait_for_a_part(process, tmp_path)
        process.kill()
        process.communicate(timeout=60)
        for path in tmp_path.rglob("*_v*.mp4"):
            with av.open(str(path)) as film:
                assert sum(1 for _ in film.decode(video=0)) == 240
        again = start(["long.yaml", "--only", "s0", "--only", "s1"], tmp_path)
        _, err = again.communicate(timeout=120)
        assert again.returncode == 0, err
        assert files(tmp_path) == ["s0_v001.mp4", "s1_v001.mp4"]
        assert not list(tmp_path.rglob("*.part"))

    def test_a_second_run_of_the_same_plan_exits_3_and_names_the_owner(self, tmp_path):
        write_plan(tmp_path, self.LONG, "long.yaml")
        first = start(["long.yaml"], tmp_path)
        try:
            self.wait_for_a_part(first, tmp_path)
            second = start(["long.yaml"], tmp_path)
            _, err = second.communicate(timeout=60)
            assert second.returncode == 3, err
            assert f"process {first.pid} " in err
        finally:
            first.kill()
            first.communicate(timeout=60)
