"""Deployer: the identity with which the app's pipeline deploys, and what it may do."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.admission_names import ACCOUNT
from components.app import App
from components.backup import Backup
from components.environment import Environment
from components.pods import core
from lookups.job_identity import JobIdentity
from sdks import kubernetes
from settings.delivery import DeliverySettings
from settings.names import PROGRAM

rbac = kubernetes.rbac.v1

_TOKEN: Final = f"{ACCOUNT}-token"
_RBAC: Final = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Grant:
    """What the Role allows on one kind."""

    group: str
    resource: str
    verbs: tuple[str, ...]


_LOOK: Final = ("get", "list", "watch")


def grants(*, jobs: bool) -> list[Grant]:
    """The calls of `ci/app.gitlab-ci.yml`; tests/rehearsal/test_deployer_access.py makes every call with the token.

    `jobs`: the stack has a template from which the pipeline creates Jobs.
    """
    of_jobs = [Grant("batch", "jobs", (*_LOOK, "create", "delete")), Grant("batch", "cronjobs", ("get",))]
    return [
        Grant("apps", "deployments", (*_LOOK, "patch", "update")),
        Grant("apps", "replicasets", _LOOK),
        Grant("", "pods", _LOOK),
        Grant("", "pods/log", ("get",)),
        *(of_jobs if jobs else []),
    ]


def token_secret(settings: DeliverySettings) -> str:
    """Name of the token's Secret. It contains the day by which to renew the token, so a new day makes a new Secret."""
    return _TOKEN if settings.renew_token_by is None else f"{_TOKEN}-{settings.renew_token_by.isoformat()}"


@dataclass(frozen=True, kw_only=True)
class DeployerArgs:
    """Settings and wires of the deployer."""

    settings: DeliverySettings
    environment: Environment
    app: App
    """The pipeline creates its migration Job from the app's template, if there is one."""
    backup: Backup | None
    """The pipeline first takes a backup, from this template; None if the stack has no backups."""
    identity: JobIdentity | None
    """User of the jobs' ID tokens; None if they get a token instead."""


class Deployer(pulumi.ComponentResource):
    """A Role for a pipeline outside, bound to the user of GitLab's ID tokens or to a ServiceAccount with a token.

    The token does not expire by itself. A new name for its Secret creates a new token, which the pipeline gets before
    the old Secret, and with it the old token, is deleted.
    """

    user: pulumi.Output[str]
    """Name of the pipeline's user to the API server."""
    token: pulumi.Output[str] | None
    """Bearer token; secret. None if GitLab signs one for each job."""
    certificate_authority: pulumi.Output[str]
    """CA certificate of the API server: PEM in base64 on one line, like a kubeconfig's `certificate-authority-data`."""

    def __init__(self, name: str, args: DeployerArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:deployer:Deployer", name, None, opts)
        child, environment = ResourceOptions(parent=self), args.environment
        role = rbac.Role("role", metadata=environment.metadata(ACCOUNT), rules=_rules(args), opts=child)
        if args.identity is None:
            account = core.ServiceAccount(
                "account",
                metadata=environment.metadata(ACCOUNT),
                automount_service_account_token=False,
                opts=child,
            )
            name_of = account.metadata.name
            subject = rbac.SubjectArgs(kind="ServiceAccount", name=name_of, namespace=environment.namespace)
            self.user = pulumi.Output.format("system:serviceaccount:{0}:{1}", environment.namespace, ACCOUNT)
        else:
            subject = rbac.SubjectArgs(kind="User", name=args.identity.user, api_group=_RBAC)
            self.user = pulumi.Output.from_input(args.identity.user)
        rbac.RoleBinding(
            "role-binding",
            metadata=environment.metadata(ACCOUNT),
            subjects=[subject],
            role_ref=rbac.RoleRefArgs(api_group=_RBAC, kind="Role", name=role.metadata.name),
            opts=child,
        )
        if args.identity is None:
            secret = self._secret(args, account)
            self.token = pulumi.Output.secret(secret.data.apply(_token))
            self.certificate_authority = secret.data.apply(lambda data: (data or {}).get("ca.crt", ""))
        else:
            self.token = None
            self.certificate_authority = pulumi.Output.from_input(args.identity.certificate_authority)
        # Without the token: debug messages and the event log print a component's outputs unmasked.
        self.register_outputs({"certificate_authority": self.certificate_authority})

    def _secret(self, args: DeployerArgs, account: core.ServiceAccount) -> core.Secret:
        return core.Secret(
            "token",
            metadata=args.environment.metadata(
                token_secret(args.settings),
                app=ACCOUNT,
                annotations={
                    "kubernetes.io/service-account.name": account.metadata.name,
                    # The plugin itself waits only 5 s for this type, and a busy token controller can take longer.
                    "pulumi.com/waitFor": "jsonpath={.data.token}",
                },
            ),
            type="kubernetes.io/service-account-token",
            opts=ResourceOptions(parent=self, depends_on=[account]),
        )


def _token(data: Mapping[str, str] | None) -> str:
    return base64.b64decode((data or {}).get("token", "")).decode()


def _rules(args: DeployerArgs) -> list[rbac.PolicyRuleArgs]:
    made_from = [args.app.migration, args.backup.template if args.backup else None]
    templates = [template.name for template in made_from if template]  # it may read no others
    return [
        rbac.PolicyRuleArgs(
            api_groups=[one.group],
            resources=[one.resource],
            verbs=[*one.verbs],
            resource_names=templates if one.resource == "cronjobs" else None,
        )
        for one in grants(jobs=bool(templates))
    ]
