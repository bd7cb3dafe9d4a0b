"""The Cloudflare emulator's answers, checked against the API that Cloudflare publishes.

The official client's models are generated from Cloudflare's OpenAPI document; its strict mode refuses an answer that
lacks a required field or has one of the wrong type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import cloudflare
import pytest
from cloudflare import APIResponseValidationError
from pydantic import ValidationError

from lookups.cloudflare_api import CloudflareApi, CloudflareError
from rehearsal.homelab import ZONE
from rehearsal.vendors.cloudflare import (
    ACCESS_EDIT,
    DNS_EDIT,
    ORGANIZATION_READ,
    R2_EDIT,
    SCOPES,
    SERVICE_TOKENS_EDIT,
    TOKENS_EDIT,
    TUNNEL_EDIT,
    ZONE_READ,
    Cloudflare,
)
from rehearsal.vendors.cloudflare.objects import new_service_token
from tests.contract.recorder import Recorder

HOST: Final = f"invoicetron.{ZONE}"


@pytest.fixture
def client(recorder: Recorder) -> cloudflare.Cloudflare:
    assert recorder.requests == []
    return cloudflare.Cloudflare(max_retries=0, _strict_response_validation=True)


def own_application(emulator: Cloudflare) -> str:
    return emulator.add_application(HOST, name="Invoicetron")


def access(client: cloudflare.Cloudflare) -> Any:
    return client.zero_trust.access


def new_token(client: cloudflare.Cloudflare, emulator: Cloudflare) -> str:
    return str(access(client).service_tokens.create(account_id=emulator.account_id, name="Probe").id)


BUCKET: Final = "homelab-backups"
RULES: Final[list[dict[str, Any]]] = [
    {"id": "a", "enabled": True, "prefix": "x/", "condition": {"type": "Age", "maxAgeSeconds": 60}},
    {"id": "b", "enabled": True, "prefix": "y", "condition": {"type": "Indefinite"}},
]
POLICIES: Final[Any] = [
    {
        "effect": "allow",
        "permission_groups": [{"id": "2efd5506f9c8494dacb1fa10a3e7d5b6"}],
        "resources": {f"com.cloudflare.edge.r2.bucket.0123_default_{BUCKET}": "*"},
    }
]


def new_api_token(client: cloudflare.Cloudflare, emulator: Cloudflare) -> str:
    made = client.accounts.tokens.create(account_id=emulator.account_id, name="a token", policies=POLICIES)
    assert made
    assert made.value
    return str(made.id)


def with_domain(emulator: Cloudflare) -> str:
    """A bucket with a custom domain, as https://developers.cloudflare.com/api/resources/r2/ shows one."""
    status = {"ownership": "active", "ssl": "active"}
    emulator.r2.domains[BUCKET] = [{"domain": f"files.{ZONE}", "enabled": True, "status": status, "zoneName": ZONE}]
    return emulator.r2.add_bucket(BUCKET)


