"""A new port for the app of a running stack: everything that names the port changes in one `up`, in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.test_hostnames import FIRST, of


def get(rehearsal: Rehearsal, kind: str, name: str, namespace: str = "invoicetron-prod") -> dict[str, Any]:
    return rehearsal.get(kind, name, namespace=namespace)


def ports(rehearsal: Rehearsal) -> Iterator[int]:
    """Each port number that leads to the app; ports that are given by name resolve to the pod's."""
    (container,) = get(rehearsal, "deployment", "invoicetron")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    (of_service,) = get(rehearsal, "service", "invoicetron")["spec"]["ports"]
    probes = [container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert {*probes, of_service["targetPort"]} == {port["name"]}
    (rule,) = get(rehearsal, "httproute", "invoicetron")["spec"]["rules"]
    policy = get(rehearsal, "ciliumnetworkpolicy", "invoicetron")["spec"]["ingress"]
    tunnel = get(rehearsal, "ciliumnetworkpolicy", "invoicetron-cloudflared-egress", "cloudflare")["spec"]["egress"]
    yield from (port["containerPort"], of_service["port"], rule["backendRefs"][0]["port"])
    yield from (int(one["port"]) for each in policy for to in each["toPorts"] for one in to["ports"])
    yield int(tunnel[0]["toPorts"][0]["ports"][0]["port"])
    yield int(of(rehearsal, FIRST)["rules"][0]["service"].rsplit(":", 1)[1])


def reached(rehearsal: Rehearsal, namespace: str = "invoicetron-prod") -> set[tuple[int, bool]]:
    """Ports at which the Service's endpoints are, and whether they are ready."""
    selector = "--selector=kubernetes.io/service-name=invoicetron"
    slices = rehearsal.get("endpointslices", selector, namespace=namespace)["items"]
    return {
        (port["port"], endpoint["conditions"]["ready"])
        for each in slices
        for port in each["ports"] or []
        for endpoint in each["endpoints"] or []
    }


@contextmanager
def cordoned(rehearsal: Rehearsal) -> Iterator[None]:
    """No node accepts a pod, so a new one never becomes ready."""
    nodes = rehearsal.kubectl("get", "nodes", "-o", "name").split()
    rehearsal.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        rehearsal.kubectl("uncordon", *nodes)


def test_a_new_port_of_a_running_app_changes_everywhere_at_once_and_replaces_nothing(rehearsal: Rehearsal) -> None:
    program = rehearsal.program
    program.init("prod")
    program.up("prod", "--skip-preview")
    lifecycle = Lifecycle(rehearsal, "prod")
    lifecycle.deploy(lifecycle.image)
    assert set(ports(rehearsal)) == {3000}
    assert reached(rehearsal) == {(3000, True)}
    for port in (8080, 3000):
        rehearsal.configure("prod", "app.port", str(port))
        # A preview, too: the API server refuses two ports of the same name, which server-side apply may result in.
        planned = program.preview("prod").changes
        changed = program.up("prod", "--skip-preview").changes
        assert planned == changed
        assert set(changed.values()) == {"update"}
        assert set(ports(rehearsal)) == {port}
        assert lifecycle.image_running() == lifecycle.image
        rehearsal.kubectl("-n", "invoicetron-prod", "rollout", "status", "deployment/invoicetron", "--timeout=60s")
        assert reached(rehearsal) == {(port, True)}
        assert not program.up("prod", "--skip-preview").changes


def test_the_service_has_no_endpoint_until_the_new_pod_is_ready(rehearsal: Rehearsal) -> None:
    """The old pod has no port of the new one's name, so its endpoint leaves the Service at once."""
    program = rehearsal.program
    program.init("dev")
    program.up("dev", "--skip-preview")
    lifecycle = Lifecycle(rehearsal, "dev")
    lifecycle.deploy(lifecycle.image)
    assert reached(rehearsal, "invoicetron-dev") == {(3000, True)}
    rehearsal.configure("dev", "app.port", "8080")
    with cordoned(rehearsal):
        program.up("dev", "--skip-preview")
        assert reached(rehearsal, "invoicetron-dev") == set()
    rehearsal.kubectl("-n", "invoicetron-dev", "rollout", "status", "deployment/invoicetron", "--timeout=60s")
    assert reached(rehearsal, "invoicetron-dev") == {(8080, True)}
