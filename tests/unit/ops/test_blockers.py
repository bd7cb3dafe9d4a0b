"""What prevents an object that was made by hand from being taken over unchanged."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from ops.adopt.blockers import Blocker, kubernetes_blockers

STATEFUL_SET = {"serviceName": "db", "selector": {"matchLabels": {"app": "db"}}}


def blockers(kind: str, *, wanted: dict[str, Any] | None = None, forced: str = "true", **live: Any) -> list[str]:
    """The remedies for an object of that kind."""
    return [one.remedy for one in found(kind, wanted=wanted, forced=forced, **live)]


def found(kind: str, *, wanted: dict[str, Any] | None = None, forced: str = "true", **live: Any) -> list[Blocker]:
    meta = {"name": "it", "namespace": "shop", **live.pop("metadata", {})}
    inputs = {"metadata": {"annotations": {"pulumi.com/patchForce": forced}}, **(wanted or {})}
    return list(kubernetes_blockers({"kind": kind, "metadata": meta, **live}, inputs))


@pytest.mark.parametrize(
    "differing", [{"volumeClaimTemplates": [{}]}, {"serviceName": "other"}, {"revisionHistoryLimit": 3}]
)
def test_a_stateful_set_that_cannot_be_changed_is_orphaned_first(differing: dict[str, Any]) -> None:
    (remedy,) = blockers("StatefulSet", spec={**STATEFUL_SET, **differing}, wanted={"spec": STATEFUL_SET})
    assert remedy == "kubectl -n shop delete statefulset it --cascade=orphan"


def test_a_stateful_set_of_the_same_shape_is_imported() -> None:
    live = {**STATEFUL_SET, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10}
    assert not blockers("StatefulSet", spec=live, wanted={"spec": STATEFUL_SET})


@pytest.mark.parametrize(
    ("labels", "labelled"),
    [
        (
            {"app": "postgres", "tier": "data"},
            ["kubectl -n shop label pods -l app=postgres,tier=data app=db --overwrite"],
        ),
        ({"app": "db", "tier": "data"}, []),
    ],
)
def test_orphaned_pods_get_the_label_by_which_the_programs_stateful_set_adopts_them(
    labels: dict[str, str], labelled: list[str]
) -> None:
    """Otherwise it cannot create its own of the same name, and the Service finds none."""
    template = {"template": {"metadata": {"labels": labels}}}
    live = {"serviceName": "db", "selector": {"matchLabels": labels}, **template}
    (remedy,) = blockers("StatefulSet", spec=live, wanted={"spec": STATEFUL_SET})
    assert remedy.splitlines() == ["kubectl -n shop delete statefulset it --cascade=orphan", *labelled]


def deployment(labels: dict[str, str], *containers: str) -> dict[str, Any]:
    pod = {"containers": [{"name": name} for name in containers]}
    return {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}


WEB = {"app": "shop"}


def test_a_deployment_that_up_would_replace_is_made_again_with_its_image_first() -> None:
    """A replacement deletes the pods, and the new ones have the placeholder's image."""
    labels = {"app.kubernetes.io/name": "shop", **WEB}
    (blocker,) = found("Deployment", spec=deployment(labels), wanted={"spec": deployment(WEB)}, forced="false")
    assert blocker.fatal
    assert "kubectl -n shop get deployment it -o json" in blocker.remedy
    assert json.dumps(WEB) in blocker.remedy
    assert not blockers("Deployment", spec=deployment(WEB), wanted={"spec": deployment(WEB)}, forced="false")


def test_the_apps_container_becomes_the_first_because_the_first_keeps_its_image() -> None:
    live, wanted = deployment(WEB, "proxy", "shop"), {"spec": deployment(WEB, "shop")}
    (remedy,) = blockers("Deployment", spec=live, wanted=wanted, forced="false")
    path = "/spec/template/spec/containers"
    assert json.dumps({"op": "move", "from": f"{path}/1", "path": f"{path}/0"}) in remedy
    for names in (["shop", "proxy"], ["web"]):
        assert not blockers("Deployment", spec=deployment(WEB, *names), wanted=wanted, forced="false")


def ports(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"ports": [*ports]}}


WANTED = ports({"name": "http", "port": 3000, "protocol": "TCP"})


def test_a_port_with_the_name_of_another_of_the_programs_is_renamed() -> None:
    """Until the first `up`, each preview has both ports, and the API server refuses two of one name."""
    live = ports({"name": "metrics", "port": 9}, {"name": "http", "port": 80, "protocol": "TCP"})
    (remedy,) = blockers("Service", wanted=WANTED, **live)
    assert '"replace", "path": "/spec/ports/1/name", "value": "http-by-hand"' in remedy


@pytest.mark.parametrize("live", [WANTED, ports({"port": 3000, "protocol": "TCP"}), ports({"name": "web", "port": 80})])
def test_other_ports_stay_as_they_are(live: dict[str, Any]) -> None:
    assert not blockers("Service", wanted=WANTED, **live)


def test_a_load_balancer_with_source_ranges_is_made_internal_first() -> None:
    """The API refuses the ranges on any other type; without them, the balancer would let everybody in."""
    wanted = {"spec": {"type": "ClusterIP"}}
    spec = {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]}
    (remedy,) = blockers("Service", wanted=wanted, spec=spec)
    assert json.loads(shlex.split(remedy)[-1]) == [
        {"op": "replace", "path": "/spec/type", "value": "ClusterIP"},
        {"op": "remove", "path": "/spec/loadBalancerSourceRanges"},
    ]
    for kept in ({"type": "LoadBalancer"}, {"type": "NodePort"}):
        assert not blockers("Service", wanted=wanted, spec=kept)