Ask = Callable[[cloudflare.Cloudflare, Cloudflare], Any]
READS: Final[Mapping[str, Ask]] = {
    "accounts": lambda client, _: list(client.accounts.list()),
    "zones": lambda client, _: list(client.zones.list(name=ZONE)),
    "zone": lambda client, it: client.zones.get(zone_id=it.zone_id),
    "tunnels": lambda client, it: list(client.zero_trust.tunnels.cloudflared.list(account_id=it.account_id)),
    "tunnel": lambda client, it: client.zero_trust.tunnels.cloudflared.get(it.tunnel_id, account_id=it.account_id),
    "organization": lambda client, it: client.zero_trust.organizations.list(account_id=it.account_id),
    "identity providers": lambda client, it: list(client.zero_trust.identity_providers.list(account_id=it.account_id)),
    "policies": lambda client, it: list(access(client).policies.list(account_id=it.account_id)),
    "policy": lambda client, it: access(client).policies.get(it.policy_id, account_id=it.account_id),
    "group": lambda client, it: access(client).groups.get(it.add_group("Family"), account_id=it.account_id),
    "application": lambda client, it: access(client).applications.get(own_application(it), account_id=it.account_id),
    "applications": lambda client, it: (
        own_application(it),
        list(access(client).applications.list(account_id=it.account_id)),
    ),
    "service tokens": lambda client, it: (
        new_token(client, it),
        list(access(client).service_tokens.list(account_id=it.account_id)),
    ),
    "service token": lambda client, it: access(client).service_tokens.get(
        new_token(client, it), account_id=it.account_id
    ),
    "records": lambda client, it: list(client.dns.records.list(zone_id=it.zone_id)),
    "record": lambda client, it: client.dns.records.get(it.add_record(HOST), zone_id=it.zone_id),
    "bucket": lambda client, it: client.r2.buckets.get(it.r2.add_bucket(BUCKET), account_id=it.account_id),
    "bucket lock": lambda client, it: client.r2.buckets.locks.get(
        it.r2.add_bucket(BUCKET, RULES), account_id=it.account_id
    ),
    "address of a bucket": lambda client, it: client.r2.buckets.domains.managed.list(
        it.r2.add_bucket(BUCKET), account_id=it.account_id
    ),
    "domains of a bucket": lambda client, it: client.r2.buckets.domains.custom.list(
        with_domain(it), account_id=it.account_id
    ),
    "permission groups": lambda client, it: list(
        client.accounts.tokens.permission_groups.list(account_id=it.account_id)
    ),
    "token": lambda client, it: client.accounts.tokens.get(new_api_token(client, it), account_id=it.account_id),
}
WRITES: dict[str, Ask] = {
    "create application": lambda client, it: access(client).applications.create(
        account_id=it.account_id, domain=HOST, type="self_hosted", policies=[{"id": it.policy_id}]
    ),
    "update application": lambda client, it: access(client).applications.update(
        own_application(it), account_id=it.account_id, domain=HOST, type="self_hosted", policies=[{"id": it.policy_id}]
    ),
    "create policy": lambda client, it: access(client).policies.create(
        account_id=it.account_id,
        name="Probe",
        decision="non_identity",
        include=[{"service_token": {"token_id": new_token(client, it)}}],
    ),
    "update policy": lambda client, it: access(client).policies.update(
        it.policy_id, account_id=it.account_id, name="Allow Admin", decision="allow", include=[]
    ),
    "delete policy": lambda client, it: access(client).policies.delete(it.policy_id, account_id=it.account_id),
    "create service token": lambda client, it: access(client).service_tokens.create(
        account_id=it.account_id, name="Probe", duration="8760h"
    ),
    "update service token": lambda client, it: access(client).service_tokens.update(
        new_token(client, it), account_id=it.account_id, name="Another"
    ),
    "delete service token": lambda client, it: access(client).service_tokens.delete(
        new_token(client, it), account_id=it.account_id
    ),
    "delete application": lambda client, it: access(client).applications.delete(
        own_application(it), account_id=it.account_id
    ),
    "create record": lambda client, it: client.dns.records.create(
        zone_id=it.zone_id, name=HOST, type="CNAME", content=it.target, proxied=True, ttl=1
    ),
    "create TXT record": lambda client, it: client.dns.records.create(
        zone_id=it.zone_id, name=HOST, type="TXT", content="v=spf1 -all", ttl=300
    ),
    "update record": lambda client, it: client.dns.records.update(
        it.add_record(HOST), zone_id=it.zone_id, name=HOST, type="CNAME", content=it.target, proxied=True, ttl=1
    ),
    "delete record": lambda client, it: client.dns.records.delete(it.add_record(HOST), zone_id=it.zone_id),
}
WRITES |= {
    "create bucket": lambda client, it: client.r2.buckets.create(account_id=it.account_id, name=BUCKET),
    "create token": new_api_token,
    "update token": lambda client, it: client.accounts.tokens.update(
        new_api_token(client, it), account_id=it.account_id, name="another", policies=POLICIES
    ),
    "delete token": lambda client, it: client.accounts.tokens.delete(
        new_api_token(client, it), account_id=it.account_id
    ),
}
ANSWERS: Final = {**READS, **WRITES}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_is_one_that_the_published_schema_allows(
    client: cloudflare.Cloudflare, emulator: Cloudflare, name: str
) -> None:
    assert ANSWERS[name](client, emulator)


