"""Refuses everything with another stack's mark that this stack would use, in one message, before the first resource.

A copied stack file names another stack's environment, hostname or item. Without this check, `up` would import what it
finds there, and `destroy` would delete it. An object without a mark was created by hand, or by a release that set none;
then its owner is read from what the object points to, if that tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml

from components.admission_names import API_VERSION, PARTS, POLICIES, policy_name
from components.network import POD_NAMESPACE
from lookups.cluster import Cluster, ForbiddenError, Object
from settings import Settings
from settings.backup import NfsExport
from settings.names import Names
from settings.ownership import Owner
from settings.stack_file import read_yaml, split

_ROUTES: Final = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One object that the stack would create or take over but that belongs to somebody else."""

    what: str
    """What it is, with its name and place."""
    owner: str
    """The owner: another stack, or a description of what is there."""
    evidence: str
    """What shows the owner, e.g. `its description`."""
    setting: str
    """Key in the stack file that names the object."""


class OwnershipError(pulumi.RunError):
    """The stack would take over what belongs to somebody else; the message lists all of it."""


MIRROR_KEY: Final = "mirror_key"
"""The stack's output that only a stack with a repository has."""


def check_ownership(
    settings: Settings,
    cluster: Cluster,
    claims: Iterable[Claim],
    folders: Iterable[Path] = (),
    *,
    outputs: Collection[str] = (),
) -> None:
    """Raises `OwnershipError` if anything belongs to somebody else, in the cluster or in `claims` of other look-ups.

    `folders` are those of `project_folders`; `outputs` are the names of the stack's own outputs so far.
    """
    found = [*in_cluster(settings, cluster), *claims]
    if MIRROR_KEY not in outputs:
        found += _repository(settings, cluster, folders)
    listed = [
        f"  {one.what}\n    belongs to {one.owner}, as {one.evidence} shows: change {one.setting}" for one in found
    ]
    if listed:
        text = "\n".join(listed)
        raise OwnershipError(
            f"Stack {settings.stack!r} would take over another owner's resources. Nothing was created or changed.\n\n"
            f"{text}\n\n"
            f"If Pulumi.{settings.stack}.yaml is a copy of another stack's file, give this stack names of its own. "
            "If the other owner no longer exists, first delete by hand what it has left."
        )


def in_cluster(settings: Settings, cluster: Cluster) -> Iterator[Claim]:
    """What belongs to somebody else in the cluster: the namespace, the hostname's route, the policy beside the tunnel.

    Also the admission policies and the folder of the backups.
    """
    namespace = cluster.get("v1", "namespaces", settings.namespace)
    if (owner := _another(settings, namespace)) is not None:
        yield Claim(
            what=f"the namespace {settings.namespace}",
            owner=f"{owner}",
            evidence="its labels",
            setting="the name of the project or of the stack, which the namespace follows from",
        )
    yield from _routes(settings, cluster)
    if settings.access.public is not None:
        yield from _tunnel_policy(settings, settings.access.public.cloudflared.namespace, cluster)
    if settings.delivery is not None and settings.delivery.admission_policy:
        yield from _admission_policies(settings, cluster)
    if settings.backup is not None and settings.backup.nfs is not None:
        yield from _export(settings, settings.backup.nfs, cluster)


def _another(settings: Settings, found: Object | None) -> Owner | None:
    """The owner of an object by its labels; None if it does not exist, is this stack's own, or names nobody."""
    owner = Owner.of_labels(found["metadata"].get("labels")) if found is not None else None
    return None if owner == settings.names.owner else owner


def _routes(settings: Settings, cluster: Cluster) -> Iterator[Claim]:
    hostnames = settings.access.hostnames
    try:
        routes = cluster.list(_ROUTES, "httproutes")
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether another route serves {' or '.join(hostnames)}. {error}")
        return
    for route in routes:
        meta = route["metadata"]
        if (meta["namespace"], meta["name"]) == (settings.namespace, settings.names.app):
            continue
        for hostname in _competing(route, settings):
            place = f"{meta['namespace']}/{meta['name']}"
            owner = Owner.of_labels(meta.get("labels")) or owner_of_namespace(
                cluster, meta["namespace"], project=settings.project
            )
            yield Claim(
                what=f"the hostname {hostname}",
                owner=f"{owner or 'the creator of that route'}",
                evidence=f"the HTTPRoute {place}",
                setting=settings.access.hostname_key,
            )


def _competing(route: Object, settings: Settings) -> list[str]:
    """The stack's hostnames that the route also serves at the same Gateway.

    A route that only redirects (from http to https, at another listener) takes no requests from the app.
    """
    spec = route.get("spec", {})
    served = {str(name).casefold() for name in spec.get("hostnames") or ()}
    rules = spec.get("rules") or [{}]
    if all(_redirects(rule) for rule in rules):
        return []
    gateway = settings.access.gateway
    parents = {
        (parent.get("namespace", route["metadata"]["namespace"]), parent["name"])
        for parent in spec.get("parentRefs") or ()
    }
    if (gateway.namespace, gateway.name) not in parents and Owner.of_labels(route["metadata"].get("labels")) is None:
        return []
    return [hostname for hostname in settings.access.hostnames if hostname in served]


