"""What `up` asks Cloudflare before the first resource: it reports everything that is wrong, and what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pulumi
import pytest
from cloudflare import Cloudflare as Client

from lookups.cloudflare import PublicAccessError, look_up
from lookups.cloudflare_api import CloudflareApi
from ops.recover.unrecorded import _made
from rehearsal.homelab import TEAM, TUNNEL, ZONE
from rehearsal.vendors.cloudflare import (
    ACCESS_EDIT,
    DNS_EDIT,
    ORGANIZATION_READ,
    SCOPES,
    TUNNEL_EDIT,
    ZONE_READ,
    Cloudflare,
)
from rehearsal.vendors.server import Fault, serve
from settings.access import AdoptSettings, PublicAccessSettings
from settings.names import Names
from tests.stacks import DEV, PROD

HOST: Final = f"invoicetron.{ZONE}"
EMAIL: Final[dict[str, Any]] = {"email": {"email": "owner@example.com"}}
EVERYONE: Final[dict[str, Any]] = {"everyone": {}}


def public(**changed: Any) -> PublicAccessSettings:
    base = PublicAccessSettings(zone=ZONE, hostname=HOST, tunnel=TUNNEL, policy_name="Allow Admin")
    return base.model_copy(update=changed)


@pytest.fixture
def cloudflare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloudflare]:
    emulator = Cloudflare()
    with serve(emulator.app) as url:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"{url}/client/v4")
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", emulator.token)
        monkeypatch.setattr(CloudflareApi.__init__, "__kwdefaults__", {"pause": lambda _: None, "patience": 5.0})
        yield emulator


def refusal(**changed: Any) -> str:
    with pytest.raises(PublicAccessError) as refused:
        look_up(public(**changed), PROD, port=3000)
    return str(refused.value)


def test_everything_is_found_by_name(cloudflare: Cloudflare) -> None:
    ids = look_up(public(one_time_pin=True), PROD, port=3000)
    assert (ids.account_id, ids.zone_id, ids.tunnel_id, ids.policy_id, ids.team_name) == (
        cloudflare.account_id,
        cloudflare.zone_id,
        cloudflare.tunnel_id,
        cloudflare.policy_id,
        TEAM,
    )
    assert ids.identity_provider_ids == (cloudflare.identity_providers[0]["id"],)


def test_what_is_named_is_found_on_whatever_page_it_is(cloudflare: Cloudflare) -> None:
    cloudflare.policies.clear()
    for number in range(120):
        cloudflare.add_policy(f"policy-{number}")
    wanted = cloudflare.add_policy("Allow Admin", include=[EMAIL])
    assert look_up(public(), PROD, port=3000).policy_id == wanted


@pytest.mark.parametrize("rule", [EVERYONE, {"ip": {"ip": "0.0.0.0/0"}}, {"email_domain": {"domain": "example.com"}}])
def test_a_policy_that_lets_in_more_than_known_people_is_refused_until_its_selector_is_named(
    cloudflare: Cloudflare, rule: dict[str, Any]
) -> None:
    cloudflare.policies[cloudflare.policy_id]["include"].append(rule)
    (selector,) = rule
    message = refusal()
    assert f"more than known people, by {selector}" in message
    assert "access.public.allowSelectors" in message
    assert look_up(public(allow_selectors=(selector,)), PROD, port=3000)


def test_a_group_of_the_policy_is_looked_into(cloudflare: Cloudflare) -> None:
    inner = cloudflare.add_group("Everybody", EVERYONE)
    outer = cloudflare.add_group("Family", EMAIL, {"group": {"id": inner}})
    cloudflare.policies[cloudflare.policy_id]["include"] = [{"group": {"id": outer}}]
    assert "group Everybody: everyone" in refusal()
    cloudflare.groups[inner]["include"] = [EMAIL]
    assert look_up(public(), PROD, port=3000)
    del cloudflare.groups[inner]
    assert f"its group {inner}" in refusal()


def test_a_group_that_the_token_may_not_see_is_refused_with_the_permission(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudflare.policies[cloudflare.policy_id]["include"] = [{"group": {"id": cloudflare.add_group("Family", EMAIL)}}]
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.issue_token(*(SCOPES - {ORGANIZATION_READ})))
    assert f"> {ORGANIZATION_READ}" in refusal(team_name=TEAM)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([ZONE_READ], [TUNNEL_EDIT, ACCESS_EDIT, DNS_EDIT, ORGANIZATION_READ]),
        ([ZONE_READ, DNS_EDIT, TUNNEL_EDIT], [ACCESS_EDIT, ORGANIZATION_READ]),
        ([ZONE_READ, DNS_EDIT, TUNNEL_EDIT, ACCESS_EDIT], [ORGANIZATION_READ]),
        ([DNS_EDIT, TUNNEL_EDIT, ACCESS_EDIT, ORGANIZATION_READ], [ZONE_READ]),
    ],
)
@pytest.mark.parametrize("hides_zones", [True, False])
def test_a_token_is_told_every_permission_that_it_lacks(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch, given: list[str], missing: list[str], *, hides_zones: bool
) -> None:
    cloudflare.hides_zones = hides_zones
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.issue_token(*given))
    message = refusal()
    assert {one for one in SCOPES if f"> {one}" in message} == set(missing)


def test_the_team_is_given_where_the_token_may_not_see_it(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"the account's is {TEAM}" in refusal(team_name="another"), "a wrong one would shut everybody out"
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.issue_token(*(SCOPES - {ORGANIZATION_READ})))
    assert "access.public.teamName" in refusal()
    assert look_up(public(team_name=TEAM), PROD, port=3000).team_name == TEAM


def test_ids_save_the_permission_to_see_the_zone(cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.issue_token(*(SCOPES - {ZONE_READ})))
    assert look_up(public(zone_id=cloudflare.zone_id, account_id=cloudflare.account_id), PROD, port=3000)


@pytest.mark.parametrize("ids", [{}, {"zone_id", "account_id"}])
def test_another_account_s_token_is_told_as_that_and_not_as_one_that_lacks_permissions(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch, ids: set[str]
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.issue_token(*SCOPES, elsewhere=True))
    message = refusal(**{name: getattr(cloudflare, name) for name in ids})
    assert f"{cloudflare.other_account['name']!r} ({cloudflare.other_account['id']})" in message
    assert "Edit" not in message


def test_a_token_that_is_no_token_is_told_as_that(cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cloudflare.token
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "no-token")
    assert "Invalid API Token (1000)" in refusal()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"status": "pending"}, "amy.ns.cloudflare.com and bob.ns.cloudflare.com"),
        ({"status": "moved"}, "its status is 'moved'"),
        ({"status": "deactivated"}, "its status is 'deactivated'"),
        ({"paused": True}, "it is paused"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_a_zone_that_serves_nothing_is_refused(
    cloudflare: Cloudflare, state: dict[str, Any], message: str, *, given: bool
) -> None:
    cloudflare.zone |= state
    ids = {"zone_id": cloudflare.zone_id, "account_id": cloudflare.account_id} if given else {}
    assert message in refusal(**ids)


def test_ids_of_another_zone_or_account_are_refused(cloudflare: Cloudflare) -> None:
    cloudflare.zones.append({**cloudflare.zone, "id": "f" * 32, "name": "example.com"})
    assert "that of example.com" in refusal(zone_id="f" * 32, account_id=cloudflare.account_id)
    assert f"in account {cloudflare.account_id}" in refusal(account_id="f" * 32)


def test_a_zone_that_the_token_does_not_see_is_told_with_those_it_sees(cloudflare: Cloudflare) -> None:
    message = refusal(zone="example.com", hostnames=("app.example.com",))
    assert f"It sees {cloudflare.zone['name']}: correct access.public.zone" in message


def test_two_zones_of_one_name_are_told_with_their_accounts(cloudflare: Cloudflare) -> None:
    cloudflare.zones.append({**cloudflare.zone, "id": "f" * 32})
    assert "give zoneId and accountId" in refusal()


def test_two_tunnels_of_one_name_are_told_with_their_ids_and_deleted_ones_do_not_count(cloudflare: Cloudflare) -> None:
    deleted = cloudflare.tunnel_id
    cloudflare.delete_tunnel()
    assert look_up(public(), PROD, port=3000).tunnel_id == cloudflare.tunnel_id
    other = cloudflare.add_tunnel(TUNNEL)
    message = refusal()
    assert f"give access.public.tunnelId, {cloudflare.tunnel_id} or {other}" in message
    assert deleted not in message
    assert look_up(public(tunnel_id=cloudflare.tunnel_id), PROD, port=3000)
    assert "was deleted at" in refusal(tunnel_id=deleted)


def test_a_tunnel_that_is_managed_locally_or_not_there_is_refused(cloudflare: Cloudflare) -> None:
    assert "no tunnel of that name" in refusal(tunnel="elsewhere")
    assert "whose name is 'homelab'" in refusal(tunnel="elsewhere", tunnel_id=cloudflare.tunnel_id)
    cloudflare.source = "local"
    assert "remote management" in refusal()


def test_two_policies_of_one_name_are_told_with_their_ids(cloudflare: Cloudflare) -> None:
    other = cloudflare.add_policy("Allow Admin")
    assert f"give policyId, {cloudflare.policy_id} or {other}" in refusal()


BESIDE: Final = re.findall(
    r"\S+", "TXT CAA MX SRV HTTPS SVCB TLSA SSHFP LOC NAPTR URI PTR CERT DNSKEY DS SMIMEA OPENPGPKEY A_OF_TOMORROW"
)
"""Cloudflare's types of DNS records other than addresses and delegations."""


