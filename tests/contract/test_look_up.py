"""What `up` asks Cloudflare before the first resource: it reports everything that is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from lookups.cloudflare import look_up
from rehearsal.homelab import TEAM, TUNNEL
from rehearsal.vendors.cloudflare import (
    ACCESS_EDIT,
    DNS_EDIT,
    ORGANIZATION_READ,
    SCOPES,
    TUNNEL_EDIT,
    ZONE_READ,
    Cloudflare,
)
from rehearsal.vendors.server import Fault
from tests.contract.look_up import public, refusal
from tests.stacks import PROD

EMAIL: Final[dict[str, Any]] = {"email": {"email": "owner@example.com"}}
EVERYONE: Final[dict[str, Any]] = {"everyone": {}}


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


@pytest.mark.parametrize(
    ("decision", "reusable", "message"), [("bypass", True, "its decision"), ("allow", False, "reusable")]
)
def test_a_policy_with_another_decision_or_of_one_application_alone_is_refused(
    cloudflare: Cloudflare, decision: str, reusable: bool, message: str
) -> None:
    assert message in refusal(policy_id=cloudflare.add_policy("Allow Admin", decision=decision, reusable=reusable))


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
