"""Who is let in by an Access policy."""

from __future__ import annotations

from typing import Any

import pytest

from lookups.access_policy import admitted, openings

EMAIL = {"email": {"email": "owner@example.com"}}
EVERYONE: dict[str, Any] = {"everyone": {}}
DOMAIN = {"email_domain": {"domain": "example.com"}}

OPEN = [
    EVERYONE,
    DOMAIN,
    {"login_method": {"id": "one-time-pin"}},
    {"geo": {"country_code": "DE"}},
    {"ip": {"ip": "0.0.0.0/0"}},
    {"ip_list": {"id": "l"}},
    {"any_valid_service_token": {}},
    {"certificate": {}},
    {"common_name": {"common_name": "x"}},
    {"auth_method": {"auth_method": "mfa"}},
    {"auth_context": {"id": "a", "ac_id": "b", "identity_provider_id": "c"}},
    {"device_posture": {"integration_uid": "d"}},
    {"external_evaluation": {"evaluate_url": "https://e", "keys_url": "https://k"}},
    {"oidc": {"claim_name": "email_verified", "claim_value": "true", "identity_provider_id": "i"}},
    {"linked_app_token": {"app_uid": "u"}},
    {"user_risk_score": {"user_risk_score": ["low"]}},
    {"cloudflare_account_member": {}},
    {"a_selector_of_tomorrow": {"x": 1}},
    {"another_of_tomorrow": None},
    {},
]
KNOWN = [
    EMAIL,
    {"email_list": {"id": "l"}},
    {"azureAD": {"id": "g", "identity_provider_id": "i"}},
    {"okta": {"name": "g", "identity_provider_id": "i"}},
    {"gsuite": {"email": "g@example.com", "identity_provider_id": "i"}},
    {"saml": {"attribute_name": "group", "attribute_value": "g", "identity_provider_id": "i"}},
    {"github-organization": {"name": "o", "identity_provider_id": "i"}},
    {"service_token": {"token_id": "t"}},
]


def policy(*include: Any, require: Any = (), exclude: Any = ()) -> dict[str, Any]:
    return {"include": list(include), "require": list(require), "exclude": list(exclude)}


def no_group(id_: str) -> dict[str, Any]:
    raise AssertionError(id_)


def group(id_: str) -> dict[str, Any]:
    return {"group": {"id": id_}}


@pytest.mark.parametrize("rule", OPEN)
def test_a_selector_that_names_nobody_opens_the_policy_even_next_to_one_that_does(rule: dict[str, Any]) -> None:
    (told,) = openings(policy(EMAIL, rule), no_group)
    assert all(selector in told for selector in rule)
    assert openings(policy(rule, exclude=[EMAIL]), no_group), "an exclude leaves everybody else"


@pytest.mark.parametrize("rule", KNOWN)
def test_a_selector_that_names_people_opens_nothing_and_as_a_require_narrows_any_include(
    rule: dict[str, Any],
) -> None:
    assert openings(policy(rule, exclude=[EVERYONE]), no_group) == []
    assert openings(policy(EVERYONE, require=[DOMAIN, rule]), no_group) == []


def test_a_require_that_names_nobody_narrows_nothing() -> None:
    assert openings(policy(EVERYONE, require=[DOMAIN]), no_group) == ["everyone"]


def test_a_selector_is_open_until_a_setting_names_it() -> None:
    assert openings(policy(DOMAIN, EVERYONE), no_group, ["email_domain"]) == ["everyone"]


def test_an_empty_include_is_reported() -> None:
    assert openings({"include": None}, no_group) == ["its include is empty"]


def test_nested_groups_are_resolved_at_any_depth() -> None:
    groups = {"outer": policy(group("inner")), "inner": policy(EMAIL, EVERYONE), "shut": policy(EMAIL, EMAIL)}
    assert openings(policy(group("outer")), groups.__getitem__) == ["group inner: everyone"]
    assert openings(policy(group("outer"), require=[group("shut")]), groups.__getitem__) == []
    assert openings(policy(group("shut"), require=[group("inner")]), groups.__getitem__) == []
    assert openings(policy(EVERYONE, require=[group("inner")]), groups.__getitem__) == ["everyone"]


def test_a_group_that_includes_itself_does_not_loop() -> None:
    groups = {"a": policy(group("b")), "b": policy(group("a"), DOMAIN)}
    assert openings(policy(group("a")), groups.__getitem__) == ["group b: email_domain (example.com)"]
    assert admitted(policy(group("a")), groups.__getitem__) == "1 rule by email_domain"


@pytest.mark.parametrize("deep", [False, True])
def test_a_group_that_requires_itself_is_not_narrowed_by_that(*, deep: bool) -> None:
    groups = {"a": policy(EVERYONE, require=[group("b" if deep else "a")]), "b": policy(group("a"))}
    assert openings(policy(group("a")), groups.__getitem__) == ["group a: everyone"]
    assert openings(policy(EVERYONE, require=[group("a")]), groups.__getitem__) == ["everyone"]


def test_the_people_let_in_are_counted_through_groups() -> None:
    other = {"email": {"email": "guest@example.com"}}
    groups = {"g": policy(EMAIL, {"okta": {"name": "a"}}, {"saml": {}}), "h": policy(group("g"), exclude=[other])}
    assert admitted(policy(EMAIL, other, group("h"), {"email_list": {"id": "l"}}), groups.__getitem__) == (
        "2 e-mail addresses, 2 groups of an identity provider, 1 e-mail list"
    )


def test_requires_and_excludes_of_a_policy_are_counted_too() -> None:
    groups = {"g": policy(EMAIL, {"email": {"email": "guest@example.com"}})}
    rules = policy(EVERYONE, require=[group("g"), DOMAIN], exclude=[EMAIL])
    assert admitted(rules, groups.__getitem__) == (
        "1 rule by everyone; who match each of 2 e-mail addresses, 1 rule by email_domain; less 1 e-mail address"
    )
    assert admitted(policy(), no_group) == "nobody"
