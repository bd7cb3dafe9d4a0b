"""What prevents an object that was made by hand from being taken over unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from ops.adopt.blockers import kubernetes_blockers

STATEFUL_SET = {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}}}


def blockers(kind: str, *, wanted: dict[str, Any] | None = None, forced: str = "true", **live: Any) -> list[str]:
    """The remedies for an object of that kind."""
    meta = {"name": "it", "namespace": "shop", **live.pop("metadata", {})}
    inputs = {"metadata": {"annotations": {"pulumi.com/patchForce": forced}}, **(wanted or {})}
    found = kubernetes_blockers({"kind": kind, "metadata": meta, **live}, inputs)
    return [one.remedy for one in found]


@pytest.mark.parametrize("differing", [{"volumeClaimTemplates": [{}]}, {"serviceName": "other"}])
def test_a_stateful_set_that_cannot_be_changed_is_orphaned_first(differing: dict[str, Any]) -> None:
    (remedy,) = blockers("StatefulSet", spec={**STATEFUL_SET, **differing}, wanted={"spec": STATEFUL_SET})
    assert remedy == "kubectl -n shop delete statefulset it --cascade=orphan"


def test_a_stateful_set_of_the_same_shape_is_imported() -> None:
    live = {**STATEFUL_SET, "podManagementPolicy": "OrderedReady"}
    assert not blockers("StatefulSet", spec=live, wanted={"spec": STATEFUL_SET})


MANAGERS = [
    {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"},
    {"manager": "kubectl-set", "operation": "Update"},
]


def test_fields_owned_by_kubectl_are_handed_over_if_the_program_does_not_force() -> None:
    (remedy,) = blockers("Deployment", metadata={"managedFields": MANAGERS}, forced="false")
    assert remedy.startswith("kubectl -n shop patch deployment it --type=json")
    assert '"/metadata/managedFields/1/manager", "value": "pulumi-kubernetes"' in remedy
    assert not blockers("Deployment", metadata={"managedFields": MANAGERS[:1]}, forced="false")
    assert not blockers("Service", metadata={"managedFields": MANAGERS})


def test_the_annotation_in_which_kubectl_keeps_a_secrets_values_is_removed() -> None:
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    kept = {"annotations": {annotation: '{"kind": "Secret", "data": {"password": "cGFzcw=="}}'}}
    assert blockers("Secret", metadata=kept) == [f"kubectl -n shop annotate secret it {annotation}-"]
    assert not blockers("Secret", metadata={"annotations": {annotation: '{"kind": "Secret"}'}})
