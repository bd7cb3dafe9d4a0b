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
    """Has these Gateways, if they can be read, and the stack's namespace if it is given labels.

    `controller` serves the class of the Gateways; None if the class does not exist.
    """

    def __init__(
        self,
        *gateways: Any,
        readable: bool = True,
        labels: dict[str, str] | None = None,
        controller: str | None = "io.cilium/gateway-controller",
        shows_classes: bool = True,
    ) -> None:
        self._gateways, self._readable, self._labels = gateways, readable, labels
        self._controller, self._shows_classes = controller, shows_classes

    def list(self, api_version: str, resource: str) -> list[Any]:
        assert (api_version, resource) == ("gateway.networking.k8s.io/v1", "gateways")
        if not self._readable:
            raise ForbiddenError("gateways is forbidden")
        return list(self._gateways)

    def get(self, api_version: str, resource: str, name: str, namespace: str | None = None) -> Any:
        if resource == "namespaces":
            assert (api_version, name, namespace) == ("v1", STACK.namespace, None)
            return None if self._labels is None else {"metadata": {"name": name, "labels": self._labels}}
        if resource == "gatewayclasses":
            assert (name, namespace) == ("shared", None)
            if not self._shows_classes:
                raise ForbiddenError("gatewayclasses is forbidden")
            return None if self._controller is None else {"spec": {"controllerName": self._controller}}
        key = {"name": name, "namespace": namespace}
        return next((one for one in self.list(api_version, resource) if one["metadata"] == key), None)


def settings(hostname: str = "app.lan.example.org", *, listener: str = "https", namespace: str = "edge") -> Settings:
    gateway = STACK.access.gateway.model_copy(update={"name": "main", "namespace": namespace, "listener": listener})
    access = STACK.access.model_copy(update={"gateway": gateway, "hostname": hostname, "hostnames": (hostname,)})
    return STACK.model_copy(update={"access": access})


def gateway(
    hostname: str | None = None, *, allowed: str | None = "All", name: str = "main", selector: Any = None
) -> Any:
    listener: dict[str, Any] = {"name": "https", "protocol": "HTTPS"}
    if hostname is not None:
        listener["hostname"] = hostname
    if allowed is not None:
        listener["allowedRoutes"] = {"namespaces": {"from": allowed}}
    if selector is not None:
        listener["allowedRoutes"]["namespaces"]["selector"] = selector
    plain = {"name": "http", "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    spec = {"gatewayClassName": "shared", "listeners": [plain, listener]}
    return {"metadata": {"name": name, "namespace": "edge"}, "spec": spec}


def selecting(*expressions: dict[str, Any], **labels: str) -> Any:
    """A Gateway whose listener selects namespaces by these labels and expressions."""
    return gateway(allowed="Selector", selector={"matchLabels": labels, "matchExpressions": list(expressions)})


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


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


@pytest.mark.parametrize("protocol", ["HTTP", "TLS", "TCP", "example.org/own"])
def test_a_listener_of_another_protocol_than_https_is_refused(protocol: str) -> None:
    other = gateway()
    other["spec"]["listeners"][0]["protocol"] = protocol
    (problem,) = problems(Cluster(other), settings(listener="http"))
    assert f"The listener http of the Gateway edge/main has the protocol {protocol}" in problem
    assert "correct access.gateway.listener, or set its protocol to HTTPS" in problem


@pytest.mark.parametrize(("allowed", "taken"), [("All", True), ("Same", False), (None, False)])
def test_a_listener_that_does_not_allow_the_stacks_namespace_is_refused(allowed: str | None, taken: bool) -> None:
    assert (problems(Cluster(gateway(allowed=allowed))) == []) is taken
    own = {**gateway(allowed=allowed), "metadata": {"name": "main", "namespace": STACK.namespace}}
    assert problems(Cluster(own), settings(namespace=STACK.namespace)) == []


@pytest.mark.parametrize(
    "selected",
    [
        gateway(allowed="Selector", selector={}),
        selecting(**{"kubernetes.io/metadata.name": STACK.namespace}),
        selecting(**{"app.kubernetes.io/part-of": "invoicetron", "pod-security.kubernetes.io/enforce": "baseline"}),
        selecting(expression("app.kubernetes.io/instance", "In", "another", STACK.namespace)),
        selecting(expression("app.kubernetes.io/part-of", "NotIn", "another")),
        selecting(expression("team", "NotIn", "another")),
        selecting(expression("app.kubernetes.io/part-of", "Exists")),
        selecting(expression("team", "DoesNotExist")),
    ],
)
def test_a_listener_that_selects_a_label_of_the_stacks_namespace_takes_the_route(selected: Any) -> None:
    assert problems(Cluster(selected)) == []


@pytest.mark.parametrize(
    ("selected", "spelled"),
    [
        (selecting(team="web"), "team=web"),
        (selecting(team="web", **{"app.kubernetes.io/part-of": "invoicetron"}), "team=web,app.kubernetes.io/part-of="),
        (selecting(expression("team", "In", "web", "shop")), "team in (web, shop)"),
        (selecting(expression("team", "Exists")), "team"),
        (selecting(expression("app.kubernetes.io/part-of", "NotIn", "invoicetron")), "part-of notin (invoicetron)"),
        (selecting(expression("app.kubernetes.io/part-of", "DoesNotExist")), "!app.kubernetes.io/part-of"),
        (selecting(expression("team", "Unknown", "web")), "team unknown (web)"),
        (gateway(allowed="Selector"), "(it has none)"),
    ],
)
def test_a_listener_that_does_not_select_the_stacks_namespace_is_refused(selected: Any, spelled: str) -> None:
    (problem,) = problems(Cluster(selected))
    assert "accepts routes only from the namespaces that its selector matches (" in problem
    assert spelled in problem
    assert f"kubectl label namespace {STACK.namespace} " in problem
    assert "for example app.kubernetes.io/part-of=invoicetron" in problem


def test_a_label_that_somebody_gave_the_namespace_counts_and_one_that_up_changes_does_not() -> None:
    there = {"team": "web", "app.kubernetes.io/part-of": "old"}
    assert problems(Cluster(selecting(team="web"), labels=there)) == []
    assert problems(Cluster(selecting(team="web"), labels={}))
    assert problems(Cluster(selecting(**{"app.kubernetes.io/part-of": "old"}), labels=there))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings."""
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    return warnings


def test_a_user_who_may_not_look_is_warned(said: list[str]) -> None:
    assert problems(Cluster(readable=False)) == []
    (warning,) = said
    assert "edge/main accepts the app's route. gateways is forbidden" in warning


def test_a_gateway_of_another_controller_is_warned_of_because_the_policies_keep_it_from_the_app(
    said: list[str],
) -> None:
    assert problems(Cluster(gateway())) == []
    assert said == []
    assert problems(Cluster(gateway(), controller="traefik.io/gateway-controller")) == []
    (warning,) = said
    assert "The Gateway edge/main (class shared) is served by traefik.io/gateway-controller, not by Cilium" in warning


def test_a_gateway_of_a_class_that_does_not_exist_serves_nothing(said: list[str]) -> None:
    (problem,) = problems(Cluster(gateway(), controller=None))
    assert "The Gateway edge/main is of the class shared, which does not exist" in problem
    assert said == []


def test_a_user_who_may_not_read_classes_is_warned_and_the_listener_is_still_checked(said: list[str]) -> None:
    (problem,) = problems(Cluster(gateway("other.example.org"), shows_classes=False))
    assert "serves other.example.org" in problem
    (warning,) = said
    assert "Cannot check whether Cilium serves the Gateway edge/main. gatewayclasses is forbidden" in warning
