"""Asks the API server, before the first resource, whether the kubeconfig's user may do what `up` does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from components import wal_archive
from components.admission_names import API_VERSION, POLICIES
from components.cloudnative_pg import API, RESOURCE
from components.deployer import grants
from lookups.cluster import Cluster, ClusterError, ForbiddenError
from settings import Settings

_WRITE: Final = ("create", "get", "patch")
_FOLLOW: Final = ("list", "watch")
_RBAC: Final = "rbac.authorization.k8s.io"
_KINDS: Final = {
    "": ("configmaps", "limitranges", "resourcequotas", "secrets", "serviceaccounts", "services"),
    "apps": ("deployments",),
    "cilium.io": ("ciliumnetworkpolicies",),
    "gateway.networking.k8s.io": ("httproutes",),
    "policy": ("poddisruptionbudgets",),
    _RBAC: ("roles", "rolebindings"),
}
"""The resources that every stack has in its namespace, by API group."""
_DATABASE: Final = {"": ("persistentvolumeclaims",), "apps": ("statefulsets",), "batch": ("cronjobs",)}
"""The additional ones of an app with a database."""
_MONITORING: Final = {"monitoring.coreos.com": ("probes", "prometheusrules")}
_OPERATED: Final = {API.partition("/")[0]: (RESOURCE,)}
_ARCHIVED: Final = {
    wal_archive.API.partition("/")[0]: (wal_archive.RESOURCE,),
    wal_archive.BACKUPS_API.partition("/")[0]: (wal_archive.BACKUPS_RESOURCE,),
}
_METRICS: Final = {"monitoring.coreos.com": ("podmonitors",)}
_ADMISSION: Final = API_VERSION.partition("/")[0]
_FOLLOWED: Final = {
    "": ("endpoints", "persistentvolumeclaims", "pods", "services"),
    "apps": ("deployments", "replicasets"),
    "gateway.networking.k8s.io": ("httproutes",),
}
"""What the plugin watches while it waits for a Deployment, a Service or an object with `pulumi.com/waitFor`. Without
the permission it waits for ever, whatever the timeout (pulumi-kubernetes, `WaitForCacheSync` in
provider/pkg/await/informers)."""
_FOLLOWED_DATABASE: Final = {"apps": ("statefulsets",)}
_FOLLOWED_TOKEN: Final = {"": ("secrets",)}


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Verbs on one kind of resource."""

    verbs: tuple[str, ...]
    group: str
    resource: str
    namespace: str | None = None
    """None for cluster-scoped resources, and for all namespaces."""
    why: str = ""
    """What needs the permission, if it is not the stack as such."""

    def __str__(self) -> str:
        # Resource and group as kubectl writes them.
        kind = f"{self.resource}.{self.group}" if self.group else self.resource
        place = f" in the namespace {self.namespace}" if self.namespace else ""
        return f"{', '.join(self.verbs)} {kind}{place}{f': {self.why}' if self.why else ''}"


def check_permissions(settings: Settings, cluster: Cluster) -> None:
    """Raises `ClusterError` with everything that the user may not do; passes if the API server does not say."""
    try:
        missing = [] if cluster.may("*", "*", "*") else list(_missing(settings, cluster))
    except ForbiddenError:
        return
    if missing:
        listed = "\n".join(f"  {one}" for one in missing)
        raise ClusterError(
            f"The kubeconfig's user lacks permissions that stack {settings.stack!r} needs in the cluster "
            f"{settings.cluster.context}. Nothing was created or changed. Missing:\n\n{listed}\n\n"
            "Grant them with a Role or ClusterRole, or set KUBECONFIG to that of another user (README, On the "
            "real cluster)."
        )


def _missing(settings: Settings, cluster: Cluster) -> Iterator[Permission]:
    may = cache(cluster.may)  # a rollout and the pipeline's Role need some of the same
    for one in needed(settings, cluster):
        verbs = tuple(verb for verb in one.verbs if not may(verb, one.group, one.resource, one.namespace))
        if verbs:
            yield replace(one, verbs=verbs)


def needed(settings: Settings, cluster: Cluster) -> Iterator[Permission]:
    """Permissions for what `up` creates and changes; those for what it deletes are not checked."""
    own = settings.namespace
    exists = cluster.get("v1", "namespaces", own) is not None
    if not exists:
        yield Permission(verbs=("create",), group="", resource="namespaces", why=f"the stack's own, {own}")
    # To the API server, a namespace is part of itself: a Role in it is enough to change it.
    yield Permission(verbs=("get", "patch"), group="", resource="namespaces", namespace=own, why="the stack's own")
    yield from _of_the_cluster(settings)
    if settings.access.public:
        yield Permission(
            verbs=_WRITE,
            group="cilium.io",
            resource="ciliumnetworkpolicies",
            namespace=settings.access.public.cloudflared.namespace,
            why="cloudflared's way to the app (access.public.cloudflared)",
        )
    # Only if it exists: a user who may create namespaces often gets every right in the ones they create.
    if exists:
        of_database = _DATABASE if settings.database else {}
        operated = _OPERATED if settings.database_of_operator else {}
        for kinds in (
            _KINDS,
            of_database,
            _MONITORING if settings.monitoring else {},
            _METRICS if settings.database_metrics else {},
            operated,
            _ARCHIVED if settings.wal else {},
        ):
            yield from _each(_WRITE, kinds, own)
        for kinds in (
            _FOLLOWED,
            _FOLLOWED_DATABASE if settings.database else {},
            _FOLLOWED_TOKEN if settings.delivery and not settings.delivery.has_id_tokens else {},
            operated,
        ):
            yield from _each(_FOLLOW, kinds, own, why="to wait until it is ready")
        if settings.delivery:
            yield from _granted(settings, cluster)


def _each(
    verbs: tuple[str, ...], kinds: Mapping[str, tuple[str, ...]], namespace: str, why: str = ""
) -> Iterator[Permission]:
    for group, resources in kinds.items():
        for resource in resources:
            yield Permission(verbs=verbs, group=group, resource=resource, namespace=namespace, why=why)


def _granted(settings: Settings, cluster: Cluster) -> Iterator[Permission]:
    """What the pipeline's Role grants: Kubernetes lets nobody grant what they may not do themselves.

    Unless they may `escalate` Roles and `bind` them (Kubernetes' documentation, RBAC, Privilege escalation prevention).
    """
    own = settings.namespace
    if cluster.may("escalate", _RBAC, "roles", own) and cluster.may("bind", _RBAC, "roles", own):
        return
    for one in grants(jobs=settings.database is not None):
        why = "the pipeline's Role grants it"
        yield Permission(verbs=one.verbs, group=one.group, resource=one.resource, namespace=own, why=why)


def _of_the_cluster(settings: Settings) -> Iterator[Permission]:
    volumes = Permission(verbs=("get", "patch"), group="", resource="persistentvolumes")
    if settings.protect and settings.database:
        yield replace(volumes, why="the database's volume outlives its claim (protect)")
    if settings.backup and settings.backup.nfs:
        yield replace(volumes, verbs=_WRITE, why="backup.nfs")
    if settings.delivery and settings.delivery.admission_policy:
        for resource in (POLICIES, "validatingadmissionpolicybindings"):
            yield Permission(verbs=_WRITE, group=_ADMISSION, resource=resource, why="delivery.admissionPolicy")
