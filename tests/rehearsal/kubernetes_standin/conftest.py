"""A provider, a namespace for each test, and `kubectl`, for tests of the stand-in for pulumi-kubernetes."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.plugins.kubernetes.provider import KubernetesPlugin
from rehearsal.toolchain import Tools
from tests.rehearsal.kubernetes_standin.managed import Managed, configured


@pytest.fixture
def kubeconfig(control_plane: ControlPlane) -> Path:
    return control_plane.kubeconfig


@pytest.fixture
def plugin(kubeconfig: Path) -> KubernetesPlugin:
    return configured(kubeconfig)


@pytest.fixture
def namespace(plugin: KubernetesPlugin) -> Iterator[str]:
    """A namespace for the test alone, deleted at its end without waiting."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    resource = Managed(plugin=plugin, type="kubernetes:core/v1:Namespace")
    annotations = {"pulumi.com/skipAwait": "true"}
    resource.up({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}})
    yield name
    resource.destroy()


@pytest.fixture
def kubectl(tools: Tools, kubeconfig: Path, namespace: str) -> Callable[..., None]:
    """Runs `kubectl` in the test's namespace, as a user or a pipeline would."""

    def run(*arguments: str) -> None:
        command = [str(tools.kubectl), "--kubeconfig", str(kubeconfig), "--namespace", namespace, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    return run
