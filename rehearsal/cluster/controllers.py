"""Runs the stand-in controllers: each takes a step when something that it watches has changed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Protocol

from kubernetes.dynamic.resource import Resource

STEP = 0.25
"""Seconds between two steps of a controller that watches nothing, and before one that failed is repeated."""
_BURST = 0.05
"""Seconds that a step waits for further changes: an `up` makes dozens of objects at once."""
_WATCH = 300
"""Seconds until a watch begins anew, and with it a step: a lost connection is noticed at last."""


class Controller(Protocol):
    """What stands in for a controller."""

    @property
    def watched(self) -> Sequence[Resource]:
        """The kinds whose changes call for a step; none: it polls."""

    def step(self) -> None:
        """Does what is to be done now, and nothing where nothing is."""


def run(controller: Controller, stopped: threading.Event) -> None:
    """Takes steps until `stopped` is set."""
    changed = threading.Event()
    changed.set()
    for kind in controller.watched:
        # A daemon: it ends with the API server's connection, for which nobody has to wait.
        threading.Thread(target=_watch, args=(kind, changed, stopped), name=f"watch {kind.kind}", daemon=True).start()
    while not stopped.is_set():
        if controller.watched and not changed.wait(STEP):
            continue
        if stopped.wait(_BURST if controller.watched else STEP):
            return
        changed.clear()
        try:
            controller.step()
        except Exception:  # noqa: BLE001 - a conflict, or the API server is going down with us
            changed.set()
            stopped.wait(STEP)


def _watch(kind: Resource, changed: threading.Event, stopped: threading.Event) -> None:
    while not stopped.is_set():
        with contextlib.suppress(Exception):  # as above
            for _ in kind.watch(timeout=_WATCH):
                changed.set()
        changed.set()  # whatever came between two watches
        stopped.wait(STEP)
