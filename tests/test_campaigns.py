"""The campaigns in their short form: no promise is broken, and the figures show that they did what they should.

`make campaign` runs the long ones.
"""

from __future__ import annotations

import pytest

from tests.campaigns import machine
from tests.campaigns.__main__ import CAMPAIGNS, main, played


def held(name: str) -> dict[str, int]:
    """The figures of a campaign that broke nothing."""
    report = played(name, short=True)
    assert report.violations == ()
    assert report.name == name
    return dict(report.figures)


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


def test_death_at_every_step_costs_no_clip_and_no_second_order_and_ends_in_the_same_manifest():
    figures = held("deaths")
    points = [count for word, count in figures.items() if word.startswith("points of ")]
    assert len(points) == 6, "the fake provider in three moods, and the three real ones"
    assert min(points) > 40
    assert figures["deaths"] > 350
    assert figures["second deaths"] > 20
    assert figures["clips in doubt"] > 0, "a death between sending and the answer leaves a doubt"


def test_every_fault_ends_on_every_provider_as_the_table_says():
    figures = held("matrix")
    assert figures["cells"] == figures["faults"] * figures["providers"] > 130


def test_the_ledger_and_its_model_agree_and_every_move_of_the_table_is_taken_and_no_other():
    figures = held("machine")
    assert figures["kinds of transition taken"] == len(machine.MOVES)
    assert figures["kinds of move refused"] == len(machine.NO_MOVES) + 1  # and unknown, without the acceptance


def test_nonsense_comes_to_nothing_but_words_for_people():
    figures = held("fuzz")
    assert {figures[f"{kind} cases"] for kind in ("bytes", "values", "answers")} == {2000}
    assert min(figures["bytes admitted"], figures["values admitted"]) > 50, "what is all refused tests no plan"
    assert min(figures["bytes through the command line"], figures["values through the command line"]) == 40
    assert figures["answers over the wire"] == 100
    assert min(figures["creates accepted"], figures["creates refused"], figures["polls read"]) > 30


def test_every_planted_bug_is_caught():
    figures = held("mutants")
    assert figures["planted"] == figures["caught"] >= 12
    assert figures["controls"] >= 2


def test_what_is_no_campaign_is_refused_with_the_names_of_those_that_are(capsys):
    with pytest.raises(SystemExit):
        main(["nothing"])
    said = capsys.readouterr().err
    assert all(name in said for name in CAMPAIGNS)
