"""The Access service token under the real engine: what it opens, that nothing else does, and its rotation."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final
from unittest import mock

import httpx
import pytest

from ops.clients import dynamic_client, load_settings
from ops.verify import verify
from rehearsal.engine import EngineError
from rehearsal.homelab import ZONE
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.cloudflare import ACCESS_EDIT, DNS_EDIT, ORGANIZATION_READ, TUNNEL_EDIT, ZONE_READ
from rehearsal.vendors.edge import Edge, Gateway, transport
from rehearsal.vendors.server import Call
from settings.section import today
from tests.rehearsal.test_registry_item import field
from tests.rehearsal.verify.live import NAMESPACE, REGISTRY

OURS: Final = f"invoicetron.{ZONE}"
URL: Final = f"https://{OURS}/api/health"
ITEM: Final = "Invoicetron Prod Service Token"
OWN_CHECKS: Final = {"public-path", "service-token", "access-application"}


def in_days(days: int) -> str:
    return (today() + dt.timedelta(days=days)).isoformat()


def configure(rehearsal: Rehearsal, *, expires: str) -> None:
    rehearsal.configure("prod", "access.public.serviceToken.item", f"op://Kubernetes/{ITEM}")
    rehearsal.configure("prod", "access.public.serviceToken.expires", expires)


def login(rehearsal: Rehearsal) -> dict[str, str]:
    """The headers that the item holds."""
    item = rehearsal.onepassword.item(ITEM)
    return {
        "CF-Access-Client-Id": field(item, "username"),
        "CF-Access-Client-Secret": field(item, "password"),
    }


@pytest.fixture
def asked(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.BaseTransport]:
    """prod with a service token, and the way to its public side; the process has the program's environment."""
    with ExitStack() as stack:
        cluster = dynamic_client(rehearsal.client)
        way = stack.enter_context(transport(Gateway(cluster), Edge(cluster, rehearsal.cloudflare)))
        rehearsal.program.init("prod")
        configure(rehearsal, expires=in_days(200))
        rehearsal.program.up("prod", "--skip-preview")
        image = f"{REGISTRY}/prod:1a2b3c4d"
        rehearsal.kubectl("-n", NAMESPACE, "set", "image", "deployment/invoicetron", f"invoicetron={image}")
        rehearsal.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/invoicetron", "--timeout=120s")
        for name in os.environ.keys() - rehearsal.program.environment.keys():
            monkeypatch.delenv(name)
        for name, value in rehearsal.program.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(rehearsal.program.directory)
        yield way


def ask(way: httpx.BaseTransport, given: dict[str, str]) -> int:
    return httpx.Client(transport=way).get(URL, headers=given).status_code


def failed(way: httpx.BaseTransport) -> dict[str, str]:
    """The checks about the token that fail, and what they report."""
    results = verify(load_settings("prod"), transport=way)
    assert {one.check for one in results} >= OWN_CHECKS
    return {one.check: one.seen for one in results if not one.ok and one.check in OWN_CHECKS}


def policy_of_the_token(rehearsal: Rehearsal) -> dict[str, Any]:
    (application,) = rehearsal.cloudflare.applications.values()
    found: list[dict[str, Any]] = [one for one in application["policies"] if one["decision"] == "non_identity"]
    (policy,) = found
    return policy


