"""Looks up what already exists in the app's GitLab project, before the first resource is registered.

Pipelines and people also create environments, variables, branches and protections, and GitLab refuses a second one with
the same name. So the program imports existing ones: a first `up` adopts them, and an `up` after one that lost GitLab's
answer finds what that one created.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi

from lookups.gitlab_access import NoAnswerError, check_answers, find_protected, missing_permissions
from lookups.ownership import Claim
from sdks import gitlab
from settings import Settings
from settings.delivery import DeliverySettings
from settings.images import image_repository
from settings.ownership import Owner
from settings.repository import RepositorySettings

if TYPE_CHECKING:
    from pulumi_gitlab.outputs import (
        GetProjectEnvironmentsEnvironmentResult,
        GetProjectProtectedBranchesProtectedBranchResult,
        GetProjectVariablesVariableResult,
    )

LEAST_VERSION: Final = (18, 11)
"""First version of GitLab that accepts a push mirror's host keys (gitlab-org/gitlab!227235).

Older versions silently ignore them, and every push then fails with "Host key verification failed".
"""
NAMESPACE: Final = "KUBE_NAMESPACE"
"""Key of the CI variable with the stack's namespace."""
_DEVELOPER: Final = "developer"
_MAINTAINER: Final = "maintainer"
_PAGE: Final = "Settings > Repository > Protected branches"


@dataclass(frozen=True, kw_only=True)
class GitLabProject:
    """The project as it is at the start of the run."""

    gitlab: str
    """Address of GitLab."""
    id: str
    """The project's number: with its path, renaming or moving the project would replace every resource."""
    default_branch: str
    enterprise: bool
    """Whether GitLab is an Enterprise Edition, licensed or not: the provider takes protections differently there."""
    environments: Mapping[str, str]
    """Import ids of the environments, by name."""
    variables: frozenset[tuple[str, str]]
    """Key and environment scope of each CI variable, at least of those of the stack's own environment."""
    branches: frozenset[str]
    protections: frozenset[str]
    """Names and wildcards of the protected branches."""
    protected_environments: frozenset[str]
    """Those of the environments that the stack protects which are protected already."""
    foreign: tuple[Claim, ...]
    """What belongs to another stack in the environment that this stack names."""

    def environment_import(self, name: str) -> str | None:
        """Import id of the environment of that name; None if it does not exist."""
        return self.environments.get(name)

    def variable_import(self, key: str, scope: str) -> str | None:
        """Import id of the CI variable with that key and scope; None if it does not exist."""
        return f"{self.id}:{key}:{scope}" if (key, scope) in self.variables else None

    def branch_import(self, name: str) -> str | None:
        """Import id of the branch; None if it does not exist."""
        return f"{self.id}:{name}" if name in self.branches else None

    def protection_import(self, branch: str) -> str | None:
        """Import id of the branch's own protection; None if it has none."""
        return f"{self.id}:{branch}" if branch in self.protections else None

    def environment_protection_import(self, environment: str) -> str | None:
        """Import id of the environment's protection; None if it has none."""
        return f"{self.id}:{environment}" if environment in self.protected_environments else None

    def protects(self, branch: str) -> bool:
        """Whether the branch is protected, by its name or by a wildcard."""
        return any(covers(pattern, branch) for pattern in self.protections)


def covers(pattern: str, branch: str) -> bool:
    """Whether a protection's name or wildcard is that of the branch, which nobody needs to have pushed yet."""
    return fnmatch.fnmatchcase(branch, pattern)


class GitLabError(pulumi.RunError):
    """GitLab could not be reached, or refuses; the message says what is wrong and what to do."""


def read_project(settings: Settings, delivery: DeliverySettings, provider: gitlab.Provider) -> GitLabProject:
    """Reads the project and the stack's environment in it, blocking; raises `GitLabError`."""
    repository = settings.repository
    try:
        # A preview writes nothing, so a read-only token is enough.
        if not pulumi.runtime.is_dry_run():
            _refuse_weak_token(delivery, repository)
        try:
            return _read(settings, delivery, pulumi.InvokeOptions(provider=provider))
        except GitLabError:
            raise
        except Exception as error:  # noqa: BLE001 - an invoke raises a bare Exception with the provider's words
            check_answers(delivery)
            _refuse_weak_token(delivery, repository)
            raise _unreadable(delivery, error) from None
    except NoAnswerError as error:
        raise GitLabError(
            f"{error}. Nothing was created or changed.\n\n"
            "Check that it runs, that this machine reaches it, and that delivery.gitlab, or GITLAB_BASE_URL, is right."
        ) from None


