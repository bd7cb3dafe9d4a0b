"""The shapes of GitLab's REST API v4, as our own models: what each endpoint in use answers.

Source: the pages of docs.gitlab.com/api that `requests.PAGES` names; where a page shows less than the API returns, the
entities in lib/api/entities of github.com/gitlabhq/gitlabhq. The models refuse an attribute that neither source knows:
nobody may rely on one.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
"""GitLab writes times in UTC, with milliseconds."""
Tier = Literal["production", "staging", "testing", "development", "other"]
Role = Literal[0, 30, 40, 60]


class Shape(BaseModel):
    """An answer, or a request's attributes."""

    model_config = ConfigDict(extra="forbid")


class Part(BaseModel):
    """An answer of which the emulator returns only what is in use, which is checked."""

    model_config = ConfigDict(extra="forbid")


class User(Part):
    """`GET /user`."""

    id: StrictInt
    username: StrictStr
    name: StrictStr
    state: Literal["active", "blocked"]
    is_admin: StrictBool | None = None
    web_url: StrictStr
    avatar_url: StrictStr | None


class Token(Shape):
    """`GET /personal_access_tokens/self`."""

    id: StrictInt
    name: StrictStr
    revoked: StrictBool
    created_at: Moment
    description: StrictStr | None
    scopes: list[StrictStr]
    user_id: StrictInt
    last_used_at: Moment | None
    active: StrictBool
    expires_at: dt.date | None


class Version(Shape):
    """`GET /version`."""

    version: StrictStr
    revision: StrictStr


class Kas(Shape):
    """The agent server for Kubernetes."""

    enabled: StrictBool
    externalUrl: StrictStr | None  # noqa: N815 - the page's names
    externalK8sProxyUrl: StrictStr | None  # noqa: N815
    version: StrictStr | None


class Metadata(Version):
    """`GET /metadata`."""

    kas: Kas
    enterprise: StrictBool


class ProjectAccess(Shape):
    """A role in a project."""

    access_level: Literal[5, 10, 15, 20, 30, 40, 50]
    notification_level: StrictInt


class Permissions(Shape):
    """The requesting user's roles."""

    project_access: ProjectAccess | None
    group_access: ProjectAccess | None


class CleanUpPolicy(Shape):
    """`container_expiration_policy` of a project."""

    cadence: Literal["1d", "7d", "14d", "1month", "3month"]
    enabled: StrictBool
    keep_n: Literal[1, 5, 10, 25, 50, 100] | None
    older_than: Literal["7d", "14d", "30d", "90d"] | None
    name_regex: StrictStr | None
    name_regex_keep: StrictStr | None
    next_run_at: Moment | None


class RegistryRepository(Shape):
    """A repository of a project's container registry, in a list."""

    id: StrictInt
    name: StrictStr
    path: StrictStr
    project_id: StrictInt
    location: StrictStr
    created_at: Moment
    cleanup_policy_started_at: Moment | None
    status: Literal["delete_scheduled", "delete_failed", "delete_ongoing"] | None


class RegistryTag(Shape):
    """A tag in a list."""

    name: StrictStr
    path: StrictStr
    location: StrictStr


class OneRegistryTag(RegistryTag):
    """A tag that was requested by its name."""

    revision: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    short_revision: Annotated[str, Field(pattern="^[0-9a-f]{9}$")]
    digest: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
    created_at: Moment | None
    total_size: StrictInt | None


class Project(Part):
    """`GET /projects/:id`."""

    id: StrictInt
    name: StrictStr
    path: StrictStr
    path_with_namespace: StrictStr
    default_branch: StrictStr | None
    web_url: StrictStr
    container_registry_image_prefix: StrictStr | None = None
    container_expiration_policy: CleanUpPolicy
    visibility: Literal["private", "internal", "public"]
    allow_pipeline_trigger_approve_deployment: StrictBool | None = None
    permissions: Permissions


class Environment(Shape):
    """An environment in a list, or just created or changed."""

    id: StrictInt
    name: StrictStr
    slug: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,23}$")]
    description: StrictStr | None
    external_url: StrictStr | None
    state: Literal["available", "stopping", "stopped"]
    tier: Tier
    created_at: Moment
    updated_at: Moment
    auto_stop_at: Moment | None
    auto_stop_setting: Literal["always", "with_action"]
    kubernetes_namespace: StrictStr | None
    flux_resource_path: StrictStr | None
    cluster_agent: dict[str, Any] | None


class OneEnvironment(Environment):
    """`GET /projects/:id/environments/:environment_id`."""

    last_deployment: dict[str, Any] | None


class Deployment(Part):
    """A deployment: in a list, or just created through the API."""

    id: StrictInt
    iid: StrictInt
    ref: StrictStr
    sha: StrictStr
    created_at: Moment
    updated_at: Moment
    status: Literal["created", "running", "success", "failed", "canceled", "skipped", "blocked"]
    user: User
    environment: Environment
    deployable: None
    """The job; the emulator shows none."""


