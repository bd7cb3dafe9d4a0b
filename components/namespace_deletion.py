"""Refuses a `destroy` that could not finish, before it deletes anything.

Kubernetes deletes a namespace only once it has listed every kind in it. A single aggregated API that does not answer,
for example that of a removed metrics server, blocks the deletion of every namespace; pulumi_kubernetes then waits for
ten minutes and only names the namespace's own finalizer.

A Pulumi dynamic resource, because `destroy` does not run the program, so hooks and look-ups are not available.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult
from pulumi.runtime import register_stack_transformation

from lookups.cluster import Cluster, ClusterError, Object, connect
from lookups.credentials import CredentialsError

_API_SERVICES: Final = ("apiregistration.k8s.io/v1", "apiservices")


class NamespaceDeletionError(Exception):
    """The cluster could not delete the namespace; the message names what blocks it, and the remedy."""


class _NamespaceDeletionProvider(ResourceProvider):
    """Has no data: pickling records only the name of this class in the state."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any(olds.get(name) != value for name, value in news.items()))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["namespace"], props)

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(news)

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        try:
            held = list(unavailable(connect(props["context"])))
        except (ClusterError, CredentialsError):
            return  # unreachable, or forbidden to this user: deleting the namespace will report it
        if held:
            listed = "\n".join(f"  {one}" for one in held)
            raise NamespaceDeletionError(
                f"The namespace {props['namespace']} could not be deleted, and nothing was: Kubernetes deletes no "
                f"namespace while an aggregated API does not answer.\n\n{listed}\n\n"
                "Start its server or, if that is gone for good, delete the APIService "
                "(kubectl delete apiservice <name>). Then run the same command again."
            )


def unavailable(cluster: Cluster) -> Iterator[str]:
    """The APIServices whose server does not answer, each with its Service and the API server's reason."""
    for one in cluster.list(*_API_SERVICES):
        condition = _available(one)
        if condition.get("status") != "True":
            service = one["spec"].get("service") or {}
            of = f" (Service {service.get('namespace')}/{service.get('name')})" if service else ""
            why = condition.get("message") or condition.get("reason") or "the API server has not asked it yet"
            yield f"{one['metadata']['name']}{of}: {why}"


def _available(api_service: Object) -> Mapping[str, Any]:
    conditions: list[Object] = (api_service.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "Available"), {})


def registered_components() -> list[pulumi.Resource]:
    """A list to which each component that the program registers from now on is added, so that none is forgotten."""
    registered: list[pulumi.Resource] = []

    def note(args: pulumi.ResourceTransformationArgs) -> None:
        if isinstance(args.resource, pulumi.ComponentResource):
            registered.append(args.resource)

    register_stack_transformation(note)
    return registered


class NamespaceDeletion(Resource, module="namespace_deletion", name="NamespaceDeletion"):
    """Deleted before everything it depends on, and only if the cluster can then delete the namespace, too."""

    def __init__(
        self, name: str, *, context: str, namespace: pulumi.Input[str], stack: str, opts: pulumi.ResourceOptions
    ) -> None:
        props = {"context": context, "namespace": namespace, "stack": stack}
        super().__init__(_NamespaceDeletionProvider(), name, props, opts)
