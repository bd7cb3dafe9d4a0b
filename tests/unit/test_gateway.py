"""The Gateway that the stack file names, checked before the first resource."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from lookups.cluster import ForbiddenError
from lookups.gateway import find_problems
from settings import Settings
from tests.unit.program import load_settings

STACK = load_settings("dev")


class Cluster:
    """Has these Gateways, if they can be read."""

    def __init__(self, *gateways: Any, readable: bool = True) -> None:
        self._gateways, self._readable = gateways, readable

    def list(self, api_version: str, resource: str) -> list[Any]:
        assert (api_version, resource) == ("gateway.networking.k8s.io/v1", "gateways")
        if not self._readable:
            raise ForbiddenError("gateways is forbidden")
        return list(self._gateways)

    def get(self, api_version: str, resource: str, name: str, namespace: str) -> Any:
        key = {"name": name, "namespace": namespace}
        return next((one for one in self.list(api_version, resource) if one["metadata"] == key), None)


def settings(hostname: str = "app.lan.example.org", *, listener: str = "https", namespace: str = "edge") -> Settings:
    gateway = STACK.access.gateway.model_copy(update={"name": "main", "namespace": namespace, "listener": listener})
    access = STACK.access.model_copy(update={"gateway": gateway, "hostname": hostname, "hostnames": (hostname,)})
    return STACK.model_copy(update={"access": access})


def gateway(hostname: str | None = None, *, allowed: str | None = "All", name: str = "main") -> Any:
    listener: dict[str, Any] = {"name": "https"}
    if hostname is not None:
        listener["hostname"] = hostname
    if allowed is not None:
        listener["allowedRoutes"] = {"namespaces": {"from": allowed}}
    return {"metadata": {"name": name, "namespace": "edge"}, "spec": {"listeners": [{"name": "http"}, listener]}}


def problems(cluster: Cluster, wanted: Settings | None = None) -> list[str]:
    found = find_problems(wanted or settings(), cluster)  # type: ignore[arg-type] # a fake
    return [f"{what}: {fix}" for what, fix in found]


@pytest.mark.parametrize(
    "served", [None, "", "app.lan.example.org", "*.lan.example.org", "*.example.org", "App.LAN.example.org"]
)
def test_a_listener_that_serves_the_hostname_takes_the_route(served: str | None) -> None:
    assert problems(Cluster(gateway(served))) == []


@pytest.mark.parametrize(
    "served", ["other.lan.example.org", "*.example.net", "*.app.lan.example.org", "*.n.example.org"]
)
def test_a_listener_of_other_hostnames_does_not(served: str) -> None:
    (problem,) = problems(Cluster(gateway(served)))
    assert f"serves {served}, but not app.lan.example.org" in problem
    assert "correct access.hostname or access.gateway.listener" in problem


def test_a_missing_gateway_is_named_with_the_existing_ones() -> None:
    (problem,) = problems(Cluster(gateway(name="b"), gateway(name="a")))
    assert "access.gateway is edge/main, but the cluster has no such Gateway. It has edge/a, edge/b:" in problem
    (problem,) = problems(Cluster())
    assert "It has none:" in problem


def test_a_missing_listener_is_named_with_the_existing_ones() -> None:
    (problem,) = problems(Cluster(gateway()), settings(listener="tls"))
    assert "edge/main has no listener tls. It has http, https:" in problem


@pytest.mark.parametrize(("allowed", "taken"), [("All", True), ("Selector", True), ("Same", False), (None, False)])
def test_a_listener_that_does_not_allow_the_stacks_namespace_is_refused(allowed: str | None, taken: bool) -> None:
    assert (problems(Cluster(gateway(allowed=allowed))) == []) is taken
    own = {**gateway(allowed=allowed), "metadata": {"name": "main", "namespace": STACK.namespace}}
    assert problems(Cluster(own), settings(namespace=STACK.namespace)) == []


def test_a_user_who_may_not_look_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    assert problems(Cluster(readable=False)) == []
    (warning,) = said
    assert "edge/main accepts the app's route. gateways is forbidden" in warning
