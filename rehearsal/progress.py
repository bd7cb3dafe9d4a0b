"""What the user sees while waiting: a line for every long step, with how long it usually takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.text import Text

CONSOLE = Console(stderr=True, highlight=False, soft_wrap=True)


class _Running:
    """The line of a running step, rendered anew each time Rich asks for it."""

    def __init__(self, what: str, usually: str) -> None:
        self.what, self.usually = what, usually
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def __rich__(self) -> Text:
        took = spoken(self.seconds)
        return Text.assemble(("· ", "bold"), self.what, (f" {took} (usually {self.usually})", "dim"))


@contextmanager
def step(what: str, *, usually: str) -> Iterator[None]:
    """Shows what is being done, how long it has taken and how long it usually takes; on a terminal as a live line."""
    running = _Running(what, usually)
    if not CONSOLE.is_terminal:
        CONSOLE.print(f"[bold]·[/] {what} [dim](usually {usually})[/]")
    try:
        with Live(running, console=CONSOLE, transient=True) if CONSOLE.is_terminal else nullcontext():
            yield
    except BaseException:
        CONSOLE.print(f"[red]✗[/] {what} [dim]stopped after {running.seconds:.1f} s[/]")
        raise
    CONSOLE.print(f"[green]✓[/] {what} [dim]{running.seconds:.1f} s[/]")


def spoken(seconds: float) -> str:
    """A duration for people: in seconds below two minutes, then in minutes, rounded to halves."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{round(seconds / 30) / 2:g} min"