@pytest.mark.parametrize("type_", BESIDE)
def test_records_of_other_types_are_not_in_the_way_and_cannot_be_adopted(cloudflare: Cloudflare, type_: str) -> None:
    record = {"name": HOST, "type": type_, "content": "v=spf1 -all"}
    id_ = cloudflare._store_record(record)["id"]
    assert look_up(public(), PROD, port=3000)
    assert "does not belong to this hostname" in refusal(adopt=AdoptSettings(dns_record=id_))


@pytest.mark.parametrize("type_", ["A", "AAAA", "NS"])
def test_records_that_exclude_a_cname_are_told_with_their_ids_and_no_advice_to_adopt_them(
    cloudflare: Cloudflare, type_: str
) -> None:
    ids = [cloudflare._store_record({"name": HOST, "type": type_, "content": "x"})["id"] for _ in range(2)]
    message = refusal()
    assert all(f"remove it (id {id_})" in message for id_ in ids)
    assert "adopt" not in message


@pytest.mark.parametrize("type_", ["A", "AAAA", "NS"])
def test_a_record_that_excludes_a_cname_does_so_whatever_its_comment_says(cloudflare: Cloudflare, type_: str) -> None:
    for comment in ("managed by pulumi: invoicetron", "managed by pulumi: invoicetron/prod"):
        cloudflare.records.clear()
        id_ = cloudflare._store_record({"name": HOST, "type": type_, "content": "x", "comment": comment})["id"]
        assert f"remove it (id {id_})" in refusal()


