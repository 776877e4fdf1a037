"""`storyrun assemble`, and the films of a preview: from a plan to files, with what is told and the exit code."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import pytest

from storyrun import media
from storyrun.cli import main
from storyrun.ledger import Ledger
from tests.written import write_plan

ROOT = Path(__file__).parent.parent

PLAN = """
title: The spot
matrix:
  format:
    - {id: wide, ratio: "16:9"}
    - {id: tall, ratio: "9:16"}
defaults: {resolution: 480p, aspect_ratio: "{{ format.ratio }}"}
CUT
scenes:
  - {id: hook, seconds: 1, prompt: a door}
  - id: pour
    shots:
      - {seconds: 1, action: a hand pours, dialogue: Cold enough?}
      - {seconds: 0.5, action: it drips}
"""


@pytest.fixture
def spot(tmp_path, monkeypatch, capsys):
    """Writes the plan, with or without a cut, and types lines in its folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def typed(*words, cut=None):
        if cut is not None:
            write_plan(tmp_path, PLAN.replace("CUT", cut), "spot.yaml")
        code = main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    write_plan(tmp_path, PLAN.replace("CUT", ""), "spot.yaml")
    return typed


def films(folder="outputs/spot/animatic/films"):
    return sorted(path.name for path in Path(folder).glob("[!.]*"))


def test_a_preview_is_put_together_and_assembling_it_again_gives_the_same_films(spot):
    code, out, _ = spot("preview", "spot.yaml", "-q")
    assert code == 0
    assert films() == ["spot_tall.mp4", "spot_wide.mp4"]
    path = Path("outputs/spot/animatic/films/spot_wide.mp4")
    info = media.probe(path)
    clips = [media.probe(clip) for clip in sorted(Path("outputs/spot/animatic/clips").glob("*wide*.mp4"))]
    assert info.frames == sum(clip.frames for clip in clips)
    assert (info.width, info.height) == (clips[0].width, clips[0].height)
    assert info.duration == Fraction("2.5")
    with av.open(str(path)) as container:
        assert container.metadata["title"] == "The spot · wide"
        assert container.metadata["comment"].startswith("spot.yaml, animatic, storyrun ")
    before = {name: Path("outputs/spot/animatic/films", name).read_bytes() for name in films()}
    code, out, err = spot("assemble", "spot.yaml")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "outputs/spot/animatic/films/spot_wide.mp4  2.5 s  pictures as delivered",
        "outputs/spot/animatic/films/spot_tall.mp4  2.5 s  pictures as delivered",
    ]
    assert before == {name: Path("outputs/spot/animatic/films", name).read_bytes() for name in films()}


def test_films_are_told_to_programs(spot):
    spot("preview", "spot.yaml", "-q", cut="cut: {name: 'Drip {{ format }}', subtitles: soft, length: 2.5}")
    code, out, _ = spot("assemble", "spot.yaml", "--json", "--only", "Drip*wide")
    told = json.loads(out)
    assert code == 0
    assert (told["version"], told["provider"]) == (1, "animatic")
    (film,) = told["films"]
    assert (film["title"], film["file"], film["variant"]) == ("Drip wide", "films/Drip-wide.mp4", {"format": "wide"})
    assert (film["seconds"], film["copied"], film["missing"]) == (2.5, True, [])
    assert (Path(told["folder"]) / film["file"]).is_file()


def test_a_preview_of_some_clips_makes_no_film_and_assembling_them_marks_what_is_missing(spot):
    assert spot("preview", "spot.yaml", "-q", "--only", "hook*")[0] == 0
    assert films() == []
    code, out, _ = spot("assemble", "spot.yaml", "--only", "spot_wide")
    assert code == 1
    assert out.splitlines()[1] == "  missing: pour[format=wide]"
    info = media.probe(Path("outputs/spot/animatic/films/spot_wide.mp4"))
    assert info.duration == Fraction("2.5")
    assert films() == ["spot_wide.mp4"]


def test_a_plan_of_one_clip_makes_no_second_file_of_it_in_a_preview(spot, tmp_path):
    write_plan(tmp_path, "scenes: [{id: a, seconds: 1, prompt: x, resolution: 480p}]", "one.yaml")
    assert spot("preview", "one.yaml", "-q")[0] == 0
    assert films("outputs/one/animatic/films") == []
    assert spot("assemble", "one.yaml")[0] == 0
    assert films("outputs/one/animatic/films") == ["one.mp4"]


