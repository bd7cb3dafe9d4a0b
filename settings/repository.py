"""`repository`: what the stacks share in the app's GitLab project."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.section import Section
from settings.types import BranchName, EnvironmentName, GitHubAddress, HostKey


class RepositorySettings(Section):
    """What both stacks share in the project that `delivery` names: mirror, branches, protection. One stack owns it."""

    mirror: GitHubAddress
    """SSH address of the GitHub repository that is pushed to."""
    develop_branch: BranchName = "develop"
    """Made from the project's default branch where it does not exist."""
    protected_environments: Annotated[tuple[EnvironmentName, ...], Field(strict=False)] = ()
    """Environments into which only Maintainers may deploy. GitLab Premium has this; other editions refuse it."""
    host_keys: Annotated[tuple[HostKey, ...], Field(min_length=1, strict=False)] = (
        "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    )
    """Host keys the mirror trusts, as known_hosts lines."""
