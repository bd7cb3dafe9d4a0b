"""Every request of the program and the stand-ins to Cloudflare, checked against the request types that it publishes.

Requests of `ops` go through the official client, and mypy checks them against the same types.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from cloudflare.types.accounts import account_list_params, token_create_params, token_update_params
from cloudflare.types.dns import record_create_params, record_list_params
from cloudflare.types.r2 import bucket_create_params
from cloudflare.types.r2.buckets import lock_update_params
from cloudflare.types.zero_trust import identity_provider_list_params
from cloudflare.types.zero_trust.access import (
    application_create_params,
    application_list_params,
    policy_create_params,
    policy_list_params,
    policy_update_params,
    service_token_create_params,
    service_token_list_params,
    service_token_update_params,
)
from cloudflare.types.zero_trust.tunnels import cloudflared_list_params
from cloudflare.types.zero_trust.tunnels.cloudflared import configuration_update_params
from cloudflare.types.zones import zone_list_params
from pydantic import ValidationError

from components.tunnel import Tunnel
from lookups import cloudflare as lookups
from lookups.r2 import OUTPUTS
from lookups.r2 import look_up as look_up_r2
from lookups.tunnel_document import AccessDemand, with_rule
from rehearsal.homelab import ZONE
from rehearsal.plugins.cloudflare import CloudflarePlugin
from rehearsal.vendors.cloudflare import Cloudflare
from settings.access import AdoptSettings, PublicAccessSettings
from settings.bucket import COPIES
from settings.offsite import R2Settings
from settings.ownership import Owner
from settings.references import ItemReference
from tests.contract.recorder import Recorded, Recorder
from tests.contract.request_types import check
from tests.stacks import PROD

HOST: Final = f"invoicetron.{ZONE}"
TOKEN_RULES: Final = [{"email": {"email": "a@example.com"}}]
PUBLIC: Final = PublicAccessSettings(
    zone=ZONE, hostname=HOST, tunnel="homelab", policy_name="Allow Admin", one_time_pin=True, adopt=AdoptSettings()
)


def look_up(emulator: Cloudflare) -> None:
    group = emulator.add_group("Family", {"email": {"email": "a@example.com"}})
    emulator.policies[emulator.policy_id]["include"] = [{"group": {"id": group}}]
    adopt = AdoptSettings(
        application=emulator.add_application(HOST, name="Invoicetron"), dns_record=emulator.add_record(HOST)
    )
    lookups.look_up(PUBLIC.model_copy(update={"adopt": adopt}), PROD, port=3000)


def write_a_rule(emulator: Cloudflare) -> None:
    demand = AccessDemand(team="homelab", audiences=("a" * 64,))
    emulator.document = {"ingress": [{"service": "http_status:404"}]}
    Tunnel(emulator.account_id, emulator.tunnel_id).change(
        lambda document: with_rule(document, HOST, "http://a.b.svc.cluster.local:3000", demand)
    )


def write_with_the_stand_in(emulator: Cloudflare) -> None:
    plugin = CloudflarePlugin()
    plugin.configure({})
    for kind, inputs in (
        (
            "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication",
            {
                "accountId": emulator.account_id,
                "name": "Invoicetron",
                "type": "self_hosted",
                "domain": HOST,
                "sessionDuration": "24h",
                "policies": [{"id": emulator.policy_id, "precedence": 1}],
                "allowedIdps": [emulator.identity_providers[0]["id"]],
                "appLauncherVisible": False,
                "httpOnlyCookieAttribute": True,
                "sameSiteCookieAttribute": "lax",
            },
        ),
        (
            "cloudflare:index/zeroTrustAccessServiceToken:ZeroTrustAccessServiceToken",
            {"accountId": emulator.account_id, "name": "Probe", "duration": "8760h"},
        ),
        (
            "cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy",
            {"accountId": emulator.account_id, "name": "Probe", "decision": "non_identity", "includes": TOKEN_RULES},
        ),
        (
            "cloudflare:index/dnsRecord:DnsRecord",
            {
                "zoneId": emulator.zone_id,
                "name": HOST,
                "type": "CNAME",
                "content": emulator.target,
                "proxied": True,
                "ttl": 1,
                "comment": "x",
            },
        ),
    ):
        made = plugin.kinds[kind]
        id_, outputs = made.create(inputs)
        assert made.read(id_, inputs, outputs)
        made.update(id_, inputs, outputs)
        made.delete(id_, outputs)


def keep_copies(emulator: Cloudflare) -> None:
    r2 = R2Settings(account_id=emulator.account_id, bucket="homelab-backups", item=ItemReference("v", "i"))
    ids = look_up_r2({COPIES: r2}, Owner("invoicetron", "prod"), outputs={})[COPIES]
    plugin = CloudflarePlugin()
    plugin.configure({})
    account = {"accountId": emulator.account_id}
    condition = {"type": "Age", "maxAgeSeconds": 60}
    rule = {"id": Owner("invoicetron", "prod").mark, "enabled": True, "prefix": "x/", "condition": condition}
    policy = {
        "effect": "allow",
        "permissionGroups": [{"id": ids.write_group}],
        "resources": json.dumps(
            {f"com.cloudflare.edge.r2.bucket.{emulator.account_id}_default_x": "*"}, separators=(",", ":")
        ),
    }
    for kind, inputs in (
        ("cloudflare:index/r2Bucket:R2Bucket", {**account, "name": r2.bucket}),
        ("cloudflare:index/r2BucketLock:R2BucketLock", {**account, "bucketName": r2.bucket, "rules": [rule]}),
        ("cloudflare:index/accountToken:AccountToken", {**account, "name": "x", "policies": [policy]}),
    ):
        made = plugin.kinds[kind]
        id_, outputs = made.create(inputs)
        state = made.read(id_, inputs, outputs)
        assert state is not None
        assert state.inputs == inputs, "a refresh would find a change"
        if not kind.endswith("R2Bucket"):
            made.update(id_, inputs, outputs)
            made.delete(id_, outputs)
    look_up_r2({COPIES: r2}, Owner("invoicetron", "prod"), outputs={OUTPUTS[COPIES]: r2.bucket})


@pytest.mark.parametrize("status", ["expired", "revoked (exposed)"])
def test_an_account_s_token_that_no_longer_opens_anything_is_gone_for_a_refresh(
    recorder: Recorder, emulator: Cloudflare, status: str
) -> None:
    assert not recorder.requests
    plugin = CloudflarePlugin()
    plugin.configure({})
    tokens = plugin.kinds["cloudflare:index/accountToken:AccountToken"]
    inputs = {"accountId": emulator.account_id, "name": "x", "policies": []}
    id_, outputs = tokens.create(inputs)
    assert tokens.read(id_, inputs, outputs)
    emulator.r2.tokens[id_]["status"] = status
    assert tokens.read(id_, inputs, outputs) is None


TYPES: Final[list[tuple[str, str, Any]]] = [
    ("GET", "/accounts", account_list_params.AccountListParams),
    ("POST", "/accounts/*/tokens", token_create_params.TokenCreateParams),
    ("PUT", "/accounts/*/tokens/*", token_update_params.TokenUpdateParams),
    ("POST", "/accounts/*/r2/buckets", bucket_create_params.BucketCreateParams),
    ("PUT", "/accounts/*/r2/buckets/*/lock", lock_update_params.LockUpdateParams),
    ("GET", "/zones", zone_list_params.ZoneListParams),
    ("GET", "/accounts/*/cfd_tunnel", cloudflared_list_params.CloudflaredListParams),
    ("GET", "/accounts/*/access/policies", policy_list_params.PolicyListParams),
    ("GET", "/accounts/*/access/apps", application_list_params.ApplicationListParams),
    ("GET", "/accounts/*/access/identity_providers", identity_provider_list_params.IdentityProviderListParams),
    ("GET", "/zones/*/dns_records", record_list_params.RecordListParams),
    ("PUT", "/accounts/*/cfd_tunnel/*/configurations", configuration_update_params.ConfigurationUpdateParams),
    ("POST", "/accounts/*/access/apps", application_create_params.SelfHostedApplication),
    ("PUT", "/accounts/*/access/apps/*", application_create_params.SelfHostedApplication),
    ("POST", "/accounts/*/access/policies", policy_create_params.PolicyCreateParams),
    ("PUT", "/accounts/*/access/policies/*", policy_update_params.PolicyUpdateParams),
    ("GET", "/accounts/*/access/service_tokens", service_token_list_params.ServiceTokenListParams),
    ("POST", "/accounts/*/access/service_tokens", service_token_create_params.ServiceTokenCreateParams),
    ("PUT", "/accounts/*/access/service_tokens/*", service_token_update_params.ServiceTokenUpdateParams),
    ("POST", "/zones/*/dns_records", record_create_params.CNAMERecord),
    ("PUT", "/zones/*/dns_records/*", record_create_params.CNAMERecord),
]


def shape(path: str) -> str:
    """The path with each id as a star."""
    known = {"accounts", "zones", "cfd_tunnel", "access", "configurations", "dns_records", "organizations"}
    known |= {"service_tokens", "policies", "apps", "groups", "identity_providers", ""}
    known |= {"r2", "buckets", "lock", "tokens", "permission_groups"}
    return "/".join(part if part in known else "*" for part in path.split("/"))


def parameters(recorded: Recorded) -> dict[str, Any]:
    """The arguments that the client's function would have had: ids in the path, query and body in one."""
    _, path, query, body = recorded
    parts = path.split("/")
    owner = {"accounts": "account_id", "zones": "zone_id"}.get(parts[1], "")
    given: dict[str, Any] = {owner: parts[2]} if len(parts) > 2 else {}
    for name, value in query.items():
        outer, dot, inner = name.partition(".")
        given[outer] = {inner: value} if dot else value
    return {**given, **(body or {})}


