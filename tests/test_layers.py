"""The house has floors: a file imports only from lower ones. Walked here in every file, without exceptions.

A new module gets its word in `LINES`, on the lowest line that is above everything it imports.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "storyrun"

LINES = (
    "__init__ __main__",
    "cli",
    "runner manifest exports progress quote sandbox serve inspection",
    "providers",
    "ledger http media measure jobs folder reconcile",
    "storyboard checks prompts retry cards picks",
    "validation yamlfile sources references tables states",
    "errors",
    "records clock disk nearest",
    "record",
)
"""From the top. Neighbours on one line do not import each other; a folder counts as one word."""

ONLY = {
    # A provider turns jobs into HTTP and back: no ledger, no storyboard, no clock.
    "providers": "http media jobs cards validation errors records",
    # An export gets a finished manifest, and the files beside it.
    "exports": "media measure folder disk nearest errors records record",
}
"""Who sees less than everything below."""

FLOOR = {word: number for number, line in enumerate(reversed(LINES)) for word in line.split()}


def word_of(file: Path) -> str:
    """The word in `LINES` for a file of the package: its own name, or that of its folder."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str, inside: str = "") -> list[tuple[int, str]]:
    """Every word of ours that a source imports, with its line; also in functions, under TYPE_CHECKING, and by name.

    `inside` is the dotted package that the source lies in, for relative imports. `from storyrun import __version__`
    is no import of anything: the package is there before any of its modules.
    """
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            paths = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = inside.split(".")[: len(inside.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            paths = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            paths = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        else:
            continue
        for path in paths:
            root, _, rest = path.partition(".")
            if root == PACKAGE.name and rest != "__version__":
                found.append((node.lineno, rest.partition(".")[0] or "__init__"))
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_stands_on_exactly_one_line() -> None:
    words = " ".join(LINES).split()
    assert sorted(words) == sorted(set(words))
    assert {word_of(file) for file in FILES} - set(words) == set()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_from_lower_lines(file: Path) -> None:
    word = word_of(file)
    inside = ".".join((PACKAGE.name, *file.parent.relative_to(PACKAGE).parts))
    for line, target in imported(file.read_text(encoding="utf-8"), inside):
        if target == word and file.parent != PACKAGE:
            continue  # within a folder its own order rules
        place = f"{file.relative_to(PACKAGE.parent)}:{line} imports {target}"
        assert {word, target} <= FLOOR.keys(), f"{place}, and one of them is on no line"
        assert FLOOR[target] < FLOOR[word], f"{place}, which is not below {word}"
        assert target in ONLY.get(word, target).split(), f"{place}; {word} sees only {ONLY[word]}"


def test_the_package_itself_loads_nothing_until_asked() -> None:
    program = "import sys, storyrun; print([name for name in sys.modules if name.startswith('storyrun.')])"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
