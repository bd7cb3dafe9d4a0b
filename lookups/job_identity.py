"""The user that a pipeline job's ID token stands for, and the CA certificate by which the job knows the API server.

The API server derives the user name from the token's claims, by its AuthenticationConfiguration; docs/app-pipeline.md
has the right one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lookups.cluster import Cluster, ClusterError, ForbiddenError
from lookups.gitlab import GitLabProject, is_protected
from settings import Settings
from settings.delivery import DeliverySettings

ROOT_CA: Final = "kube-root-ca.crt"
"""ConfigMap that Kubernetes creates in every namespace: the API server's CA certificate."""
_KEY: Final = "ca.crt"
_CONFIGURED: Final = "--authentication-config"


@dataclass(frozen=True, kw_only=True)
class JobIdentity:
    """What the cluster and the pipeline have to agree on."""

    user: str
    """Name of the user as whom the API server authenticates the job."""
    certificate_authority: str
    """The API server's CA certificate: PEM in base64 on one line, like a kubeconfig's `certificate-authority-data`."""


def job_user(project_id: str, delivery: DeliverySettings) -> str:
    """The user name that the AuthenticationConfiguration in docs/app-pipeline.md produces.

    No part can contain the colon that separates them, and GitLab never reuses the number of a project.
    """
    return f"gitlab:project:{project_id}:branch:{delivery.branch}:environment:{delivery.environment.name}"


def read_job_identity(settings: Settings, project: GitLabProject, cluster: Cluster) -> JobIdentity | None:
    """Asks the cluster; None if the pipeline has its own token. Raises `ClusterError`."""
    delivery = settings.delivery
    if delivery is None or not delivery.has_id_tokens:
        return None
    problems = list(find_problems(cluster))
    if not is_protected(settings, delivery, project):
        what = (
            f"The branch {delivery.branch} of {delivery.project} is not protected, and the API server takes ID tokens "
            "of protected branches only"
        )
        fix = "protect it (Settings > Repository), or run `pulumi up` first for the stack that has `repository`"
        problems.append((what, fix))
    authority = _authority(settings, cluster)
    if authority is None:
        what = (
            f"The kubeconfig's user may read the ConfigMap {ROOT_CA}, by which jobs verify the API server, neither in "
            f"{settings.namespace} nor in default"
        )
        problems.append((what, "allow that user to get configmaps in one of them"))
    if problems:
        listed = "\n\n".join(f"  {what}: {fix}" for what, fix in problems)
        raise ClusterError(
            f"Stack {settings.stack!r} has delivery.credentials: id-token, but not everything that it needs is ready. "
            f"Nothing was created or changed.\n\n{listed}\n\ndocs/app-pipeline.md has what it needs. Until then leave "
            "delivery.credentials out."
        )
    return JobIdentity(user=job_user(project.id, delivery), certificate_authority=authority or "")


def find_problems(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """API servers that accept no issuer of ID tokens, each with the fix.

    Reports nothing if it cannot see the API servers: a hosted one runs in no pod, and not every user may list the pods.
    """
    try:
        servers = cluster.list("v1", "pods", "kube-system", selector="component=kube-apiserver")
    except ForbiddenError:
        return
    for server in servers:
        if not any(argument.startswith(_CONFIGURED) for argument in _arguments(server)):
            yield (
                f"The API server {server['metadata']['name']} runs without {_CONFIGURED}, and so accepts no ID token",
                "give it the AuthenticationConfiguration of docs/app-pipeline.md",
            )


def _arguments(pod: Mapping[str, Any]) -> list[str]:
    containers = pod["spec"]["containers"]
    return [one for container in containers for key in ("command", "args") for one in container.get(key) or ()]


def _authority(settings: Settings, cluster: Cluster) -> str | None:
    for namespace in (settings.namespace, "default"):  # the first `up` creates the stack's own
        try:
            found = cluster.get("v1", "configmaps", ROOT_CA, namespace)
        except ForbiddenError:
            continue
        if found is not None and (pem := (found.get("data") or {}).get(_KEY)):
            return in_base64(pem)
    return None


def in_base64(pem: str) -> str:
    """PEM in base64 on one line, like a kubeconfig's `certificate-authority-data`."""
    return base64.b64encode(pem.encode()).decode()