def is_protected(settings: Settings, delivery: DeliverySettings, project: GitLabProject) -> bool:
    """Whether the deploying branch is protected, already or by this stack: its jobs then get protected variables."""
    repository = settings.repository
    protected_here = {project.default_branch, repository.develop_branch} if repository else set()
    return delivery.branch in protected_here or project.protects(delivery.branch)


def _unreadable(delivery: DeliverySettings, error: Exception) -> GitLabError:
    return GitLabError(
        f"GitLab does not show what its project {delivery.project} contains. Nothing was created or changed.\n\n"
        f"  {error}\n\n"
        "GITLAB_TOKEN needs the scope api (read_api for a preview) and the role Maintainer of that project. If it has "
        "both, try again later."
    )


def _refuse_weak_token(delivery: DeliverySettings, repository: RepositorySettings | None) -> None:
    if weak := missing_permissions(delivery, repository, reading=pulumi.runtime.is_dry_run()):
        listed = "\n".join(f"  {one}" for one in weak)
        raise GitLabError(
            f"GITLAB_TOKEN lacks permissions that this needs. Nothing was created or changed. Missing:\n\n{listed}"
        )


def _read(settings: Settings, delivery: DeliverySettings, options: pulumi.InvokeOptions) -> GitLabProject:
    project = gitlab.get_project(path_with_namespace=delivery.project, opts=options)
    metadata = gitlab.get_metadata(opts=options)
    id_ = str(project.id)
    branches = frozenset(one.name for one in gitlab.get_project_branches(project=id_, opts=options).branches)
    protections = gitlab.get_project_protected_branches(project_id=id_, opts=options).protected_branches
    unusable = [*_unusable_registry(settings, delivery, project.container_registry_image_prefix)]
    if settings.repository:
        default = project.default_branch
        place = settings.repository, delivery.project, default
        unusable += [
            *_unusable_version(metadata.version),
            *_unusable_branches(*place, branches),
            *_lax_protections(*place, protections),
            *(() if metadata.enterprise else _fixed_protections(*place, protections)),
        ]
    if unusable:
        listed = "\n".join(f"  {one}" for one in unusable)
        raise GitLabError(f"GitLab cannot do what the stack file asks for. Nothing was created or changed.\n\n{listed}")
    scope = delivery.environment.name
    environments = gitlab.get_project_environments(project=id_, name=scope, opts=options).environments
    variables = gitlab.get_project_variables(project=id_, environment_scope=scope, opts=options).variables
    protected_here = settings.repository.protected_environments if settings.repository else ()
    return GitLabProject(
        gitlab=delivery.gitlab,
        id=id_,
        default_branch=project.default_branch,
        enterprise=metadata.enterprise,
        environments={found.name: f"{id_}:{found.id}" for found in environments},
        variables=frozenset((variable.key, variable.environment_scope) for variable in variables),
        branches=branches,
        protections=frozenset(protection.name for protection in protections),
        protected_environments=frozenset(find_protected(delivery, id_, protected_here)),
        foreign=tuple(_foreign(settings, delivery, environments, variables)),
    )


def _unusable_registry(settings: Settings, delivery: DeliverySettings, prefix: str | None) -> Iterator[str]:
    """An issued deploy token, like the pipeline jobs' login, gives access only to its own project's registry."""
    repository = image_repository(settings.app.image)
    if not delivery.pull_credentials.issue or (prefix and f"{repository}/".startswith(f"{prefix}/")):
        return
    there = f"is {prefix}" if prefix else "is switched off (Settings > General > Visibility)"
    yield (
        f"app.image: {repository} is not in the container registry of the project {delivery.project}, which {there}. "
        "A deploy token of the project cannot pull from elsewhere, nor its pipeline push there: correct app.image and "
        "registry.server, or set delivery.pullCredentials.issue to false and keep a login in registry.item"
    )


def _unusable_version(version: str) -> Iterator[str]:
    number = re.match(r"(\d+)\.(\d+)", version or "")
    if number and (int(number[1]), int(number[2])) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        yield (
            f"repository: GitLab is {version}, and takes the host keys of a push mirror from {least} on; before, each "
            "push to the mirror fails. Upgrade GitLab, or leave out the section and make the mirror by hand"
        )