def test_a_token_s_own_answer_is_one_that_the_published_schema_allows(
    client: cloudflare.Cloudflare, emulator: Cloudflare
) -> None:
    assert client.user.tokens.verify()
    own = emulator.issue_token(*SCOPES, expires="2099-01-01T00:00:00Z", of_account=True)
    of_account = client.with_options(api_token=own)
    with pytest.raises(cloudflare.AuthenticationError):
        of_account.user.tokens.verify()
    emulator.refuses_account_tokens = 403
    with pytest.raises(cloudflare.PermissionDeniedError):
        of_account.user.tokens.verify()
    assert of_account.accounts.tokens.verify(account_id=emulator.account_id)


def test_the_tunnel_s_document_has_the_one_gap_of_the_published_schema(
    client: cloudflare.Cloudflare, emulator: Cloudflare
) -> None:
    """The schema requires a `hostname` in each rule; the live API, and cloudflared, in each but the catch-all."""
    configurations = client.zero_trust.tunnels.cloudflared.configurations
    with pytest.raises(APIResponseValidationError) as refused:
        configurations.get(emulator.tunnel_id, account_id=emulator.account_id)
    assert isinstance(refused.value.__cause__, ValidationError)
    (gap,) = refused.value.__cause__.errors()
    catch_all = len(emulator.document["ingress"]) - 1
    assert (gap["type"], gap["loc"][-3:]) == ("missing", ("ingress", catch_all, "hostname"))


def test_a_deleted_tunnel_is_still_there_to_be_read(client: cloudflare.Cloudflare, emulator: Cloudflare) -> None:
    deleted = emulator.tunnel_id
    emulator.delete_tunnel()
    tunnels, account = client.zero_trust.tunnels.cloudflared, emulator.account_id
    assert (tunnel := tunnels.get(deleted, account_id=account))
    assert tunnel.deleted_at
    assert {str(one.id) for one in tunnels.list(account_id=account, is_deleted=False)} == {emulator.tunnel_id}
    assert deleted in {str(one.id) for one in tunnels.list(account_id=account)}


LISTS: Final = {
    name: READS[name] for name in READS if name.endswith("s") and name not in {"accounts", "permission groups"}
}


def many(emulator: Cloudflare) -> None:
    """Adds more than a page of everything that can be listed."""
    for number in range(60):
        emulator.add_policy(f"policy-{number}")
        emulator.add_tunnel(f"tunnel-{number}")
        emulator.add_record(f"host-{number}.{ZONE}")
        emulator.add_application(f"host-{number}.{ZONE}", name=f"host-{number}")
        emulator.identity_providers.append({**emulator.identity_providers[0], "id": f"provider-{number}"})
        emulator.zones.append({**emulator.zone, "id": f"{number:032x}"})
        token = new_service_token(f"token-{number}", f"token-{number}", "8760h")
        emulator.access.service_tokens[token["id"]] = token


@pytest.mark.parametrize("name", LISTS)
def test_every_list_has_pages_and_a_client_that_asks_on_sees_all_of_it(
    client: cloudflare.Cloudflare, emulator: Cloudflare, recorder: Recorder, name: str
) -> None:
    many(emulator)
    found = LISTS[name](client, emulator)
    listed = found[1] if isinstance(found, tuple) else found
    assert len({one.id for one in listed}) == len(listed) >= 60
    _, path, query, _ = recorder.requests[0]
    query.pop("page", None)
    recorder.requests.clear()
    assert len(CloudflareApi().list_all(path, **query)) == len(listed)
    assert [asked["page"] for _, _, asked, _ in recorder.requests] == ["1", "2"]


