"""What happens beside the caller's own work, again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(action: Callable[[], object], *, every: float) -> Iterator[None]:
    """Runs `action` in a thread meanwhile, `every` so many seconds; leaving waits for the run that has begun."""
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
