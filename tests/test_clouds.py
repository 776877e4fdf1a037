"""End to end on the three clouds: the real command line against the sandbox, from the plan to the verified clip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from storyrun import media
from storyrun.folder import Outputs, sha256_of
from storyrun.ledger import Ledger
from storyrun.sandbox import PROVIDERS
from tests.rehearsal import Hurried, opening, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Stage

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT / "tests/guides").glob("*.json"))

FROM_A_PICTURE = """\
version: 1
title: A rehearsal
provider: {provider}
model: wan3.0-video
defaults: {{resolution: 480p, seconds: 2, first_frame: desk.png}}
scenes:
  - {{id: c1, prompt: Dust moves}}
  - {{id: c2, prompt: Dust settles}}
"""

each_cloud = pytest.mark.parametrize("name", PROVIDERS)


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog) -> Iterator[Callable[..., Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


# ── the main job ─────────────────────────────────────────────────────────────────────────────────────────────────────


@each_cloud
def test_every_clip_is_ordered_once_downloaded_and_as_ordered(cloud, name):
    stage = cloud(name, clips=3, latency=(0.1, 0.3))
    ran = stage.run()
    assert (ran.code, stage.states, stage.booked, stage.creates) == (0, ["done"] * 3, 3, 3)
    assert {attempt.provider for attempt in stage.attempts} == {f"{name}@127.0.0.1-{stage.sandbox.port}"}
    assert stage.manifest["provider"] == stage.label
    assert stage.files() == ["c1_v001.mp4", "c2_v001.mp4", "c3_v001.mp4"]
    bought = {line["task_id"]: line for line in stage.sandbox.log.booked}
    for clip in stage.manifest["clips"]:
        path = stage.place / clip["file"]
        info = media.probe(path)
        assert (float(info.duration), info.width, info.height, info.audio_codec) == (2.0, 832, 480, "aac")
        assert (sha256_of(path), path.stat().st_size) == (clip["sha256"], clip["bytes"])
        line = bought.pop(clip["task_id"])
        sent = {key: value for key, value in line["request"].items() if key != "client_business_id"}
        assert sent == clip["request"]
    assert bought == {}


@each_cloud
def test_the_second_run_reuses_everything_and_asks_nobody(cloud, name):
    stage = cloud(name, clips=2)
    assert stage.run().code == 0
    asked = dict(stage.sandbox.counts)
    again = stage.run()
    assert (again.code, stage.booked, dict(stage.sandbox.counts)) == (0, 2, asked)
    assert "2 reused" in again.said
    assert stage.manifest["totals"]["reused"] == 2


@each_cloud
def test_only_what_changed_is_ordered(cloud, name):
    stage = cloud(name, clips=2)
    assert stage.run().code == 0
    stage.plan.write_text(stage.plan.read_text("utf-8").replace("light 2", "shadow 2"), "utf-8")
    assert (stage.run().code, stage.booked) == (0, 3)
    assert "shadow 2" in json.dumps(stage.sandbox.log.booked[-1]["request"])
    assert stage.files() == ["c1_v001.mp4", "c2_v001.mp4", "c2_v002.mp4"]


@each_cloud
def test_the_provider_s_other_documented_answers_are_read_too(cloud, name):
    stage = cloud(name, faults={"other-shape": "1"})
    assert (stage.run().code, stage.states, stage.booked) == (0, ["done"], 1)


def test_one_plan_on_three_clouds_keeps_one_ledger_and_three_folders(cloud):
    stage = cloud("tokenhub")
    for name in PROVIDERS:
        stage.provider = name
        assert stage.run("--provider", name).code == 0
        assert stage.statuses() == ["done"]
    assert stage.booked == 3
    assert sorted(attempt.provider for attempt in stage.attempts) == sorted(
        f"{name}@127.0.0.1-{stage.sandbox.port}" for name in PROVIDERS
    )


# ── consent and keys: nothing leaves this machine ────────────────────────────────────────────────────────────────────


@each_cloud
def test_without_a_key_nothing_is_sent(cloud, name, monkeypatch):
    stage = cloud(name)
    monkeypatch.delenv(f"{name.upper()}_API_KEY")
    ran = typed("run", str(stage.plan), "--yes")
    assert ran.code == 2
    assert f"{name.upper()}_API_KEY is not set; nothing was sent" in ran.said
    assert "storyrun preview" in ran.said
    assert stage.sandbox.counts.total() == 0


@each_cloud
def test_a_wrong_key_stops_the_run_after_one_order(cloud, name, monkeypatch):
    stage = cloud(name, clips=3)
    monkeypatch.setenv(f"{name.upper()}_API_KEY", "sk-not-taken-here")
    ran = stage.run()
    assert (ran.code, stage.states, stage.booked, stage.creates) == (5, ["rejected"], 0, 1)
    assert stage.statuses() == ["failed", "planned", "planned"]
    assert stage.manifest["clips"][0]["error"]["class"] == "credentials"
    assert f"Check {name.upper()}_API_KEY" in stage.manifest["clips"][0]["error"]["message"]
    assert "stopped: the provider refused the key" in ran.said
    assert "sk-not-taken-here" not in ran.said
    monkeypatch.setenv(f"{name.upper()}_API_KEY", "sandbox-key")
    assert (stage.run().code, stage.booked) == (0, 3)


@each_cloud
def test_an_unknown_model_is_refused_with_the_line_and_what_there_is(cloud, name):
    stage = cloud(name)
    stage.plan.write_text(stage.plan.read_text("utf-8").replace("wan3.0-video", "wan3.0-vidio"), "utf-8")
    ran = typed("run", str(stage.plan), "--yes")
    assert ran.code == 2
    assert "plan.yaml:4:8" in ran.said
    assert "wan3.0-vidio" in ran.said
    assert "wan3.0-video" in ran.said.replace("wan3.0-vidio", "")
    assert stage.sandbox.counts.total() == 0
    assert not (stage.folder / "outputs").exists()


def test_without_a_yes_nothing_is_sent(cloud):
    stage = cloud("dashscope")
    ran = typed("run", str(stage.plan))
    assert ran.code == 2
    assert "a paid run needs a yes; nothing was sent" in ran.said
    assert stage.sandbox.counts.total() == 0


def test_a_ceiling_below_the_price_sends_nothing(cloud):
    stage = cloud("dashscope")
    ran = typed("run", str(stage.plan), "--max-cost", "0.01USD")
    assert (ran.code, stage.sandbox.counts.total()) == (2, 0)
    assert "nothing was sent" in ran.said


# ── fetch ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@each_cloud
@pytest.mark.parametrize("gone", [False, True], ids=["plan-there", "plan-deleted"])
def test_fetch_collects_what_a_deadline_left_open_and_orders_nothing(cloud, name, gone):
    stage = cloud(name, clips=2, latency=0.4)
    ran = stage.run("--deadline", "0")
    assert (ran.code, stage.states, stage.statuses()) == (4, ["accepted"] * 2, ["open"] * 2)
    assert "storyrun fetch" in ran.said
    if gone:
        stage.plan.unlink()
    fetched = stage.fetch()
    assert (fetched.code, stage.states, stage.booked, stage.creates) == (0, ["done"] * 2, 2, 2)
    assert stage.files() == ["c1_v001.mp4", "c2_v001.mp4"]
    assert stage.fetch().said == "nothing is open"


def test_fetch_by_folder_collects_from_every_cloud(cloud):
    stage = cloud("tokenhub", latency=0.3)
    for name in PROVIDERS:
        stage.provider = name
        assert stage.run("--provider", name, "--deadline", "0").code == 4
    stage.plan.unlink()
    assert typed("fetch", str(stage.folder)).code == 0
    assert (stage.states, stage.booked, stage.creates) == (["done"] * 3, 3, 3)


def test_the_next_run_picks_up_what_is_open(cloud):
    stage = cloud("toapis", clips=2, latency=0.4)
    assert stage.run("--deadline", "0").code == 4
    assert (stage.run().code, stage.states, stage.booked, stage.creates) == (0, ["done"] * 2, 2, 2)


def test_fetch_asks_nobody_when_the_base_url_leads_elsewhere(cloud, monkeypatch):
    stage = cloud("dashscope", latency=60.0)
    assert stage.run("--deadline", "0").code == 4
    polls = stage.sandbox.counts["poll"]
    monkeypatch.delenv("DASHSCOPE_BASE_URL")
    ran = typed("fetch", str(stage.plan))
    assert (ran.code, stage.sandbox.counts["poll"]) == (2, polls)
    assert "nothing was asked" in ran.said
    assert "set DASHSCOPE_BASE_URL" in ran.said


@each_cloud
def test_fetch_with_a_wrong_key_loses_nothing(cloud, name, monkeypatch):
    stage = cloud(name)
    assert stage.run("--deadline", "0").code == 4
    monkeypatch.setenv(f"{name.upper()}_API_KEY", "sk-not-taken-here")
    ran = stage.fetch()
    assert (ran.code, stage.states) == (5, ["accepted"])
    assert "stopped: the provider refused the key" in ran.said
    assert f"Check {name.upper()}_API_KEY" in ran.said
    monkeypatch.setenv(f"{name.upper()}_API_KEY", "sandbox-key")
    assert (stage.fetch().code, stage.states, stage.booked) == (0, ["done"], 1)


def test_fetch_with_the_plan_there_tells_and_writes_the_whole_plan(cloud):
    stage = cloud("toapis", clips=3)
    assert stage.run("--only", "c1", "--deadline", "0").code == 4
    fetched = stage.fetch()
    assert fetched.code == 0
    assert "1 done 2 not ordered c2 c3" in fetched.said
    assert stage.statuses() == ["done", "planned", "planned"]
    assert stage.manifest["former"] == []


def test_fetch_with_a_plan_that_is_broken_by_now_collects_by_the_ledger(cloud):
    stage = cloud("toapis", clips=2)
    assert stage.run("--deadline", "0").code == 4
    stage.plan.write_text("version: 1\n", encoding="utf-8")
    fetched = stage.fetch()
    assert (fetched.code, stage.states) == (0, ["done"] * 2)
    assert "cannot be made as it is written now" in fetched.said
    assert "2 done" in fetched.said


@pytest.mark.parametrize("gone", [False, True], ids=["plan-there", "plan-deleted"])
@pytest.mark.parametrize(("fault", "says"), [("failed", "1 failed"), ("wrong-length", "not as ordered")])
def test_fetch_ends_with_1_when_what_it_collected_is_not_what_was_ordered(cloud, gone, fault, says):
    stage = cloud("toapis", clips=2, faults={fault: "1x"})
    assert stage.run("--deadline", "0").code == 4
    if gone:
        stage.plan.unlink()
    fetched = stage.fetch()
    assert fetched.code == 1
    assert says in fetched.said


def several(cloud, *names):
    """One plan with a clip open at each of these."""
    stage = cloud(names[0], latency=0.3)
    for name in names:
        stage.provider = name
        assert stage.run("--provider", name, "--deadline", "0").code == 4
    return stage


def test_ctrl_c_ends_a_fetch_of_several_and_not_only_the_first_of_them(cloud, monkeypatch):
    stage = several(cloud, *PROVIDERS)
    begun = []

    def interrupted(stop, prepared):
        begun.append(prepared.label)
        stop.drain.set()

    monkeypatch.setattr("storyrun.cli.performing._listen", interrupted)
    assert typed("fetch", str(stage.folder)).code == 130
    assert len(begun) == 1


def test_fetch_of_several_collects_what_it_can_when_one_is_in_use(cloud):
    stage = several(cloud, "tokenhub", "toapis")
    stage.provider = "tokenhub"
    with Outputs(stage.folder / "outputs").run_folder("plan", stage.label).hold():
        fetched = typed("fetch", str(stage.folder))
    assert fetched.code == 3
    assert f"another run is at work in {stage.place}" in fetched.said.replace("storyrun: ", "")
    assert sorted(stage.states) == ["accepted", "done"]


def test_lines_to_type_go_to_the_provider_that_was_chosen(cloud):
    """Without it the line would draw an animatic, or buy everything once more from the plan's own provider."""
    stage = cloud("toapis", faults={"moderation": "1x"})
    stage.plan.write_text(stage.plan.read_text("utf-8").replace("provider: toapis\n", ""), encoding="utf-8")
    ran = typed("run", "plan.yaml", "--provider", "toapis", "--yes")
    assert ran.code == 1
    assert "next storyrun plan.yaml --provider toapis" in ran.said
    status = typed("status", "plan.yaml").said
    assert "next storyrun plan.yaml --provider toapis" in status
    assert "next storyrun plan.yaml A rehearsal" in status


