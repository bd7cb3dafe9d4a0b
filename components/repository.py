"""Repository: what both stacks share in GitLab. One stack owns it; `destroy` deletes none of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pulumi
from pulumi import ResourceHook, ResourceHookBinding, ResourceHookOptions, ResourceOptions

from lookups.gitlab import GitLabProject, wanted_levels
from lookups.lost_mirrors import LostMirrors
from sdks import gitlab
from settings.names import PROGRAM
from settings.repository import RepositorySettings


@dataclass(frozen=True, kw_only=True)
class RepositoryArgs:
    """Settings, and what already exists in GitLab."""

    settings: RepositorySettings
    project: GitLabProject


class Repository(pulumi.ComponentResource):
    """Push mirror, develop branch, protection of both branches and, if the edition has it, of environments."""

    mirror_key: pulumi.Output[str]
    """Text that says which public key to add where, so that the mirror accepts the push."""

    def __init__(self, name: str, args: RepositoryArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:repository:Repository", name, None, opts)
        settings, project = args.settings, args.project
        lost = LostMirrors(gitlab=project.gitlab, project=project.id, url=settings.mirror)
        # Errors only warn: a failed hook would cancel the update half-way.
        hook = ResourceHook("delete-lost-mirrors", lost.delete, ResourceHookOptions(ignore_errors=True))
        mirror = gitlab.ProjectPushMirror(
            "mirror",
            project=project.id,
            url=settings.mirror,
            auth_method="ssh_public_key",
            host_keys=settings.host_keys,
            enabled=True,
            # The provider's default at creation is True.
            only_protected_branches=False,
            # Without this, GitLab deletes refs on GitHub that exist only there.
            keep_divergent_refs=True,
            opts=ResourceOptions(parent=self, protect=True, hooks=ResourceHookBinding(after_create=[hook])),
        )
        develop = gitlab.Branch(
            settings.develop_branch,
            project=project.id,
            name=settings.develop_branch,
            ref=project.default_branch,
            keep_on_destroy=True,
            opts=ResourceOptions(
                parent=self,
                protect=True,
                import_=project.branch_import(settings.develop_branch),
                # Known only at creation: after an import or a merge, it would cause a replacement.
                ignore_changes=["ref"],
            ),
        )
        for branch, level in wanted_levels(settings, project.default_branch).items():
            depends_on = [develop] if branch == settings.develop_branch else []
            self._protect_branch(project, branch, level, depends_on=depends_on)
        for environment in settings.protected_environments:
            gitlab.ProjectProtectedEnvironment(
                f"{environment}-protection",
                project=project.id,
                environment=environment,
                deploy_access_levels_attributes=[{"access_level": "maintainer"}],
                opts=ResourceOptions(
                    parent=self, protect=True, import_=project.environment_protection_import(environment)
                ),
            )
        key = gitlab.get_project_mirror_public_key_output(
            project_id=project.id, mirror_id=mirror.mirror_id, opts=pulumi.InvokeOutputOptions(parent=self)
        ).public_key
        page = f"https://github.com{urlsplit(settings.mirror).path.removesuffix('.git')}/settings/keys/new"
        self.mirror_key = pulumi.Output.concat(f"paste into {page} and tick 'Allow write access': ", key)
        self.register_outputs({"mirror_key": self.mirror_key})

    def _protect_branch(
        self, project: GitLabProject, branch: str, level: str, *, depends_on: Sequence[pulumi.Resource]
    ) -> None:
        # The Enterprise Edition, licensed or not, takes lists of levels; the Community Edition takes one level each.
        push_and_merge = (
            {"allowed_to_pushes": [{"access_level": level}], "allowed_to_merges": [{"access_level": level}]}
            if project.enterprise
            else {"push_access_level": level, "merge_access_level": level}
        )
        gitlab.BranchProtection(
            f"{branch}-protection",
            project=project.id,
            branch=branch,
            allow_force_push=False,
            **push_and_merge,
            opts=ResourceOptions(
                parent=self, protect=True, depends_on=depends_on, import_=project.protection_import(branch)
            ),
        )
