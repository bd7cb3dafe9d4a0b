"""Creating, changing, reading and deleting objects of a real API server through the stand-in for pulumi-kubernetes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rehearsal.plugins.base import PluginError
from rehearsal.plugins.kubernetes.objects import Kind, Name
from rehearsal.plugins.kubernetes.provider import KubernetesPlugin
from rehearsal.plugins.values import UNKNOWN, Properties, Secret, has_secret, plain
from tests.rehearsal.kubernetes_standin.managed import Managed, configured, deployment, live


def test_creating_an_object_that_exists_fails_only_after_its_preview_has_passed(
    plugin: KubernetesPlugin, namespace: str
) -> None:
    inputs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "taken", "namespace": namespace}}
    Managed(plugin=plugin, type="kubernetes:core/v1:ServiceAccount").up(inputs)
    other = Managed(plugin=plugin, type="kubernetes:core/v1:ServiceAccount")
    assert other.preview(inputs) == "create"
    with pytest.raises(
        PluginError, match=r'not successfully created.*serviceaccounts "taken" already exists'
    ) as refusal:
        other.up(inputs)
    assert "\n\nThe resource already exists in the cluster. This can happen when:\n" in str(refusal.value)


def test_a_preview_creates_nothing_and_passes_before_its_namespace_exists(plugin: KubernetesPlugin) -> None:
    inputs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "early", "namespace": "not-there-yet"}}
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:ServiceAccount")
    assert resource.preview(inputs) == "create"
    assert resource.id == ""


def test_values_that_are_not_known_yet_pass_through_a_preview(plugin: KubernetesPlugin, namespace: str) -> None:
    metadata = {"name": "later", "namespace": namespace, "annotations": {"value": UNKNOWN}}
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:ServiceAccount")
    assert resource.preview({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}) == "create"


def test_a_kind_the_server_does_not_know_passes_the_preview_and_then_fails(
    monkeypatch: pytest.MonkeyPatch, plugin: KubernetesPlugin, namespace: str
) -> None:
    monkeypatch.setattr(KubernetesPlugin, "retry_delays", (0.01, 0.01))
    inputs = {"apiVersion": "example.com/v1", "kind": "Odd", "metadata": {"name": "odd", "namespace": namespace}}
    resource = Managed(plugin=plugin, type="kubernetes:example.com/v1:Odd")
    assert resource.preview(inputs) == "create"
    with pytest.raises(PluginError, match=r'no matches for kind "Odd" in version "example.com/v1"'):
        resource.up(inputs)


def test_the_data_of_a_secret_is_recorded_as_secret_and_changed_in_place(
    plugin: KubernetesPlugin, namespace: str
) -> None:
    def inputs(password: str) -> Properties:
        metadata = {"name": "credentials", "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": Secret({"password": password}),
        }

    secret = Managed(plugin=plugin, type="kubernetes:core/v1:Secret")
    secret.up(inputs("one"))
    uid = live(plugin, secret)["metadata"]["uid"]
    assert secret.up(inputs("two")) == "update"
    assert live(plugin, secret)["metadata"]["uid"] == uid
    for recorded in (secret.inputs, secret.outputs, secret.outputs["__inputs"]):
        assert has_secret(recorded["data"])
        assert "stringData" not in recorded


def test_a_secret_is_replaced_if_the_provider_does_not_call_secrets_mutable(kubeconfig: Path, namespace: str) -> None:
    plugin = configured(kubeconfig, enableSecretMutable="false")
    metadata = {"name": "credentials", "namespace": namespace}
    inputs: Properties = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"a": "YQ=="}}
    secret = Managed(plugin=plugin, type="kubernetes:core/v1:Secret")
    secret.up(inputs)
    uid = live(plugin, secret)["metadata"]["uid"]
    assert secret.up({**inputs, "data": {"a": "Yg=="}}) == "replace"
    assert live(plugin, secret)["metadata"]["uid"] != uid


def test_drift_is_read_back_in_the_shape_of_the_inputs_and_healed(
    namespace: str, kubeconfig: Path, kubectl: Callable[..., None]
) -> None:
    metadata = {"name": "settings", "namespace": namespace}
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "ours"}}
    plugin = configured(kubeconfig, enableConfigMapMutable="true")
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:ConfigMap")
    resource.up(inputs)
    kubectl("patch", "configmap", "settings", "--patch", '{"data": {"key": "theirs", "another": "key"}}')
    resource.refresh()
    assert resource.inputs["data"] == {"key": "theirs"}
    assert resource.up(inputs, preview=False) == "update"
    # What kubectl owned was taken over, and so what the program does not state is gone too.
    assert live(plugin, resource)["data"] == {"key": "ours"}


def test_an_object_that_is_gone_leaves_the_state_at_the_next_refresh(plugin: KubernetesPlugin, namespace: str) -> None:
    inputs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gone", "namespace": namespace}}
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:ServiceAccount")
    resource.up(inputs)
    assert plugin._cluster is not None
    plugin._cluster.delete(Kind("v1", "ServiceAccount"), Name(namespace, "gone"), propagation="Background")
    resource.refresh()
    assert resource.id == ""


def test_an_import_reads_everything_that_a_program_could_state(plugin: KubernetesPlugin, namespace: str) -> None:
    Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment").up(
        deployment(namespace, **{"pulumi.com/skipAwait": "true"})
    )
    imported = Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment", id=f"{namespace}/app")
    imported.refresh()
    assert imported.inputs["spec"]["progressDeadlineSeconds"] == 600
    assert "status" not in imported.inputs
    assert not {"uid", "resourceVersion", "managedFields"} & imported.inputs["metadata"].keys()


def test_defaults_and_values_that_the_server_normalizes_are_no_difference(
    plugin: KubernetesPlugin, namespace: str
) -> None:
    inputs = deployment(namespace, **{"pulumi.com/skipAwait": "true"})
    container = inputs["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": "2000m"}}
    container["volumeMounts"] = [{"name": "tmp", "mountPath": "/scratch", "readOnly": False}]
    inputs["spec"]["template"]["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}}]
    app = Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment")
    app.up(inputs)
    app.refresh()
    assert app.diff(inputs).changes == {}


def test_with_an_unreachable_cluster_only_previews_of_new_objects_pass(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {}}],"
        " contexts: [{name: homelab, context: {cluster: c, user: u}}]}"
    )
    plugin = configured(kubeconfig)
    inputs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:Namespace")
    assert resource.preview(inputs) == "create"
    with pytest.raises(PluginError, match="configured Kubernetes cluster is unreachable"):
        resource.up(inputs, preview=False)
    with pytest.raises(PluginError, match="PULUMI_K8S_DELETE_UNREACHABLE"):
        Managed(plugin=plugin, type=resource.type, id="n", inputs=inputs, outputs=inputs).refresh()


def test_a_resource_without_a_name_gets_one_and_keeps_it(plugin: KubernetesPlugin, namespace: str) -> None:
    inputs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace}}
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:ServiceAccount", name="worker")
    resource.up(inputs)
    assert resource.id.startswith(f"{namespace}/worker-")
    assert resource.up(inputs) == "same"
    assert not plain(resource.outputs)["metadata"].get("labels")


def test_pod_security_warnings_of_the_server_reach_the_user(
    plugin: KubernetesPlugin, namespace: str, kubectl: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted")
    Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment").up(
        deployment(namespace, **{"pulumi.com/skipAwait": "true"})
    )
    assert 'warning: Deployment app: would violate PodSecurity "restricted:latest"' in capsys.readouterr().err
