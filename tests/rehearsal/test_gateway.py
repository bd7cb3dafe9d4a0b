"""What a route's status says: the program waits for it, and users read it if the wait times out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.dynamic import DynamicClient

from ops.clients import dynamic_client
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.cluster.gateway import API

_PATIENCE = 60.0  # seconds; an answer takes less than one
_PORT = 3000


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[DynamicClient]:
    with control_plane.client() as client:
        yield dynamic_client(client)


@pytest.fixture
def namespace(cluster: DynamicClient) -> Iterator[str]:
    """A namespace for the test alone, deleted at its end without waiting."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    namespaces = cluster.resources.get(api_version="v1", kind="Namespace")
    namespaces.create(body={"metadata": {"name": name}})
    yield name
    namespaces.delete(name=name)


def route(hostname: str, *, gateway: str = "homelab-gateway") -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "HTTPRoute",
        "metadata": {"name": "app"},
        "spec": {
            "parentRefs": [{"name": gateway, "namespace": "default", "sectionName": "https-dev"}],
            "hostnames": [hostname],
            "rules": [{"backendRefs": [{"name": "app", "port": _PORT}]}],
        },
    }


def answer(cluster: DynamicClient, namespace: str, **expected: str) -> dict[str, str]:
    """The reasons in the status of the route's newest generation, once they are `expected` or time is up."""
    routes = cluster.resources.get(api_version=API, kind="HTTPRoute")
    deadline = time.monotonic() + _PATIENCE
    reasons: dict[str, str] = {}
    while reasons != expected and time.monotonic() < deadline:
        found = routes.get(name="app", namespace=namespace).to_dict()
        conditions = [one for parent in found.get("status", {}).get("parents", []) for one in parent["conditions"]]
        newest = [one for one in conditions if one["observedGeneration"] == found["metadata"]["generation"]]
        reasons = {one["type"]: one["reason"] for one in newest}
        time.sleep(0.05)
    return reasons


def test_a_route_resolves_only_while_its_service_exists(cluster: DynamicClient, namespace: str) -> None:
    services = cluster.resources.get(api_version="v1", kind="Service")
    missing = {"Accepted": "Accepted", "ResolvedRefs": "BackendNotFound"}
    resolved = {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs"}
    body = route("app.dev.k8s.rommelporras.com")
    cluster.resources.get(api_version=API, kind="HTTPRoute").create(body=body, namespace=namespace)
    assert answer(cluster, namespace, **missing) == missing
    services.create(body={"metadata": {"name": "app"}, "spec": {"ports": [{"port": _PORT}]}}, namespace=namespace)
    assert answer(cluster, namespace, **resolved) == resolved
    services.delete(name="app", namespace=namespace)
    assert answer(cluster, namespace, **missing) == missing


def test_the_status_follows_a_change_of_the_route(cluster: DynamicClient, namespace: str) -> None:
    routes = cluster.resources.get(api_version=API, kind="HTTPRoute")
    routes.create(body=route("app.dev.k8s.rommelporras.com", gateway="other"), namespace=namespace)
    unknown = {"Accepted": "NoMatchingParent", "ResolvedRefs": "BackendNotFound"}
    assert answer(cluster, namespace, **unknown) == unknown
    merge = "application/merge-patch+json"
    routes.patch(body=route("app.example.org"), namespace=namespace, content_type=merge)
    foreign = {"Accepted": "NoMatchingListenerHostname", "ResolvedRefs": "BackendNotFound"}
    assert answer(cluster, namespace, **foreign) == foreign
