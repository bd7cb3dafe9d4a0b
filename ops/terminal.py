"""What the user sees of a Job: its log, what it waits for and since when, and a progress bar if the size is known."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column


def age(time: dt.timedelta) -> str:
    """A duration, rounded down to the largest unit of which it has at least two, as kubectl does."""
    minutes = max(0, int(time.total_seconds() // 60))
    if minutes < 2 * 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} days"


class _Output:
    """Standard output, whose reader may go away: the terminal is closed, or the process that we pipe into has ended.

    Output that nobody reads is dropped. An error instead would abort a clean-up, and leave the app stopped.
    """

    def __init__(self) -> None:
        # The current stream: rich replaces sys.stdout while it shows progress.
        self._stream = sys.stdout
        self.encoding = self._stream.encoding

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


class Terminal:
    """Prints lines to standard output, and shows progress if that is a terminal."""

    def __init__(self) -> None:
        self._console = Console(
            file=cast(IO[str], _Output()), highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self._reason = ""
        self._progress = Progress(
            SpinnerColumn(),
            # A path may be long, and the bar should stay visible.
            TextColumn(
                "{task.description} {task.fields[reason]}",
                markup=False,
                table_column=Column(max_width=60, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def say(self, line: str) -> None:
        """Prints a line that stays."""
        self._console.print(line)

    @contextmanager
    def step(self, what: str, *, size: int | None = None) -> Iterator[Callable[[int], None]]:
        """Prints a line that stays, and shows progress while the context lasts; yields a function that reports it.

        `size` is the sum of the reported numbers.
        """
        self.say(what)
        task = self._progress.add_task(what, total=size, reason="")
        self._progress.start()
        try:
            yield lambda amount: self._progress.advance(task, amount)
        finally:
            self._progress.remove_task(task)
            if not self._progress.tasks:
                self._progress.stop()

    def waiting(self, reason: str) -> None:
        """Shows why the current step waits; an empty `reason` clears that."""
        if self._progress.disable and reason not in {"", self._reason}:
            self.say(reason)
        self._reason = reason
        for task in self._progress.tasks:
            self._progress.update(task.id, reason=reason)
