"""A process that dies more than once, and one that dies where nothing costs anything.

One death at every step, and two, are tried by `tests/campaigns/deaths.py`.
"""

from __future__ import annotations

import pytest

from tests.campaigns.deaths import JOBS, troubles
from tests.fakes import Died, FakeProvider, Fate, Story
from tests.stage import Stage, jobs_of, power_stays_on

__all__ = ["power_stays_on"]


def test_dying_again_and_again_still_ends_well(tmp_path):
    stage = Stage(tmp_path, FakeProvider(troubles(), finds=True))
    lives = 0
    for at in [7, 13, 5, 23, 11, 31, 3, 17, 29, 41] * 3:
        try:
            stage.play(JOBS, fate=Fate(at), concurrency=3)
        except Died:
            lives += 1
    stage.play(JOBS, concurrency=3)
    assert lives > 3
    assert max(stage.provider.booked().values()) == 1
    assert stage.leftovers() == []
    assert {state for clip, state in stage.states().items() if clip in stage.provider.booked()} <= {"done", "failed"}


def test_a_killed_preview_simply_goes_on(tmp_path):
    """On the free provider a rendering can always be found again, so that no death leaves a doubt."""
    stage = Stage(tmp_path, FakeProvider({clip: [Story()] for clip in "abc"}, paid=False, finds=True))
    with pytest.raises(Died):
        stage.play(jobs_of("a b c"), fate=Fate(at=11))
    outcome = stage.play(jobs_of("a b c"))
    assert outcome.stopped == ""
    assert stage.states() == {"a": "done", "b": "done", "c": "done"}
