"""Delivery: what the app's GitLab project is given so that its pipeline can deploy into this stack."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pulumi
import pulumi_gitlab as gitlab
from pulumi import ResourceOptions

from components.gitlab_project import GitLabProject
from components.maskable import check_maskable


@dataclass(frozen=True, kw_only=True)
class DeliveryArgs:
    """What a Delivery needs."""

    project: GitLabProject
    environment: str
    """Name of the GitLab environment, which is also the scope of the variables."""
    tier: str
    branch_protected: bool
    """Whether the branch that deploys is protected: only then does its pipeline see protected variables."""
    url: str
    """Where people reach the app, with scheme; baked into the image at build time."""
    health_url: pulumi.Input[str]
    """What the pipeline asks whether the app is well: inside the network, where no login stands before it."""
    image: pulumi.Input[str]
    """Image repository that the pipeline pushes to, without a tag."""
    namespace: pulumi.Input[str]
    api_url: pulumi.Input[str]
    certificate_authority: pulumi.Input[str]
    """PEM in base64 on one line."""
    token: pulumi.Input[str]
    """The deployer's bearer token."""


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
            description="Managed by invoicetron's infrastructure program",
            external_url=args.url,
            tier=args.tier,
            # GitLab deletes an environment only when it is stopped.
            stop_before_destroy=True,
            opts=ResourceOptions(parent=self, import_=args.project.environment_import(args.environment)),
        )
        self.environment = environment.name
        self._variable(args, "KUBE_TOKEN", args.token, masked=True)
        self._variable(args, "KUBE_API_URL", args.api_url)
        self._variable(args, "KUBE_CA", args.certificate_authority)
        self._variable(args, "KUBE_NAMESPACE", args.namespace)
        self._variable(args, "APP_URL", args.url)
        self._variable(args, "APP_IMAGE", args.image)
        self._variable(args, "HEALTH_URL", args.health_url)
        self.register_outputs({"environment": self.environment})

    def _variable(self, args: DeliveryArgs, key: str, value: pulumi.Input[str], *, masked: bool = False) -> None:
        if masked:
            value = pulumi.Output.secret(value).apply(partial(check_maskable, key, raw=True))
        project, scope = args.project, args.environment
        gitlab.ProjectVariable(
            key,
            project=project.id,
            key=key,
            value=value,
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
            ),
        )
