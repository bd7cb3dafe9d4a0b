"""Random kills hit a running script, however wrong the measurement was that they begin with."""

from __future__ import annotations

import pytest

from tests.database.kill_delay import KillDelay

KILLS = 20


@pytest.mark.parametrize("measured", [0.25, 1, 4], ids="{}s".format)
@pytest.mark.parametrize("seed", range(5))
def test_most_kills_hit_a_script_and_some_come_after_its_end(measured: float, seed: int) -> None:
    takes, delay, hits = 1, KillDelay(measured, seed=seed), 0
    for _ in range(KILLS):
        hit = delay.draw() < takes
        delay.met(hit)
        hits += hit
    assert KILLS / 2 <= hits < KILLS
