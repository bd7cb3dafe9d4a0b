"""Looks up what already exists in this program's own GitLab project, before the first resource is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi

from lookups.gitlab import GitLabError, who_else
from lookups.gitlab_access import token_user
from sdks import gitlab
from settings.delivery import DeliverySettings
from settings.names import Names
from settings.repository import InfrastructureSettings

if TYPE_CHECKING:
    from pulumi_gitlab.outputs import GetPipelineSchedulesPipelineScheduleResult

_MAINTAINER: Final = "maintainer"
RELEASES: Final = "v*"
"""Tags of releases, at which other projects include its pipelines."""


@dataclass(frozen=True, kw_only=True)
class InfrastructureProject:
    """The project as it is at the start of the run."""

    id: str
    """The project's number: with its path, renaming or moving the project would replace every resource."""
    description: str
    """Description of the stack's schedule, by which a later run recognises it."""
    schedule_import: str | None
    """Import id of that schedule; None if it does not exist."""
    protection_import: str | None
    """Import id of the protection of `RELEASES`; None if it does not exist."""
    release_level: str
    """Who may create `RELEASES`: Maintainers, or fewer people if somebody has set that."""


def schedule_description(names: Names) -> str:
    """Description of the stack's schedule."""
    return f"verify and drift, {names.owner.mark}"


def branch_reference(settings: InfrastructureSettings) -> str:
    """The schedule's branch as GitLab writes it."""
    return f"refs/heads/{settings.branch}"


def covers_releases(tag: str) -> bool:
    """Whether a protected tag or wildcard can match a release. If several match, the laxest applies."""
    return tag.startswith(("v", "*"))


def read_infrastructure(
    settings: InfrastructureSettings, names: Names, delivery: DeliverySettings, provider: gitlab.Provider
) -> InfrastructureProject:
    """Reads the project, blocking; raises `GitLabError`. `delivery` has GitLab's address."""
    options = pulumi.InvokeOptions(provider=provider)
    description = schedule_description(names)
    try:
        id_ = str(gitlab.get_project(path_with_namespace=settings.project, opts=options).id)
        schedules = gitlab.get_pipeline_schedules(project=id_, opts=options).pipeline_schedules
        protected = gitlab.get_project_protected_tags(project=id_, opts=options).protected_tags
    except Exception as error:  # noqa: BLE001 - an invoke raises a bare Exception with the provider's words
        raise GitLabError(
            f"GitLab does not show what its project {settings.project} contains. Nothing was created or changed.\n\n"
            f"  {error}\n\n"
            "GITLAB_TOKEN needs the role Maintainer of repository.infrastructure.project, too: correct it, or leave "
            "the section out."
        ) from None
    lax = [each for each in protected if covers_releases(each.tag) and who_else(each.create_access_levels)]
    if lax:
        who = who_else([level for each in lax for level in each.create_access_levels])
        tags = ", ".join(each.tag for each in lax)
        raise GitLabError(
            f"In GitLab's project {settings.project} {who} may create tags {tags}, and so make a release of this "
            "program, which other projects' pipelines include. Nothing was created or changed.\n\n"
            "Allow only Maintainers there (Settings > Repository > Protected tags), or delete that protection."
        )
    levels = {each.tag: [one.access_level for one in each.create_access_levels] for each in protected}
    known = next((each for each in schedules if each.description == description), None)
    # A preview changes nothing, so that any user's token will do.
    if known and _differs(known, settings) and not pulumi.runtime.is_dry_run():
        _refuse_foreign_schedule(known, settings, delivery)
    return InfrastructureProject(
        id=id_,
        description=description,
        schedule_import=f"{id_}:{known.id}" if known else None,
        protection_import=f"{id_}:{RELEASES}" if RELEASES in levels else None,
        # The provider replaces a protection to change its level, which the engine refuses for what is imported.
        release_level=next(iter(levels.get(RELEASES, ())), _MAINTAINER),
    )


def _differs(schedule: GetPipelineSchedulesPipelineScheduleResult, settings: InfrastructureSettings) -> bool:
    found = (schedule.cron, schedule.cron_timezone, schedule.ref, schedule.active)
    return found != (settings.schedule, settings.time_zone, branch_reference(settings), True)


def _refuse_foreign_schedule(
    schedule: GetPipelineSchedulesPipelineScheduleResult, settings: InfrastructureSettings, delivery: DeliverySettings
) -> None:
    """Raises `GitLabError` if the schedule is another user's: GitLab lets only its owner change it, or administrators.

    See GitLab's app/policies/ci/pipeline_schedule_policy.rb. A new project access token belongs to a new user.
    """
    user, owner = token_user(delivery), schedule.owner
    if user is None or (owner and user == owner.id):
        return
    raise GitLabError(
        f"In GitLab's project {settings.project} the pipeline schedule {schedule.description!r} has to change, and "
        f"belongs to {owner.username if owner else 'a deleted user'}, not to the user of GITLAB_TOKEN. Nothing was "
        "created or changed.\n\n"
        "Delete it (Build > Pipeline schedules), and `up` creates it anew; or use a token of its owner."
    )
