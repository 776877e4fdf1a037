"""What a campaign came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Report:
    """`runs`: how much was tried, in the campaign's own unit. `figures`: what happened, for people and to prove that
    something did. `violations`: a sentence each, ending in the command that plays it again.
    """

    name: str
    runs: int
    figures: Mapping[str, int]
    violations: tuple[str, ...]


def replay(name: str, seed: int, runs: int = 1) -> str:
    """The command that plays a part of a campaign again."""
    return f"python -m tests.campaigns {name} --runs {runs} --seed {seed}"
