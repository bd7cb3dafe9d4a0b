"""What exists for the public hostname in Cloudflare before the first `up`, or is not in the state."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

import pulumi
import pytest
from cloudflare import Cloudflare as Client

from lookups.cloudflare import look_up
from ops.recover.unrecorded import _made
from rehearsal.homelab import ZONE
from rehearsal.vendors.cloudflare import Cloudflare
from settings.access import AdoptSettings
from settings.names import Names
from tests.contract.look_up import HOST, public, refusal
from tests.stacks import DEV, PROD

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
def test_objects_of_another_hostname_are_not_adopted_and_the_message_gives_the_right_ids(
    cloudflare: Cloudflare,
) -> None:
    theirs = cloudflare.add_application(f"blog.{ZONE}", name="Blog")
    their_record = next(id_ for id_, one in cloudflare.records.items() if one["name"] == f"blog.{ZONE}")
    application, record = existing(cloudflare, BY_HAND)
    message = refusal(adopt=AdoptSettings(application=theirs, dns_record=their_record))
    assert f"adopt.application is {theirs}" in message
    assert f"give {application}" in message
    assert f"adopt.dnsRecord is {their_record}" in message
    assert f"give {record}" in message


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
def test_a_bookmark_of_the_hostname_is_neither_in_the_way_nor_adopted(cloudflare: Cloudflare) -> None:
    bookmark = cloudflare.add_application(HOST, name="Invoices")
    cloudflare.applications[bookmark]["type"] = "bookmark"
    assert look_up(public(), PROD, port=3000)
    assert "does not belong to this hostname" in refusal(adopt=AdoptSettings(application=bookmark))


@pytest.mark.usefixtures("state")
def test_a_preview_warns_of_what_up_will_refuse(cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = existing(cloudflare, BY_HAND)
    warned: list[str] = []
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    assert look_up(public(), PROD, port=3000)
    assert [id_ in warning for id_, warning in zip(ids, warned, strict=True)] == [True, True]
    warned.clear()
    application, record = ids
    assert look_up(public(adopt=AdoptSettings(application=application, dns_record=record)), PROD, port=3000)
    assert warned == []


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
