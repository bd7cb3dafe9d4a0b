"""How long the stand-in for pulumi-kubernetes waits for objects, and what it says when they do not become ready."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from rehearsal.plugins.base import DiffKind, InitFailedError
from rehearsal.plugins.kubernetes.awaiting import Awaiter
from rehearsal.plugins.kubernetes.objects import Kind, Name
from rehearsal.plugins.kubernetes.provider import KubernetesPlugin
from rehearsal.plugins.values import Properties
from tests.rehearsal.kubernetes_standin.managed import Managed, configured, deployment, live, with_env


def test_a_rollout_is_awaited_and_its_failure_says_why(plugin: KubernetesPlugin, namespace: str) -> None:
    app = Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment")
    unpullable = deployment(namespace)  # no registry has the placeholder, and kwok reports it as a kubelet would
    pullable = with_env(unpullable, "2")
    pullable["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/app:sha1"
    app.up(pullable, timeout=60)
    assert live(plugin, app)["status"]["readyReplicas"] == 1
    with pytest.raises(InitFailedError, match="'app' timed out waiting to be Ready") as failure:
        app.up(unpullable, timeout=3)
    assert any("[ImagePullBackOff] Back-off pulling image" in reason for reason in failure.value.reasons)
    app.refresh()
    assert app.init_errors[0] == "Resource 'app' was created but failed to initialize"


def test_a_stateful_set_is_ready_when_its_claim_is_bound_and_its_new_revision_runs(
    plugin: KubernetesPlugin, namespace: str
) -> None:
    def inputs(value: str) -> Properties:
        container = {"name": "db", "image": "postgres:18-alpine", "env": [{"name": "A", "value": value}]}
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": namespace},
            "spec": {
                "serviceName": "db",
                "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container]}},
            },
        }

    database = Managed(plugin=plugin, type="kubernetes:apps/v1:StatefulSet")
    database.up(inputs("1"), timeout=60)
    database.up(inputs("2"), timeout=60)
    status = live(plugin, database)["status"]
    assert (status["readyReplicas"], status["currentRevision"]) == (1, status["updateRevision"])


def test_a_claim_is_awaited_until_it_is_bound_and_then_grown_in_place(plugin: KubernetesPlugin, namespace: str) -> None:
    class_ = f"of-{namespace}"  # so that this claim and this volume find each other

    def claim_of(size: str, storage_class: str = class_) -> Properties:
        resources = {"requests": {"storage": size}}
        spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class, "resources": resources}
        metadata = {"name": "data", "namespace": namespace}
        return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}

    volume = Managed(plugin=plugin, type="kubernetes:core/v1:PersistentVolume")
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": class_, "hostPath": {"path": "/volume"}}
    metadata = {"name": class_, "annotations": {"pulumi.com/deletionPropagationPolicy": "background"}}
    spec |= {"capacity": {"storage": "1Gi"}}
    volume.up({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}, timeout=60)
    claim = Managed(plugin=plugin, type="kubernetes:core/v1:PersistentVolumeClaim")
    claim.up(claim_of("1Gi"))
    assert live(plugin, claim)["status"]["phase"] == "Bound"
    assert claim.diff(claim_of("2Gi")).changes == {"spec.resources.requests.storage": DiffKind.UPDATE}
    assert claim.diff(claim_of("1Gi", "other")).delete_before_replace
    claim.destroy(timeout=60)
    volume.destroy(timeout=60)


def test_a_job_is_awaited_until_it_completes(plugin: KubernetesPlugin, namespace: str) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "once", "image": "app"}]}
    metadata = {"name": "once", "namespace": namespace}
    inputs = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
    job = Managed(plugin=plugin, type="kubernetes:batch/v1:Job")
    job.up(inputs, timeout=60)
    assert live(plugin, job)["status"]["succeeded"] == 1


def test_a_service_settles_for_as_long_as_with_the_real_plugin_and_a_headless_one_at_once(
    plugin: KubernetesPlugin, namespace: str
) -> None:
    def inputs(name: str, **spec: str) -> Properties:
        ports = [{"name": "http", "port": 80}]
        metadata = {"name": name, "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "none"}, "ports": ports, **spec},
        }

    begun = time.monotonic()
    Managed(plugin=plugin, type="kubernetes:core/v1:Service").up(inputs("headless", clusterIP="None"))
    assert time.monotonic() - begun < 5
    begun = time.monotonic()
    Managed(plugin=plugin, type="kubernetes:core/v1:Service").up(inputs("plain"))
    assert time.monotonic() - begun >= Awaiter.settling


def test_wait_for_holds_the_program_until_the_expression_is_true(
    plugin: KubernetesPlugin, namespace: str, kubectl: Callable[..., None]
) -> None:
    metadata = {
        "name": "waits",
        "namespace": namespace,
        "annotations": {"pulumi.com/waitFor": 'jsonpath={.metadata.labels["done"]}=yes'},
    }
    inputs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    never = Managed(plugin=plugin, type="kubernetes:core/v1:ServiceAccount")
    with pytest.raises(InitFailedError, match="timed out waiting for the condition"):
        never.up(inputs, timeout=1)
    # The update would take over a label set under kubectl's own name, and remove it, as the program has none.
    kubectl("label", "serviceaccount", "waits", "done=yes", "--field-manager=controller")
    assert never.up(inputs, timeout=5, preview=False) == "update"


def test_cancelling_ends_the_wait(kubeconfig: Path, namespace: str) -> None:
    plugin = configured(kubeconfig)
    inputs = deployment(namespace)
    inputs["spec"]["template"]["spec"]["nodeSelector"] = {"no": "node"}
    threading.Timer(1, plugin.cancel).start()
    begun = time.monotonic()
    with pytest.raises(InitFailedError, match='operation was cancelled for "app"'):
        Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment").up(inputs)
    assert time.monotonic() - begun < 10


def test_a_deleted_namespace_is_awaited_until_it_is_gone(plugin: KubernetesPlugin) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:Namespace")
    resource.up({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    resource.destroy(timeout=60)
    assert plugin._cluster is not None
    with pytest.raises(Exception, match="not found"):
        plugin._cluster.get(Kind("v1", "Namespace"), Name("", name))
