"""The explicit providers. Default providers are disabled, so a resource without one of these is refused.

A provider's state is the same on every machine: it holds no credential, endpoint or path. The plugins read those from
the environment on each run, and `_without` removes what the SDKs copy from the environment into the inputs. This is not
only for secrecy: `refresh` and `destroy` configure the plugins from the recorded inputs, and would use a token that has
since been rotated, or another machine's kubeconfig path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property

import pulumi
import pulumi_onepassword as onepassword

from lookups.credentials import check_environment
from sdks import cloudflare, gitlab, kubernetes
from settings import Settings


class Providers:
    """The providers of one stack, each created on first use.

    The plugins, too, read credentials and endpoints from `environment`. The constructor checks all of it, and
    CredentialsError names everything that the stack's sections need and that is missing or unusable.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
        self._settings = settings
        # The plugin reads it too, but an explicit base_url takes precedence.
        self._gitlab_url_is_set = bool(environment.get("GITLAB_BASE_URL"))
        check_environment(settings, environment)

    @cached_property
    def kubernetes(self) -> kubernetes.Provider:
        """The cluster that the settings name, whatever the kubeconfig's current context is."""
        return kubernetes.Provider(
            "kubernetes",
            context=self._settings.cluster.context,
            # Without it, a changed server address would replace every resource, the namespace included.
            cluster_identifier=self._settings.cluster.identifier,
            # Otherwise a changed Secret is deleted and created again, and a pod that starts in between fails.
            enable_secret_mutable=True,
            # The same for the scripts of backup and restore.
            enable_config_map_mutable=True,
            # Set explicitly, because PULUMI_K8S_* variables could change each of them: `up` would then revert the
            # pipeline's image, drop resources of an unreachable cluster from the state, pass over their updates, or
            # overwrite objects made by hand.
            enable_server_side_apply=True,
            enable_patch_force=False,
            delete_unreachable=False,
            skip_update_unreachable=False,
            upsert_existing_objects=False,
            opts=_without("kubeconfig"),
        )

    @cached_property
    def onepassword(self) -> onepassword.Provider:
        """1Password, through a Connect server or the `op` command."""
        return onepassword.Provider(
            "onepassword", opts=_without("account", "op_cli_path", "service_account_token", "token", "url")
        )

    @cached_property
    def gitlab(self) -> gitlab.Provider:
        """GitLab."""
        delivery = self._settings.delivery
        server = None if self._gitlab_url_is_set or delivery is None else f"{delivery.gitlab}/api/v4/"
        return gitlab.Provider("gitlab", base_url=server)

    @cached_property
    def cloudflare(self) -> cloudflare.Provider:
        """Cloudflare."""
        return cloudflare.Provider("cloudflare")

    @cached_property
    def dynamic(self) -> pulumi.ProviderResource:
        """Runs the dynamic resources: disabling default providers disables theirs too."""
        return _DynamicProvider("pulumi-python", "dynamic")

    @cached_property
    def options(self) -> pulumi.ResourceOptions:
        """Options of a component: the stack's providers, of which each child uses the one for its type."""
        settings = self._settings
        providers: list[pulumi.ProviderResource] = [self.kubernetes, self.dynamic]
        if settings.delivery:
            providers.append(self.gitlab)
        if settings.access.public or settings.r2:
            providers.append(self.cloudflare)
        return pulumi.ResourceOptions(providers=providers)


class _DynamicProvider(pulumi.ProviderResource):
    """The provider that ships with the Python language host; the SDK has no class for it."""


def _without(*names: str) -> pulumi.ResourceOptions:
    """Options that remove the named inputs after the SDK has filled them from the environment."""

    def strip(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        props = {name: value for name, value in args.props.items() if name not in names}
        return pulumi.ResourceTransformationResult(props=props, opts=args.opts)

    return pulumi.ResourceOptions(transformations=[strip])
