"""A `destroy` that the cluster could not finish is refused at once, with the reason."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rehearsal.engine import EngineError
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal


@contextmanager
def dead_api(rehearsal: Rehearsal, group: str, service: str) -> Iterator[str]:
    """An aggregated API whose server is gone; its name."""
    name = f"v1beta1.{group}"
    spec = {
        "group": group,
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "service": {"namespace": "kube-system", "name": service},
        "insecureSkipTLSVerify": True,
    }
    body = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": name},
        "spec": spec,
    }
    rehearsal.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    try:
        rehearsal.kubectl("wait", "apiservice", name, "--for=condition=Available=False", "--timeout=60s")
        yield name
    finally:
        rehearsal.kubectl("delete", "apiservice", name)


def test_a_destroy_that_a_dead_api_would_block_names_the_api_and_deletes_nothing(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    lifecycle = Lifecycle(rehearsal, "dev")
    before = lifecycle.objects()
    with (
        dead_api(rehearsal, "metrics.k8s.io", "metrics-server") as metrics,
        dead_api(rehearsal, "custom.metrics.example.com", "adapter") as adapter,
    ):
        assert not rehearsal.program.up("dev", "--skip-preview").changes
        began = time.monotonic()
        with pytest.raises(EngineError) as refused:
            rehearsal.program.destroy("dev", "--skip-preview")
        assert time.monotonic() - began < 60
        message = str(refused.value)
        assert f"{metrics} (Service kube-system/metrics-server): " in message
        assert f"{adapter} (Service kube-system/adapter): " in message
        assert "Traceback" not in message
        assert lifecycle.objects() == before
    rehearsal.program.destroy("dev", "--skip-preview")
    assert not lifecycle.objects()
