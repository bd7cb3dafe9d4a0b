"""Runs the stand-in controllers: each takes a step when something that it watches changes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Protocol

from kubernetes.dynamic.resource import Resource

STEP = 0.25
"""Seconds between two steps of a controller that watches nothing, and before a failed step is repeated."""
_BURST = 0.05
"""Seconds that a step waits for further changes: an `up` creates dozens of objects at once."""
_WATCH = 300
"""Seconds until a watch is renewed, which also triggers a step: so a lost connection does not go unnoticed."""


class Controller(Protocol):
    """A stand-in for a controller."""

    @property
    def watched(self) -> Sequence[Resource]:
        """The kinds whose changes trigger a step; if empty, the controller polls."""

    def step(self) -> None:
        """Does what is due, if anything."""


def run(controller: Controller, stopped: threading.Event) -> None:
    """Takes steps until `stopped` is set."""
    changed = threading.Event()
    changed.set()
    for kind in controller.watched:
        # A daemon thread: it ends when the API server closes the connection, and nobody has to wait for that.
        threading.Thread(target=_watch, args=(kind, changed, stopped), name=f"watch {kind.kind}", daemon=True).start()
    while not stopped.is_set():
        if controller.watched and not changed.wait(STEP):
            continue
        if stopped.wait(_BURST if controller.watched else STEP):
            return
        changed.clear()
        try:
            controller.step()
        except Exception:  # noqa: BLE001 - a conflict, or the API server shuts down with us
            changed.set()
            stopped.wait(STEP)


def _watch(kind: Resource, changed: threading.Event, stopped: threading.Event) -> None:
    while not stopped.is_set():
        with contextlib.suppress(Exception):  # as above
            for _ in kind.watch(timeout=_WATCH):
                changed.set()
        changed.set()  # for changes between two watches
        stopped.wait(STEP)