def test_a_run_says_how_to_put_a_cut_together_and_leaves_it_at_that(spot):
    code, out, _ = spot("spot.yaml", cut="cut: {transition: fade}")
    assert code == 0
    assert out.splitlines()[-1] == "next  storyrun assemble spot.yaml"
    assert films() == []
    assert "assemble" not in spot("spot.yaml", cut="")[1]


def test_nothing_made_yet_is_told_with_the_line_that_previews_it(spot):
    code, out, err = spot("assemble", "spot.yaml")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "nothing to assemble: no clip of spot is made on animatic yet",
        "next  storyrun preview spot.yaml",
    ]
    assert not Path("outputs").exists()


def test_a_film_that_is_not_there_gets_a_suggestion(spot):
    code, _, err = spot("assemble", "spot.yaml", "--only", "spot_wid")
    assert code == 2
    assert "no film is called spot_wid" in err
    assert "spot_wide" in err


def test_a_wrong_length_is_refused_before_anything_is_made(spot):
    code, _, err = spot("preview", "spot.yaml", cut="cut: {length: 4}")
    assert code == 2
    assert "the scenes are 2.5 s together, and `length` says 4 s" in err
    assert not Path("outputs").exists()


def test_clips_of_several_shots_are_split_and_add_up(spot):
    spot("preview", "spot.yaml", "-q")
    code, out, _ = spot("assemble", "spot.yaml", "--split")
    assert code == 0
    names = [f"pour_{form}_v001_s{number}.mp4" for form in ("tall", "wide") for number in (1, 2)]
    assert films("outputs/spot/animatic/films/shots") == names
    assert len(out.splitlines()) == 4
    for form in ("tall", "wide"):
        parts = [media.probe(path) for path in sorted(Path("outputs/spot/animatic/films/shots").glob(f"*{form}*"))]
        whole = media.probe(Path(f"outputs/spot/animatic/clips/pour_{form}_v001.mp4"))
        assert [part.duration for part in parts] == [1, Fraction(1, 2)]
        assert sum(part.frames for part in parts) == whole.frames
        assert {part.audio_codec for part in parts} == {whole.audio_codec}


def test_split_tells_of_clips_that_are_not_there(spot):
    spot("preview", "spot.yaml", "-q", "--only", "*wide*")
    code, out, err = spot("assemble", "spot.yaml", "--split", "--json")
    assert code == 1
    assert json.loads(out)["missing"] == ["pour[format=tall]"]
    assert "pour[format=tall]: 0 of 2 shots are there" in err


def test_assembling_changes_neither_clips_nor_ledger(spot):
    spot("preview", "spot.yaml", "-q")
    kept = [*Path("outputs/spot/animatic/clips").iterdir(), Path("outputs/spot/animatic/manifest.json")]
    before = [(path, path.read_bytes()) for path in kept]
    with Ledger.open(Path("outputs/ledger.sqlite"), None) as ledger:  # type: ignore[arg-type]
        rows = ledger.attempts("spot")
    spot("assemble", "spot.yaml")
    assert before == [(path, path.read_bytes()) for path in kept]
    with Ledger.open(Path("outputs/ledger.sqlite"), None) as ledger:  # type: ignore[arg-type]
        assert ledger.attempts("spot") == rows


def test_a_film_that_would_be_the_same_is_not_made_again(spot):
    assert spot("preview", "spot.yaml", "-q")[0] == 0
    path = Path("outputs/spot/animatic/films/spot_wide.mp4")
    first = (path.stat().st_ino, path.read_bytes())
    assert spot("assemble", "spot.yaml")[0] == 0
    assert (path.stat().st_ino, path.read_bytes()) == first, "it was written anew"
    spot("assemble", "spot.yaml", cut="cut: {transition: fade}")
    assert path.read_bytes() != first[1], "another cut is another film"
    faded = path.read_bytes()
    path.write_bytes(b"spoilt")
    assert spot("assemble", "spot.yaml", cut="cut: {transition: fade}")[0] == 0
    assert path.read_bytes() == faded, "what is not the file that was made is made again"
    Path("outputs/spot/animatic/films/.made.json").write_text("[]", encoding="utf-8")
    assert spot("assemble", "spot.yaml", cut="cut: {transition: fade}")[0] == 0
    assert path.read_bytes() == faded
