"""`repository`: what the stacks share in the app's GitLab project."""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from settings.errors import refusal
from settings.schedules import DailySchedule, check_not_skipped
from settings.section import Section
from settings.types import BranchName, EachOnce, EnvironmentName, GitHubAddress, GitLabProject, HostKey, TimeZone

_PART: Final = r"(\*|\d\d?(-\d\d?)?)(/\d\d?)?"
_LIST: Final = f"{_PART}(,{_PART})*"
_GITLAB_DAILY: Final = re.compile(rf"{_LIST} {_LIST} \* \* \*", re.ASCII)
"""Daily schedules that GitLab's parser (github.com/floraison/fugit, lib/fugit/cron.rb) reads as Kubernetes' does.

It has no `?`, and refuses more than two digits. It reads `0/1` as Sunday alone, and `1-31` as any day, so that
`1-31 * mon` is only Mondays.
"""


class InfrastructureSettings(Section):
    """The GitLab project of this program itself."""

    project: GitLabProject
    """The project's path. The user of GITLAB_TOKEN must be a Maintainer of it, too, and may merge into the branch."""
    branch: BranchName = "main"
    """Branch whose pipeline runs on the schedule."""
    time_zone: TimeZone = "Etc/UTC"
    """Time zone of the schedule."""
    schedule: Annotated[DailySchedule, Field(validate_default=True)] = "30 6 * * *"
    """When the pipeline checks the live stacks (`verify` and drift): at least daily."""

    @field_validator("schedule")
    @classmethod
    def _is_gitlabs(cls, schedule: str) -> str:
        if not _GITLAB_DAILY.fullmatch(schedule):
            raise ValueError(
                "a schedule of GitLab for every day: minute and hour with *, lists, ranges and steps, of at most two "
                "digits each, then * * *, because GitLab knows no ?, and reads days otherwise than Kubernetes; "
                "e.g. 30 6 * * *"
            )
        return schedule

    @field_validator("schedule")
    @classmethod
    def _is_not_skipped(cls, schedule: str, info: ValidationInfo) -> str:
        if zone := info.data.get("time_zone"):
            check_not_skipped(schedule, zone, pauses="daily")
        return schedule


class RepositorySettings(Section):
    """What both stacks share in the project that `delivery` names: mirror, branches, protection. One stack owns it."""

    mirror: GitHubAddress
    """SSH address of the GitHub repository to which GitLab pushes."""
    develop_branch: BranchName = "develop"
    """`up` creates it from the project's default branch if it does not exist."""
    infrastructure: InfrastructureSettings | None = None
    """With it, a schedule checks the stacks, and only Maintainers can create tags `v*` of this program."""
    protected_environments: Annotated[tuple[EnvironmentName, ...], Field(strict=False), EachOnce] = ()
    """Environments into which only Maintainers may deploy. A feature of GitLab Premium; other tiers refuse it."""
    host_keys: Annotated[tuple[HostKey, ...], Field(min_length=1, strict=False), EachOnce] = (
        "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    )
    """Host keys the mirror trusts, as known_hosts lines."""

    @field_validator("host_keys")
    @classmethod
    def _are_the_mirrors(cls, host_keys: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        host = urlsplit(info.data.get("mirror") or "").hostname
        if host and (others := [line.split(" ")[0] for line in host_keys if line.split(" ")[0] != host]):
            raise refusal(f"keys of {host}, where the mirror is", given=", ".join(map(repr, others)))
        return host_keys
