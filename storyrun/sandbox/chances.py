"""Whether a fault happens this time: seeded, so that the same run misbehaves in the same way."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANCE = re.compile(r"(?P<share>[01](\.\d+)?|\.\d+)|(?P<first>\d+)x|(?P<after>\d+)\+")


class Chances:
    """Draws faults. A chance is a share of the times (`0.1`), the first ones (`3x`), or all after the first (`20+`).

    Raises `ValueError` for anything else.
    """

    def __init__(self, faults: Mapping[str, str | float], seed: int) -> None:
        self._seed = seed
        self._times: Counter[str] = Counter()
        self._chances: dict[str, re.Match[str]] = {}
        for name, chance in faults.items():
            found = CHANCE.fullmatch(str(chance))
            if found is None or float(found["share"] or 0) > 1:
                raise ValueError(
                    f"`{chance}` is no chance: write 0.1 for a tenth, 3x for the first three, 20+ for after 20"
                )
            self._chances[name] = found

    def names(self) -> list[str]:
        """The faults that may happen at all."""
        return list(self._chances)

    def draw(self, name: str) -> bool:
        """Whether it happens this time."""
        self._times[name] += 1
        time, chance = self._times[name], self._chances[name]
        if chance["first"]:
            return time <= int(chance["first"])
        if chance["after"]:
            return time > int(chance["after"])
        # a text as the seed: the same on every machine, and no fault's draws depend on another's
        return random.Random(f"{self._seed}:{name}:{time}").random() < float(chance["share"])  # noqa: S311
