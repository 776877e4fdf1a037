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
from tests.written import plan_file, write_plan

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


class TestSettle:
    """A person's word on what the program cannot know."""

    @pytest.fixture
    def unknown(self, project):
        """An order of a whose answer was lost; on the animatic, which never loses one by itself."""
        leave_open(project, "a")
        with Ledger.open(Outputs(project / "outputs").ledger_path, SystemClock()) as ledger:
            (attempt,) = ledger.attempts()
            run = ledger.begin_run("plan", "animatic", "../plan.yaml", 1, "here")
            ledger.move(attempt.id, State.EXPIRED, why="the test")
            ledger.move(attempt.id, State.SUPERSEDED, why="the test")
            lost = ledger.order(
                run=run, plan="plan", plan_path="../plan.yaml", provider="animatic", job=attempt.job, request={},
                account="", reserved=None, budget=None, run_ceiling=None, free_when_failed=False,
            )  # fmt: skip
            ledger.move(lost.id, State.UNKNOWN, why="the test")
            ledger.end_run(run)
        return lost.id

    def state(self, project, attempt: str) -> State:
        with Ledger.open(Outputs(project / "outputs").ledger_path, SystemClock()) as ledger:
            return ledger.attempt(attempt).state

    def test_not_created_lets_the_next_run_order_it(self, project, unknown, capsys):
        assert main(["settle", "plan.yaml", "a", "--not-created", "--why", "looked in the console"]) == 0
        assert "a: was unclear, is now not ordered\nnext  storyrun plan.yaml" in capsys.readouterr().out
        with Ledger.open(Outputs(project / "outputs").ledger_path, SystemClock()) as ledger:
            last = ledger.history(unknown)[-1]
        assert last.why == "looked in the console"
        assert last.by
        assert main(["plan.yaml", "--only", "a", "--quiet"]) == 0

    def test_adopt_asks_the_provider_first(self, project, unknown):
        assert main(["settle", "plan.yaml", unknown, "--adopt", "task-1"]) == 0
        assert self.state(project, unknown) is State.ACCEPTED

    def test_rebuying_what_may_be_bought_needs_a_second_word(self, project, unknown, capsys):
        assert main(["settle", "plan.yaml", "a", "--rebuy"]) == 2
        assert "--accept-possible-duplicate" in capsys.readouterr().err
        assert self.state(project, unknown) is State.UNKNOWN
        assert main(["settle", "plan.yaml", "a", "--rebuy", "--accept-possible-duplicate"]) == 0
        assert self.state(project, unknown) is State.SUPERSEDED

    def test_abandon_gives_it_up(self, project, unknown):
        assert main(["settle", "plan.yaml", "a", "--abandon", "--json"]) == 0
        assert self.state(project, unknown) is State.ABANDONED

    def test_keep_clears_the_problems_of_a_done_clip(self, project):
        main(["plan.yaml", "--quiet"])
        with Ledger.open(Outputs(project / "outputs").ledger_path, SystemClock()) as ledger:
            attempt = ledger.attempts()[0]
            ledger.set_problems(attempt.id, ("4 s of 5",), by="test", why="test")
        assert main(["plan.yaml", "--quiet"]) == 1
        assert main(["settle", "plan.yaml", attempt.clip, "--keep"]) == 0
        assert main(["plan.yaml", "--quiet"]) == 0

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["a"], "say one of"),
            (["a", "--keep", "--abandon"], "say one of"),
            (["zzz", "--abandon"], "nothing was changed"),
            (["a", "--keep"], "nothing was changed"),
        ],
    )
    def test_what_does_not_fit_changes_nothing(self, project, unknown, capsys, words, said):
        assert main(["settle", "plan.yaml", *words]) == 2
        assert said in capsys.readouterr().err
        assert self.state(project, unknown) is State.UNKNOWN

    def test_only_unknown_ones_are_adopted_or_declared_unsent(self, project, capsys):
        main(["plan.yaml", "--quiet"])
        assert main(["settle", "plan.yaml", "a", "--not-created"]) == 2
        assert "a is done, not unknown" in capsys.readouterr().err


def test_an_expired_clip_needs_you_even_when_only_another_one_was_asked_for(project):
    leave_open(project, "a")
    with Ledger.open(Outputs(project / "outputs").ledger_path, SystemClock()) as ledger:
        ledger.move(ledger.attempts()[0].id, State.EXPIRED, why="the test")
    assert main(["plan.yaml", "--only", "b", "--quiet"]) == 4
