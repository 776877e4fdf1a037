"""The providers, by name. Each is loaded when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from storyrun.providers.base import Provider
    from storyrun.records import Job


def animatic(warn: Callable[[str], None]) -> Provider:
    """The free preview, drawn on this machine."""
    from storyrun.providers.animatic import Animatic

    return Animatic(warn=warn)


PROVIDERS: dict[str, Callable[[Callable[[str], None]], Provider]] = {"animatic": animatic}
"""Name to a function that makes it, given where to send warnings."""


def body(provider: str, job: Job) -> dict[str, Any]:
    """The request of a job as a preview shows it: nothing is uploaded."""
    return PROVIDERS[provider](lambda _: None).request(job, {})