class Variable(Shape):
    """A CI variable; GitLab hides the value of a hidden one."""

    variable_type: Literal["env_var", "file"]
    key: StrictStr
    value: StrictStr | None
    protected: StrictBool
    masked: StrictBool
    hidden: StrictBool
    raw: StrictBool
    environment_scope: StrictStr
    description: StrictStr | None


class DeployToken(Shape):
    """A deploy token, which is never shown again."""

    id: StrictInt
    name: StrictStr
    username: StrictStr
    expires_at: Moment | None
    revoked: StrictBool
    expired: StrictBool
    scopes: list[StrictStr]


class NewDeployToken(DeployToken):
    """A deploy token that was just created."""

    token: StrictStr


class HostKey(Shape):
    """A host key that a push mirror trusts."""

    fingerprint_sha256: Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class RemoteMirror(Shape):
    """A push mirror."""

    id: StrictInt
    enabled: StrictBool
    url: StrictStr
    update_status: Literal["none", "scheduled", "started", "finished", "failed"]
    last_update_at: Moment | None
    last_update_started_at: Moment | None
    last_successful_update_at: Moment | None
    last_error: StrictStr | None
    only_protected_branches: StrictBool
    keep_divergent_refs: StrictBool
    auth_method: Literal["password", "ssh_public_key"]
    host_keys: list[HostKey]
    mirror_branch_regex: StrictStr | None = None
    """Only with a licence."""


class PublicKey(Shape):
    """The key with which a push mirror logs in."""

    public_key: Annotated[str, Field(pattern=r"^ssh-rsa \S+")]


class Commit(Shape):
    """A commit of a branch."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    short_id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    created_at: StrictStr
    parent_ids: list[StrictStr]
    title: StrictStr
    message: StrictStr
    author_name: StrictStr
    author_email: StrictStr
    authored_date: StrictStr
    committer_name: StrictStr
    committer_email: StrictStr
    committed_date: StrictStr
    trailers: dict[str, str]
    extended_trailers: dict[str, list[str]]
    web_url: StrictStr


class Branch(Shape):
    """A branch."""

    name: StrictStr
    commit: Commit
    merged: StrictBool
    protected: StrictBool
    developers_can_push: StrictBool
    developers_can_merge: StrictBool
    can_push: StrictBool
    default: StrictBool
    web_url: StrictStr


class AccessLevel(Shape):
    """Who may act; the last two only in an Enterprise Edition."""

    id: StrictInt
    access_level: Role | None
    access_level_description: StrictStr
    deploy_key_id: StrictInt | None = None
    user_id: StrictInt | None = None
    group_id: StrictInt | None = None


class ProtectedBranch(Shape):
    """The protection of a branch, or of a wildcard."""

    id: StrictInt
    name: StrictStr
    push_access_levels: list[AccessLevel]
    merge_access_levels: list[AccessLevel]
    unprotect_access_levels: list[AccessLevel] | None = None
    allow_force_push: StrictBool
    code_owner_approval_required: StrictBool | None = None
    inherited: StrictBool | None = None


class CreateAccessLevel(Part):
    """Who may create a tag."""

    id: StrictInt
    access_level: Role
    access_level_description: StrictStr


class ProtectedTag(Part):
    """The protection of a tag, or of a wildcard."""

    name: StrictStr
    create_access_levels: list[CreateAccessLevel]


class PipelineSchedule(Part):
    """A schedule in a list, or just created."""

    id: StrictInt
    description: StrictStr
    ref: Annotated[str, Field(pattern=r"^refs/")]
    cron: StrictStr
    cron_timezone: StrictStr
    next_run_at: Moment | None
    active: StrictBool
    created_at: Moment
    updated_at: Moment
    owner: dict[str, Any]


class OnePipelineSchedule(PipelineSchedule):
    """A schedule that was requested alone."""

    last_pipeline: dict[str, Any] | None
    variables: list[dict[str, Any]]


class DeployAccessLevel(Shape):
    """Who may deploy."""

    id: StrictInt
    access_level: Literal[30, 40, 60] | None
    access_level_description: StrictStr
    user_id: StrictInt | None
    group_id: StrictInt | None
    group_inheritance_type: Literal[0, 1]


class ProtectedEnvironment(Shape):
    """The protection of an environment."""

    name: StrictStr
    deploy_access_levels: list[DeployAccessLevel]
    approval_rules: list[dict[str, Any]]


class Note(Shape):
    """A comment on a merge request."""

    id: StrictInt
    type: StrictStr | None
    body: StrictStr
    author: User
    created_at: Moment
    updated_at: Moment
    system: StrictBool
    noteable_id: StrictInt
    noteable_type: Literal["MergeRequest"]
    project_id: StrictInt
    resolvable: StrictBool
    confidential: StrictBool
    internal: StrictBool
    imported: StrictBool
    imported_from: StrictStr
    noteable_iid: StrictInt
    commands_changes: dict[str, Any]