BY_HAND: Final = {"name": "Invoices", "comment": None}
OWN: Final = {"name": PROD.owner.title, "comment": PROD.owner.mark}
ANOTHERS: Final = {"name": DEV.owner.title, "comment": DEV.owner.mark}


def existing(cloudflare: Cloudflare, marks: Mapping[str, Any]) -> tuple[str, str]:
    """Creates an application and a record for the hostname; returns their ids."""
    record = cloudflare.add_record(HOST)
    cloudflare.records[record]["comment"] = marks["comment"]
    return cloudflare.add_application(HOST, name=marks["name"]), record


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The resources in the stack's state, none at first; the test may add some."""
    resources: dict[str, Any] = {}
    monkeypatch.setattr("lookups.cloudflare_recorded.full_name", lambda: "organization/invoicetron/prod")
    monkeypatch.setattr("lookups.cloudflare_recorded.read_own_state", lambda *_, **__: resources)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    return resources


@pytest.mark.usefixtures("state")
def test_what_somebody_created_for_the_hostname_is_refused_until_it_is_adopted(cloudflare: Cloudflare) -> None:
    application, record = existing(cloudflare, BY_HAND)
    message = refusal()
    assert f"Access application of {HOST!r}: it exists, made by hand" in message
    assert f"set access.public.adopt.application to {application}" in message
    assert f"set access.public.adopt.dnsRecord to {record}" in message
    cloudflare.document["ingress"].insert(0, {"hostname": HOST, "service": "http://10.0.0.5:3000"})
    message = refusal(adopt=AdoptSettings(application=application, dns_record=record))
    assert "made by hand, and leads to http://10.0.0.5:3000: set access.public.adopt.tunnelRule to true" in message
    assert look_up(
        public(adopt=AdoptSettings(application=application, dns_record=record, tunnel_rule=True)), PROD, port=3000
    )


