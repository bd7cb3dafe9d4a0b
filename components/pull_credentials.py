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
"""The key in the Secret."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Credentials that somebody keeps by hand."""

    username: pulumi.Input[str]
    password: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class Issue:
    """A deploy token of the stack's own."""

    gitlab: str
    """Address of GitLab."""
    project: str
    """Number of the GitLab project."""
    name: str
    """Not `gitlab-deploy-token`: GitLab hands a token of that name to every CI job."""
    owner: str
    """The stack, as the item names it."""
    expires: dt.date
    """Its last day, UTC; a change issues a new token before the old one is revoked."""
    item: ItemPlace
    """The 1Password item that shows people which credentials are in use."""


@dataclass(frozen=True, kw_only=True)
class PullCredentialsArgs:
    """Settings and wires of the pull credentials."""

    settings: RegistrySettings
    environment: Environment
    credentials: Login | Issue


class PullCredentials(pulumi.ComponentResource):
    """The pull secret, and where the stack issues its own credentials the deploy token and the 1Password item."""

    secret_name: pulumi.Output[str]
    """For `imagePullSecrets`."""

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
        # Any change replaces the token. The engine makes the new one, updates what uses it, and only then revokes the
        # old one, so at every moment the cluster holds credentials that are valid.
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
    """The credentials that 1Password holds, or a deploy token of the stack's own where the settings ask for one."""
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
    """Hooks of the pull secret: once it holds the token in use, one whose only showing was lost is revoked."""
    tokens = DeployTokens(gitlab=issue.gitlab, project=issue.project, name=issue.name)
    # A hook that fails would cancel the deployment in the middle, for what the next change of the secret does as well.
    warns = ResourceHookOptions(ignore_errors=True)
    hook = ResourceHook("revoke-lost-deploy-tokens", tokens.revoke_lost, warns)
    return ResourceHookBinding(after_create=[hook], after_update=[hook])


def docker_config(server: str, username: str, password: str) -> str:
    """The docker configuration that logs in to one registry."""
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {server: {"username": username, "password": password, "auth": auth}}})
