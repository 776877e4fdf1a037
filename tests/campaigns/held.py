"""A campaign as a test has it: the short form, and nothing broken."""

from __future__ import annotations

from tests.campaigns.__main__ import played


def held(name: str) -> dict[str, int]:
    """The figures of a campaign that broke nothing."""
    report = played(name, short=True)
    assert report.violations == (), "\n".join(report.violations)
    assert report.name == name
    return dict(report.figures)
