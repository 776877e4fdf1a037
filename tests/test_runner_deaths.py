"""The process dies before and after every ledger write and every call to the provider, in turn, and is started again.

Always: no clip is booked twice unless its order is proven to have come to nothing, no half file lies about, and the
clips end as they would have without the death, but for those that are said to be in doubt.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from storyrun.errors import FetchFailed
from storyrun.records import ErrorClass
from tests.fakes import READY, RUNNING, Died, FakeProvider, Fate, Story, clip_bytes, failing, lost, refusal, unsent
from tests.stage import Stage, job, jobs_of, power_stays_on

if TYPE_CHECKING:
    from storyrun.records import Attempt

__all__ = ["power_stays_on"]

SAME = [job("same", prompt="one picture"), job("again", prompt="one picture")]


def troubles() -> dict[str, list[Story]]:
    """A little of everything that ends well or at least ends."""
    cut = FetchFailed("reset", kind=ErrorClass.NETWORK)
    return {
        "unsent": [Story(unsent()), Story()],
        "limited": [Story(refusal(ErrorClass.RATE_LIMIT, retry_after=3.0)), Story()],
        "cut": [Story(fetches=[(clip_bytes()[:900], cut), clip_bytes()])],
        "short": [Story(fetches=[clip_bytes(frames=4)])],
        "moderated": [Story(refusal(ErrorClass.MODERATION))],
        "failing": [Story(polls=[RUNNING, failing(ErrorClass.PARAMETER)])],
        "lost": [Story(lost(), booked=True)],
        "same": [Story(polls=[RUNNING, READY])],
    }


JOBS = [*jobs_of("unsent limited cut short moderated failing lost"), *SAME]


def lived(root, *, finds: bool, fate: Fate, paid: bool = True) -> Stage:
    """A run that meets its fate, and then runs until nothing is left to do."""
    stage = Stage(root, FakeProvider(troubles(), finds=finds, paid=paid))
    try:
        stage.play(JOBS, fate=fate, concurrency=3)
    except Died:
        pass
    else:
        assert not fate.struck
    for _ in range(1 if paid else 2):  # what cannot be drawn waits for the next run
        stage.play(JOBS, concurrency=3)
    return stage


def ends(rows: list[Attempt]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """How each clip stands: state and problems of its newest row."""
    return {attempt.clip: (attempt.state.value, attempt.problems) for attempt in rows}


@pytest.mark.parametrize(
    ("finds", "paid", "every"),
    [(True, True, 1), (False, True, 5), (True, False, 5)],
    ids=["finds", "cannot find", "free"],
)
def test_death_at_every_step_costs_no_clip_and_no_second_order(tmp_path, finds, paid, every):
    undisturbed = Fate()
    expected = ends(lived(tmp_path / "undisturbed", finds=finds, fate=undisturbed, paid=paid).attempts())
    assert Counter(state for state, _ in expected.values()) == Counter(
        {"done": 6 if finds else 5, "rejected": 1, "failed": 1} | ({} if finds else {"unknown": 1})
    )
    steps = len(undisturbed.steps)
    assert steps > 100
    doubts = 0
    for at in range(1, steps + 1, every):
        fate = Fate(at)
        stage = lived(tmp_path / str(at), finds=finds, fate=fate, paid=paid)
        place = f"died {fate.steps[-1]} (step {at})"
        booked, rows = stage.provider.booked(), stage.attempts()
        assert max(booked.values()) == 1, place
        assert stage.leftovers() == [], place
        found = ends(rows)
        unclear = {clip for clip, (state, _) in found.items() if state == "unknown"} - (set() if finds else {"lost"})
        assert len(unclear) <= 4, place
        assert not (finds and unclear & set(booked)), place  # only what never arrived cannot be found
        assert {clip: end for clip, end in found.items() if clip not in unclear} == {
            clip: end for clip, end in expected.items() if clip not in unclear
        }, place
        assert stage.clips() == sorted(
            [row.file.removeprefix("clips/") for row in rows if row.state == "done"]
            + ["again_v001.mp4"] * (found["same"][0] == "done")
        ), place
        for clip in stage.clips():
            assert (stage.folder.clips / clip).read_bytes() in {clip_bytes(), clip_bytes(frames=4)}, place
        doubts += len(unclear)
    assert doubts > 0, "a death between sending and the answer leaves a doubt: without any, nothing was tested"


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
    assert {state for clip, (state, _) in ends(stage.attempts()).items() if clip in stage.provider.booked()} <= {
        "done",
        "failed",
    }


def test_a_killed_preview_simply_goes_on(tmp_path):
    """On the free provider a rendering can always be found again, so that no death leaves a doubt."""
    stage = Stage(tmp_path, FakeProvider({clip: [Story()] for clip in "abc"}, paid=False, finds=True))
    with pytest.raises(Died):
        stage.play(jobs_of("a b c"), fate=Fate(at=11))
    outcome = stage.play(jobs_of("a b c"))
    assert outcome.stopped == ""
    assert stage.states() == {"a": "done", "b": "done", "c": "done"}
