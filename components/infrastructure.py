"""Infrastructure: a schedule that checks the stacks, and protected tags, in this program's own GitLab project."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from lookups.infrastructure import RELEASES, InfrastructureProject, branch_reference
from sdks import gitlab
from settings.names import PROGRAM
from settings.repository import InfrastructureSettings


@dataclass(frozen=True, kw_only=True)
class InfrastructureArgs:
    """Settings, and what already exists in GitLab."""

    settings: InfrastructureSettings
    project: InfrastructureProject


class Infrastructure(pulumi.ComponentResource):
    """A pipeline schedule for `verify` and drift, and the protection of the tags at which others include CI files."""

    def __init__(self, name: str, args: InfrastructureArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:infrastructure:Infrastructure", name, None, opts)
        settings, project = args.settings, args.project
        gitlab.PipelineSchedule(
            "checks",
            project=project.id,
            description=project.description,
            ref=branch_reference(settings),
            cron=settings.schedule,
            cron_timezone=settings.time_zone,
            active=True,
            opts=ResourceOptions(parent=self, import_=project.schedule_import),
        )
        # Whoever can move such a tag can change what other projects' pipelines run.
        gitlab.TagProtection(
            "releases",
            project=project.id,
            tag=RELEASES,
            create_access_level=project.release_level,
            opts=ResourceOptions(parent=self, import_=project.protection_import),
        )
        self.register_outputs({})
