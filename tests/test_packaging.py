"""What ships: one wheel with schemas, storyboards, templates and font in it, and nothing else."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import storyrun

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*args: str | Path, cwd: Path, path: Path | None = None) -> str:
    """Run Python and give back what it printed; the rest of the environment is ours, `path` comes first."""
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **({"PYTHONPATH": str(path)} if path else {})}
    told = subprocess.run([sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def build(target: str, checkout: Path, out: Path) -> Path:
    run("-m", "hatchling", "build", "-t", target, "-d", out, cwd=checkout)
    return next(out.iterdir())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what belongs to the repository, in which somebody has already rendered."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("storyrun", "schemas", "storyboards", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "outputs"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy)
    clip = copy / "storyboards/outputs/detective/animatic/clips/investigation_v001.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"not for others")
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", checkout, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_carries_the_package_the_schemas_and_the_storyboards_whole(checkout: Path, names: set[str]) -> None:
    def files(folder: str) -> set[str]:
        return {str(file.relative_to(checkout)) for file in (checkout / folder).rglob("*") if file.is_file()}

    beside = {f"storyrun/{name}" for name in files("schemas") | files("storyboards") if "/outputs/" not in name}
    assert {name for name in names if ".dist-info/" not in name} == files("storyrun") | beside
    assert {
        "storyrun/schemas/storyboard.schema.json",
        "storyrun/storyboards/detective.yaml",
        "storyrun/templates/shots.jinja",
        "storyrun/py.typed",
    } <= names
    assert any(name.endswith(".ttf") for name in names)


def test_no_file_of_the_wheel_lies_outside_the_package(names: set[str]) -> None:
    assert {name.partition("/")[0] for name in names} == {"storyrun", f"storyrun-{storyrun.__version__}.dist-info"}


def test_the_sdist_makes_the_same_wheel_and_takes_no_clips_along(
    checkout: Path, names: set[str], tmp_path: Path
) -> None:
    sdist = build("sdist", checkout, tmp_path / "sdist")
    with tarfile.open(sdist) as packed:
        assert not [name for name in packed.getnames() if "/outputs" in name]
        packed.extractall(tmp_path, filter="data")
    again = build("wheel", tmp_path / f"storyrun-{storyrun.__version__}", tmp_path / "wheel")
    assert set(zipfile.ZipFile(again).namelist()) == names


def test_an_editable_install_is_a_path_to_the_checkout_and_no_copy(checkout: Path, tmp_path: Path) -> None:
    run("-c", "import hatchling.build, sys; hatchling.build.build_editable(sys.argv[1])", tmp_path, cwd=checkout)
    with zipfile.ZipFile(next(tmp_path.iterdir())) as packed:
        (link,) = (name for name in packed.namelist() if ".dist-info/" not in name)
        assert packed.read(link).decode() == str(checkout)


def test_version_and_command_agree_everywhere(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        info = f"storyrun-{storyrun.__version__}.dist-info"
        assert Parser().parsestr(packed.read(f"{info}/METADATA").decode())["Version"] == storyrun.__version__
        assert "storyrun = storyrun.cli:main" in packed.read(f"{info}/entry_points.txt").decode()
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == storyrun.__version__


def test_the_unpacked_wheel_checks_its_own_storyboards_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    package, elsewhere = tmp_path / "site/storyrun", tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = "import storyrun.validation; print(storyrun.validation.folder())"
    assert run("-c", where, cwd=elsewhere, path=package.parent).strip() == str(package / "schemas")
    run("-m", "storyrun", "check", *sorted(package.glob("storyboards/*.yaml")), cwd=elsewhere, path=package.parent)


def test_each_name_of_the_python_api_is_there() -> None:
    assert all(callable(getattr(storyrun, name)) for name in storyrun.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        _ = storyrun.laod


def test_whatever_the_package_imports_is_declared_with_a_lower_bound() -> None:
    imported: set[str] = set()
    for file in (ROOT / "storyrun").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    known = packages_distributions()
    needed = {known[name][0].lower() for name in imported - sys.stdlib_module_names - {"storyrun"}}
    bounded = {line.partition(">=")[0] for line in PROJECT["dependencies"] if re.fullmatch(r"[a-z0-9-]+>=[\d.]+", line)}
    assert len(bounded) == len(PROJECT["dependencies"])
    extras = {line.partition(">=")[0] for line in PROJECT["optional-dependencies"]["otio"]}
    assert needed - extras <= bounded
