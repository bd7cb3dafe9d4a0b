"""How often tests kill at random: in the usual run a quarter as often as with `KILLS=all`."""

from __future__ import annotations

import os
from typing import Final

EVERY: Final = os.environ.get("KILLS") == "all"


def kills(number: int) -> int:
    """`number` where every kill is asked for.

    Kills before each command of a script (tests/database/test_kills_at_each_step.py) find what random ones find, but
    for what happens in the middle of a command.
    """
    return number if EVERY else number // 4
