"""How often the stand-in checks whether an object is gone."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest

from rehearsal.plugins.kubernetes.awaiting import Awaiter
from rehearsal.plugins.kubernetes.client import ApiError, Cluster
from rehearsal.plugins.kubernetes.objects import Kind, Name


class Clock(threading.Event):
    """An event that nobody sets; time passes only by waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.pauses: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        self.now += timeout
        return False


def test_deletion_is_polled_quickly_at_first_and_then_five_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)

    class Held:
        def get(self, *_: Any) -> Any:
            if clock.now > 105:
                raise ApiError({"code": 404})
            return {"metadata": {"name": "settings", "finalizers": ["foregroundDeletion"]}}

    awaiter = Awaiter(cluster=cast(Cluster, Held()), cancelled=clock, started=clock.now)
    awaiter.gone(Kind("v1", "ConfigMap"), Name("own", "settings"), {}, timeout=600)
    assert clock.pauses[:2] == [0.02, 0.02]
    assert clock.pauses == sorted(clock.pauses)
    assert clock.pauses[-1] == 0.2
    assert clock.now < 105.5
