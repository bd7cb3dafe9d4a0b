"""What is reported about the cluster before the first resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest

from lookups.cluster import Cluster, ClusterError, ForbiddenError
from lookups.deployed import check_cluster
from settings import Settings
from tests.unit.program import load_settings

GROUPS = {"namespaces": "v1", "deployments": "apps/v1", "priorityclasses": "scheduling.k8s.io/v1"}
OWN, DEFAULT, APP = "namespaces/invoicetron-dev", "namespaces/default", "deployments/invoicetron"


class Holding(Cluster):
    """A cluster with these objects; an error among them is raised when it is read."""

    def __init__(self, **objects: Any) -> None:
        self._objects = objects

    def serves(self, api_version: str, resource: str) -> bool:
        return f"{api_version}/{resource}" in self._objects

    def get(self, api_version: str, resource: str, name: str, namespace: str | None = None) -> Mapping[str, Any] | None:
        assert namespace in {None, "invoicetron-dev"}
        assert api_version == GROUPS[resource]
        found = self._objects.get(f"{resource}/{name}")
        if isinstance(found, Exception):
            raise found
        return {} if found else None


@pytest.mark.parametrize(
    ("objects", "warned"),
    [
        ({OWN: True, DEFAULT: True, APP: True}, False),
        ({OWN: True, APP: True}, False),
        ({OWN: True}, True),
        ({DEFAULT: True}, False),
        ({DEFAULT: ForbiddenError("not yours")}, False),
    ],
)
def test_a_deployed_stack_without_its_app_causes_a_warning(objects: dict[str, Any], warned: bool) -> None:
    settings = load_settings("dev")
    with mock.patch("pulumi.log.warn") as warn:
        check_cluster(settings, Holding(**objects))
    said = "".join(call.args[0] for call in warn.call_args_list)
    for words in ("has no Deployment invoicetron", settings.app.image, "run it again on the branch develop"):
        assert (words in said) == warned


FORBIDDEN, AWAY = ForbiddenError("not yours"), ClusterError("away")


@pytest.mark.parametrize("objects", [{}, {OWN: FORBIDDEN, DEFAULT: True}, {OWN: AWAY}, {DEFAULT: AWAY}])
def test_an_unusable_answer_ends_the_program(objects: dict[str, Any]) -> None:
    with pytest.raises(ClusterError):
        check_cluster(load_settings("dev"), Holding(**objects))


CLASS = "priorityclasses/important"


def with_class() -> Settings:
    settings = load_settings("dev")
    return settings.model_copy(update={"cluster": settings.cluster.model_copy(update={"priority_class": "important"})})


@pytest.mark.parametrize("namespace", [{}, {OWN: True, APP: True}])
def test_a_priority_class_that_does_not_exist_is_refused_before_any_pod_is(namespace: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match=r"(?s)no PriorityClass important.*correct cluster\.priorityClass"):
        check_cluster(with_class(), Holding(**{DEFAULT: True, **namespace}))
    check_cluster(with_class(), Holding(**{DEFAULT: True, CLASS: True, **namespace}))


def test_a_kubeconfig_that_may_not_read_priority_classes_is_warned() -> None:
    with mock.patch("pulumi.log.warn") as warn:
        check_cluster(with_class(), Holding(**{DEFAULT: True, CLASS: FORBIDDEN}))
    assert "PriorityClass important" in warn.call_args.args[0]


def test_a_cluster_too_old_for_admission_policies_is_refused_where_the_stack_wants_one() -> None:
    settings = load_settings("dev")
    assert settings.delivery
    wanting = settings.model_copy(
        update={"delivery": settings.delivery.model_copy(update={"admission_policy": True})},
    )
    with pytest.raises(ClusterError, match=r"(?s)older than Kubernetes 1\.30.*leave delivery\.admissionPolicy out"):
        check_cluster(wanting, Holding(**{DEFAULT: True}))
    served = "admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    check_cluster(wanting, Holding(**{DEFAULT: True, served: True}))
    check_cluster(settings, Holding(**{DEFAULT: True}))
