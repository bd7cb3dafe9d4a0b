"""What the user sees of a Job: its log, what is being waited for and since when, and a bar for what has a size."""

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
    """Roughly how long, in the largest unit of which it has two, as kubectl does."""
    minutes = max(0, int(time.total_seconds() // 60))
    if minutes < 2 * 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2 * 24 * 60 else f"{minutes // (24 * 60)} days"


class _Output:
    """Standard output, whose reader may leave: the terminal is closed, or what we are piped into has ended.

    What nobody reads is dropped. An error instead would break off what is being cleaned up, with the app stopped.
    """

    def __init__(self) -> None:
        # As it is now: rich puts something in its place while it shows progress.
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
    """Lines go to standard output; where that is no terminal, there are only lines."""

    def __init__(self) -> None:
        self._console = Console(file=cast(IO[str], _Output()), highlight=False, markup=False, soft_wrap=True)
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
        """A line that stays."""
        self._console.print(line)

    @contextmanager
    def step(self, what: str, *, size: int | None = None) -> Iterator[Callable[[int], None]]:
        """A line that stays, and while the context lasts what is going on; yields a function that reports progress.

        `size` is what the reported numbers add up to.
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
        """Why what is going on does not go on; nothing where it does."""
        if self._progress.disable and reason not in {"", self._reason}:
            self.say(reason)
        self._reason = reason
        for task in self._progress.tasks:
            self._progress.update(task.id, reason=reason)
