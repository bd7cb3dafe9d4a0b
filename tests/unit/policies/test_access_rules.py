"""The rules about Cloudflare Access, each with resources that pass and resources that must not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.policies.test_policies import UNKNOWN, resource, violations

ACCESS = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"
DNS = "cloudflare:index/dnsRecord:DnsRecord"


def test_an_access_application_names_its_policy() -> None:
    rule = "access-applications-have-policies"
    assert violations(rule, resource(ACCESS, {"policies": [{"id": "p"}]})) == []
    assert violations(rule, resource(ACCESS, {"policies": []}))
    assert violations(rule, resource(ACCESS, {}))


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        ({"id": UNKNOWN, "precedence": 1}, False),
        ({"decision": "bypass", "includes": [{"everyone": {}}], "name": "open"}, True),
        ({"id": "p", "decision": "bypass", "includes": [{"everyone": {}}]}, True),
        ({"precedence": 1}, True),
    ],
)
def test_an_access_application_has_no_policy_of_its_own(policy: dict[str, Any], *, refused: bool) -> None:
    found = violations("access-applications-have-policies", resource(ACCESS, {"policies": [{"id": "p"}, policy]}))
    assert bool(found) == refused


TOKEN_RULE: Any = {"serviceToken": {"tokenId": "t"}}


@pytest.mark.parametrize(
    ("decision", "includes", "refused"),
    [
        ("non_identity", [TOKEN_RULE], False),
        ("bypass", [TOKEN_RULE], True),
        ("allow", [TOKEN_RULE], True),
        ("non_identity", [], True),
        ("non_identity", [TOKEN_RULE, TOKEN_RULE], True),
        ("non_identity", [{"everyone": {}}], True),
        ("non_identity", [{"anyValidServiceToken": {}}], True),
        ("non_identity", [{**TOKEN_RULE, "everyone": {}}], True),
        ("non_identity", None, True),
    ],
)
def test_a_policy_of_the_program_lets_in_one_service_token_only(decision: str, includes: Any, *, refused: bool) -> None:
    policy = resource(
        "cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy", {"decision": decision, "includes": includes}
    )
    assert bool(violations("access-policies-let-in-a-token", policy)) == refused


DYNAMIC = "pulumi-python:dynamic:Resource"
APPLICATION = resource(ACCESS, {"policies": [{"id": "p"}], "domain": "shop.example.com"})


@pytest.mark.parametrize("name", ["shop.example.com", UNKNOWN])
def test_a_dns_record_comes_after_its_access_application_directly_or_not(name: str) -> None:
    tunnel = resource(DYNAMIC, {}, dependencies=(APPLICATION.urn,))
    for before in (APPLICATION, tunnel):
        record = resource(DNS, {"name": name}, dependencies=(before.urn,))
        assert violations("dns-comes-after-access", APPLICATION, tunnel, record) == []


@pytest.mark.parametrize(
    ("name", "dependencies"),
    [("shop.example.com", ()), (UNKNOWN, ()), ("other.example.com", (APPLICATION.urn,))],
)
@pytest.mark.parametrize("type_", [DNS, "cloudflare:index/record:Record"])
def test_a_dns_record_that_an_application_of_another_name_or_none_comes_before_is_refused(
    name: str, dependencies: tuple[str, ...], type_: str
) -> None:
    record = resource(type_, {"name": name}, dependencies=dependencies)
    assert violations("dns-comes-after-access", APPLICATION, record)