@pytest.mark.usefixtures("state")
def test_an_application_that_also_guards_another_hostname_is_not_adopted(cloudflare: Cloudflare) -> None:
    application = cloudflare.add_application(HOST, name="Homelab")
    adopt = AdoptSettings(application=application)
    assert look_up(public(adopt=adopt), PROD, port=3000)
    cloudflare.applications[application]["self_hosted_domains"] = [HOST, "blog.example.com"]
    message = refusal(adopt=adopt)
    assert f"Access application of {HOST!r}: {application} also guards blog.example.com" in message


@pytest.mark.usefixtures("state")
def test_what_the_state_lost_is_refused_with_the_commands_that_record_it(cloudflare: Cloudflare) -> None:
    existing(cloudflare, OWN)
    message = refusal()
    assert message.count("python -m ops recover --stack prod") == 2
    assert message.count("if the state was lost, adopt everything with python -m ops import-existing --stack prod") == 2


@pytest.mark.parametrize("marks", [OWN, BY_HAND])
def test_what_the_state_has_is_no_problem_whatever_its_marks(
    cloudflare: Cloudflare, state: dict[str, Any], marks: Mapping[str, Any]
) -> None:
    existing(cloudflare, marks)
    state |= {
        "application": {
            "type": "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication",
            "outputs": {"domain": HOST},
        },
        "record": {"type": "cloudflare:index/dnsRecord:DnsRecord", "outputs": {"name": HOST}},
        "rule": {"type": "pulumi-python:dynamic/tunnel:TunnelHostname", "outputs": {"hostname": HOST}},
        "secret": {"type": "kubernetes:core/v1:Secret"},
    }
    cloudflare.document["ingress"].insert(0, {"hostname": HOST, "service": "http://edited-in-the-dashboard"})
    assert look_up(public(), PROD, port=3000)
    state["record"]["outputs"]["name"] = f"other.{ZONE}"
    assert f"DNS record {HOST!r}" in refusal()


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("ingress", [[], [{"hostname": f"blog.{ZONE}", "service": "http://blog"}]])
def test_a_tunnel_to_which_no_rule_can_be_added_is_refused(cloudflare: Cloudflare, ingress: list[Any]) -> None:
    cloudflare.document["ingress"] = ingress
    assert "catch-all" in refusal()


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize("origin", [PROD, DEV])
def test_a_rule_that_leads_to_this_or_another_stack_is_none_made_by_hand(cloudflare: Cloudflare, origin: Names) -> None:
    service = f"http://{origin.app}.{origin.namespace}.svc.cluster.local:3000"
    cloudflare.document["ingress"].insert(0, {"hostname": HOST, "service": service})
    assert look_up(public(), PROD, port=3000)


