"""ServiceToken: the Access service token with which machines, not people, get past the public hostnames' login.

For the probe from outside and the pipeline's verify job. The policy admits this token and nothing else.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.public_names import NAME_UNTIL, NON_IDENTITY
from components.registry_item import RegistryItem
from lookups.onepassword import ItemPlace
from sdks import cloudflare
from settings.names import PROGRAM, Names

LONGEST_DAYS: Final = 365
"""Days for which Cloudflare accepts the token after it was issued: its own default, 8760h."""


@dataclass(frozen=True, kw_only=True)
class ServiceTokenArgs:
    """The owner of the token, and its 1Password item."""

    names: Names
    account_id: str
    expires: dt.date
    """Day by which to renew the token; a change issues a new token before it revokes the old one."""
    item: ItemPlace
    """The 1Password item to which the program writes the token."""


class ServiceToken(pulumi.ComponentResource):
    """The token, the policy that admits it, and the 1Password item."""

    policy_id: pulumi.Output[str]
    """Id of the policy, for the Access applications."""
    client_id: pulumi.Output[str]
    """Value of the header CF-Access-Client-Id."""
    client_secret: pulumi.Output[str]
    """Value of the header CF-Access-Client-Secret; secret."""

    def __init__(self, name: str, args: ServiceTokenArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:service_token:ServiceToken", name, None, opts)
        names = args.names
        token = cloudflare.ZeroTrustAccessServiceToken(
            "access-token",
            account_id=args.account_id,
            name=NAME_UNTIL.format(names.service_token, args.expires.isoformat()),
            # Not exactly until `expires`: counted from today, the duration would differ on each `up`.
            duration=f"{LONGEST_DAYS * 24}h",
            opts=ResourceOptions(parent=self, replace_on_changes=["name"], additional_secret_outputs=["client_secret"]),
        )
        policy = cloudflare.ZeroTrustAccessPolicy(
            "access-policy",
            account_id=args.account_id,
            name=names.service_token,
            decision=NON_IDENTITY,
            includes=[
                cloudflare.ZeroTrustAccessPolicyIncludeArgs(
                    service_token=cloudflare.ZeroTrustAccessPolicyIncludeServiceTokenArgs(token_id=token.id)
                )
            ],
            opts=ResourceOptions(parent=self),
        )
        self.client_id = token.client_id
        self.client_secret = pulumi.Output.secret(token.client_secret)
        RegistryItem(
            "access-token-item",
            vault=args.item.vault,
            title=args.item.title,
            item=args.item.item,
            username=self.client_id,
            password=self.client_secret,
            token_name=names.service_token,
            owner=f"{names.owner}",
            setting="access.public.serviceToken.item",
            opts=ResourceOptions(parent=self),
        )
        self.policy_id = policy.id
        self.register_outputs({"policy_id": self.policy_id})
