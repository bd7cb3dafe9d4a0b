"""The requests of GitLab's REST API v4, from the same sources as answers.py, and each operation's request and answer.

The models refuse an attribute that the pages do not know: GitLab would silently drop it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr

from tests.contract.gitlab.answers import (
    Branch,
    Deployment,
    DeployToken,
    Environment,
    Metadata,
    NewDeployToken,
    Note,
    OneEnvironment,
    OnePipelineSchedule,
    OneRegistryTag,
    PipelineSchedule,
    Project,
    ProtectedBranch,
    ProtectedEnvironment,
    ProtectedTag,
    PublicKey,
    RegistryRepository,
    RegistryTag,
    RemoteMirror,
    Role,
    Shape,
    Tier,
    Token,
    User,
    Variable,
    Version,
)


class Listed(Shape):
    """The parameters of every list."""

    page: Annotated[int, Field(ge=1)] | None = None
    per_page: Annotated[int, Field(ge=1, le=100)] | None = None


class ListedEnvironments(Listed):
    """Filters of the list of environments."""

    name: str | None = None


class ListedNotes(Listed):
    """Order of the list of notes."""

    sort: Literal["asc", "desc"] | None = None
    order_by: Literal["created_at", "updated_at"] | None = None


class ListedDeployments(Listed):
    """Filters and order of the list of deployments."""

    environment: StrictStr | None = None
    status: Literal["created", "running", "success", "failed", "canceled", "blocked"] | None = None
    order_by: Literal["id", "iid", "created_at", "updated_at", "finished_at", "ref"] | None = None
    sort: Literal["asc", "desc"] | None = None


class NewDeployment(Shape):
    """A new deployment that no job makes."""

    environment: StrictStr
    sha: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    ref: StrictStr
    tag: StrictBool
    status: Literal["running", "success", "failed", "canceled"]


class ChangedEnvironment(Shape):
    """What can be changed about an environment; its name cannot."""

    description: StrictStr | None = None
    external_url: StrictStr | None = None
    tier: Tier | None = None
    kubernetes_namespace: StrictStr | None = None
    auto_stop_setting: Literal["always", "with_action"] | None = None


class NewEnvironment(ChangedEnvironment):
    """A new environment."""

    name: StrictStr


class Stop(Shape):
    """How an environment is stopped."""

    force: StrictBool = False


class Filter(Shape):
    """Selects one of several variables with the same key."""

    environment_scope: StrictStr


class Filtered(Shape):
    """Reads or deletes a variable."""

    filter: Filter | None = None


class ChangedVariable(Filtered):
    """Changes a variable."""

    value: StrictStr
    description: StrictStr | None = None
    masked: StrictBool | None = None
    protected: StrictBool | None = None
    raw: StrictBool | None = None
    variable_type: Literal["env_var", "file"] | None = None
    environment_scope: StrictStr | None = None


class NewVariable(Shape):
    """A new variable."""

    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")]
    value: StrictStr
    description: StrictStr | None = None
    environment_scope: StrictStr | None = None
    masked: StrictBool | None = None
    masked_and_hidden: StrictBool | None = None
    protected: StrictBool | None = None
    raw: StrictBool | None = None
    variable_type: Literal["env_var", "file"] | None = None


class NewToken(Shape):
    """A new deploy token."""

    name: StrictStr
    scopes: Annotated[
        list[Literal["read_repository", "read_registry", "write_registry", "read_package_registry"]],
        Field(min_length=1),
    ]
    expires_at: dt.datetime | None = None
    username: StrictStr | None = None


class ChangedMirror(Shape):
    """What can be changed about a push mirror."""

    auth_method: Literal["password", "ssh_public_key"] | None = None
    enabled: StrictBool | None = None
    host_keys: list[StrictStr] | None = None
    keep_divergent_refs: StrictBool | None = None
    mirror_branch_regex: StrictStr | None = None
    only_protected_branches: StrictBool | None = None


class NewMirror(ChangedMirror):
    """A new push mirror."""

    url: StrictStr


class NewBranch(Shape):
    """A new branch."""

    branch: StrictStr
    ref: StrictStr


class Allowed(Shape):
    """An access level to add, or to remove by its id."""

    id: StrictInt | None = None
    access_level: Role | None = None
    destroy: StrictBool | None = Field(default=None, alias="_destroy")


class ChangedProtection(Shape):
    """What can be changed about a branch's protection."""

    allow_force_push: StrictBool | None = None
    allowed_to_push: list[Allowed] | None = None
    allowed_to_merge: list[Allowed] | None = None


