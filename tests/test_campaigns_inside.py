"""Campaigns inside one process, in their short form: no promise is broken, and figures that show they did it.

`make campaign` runs the long ones. A file of their own, so that two cores share the work.
"""

from __future__ import annotations

from tests.campaigns import machine
from tests.campaigns.held import held


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