def _redirects(rule: Mapping[str, Any]) -> bool:
    return not rule.get("backendRefs") and any(
        one.get("type") == "RequestRedirect" for one in rule.get("filters") or ()
    )


def _tunnel_policy(settings: Settings, namespace: str, cluster: Cluster) -> Iterator[Claim]:
    try:
        policy = cluster.get("cilium.io/v2", "ciliumnetworkpolicies", settings.names.cloudflared_egress, namespace)
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether another stack lets the tunnel's connector reach its app. {error}")
        return
    if policy is None:
        return
    owner, evidence = Owner.of_labels(policy["metadata"].get("labels")), "its labels"
    if owner is None:
        leads_to = [
            peer.get("matchLabels", {}).get(POD_NAMESPACE, "")
            for rule in policy.get("spec", {}).get("egress") or ()
            for peer in rule.get("toEndpoints") or ()
        ]
        owner, evidence = _leading_to(cluster, leads_to, settings.project), "where it leads"
    if owner not in {None, settings.names.owner}:
        yield Claim(
            what=f"the CiliumNetworkPolicy {namespace}/{settings.names.cloudflared_egress}",
            owner=f"{owner}",
            evidence=evidence,
            setting="access.public: one stack of a cluster has it",
        )


def _admission_policies(settings: Settings, cluster: Cluster) -> Iterator[Claim]:
    """The policies for the pipeline's account are cluster-scoped, and so are their names."""
    for what in PARTS:
        name = policy_name(settings.namespace, what)
        try:
            policy = cluster.get(API_VERSION, POLICIES, name)
        except ForbiddenError as error:
            pulumi.log.warn(f"Cannot check whether another stack has the ValidatingAdmissionPolicy {name}. {error}")
            return
        if (owner := _another(settings, policy)) is not None:
            yield Claim(
                what=f"the ValidatingAdmissionPolicy {name}",
                owner=f"{owner}",
                evidence="its labels",
                setting="delivery.admissionPolicy to false",
            )


def _export(settings: Settings, nfs: NfsExport, cluster: Cluster) -> Iterator[Claim]:
    """The folder of another stack's backups, if this stack has no volume there yet: each would prune the other's."""
    try:
        volumes = {volume["metadata"]["name"]: volume for volume in cluster.list("v1", "persistentvolumes")}
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether {nfs.server}:{nfs.path} holds another stack's backups. {error}")
        return
    if settings.names.backups_export in volumes:
        return
    for name, volume in volumes.items():
        export, owner = volume["spec"].get("nfs") or {}, _another(settings, volume)
        same = (export.get("server"), str(export.get("path")).rstrip("/")) == (nfs.server, nfs.path.rstrip("/"))
        if same and owner is not None:
            yield Claim(
                what=f"the folder {nfs.server}:{nfs.path}",
                owner=f"{owner}",
                evidence=f"the PersistentVolume {name}",
                setting="backup.nfs.path",
            )


def _leading_to(cluster: Cluster, namespaces: Iterable[str], project: str) -> Owner | None:
    found = (owner_of_namespace(cluster, namespace, project=project) for namespace in namespaces)
    return next((one for one in found if one), None)


def owner_of_namespace(cluster: Cluster, namespace: str, *, project: str) -> Owner | None:
    """The owner of a namespace: by its labels, or else by its name if it is a namespace of `project`."""
    with suppress(ForbiddenError):
        found = cluster.get("v1", "namespaces", namespace) if namespace else None
        if found is not None and (owner := Owner.of_labels(found["metadata"].get("labels"))):
            return owner
    return Owner.of_namespace(namespace, project=project)


def project_folders(directory: Path) -> list[Path]:
    """Folders with the Pulumi.yaml of an app that this program deploys, including `directory`."""
    program = Path(__file__).parents[1]
    # Resolved, so that no folder is listed twice. This file's path is not resolved: it may be a link from elsewhere.
    return sorted({folder.resolve() for folder in (program, *program.glob("apps/*"), directory)})


def _repository(settings: Settings, cluster: Cluster, folders: Iterable[Path]) -> Iterator[Claim]:
    """For a stack that has no repository yet, an existing stack's section `repository` about the same project.

    A push mirror, a branch and a protection have no text that could name their owner.
    """
    if settings.repository is None or settings.delivery is None:
        return
    for names, file, project in _shared_repositories(folders):
        if (
            names != settings.names
            and project == settings.delivery.project
            and cluster.get("v1", "namespaces", names.namespace) is not None
        ):
            yield Claim(
                what=f"mirror, branches and protections of the GitLab project {project}",
                owner=f"{names.owner}",
                evidence=f"the section repository of {file.name}",
                setting="this by leaving the section repository out",
            )


def _shared_repositories(folders: Iterable[Path]) -> Iterator[tuple[Names, Path, str]]:
    """Stacks with a section `repository`, their files, and the GitLab projects for which they have it."""
    for file in sorted(file for folder in folders for file in folder.glob("Pulumi.*.yaml")):
        # If a file cannot be read, its own stack reports it.
        with suppress(OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
            app = read_yaml(file.with_name("Pulumi.yaml"))["name"]
            config, _ = split(read_yaml(file)["config"], app)
            if config.get("repository") not in (None, {"enabled": False}):
                stack = file.name.removeprefix("Pulumi.").removesuffix(".yaml")
                yield Names(app, stack), file, config["delivery"]["project"]
