"""Each policy, with one resource that passes and one that must not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from policies import exposure, pods, secrets
from policies.rule import Resource, Rule

RULES: Mapping[str, Rule] = {
    rule.name: rule for rule in (*pods.RULES, *exposure.RULES, exposure.data_is_protected("prod"))
}

GOOD_POD: dict[str, Any] = {
    "metadata": {"labels": {"app": "web", "tier": "front"}},
    "spec": {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "web",
                "image": "registry.example.com:5000/web:1.2",
                "ports": [{"containerPort": 3000}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}}],
                "readinessProbe": {"httpGet": {"port": 3000}},
                "livenessProbe": {"httpGet": {"port": 3000}},
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}

Change = Callable[[dict[str, Any]], Any]


def deployment(change: Change = dict) -> Resource:
    pod = copy.deepcopy(GOOD_POD)
    change(pod)
    return Resource(
        type="kubernetes:apps/v1:Deployment",
        urn="urn:deployment",
        inputs={"metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": pod}},
    )


def resource(type_: str, inputs: Mapping[str, Any], **more: Any) -> Resource:
    return Resource(type=type_, urn=f"urn:{type_}", inputs=inputs, **more)


def violations(rule: str, *resources: Resource) -> list[str]:
    one = RULES[rule]
    if one.each is not None:
        return [message for each in resources for message in one.each(each)]
    assert one.all is not None
    return [violation.message for violation in one.all(resources)]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


BAD_PODS: list[tuple[str, Change]] = [
    ("images-have-versions", lambda pod: container(pod).update(image="registry.example.com:5000/web:latest")),
    ("images-have-versions", lambda pod: container(pod).update(image="registry.example.com:5000/web")),
    ("containers-are-bounded", lambda pod: container(pod)["resources"].pop("limits")),
    ("containers-are-bounded", lambda pod: pod["spec"].update(initContainers=[{"name": "init", "image": "a:1"}])),
    ("servers-are-probed", lambda pod: container(pod).pop("livenessProbe")),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].pop("runAsNonRoot")),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].update(runAsUser=0)),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].pop("seccompProfile")),
    ("pods-are-restricted", lambda pod: pod["spec"].update(hostNetwork=True)),
    ("pods-are-restricted", lambda pod: pod["spec"].update(volumes=[{"name": "v", "hostPath": {"path": "/"}}])),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"].pop("capabilities")),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"].update(allowPrivilegeEscalation=True)),
    ("no-service-account-token", lambda pod: pod["spec"].pop("automountServiceAccountToken")),
    ("no-env-from", lambda pod: container(pod).update(envFrom=[{"secretRef": {"name": "s"}}])),
]


@pytest.mark.parametrize(("rule", "change"), BAD_PODS)
def test_a_pod_that_breaks_one_rule_is_refused_by_that_rule_alone(rule: str, change: Change) -> None:
    bad = deployment(change)
    broken = {name for name in RULES if name != "pods-have-a-network-policy" and violations(name, bad)}
    assert rule in broken
    assert broken <= {rule, "containers-are-bounded", "pods-are-restricted"}


@pytest.mark.parametrize("rule", sorted(name for name in RULES if name != "pods-have-a-network-policy"))
def test_a_good_pod_passes_every_rule(rule: str) -> None:
    assert violations(rule, deployment()) == []


def test_an_image_by_digest_and_an_image_not_known_yet_pass() -> None:
    by_digest = deployment(lambda pod: container(pod).update(image="web@sha256:" + "0" * 64))
    unknown = deployment(lambda pod: container(pod).update(image="04da6b54-80e4-46f7-96ec-b56ff0331ba9"))
    assert violations("images-have-versions", by_digest, unknown) == []


def test_the_pod_of_a_cron_job_is_looked_at_too() -> None:
    pod = copy.deepcopy(GOOD_POD)
    del pod["spec"]["automountServiceAccountToken"]
    inputs = {"spec": {"jobTemplate": {"spec": {"template": pod}}}}
    assert violations("no-service-account-token", resource("kubernetes:batch/v1:CronJob", inputs))


def network_policy(namespace: str, **labels: str) -> Resource:
    inputs = {"metadata": {"namespace": namespace}, "spec": {"endpointSelector": {"matchLabels": labels}}}
    return resource("kubernetes:cilium.io/v2:CiliumNetworkPolicy", inputs)


def test_a_pod_needs_a_network_policy_that_selects_it_in_its_own_namespace() -> None:
    rule = "pods-have-a-network-policy"
    assert violations(rule, deployment(), network_policy("shop", app="web")) == []
    assert violations(rule, deployment(), network_policy("shop", app="web", tier="back"))
    assert violations(rule, deployment(), network_policy("other", app="web"))
    assert violations(rule, deployment())


@pytest.mark.parametrize("kind", ["core/v1:Namespace", "apps/v1:StatefulSet", "core/v1:PersistentVolumeClaim"])
def test_what_holds_prods_data_is_protected(kind: str) -> None:
    rule = "data-is-protected"
    assert violations(rule, resource(f"kubernetes:{kind}", {}, protect=True)) == []
    assert violations(rule, resource(f"kubernetes:{kind}", {}))


def test_dev_may_be_reset() -> None:
    check = exposure.data_is_protected("dev").each
    assert check is not None
    assert list(check(resource("kubernetes:core/v1:Namespace", {}))) == []


ACCESS = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"
DNS = "cloudflare:index/dnsRecord:DnsRecord"


def test_an_access_application_names_its_policy() -> None:
    rule = "access-applications-have-policies"
    assert violations(rule, resource(ACCESS, {"policies": [{"id": "p"}]})) == []
    assert violations(rule, resource(ACCESS, {"policies": []}))
    assert violations(rule, resource(ACCESS, {}))


def test_a_dns_record_comes_after_its_access_application() -> None:
    rule = "dns-comes-after-access"
    access = resource(ACCESS, {"policies": [{"id": "p"}]})
    tunnel = resource("pulumi-python:dynamic:Resource", {}, dependencies=(access.urn,))
    assert violations(rule, access, tunnel, resource(DNS, {}, dependencies=(tunnel.urn,))) == []
    assert violations(rule, access, tunnel, resource(DNS, {}))


VARIABLE = "gitlab:index/projectVariable:ProjectVariable"


@pytest.mark.parametrize(
    ("type_", "inputs", "secret_input"),
    [
        ("kubernetes:core/v1:Secret", {"stringData": {"a": "b"}}, "stringData"),
        (VARIABLE, {"value": "x", "masked": True}, "value"),
        ("onepassword:index/item:Item", {"password": "x"}, "password"),
    ],
)
def test_a_secret_is_marked_as_one(type_: str, inputs: dict[str, Any], secret_input: str) -> None:
    one = resource(type_, inputs)
    assert list(secrets.plaintext(one, {secret_input: True})) == []
    assert list(secrets.plaintext(one, {}))


def test_a_value_that_a_preview_does_not_know_yet_passes() -> None:
    unknown = {"value": "04da6b54-80e4-46f7-96ec-b56ff0331ba9", "masked": True}
    assert list(secrets.plaintext(resource(VARIABLE, unknown), {})) == []


def test_a_ci_variable_that_is_not_masked_holds_no_secret() -> None:
    assert list(secrets.plaintext(resource(VARIABLE, {"value": "https://api.example.com", "masked": False}), {})) == []
