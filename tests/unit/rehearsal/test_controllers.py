"""A stand-in controller takes a step for every change in the objects it watches, and none otherwise."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from rehearsal.cluster import controllers
from rehearsal.cluster.controllers import run

STEP: Final = 0.1


@pytest.fixture(autouse=True)
def _short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """No API server has to keep up with these controllers."""
    monkeypatch.setattr(controllers, "STEP", STEP)


class Kind:
    """Yields the changes that are put into it; None ends the watch, and an exception breaks it."""

    kind = "Thing"

    def __init__(self) -> None:
        self.changes: queue.Queue[object] = queue.Queue()

    def watch(self, *, timeout: float) -> Iterator[object]:
        assert timeout
        while (change := self.changes.get()) is not None:
            if isinstance(change, Exception):
                raise change
            yield change


class Counting:
    def __init__(self, *watched: Kind) -> None:
        self.watched: Any = watched
        self.steps, self.failing = 0, 0

    def step(self) -> None:
        self.steps += 1
        if self.failing:
            self.failing -= 1
            raise ConnectionError("refused")


@contextmanager
def running(controller: Counting) -> Iterator[None]:
    stopped = threading.Event()
    thread = threading.Thread(target=run, args=(controller, stopped))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        for kind in controller.watched:
            kind.changes.put(None)
        thread.join(5)
    assert not thread.is_alive()


def eventually(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("change", ["a thing", None, ConnectionError("reset")])
def test_a_step_follows_a_change_or_the_end_of_a_watch_and_nothing_else(change: object) -> None:
    kind = Kind()
    controller = Counting(kind)
    with running(controller):
        eventually(lambda: controller.steps == 1)
        time.sleep(2 * STEP)
        assert controller.steps == 1
        kind.changes.put(change)
        eventually(lambda: controller.steps == 2)


def test_changes_at_once_are_one_step() -> None:
    kind = Kind()
    controller = Counting(kind)
    with running(controller):
        eventually(lambda: controller.steps == 1)
        for number in range(20):
            kind.changes.put(number)
        eventually(lambda: controller.steps > 1)
        time.sleep(2 * STEP)
        assert controller.steps <= 3


def test_a_step_that_failed_is_repeated() -> None:
    controller = Counting(Kind())
    controller.failing = 2
    with running(controller):
        eventually(lambda: controller.steps == 3)


def test_a_controller_that_watches_nothing_polls() -> None:
    controller = Counting()
    with running(controller):
        eventually(lambda: controller.steps >= 2)
