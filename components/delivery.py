"""Delivery: what the app's GitLab project is given so that its pipeline can deploy into this stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import pulumi
from pulumi import ResourceOptions

from components.maskable import check_maskable
from components.ownership import Owner
from lookups.gitlab import NAMESPACE, GitLabProject
from sdks import gitlab

TOKEN: Final = "KUBE_TOKEN"  # noqa: S105 - the variable's name
"""Key of the one variable that is a secret."""

_Text = TypeVar("_Text")


def variables(
    *,
    token: _Text,
    api_url: _Text,
    certificate_authority: _Text,
    namespace: _Text,
    url: _Text,
    image: _Text,
    health_url: _Text,
) -> dict[str, _Text]:
    """The CI variables, by key.

    `certificate_authority` is PEM in base64 on one line; `url` is where people reach the app, baked into the image at
    build time; `image` is the repository that the pipeline pushes to, without a tag; `health_url` is what it asks
    whether the app is well: inside the network, where no login stands before it.
    """
    return {
        TOKEN: token,
        "KUBE_API_URL": api_url,
        "KUBE_CA": certificate_authority,
        NAMESPACE: namespace,
        "APP_URL": url,
        "APP_IMAGE": image,
        "HEALTH_URL": health_url,
    }


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """What a Delivery needs."""

    owner: Owner
    """Whose environment and variables they are; the descriptions say so."""
    project: GitLabProject
    environment: str
    """Name of the GitLab environment, which is also the scope of the variables."""
    tier: str
    branch_protected: bool
    """Whether the branch that deploys is protected: only then does its pipeline see protected variables."""
    url: str
    """Where people reach the app, with scheme."""
    variables: Mapping[str, pulumi.Input[str]]
    """The CI variables, by key."""


class Delivery(pulumi.ComponentResource):
    """GitLab environment and its CI variables."""

    environment: pulumi.Output[str]
    """Name of the environment."""

    def __init__(self, name: str, args: DeliveryArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("invoicetron:delivery:Delivery", name, None, opts)
        environment = gitlab.ProjectEnvironment(
            "environment",
            project=args.project.id,
            name=args.environment,
            description=args.owner.mark,
            external_url=args.url,
            tier=args.tier,
            # GitLab deletes an environment only when it is stopped.
            stop_before_destroy=True,
            opts=ResourceOptions(parent=self, import_=args.project.environment_import(args.environment)),
        )
        self.environment = environment.name
        for key, value in args.variables.items():
            self._variable(args, key, value, masked=key == TOKEN)
        self.register_outputs({"environment": self.environment})

    def _variable(self, args: DeliveryArgs, key: str, value: pulumi.Input[str], *, masked: bool) -> None:
        if masked:
            value = pulumi.Output.secret(value).apply(partial(check_maskable, key, raw=True))
        project, scope = args.project, args.environment
        gitlab.ProjectVariable(
            key,
            project=project.id,
            key=key,
            value=value,
            description=args.owner.mark,
            # The output, so that the variables come after their environment and go before it.
            environment_scope=self.environment,
            masked=masked,
            protected=masked and args.branch_protected,
            raw=True,  # no value may be read as a reference to another variable
            opts=ResourceOptions(
                parent=self,
                import_=project.variable_import(key, scope),
                # The SDK takes the value for public.
                additional_secret_outputs=["value"] if masked else None,
                # Of one that was made by hand, a preview would print the old value.
                hide_diffs=["value"] if masked else None,
            ),
        )
