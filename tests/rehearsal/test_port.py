"""Another port of the app on a running stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal


def reached(rehearsal: Rehearsal) -> set[tuple[int, bool]]:
    """Ports at which the Service's endpoints are, and whether they are ready."""
    selector = "--selector=kubernetes.io/service-name=invoicetron"
    slices = json.loads(rehearsal.kubectl("-n", "invoicetron-dev", "get", "endpointslices", selector, "-o", "json"))[
        "items"
    ]
    return {
        (port["port"], endpoint["conditions"]["ready"])
        for each in slices
        for port in each["ports"] or []
        for endpoint in each["endpoints"] or []
    }


@contextmanager
def cordoned(rehearsal: Rehearsal) -> Iterator[None]:
    """No node takes a pod, so that a new one is never ready."""
    nodes = rehearsal.kubectl("get", "nodes", "-o", "name").split()
    rehearsal.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        rehearsal.kubectl("uncordon", *nodes)


def test_until_the_new_pod_is_ready_the_service_leads_nowhere(rehearsal: Rehearsal) -> None:
    """The old pod has no port of the new one's name, so its endpoint leaves the Service at once."""
    program = rehearsal.program
    program.init("dev")
    program.up("dev", "--skip-preview")
    lifecycle = Lifecycle(rehearsal, "dev")
    lifecycle.deploy(lifecycle.image)
    assert reached(rehearsal) == {(3000, True)}
    rehearsal.configure("dev", "app.port", "8080")
    with cordoned(rehearsal):
        program.up("dev", "--skip-preview")
        assert reached(rehearsal) == set()
    rehearsal.kubectl("-n", "invoicetron-dev", "rollout", "status", "deployment/invoicetron", "--timeout=60s")
    assert reached(rehearsal) == {(8080, True)}
