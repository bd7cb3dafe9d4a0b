"""The control plane is real, and the stand-ins for nodes and volumes are no more lenient than the real thing."""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from kubernetes.client import BatchV1Api, CoreV1Api
from kubernetes.client.exceptions import ApiException

from rehearsal.cluster.controllers import STEP
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.processes import ProcessError
from rehearsal.toolchain import Tools

_PATIENCE = 60.0  # seconds; each of these takes one or two

Core = Any
"""CoreV1Api; its own models make every field of an answer optional, and its own types refuse plain objects."""


@pytest.fixture
def core(control_plane: ControlPlane) -> Iterator[Core]:
    with control_plane.client() as client:
        yield CoreV1Api(client)


@pytest.fixture
def namespace(core: Core) -> Iterator[str]:
    """A namespace for the test alone, deleted at its end without waiting."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "baseline"}
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    eventually(lambda: core.list_namespaced_service_account(name).items)
    yield name
    core.delete_namespace(name)


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)


def pod(name: str, image: str, **security: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": image, "securityContext": security}]},
    }


def claim(size: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def test_a_pod_is_ready_unless_its_image_is_the_placeholder(core: Core, namespace: str) -> None:
    def ready(name: str) -> bool:
        conditions = core.read_namespaced_pod(name, namespace).status.conditions or []
        return any(one.type == "Ready" and one.status == "True" for one in conditions)

    def waiting() -> list[str]:
        containers = core.read_namespaced_pod("placeholder", namespace).status.container_statuses or []
        return [one.state.waiting.reason for one in containers]

    core.create_namespaced_pod(namespace, pod("placeholder", "registry.example.com/app:placeholder"))
    eventually(waiting)
    core.create_namespaced_pod(namespace, pod("pushed", "registry.example.com/app:0123abcd"))
    eventually(lambda: ready("pushed"))
    assert waiting() == ["ImagePullBackOff"]
    assert not ready("placeholder")
    assert core.read_namespaced_pod("placeholder", namespace).status.phase == "Pending"


def test_a_job_releases_a_pod_that_is_deleted_before_it_could_run(core: Core, namespace: str) -> None:
    # There is no database in this namespace, so the script cannot be started.
    scripts = {"name": "main", "image": "postgres:18-alpine", "command": ["sh", "/scripts/drill.sh"]}
    failures = {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3]}}]}
    template = {"spec": {"restartPolicy": "Never", "containers": [scripts]}}
    job: Any = {"metadata": {"name": "drill"}, "spec": {"podFailurePolicy": failures, "template": template}}
    BatchV1Api(core.api_client).create_namespaced_job(namespace, job)

    def waiting() -> list[str]:
        pods = core.list_namespaced_pod(namespace).items
        return [
            one.metadata.name for one in pods for state in one.status.container_statuses or [] if state.state.waiting
        ]

    eventually(waiting)
    (first,) = waiting()
    core.delete_namespaced_pod(first, namespace)
    eventually(lambda: first not in [one.metadata.name for one in core.list_namespaced_pod(namespace).items])


def test_pod_security_is_enforced(core: Core, namespace: str) -> None:
    with pytest.raises(ApiException, match="violates PodSecurity"):
        core.create_namespaced_pod(namespace, pod("admin", "busybox:1", capabilities={"add": ["SYS_ADMIN"]}))


def test_a_claim_is_bound_and_grows_and_never_shrinks(core: Core, namespace: str) -> None:
    def capacity() -> str:
        found = core.read_namespaced_persistent_volume_claim("data", namespace).status
        return str(found.capacity["storage"]) if found.phase == "Bound" else "not bound"

    core.create_namespaced_persistent_volume_claim(namespace, claim("1Gi"))
    eventually(lambda: capacity() == "1Gi")
    core.patch_namespaced_persistent_volume_claim("data", namespace, {"spec": claim("2Gi")["spec"]})
    eventually(lambda: capacity() == "2Gi")
    with pytest.raises(ApiException, match="can not be less than"):
        core.patch_namespaced_persistent_volume_claim("data", namespace, {"spec": claim("1Gi")["spec"]})


@pytest.mark.parametrize(("policy", "left"), [("Delete", {}), ("Retain", {"data": "Released"})])
def test_the_volume_of_a_deleted_claim_goes_with_it_unless_it_is_retained(
    core: Core, namespace: str, policy: str, left: dict[str, str]
) -> None:
    def volumes() -> dict[str, str]:
        ours = [one for one in core.list_persistent_volume().items if one.spec.claim_ref.namespace == namespace]
        return {one.spec.claim_ref.name: one.status.phase for one in ours}

    core.create_namespaced_persistent_volume_claim(namespace, claim("1Gi"))
    eventually(lambda: volumes() == {"data": "Bound"})
    name = core.read_namespaced_persistent_volume_claim("data", namespace).spec.volume_name
    core.patch_persistent_volume(name, {"spec": {"persistentVolumeReclaimPolicy": policy}})
    core.delete_namespaced_persistent_volume_claim("data", namespace)
    eventually(lambda: volumes() == left)
    time.sleep(2 * STEP)
    assert volumes() == left
    if left:
        core.delete_persistent_volume(name)


def test_access_requires_the_kubeconfig_and_only_its_authority_vouches_for_the_server(
    control_plane: ControlPlane,
) -> None:
    (cluster,) = yaml.safe_load(control_plane.kubeconfig.read_text())["clusters"]
    assert set(cluster["cluster"]) == {"server", "certificate-authority-data"}
    assert control_plane.kubeconfig.stat().st_mode & 0o077 == 0
    namespaces = f"{control_plane.url}/api/v1/namespaces"
    ours = ssl.create_default_context(cadata=control_plane.ca)
    assert httpx.get(namespaces, verify=ours).status_code == 403
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(namespaces)


def test_two_control_planes_at_the_same_time_are_isolated(
    tools: Tools, control_plane: ControlPlane, core: Core, namespace: str, tmp_path: Path
) -> None:
    def namespaces(of: Core) -> set[str]:
        return {one.metadata.name for one in of.list_namespace().items}

    with ControlPlane(tools, tmp_path / "other") as other:
        assert other.url != control_plane.url
        with other.client() as client:
            assert namespace not in namespaces(CoreV1Api(client))
    assert all(child.process.returncode is not None for child in other._children)
    assert namespace in namespaces(core)


def test_the_error_names_a_part_that_does_not_start_with_its_last_output(tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "etcd"
    broken.write_text("#!/bin/sh\necho no space left on device\nexit 1\n")
    broken.chmod(0o755)
    plane = ControlPlane(replace(tools, etcd=broken), tmp_path / "broken")
    with pytest.raises(ProcessError, match=r"(?s)^etcd ended with status 1 .*no space left on device"), plane:
        pass
    assert all(child.process.returncode is not None for child in plane._children)