def _unusable_branches(
    repository: RepositorySettings, path: str, default: str | None, branches: Collection[str]
) -> Iterator[str]:
    develop = repository.develop_branch
    if develop == default:
        yield (
            f"repository.developBranch is {develop}, which is also the default branch of the project {path}, and each "
            "has its own protection: set repository.developBranch to another branch, or make another branch the "
            "project's default (Settings > Repository > Branch defaults)"
        )
    if default not in branches:
        why = f"its default branch {default} does not exist" if default else "it has no default branch"
        yield (
            f"repository: the project {path} has no branch from which to create {develop}, because {why}: push a first "
            "commit to it, or make an existing branch the project's default (Settings > Repository > Branch defaults)"
        )


def wanted_levels(repository: RepositorySettings, default: str) -> dict[str, str]:
    """The least role that may push to a protected branch, and merge into it, by branch."""
    return {default: _MAINTAINER, repository.develop_branch: _DEVELOPER}


def _lax_protections(
    repository: RepositorySettings,
    path: str,
    default: str,
    protections: Sequence[GetProjectProtectedBranchesProtectedBranchResult],
) -> Iterator[str]:
    """Wildcards that open a protected branch further than its own rule. If several rules match, the laxest applies."""
    for each in protections:
        branches = (default, repository.develop_branch)
        covered = [one for one in branches if one and one != each.name and covers(each.name, one)]
        if default in covered and (who := who_else([*each.push_access_levels, *each.merge_access_levels])):
            yield (
                f"repository: in the project {path} the protection of the branches {each.name} lets {who} push to "
                f"{default} or merge into it, although {default} itself is protected, because GitLab applies the "
                f"laxest rule that matches: allow only the role Maintainers there ({_PAGE}), or replace it by rules "
                f"that do not match {default}"
            )
        # For everybody who may push (ProtectedBranch.allow_force_push? in GitLab's app/models/protected_branch.rb).
        if covered and each.allow_force_push:
            listed = " and ".join(covered)
            yield (
                f"repository: in the project {path} the protection of the branches {each.name} allows force pushes to "
                f"{listed}, although the branch's own protection forbids them, because GitLab applies the laxest rule "
                f"that matches: switch off 'Allowed to force push' there ({_PAGE}), or replace it by rules that do not "
                f"match {listed}"
            )


def who_else(levels: Sequence[Any]) -> str:
    """Whom access levels of a protection let besides Maintainers, in words; empty if nobody."""
    others = {
        "Developers": any(level.access_level == _DEVELOPER for level in levels),
        # Their roles are not shown.
        "named users or groups": any(level.user_id or level.group_id for level in levels),
    }
    return " and ".join(name for name, are_let in others.items() if are_let)


def _fixed_protections(
    repository: RepositorySettings,
    path: str,
    default: str,
    protections: Sequence[GetProjectProtectedBranchesProtectedBranchResult],
) -> Iterator[str]:
    """The branches' own protections, where other roles may push or merge: a Community Edition cannot change those.

    Its provider would replace the protection (RequiresReplaceIfConfigured), which the engine refuses for an import.
    """
    wanted = wanted_levels(repository, default)
    for each in protections:
        role = wanted.get(each.name)
        push, merge = (_role(levels) for levels in (each.push_access_levels, each.merge_access_levels))
        if role and (push, merge) != (role, role):
            yield (
                f"repository: in the project {path} the protection of the branch {each.name} lets {push} push to it, "
                f"and {merge} merge, and has to let {role} do both, which a Community Edition of GitLab cannot change. "
                f"Delete it ({_PAGE}), and `up` creates the right one"
            )


def _role(levels: Sequence[Any]) -> str:
    """The role among access levels: a Community Edition has one, beside deploy keys, which can only push."""
    return next((level.access_level for level in levels if not getattr(level, "deploy_key_id", None)), "nobody")


def _foreign(
    settings: Settings,
    delivery: DeliverySettings,
    environments: Sequence[GetProjectEnvironmentsEnvironmentResult],
    variables: Sequence[GetProjectVariablesVariableResult],
) -> Iterator[Claim]:
    own, name = settings.names.owner, delivery.environment.name
    scoped = [one for one in variables if one.environment_scope == name]
    # Releases before the one that introduced marks did not mark these.
    leads_to = [Owner.of_namespace(one.value, project=own.project) for one in scoped if one.key == NAMESPACE]
    seen = [
        *((Owner.marked(one.description), "its description") for one in environments),
        *((Owner.marked(one.description), f"the description of its variable {one.key}") for one in scoped),
        *((owner, f"its variable {NAMESPACE}") for owner in leads_to),
    ]
    for owner, evidence in seen:
        if owner is not None and owner != own:
            yield Claim(
                what=f"the environment {name!r} of the GitLab project {delivery.project}, with its variables",
                owner=f"{owner}",
                evidence=evidence,
                setting="delivery.environment.name",
            )
            return
