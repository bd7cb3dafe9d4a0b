"""Deploy tokens that GitLab has and the state has not: GitLab shows a token once, so nobody can use such a one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from gitlab import Gitlab

from lookups.deploy_tokens import active, token_name
from ops.command_line import pulumi
from settings import Settings

_TYPE = "gitlab:index/projectDeployToken:ProjectDeployToken"


def revoke_orphans(settings: Settings, gitlab: Gitlab) -> list[str]:
    """Revokes the tokens that bear the stack's name and are not in its state; their user names."""
    assert settings.delivery is not None  # noqa: S101 - there is a GitLab client only then
    recorded = recorded_ids(json.loads(pulumi("stack", "export", "--stack", settings.stack)))
    project = gitlab.projects.get(settings.delivery.project, lazy=True)
    orphans = [token for token in active(project, token_name(settings.stack)) if str(token.id) not in recorded]
    for token in orphans:
        token.delete()
    return [token.username for token in orphans]


def recorded_ids(checkpoint: Mapping[str, Any]) -> set[str]:
    """Ids of the deploy tokens in a state; the provider's own ids are `<project>:<id>`."""
    resources: Iterable[Mapping[str, Any]] = checkpoint["deployment"].get("resources") or []
    return {resource["id"].rpartition(":")[2] for resource in resources if resource["type"] == _TYPE}
