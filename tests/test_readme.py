"""The README is true: its commands run, its storyboard and its Python too."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storyrun.cli import VERBS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.partition(" #")[0].strip()
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("storyrun ")
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what the README's commands work on, so that they leave nothing here."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "storyboards", folder / "storyboards", ignore=shutil.ignore_patterns("outputs"))
    return folder


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if "campaign.yaml" not in command or "quote" in command]
)
def test_a_command_of_the_readme_runs(checkout, command):
    words = shlex.split(command)
    globbed = [
        found
        for word in words[1:]
        for found in (sorted(map(str, Path(checkout).glob(word))) if "*" in word else [word])
    ]
    result = run([sys.executable, "-m", "storyrun", *globbed], checkout)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_every_verb_is_in_the_readme_and_every_verb_of_the_readme_exists():
    named = {shlex.split(command)[1] for command in COMMANDS}
    verbs = {word for word in named if not word.endswith(".yaml")}
    told = {verb for verb in VERBS if f"`storyrun {verb}`" in README}
    assert verbs | told | {"run"} == set(VERBS)


def test_the_storyboard_of_the_readme_has_no_problems(tmp_path):
    shown, _ = blocks("yaml")
    plan = tmp_path / "hello.yaml"
    plan.write_text(shown, encoding="utf-8")
    assert run([sys.executable, "-m", "storyrun", "check", str(plan)], tmp_path).returncode == 0


def test_the_cut_of_the_readme_has_no_problems(tmp_path):
    _, cut = blocks("yaml")
    (tmp_path / "vo").mkdir()
    for city in ("Oslo", "Lisbon"):
        shutil.copy(ROOT / "storyboards/vo/osl.mp3", tmp_path / f"vo/{city}.mp3")
    scenes = 'scenes:\n- shots: [{seconds: 30, action: "{{ city }}", dialogue: Hello}]\n  id: a\n'
    plan = tmp_path / "spot.yaml"
    plan.write_text(f"version: 1\nmatrix: {{city: [Oslo, Lisbon]}}\n{cut}{scenes}", encoding="utf-8")
    checked = run([sys.executable, "-m", "storyrun", "check", str(plan)], tmp_path)
    assert checked.returncode == 0, checked.stdout


def test_the_python_of_the_readme_runs(checkout):
    (shown,) = blocks("python")
    result = run([sys.executable, "-c", shown], checkout)
    assert result.returncode == 0, result.stderr
    assert "detective" in result.stdout


def test_set_up_and_run_is_one_line_and_so_is_set_up_and_test():
    for marker, ends in (("run-command", "storyrun storyboards/detective.yaml"), ("test-command", "python -m pytest")):
        block = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.DOTALL)
        assert block is not None
        (line,) = block[1].strip().splitlines()
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
        assert line.endswith(ends)
