"""`storyrun init`: what it writes runs as it stands, and nothing that is there is changed."""

from __future__ import annotations

import json

import pytest

from tests.rehearsal import typed
from tests.written import plan_file


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_plan_that_it_writes_has_no_problem_and_runs(tmp_path):
    ran = typed("init", "my spot")
    assert ran.code == 0
    assert "next storyrun 'my spot/my-spot.yaml'" in ran.said
    plan = plan_file(tmp_path / "my spot" / "my-spot.yaml")
    assert plan.problems == ()
    assert plan.ids == ["opening[format=wide]", "opening[format=tall]", "ending[format=wide]", "ending[format=tall]"]
    ran = typed("run", "my spot/my-spot.yaml", "--first", "1", "--json")
    assert json.loads(ran.out)["totals"]["done"] == 1


def test_the_first_line_leads_editors_to_a_schema_that_is_there(tmp_path):
    typed("init", "spot")
    first = (tmp_path / "spot" / "spot.yaml").read_text("utf-8").splitlines()[0]
    schema = json.loads((tmp_path / "spot" / first.partition("$schema=")[2]).read_text("utf-8"))
    assert schema["title"] == "A storyboard"


def test_keys_and_outputs_are_kept_out_of_git(tmp_path):
    typed("init", "spot")
    assert {"outputs/", ".env"} <= set((tmp_path / "spot" / ".gitignore").read_text("utf-8").splitlines())


def test_a_project_that_is_there_is_not_changed(tmp_path):
    (tmp_path / ".gitignore").write_text("mine\n", encoding="utf-8")
    ran = typed("init", ".", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["kept"] == [".gitignore"]
    assert (tmp_path / ".gitignore").read_text("utf-8") == "mine\n"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = typed("init", ".")
    assert again.code == 2
    assert "is already there; nothing was written" in again.said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    ran = typed("init", "file/below")
    assert ran.code == 2
    assert "Traceback" not in ran.said