def test_a_disruption_budget_of_the_other_kind_is_deleted_first() -> None:
    wanted = {"spec": {"maxUnavailable": 1}}
    assert blockers("PodDisruptionBudget", wanted=wanted, spec={"minAvailable": 1}) == [
        "kubectl -n shop delete poddisruptionbudget it"
    ]
    assert not blockers("PodDisruptionBudget", wanted=wanted, spec={"maxUnavailable": "50%"})


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


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_an_immutable_object_is_made_again(kind: str) -> None:
    """The API server refuses `up` the end of its immutability, after the StatefulSet has been orphaned."""
    (blocker,) = found(kind, immutable=True)
    assert not blocker.imported
    assert blocker.remedy == f"kubectl -n shop delete {kind.lower()} it"
    assert not blockers(kind, immutable=False)


def operations(*managers: dict[str, str]) -> list[dict[str, Any]]:
    """The patch for a Deployment with these field managers."""
    (remedy,) = blockers("Deployment", metadata={"managedFields": [*managers]}, forced="false")
    patch: list[dict[str, Any]] = json.loads(shlex.split(remedy)[-1])
    return [one for one in patch if one["op"] != "test"]


@pytest.mark.parametrize("manager", ["helm", "k9s", "argocd-controller", "node-fetch"])
def test_fields_of_other_tools_are_handed_over_because_up_would_stop_at_a_conflict(manager: str) -> None:
    """The provider takes over fields of kubectl and its own, and of nobody else."""
    first, second = "/metadata/managedFields/0", "/metadata/managedFields/1"
    kubectl, other = {"manager": "kubectl-create", "operation": "Update"}, {"manager": manager, "operation": "Update"}
    own = {"op": "replace", "path": f"{first}/manager", "value": "pulumi-kubernetes"}
    assert operations(other) == [own]
    assert operations(kubectl, other) == [
        own,
        {"op": "replace", "path": f"{second}/manager", "value": f"kubectl-{manager}"},
    ]


def test_fields_that_are_handed_over_already_stay_so() -> None:
    done = {"manager": "pulumi-kubernetes", "operation": "Update"}
    managers = [done, {"manager": "kubectl-set", "operation": "Update"}]
    assert not blockers("Deployment", metadata={"managedFields": managers}, forced="false")


def test_server_side_applied_fields_are_handed_over() -> None:
    path = "/metadata/managedFields/0"
    assert operations({"manager": "kubectl", "operation": "Apply"}) == [
        {"op": "replace", "path": f"{path}/manager", "value": "pulumi-kubernetes"},
        {"op": "replace", "path": f"{path}/operation", "value": "Update"},
    ]


def test_a_scaled_number_of_replicas_is_handed_over() -> None:
    scaled = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale"}
    path = "/metadata/managedFields/0"
    assert operations(scaled) == [
        {"op": "replace", "path": f"{path}/manager", "value": "pulumi-kubernetes"},
        {"op": "remove", "path": f"{path}/subresource"},
    ]
    (found_,) = found("Deployment", metadata={"managedFields": [scaled]}, forced="false")
    assert "HorizontalPodAutoscaler" in found_.why


@pytest.mark.parametrize("manager", ["gitlab-ci", "invoicetron-ops", "pulumi-kubernetes-1a2b3c4d"])
def test_fields_of_the_pipeline_and_of_the_program_stay_theirs(manager: str) -> None:
    managers = [{"manager": manager, "operation": "Update"}]
    assert not blockers("Deployment", metadata={"managedFields": managers}, forced="false")
    assert not blockers("CronJob", metadata={"managedFields": managers})


def test_a_tool_that_would_bring_a_deleted_object_back_is_named() -> None:
    live: Any = {"spec": {**STATEFUL_SET, "revisionHistoryLimit": 3}, "wanted": {"spec": STATEFUL_SET}}
    by_argo = {"managedFields": [{"manager": "argocd-controller", "operation": "Apply"}]}
    (blocker,) = found("StatefulSet", metadata=by_argo, **live)
    assert "if argocd-controller still manages this object" in blocker.why
    (blocker,) = found("StatefulSet", metadata={"managedFields": MANAGERS}, **live)
    assert "still manages" not in blocker.why


def test_a_template_of_another_tool_is_deleted_because_its_containers_would_stay() -> None:
    managers = {"managedFields": [{"manager": "helm", "operation": "Update"}, *MANAGERS]}
    assert blockers("CronJob", metadata=managers) == ["kubectl -n shop delete cronjob it"]
    assert not blockers("CronJob", metadata={"managedFields": MANAGERS})


def test_the_annotation_in_which_kubectl_keeps_a_secrets_values_is_removed() -> None:
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    kept = {"annotations": {annotation: '{"kind": "Secret", "data": {"password": "cGFzcw=="}}'}}
    assert blockers("Secret", metadata=kept) == [f"kubectl -n shop annotate secret it {annotation}-"]
    assert not blockers("Secret", metadata={"annotations": {annotation: '{"kind": "Secret"}'}})
