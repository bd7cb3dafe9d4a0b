"""Whether the kubeconfig's user may do what `up` does, asked of the API server before the first resource."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lookups.cluster import Cluster, ClusterError, ForbiddenError
from settings import Settings

_WRITE: Final = ("create", "patch")
_KINDS: Final = {
    "": (
        "configmaps",
        "limitranges",
        "persistentvolumeclaims",
        "resourcequotas",
        "secrets",
        "serviceaccounts",
        "services",
    ),
    "apps": ("deployments", "statefulsets"),
    "batch": ("cronjobs",),
    "cilium.io": ("ciliumnetworkpolicies",),
    "gateway.networking.k8s.io": ("httproutes",),
    "policy": ("poddisruptionbudgets",),
    "rbac.authorization.k8s.io": ("roles", "rolebindings"),
}
"""API group to the resources that every stack has in its namespace."""
_MONITORING: Final = {"monitoring.coreos.com": ("probes", "prometheusrules")}


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One verb on one kind of resource."""

    verb: str
    group: str
    resource: str
    namespace: str | None = None
    """None for what is of the whole cluster, and for all namespaces."""
    why: str = ""
    """What asks for it, where that is not the stack as such."""

    @property
    def kind(self) -> str:
        """Resource and group as kubectl writes them."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def check_permissions(settings: Settings, cluster: Cluster) -> None:
    """Raises `ClusterError` with everything that the user may not do; where the API server does not tell, nothing."""
    try:
        if cluster.may("*", "*", "*"):
            return
        missing = [
            one
            for one in needed(settings, cluster)
            if not cluster.may(one.verb, one.group, one.resource, one.namespace)
        ]
    except ForbiddenError:
        return
    if not missing:
        return
    told: dict[tuple[str | None, str, str], list[str]] = {}
    for one in missing:
        told.setdefault((one.namespace, one.kind, one.why), []).append(one.verb)
    listed = "\n".join(
        f"  {', '.join(verbs)} {kind}{f' in the namespace {namespace}' if namespace else ''}{f': {why}' if why else ''}"
        for (namespace, kind, why), verbs in told.items()
    )
    raise ClusterError(
        f"The kubeconfig's user may not do in the cluster {settings.cluster.context} what stack {settings.stack!r} "
        f"needs. Nothing was created or changed. What is missing:\n\n{listed}\n\n"
        "Have it granted by a Role or ClusterRole, or set KUBECONFIG to another user's (README, On the real cluster)."
    )


def needed(settings: Settings, cluster: Cluster) -> Iterator[Permission]:
    """What `up` creates and changes; what it deletes is left to the day on which it does."""
    own = settings.namespace
    exists = cluster.get("v1", "namespaces", own) is not None
    if not exists:
        yield Permission(verb="create", group="", resource="namespaces", why=f"the stack's own, {own}")
    # The API server takes a namespace for a part of itself: a role in it is enough to change it.
    yield Permission(verb="patch", group="", resource="namespaces", namespace=own, why="the stack's own")
    if settings.protect:
        for verb in ("get", "patch"):
            yield Permission(
                verb=verb,
                group="",
                resource="persistentvolumes",
                why="the database's volume outlives its claim (protect)",
            )
    if settings.backup and settings.backup.nfs:
        for verb in ("get", *_WRITE):
            yield Permission(verb=verb, group="", resource="persistentvolumes", why="backup.nfs")
    if settings.access.public:
        elsewhere = settings.access.public.cloudflared.namespace
        for verb in _WRITE:
            yield Permission(
                verb=verb,
                group="cilium.io",
                resource="ciliumnetworkpolicies",
                namespace=elsewhere,
                why="cloudflared's way to the app (access.public.cloudflared)",
            )
    # Before there is one, whoever may create namespaces may be given everything in those that they create.
    if exists:
        for group, resources in {**_KINDS, **(_MONITORING if settings.monitoring else {})}.items():
            for resource in resources:
                for verb in _WRITE:
                    yield Permission(verb=verb, group=group, resource=resource, namespace=own)
