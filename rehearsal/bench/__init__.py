"""Measures every figure of docs/figures.md: `make bench`, or one group with `WHAT=`. Ratios, because machines differ.

Each comparison is measured side by side in one run. Each group is printed and written into the page when it is done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path

from rehearsal.bench import backup, deduplication, restore_parts, scale, set_up, start, updates
from rehearsal.bench.figures import Figures, write
from rehearsal.progress import CONSOLE
from rehearsal.rehearsal import REPOSITORY, STACKS, Rehearsal

PAGE = REPOSITORY / "docs" / "figures.md"


class What(StrEnum):
    """The groups of figures, in the order of the page."""

    START = "start"
    UP = "up"
    SCALE = "scale"
    BACKUP = "backup"
    RESTORE_PARTS = "restore-parts"
    SET_UP = "set-up"


def run(
    start_rehearsal: Callable[[], AbstractContextManager[Rehearsal]], what: What | None = None, *, page: Path = PAGE
) -> None:
    """Measures one group, or all of them."""
    os.environ.setdefault("GOGC", "100")  # Go collects garbage as it does for a user, not as in the rehearsal
    chosen = set(What) if what is None else {what}

    def done(group: What, figures: Sequence[Figures]) -> None:
        for one in figures:
            CONSOLE.print(one)
        write(page, group, figures)

    if chosen - {What.BACKUP, What.RESTORE_PARTS}:
        began = time.monotonic()
        with start_rehearsal() as rehearsal:
            warm = time.monotonic() - began
            if What.SET_UP in chosen:
                done(What.SET_UP, set_up.measure(warm))
            for stack in STACKS:
                rehearsal.program.init(stack)
            for group, measure in (
                (What.START, start.measure),
                (What.UP, updates.measure),
                (What.SCALE, scale.measure),
            ):
                if group in chosen:
                    done(group, measure(rehearsal))
    if What.BACKUP in chosen:
        done(What.BACKUP, [*backup.figures(), *deduplication.figures()])
    if What.RESTORE_PARTS in chosen:
        done(What.RESTORE_PARTS, restore_parts.figures())
