"""Environment: the stack's namespace with its security labels, and the bounds of what may run in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.pods import PATCH_FORCE, Footprint, core, meta
from settings import Settings
from settings.names import PROGRAM, Names

LABELS: Final = {
    "pod-security.kubernetes.io/enforce": "baseline",
    # Stricter than what is enforced: a pod that falls back is seen before it could be refused.
    "pod-security.kubernetes.io/audit": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
}
"""Of the namespace, beside the owner's."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentArgs:
    """The whole settings, because the namespace serves all components, and the size of the quota."""

    settings: Settings
    workloads: Footprint
    """The most that all workloads use at the same time."""


class Environment(pulumi.ComponentResource):
    """The namespace, with its bounds.

    A quota that shrinks shrinks at once, while the pods of before still count: the app's resources can be lowered to a
    half in one `up` (the migration's share is unused meanwhile), to less in several.
    """

    names: Names
    """Names of everything in the namespace."""
    namespace: pulumi.Output[str]
    """Its name; known once it exists and is bounded."""
    protect: bool
    """Refuse to delete what holds data, and keep its volume when its claim leaves the program, or the cluster."""
    context: str
    """Context of the kubeconfig, for dynamic resources that reach the namespace without a provider."""
    priority_class: str | None
    """PriorityClass of the app's and the database's pods."""

    def __init__(self, name: str, args: EnvironmentArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:environment:Environment", name, None, opts)
        settings, names = args.settings, args.settings.names
        namespace = core.Namespace(
            "namespace",
            metadata=meta.ObjectMetaArgs(
                name=names.namespace,
                labels={**LABELS, **names.owner_labels},
                annotations=PATCH_FORCE,
            ),
            opts=ResourceOptions(parent=self, protect=settings.protect),
        )
        bounds = meta.ObjectMetaArgs(
            name=names.app,
            namespace=namespace.metadata.name,
            labels=names.owner_labels,
            annotations=PATCH_FORCE,
        )
        quota = core.ResourceQuota(
            "quota",
            metadata=bounds,
            spec=core.ResourceQuotaSpecArgs(hard=args.workloads.hard()),
            opts=ResourceOptions(parent=self),
        )
        limits = core.LimitRange(
            "limits",
            metadata=bounds,
            spec=core.LimitRangeSpecArgs(
                limits=[
                    # For pods that people start by hand: the quota refuses a container without requests and limits.
                    core.LimitRangeItemArgs(
                        type="Container",
                        default_request={"cpu": "50m", "memory": "64Mi"},
                        default={"cpu": "250m", "memory": "256Mi"},
                    )
                ]
            ),
            opts=ResourceOptions(parent=self),
        )
        # What uses the name waits for the bounds: a quota that grows must have grown before the pods do.
        self.namespace = pulumi.Output.all(namespace.metadata.name, quota.metadata.name, limits.metadata.name).apply(
            lambda names: str(names[0])
        )
        self.names = names
        self.protect, self.context = settings.protect, settings.cluster.context
        self.priority_class = settings.cluster.priority_class
        self.register_outputs({"namespace": self.namespace})

    def metadata(
        self,
        name: str,
        *,
        app: str | None = None,
        annotations: Mapping[str, pulumi.Input[str]] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> meta.ObjectMetaArgs:
        """Metadata of an object in the namespace. `app` is the value of its label, where that is not the name.

        `labels` are further ones.

        The name is explicit because pipelines and users type it.
        """
        return meta.ObjectMetaArgs(
            name=name,
            namespace=self.namespace,
            labels={**self.names.labels(app or name), **self.names.owner_labels, **(labels or {})},
            annotations={**PATCH_FORCE, **(annotations or {})},
        )
