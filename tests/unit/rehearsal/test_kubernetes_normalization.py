"""Inputs in the form in which the API server returns them."""

from __future__ import annotations

import pytest

from rehearsal.plugins.kubernetes.normalization import canonical_quantity, normalize
from rehearsal.plugins.kubernetes.objects import Object
from rehearsal.plugins.values import UNKNOWN


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("10Gi", "10Gi"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("2000m", "2"),
        ("250m", "250m"),
        ("1000", "1k"),
        ("0", "0"),
        ("0Mi", "0"),
        ("1.5Gi", "1536Mi"),
        ("not a quantity", "not a quantity"),
    ],
)
def test_quantities_are_written_as_the_server_writes_them(given: str, canonical: str) -> None:
    assert canonical_quantity(given) == canonical


def pod(**container: object) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container]}}


def container(obj: Object) -> Object:
    return dict(normalize(obj)["spec"]["containers"][0])


def test_quantities_are_found_where_the_type_has_them() -> None:
    resources = {"requests": {"cpu": "1000m"}, "limits": {"memory": "1024Mi"}}
    assert container(pod(resources=resources)) == {"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}}


def test_a_field_that_the_type_does_not_have_is_dropped_as_in_the_real_plugin() -> None:
    assert container(pod(name="a", imagePullPolcy="Always")) == {"name": "a"}


def test_zero_values_that_the_server_omits_are_omitted_and_meaningful_ones_are_kept() -> None:
    mounts = [{"name": "tmp", "mountPath": "/scratch", "readOnly": False}]
    security = {"privileged": False, "runAsUser": 0}
    assert container(pod(tty=False, volumeMounts=mounts, securityContext=security)) == {
        "volumeMounts": [{"name": "tmp", "mountPath": "/scratch"}],
        "securityContext": security,
    }


def test_the_string_data_of_a_secret_becomes_data_and_takes_precedence() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "x"}, "data": {"a": "bm8=", "b": "eQ=="}}
    assert normalize(secret) == {"apiVersion": "v1", "kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}}


def test_custom_resources_are_left_alone() -> None:
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "spec": {"odd": {"limits": {"cpu": "1000m"}}},
    }
    assert normalize(route) == route


def test_values_that_are_not_known_yet_leave_the_rest_unchanged() -> None:
    obj = pod(image=UNKNOWN, tty=False)
    assert normalize(obj) == obj


def test_metadata_that_only_the_server_writes_is_not_an_input() -> None:
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "1", "resourceVersion": "2"}}
    assert normalize(obj)["metadata"] == {"name": "a"}
