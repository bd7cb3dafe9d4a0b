"""Cloudflare's Access application and DNS record, registered as the SDK registers them, but without its classes.

Each of those imports the input types of all of Cloudflare's resources: half of the time by which prod's start exceeds
dev's (docs/measurements.md). A test registers the same resources both ways and compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from sdks import plugin_options


class AccessApplication(pulumi.CustomResource):
    """A self-hosted Access application: the SDK's `ZeroTrustAccessApplication`."""

    aud: pulumi.Output[str]
    """Audience of its tokens."""

    def __init__(
        self,
        resource_name: str,
        *,
        account_id: str,
        name: str,
        domain: str,
        session_duration: str,
        policy_ids: Sequence[pulumi.Input[str]],
        identity_provider_ids: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`session_duration` as Access writes it, e.g. `24h`; no `identity_provider_ids` means any login method."""
        props: Mapping[str, Any] = {
            "accountId": account_id,
            "name": name,
            "type": "self_hosted",
            "domain": domain,
            "sessionDuration": session_duration,
            "policies": [{"id": id_, "precedence": place} for place, id_ in enumerate(policy_ids, start=1)],
            "allowedIdps": list(identity_provider_ids) or None,
            "appLauncherVisible": False,
            "httpOnlyCookieAttribute": True,
            "sameSiteCookieAttribute": "lax",
            "aud": None,
        }
        type_ = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"
        formerly = "cloudflare:index/accessApplication:AccessApplication"
        super().__init__(type_, resource_name, props, _as_the_sdk(opts, formerly))


class DnsRecord(pulumi.CustomResource):
    """A CNAME through Cloudflare's proxy: the SDK's `DnsRecord`."""

    name: pulumi.Output[str]
    """The hostname."""

    def __init__(
        self,
        resource_name: str,
        *,
        zone_id: str,
        name: str,
        content: str,
        comment: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props: Mapping[str, Any] = {
            "zoneId": zone_id,
            "name": name,
            "type": "CNAME",
            "content": content,
            "proxied": True,
            "ttl": 1,  # automatic
            "comment": comment,
        }
        formerly = "cloudflare:index/record:Record"
        super().__init__("cloudflare:index/dnsRecord:DnsRecord", resource_name, props, _as_the_sdk(opts, formerly))


def _as_the_sdk(opts: pulumi.ResourceOptions | None, formerly: str) -> pulumi.ResourceOptions:
    own = pulumi.ResourceOptions.merge(plugin_options("cloudflare"), opts)
    return pulumi.ResourceOptions.merge(own, pulumi.ResourceOptions(aliases=[pulumi.Alias(type_=formerly)]))
