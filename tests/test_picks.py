"""Picks and retakes: what people chose is a file beside the plan, and the two together say what exists."""

from __future__ import annotations

import json
import re

import pytest

from storyrun import picks
from storyrun.cli import main
from storyrun.picks import Picks
from tests.rehearsal import opening, typed
from tests.written import plan_file, write_plan

PLAN = """
    title: Picks
    matrix: {city: [New York, Tokyo]}
    defaults: {resolution: 480p}
    scenes:
      - {id: hook, seconds: 1, takes: 2, prompt: "Rain over {{ city }}"}
      - {id: end, seconds: 1, prompt: Dust}
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_plan(tmp_path, PLAN)


def chosen(plan):
    found, _, problems = picks.load(plan, plan.name)
    assert problems == ()
    return found


def test_a_pick_is_written_beside_the_plan_and_read_back(plan):
    ran = typed("pick", "plan.yaml", "hook[city=New York]#2", "end")
    assert (ran.code, ran.out) == (0, "hook[city=New York]  take 2 of 2\nend  take 1 of 1\n")
    assert chosen(plan) == Picks({"hook[city=New York]": 2, "end": 1}, {})
    assert plan_file(plan).plan.picks == {"hook[city=New York]#2", "end"}
    assert typed("check", "plan.yaml").code == 0


def test_another_pick_of_a_clip_replaces_the_first_and_keeps_the_others(plan):
    typed("pick", "plan.yaml", "hook[city=Tokyo]#2", "end")
    assert typed("pick", "plan.yaml", "hook[city=Tokyo]").code == 0
    assert chosen(plan).chosen == {"hook[city=Tokyo]": 1, "end": 1}


def test_only_picks_by_pattern(plan):
    assert typed("pick", "plan.yaml", "--only", "hook*#2").code == 0
    assert chosen(plan).chosen == {"hook[city=New York]": 2, "hook[city=Tokyo]": 2}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["hook[city=Tokyo]#3"], "no clip is called hook[city=Tokyo]#3; nothing was picked did you mean"),
        (["end", "ende"], "no clip is called ende; nothing was picked did you mean `end`?"),
        (["hook[city=Tokyo]", "hook[city=Tokyo]#2"], "two takes of hook[city=Tokyo] at once; nothing was picked"),
        (["--undo", "end"], "no take of end is picked; nothing was changed"),
    ],
)
def test_a_pick_that_cannot_be_is_refused_and_writes_nothing(plan, words, says):
    ran = typed("pick", "plan.yaml", *words)
    assert ran.code == 2
    assert says in ran.said
    assert not picks.path_of(plan).exists()


def test_a_pick_can_be_taken_back(plan):
    typed("pick", "plan.yaml", "hook[city=Tokyo]#2", "end")
    assert typed("pick", "plan.yaml", "--undo", "end").code == 0
    assert chosen(plan).chosen == {"hook[city=Tokyo]": 2}


def test_a_pick_that_no_longer_exists_is_a_problem_until_it_is_undone(plan):
    typed("pick", "plan.yaml", "hook[city=Tokyo]#2", "end")
    plan.write_text(plan.read_text("utf-8").replace("takes: 2, ", ""), encoding="utf-8")
    ran = typed("check", "plan.yaml")
    assert ran.code == 2
    assert "plan.picks.yaml:4:21: error SR280 take `2` of hook[city=Tokyo] is picked, and there is one take" in ran.said
    assert typed("run", "plan.yaml").code == 2
    assert typed("pick", "plan.yaml", "--undo").code == 0
    assert chosen(plan).chosen == {"end": 1}
    assert typed("check", "plan.yaml").code == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version: 1\npicks: {end: no}\n", "plan.picks.yaml:2:14: error SR132"),
        ("version: 1\npicks: {end: 0}\n", "plan.picks.yaml:2:14: error"),
        ("version: 1\npick: {end: 1}\n", "did you mean `picks`?"),
        ("version: 2\n", "plan.picks.yaml:1:10: error"),
        ("picks: [end]\nversion: 1\n", "plan.picks.yaml:1:8: error"),
        ("version: 1\npicks:\n  end: 1\n  end: 1\n", "plan.picks.yaml:4:3: error"),
        ("", "plan.picks.yaml"),
        ("- a\n", "plan.picks.yaml"),
        ("\x00", "plan.picks.yaml"),
    ],
)
def test_a_broken_file_of_picks_is_told_with_its_place(plan, text, says):
    picks.path_of(plan).write_text(text, encoding="utf-8")
    ran = typed("check", "plan.yaml")
    assert ran.code == 2
    assert says in ran.said
    assert "Traceback" not in ran.said


def test_the_file_keeps_story_order_and_any_name_that_a_clip_can_have(plan):
    odd = {'b[x="q": #1]': 2, "a[city=São Paulo, SP]": 1, "z": 3, "no": 1}
    path = picks.path_of(plan)
    path.write_bytes(picks.written(Picks(odd, {"z": 5}), ["z", "a[city=São Paulo, SP]"]))
    found, _, problems = picks.load(plan, plan.name)
    assert problems == ()
    assert found == Picks(odd, {"z": 5})
    assert list(found.chosen) == ["z", "a[city=São Paulo, SP]", 'b[x="q": #1]', "no"]


def test_a_retake_makes_more_takes_of_that_clip_alone_and_later_runs_know_them(plan):
    ran = typed("retake", "plan.yaml", "end", "-n", "2")
    assert ran.code == 0, ran.said
    assert chosen(plan) == Picks({}, {"end": 3})
    assert plan_file(plan).ids == [
        "hook[city=New York]",
        "hook[city=New York]#2",
        "hook[city=Tokyo]",
        "hook[city=Tokyo]#2",
        "end",
        "end#2",
        "end#3",
    ]
    manifest = json.loads((plan.parent / "outputs/plan/animatic/manifest.json").read_text("utf-8"))
    assert [clip["id"] for clip in manifest["clips"] if clip["status"] == "done"] == ["end#2", "end#3"]
    typed("pick", "plan.yaml", "end#3")
    ran = typed("run", "plan.yaml", "--json")
    assert ran.code == 0
    told = json.loads(ran.out)
    assert told["totals"]["done"] == 7
    assert told["totals"]["reused"] == 2
    assert [clip["id"] for clip in told["clips"] if clip["picked"]] == ["end#3"]


def test_takes_of_the_plan_and_of_retakes_are_not_added_up(plan):
    picks.path_of(plan).write_bytes(picks.written(Picks({}, {"end": 2, "hook[city=Tokyo]": 1}), []))
    ids = plan_file(plan).ids
    assert "end#2" in ids
    assert "end#3" not in ids
    assert "hook[city=Tokyo]#2" in ids


def test_a_retake_of_what_is_not_there_orders_nothing(plan):
    ran = typed("retake", "plan.yaml", "ende")
    assert ran.code == 2
    assert "no clip is called ende; nothing was ordered did you mean `end`?" in ran.said
    assert typed("retake", "plan.yaml").code == 2
    assert not (plan.parent / "outputs").exists()


def test_a_dry_retake_writes_nothing(plan):
    ran = typed("retake", "plan.yaml", "end", "--dry-run")
    assert ran.code == 0
    assert "1 clip" in ran.said
    assert not picks.path_of(plan).exists()


def test_a_paid_retake_needs_a_yes_and_records_nothing_without_one(tmp_path, monkeypatch, caplog):
    with opening(tmp_path, monkeypatch, caplog) as cloud:
        stage = cloud("toapis", clips=2)
        assert stage.run().code == 0
        refused = typed("retake", "plan.yaml", "c1", "--max-cost", "0.0001")
        assert refused.code == 2
        assert not picks.path_of(stage.plan).exists()
        assert stage.booked == 2
        ran = typed("retake", "plan.yaml", "c1", "--yes", "--poll-interval", "5")
        assert ran.code == 0, ran.said
        assert stage.booked == 3
        assert chosen(stage.plan).takes == {"c1": 2}
        assert stage.run().code == 0
        assert stage.booked == 3


def test_a_retake_while_another_run_works_is_refused_and_leaves_the_file_as_it_was(plan):
    from storyrun.folder import Outputs

    typed("pick", "plan.yaml", "end")
    before = picks.path_of(plan).read_bytes()
    folder = Outputs(plan.parent / "outputs").run_folder("plan", "animatic")
    folder.prepare()
    with folder.hold():
        assert main(["retake", "plan.yaml", "end"]) == 3
    assert picks.path_of(plan).read_bytes() == before


def test_a_retake_that_was_refused_before_anything_was_sent_leaves_no_takes_behind(tmp_path, monkeypatch, caplog):
    """Else the same line, typed again, would order the next take, and the next run this one besides."""
    with opening(tmp_path, monkeypatch, caplog) as cloud:
        stage = cloud("toapis")
        assert stage.run().code == 0
        with monkeypatch.context() as full:
            full.setattr("storyrun.disk.free", lambda _: 1000)
            assert typed("retake", "plan.yaml", "c1", "--yes").code == 6
        assert not picks.path_of(stage.plan).exists()
        assert typed("retake", "plan.yaml", "c1", "--yes", "--poll-interval", "5").code == 0
        assert [attempt.clip for attempt in stage.attempts] == ["c1", "c1#2"]


def test_a_retake_does_not_undo_what_was_picked_while_it_asked(plan, monkeypatch):
    from storyrun.cli import run

    def asked(*words):
        typed("pick", "plan.yaml", "end")

    monkeypatch.setattr(run, "_consent", asked)
    ran = typed("retake", "plan.yaml", "end")
    assert ran.code == 2
    assert "plan.picks.yaml has changed meanwhile; nothing was ordered" in ran.said
    assert chosen(plan) == Picks({"end": 1}, {})


@pytest.mark.parametrize(
    ("clips", "ceiling", "says"),
    [
        (["c1"], "2.5", "raise the ceiling or -n 2 (2 clips, 2.00 USD)"),
        (["c1", "c2"], "3.5", "raise the ceiling or -n 1 (2 clips, 2.00 USD)"),
        (["c1"], "0.5", "raise the ceiling, or order less"),
    ],
)
def test_what_a_retake_offers_instead_fits_when_it_is_typed(tmp_path, monkeypatch, caplog, clips, ceiling, says):
    with opening(tmp_path, monkeypatch, caplog) as cloud:
        stage = cloud("toapis", clips=2)
        prices = "prices:\n  toapis/wan3.0-video: {currency: USD, 480p: 0.5}\n"
        stage.plan.write_text(stage.plan.read_text("utf-8") + prices, encoding="utf-8")
        line = ["retake", "plan.yaml", *clips, "--max-cost", ceiling]
        ran = typed(*line, "-n", "5")
        assert ran.code == 2
        assert ran.said.endswith(says)
        if count := re.search(r"-n (\d+)", says):
            ran = typed(*line, "-n", count[1], "--poll-interval", "5")
            assert ran.code == 0, ran.said


def test_a_renamed_scene_stops_no_verb_that_only_looks_and_the_way_out_says_what_it_drops(plan):
    assert typed("retake", "plan.yaml", "end").code == 0
    typed("pick", "plan.yaml", "end#2")
    plan.write_text(plan.read_text("utf-8").replace("id: end", "id: last"), encoding="utf-8")
    for verb in ("status", "report"):
        ran = typed(verb, "plan.yaml")
        assert ran.code == 0, ran.said
    refused = typed("run", "plan.yaml")
    assert refused.code == 2
    assert (
        "if it was renamed, write its new id here; `storyrun pick PLAN --undo` drops what leads nowhere" in refused.said
    )
    ran = typed("pick", "plan.yaml", "--undo")
    assert ran.code == 0
    assert "end take 2 is no longer picked" in ran.said
    assert "end 2 takes forgotten: the plan has no such clip; what was made stays" in ran.said
    assert chosen(plan) == Picks({}, {})


def test_a_similar_clip_that_has_choices_of_its_own_is_no_suggestion(plan):
    path = picks.path_of(plan)
    path.write_bytes(picks.written(Picks({"hook[city=Tokyo]": 2}, {"hook[city=Tokya]": 5}), []))
    said = typed("check", "plan.yaml").said
    assert "there is no clip `hook[city=Tokya]` to have more takes of" in said
    assert "did you mean" not in said
