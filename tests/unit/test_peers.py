"""The pods that the network policies name, looked for before the first resource."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from lookups.cluster import ForbiddenError
from lookups.peers import find_problems
from settings import Settings
from settings.access import CloudflaredSettings
from tests.unit.program import load_settings

PROD = load_settings("prod")


class Cluster:
    """Has pods with these labels in this namespace, and the DNS's, if the user may see them."""

    def __init__(
        self, namespace: str = "tunnels", *, visible: bool = True, dns: str = "kube-dns", **labels: str
    ) -> None:
        self._namespace, self._visible = namespace, visible
        self._labels = {namespace: labels, "kube-system": {"k8s-app": dns}}

    def get(self, api_version: str, resource: str, name: str) -> Any:
        assert (api_version, resource) == ("v1", "namespaces")
        if not self._visible:
            raise ForbiddenError("namespaces is forbidden")
        return {"metadata": {"name": name}} if name == self._namespace else None

    def list(self, api_version: str, resource: str, namespace: str, *, selector: str) -> list[Any]:
        assert (api_version, resource) == ("v1", "pods")
        if not self._visible:
            raise ForbiddenError("pods is forbidden")
        wanted, labels = dict(one.split("=") for one in selector.split(",")), self._labels[namespace]
        return [{"metadata": {"labels": labels}}] if wanted.items() <= labels.items() else []


def settings(**labels: str) -> Settings:
    assert PROD.access.public
    cloudflared = CloudflaredSettings(namespace="tunnels", pod_labels=labels)
    public = PROD.access.public.model_copy(update={"cloudflared": cloudflared})
    return PROD.model_copy(update={"access": PROD.access.model_copy(update={"public": public})})


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings."""
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warnings.append)
    return warnings


def problems(wanted: Settings, cluster: Cluster) -> list[str]:
    return [f"{what}: {fix}" for what, fix in find_problems(wanted, cluster)]  # type: ignore[arg-type] # a fake


def test_pods_with_all_of_the_labels_are_enough(said: list[str]) -> None:
    assert problems(settings(app="a", tier="b"), Cluster(app="a", tier="b", pod="c")) == []
    assert said == []


def test_a_namespace_that_does_not_exist_is_refused() -> None:
    (problem,) = problems(settings(app="a"), Cluster("elsewhere", app="a"))
    assert "access.public.cloudflared.namespace is tunnels, which the cluster does not have" in problem


def test_labels_that_no_pod_has_are_warned_of_because_cloudflared_may_start_later(said: list[str]) -> None:
    assert problems(settings(app="a", tier="b"), Cluster(app="a")) == []
    (warning,) = said
    assert "No pod in tunnels has the labels app=a,tier=b" in warning
    assert "invoicetron.rommelporras.com answers 502" in warning
    assert "kubectl -n tunnels get pods --show-labels" in warning


def test_a_dns_with_another_label_is_warned_of_because_no_pod_could_resolve_a_name(said: list[str]) -> None:
    assert problems(load_settings("dev"), Cluster(dns="coredns")) == []
    (warning,) = said
    assert "No pod in kube-system has the label k8s-app=kube-dns" in warning


def test_a_user_who_may_not_look_is_warned(said: list[str]) -> None:
    assert problems(settings(app="a"), Cluster(visible=False)) == []
    dns, cloudflared = said
    assert "Cannot check whether the cluster's DNS has the label k8s-app=kube-dns. pods is forbidden" in dns
    assert "Cannot check whether cloudflared runs in tunnels. namespaces is forbidden" in cloudflared


def test_a_stack_without_a_public_side_needs_no_cloudflared(said: list[str]) -> None:
    assert problems(load_settings("dev"), Cluster("elsewhere")) == []
    assert said == []