@pytest.mark.parametrize("ask", [look_up, write_a_rule, write_with_the_stand_in, keep_copies])
def test_every_request_is_one_that_the_published_schema_knows(
    recorder: Recorder, emulator: Cloudflare, ask: Callable[[Cloudflare], None]
) -> None:
    ask(emulator)
    unchecked = set()
    for recorded in recorder.requests:
        method, path, query, body = recorded
        request = parameters(recorded)
        type_ = next((type_ for *asked, type_ in TYPES if asked == [method, shape(path)]), None)
        if type_ is None:
            assert (query, body) == ({}, None), f"{method} {path} has parameters that nothing checks"
            unchecked.add(method)
            continue
        if body and "config" in body:
            # The published schema's one gap, as in the answer.
            catch_all = request["config"]["ingress"].pop()
            assert "hostname" not in catch_all
        check(type_, request)
    assert recorder.requests
    assert unchecked <= {"GET", "DELETE"}


def test_a_key_that_does_not_exist_is_refused_by_this_check() -> None:
    record = {"zone_id": "z", "name": HOST, "type": "CNAME", "ttl": 1}
    check(record_create_params.CNAMERecord, record)
    with pytest.raises(ValidationError, match="flatten"):
        check(record_create_params.CNAMERecord, {**record, "settings": {"flatten": True}})
    demand = {"required": True, "teamName": "t", "audTag": ["a"]}
    rule = {"hostname": HOST, "service": "http://a", "originRequest": {"access": demand}}
    config = {"account_id": "a", "config": {"ingress": [rule]}}
    check(configuration_update_params.ConfigurationUpdateParams, config)
    del demand["audTag"]
    with pytest.raises(ValidationError, match="audTag"):
        check(configuration_update_params.ConfigurationUpdateParams, config)