PERMISSIONS: Final[Mapping[str, str]] = {
    "zone": ZONE_READ,
    "tunnels": TUNNEL_EDIT,
    "tunnel": TUNNEL_EDIT,
    "organization": ORGANIZATION_READ,
    "identity providers": ORGANIZATION_READ,
    "policies": ACCESS_EDIT,
    "policy": ACCESS_EDIT,
    "group": ORGANIZATION_READ,
    "application": ACCESS_EDIT,
    "applications": ACCESS_EDIT,
    "records": DNS_EDIT,
    "record": DNS_EDIT,
    **{name: ACCESS_EDIT for name in WRITES if "application" in name},
    **{name: DNS_EDIT for name in WRITES if "record" in name},
    **{name: R2_EDIT for name in ANSWERS if "bucket" in name},
    **{name: TOKENS_EDIT for name in ANSWERS if "token" in name and "service" not in name},
    **{name: SERVICE_TOKENS_EDIT for name in ANSWERS if "service token" in name},
    **{name: ACCESS_EDIT for name in WRITES if "policy" in name},
    "permission groups": TOKENS_EDIT,
}


@pytest.mark.parametrize("name", PERMISSIONS)
def test_a_token_that_lacks_the_permission_or_is_another_account_s_is_refused_alike(
    client: cloudflare.Cloudflare, emulator: Cloudflare, name: str
) -> None:
    missing_permissions = emulator.issue_token(*(SCOPES - {PERMISSIONS[name]}))
    for token in (missing_permissions, emulator.issue_token(*SCOPES, elsewhere=True)):
        with pytest.raises(cloudflare.PermissionDeniedError):
            ANSWERS[name](client.with_options(api_token=token), emulator)
    with pytest.raises(cloudflare.AuthenticationError):
        ANSWERS[name](client.with_options(api_token="none"), emulator)


def test_a_list_of_zones_is_refused_with_code_0_or_empty_for_who_may_not_see_any(
    client: cloudflare.Cloudflare, emulator: Cloudflare
) -> None:
    blind = client.with_options(api_token=emulator.issue_token(DNS_EDIT))
    with pytest.raises(cloudflare.PermissionDeniedError) as refused:
        blind.zones.list(name=ZONE)
    assert [one.code for one in refused.value.errors] == [0]
    assert "com.cloudflare.api.account.zone.list" in str(refused.value)
    emulator.hides_zones = True
    assert list(blind.zones.list(name=ZONE)) == []
    other = client.with_options(api_token=emulator.issue_token(*SCOPES, elsewhere=True))
    assert list(other.zones.list(name=ZONE)) == []


@pytest.mark.parametrize(
    "name", ["tunnel", "policy", "group", "application", "service token", "record", "bucket", "bucket lock", "token"]
)
def test_what_does_not_exist_is_404(client: cloudflare.Cloudflare, emulator: Cloudflare, name: str) -> None:
    none, account = "0" * 32, emulator.account_id
    asks: dict[str, Callable[[], Any]] = {
        "tunnel": lambda: client.zero_trust.tunnels.cloudflared.get(none, account_id=account),
        "policy": lambda: access(client).policies.get(none, account_id=account),
        "group": lambda: access(client).groups.get(none, account_id=account),
        "application": lambda: access(client).applications.get(none, account_id=account),
        "service token": lambda: access(client).service_tokens.get(none, account_id=account),
        "record": lambda: client.dns.records.get(none, zone_id=emulator.zone_id),
        "bucket": lambda: client.r2.buckets.get(none, account_id=account),
        "bucket lock": lambda: client.r2.buckets.locks.get(none, account_id=account),
        "token": lambda: client.accounts.tokens.get(none, account_id=account),
    }
    with pytest.raises(cloudflare.NotFoundError):
        asks[name]()