def test_lines_that_order_repeat_the_model_that_was_chosen(cloud):
    cloud("tokenhub", faults={"moderation": "1x"})
    ran = typed("run", "plan.yaml", "--model", "wan3.0-video-prime", "--yes")
    assert ran.code == 1, ran.said
    assert "next storyrun plan.yaml --model wan3.0-video-prime" in ran.said


# ── bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@each_cloud
def test_what_arrives_is_what_prompts_shows(cloud, name):
    stage = cloud(name, clips=2, latency=60.0)
    shown = typed("prompts", str(stage.plan), "--requests", "--json")
    assert stage.run("--deadline", "0").code == 4
    sent = [dict(line["request"]) for line in stage.sandbox.log.booked]
    ids = [body.pop("client_business_id", None) for body in sent]
    assert by_prompt(sent) == by_prompt(entry["request"] for entry in json.loads(shown.out))
    wanted = {attempt.id for attempt in stage.attempts} if name == "toapis" else {None}
    assert set(ids) == wanted


def by_prompt(bodies) -> list[str]:
    return sorted(json.dumps(body, sort_keys=True) for body in bodies)


@pytest.mark.parametrize("name", ["toapis", "dashscope"])
def test_a_local_picture_goes_up_once_for_two_clips(cloud, name):
    stage = cloud(name, clips=2)
    Image.new("RGB", (640, 480), "teal").save(stage.folder / "desk.png")
    stage.plan.write_text(FROM_A_PICTURE.format(provider=name), "utf-8")
    ran = stage.run()
    assert (ran.code, stage.states, stage.booked) == (0, ["done"] * 2, 2), ran.said
    assert [line["mode"] for line in stage.sandbox.log.booked] == ["image"] * 2
    assert "leaves this machine: desk.png" in ran.said
    assert stage.sandbox.counts["upload"] == 1
    film = stage.manifest["clips"][0]["media"]
    assert film["width"] / film["height"] == pytest.approx(4 / 3, rel=0.02)
    assert stage.run().code == 0
    assert stage.booked == 2


@pytest.mark.parametrize("file", GUIDES, ids=[file.stem for file in GUIDES])
def test_a_guides_body_arrives_key_for_key(cloud, file, tmp_path):
    guide = json.loads(file.read_text("utf-8"))
    stage = cloud(guide["provider"], latency=60.0)
    plan = ROOT / guide["storyboard"]
    words = ("--provider", guide["provider"], "--only", guide["clip"], "--out", str(tmp_path / "out"))
    ran = typed("run", str(plan), *words, "--yes", "--deadline", "0")
    assert ran.code == 4, ran.said
    (line,) = stage.sandbox.log.booked
    sent = {key: value for key, value in line["request"].items() if key != "client_business_id"}
    assert sent == guide["body"]
    ledger = Ledger.peek(tmp_path / "out" / "ledger.sqlite", Hurried())
    assert ledger is not None
    with ledger:
        assert [attempt.request for attempt in ledger.attempts()] == [guide["body"]]