class NewProtection(ChangedProtection):
    """A new protection."""

    name: StrictStr
    push_access_level: Role | None = None
    merge_access_level: Role | None = None


class ChangedEnvironmentProtection(Shape):
    """What can be changed about the protection of an environment."""

    name: StrictStr
    deploy_access_levels: list[Allowed] | None = None


class NewEnvironmentProtection(Shape):
    """A new protection of an environment."""

    name: StrictStr
    deploy_access_levels: Annotated[list[Allowed], Field(min_length=1)]


class ChangedSchedule(Shape):
    """What can be changed about a pipeline schedule."""

    description: StrictStr | None = None
    ref: StrictStr | None = None
    cron: StrictStr | None = None
    cron_timezone: StrictStr | None = None
    active: StrictBool | None = None


class NewSchedule(ChangedSchedule):
    """A new pipeline schedule."""

    description: StrictStr
    ref: StrictStr
    cron: StrictStr


class NewTagProtection(Shape):
    """A new protection of tags."""

    name: StrictStr
    create_access_level: Role | None = None
    allowed_to_create: list[Allowed] | None = None


class Body(Shape):
    """A note's text."""

    body: StrictStr


class Nothing(Shape):
    """No attributes."""


PAGES: Final = {
    "user": "users",
    "personal_access_tokens": "personal_access_tokens",
    "version": "version",
    "metadata": "metadata",
    "projects": "projects",
    "environments": "environments",
    "variables": "project_level_variables",
    "deploy_tokens": "deploy_tokens",
    "remote_mirrors": "remote_mirrors",
    "branches": "branches",
    "protected_branches": "protected_branches",
    "protected_environments": "protected_environments",
    "deployments": "deployments",
    "registry": "container_registry",
    "pipeline_schedules": "pipeline_schedules",
    "protected_tags": "protected_tags",
    "notes": "notes",
}
"""The page below https://docs.gitlab.com/api/ for each word of a path."""

Operation = tuple[str, str]
"""Method, and path below /api/v4 with a star for each value."""

