"""storyrun turns a storyboard into finished video clips, and buys no clip twice.

    >>> import storyrun
    >>> board = storyrun.load(path)      # YAML -> Storyboard
    >>> plan = storyrun.plan(board)      # Storyboard -> Plan: jobs, rendered and checked
    >>> outcome = storyrun.run(plan)     # Plan -> clips and a manifest

Nothing is loaded before it is asked for: `import storyrun` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "load", "plan", "run"]

_HOME = {
    "load": ("storyrun.storyboard", "load"),
    "plan": ("storyrun.jobs", "plan"),
    "run": ("storyrun.cli", "run_plan"),
}
"""Where each public function lives: module and name."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
