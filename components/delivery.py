"""Delivery: the environment and CI variables in the app's GitLab project, with which its pipeline deploys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import pulumi
from pulumi import ResourceHook, ResourceHookBinding, ResourceOptions

from components.deployer import Deployer
from components.maskable import check_maskable
from components.service_token import ServiceToken
from lookups.ci_variable import CiVariable
from lookups.gitlab import NAMESPACE, GitLabProject, is_protected
from sdks import gitlab
from settings import Settings
from settings.delivery import DeliverySettings
from settings.images import image_repository
from settings.names import PROGRAM

TOKEN: Final = "KUBE_TOKEN"  # noqa: S105 - the variable's name
"""Key of the variable with the token that deploys."""
USER: Final = "KUBE_USER"
"""Key of the variable with the user name of the jobs' ID tokens, which replace the token."""
CLIENT_ID: Final = "CF_ACCESS_CLIENT_ID"
CLIENT_SECRET: Final = "CF_ACCESS_CLIENT_SECRET"  # noqa: S105 - the variable's name
"""Keys of the variables with the Access service token, if the stack has one."""
SECRETS: Final = frozenset({TOKEN, CLIENT_SECRET})
"""Keys of the variables with secrets, which the program itself issues: masked, and created anew instead of imported."""

NO_MIGRATION: Final = "none"
"""Value of APP_MIGRATION for an app without a database: GitLab refuses a variable without a value."""

_Text = TypeVar("_Text")


def variables(
    settings: Settings, *, credentials: Mapping[str, _Text], certificate_authority: _Text
) -> dict[str, _Text | str]:
    """The CI variables, by key.

    `credentials` are TOKEN or USER with its value, and `certificate_authority` is PEM in base64 on one line.
    """
    return {
        **credentials,
        "KUBE_API_URL": settings.cluster.api_url,
        "KUBE_CA": certificate_authority,
        NAMESPACE: settings.namespace,
        # Deployment, container and CronJobs are named after it.
        "APP_NAME": settings.names.app,
        # The stack's name for `python -m ops`, in commands that the pipeline prints for people.
        "APP_STACK": settings.stack,
        # The CronJob from which it creates its migrations.
        "APP_MIGRATION": settings.names.migration if settings.database else NO_MIGRATION,
        # Where people reach the app; baked into the image at build time.
        "APP_URL": settings.access.people_url,
        # The image that the pipeline pushes, without a tag.
        "APP_IMAGE": image_repository(settings.app.image),
        # Where it checks the app's health: inside the network, without a login.
        "HEALTH_URL": settings.health_urls[0],
        # The same from the internet, with the service token.
        **({"PUBLIC_HEALTH_URL": urls[0]} if (urls := settings.public_health_urls) else {}),
    }


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """The whole settings, because the pipeline's variables come from more than one section, and the wires."""

    settings: Settings
    delivery: DeliverySettings
    """The section `delivery` of `settings`, which not every stack has."""
    project: GitLabProject
    deployer: Deployer
    service_token: ServiceToken | None
    """For the pipeline's check of the public address; None if the stack has none."""


class Delivery(pulumi.ComponentResource):
    """GitLab environment and its CI variables."""

    environment: pulumi.Output[str]
    """Name of the environment."""

    def __init__(self, name: str, args: DeliveryArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:delivery:Delivery", name, None, opts)
        settings, wanted = args.settings, args.delivery.environment
        environment = gitlab.ProjectEnvironment(
            "environment",
            project=args.project.id,
            name=wanted.name,
            description=_mark(settings),
            external_url=settings.access.people_url,
            tier=wanted.tier,
            # GitLab only deletes a stopped environment.
            stop_before_destroy=True,
            opts=ResourceOptions(parent=self, import_=args.project.environment_import(wanted.name)),
        )
        self.environment = environment.name
        deployer = args.deployer
        credentials = {USER: deployer.user} if deployer.token is None else {TOKEN: deployer.token}
        authority = deployer.certificate_authority
        listed = variables(settings, credentials=credentials, certificate_authority=authority)
        if args.service_token:
            listed |= {CLIENT_ID: args.service_token.client_id, CLIENT_SECRET: args.service_token.client_secret}
        for key, value in listed.items():
            self._variable(args, key, value, masked=key in SECRETS)
        self.register_outputs({"environment": self.environment})

    def _variable(self, args: DeliveryArgs, key: str, value: pulumi.Input[str], *, masked: bool) -> None:
        if masked:
            value = pulumi.Output.secret(value).apply(partial(check_maskable, key, raw=True))
        project, scope = args.project, args.delivery.environment.name
        by_hand = CiVariable(gitlab=args.delivery.gitlab, project=project.id, key=key, scope=scope)
        gitlab.ProjectVariable(
            key,
            project=project.id,
            key=key,
            value=value,
            description=_mark(args.settings),
            # The output, so that the variables are created after their environment and deleted before it.
            environment_scope=self.environment,
            masked=masked,
            protected=masked and is_protected(args.settings, args.delivery, project),
            raw=True,  # no value may be read as a reference to another variable
            opts=ResourceOptions(
                parent=self,
                # An import would show the value of a variable that was created by hand.
                import_=None if masked else project.variable_import(key, scope),
                hooks=_taking_the_place_of(by_hand) if masked else None,
                # The SDK does not mark the value as secret.
                additional_secret_outputs=["value"] if masked else None,
                # Otherwise a preview would print the value of a variable that was changed by hand.
                hide_diffs=["value"] if masked else None,
            ),
        )


def _taking_the_place_of(variable: CiVariable) -> ResourceHookBinding:
    hook = ResourceHook(f"delete-{variable.key}-made-by-hand", variable.delete)
    return ResourceHookBinding(before_create=[hook])


def _mark(settings: Settings) -> str:
    return settings.names.owner.mark
