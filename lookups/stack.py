"""All look-ups before the first resource; one run reports what all of them lack, the most helpful error first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pulumi

from components.database_claims import DatabaseClaims
from components.pull_credentials import Issue, Login, choose
from lookups import cloudflare, cloudflare_owner, r2
from lookups.cloudflare import CloudflareIds
from lookups.cluster import Cluster, connect
from lookups.database_claims import FoundClaims, find_claims, with_live_version
from lookups.deployed import check_cluster
from lookups.gitlab import GitLabProject, read_project
from lookups.infrastructure import InfrastructureProject, read_infrastructure
from lookups.job_identity import JobIdentity, read_job_identity
from lookups.live_database import with_live_database
from lookups.moving import Record
from lookups.onepassword_reach import check_reach
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

_P = ParamSpec("_P")
_T = TypeVar("_T")


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


class LookUpError(pulumi.RunError):
    """Several look-ups failed; the message has all of their messages."""


class _Errors:
    """Errors of look-ups that do not need each other's answers, so that one run reports all of them."""

    def __init__(self) -> None:
        self._found: dict[str, pulumi.RunError] = {}

    def attempt(self, run: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """The answer, or None after noting the error."""
        try:
            return run(*args, **kwargs)
        except pulumi.RunError as error:
            # By message: if a system does not answer, every look-up in it has the same one.
            self._found.setdefault(str(error), error)
            return None

    def check(self) -> None:
        """Raises what was noted: one error as it is, several in one."""
        match list(self._found.values()):
            case []:
                return
            case [error]:
                raise error
            case _:
                raise LookUpError("\n\n".join(self._found))


def look_up(settings: Settings, providers: Providers) -> Found:
    """Queries the cluster, GitLab, Cloudflare and 1Password; raises an error with everything that they lack.

    A wrong project file, cluster or state is reported alone: with it, the other answers mean nothing.
    """
    directory = Path(pulumi.get_root_directory() or ".")
    folders = project_folders(directory)
    check_project_file(directory, folders)
    cluster = connect(settings.cluster.context)
    check_cluster(settings, cluster)
    settings = with_live_database(settings, cluster)
    outputs = own_outputs()
    check_own_state(settings, cluster, outputs=outputs)
    errors = _Errors()
    errors.attempt(check_prerequisites, settings, cluster)
    record = recorded(outputs)
    placed = errors.attempt(_find_claims, settings, cluster, record)
    if placed:
        settings = with_live_version(settings, placed)
    delivery, public = settings.delivery, settings.access.public
    project = errors.attempt(read_project, settings, delivery, providers.gitlab) if delivery else None
    identity = errors.attempt(read_job_identity, settings, project, cluster) if project else None
    own = settings.repository.infrastructure if settings.repository else None
    infrastructure = (
        errors.attempt(read_infrastructure, own, settings.names, delivery, providers.gitlab)
        if own and delivery
        else None
    )
    ids, others = (errors.attempt(_look_up_public, settings, public, cluster) if public else None) or (None, [])
    r2_ids = errors.attempt(r2.look_up, settings.r2, settings.names.owner, outputs=outputs) if settings.r2 else {}
    if placed:
        claims = [*(project.foreign if project else ()), *others]
        errors.attempt(
            _check_existing, settings, cluster, claims, folders, outputs=outputs, record=record, placed=placed
        )
    secrets = errors.attempt(read_secrets, settings, providers.onepassword)
    if secrets:
        errors.attempt(check_reach, secrets)
    errors.check()
    assert placed is not None  # noqa: S101 - for the type checker, like the next two: what is missing had an error
    assert secrets is not None  # noqa: S101
    assert r2_ids is not None  # noqa: S101
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


def _find_claims(settings: Settings, cluster: Cluster, record: Record | None) -> FoundClaims:
    # A preview writes nothing, so a read-only user is enough.
    if not pulumi.runtime.is_dry_run():
        check_permissions(settings, cluster)
    return find_claims(settings, cluster, record)


def _check_existing(
    settings: Settings,
    cluster: Cluster,
    claims: Iterable[Claim],
    folders: Iterable[Path],
    *,
    outputs: Mapping[str, Any],
    record: Record | None,
    placed: FoundClaims,
) -> None:
    check_ownership(settings, cluster, claims, folders, outputs=outputs)
    # Only now: what it says about deleting a volume is not for another stack's.
    check_volumes(settings, cluster, record, placed)


def _look_up_public(
    settings: Settings, public: PublicAccessSettings, cluster: Cluster
) -> tuple[CloudflareIds, list[Claim]]:
    ids = cloudflare.look_up(public, settings.names, port=settings.app.port)
    return ids, list(cloudflare_owner.foreign(public, ids, settings.names.owner, cluster))
