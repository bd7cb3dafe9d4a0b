"""The Cloudflare resources that are registered without its SDK are those that the SDK would register."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pytest
from pulumi.runtime.proto import resource_pb2

from components.cloudflare_resources import AccessApplication, DnsRecord
from sdks import cloudflare
from tests.unit.answers import AUDIENCE
from tests.unit.program import requests


def options() -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(
        provider=cloudflare.Provider("at-cloudflare"),
        aliases=[pulumi.Alias(name="earlier")],
        replace_on_changes=["domain"],
        import_="accounts/a/b",
    )


def one(found: list[resource_pb2.RegisterResourceRequest]) -> resource_pb2.RegisterResourceRequest:
    provider, request = sorted(found, key=lambda each: not each.type.startswith("pulumi:providers:"))
    assert provider.name == "at-cloudflare"
    request.provider = request.provider.rpartition("::")[0]  # the id differs in each run
    assert request.aliases
    return request


@pytest.mark.parametrize("logins", [(), ("one-time-pin",)])
def test_an_access_application_is_the_sdks(logins: Sequence[str]) -> None:
    def ours() -> None:
        AccessApplication(
            "application",
            account_id="account",
            name="Shop (dev)",
            domain="shop.example.com",
            session_duration="24h",
            policy_ids=["policy", "another"],
            identity_provider_ids=logins,
            opts=options(),
        )

    def theirs() -> None:
        cloudflare.ZeroTrustAccessApplication(
            "application",
            account_id="account",
            name="Shop (dev)",
            type="self_hosted",
            domain="shop.example.com",
            session_duration="24h",
            policies=[
                cloudflare.ZeroTrustAccessApplicationPolicyArgs(id="policy", precedence=1),
                cloudflare.ZeroTrustAccessApplicationPolicyArgs(id="another", precedence=2),
            ],
            allowed_idps=list(logins) or None,
            app_launcher_visible=False,
            http_only_cookie_attribute=True,
            same_site_cookie_attribute="lax",
            opts=options(),
        )

    assert one(requests(ours)) == one(requests(theirs))


def test_a_dns_record_is_the_sdks() -> None:
    zone, name, target, comment = "zone", "shop.example.com", "tunnel.example.com", "the shop's"

    def ours() -> None:
        DnsRecord("record", zone_id=zone, name=name, content=target, comment=comment, opts=options())

    def theirs() -> None:
        cloudflare.DnsRecord(
            "record",
            zone_id=zone,
            name=name,
            content=target,
            comment=comment,
            type="CNAME",
            proxied=True,
            ttl=1,
            opts=options(),
        )

    assert one(requests(ours)) == one(requests(theirs))


def test_properties_that_other_resources_read_are_outputs() -> None:
    seen: list[str] = []

    def program() -> None:
        application = AccessApplication(
            "application",
            account_id="account",
            name="Shop",
            domain="shop.example.com",
            session_duration="24h",
            policy_ids=["policy"],
            identity_provider_ids=(),
        )
        record = DnsRecord("record", zone_id="z", name="shop.example.com", content="t", comment="")
        pulumi.Output.all(application.aud, record.name).apply(seen.extend)

    requests(program)
    assert seen == [AUDIENCE, "shop.example.com"]
