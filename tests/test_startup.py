"""What each verb loads: `--help` and `check` must start quickly, so the heavy libraries stay away from them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HEAVY = {
    "aiohttp", "asyncio", "av", "click", "dotenv", "filelock", "imagesize", "jinja2", "jsonschema", "PIL",
    "referencing", "sqlite3", "tqdm", "yaml",
}  # fmt: skip
"""Every library we depend on, and the parts of Python that weigh something."""

PLAN = "storyboards/detective.yaml"
TEMPLATED = "storyboards/campaign.yaml"
NOWHERE = "an outputs folder that is not there"

LOADS: dict[tuple[str, ...], set[str]] = {
    ("--help",): {"click"},
    ("--version",): {"click"},
    ("models",): {"click"},
    ("schema", "job"): {"click"},
    ("check", "--provider", "tokenhub", PLAN): {"click", "yaml"},
    ("check", PLAN): {"click", "yaml"},
    ("check", TEMPLATED): {"click", "yaml", "imagesize"},
    ("prompts", PLAN): {"click", "yaml"},
    ("quote", PLAN, "--out", NOWHERE): {"click", "yaml"},
    ("status", PLAN, "--out", NOWHERE): {"click", "yaml"},
    ("export", PLAN, "--format", "csv", "--out", NOWHERE): {"click", "yaml"},
}
"""Verb to the libraries that it loads, no more and no fewer."""


def loaded_by(words: list[str], folder: Path) -> set[str]:
    program = (
        "import sys, json\n"
        "from storyrun.cli import main\n"
        f"code = main({words!r})\n"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, modules = json.loads(ran.stderr.splitlines()[-1])
    assert code == 0, ran.stderr
    return set(modules)


@pytest.mark.parametrize("words", LOADS, ids=" ".join)
def test_a_verb_loads_these_libraries_and_no_others(words, tmp_path):
    typed = [str(tmp_path / "none") if word == NOWHERE else word for word in words]
    assert loaded_by(typed, tmp_path) & HEAVY == LOADS[words]


def test_a_plan_with_an_error_loads_the_wording_library_and_still_no_media_or_network(tmp_path):
    plan = tmp_path / "bad.yaml"
    plan.write_text("version: 1\nscenes: [{id: A, prompt: x}]\n")
    program = (
        "import sys\nfrom storyrun.cli import main\n"
        f"assert main(['check', {str(plan)!r}]) == 2\n"
        "print(sorted({'aiohttp', 'av', 'PIL', 'asyncio', 'sqlite3'} & set(sys.modules)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "[]"
