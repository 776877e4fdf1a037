"""Campaigns: one promise about money, tried very often in ways that chance picks, against a bill that does not lie.

Each module has `campaign(runs, seed=0, *, stop_at_first=False) -> Report`. Chance is seeded; a violation is a sentence
that ends in the command which plays it again. `python -m tests.campaigns` runs them in their long form and prints a
table; `tests/test_campaigns.py` runs the short form of each, and asks its figures whether it did what it should.

    kills    `storyrun run` is killed at random instants and started again until it is through
    starts   several runs on one folder start at the same instant
    deaths   the process dies at every ledger write and every call to the provider, in turn
    matrix   every fault that the sandbox can play, on every provider
    machine  the states of an attempt, walked at random
    fuzz     broken plans, odd values, garbled answers
    mutants  bugs planted on purpose in the money path: each must be caught by one of the others
"""
