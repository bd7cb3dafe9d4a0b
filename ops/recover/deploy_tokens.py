"""Revokes deploy tokens that are in GitLab but not in the state: GitLab shows a token once, so nobody can use them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from gitlab import Gitlab
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

from lookups.deploy_tokens import IN_USE, active
from ops.command_line import pulumi
from settings import Settings

_TYPE = "gitlab:index/projectDeployToken:ProjectDeployToken"


def revoke_orphans(settings: Settings, gitlab: Gitlab, kubernetes: DynamicClient) -> list[str]:
    """Revokes the tokens with the stack's name that are neither in its state nor in use; returns their user names.

    A token that the pull secret names is in use, whatever the state says: without it no pod could start any more.
    """
    assert settings.delivery is not None  # noqa: S101 - there is a GitLab client only with this section
    recorded = recorded_ids(json.loads(pulumi("stack", "export", "--stack", settings.stack)))
    project = gitlab.projects.get(settings.delivery.project, lazy=True)
    used = _in_use(settings.namespace, kubernetes)
    orphans = [
        token
        for token in active(project, settings.names.deploy_token)
        if str(token.id) not in recorded and token.username not in used
    ]
    for token in orphans:
        token.delete()
    return [token.username for token in orphans]


def _in_use(namespace: str, kubernetes: DynamicClient) -> set[str]:
    """User names that the pull secret logs in with."""
    from components.pull_credentials import CONFIG, SECRET  # noqa: PLC0415 - imports SDKs

    try:
        found = kubernetes.resources.get(api_version="v1", kind="Secret").get(name=SECRET, namespace=namespace)
    except NotFoundError:
        return set()
    secret: dict[str, Any] = found.to_dict()
    annotated = (secret["metadata"].get("annotations") or {}).get(IN_USE)
    config = json.loads(base64.b64decode((secret.get("data") or {}).get(CONFIG, "")) or b"{}")
    logins = {str(login.get("username")) for login in (config.get("auths") or {}).values()}
    return logins | ({annotated} if annotated else set())


def recorded_ids(checkpoint: Mapping[str, Any]) -> set[str]:
    """Ids of the deploy tokens in a state; the provider's own ids are `<project>:<id>`."""
    resources: Iterable[Mapping[str, Any]] = checkpoint["deployment"].get("resources") or []
    return {resource["id"].rpartition(":")[2] for resource in resources if resource["type"] == _TYPE}