_P: Final = "projects/*"
OPERATIONS: Final[dict[Operation, tuple[type[BaseModel], int, Any]]] = {
    ("GET", "user"): (Nothing, 200, User),
    ("GET", "personal_access_tokens/self"): (Nothing, 200, Token),
    ("GET", "version"): (Nothing, 200, Version),
    ("GET", "metadata"): (Nothing, 200, Metadata),
    ("GET", _P): (Nothing, 200, Project),
    ("GET", f"{_P}/environments"): (ListedEnvironments, 200, list[Environment]),
    ("POST", f"{_P}/environments"): (NewEnvironment, 201, Environment),
    ("GET", f"{_P}/environments/*"): (Nothing, 200, OneEnvironment),
    ("PUT", f"{_P}/environments/*"): (ChangedEnvironment, 200, Environment),
    ("POST", f"{_P}/environments/*/stop"): (Stop, 200, Environment),
    ("DELETE", f"{_P}/environments/*"): (Nothing, 204, None),
    ("GET", f"{_P}/variables"): (Listed, 200, list[Variable]),
    ("POST", f"{_P}/variables"): (NewVariable, 201, Variable),
    ("GET", f"{_P}/variables/*"): (Filtered, 200, Variable),
    ("PUT", f"{_P}/variables/*"): (ChangedVariable, 200, Variable),
    ("DELETE", f"{_P}/variables/*"): (Filtered, 204, None),
    ("GET", f"{_P}/deploy_tokens"): (Listed, 200, list[DeployToken]),
    ("POST", f"{_P}/deploy_tokens"): (NewToken, 201, NewDeployToken),
    ("GET", f"{_P}/deploy_tokens/*"): (Nothing, 200, DeployToken),
    ("DELETE", f"{_P}/deploy_tokens/*"): (Nothing, 204, None),
    ("GET", f"{_P}/remote_mirrors"): (Listed, 200, list[RemoteMirror]),
    ("POST", f"{_P}/remote_mirrors"): (NewMirror, 201, RemoteMirror),
    ("GET", f"{_P}/remote_mirrors/*"): (Nothing, 200, RemoteMirror),
    ("PUT", f"{_P}/remote_mirrors/*"): (ChangedMirror, 200, RemoteMirror),
    ("DELETE", f"{_P}/remote_mirrors/*"): (Nothing, 204, None),
    ("POST", f"{_P}/remote_mirrors/*/sync"): (Nothing, 204, None),
    ("GET", f"{_P}/remote_mirrors/*/public_key"): (Nothing, 200, PublicKey),
    ("GET", f"{_P}/repository/branches"): (Listed, 200, list[Branch]),
    ("POST", f"{_P}/repository/branches"): (NewBranch, 201, Branch),
    ("GET", f"{_P}/repository/branches/*"): (Nothing, 200, Branch),
    ("DELETE", f"{_P}/repository/branches/*"): (Nothing, 204, None),
    ("GET", f"{_P}/protected_branches"): (Listed, 200, list[ProtectedBranch]),
    ("POST", f"{_P}/protected_branches"): (NewProtection, 201, ProtectedBranch),
    ("GET", f"{_P}/protected_branches/*"): (Nothing, 200, ProtectedBranch),
    ("PATCH", f"{_P}/protected_branches/*"): (ChangedProtection, 200, ProtectedBranch),
    ("DELETE", f"{_P}/protected_branches/*"): (Nothing, 204, None),
    ("GET", f"{_P}/protected_environments"): (Listed, 200, list[ProtectedEnvironment]),
    ("POST", f"{_P}/protected_environments"): (NewEnvironmentProtection, 201, ProtectedEnvironment),
    ("GET", f"{_P}/protected_environments/*"): (Nothing, 200, ProtectedEnvironment),
    ("PUT", f"{_P}/protected_environments/*"): (ChangedEnvironmentProtection, 200, ProtectedEnvironment),
    ("DELETE", f"{_P}/protected_environments/*"): (Nothing, 204, None),
    ("GET", f"{_P}/deployments"): (ListedDeployments, 200, list[Deployment]),
    ("POST", f"{_P}/deployments"): (NewDeployment, 201, Deployment),
    ("GET", f"{_P}/registry/repositories"): (Listed, 200, list[RegistryRepository]),
    ("GET", f"{_P}/registry/repositories/*/tags"): (Listed, 200, list[RegistryTag]),
    ("GET", f"{_P}/registry/repositories/*/tags/*"): (Nothing, 200, OneRegistryTag),
    ("GET", f"{_P}/pipeline_schedules"): (Listed, 200, list[PipelineSchedule]),
    ("POST", f"{_P}/pipeline_schedules"): (NewSchedule, 201, OnePipelineSchedule),
    ("GET", f"{_P}/pipeline_schedules/*"): (Nothing, 200, OnePipelineSchedule),
    ("PUT", f"{_P}/pipeline_schedules/*"): (ChangedSchedule, 200, OnePipelineSchedule),
    ("DELETE", f"{_P}/pipeline_schedules/*"): (Nothing, 204, None),
    ("GET", f"{_P}/protected_tags"): (Listed, 200, list[ProtectedTag]),
    ("POST", f"{_P}/protected_tags"): (NewTagProtection, 201, ProtectedTag),
    ("GET", f"{_P}/protected_tags/*"): (Nothing, 200, ProtectedTag),
    ("DELETE", f"{_P}/protected_tags/*"): (Nothing, 204, None),
    ("GET", f"{_P}/merge_requests/*/notes"): (ListedNotes, 200, list[Note]),
    ("POST", f"{_P}/merge_requests/*/notes"): (Body, 201, Note),
    ("PUT", f"{_P}/merge_requests/*/notes/*"): (Body, 200, Note),
}
"""Every operation in use: its attributes other than those in the path, the success status, and the answer's shape."""
