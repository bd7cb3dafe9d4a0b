"""When to kill a running script: at any point of the run, however busy the machine is by then."""

from __future__ import annotations

import random

_LONGER, _SHORTER = 1.15, 1.5
"""Factors. What was measured while the machine was busy is several times too long: a few kills make up for that."""


class KillDelay:
    """Seconds from the start of a run to its kill, drawn anew for each run.

    The longest delay grows with each kill that hits a running script and shrinks with each that comes after its end. So
    about three of four kills hit it, however long it takes by then.
    """

    def __init__(self, usual: float, *, seed: int) -> None:
        """`usual`: the seconds that a run has just taken."""
        self._longest, self._chance = usual * _LONGER, random.Random(seed)  # noqa: S311 - repeatable, not secret

    def draw(self) -> float:
        """Seconds until the next kill."""
        return self._chance.uniform(0, self._longest)

    def met(self, running: bool) -> None:
        """Records whether the kill came while the script was running."""
        self._longest *= _LONGER if running else 1 / _SHORTER
