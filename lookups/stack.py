"""All look-ups before the first resource; the order puts the most helpful error first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi

from components.database_claims import DatabaseClaims
from components.pull_credentials import Issue, Login, choose
from lookups import cloudflare, cloudflare_owner, r2
from lookups.cloudflare import CloudflareIds
from lookups.cluster import Cluster, connect
from lookups.database_claims import find_claims, with_live_version
from lookups.deployed import check_cluster
from lookups.gitlab import GitLabProject, read_project
from lookups.infrastructure import InfrastructureProject, read_infrastructure
from lookups.job_identity import JobIdentity, read_job_identity
from lookups.live_database import with_live_database
from lookups.own_outputs import own_outputs
from lookups.own_state import check_own_state
from lookups.ownership import Claim, check_ownership, project_folders
from lookups.permissions import check_permissions
from lookups.prerequisites import check_prerequisites
from lookups.project_file import check_project_file
from lookups.r2 import R2Ids
from lookups.secrets import StackSecrets, read_secrets
from lookups.volumes import check_volumes, recorded
from settings import Settings
from settings.access import PublicAccessSettings

if TYPE_CHECKING:
    from providers import Providers


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answers of the cluster, GitLab, Cloudflare and 1Password."""

    settings: Settings
    """The settings, with the live database during a move between engines, and the database's current version."""
    database_claims: DatabaseClaims
    secrets: StackSecrets
    pull_credentials: Login | Issue
    project: GitLabProject | None
    """The app's project in GitLab; None for a stack without `delivery`."""
    job_identity: JobIdentity | None
    """User of the pipeline's ID tokens; None if its jobs get a token instead."""
    infrastructure: InfrastructureProject | None
    """This program's own project in GitLab; None for a stack without `repository.infrastructure`."""
    cloudflare: CloudflareIds | None
    """Ids that the public address refers to; None for a stack without one."""
    r2: Mapping[str, R2Ids]
    """Ids for the buckets that the stack creates, by the buckets' keys in the stack file."""


def look_up(settings: Settings, providers: Providers) -> Found:
    """Queries the cluster, GitLab, Cloudflare and 1Password; raises the error of the first that lacks something."""
    directory = Path(pulumi.get_root_directory() or ".")
    folders = project_folders(directory)
    check_project_file(directory, folders)
    cluster = connect(settings.cluster.context)
    check_cluster(settings, cluster)
    settings = with_live_database(settings, cluster)
    check_own_state(settings, cluster)
    check_prerequisites(settings, cluster)
    # A preview writes nothing, so a read-only user is enough.
    if not pulumi.runtime.is_dry_run():
        check_permissions(settings, cluster)
    outputs = own_outputs()
    record = recorded(outputs)
    placed = find_claims(settings, cluster, record)
    settings = with_live_version(settings, placed)
    project = read_project(settings, settings.delivery, providers.gitlab) if settings.delivery else None
    identity = read_job_identity(settings, project, cluster) if project else None
    own = settings.repository.infrastructure if settings.repository else None
    infrastructure = (
        read_infrastructure(own, settings.names, settings.delivery, providers.gitlab)
        if own and settings.delivery
        else None
    )
    claims, ids = list(project.foreign) if project else [], None
    if settings.access.public:
        ids, others = _look_up_public(settings, settings.access.public, cluster)
        claims += others
    r2_ids = r2.look_up(settings.r2, settings.names.owner, outputs=outputs) if settings.r2 else {}
    check_ownership(settings, cluster, claims, folders, outputs=outputs)
    # After the ownership check: an error about another stack's item would hide what else belongs to another stack.
    secrets = read_secrets(settings, providers.onepassword)
    check_volumes(settings, cluster, record, placed)
    return Found(
        settings=settings,
        database_claims=placed.claims,
        secrets=secrets,
        pull_credentials=choose(settings, secrets, project),
        project=project,
        job_identity=identity,
        infrastructure=infrastructure,
        cloudflare=ids,
        r2=r2_ids,
    )


def _look_up_public(
    settings: Settings, public: PublicAccessSettings, cluster: Cluster
) -> tuple[CloudflareIds, list[Claim]]:
    ids = cloudflare.look_up(public, settings.names, port=settings.app.port)
    return ids, list(cloudflare_owner.foreign(public, ids, settings.names.owner, cluster))