@pytest.mark.usefixtures("state")
def test_another_stack_s_objects_are_left_to_the_check_of_the_owners(cloudflare: Cloudflare) -> None:
    existing(cloudflare, ANOTHERS)
    assert look_up(public(), PROD, port=3000)


@pytest.mark.usefixtures("state")
def test_a_bookmark_of_the_hostname_is_not_in_the_way(cloudflare: Cloudflare) -> None:
    cloudflare.applications[cloudflare.add_application(HOST, name="Invoices")]["type"] = "bookmark"
    assert look_up(public(), PROD, port=3000)


@pytest.mark.usefixtures("state")
def test_a_preview_warns_of_what_up_will_refuse(cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = existing(cloudflare, BY_HAND)
    warned: list[str] = []
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    assert look_up(public(), PROD, port=3000)
    assert [id_ in warning for id_, warning in zip(ids, warned, strict=True)] == [True, True]


def test_a_record_of_another_type_with_a_copied_comment_is_not_recorded_as_the_stack_s(cloudflare: Cloudflare) -> None:
    record = {"name": HOST, "content": cloudflare.target, "comment": PROD.owner.mark}
    cloudflare._store_record({**record, "type": "TXT"})
    own = cloudflare._store_record({**record, "type": "CNAME"})["id"]
    client = Client(api_token=cloudflare.token, base_url=os.environ["CLOUDFLARE_BASE_URL"])
    assert [id_ for *_, id_ in _made(public(), HOST, client, PROD.owner)] == [f"{cloudflare.zone_id}/{own}"]


@pytest.mark.parametrize("name", [f"*.{ZONE}", f"www.{HOST}", ZONE, f"_acme-challenge.{HOST}", f"other.{ZONE}"])
@pytest.mark.parametrize("type_", ["CNAME", "A", "NS", "TXT"])
def test_records_of_other_names_are_not_in_the_way(cloudflare: Cloudflare, name: str, type_: str) -> None:
    cloudflare._store_record({"name": name, "type": type_, "content": "x"})
    assert look_up(public(), PROD, port=3000)


@pytest.mark.parametrize("above", [f"b.{ZONE}", f"a.b.{ZONE}"])
def test_a_name_above_that_is_delegated_is_told(cloudflare: Cloudflare, above: str) -> None:
    changed = {"hostname": f"invoicetron.a.b.{ZONE}", "hostnames": (f"invoicetron.a.b.{ZONE}",)}
    cloudflare._store_record({"name": above, "type": "TXT", "content": "x"})
    assert look_up(public(**changed), PROD, port=3000)
    cloudflare._store_record({"name": above, "type": "NS", "content": "ns.example.com"})
    assert f"{above} is delegated to ns.example.com" in refusal(**changed)


def away(cloudflare: Cloudflare) -> None:
    cloudflare.app.fail(Fault(status=503, body=b"{}"), times=100)


def no_json(cloudflare: Cloudflare) -> None:
    cloudflare.app.fail(Fault(status=502, body=b"<html>"), times=100)


@pytest.mark.parametrize("fail", [away, no_json])
def test_a_cloudflare_that_is_away_is_told_after_some_attempts(
    cloudflare: Cloudflare, fail: Callable[[Cloudflare], None]
) -> None:
    fail(cloudflare)
    assert "failed 5 times" in refusal()


def test_what_passes_is_not_told(cloudflare: Cloudflare) -> None:
    cloudflare.app.fail_each(Fault(status=429, headers={"Retry-After": "1"}, body=b"{}"))
    assert look_up(public(), PROD, port=3000)
