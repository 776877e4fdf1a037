"""The schemas that ship with storyrun, found by name or by `$id`. Nothing here asks a network."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from storyrun.errors import UsageError

BASE = "https://storyrun.dev/schemas/"
"""Every schema's `$id` is this and its path below `folder()`, so a `$ref` needs no index to be found."""


def folder() -> Path:
    """Where the shipped schemas lie: inside an installed package, beside the package in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "schemas"
    return inside if inside.is_dir() else package.parent / "schemas"


def names() -> tuple[str, ...]:
    """Every schema there is: "storyboard", "job", "manifest", "models/tokenhub/wan2.7-t2v", ..."""
    root = folder()
    found = (path.relative_to(root).as_posix() for path in root.rglob("*.json"))
    return tuple(sorted(name.removesuffix(".json").removesuffix(".schema") for name in found))


def schema(name: str) -> dict[str, Any]:
    """A shipped schema, read once; not to be changed. Raises `UsageError` for a name that is none."""
    kind = "" if name.startswith("models/") else ".schema"
    found = document(f"{BASE}{name}{kind}.json")
    if found is None:
        from difflib import get_close_matches

        close = get_close_matches(name, names(), n=1)
        hint = f"did you mean `{close[0]}`?" if close else "`storyrun schema` lists them"
        raise UsageError(f"there is no schema `{name}`", hint)
    return found


@cache
def document(url: str) -> dict[str, Any] | None:
    """The shipped schema with this `$id`; None when it is none of ours."""
    path = url.removeprefix(BASE)
    if path == url or ".." in path.split("/"):
        return None
    try:
        found: dict[str, Any] = json.loads((folder() / path).read_bytes())
    except OSError:
        return None
    return found
