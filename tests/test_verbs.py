"""Verbs that look after a run: fetch and doctor."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from storyrun.cli import main
from storyrun.clock import SystemClock
from storyrun.folder import Outputs
from storyrun.ledger import Ledger
from storyrun.records import State
from tests.plans import plan_file, write_plan

PLAN = (
    "scenes:\n- {id: a, seconds: 1, resolution: 480p, prompt: x}\n- {id: b, seconds: 1, resolution: 480p, prompt: y}\n"
)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_plan(tmp_path, PLAN)
    return tmp_path


def leave_open(project, clip: str) -> None:
    """An order of one clip whose run died after it was accepted."""
    assert main(["plan.yaml", "--only", clip, "--quiet"]) == 0
    with Ledger.open(Outputs(project / "outputs").ledger_path, SystemClock()) as ledger:
        (attempt,) = ledger.attempts()
        (project / "outputs/plan/animatic" / attempt.file).unlink()
        ledger.move(attempt.id, State.READY, why="the test took the file away")


class TestFetch:
    def test_collects_what_is_open_and_orders_nothing(self, project, capsys):
        leave_open(project, "a")
        assert main(["fetch", "plan.yaml"]) == 0
        assert [path.name for path in project.rglob("*.mp4")] == ["a_v001.mp4"]
        assert "1  done" in capsys.readouterr().out

    def test_works_with_the_plan_file_gone_and_on_a_folder(self, project, capsys):
        leave_open(project, "a")
        (project / "plan.yaml").unlink()
        capsys.readouterr()
        assert main(["fetch", "outputs", "--json"]) == 0
        (manifest,) = json.loads(capsys.readouterr().out)
        assert manifest["clips"] == []
        assert [(clip["id"], clip["status"]) for clip in manifest["former"]] == [("a", "done")]
        assert [path.name for path in project.rglob("*.mp4")] == ["a_v001.mp4"]

    def test_says_when_nothing_is_open(self, project, capsys):
        main(["plan.yaml", "--quiet"])
        assert main(["fetch", "plan.yaml"]) == 0
        assert "nothing is open" in capsys.readouterr().out

    def test_without_a_ledger_there_is_nothing_to_fetch(self, project, capsys):
        assert main(["fetch", "plan.yaml"]) == 2
        assert "there is no ledger" in capsys.readouterr().err

    def test_asks_nobody_when_the_provider_stands_somewhere_else_today(self, project, capsys):
        job = plan_file(project / "plan.yaml").jobs[0]
        outputs = Outputs(project / "outputs")
        outputs.run_folder("plan", "tokenhub@127.0.0.1-9").prepare()
        from storyrun import jobs

        with Ledger.open(outputs.ledger_path, SystemClock()) as ledger:
            run = ledger.begin_run("plan", "tokenhub@127.0.0.1-9", "../plan.yaml", 1, "here")
            ledger.order(
                run=run, plan="plan", plan_path="../plan.yaml", provider="tokenhub@127.0.0.1-9", job=jobs.as_dict(job),
                request={}, account="", reserved=None, budget=None, run_ceiling=None, free_when_failed=False,
            )  # fmt: skip
        assert main(["fetch", "plan.yaml"]) == 2
        assert "TOKENHUB_BASE_URL" in capsys.readouterr().err


class TestDoctor:
    def test_tells_keys_by_presence_only(self, project, capsys, monkeypatch):
        monkeypatch.setenv("TOAPIS_API_KEY", "sk-secret-canary")
        assert main(["doctor"]) == 0
        out, err = capsys.readouterr()
        assert "TOAPIS_API_KEY is set" in out
        assert "TOKENHUB_API_KEY is not set; ordering from tokenhub" in out
        assert "canary" not in out + err

    def test_a_dotenv_file_counts_and_never_beats_the_environment(self, project, capsys, monkeypatch):
        (project / ".env").write_text("TOKENHUB_API_KEY=from-file\nTOAPIS_BASE_URL=http://127.0.0.1:1\n")
        monkeypatch.setenv("TOAPIS_BASE_URL", "http://127.0.0.1:2")
        assert main(["doctor"]) == 0
        out = capsys.readouterr().out
        assert "TOKENHUB_API_KEY is set" in out
        assert "rehearsing at toapis@127.0.0.1-2" in out

    def test_as_json(self, project, capsys):
        assert main(["doctor", "--json"]) == 0
        found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
        assert found["encoder"]["good"]
        assert found["font"]["good"]
        assert found["clock"]["said"].startswith(str(datetime.now(UTC).year))

    def test_online_says_what_does_not_answer(self, project, capsys, monkeypatch):
        monkeypatch.setenv("TOKENHUB_API_KEY", "k")
        monkeypatch.setenv("TOKENHUB_BASE_URL", "http://127.0.0.1:9")
        assert main(["doctor", "--online"]) == 0
        assert "tokenhub online  " in capsys.readouterr().out
