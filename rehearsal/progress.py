"""What a person sees while they wait: a line for every long step, with how long it usually takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

CONSOLE = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def step(what: str, *, usually: str) -> Iterator[None]:
    """Says what begins and how long it usually takes; then how long it took."""
    CONSOLE.print(f"[bold]·[/] {what} [dim](usually {usually})[/]")
    started = time.monotonic()
    try:
        yield
    except BaseException:
        CONSOLE.print(f"[red]✗[/] {what} [dim]stopped after {time.monotonic() - started:.1f} s[/]")
        raise
    CONSOLE.print(f"[green]✓[/] {what} [dim]{time.monotonic() - started:.1f} s[/]")
