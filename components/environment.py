"""Environment: the stack's namespace with its security labels, and the limits for what runs in it."""

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
    # Stricter than what is enforced, so that a less secure pod is noticed before it would be refused.
    "pod-security.kubernetes.io/audit": "restricted",
    "pod-security.kubernetes.io/warn": "restricted",
}
"""Labels of the namespace, besides the owner labels."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentArgs:
    """The whole settings, because the namespace serves all components, and the size of the quota."""

    settings: Settings
    workloads: Footprint
    """The most that all workloads use at the same time."""


class Environment(pulumi.ComponentResource):
    """The namespace, with its limits.

    A lower quota applies at once, while the old pods still count: one `up` can lower the app's resources by half (the
    migration's share is unused meanwhile); to lower them further takes several.
    """

    names: Names
    """Names of everything in the namespace."""
    namespace: pulumi.Output[str]
    """The namespace's name; known once the namespace and its limits exist."""
    protect: bool
    """Refuse to delete what holds data, and keep its volume when its claim leaves the program or the cluster."""
    context: str
    """Context in the kubeconfig, for dynamic resources that reach the namespace without a provider."""
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
                    # For pods that people start by hand: the quota refuses containers without requests and limits.
                    core.LimitRangeItemArgs(
                        type="Container",
                        default_request={"cpu": "50m", "memory": "64Mi"},
                        default={"cpu": "250m", "memory": "256Mi"},
                    )
                ]
            ),
            opts=ResourceOptions(parent=self),
        )
        # Whatever uses the name waits for the limits: a quota must grow before the pods do.
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
        """Metadata of an object in the namespace. `app` is the value of the label `app`, by default the name.

        `labels` are additional ones.

        The name is explicit because pipelines and users type it.
        """
        return meta.ObjectMetaArgs(
            name=name,
            namespace=self.namespace,
            labels={**self.names.labels(app or name), **self.names.owner_labels, **(labels or {})},
            annotations={**PATCH_FORCE, **(annotations or {})},
        )
