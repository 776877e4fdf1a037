"""`python -m tests.campaigns [NAME...] [--runs N] [--seed S] [--short]`: the campaigns in their long form."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.campaigns.report import Report

CAMPAIGNS = {
    #           module                     short    long   what a run is
    "kills": ("tests.campaigns.kills", 100, 2000),  # kills that hit a run at work
    "starts": ("tests.campaigns.starts", 50, 1000),  # simultaneous starts
    "deaths": ("tests.campaigns.deaths", 1, 3),  # rounds over all points; the first is one death each
    "matrix": ("tests.campaigns.matrix", 1, 20),  # seeds of each fault on each provider
    "machine": ("tests.campaigns.machine", 200, 20_000),  # walks
    "fuzz": ("tests.campaigns.fuzz", 2000, 200_000),  # cases of each kind
    "mutants": ("tests.campaigns.mutants", 1, 3),  # seeds with which each planted bug must be caught
}
"""Name to module, runs of the short form, runs of the long one."""


def played(name: str, *, runs: int | None = None, seed: int = 0, short: bool = False) -> Report:
    """One campaign, by name, in its long form unless it is said how much of it."""
    module, few, many = CAMPAIGNS[name]
    report: Report = import_module(module).campaign(runs or (few if short else many), seed)
    return report


def main(words: Sequence[str] | None = None) -> int:
    """Run campaigns, print what they came to, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"{', '.join(CAMPAIGNS)}; all if none is named")
    parser.add_argument("--runs", type=int, help="how much is tried, in the campaign's own unit")
    parser.add_argument("--seed", type=int, default=0, help="of everything that chance picks")
    parser.add_argument("--short", action="store_true", help="as in the tests")
    asked = parser.parse_args(words)
    if strange := sorted(set(asked.names) - set(CAMPAIGNS)):
        parser.error(f"there is no campaign {strange[0]}; there are {', '.join(CAMPAIGNS)}")
    broken: list[str] = []
    for name in asked.names or CAMPAIGNS:
        began = time.monotonic()
        report = played(name, runs=asked.runs, seed=asked.seed, short=asked.short)
        figures = "  ".join(f"{word} {count:,}" for word, count in report.figures.items())
        seconds = time.monotonic() - began
        print(f"{name:8} {report.runs:>8,} runs {seconds:>7.0f} s  {figures}", flush=True)
        broken += [f"{name}: {violation}" for violation in report.violations]
    for violation in broken:
        print(violation)
    print(f"{len(broken)} promises broken" if broken else "every promise held")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
