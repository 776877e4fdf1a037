"""Campaigns with real processes, in their short form: no promise is broken, and figures that show they did it.

`make campaign` runs the long ones.
"""

from __future__ import annotations

import pytest

from tests.campaigns.__main__ import CAMPAIGNS, main
from tests.campaigns.held import held


def test_a_run_that_is_killed_at_any_instant_buys_nothing_twice_and_forgets_nothing():
    figures = held("kills")
    assert figures["kills"] >= 100
    assert figures["booked"] == figures["clips"] == figures["done"] > 100
    assert figures["unknown"] > 5, "a kill between sending and the answer leaves a doubt: without any, nothing was hit"
    assert figures["lost answers"] > 0
    assert figures["deleted"] > 0
    assert (figures["duplicates"], figures["lost"]) == (0, 0)


def test_of_runs_that_start_together_one_works_and_the_others_exit_3():
    figures = held("starts")
    assert figures["worked"] == 40
    assert figures["neighbours"] == 20, "two plans of one project may both work"
    assert figures["refused"] + figures["late"] == figures["processes"] - 60
    assert figures["refused"] > 50
    assert figures["booked"] == 150
    assert figures["duplicates"] == 0


def test_every_planted_bug_is_caught():
    figures = held("mutants")
    assert figures["planted"] == figures["caught"] >= 12
    assert figures["controls"] >= 2


def test_what_is_no_campaign_is_refused_with_the_names_of_those_that_are(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    said = capsys.readouterr().err
    assert all(name in said for name in CAMPAIGNS)
