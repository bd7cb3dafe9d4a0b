"""How often tests kill at random: the usual run kills a quarter as often as `KILLS=all`."""

from __future__ import annotations

import os
from typing import Final

EVERY: Final = os.environ.get("KILLS") == "all"


def kills(number: int) -> int:
    """`number` with `KILLS=all`, else a quarter of it.

    Kills before each command of a script (tests/database/test_kills_at_each_step.py) find what random kills find,
    except for what happens in the middle of a command.
    """
    return number if EVERY else number // 4