def test_a_service_token_opens_what_its_policy_guards_until_it_expires(
    client: cloudflare.Cloudflare, emulator: Cloudflare
) -> None:
    made: Any = access(client).service_tokens.create(account_id=emulator.account_id, name="Probe")
    policy: Any = access(client).policies.create(
        account_id=emulator.account_id,
        name="Probe",
        decision="non_identity",
        include=[{"service_token": {"token_id": made.id}}],
    )
    application = emulator.applications[own_application(emulator)]
    assert not emulator.access.admitted(application, made.client_id, made.client_secret)
    application["policies"].append(emulator.policies[policy.id])
    assert emulator.access.admitted(application, made.client_id, made.client_secret)
    assert not emulator.access.admitted(application, made.client_id, "0" * 64)
    emulator.access.service_tokens[made.id]["expires_at"] = "2020-01-01T00:00:00Z"
    assert not emulator.access.admitted(application, made.client_id, made.client_secret)


@pytest.mark.parametrize("type_", ["TXT", "CAA", "MX", "SRV", "HTTPS"])
def test_records_of_other_types_stand_beside_a_proxied_one_in_either_order(
    client: cloudflare.Cloudflare, emulator: Cloudflare, type_: Any
) -> None:
    beside: Any = {"name": HOST, "type": type_, "content": "x", "ttl": 300}
    for first, second in ((beside, None), (None, beside)):
        for one in (first, second):
            proxied: Any = {"name": HOST, "type": "CNAME", "content": emulator.target, "proxied": True, "ttl": 1}
            client.dns.records.create(zone_id=emulator.zone_id, **(one or proxied))
        emulator.records.clear()


@pytest.mark.parametrize(
    ("there", "wanted", "code"),
    [
        *((there, "CNAME", 81053) for there in ("A", "AAAA", "CNAME")),
        *(("CNAME", wanted, 81054) for wanted in ("A", "AAAA")),
        ("NS", "CNAME", 81056),
    ],
)
def test_records_that_exclude_each_other_are_refused(
    client: cloudflare.Cloudflare, emulator: Cloudflare, there: str, wanted: str, code: int
) -> None:
    emulator._store_record({"name": HOST, "type": there, "content": "x"})
    body: Any = {"name": HOST, "type": wanted, "content": "y", "ttl": 1}
    with pytest.raises(cloudflare.BadRequestError) as refused:
        client.dns.records.create(zone_id=emulator.zone_id, **body)
    assert [one.code for one in refused.value.errors] == [code]


@pytest.mark.parametrize("type_", ["A", "TXT", "MX", "NS"])
def test_the_same_record_twice_is_refused(client: cloudflare.Cloudflare, emulator: Cloudflare, type_: str) -> None:
    emulator._store_record({"name": HOST, "type": type_, "content": "x"})
    body: Any = {"name": HOST, "type": type_, "content": "x", "ttl": 1}
    with pytest.raises(cloudflare.BadRequestError) as refused:
        client.dns.records.create(zone_id=emulator.zone_id, **body)
    assert [one.code for one in refused.value.errors] == [81058]
    client.dns.records.create(zone_id=emulator.zone_id, **(body | {"content": "y"}))


def test_an_answer_that_lacks_a_required_field_is_refused_by_this_check(
    client: cloudflare.Cloudflare, emulator: Cloudflare
) -> None:
    del emulator.zone["name_servers"]
    with pytest.raises(APIResponseValidationError):
        client.zones.get(zone_id=emulator.zone_id)


def test_the_program_s_own_client_tells_cloudflare_s_words_and_what_is_refused(
    recorder: Recorder, emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not recorder.requests
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", emulator.issue_token(DNS_EDIT))
    with pytest.raises(CloudflareError, match=r"403: Actor .* requires permission .* \(0\)") as refused:
        CloudflareApi().list_all("/zones", name=ZONE)
    assert refused.value.forbidden
