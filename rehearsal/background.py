"""Repeats an action in the background while the caller works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(action: Callable[[], object], *, every: float) -> Iterator[None]:
    """Runs `action` in a background thread every `every` seconds; leaving the context waits for a run in progress."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(every):
            action()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
