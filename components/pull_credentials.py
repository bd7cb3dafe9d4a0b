"""PullCredentials: the secret with which the cluster pulls the app's image from the project's private registry."""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
from pulumi import ResourceHook, ResourceHookBinding, ResourceHookOptions, ResourceOptions

from components.environment import Environment
from components.pods import core
from components.registry_item import RegistryItem
from lookups.deploy_tokens import IN_USE, DeployTokens
from lookups.gitlab import GitLabProject
from lookups.onepassword import ItemPlace
from sdks import gitlab
from settings import Settings
from settings.names import PROGRAM
from settings.registry import RegistrySettings

if TYPE_CHECKING:
    from lookups.secrets import StackSecrets

SECRET: Final = "gitlab-registry"  # noqa: S105 - the Secret's name
CONFIG: Final = ".dockerconfigjson"
"""Key in the Secret."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Credentials that somebody maintains by hand."""

    username: pulumi.Input[str]
    password: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class Issue:
    """The stack's own deploy token."""

    gitlab: str
    """Address of GitLab."""
    project: str
    """Id of the GitLab project."""
    name: str
    """Not `gitlab-deploy-token`: GitLab gives a token of that name to every CI job."""
    owner: str
    """The stack, as the item names it."""
    expires: dt.date
    """The token's last day, UTC; a change issues a new token before it revokes the old one."""
    item: ItemPlace
    """The 1Password item that shows people which credentials are in use."""


@dataclass(frozen=True, kw_only=True)
class PullCredentialsArgs:
    """Settings and wires of the pull credentials."""

    settings: RegistrySettings
    environment: Environment
    credentials: Login | Issue


class PullCredentials(pulumi.ComponentResource):
    """The pull secret and, if the stack issues its own credentials, the deploy token and the 1Password item."""

    secret_name: pulumi.Output[str]
    """Name of the Secret, for `imagePullSecrets`."""

    def __init__(self, name: str, args: PullCredentialsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:pull_credentials:PullCredentials", name, None, opts)
        login, annotations, hooks = args.credentials, {}, None
        if isinstance(login, Issue):
            hooks = revoking_lost(login)
            login = self._issue(login)
            annotations = {IN_USE: login.username}
        parts = pulumi.Output.all(args.settings.server, login.username, login.password)
        secret = core.Secret(
            "pull-secret",
            metadata=args.environment.metadata(SECRET, annotations=annotations),
            type="kubernetes.io/dockerconfigjson",
            string_data={CONFIG: parts.apply(lambda texts: docker_config(*texts))},
            opts=ResourceOptions(parent=self, hooks=hooks),
        )
        self.secret_name = secret.metadata.name
        self.register_outputs({"secret_name": self.secret_name})

    def _issue(self, issue: Issue) -> Login:
        # Any change replaces the token. The engine creates the new one, updates what uses it, and only then revokes the
        # old one, so the cluster has valid credentials at all times.
        token = gitlab.ProjectDeployToken(
            "deploy-token",
            project=issue.project,
            name=issue.name,
            scopes=["read_registry"],
            expires_at=f"{issue.expires.isoformat()}T23:59:59Z",
            opts=ResourceOptions(parent=self),
        )
        RegistryItem(
            "item",
            vault=issue.item.vault,
            title=issue.item.title,
            item=issue.item.item,
            username=token.username,
            password=token.token,
            token_name=issue.name,
            owner=issue.owner,
            opts=ResourceOptions(parent=self),
        )
        return Login(username=token.username, password=token.token)


def choose(settings: Settings, secrets: StackSecrets, project: GitLabProject | None) -> Login | Issue:
    """The credentials in 1Password, or the stack's own deploy token if the settings ask for one."""
    delivery = settings.delivery
    if project and delivery and (pull := delivery.pull_credentials).expires and secrets.registry_item:
        return Issue(
            gitlab=delivery.gitlab,
            project=project.id,
            name=settings.names.deploy_token,
            owner=f"{settings.names.owner}",
            expires=pull.expires,
            item=secrets.registry_item,
        )
    if secrets.registry_username is None or secrets.registry_password is None:
        raise ValueError("read_secrets gave neither credentials to pull with nor an item to write issued ones to")
    return Login(username=secrets.registry_username, password=secrets.registry_password)


def revoking_lost(issue: Issue) -> ResourceHookBinding:
    """Hooks of the pull secret: once it holds the token in use, they revoke tokens whose value was lost."""
    tokens = DeployTokens(gitlab=issue.gitlab, project=issue.project, name=issue.name)
    # Errors only warn: a failed hook would cancel the update half-way, and the next change to the secret tries again.
    warns = ResourceHookOptions(ignore_errors=True)
    hook = ResourceHook("revoke-lost-deploy-tokens", tokens.revoke_lost, warns)
    return ResourceHookBinding(after_create=[hook], after_update=[hook])


def docker_config(server: str, username: str, password: str) -> str:
    """The Docker configuration for logging in to one registry."""
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {server: {"username": username, "password": password, "auth": auth}}})