def test_only_the_token_passes_the_login_and_verify_checks_both(
    rehearsal: Rehearsal, asked: httpx.BaseTransport
) -> None:
    given = login(rehearsal)
    assert ask(asked, given) == 200
    assert ask(asked, {}) == 302
    assert ask(asked, {**given, "CF-Access-Client-Secret": "0" * 64}) == 302
    assert failed(asked) == {}
    state = rehearsal.program.run("stack", "export", "--stack", "prod")
    assert given["CF-Access-Client-Secret"] not in state
    in_gitlab = {one["key"]: one for one in rehearsal.gitlab.project.variables.stored()}
    assert in_gitlab["CF_ACCESS_CLIENT_SECRET"]["value"] == given["CF-Access-Client-Secret"]
    assert in_gitlab["CF_ACCESS_CLIENT_SECRET"]["masked"]

    policy = policy_of_the_token(rehearsal)
    with mock.patch.dict(policy, include=[*policy["include"], {"everyone": {}}]):
        assert "lets people past the login" in failed(asked)["access-application"]
    with mock.patch.dict(policy, include=[{"service_token": {"token_id": "another"}}]):
        seen = failed(asked)
        assert "lets people past the login" in seen["access-application"]
        assert "sends the service token" in seen["public-path"]
    with mock.patch.dict(rehearsal.cloudflare.access.service_tokens, clear=True):
        assert "has 0 service tokens" in failed(asked)["service-token"]
    rehearsal.kubectl("-n", NAMESPACE, "scale", "deployment/invoicetron", "--replicas=0")
    rehearsal.kubectl("-n", NAMESPACE, "wait", "pods", "--selector=app=invoicetron", "--for=delete", "--timeout=60s")
    assert "answers 502, not 200" in failed(asked)["public-path"]


def test_what_somebody_adds_to_the_policy_by_hand_is_removed(rehearsal: Rehearsal) -> None:
    program = rehearsal.program
    program.init("prod")
    configure(rehearsal, expires=in_days(200))
    program.up("prod", "--skip-preview")
    policy = rehearsal.cloudflare.policies[policy_of_the_token(rehearsal)["id"]]
    before = {**policy}
    policy["include"] = [*policy["include"], {"everyone": {}}]
    policy["exclude"] = [{"geo": {"country_code": "AQ"}}]
    (changed,) = program.preview("prod").changes.items()
    assert changed[1] == "update"
    assert program.up("prod", "--skip-preview").changes == dict([changed])
    (one,) = [each for each in rehearsal.cloudflare.policies.values() if each["decision"] == "non_identity"]
    assert (one["include"], one["exclude"]) == (before["include"], before["exclude"])
    assert program.up("prod", "--skip-preview").changes == {}


def test_a_new_expiry_rotates_the_token_and_removing_the_setting_removes_everything(
    rehearsal: Rehearsal, asked: httpx.BaseTransport
) -> None:
    before = login(rehearsal)
    refused: list[str] = []

    def look(call: Call) -> None:
        if ask(asked, login(rehearsal)) != 200:
            refused.append(f"{call.method} {call.path}")

    configure(rehearsal, expires=in_days(300))
    rehearsal.cloudflare.app.after.append(look)
    rehearsal.program.up("prod", "--skip-preview")
    rehearsal.cloudflare.app.after.remove(look)
    assert login(rehearsal) != before
    assert ask(asked, login(rehearsal)) == 200
    assert ask(asked, before) == 302, "the old one is revoked"
    # Between the policy's update and the item's, the item still holds the old token, which the policy no longer names.
    assert all("service_tokens" in one or "policies" in one for one in refused)
    assert rehearsal.program.preview("prod").changes == {}

    rehearsal.program.run("config", "rm", "--stack", "prod", "--path", "invoicetron:access.public.serviceToken")
    rehearsal.program.up("prod", "--skip-preview")
    assert not rehearsal.cloudflare.access.service_tokens
    assert [one["decision"] for one in rehearsal.cloudflare.policies.values()] == ["allow"]
    (application,) = rehearsal.cloudflare.applications.values()
    assert [one["decision"] for one in application["policies"]] == ["allow"]
    assert ITEM not in rehearsal.onepassword.titles()
    assert "CF_ACCESS_CLIENT_SECRET" not in {one["key"] for one in rehearsal.gitlab.project.variables.stored()}


def test_a_cloudflare_token_that_may_not_make_service_tokens_is_refused_before_anything_is_made(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.program.init("prod")
    configure(rehearsal, expires=in_days(200))
    weak = rehearsal.cloudflare.issue_token(ACCESS_EDIT, DNS_EDIT, TUNNEL_EDIT, ZONE_READ, ORGANIZATION_READ)
    with pytest.raises(EngineError, match="Access: Service Tokens: Edit"):
        rehearsal.program.with_environment({"CLOUDFLARE_API_TOKEN": weak}).preview("prod")
    assert not rehearsal.cloudflare.app.writes
