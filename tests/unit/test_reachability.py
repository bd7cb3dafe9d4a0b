"""The evaluator interprets network policies as Cilium does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.reachability import ANY_OTHER_PORT, NotUnderstoodError, Outsider, Pod, Policies

WEB = Pod(name="web", namespace="shop", labels={"app": "web", "tier": "front"})
STORE = Pod(name="store", namespace="shop", labels={"app": "store"})
STRANGER = Pod(name="stranger", namespace="other", labels={"app": "web"})
NODE = Outsider(name="node", entity="host")
API = Outsider(name="api", entity="world", host="api.example.com")
SQL = "5432/TCP"


def policy(app: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop"}, "spec": {"endpointSelector": {"matchLabels": {"app": app}}, **spec}}


def ports(port: str, **more: Any) -> list[dict[str, Any]]:
    number, protocol = port.split("/")
    return [{"ports": [{"port": number, "protocol": protocol}], **more}]


def pods(**labels: str) -> list[dict[str, Any]]:
    return [{"matchLabels": labels}]


def test_a_pod_that_no_policy_selects_reaches_and_is_reached() -> None:
    others = policy("mail", ingress=[{}], egress=[{}])
    of_another_namespace = {**policy("web", ingress=[{}], egress=[{}]), "metadata": {"namespace": "other"}}
    policies = Policies([others, of_another_namespace])
    assert policies.allows(WEB, STORE, SQL)
    assert policies.allows(NODE, WEB, SQL)


@pytest.mark.parametrize(
    ("direction", "refused", "allowed"),
    [("ingress", (STORE, WEB), (WEB, STORE)), ("egress", (WEB, STORE), (STORE, WEB))],
)
def test_a_section_denies_its_own_direction_and_its_empty_rule_allows_nothing(
    direction: str, refused: tuple[Pod, Pod], allowed: tuple[Pod, Pod]
) -> None:
    section: dict[str, Any] = {direction: [{}]}
    policies = Policies([policy("web", **section)])
    assert not policies.allows(*refused, SQL)
    assert policies.allows(*allowed, SQL)


def test_both_ends_must_allow() -> None:
    out = policy("web", egress=[{"toEndpoints": pods(app="store"), "toPorts": ports(SQL)}])
    into = policy("store", ingress=[{"fromEndpoints": pods(app="web"), "toPorts": ports(SQL)}])
    assert Policies([out, into]).allows(WEB, STORE, SQL)
    assert not Policies([out, policy("store", ingress=[{}])]).allows(WEB, STORE, SQL)
    assert not Policies([policy("web", egress=[{}]), into]).allows(WEB, STORE, SQL)


def test_a_rule_opens_the_ports_it_names_and_all_of_them_where_it_names_none() -> None:
    named = Policies([policy("store", ingress=[{"fromEndpoints": pods(app="web"), "toPorts": ports(SQL)}])])
    assert [port for port in named.ports if named.allows(WEB, STORE, port)] == [SQL]
    unnamed = Policies([policy("store", ingress=[{"fromEndpoints": pods(app="web")}])])
    assert unnamed.allows(WEB, STORE, ANY_OTHER_PORT)


def test_a_rule_that_names_ports_alone_lets_everybody_in() -> None:
    policies = Policies([policy("store", ingress=[{"toPorts": ports(SQL)}])])
    assert all(policies.allows(each, STORE, SQL) for each in (WEB, STRANGER, NODE))


def test_a_selector_without_a_namespace_means_the_policys_own() -> None:
    own = Policies([policy("store", ingress=[{"fromEndpoints": pods(app="web")}])])
    assert own.allows(WEB, STORE, SQL)
    assert not own.allows(STRANGER, STORE, SQL)
    named = {"k8s:io.kubernetes.pod.namespace": "other"}
    other = Policies([policy("store", ingress=[{"fromEndpoints": [{"matchLabels": named}]}])])
    assert other.allows(STRANGER, STORE, SQL)
    assert not other.allows(WEB, STORE, SQL)


def test_every_label_of_a_selector_must_match() -> None:
    policies = Policies([policy("store", ingress=[{"fromEndpoints": pods(app="web", tier="back")}])])
    assert not policies.allows(WEB, STORE, SQL)


def test_an_entity_is_no_pod_and_a_pod_is_no_entity() -> None:
    policies = Policies([policy("web", ingress=[{"fromEntities": ["host"]}])])
    assert policies.allows(NODE, WEB, SQL)
    assert not policies.allows(STORE, WEB, SQL)
    assert not policies.allows(API, WEB, SQL)


def test_a_name_is_reached_only_where_the_dns_proxy_sees_it_resolved() -> None:
    dns = {"toEndpoints": pods(k8s_app="dns"), "toPorts": ports("53/UDP", rules={"dns": [{"matchPattern": "*"}]})}
    names = {"toFQDNs": [{"matchName": "api.example.com"}], "toPorts": ports("443/TCP")}
    assert Policies([policy("web", egress=[dns, names])]).allows(WEB, API, "443/TCP")
    assert not Policies([policy("web", egress=[names])]).allows(WEB, API, "443/TCP")
    assert not Policies([policy("web", egress=[dns, names])]).allows(WEB, NODE, "443/TCP")


def test_a_policy_that_does_not_restrict_adds_to_those_that_do() -> None:
    adds = policy("web", egress=[{"toEndpoints": pods(app="store")}], enableDefaultDeny={"egress": False})
    assert Policies([adds]).allows(WEB, API, SQL)
    both = Policies([adds, policy("web", egress=[{}])])
    assert both.allows(WEB, STORE, SQL)
    assert not both.allows(WEB, API, SQL)


@pytest.mark.parametrize(
    "spec",
    [
        {"ingressDeny": [{}]},
        {"ingress": [{"fromCIDR": ["10.0.0.0/8"]}]},
        {"ingress": [{"fromEndpoints": [{"matchExpressions": []}]}]},
        {"ingress": [{"toPorts": [{"ports": [], "rules": {"http": []}}]}]},
    ],
)
def test_a_policy_that_is_not_understood_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(NotUnderstoodError, match="teach"):
        Policies([policy("store", **spec)]).allows(WEB, STORE, SQL)
