"""Every figure of docs/figures.md: `make bench`, or one group with `WHAT=`. Ratios, because machines differ.

What is compared is measured side by side in one run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import StrEnum

from rich.table import Table

from rehearsal import toolchain
from rehearsal.bench import backup, deduplication, scale, start, updates
from rehearsal.progress import CONSOLE
from rehearsal.rehearsal import STACKS, Rehearsal


class What(StrEnum):
    """The groups of figures."""

    SET_UP = "set-up"
    START = "start"
    UP = "up"
    SCALE = "scale"
    BACKUP = "backup"


def run(start_rehearsal: Callable[[], AbstractContextManager[Rehearsal]], what: What | None = None) -> None:
    """Prints the tables of one group, or of all."""
    chosen = set(What) if what is None else {what}
    if chosen - {What.BACKUP}:
        began = time.monotonic()
        with start_rehearsal() as rehearsal:
            warm = time.monotonic() - began
            for stack in STACKS:
                rehearsal.program.init(stack)
            if What.SET_UP in chosen:
                _print_set_up(warm)
            if What.START in chosen:
                start.print_tables(rehearsal)
            if What.UP in chosen:
                updates.print_tables(rehearsal)
            if What.SCALE in chosen:
                scale.print_tables(rehearsal)
    if What.BACKUP in chosen:
        backup.print_tables()
        deduplication.print_tables()


def _print_set_up(warm: float) -> None:
    table = Table("set-up", "seconds", title="Set-up of the rehearsal")
    for what, seconds in toolchain.cold_timings().items():
        table.add_row(f"cold, when this cache was filled: {what}", f"{seconds:.0f}")
    table.add_row("warm start, to a ready control plane", f"{warm:.1f}")
    CONSOLE.print(table)
