"""One rule of a shared document is ours; everything else belongs to others."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookups.tunnel_document import TunnelDocumentError, find, first_taker, paths_of, with_rule, without_rule

OURS = "invoicetron.example.com"
SERVICE = "http://invoicetron.invoicetron-prod.svc.cluster.local:3000"
CATCH_ALL = {"service": "http_status:404"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)
hostnames = st.sampled_from(["blog.example.com", "*.example.com", "status.example.com", "*.other.org", OURS])
rules = st.builds(
    lambda hostname, service, extra: {"hostname": hostname, "service": service, **extra},
    hostnames,
    st.sampled_from(["http://a", "http://b", SERVICE]),
    st.dictionaries(st.sampled_from(["path", "originRequest", "unknown"]), json_values, max_size=2),
)
documents = st.builds(
    lambda own, extra: {"ingress": [*own, CATCH_ALL], **extra},
    st.lists(rules, max_size=6, unique_by=lambda rule: rule["hostname"]),
    st.dictionaries(st.sampled_from(["warp-routing", "originRequest", "unknown"]), json_values, max_size=3),
)


def others(document: dict[str, Any]) -> str:
    """Everything of the document that is not our rule, as text: order and unknown keys count."""
    left = [rule for rule in document["ingress"] if rule.get("hostname") != OURS or rule.get("path")]
    return json.dumps({**document, "ingress": left})


def first_match(document: dict[str, Any], hostname: str) -> dict[str, Any]:
    """The rule that cloudflared would apply."""
    for rule in document["ingress"]:
        pattern = rule.get("hostname")
        if rule.get("path"):
            continue
        if not pattern or pattern == hostname or (pattern.startswith("*.") and hostname.endswith(pattern[1:])):
            return dict(rule)
    raise AssertionError("no catch-all")


@given(documents)
def test_whatever_the_document_our_hostname_reaches_our_service_and_nothing_of_theirs_changes(
    document: dict[str, Any],
) -> None:
    before = copy.deepcopy(document)
    after = with_rule(document, OURS, SERVICE)
    assert first_match(after, OURS)["service"] == SERVICE
    assert others(after) == others(before)
    assert document == before, "the document given is not edited in place"
    assert with_rule(after, OURS, SERVICE) == after


@given(documents)
def test_removing_our_rule_leaves_exactly_theirs_and_removing_it_twice_is_once(document: dict[str, Any]) -> None:
    removed = without_rule(with_rule(document, OURS, SERVICE), OURS)
    assert find(removed, OURS) is None
    assert others(removed) == others(document)
    assert without_rule(removed, OURS) == removed


@pytest.mark.parametrize("hostname", [None, "*", "*.example.com"])
def test_our_rule_comes_before_a_path_of_all_hostnames_and_after_one_of_its_own(hostname: str | None) -> None:
    of_all = {**({"hostname": hostname} if hostname else {}), "path": "^/api", "service": "http://all"}
    of_ours = {"hostname": OURS, "path": "^/files", "service": "http://files"}
    document = {"ingress": [of_ours, of_all, CATCH_ALL]}
    services = [rule["service"] for rule in with_rule(document, OURS, SERVICE)["ingress"]]
    assert services == ["http://files", SERVICE, "http://all", "http_status:404"]
    assert paths_of(with_rule(document, OURS, SERVICE), OURS) == [of_ours]
    assert first_taker(document, OURS) == of_all
    assert first_taker(with_rule(document, OURS, SERVICE), OURS) == {
        "hostname": OURS,
        "service": SERVICE,
        "originRequest": {},
    }


def test_a_changed_service_keeps_the_rules_place_and_other_keys() -> None:
    own = {"hostname": OURS, "service": "http://old", "originRequest": {"noTLSVerify": True}}
    document = {"ingress": [{"hostname": "blog.example.com", "service": "http://blog"}, own, CATCH_ALL]}
    assert with_rule(document, OURS, SERVICE)["ingress"][1] == {**own, "service": SERVICE}


@pytest.mark.parametrize(
    ("document", "fix"),
    [
        ({}, "empty"),
        ({"ingress": []}, "empty"),
        ({"ingress": [{"hostname": "blog.example.com", "service": "http://blog"}]}, "catch-all"),
    ],
)
def test_a_document_that_is_not_a_shared_tunnels_is_refused(document: dict[str, Any], fix: str) -> None:
    with pytest.raises(TunnelDocumentError, match=fix):
        with_rule(document, OURS, SERVICE)


def test_a_last_rule_for_any_hostname_is_a_catch_all() -> None:
    catch_all = {"hostname": "*", "service": "http_status:404"}
    document = {"ingress": [{"hostname": "blog.example.com", "service": "http://blog"}, catch_all]}
    services = [rule["service"] for rule in with_rule(document, OURS, SERVICE)["ingress"]]
    assert services == ["http://blog", SERVICE, "http_status:404"]
