"""Each policy, with one resource that passes and one that must not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pulumi_policy import proxy
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY, deserialize_properties

from policies import delivery, exposure, pods, secrets
from policies.rule import Resource, Rule, known

# The last is a policy of its own in the pack, because only a remediation learns what is marked secret.
PLAINTEXT = Rule(name="no-plaintext-secrets", description="", each=secrets.plaintext)
RULES: Mapping[str, Rule] = {rule.name: rule for rule in (*pods.RULES, *exposure.RULES, *delivery.RULES, PLAINTEXT)}

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

SECRET = {SPECIAL_SIG_KEY: SPECIAL_SECRET_SIG, "value": "x"}
"""A value that the engine sends marked as secret."""

Change = Callable[[dict[str, Any]], Any]


def deployment(change: Change = dict) -> Resource:
    pod = copy.deepcopy(GOOD_POD)
    change(pod)
    return Resource(
        type="kubernetes:apps/v1:Deployment",
        urn="urn:pulumi:prod::shop::kubernetes:apps/v1:Deployment::web",
        inputs={"metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": pod}},
    )


def resource(type_: str, inputs: Mapping[str, Any], *, stack: str = "prod", **more: Any) -> Resource:
    return Resource(type=type_, urn=f"urn:pulumi:{stack}::shop::{type_}::name", inputs=inputs, **more)


def violations(rule: str, *resources: Resource) -> list[str]:
    one = RULES[rule]
    if one.each is not None:
        return [message for each in resources for message in one.each(each)]
    assert one.all is not None
    return [violation.message for violation in one.all(resources)]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pod["spec"]["containers"][0]
    return found


def init_container(*without: str, **more: Any) -> Change:
    """An init container that breaks no rule, except through what it is given or lacks."""

    def change(pod: dict[str, Any]) -> None:
        init = {**copy.deepcopy(container(pod)), "name": "init", "ports": [], **more}
        pod["spec"]["initContainers"] = [{key: value for key, value in init.items() if key not in without}]

    return change


def volume(**source: Any) -> Change:
    return lambda pod: pod["spec"].update(volumes=[{"name": "v", **source}])


def variable(name: str, value: str) -> Change:
    return lambda pod: container(pod)["env"].append({"name": name, "value": value})


def calls(probe: str, action: str) -> Change:
    return lambda pod: container(pod).update({probe: {action: ELSEWHERE}})


ELSEWHERE = {"host": "192.0.2.7", "port": 80}
TOKEN = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}

BAD_PODS: list[tuple[str, Change]] = [
    ("images-have-versions", lambda pod: container(pod).update(image="registry.example.com:5000/web:latest")),
    ("images-have-versions", lambda pod: container(pod).update(image="registry.example.com:5000/web")),
    ("containers-are-bounded", lambda pod: container(pod)["resources"].pop("limits")),
    ("images-have-versions", init_container(image="busybox")),
    ("containers-are-bounded", lambda pod: container(pod)["resources"]["requests"].pop("cpu")),
    ("containers-are-bounded", lambda pod: container(pod)["resources"]["limits"].pop("memory")),
    ("containers-are-bounded", init_container(resources={"limits": {"cpu": "1", "memory": "1Gi"}})),
    ("servers-are-probed", lambda pod: container(pod).pop("livenessProbe")),
    ("servers-are-probed", lambda pod: container(pod).pop("readinessProbe")),
    ("servers-are-probed", init_container("readinessProbe", ports=[{"containerPort": 1}], restartPolicy="Always")),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].pop("runAsNonRoot")),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].update(runAsUser=0)),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].pop("seccompProfile")),
    *(
        ("pods-are-restricted", lambda pod, shared=shared: pod["spec"].update({shared: True}))
        for shared in ("hostNetwork", "hostPID", "hostIPC")
    ),
    ("pods-are-restricted", volume(hostPath={"path": "/"})),
    ("pods-are-restricted", volume(nfs={"server": "nas", "path": "/"})),
    ("pods-are-restricted", init_container(securityContext={"privileged": True})),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"].update(runAsUser=0)),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"].update(procMount="Unmasked")),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
    ("pods-are-restricted", lambda pod: container(pod)["readinessProbe"]["httpGet"].update(host="169.254.169.254")),
    ("pods-are-restricted", calls("startupProbe", "tcpSocket")),
    ("pods-are-restricted", calls("livenessProbe", "tcpSocket")),
    ("pods-are-restricted", lambda pod: container(pod).update(lifecycle={"preStop": {"httpGet": ELSEWHERE}})),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].update(seLinuxOptions={"user": "system_u"})),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"].update(windowsOptions={"hostProcess": True})),
    ("pods-are-restricted", lambda pod: container(pod)["ports"][0].update(hostPort=3000)),
    ("pods-are-restricted", lambda pod: pod["spec"]["securityContext"].update(sysctls=[{"name": "a", "value": "b"}])),
    (
        "pods-are-restricted",
        lambda pod: pod["spec"]["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    ),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"].pop("capabilities")),
    ("pods-are-restricted", lambda pod: container(pod)["securityContext"].update(allowPrivilegeEscalation=True)),
    ("no-service-account-token", lambda pod: pod["spec"].pop("automountServiceAccountToken")),
    ("no-service-account-token", lambda pod: pod["spec"].update(automountServiceAccountToken=True)),
    ("no-service-account-token", volume(**TOKEN)),
    ("no-env-from", lambda pod: container(pod).update(envFrom=[{"secretRef": {"name": "s"}}])),
    ("no-env-from", init_container(envFrom=[{"configMapRef": {"name": "c"}}])),
    ("no-plaintext-secrets", variable("BETTER_AUTH_SECRET", "correct horse")),
    ("no-plaintext-secrets", variable("API_KEY", "correct horse")),
    ("no-plaintext-secrets", variable("HOMEPAGE", "https://user:correct-horse@example.com/")),
]


@pytest.mark.parametrize(("rule", "change"), BAD_PODS)
def test_a_pod_that_breaks_one_rule_is_refused_by_that_rule_alone(rule: str, change: Change) -> None:
    bad = deployment(change)
    assert {name for name in RULES if name != "pods-have-a-network-policy" and violations(name, bad)} == {rule}


@pytest.mark.parametrize("rule", sorted(name for name in RULES if name != "pods-have-a-network-policy"))
@pytest.mark.parametrize(
    "change",
    [
        dict,
        init_container(),
        volume(emptyDir={}),
        lambda pod: container(pod)["securityContext"]["capabilities"].update(add=["NET_BIND_SERVICE"]),
        lambda pod: container(pod)["securityContext"].update(runAsUser=70, appArmorProfile={"type": "RuntimeDefault"}),
        lambda pod: container(pod).update(ports=[], readinessProbe={}, livenessProbe={}),
        lambda pod: pod["spec"]["securityContext"].update(seccompProfile={"type": "Localhost"}),
        variable("NODE_ENV", "production"),
        variable("API_KEY", "04da6b54-80e4-46f7-96ec-b56ff0331ba9"),
        variable("PUBLIC_URL", "https://example.com:3000/user@host"),
    ],
)
def test_a_good_pod_passes_every_rule(rule: str, change: Change) -> None:
    assert violations(rule, deployment(change)) == []


@pytest.mark.parametrize("rule", sorted({rule for rule, _ in BAD_PODS}))
@pytest.mark.parametrize(
    "kind",
    [
        "apps/v1:StatefulSet",
        "apps/v1:DaemonSet",
        "apps/v1:ReplicaSet",
        "batch/v1:Job",
        "batch/v1:CronJob",
        "core/v1:Pod",
    ],
)
def test_every_rule_looks_at_the_pods_of_every_kind(rule: str, kind: str) -> None:
    change = next(change for name, change in BAD_PODS if name == rule)
    template = deployment(change).inputs["spec"]["template"]
    inputs = {
        "core/v1:Pod": template,
        "batch/v1:CronJob": {"spec": {"jobTemplate": {"spec": {"template": template}}}},
    }.get(kind, {"spec": {"template": template}})
    assert violations(rule, resource(f"kubernetes:{kind}", inputs))


def test_an_image_by_digest_and_an_image_not_known_yet_pass() -> None:
    by_digest = deployment(lambda pod: container(pod).update(image="web@sha256:" + "0" * 64))
    unknown = deployment(lambda pod: container(pod).update(image="04da6b54-80e4-46f7-96ec-b56ff0331ba9"))
    assert violations("images-have-versions", by_digest, unknown) == []


@pytest.mark.parametrize("kind", ["BOOLEAN", "NUMBER", "STRING", "ARRAY", "OBJECT"])
def test_what_the_policy_sdk_puts_in_place_of_a_value_not_known_yet_is_unknown(kind: str) -> None:
    assert not known(getattr(proxy, f"UNKNOWN_{kind}_VALUE"))


def network_policy(namespace: str, labels: Mapping[str, str], *directions: str, denies: bool | None = None) -> Resource:
    rules: dict[str, Any] = {direction: [{}] for direction in directions}
    if denies is not None:
        rules["enableDefaultDeny"] = dict.fromkeys(directions, denies)
    return selecting(namespace, endpointSelector={"matchLabels": labels}, **rules)


def matching(key: str, operator: str, *values: str) -> Resource:
    expression = {"key": key, "operator": operator, **({"values": list(values)} if values else {})}
    return selecting(endpointSelector={"matchExpressions": [expression]}, ingress=[{}], egress=[{}])


def selecting(namespace: str = "shop", /, **spec: Any) -> Resource:
    inputs = {"metadata": {"namespace": namespace}, "spec": spec}
    return resource("kubernetes:cilium.io/v2:CiliumNetworkPolicy", inputs)


WEB = {"app": "web"}


@pytest.mark.parametrize(
    "policies",
    [
        [network_policy("shop", WEB, "ingress", "egress")],
        [network_policy("shop", {}, "ingress", "egress")],
        [matching("app", "In", "web", "api")],
        [matching("app", "NotIn", "api")],
        [matching("app", "Exists")],
        [matching("job", "DoesNotExist")],
        [network_policy("shop", WEB, "ingress"), network_policy("shop", WEB, "egress", denies=True)],
    ],
)
def test_pods_are_bounded_both_ways_by_network_policies_of_their_namespace(policies: list[Resource]) -> None:
    assert violations("pods-have-a-network-policy", deployment(), *policies) == []


@pytest.mark.parametrize(
    ("policies", "open_"),
    [
        ([], "ingress and egress"),
        ([network_policy("shop", {"app": "other"}, "ingress", "egress")], "ingress and egress"),
        ([network_policy("other", WEB, "ingress", "egress")], "ingress and egress"),
        ([network_policy("shop", WEB, "ingress")], "egress"),
        ([matching("app", "In", "api")], "ingress and egress"),
        ([matching("app", "NotIn", "web")], "ingress and egress"),
        ([matching("job", "Exists")], "ingress and egress"),
        ([matching("app", "DoesNotExist")], "ingress and egress"),
        ([selecting(nodeSelector={"matchLabels": {}}, ingress=[{}], egress=[{}])], "ingress and egress"),
        ([network_policy("shop", WEB, "egress"), network_policy("shop", WEB, "ingress", denies=False)], "ingress"),
    ],
)
def test_pods_that_are_not_bounded_are_refused(policies: list[Resource], open_: str) -> None:
    (message,) = violations("pods-have-a-network-policy", deployment(), *policies)
    assert f"bounds the {open_} of" in message


@pytest.mark.parametrize(
    "kind",
    [
        "apps/v1:StatefulSet",
        "postgresql.cnpg.io/v1:Cluster",
        "core/v1:PersistentVolumeClaim",
        "core/v1:PersistentVolume",
    ],
)
def test_resources_that_hold_prods_data_must_be_protected(kind: str) -> None:
    rule = "data-is-protected"
    assert violations(rule, resource(f"kubernetes:{kind}", {}, protect=True)) == []
    assert violations(rule, resource(f"kubernetes:{kind}", {}))


def test_the_namespace_of_prod_must_be_protected_if_it_holds_a_volume() -> None:
    rule, namespace = "data-is-protected", resource("kubernetes:core/v1:Namespace", {})
    volume = resource("kubernetes:core/v1:PersistentVolumeClaim", {}, protect=True)
    assert violations(rule, namespace) == []
    (message,) = violations(rule, namespace, volume)
    assert "Namespace" in message
    assert violations(rule, resource("kubernetes:core/v1:Namespace", {}, protect=True), volume) == []


def test_dev_may_be_reset() -> None:
    volume = resource("kubernetes:core/v1:PersistentVolumeClaim", {}, stack="dev")
    assert violations("data-is-protected", resource("kubernetes:core/v1:Namespace", {}, stack="dev"), volume) == []


UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
VARIABLE = "gitlab:index/projectVariable:ProjectVariable"


@pytest.mark.parametrize(
    ("type_", "inputs", "marked"),
    [
        ("kubernetes:core/v1:Secret", {"stringData": {"a": "b"}}, {"stringData": {"a": secrets.MARKED}}),
        ("kubernetes:core/v1:Secret", {"data": {"a": "b", "c": secrets.MARKED}}, {"data": secrets.MARKED}),
        (VARIABLE, {"value": "x", "masked": True}, {"value": secrets.MARKED, "masked": True}),
        (VARIABLE, {"value": "x", "hidden": True}, {"value": UNKNOWN, "hidden": True}),
        ("onepassword:index/item:Item", {"password": "x"}, {"password": secrets.MARKED}),
        ("gitlab:index/x:X", {"url": "https://me:my-secret@example.com/"}, {"url": "ssh://git@example.com/a.git"}),
        ("kubernetes:core/v1:ConfigMap", {"data": {"k": "-----BEGIN RSA PRIVATE KEY-----"}}, {"data": {"k": "key"}}),
        ("onepassword:index/item:Item", {"noteValue": "x"}, {"noteValue": secrets.MARKED}),
        ("cloudflare:index/provider:Provider", {"apiToken": "x"}, {"apiToken": secrets.MARKED}),
        ("kubernetes:core/v1:ConfigMap", {"data": {"k": "glpat-" + "a" * 20}}, {"data": {"k": "glpat"}}),
        ("kubernetes:core/v1:ConfigMap", {"data": {"k": "github_pat_" + "a" * 20}}, {"data": {"k": "github_pat"}}),
        ("kubernetes:core/v1:ConfigMap", {"data": {"k": "AKIA" + "A1" * 8}}, {"data": {"k": "AKIA" + "A1" * 7}}),
        *(
            ("kubernetes:core/v1:ConfigMap", {"data": {key: "x"}}, {"data": {key: value}})
            for key in ("POSTGRES_PASSWORD", "better-auth-secret", "api.key", "apiKey")
            for value in (UNKNOWN, secrets.MARKED)
        ),
        ("kubernetes:core/v1:ConfigMap", {"data": {"token": "x"}}, {"data": {"set-password.sh": "x", "tokens": "3"}}),
        (
            "kubernetes:core/v1:ConfigMap",
            {"data": {"k": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"}},
            {"data": {"k": "eyJhbGciOiJIUzI1NiJ9"}},
        ),
    ],
)
def test_a_secret_is_marked_as_one(type_: str, inputs: dict[str, Any], marked: dict[str, Any]) -> None:
    assert list(secrets.plaintext(resource(type_, marked))) == []
    (message,) = secrets.plaintext(resource(type_, inputs))
    assert "in plain" in message


def test_a_message_about_a_secret_does_not_repeat_it() -> None:
    inputs = {"data": {"k": "https://me:my-secret@example.com/"}}
    assert "my-secret" not in "".join(secrets.plaintext(resource("kubernetes:core/v1:Secret", inputs)))


def test_a_value_that_the_engine_marks_secret_is_marked_at_any_depth() -> None:
    sent = {"stringData": {"a": SECRET, "b": "c"}, "list": [{"d": SECRET}], "whole": SECRET}
    marked = {"stringData": {"a": secrets.MARKED, "b": "c"}, "list": [{"d": secrets.MARKED}], "whole": secrets.MARKED}
    assert secrets.mark(deserialize_properties(sent, proxy_secrets=True)) == marked


def test_a_ci_variable_that_is_not_masked_holds_no_secret() -> None:
    assert list(secrets.plaintext(resource(VARIABLE, {"value": "https://api.example.com", "masked": False}))) == []
