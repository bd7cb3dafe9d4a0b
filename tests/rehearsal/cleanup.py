"""Removes what a test left on the shared control plane, faster than `kubectl delete namespace` would.

The namespace controller waits 5 s before it looks at a deleted namespace, and then backs off by its pods' grace period:
15 to 17 s in all after an `up`. A test's clean-up does the controller's work itself: it deletes the content, and
finalizes the namespace once it is empty. The product leaves all of this to Kubernetes.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from kubernetes.client import ApiClient, CoreV1Api, V1Namespace, V1ObjectMeta
from kubernetes.client.exceptions import NotFoundException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from kubernetes.dynamic.resource import Resource, ResourceList

from ops.clients import dynamic_client
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import plugin_path
from rehearsal.plugins.fork_server import fork_server
from rehearsal.rehearsal import Rehearsal, start_rehearsal
from rehearsal.toolchain import Tools
from rehearsal.vendors.onepassword import OnePassword
from tests.rehearsal.stack_files import write_stack_files
from tests.stacks import STACKS

APPS = ("invoicetron-", "ledger-", "leaflet-")
"""Prefixes of the namespaces of the apps that tests deploy."""
NAMESPACED = "all,secrets,cm,sa,roles,rolebindings,pvc,quota,limits,pdb,ciliumnetworkpolicies,httproutes"
"""The argument with which `kubectl get` lists everything that a stack makes in its namespace."""

PATIENCE = 60.0
"""Seconds until leftovers in a namespace are reported; seen: 1 s after an `up` of the whole program."""
_FIRST = ("CronJob", "Deployment", "StatefulSet", "Job", "ReplicaSet")
"""Kinds that would recreate pods while those are being deleted."""


@contextmanager
def rehearsed(
    tools: Tools, control_plane: ControlPlane, directory: Path, *, onepassword: OnePassword | None = None
) -> Iterator[Rehearsal]:
    """A rehearsal of the tests' own stack files; removes what it leaves on the shared control plane.

    `onepassword` is one that has outlived another rehearsal.
    """
    with start_rehearsal(
        tools, control_plane, directory, stack_files=STACKS, onepassword=onepassword, fork_server=_fork_server()
    ) as one:
        write_stack_files(one.program.directory)
        try:
            yield one
        finally:
            clean_up(one.client)


@cache
def _fork_server() -> Path:
    """The folder of one server for all rehearsals of this process: its forks are independent (test_fork_server.py)."""
    directory = Path(tempfile.mkdtemp(prefix="fork-server-"))
    stack = ExitStack()
    stack.callback(shutil.rmtree, directory, ignore_errors=True)  # pytest may have deleted all files of the run
    stack.enter_context(fork_server(directory, plugin_path.EVERY_STAND_IN))
    atexit.register(stack.close)
    return directory


def clean_up(client: ApiClient) -> None:
    """Deletes every stack's namespace, its content and its volumes, and returns once all of it is gone."""
    cluster = dynamic_client(client)
    namespaces = cluster.resources.get(api_version="v1", kind="Namespace").get().items
    names = [one.metadata.name for one in namespaces if one.metadata.name.startswith(APPS)]
    delete_namespaces(client, *names)
    volumes = cluster.resources.get(api_version="v1", kind="PersistentVolume")
    for volume in volumes.get().items:
        of = volume.spec.claimRef
        if of and of.namespace.startswith(APPS):  # one that is retained, perhaps longer than its namespace
            with suppress(NotFoundError):  # gone meanwhile: it was not retained
                volumes.delete(name=volume.metadata.name)
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):  # cluster-wide, as volumes are
        policies = cluster.resources.get(api_version="admissionregistration.k8s.io/v1", kind=kind)
        for policy in policies.get().items:
            if policy.metadata.name.startswith(APPS):
                policies.delete(name=policy.metadata.name)
    policies = cluster.resources.get(api_version="cilium.io/v2", kind="CiliumNetworkPolicy")
    _delete_all(policies, "cloudflare")


def delete_namespaces(client: ApiClient, *names: str) -> None:
    """Deletes namespaces and their content, and returns once all of it is gone, as `kubectl delete namespace` does."""
    cluster = dynamic_client(client)
    namespaces = cluster.resources.get(api_version="v1", kind="Namespace")
    for name in names:
        with suppress(NotFoundError):  # a test deleted it, and the controller has just finished
            namespaces.delete(name=name)  # from here on nothing can be created in it
    kinds = sorted(namespaced_kinds(cluster), key=lambda kind: kind.kind not in _FIRST)
    deadline = time.monotonic() + PATIENCE
    for name in names:
        for _ in range(2):  # the second time for what a controller was just creating
            _empty(name, kinds, deadline)
        with suppress(NotFoundError, NotFoundException):  # the controller was faster
            _finalize(client, namespaces, name)


def _empty(namespace: str, kinds: list[Resource], deadline: float) -> None:
    """Deletes a namespace's objects of these kinds, and looks again only at the kinds that had some."""
    left = kinds
    while left := [kind for kind in left if _delete_all(kind, namespace)]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"namespace {namespace}: {', '.join(kind.kind for kind in left)} stay")
        time.sleep(0.1)


def namespaced_kinds(cluster: DynamicClient) -> Iterator[Resource]:
    """Every namespaced kind that is stored, once: not reviews, and not a second version of the same."""
    seen = set()
    for found in cluster.resources:
        for kind in found if isinstance(found, list) else [found]:
            key = (kind.group, kind.kind)
            stored = not isinstance(kind, ResourceList) and kind.namespaced and "deletecollection" in kind.verbs
            if stored and key not in seen:
                seen.add(key)
                yield kind


def _delete_all(kind: Resource, namespace: str) -> bool:
    """Requests the deletion of all objects of a kind; returns whether there were any."""
    there = kind.get(namespace=namespace).items
    if there:
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        everything = f"metadata.namespace={namespace}"  # the client requires a selector
        kind.delete(namespace=namespace, body={**options, "propagationPolicy": "Background"}, field_selector=everything)
    return bool(there)


def _finalize(client: ApiClient, namespaces: Resource, name: str) -> None:
    live = namespaces.get(name=name)
    core = CoreV1Api(client)
    core.replace_namespace_finalize(name, V1Namespace(metadata=V1ObjectMeta(name=name, uid=live.metadata.uid)))
