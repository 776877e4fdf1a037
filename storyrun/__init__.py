"""storyrun turns a storyboard into finished video clips, and buys no clip twice.

    >>> import storyrun
    >>> board = storyrun.load("plan.yaml")        # what was written, as records
    >>> plan = storyrun.plan("plan.yaml")         # its jobs, rendered and checked
    >>> manifest = storyrun.run("plan.yaml")      # its clips made, as `storyrun plan.yaml` makes them

Nothing is loaded before it is asked for: `import storyrun` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "load", "plan", "run"]

_API = ("load", "plan", "run")
"""The public functions; they live in `storyrun.cli.api`."""


def __getattr__(name: str) -> Any:
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("storyrun.cli.api"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
