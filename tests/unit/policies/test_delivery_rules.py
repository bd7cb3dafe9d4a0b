"""The rules about the app's pipeline, each with resources that pass and resources that must not."""

from __future__ import annotations

from typing import Any

import pytest

from policies import delivery
from policies.rule import Resource
from tests.unit.policies.test_policies import UNKNOWN, resource, violations
from tests.unit.program import Program, run
from tests.unit.test_delivery import ID_TOKENS, PROTECTED
from tests.unit.test_infrastructure import WANTED

VARIABLE = "gitlab:index/projectVariable:ProjectVariable"
BRANCH = "gitlab:index/branchProtection:BranchProtection"
TAG = "gitlab:index/tagProtection:TagProtection"
TOKEN = "gitlab:index/projectDeployToken:ProjectDeployToken"
ROLE, BINDING = "kubernetes:rbac.authorization.k8s.io/v1:Role", "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding"
POLICY = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy"
MASKED = {"key": "KUBE_TOKEN", "masked": True, "raw": True, "environmentScope": "production"}
OF_ONE_JOB = "gitlab:project:57:branch:main:environment:production"


def role(group: str, name: str, *verbs: str) -> Resource:
    return resource(ROLE, {"rules": [{"apiGroups": [group], "resources": [name], "verbs": list(verbs)}]})


def binding(*subjects: dict[str, Any], role_kind: str = "Role") -> Resource:
    return resource(
        BINDING,
        {"metadata": {"namespace": "shop"}, "roleRef": {"kind": role_kind}, "subjects": list(subjects)},
    )


ACCOUNT = {"kind": "ServiceAccount", "name": "a", "namespace": "shop"}

GOOD: list[tuple[str, Resource]] = [
    ("ci-secrets-are-masked", resource(VARIABLE, MASKED)),
    ("ci-secrets-are-masked", resource(VARIABLE, {**MASKED, "environmentScope": UNKNOWN})),
    ("ci-secrets-are-masked", resource(VARIABLE, {"key": "APP_URL", "masked": False, "environmentScope": "*"})),
    ("roles-have-least-rights", role("apps", "deployments", "get", "list", "watch", "patch", "update")),
    ("roles-have-least-rights", role("batch", "jobs", "create", "delete")),
    ("roles-have-least-rights", role("", "pods/log", "get")),
    ("bindings-name-one-account", binding(ACCOUNT)),
    ("bindings-name-one-account", binding({**ACCOUNT, "namespace": UNKNOWN})),
    ("bindings-name-one-account", binding({"kind": "User", "name": OF_ONE_JOB})),
    ("bindings-name-one-account", binding({"kind": "User", "name": UNKNOWN})),
    ("admission-denies", resource(POLICY, {"spec": {"failurePolicy": "Fail"}})),
    ("admission-denies", resource(f"{POLICY}Binding", {"spec": {"validationActions": ["Deny"]}})),
    ("what-pipelines-run-is-protected", resource(BRANCH, {"allowForcePush": False})),
    *(
        ("what-pipelines-run-is-protected", resource(TAG, {"createAccessLevel": creator}))
        for creator in ("maintainer", "admin", "no one")
    ),
    ("deploy-tokens-pull-and-end", resource(TOKEN, {"scopes": ["read_registry"], "expiresAt": "2027-01-01T00:00:00Z"})),
]
BAD: list[tuple[str, Resource]] = [
    ("ci-secrets-are-masked", resource(VARIABLE, {**MASKED, "masked": False})),
    ("ci-secrets-are-masked", resource(VARIABLE, {**MASKED, "raw": False})),
    ("ci-secrets-are-masked", resource(VARIABLE, {**MASKED, "environmentScope": "*"})),
    ("ci-secrets-are-masked", resource(VARIABLE, {"key": "CF_ACCESS_CLIENT_SECRET", "raw": True, "masked": True})),
    ("roles-have-least-rights", role("", "secrets", "get")),
    ("roles-have-least-rights", role("", "configmaps", "list")),
    ("roles-have-least-rights", role("", "pods/exec", "create")),
    ("roles-have-least-rights", role("", "pods/exec", "get")),
    ("roles-have-least-rights", role("", "pods/proxy", "get")),
    ("roles-have-least-rights", role("", "services/proxy", "get")),
    # kubectl opens these by a GET, which reads like a right to look.
    *(("roles-have-least-rights", role("", f"pods/{name}", "get")) for name in ("attach", "portforward")),
    ("roles-have-least-rights", role("", "serviceaccounts/token", "create")),
    ("roles-have-least-rights", role("", "pods", "create")),
    ("roles-have-least-rights", role("apps", "deployments", "delete")),
    ("roles-have-least-rights", role("apps", "statefulsets", "patch")),
    ("roles-have-least-rights", role("batch", "cronjobs", "patch")),
    ("roles-have-least-rights", role("batch", "jobs", "deletecollection")),
    ("roles-have-least-rights", role("rbac.authorization.k8s.io", "roles", "bind")),
    ("roles-have-least-rights", role("apps", "deployments", "*")),
    ("roles-have-least-rights", role("", "*", "get")),
    ("roles-have-least-rights", role("*", "deployments", "get")),
    ("roles-have-least-rights", resource("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", {})),
    ("roles-have-least-rights", resource("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding", {})),
    ("bindings-name-one-account", binding()),
    ("bindings-name-one-account", binding(ACCOUNT, {**ACCOUNT, "name": "b"})),
    ("bindings-name-one-account", binding({**ACCOUNT, "namespace": "default"})),
    ("bindings-name-one-account", binding(ACCOUNT, role_kind="ClusterRole")),
    ("bindings-name-one-account", binding({"kind": "Group", "name": "system:authenticated"})),
    ("bindings-name-one-account", binding({"kind": "User", "name": "me@example.com"})),
    ("bindings-name-one-account", binding({"kind": "User", "name": "gitlab:project:57:branch:main"})),
    (
        "bindings-name-one-account",
        binding({"kind": "User", "name": OF_ONE_JOB.replace("main", "")}),
    ),
    ("bindings-name-one-account", binding({"kind": "User", "name": OF_ONE_JOB.replace("branch", "tag")})),
    ("bindings-name-one-account", binding({"kind": "User", "name": OF_ONE_JOB.removesuffix(":production")})),
    ("admission-denies", resource(POLICY, {"spec": {"failurePolicy": "Ignore"}})),
    ("admission-denies", resource(POLICY, {"spec": {}})),
    ("admission-denies", resource(f"{POLICY}Binding", {"spec": {"validationActions": ["Warn", "Audit"]}})),
    ("what-pipelines-run-is-protected", resource(BRANCH, {"allowForcePush": True})),
    ("what-pipelines-run-is-protected", resource(TAG, {"createAccessLevel": "developer"})),
    ("what-pipelines-run-is-protected", resource(TAG, {})),
    ("deploy-tokens-pull-and-end", resource(TOKEN, {"scopes": ["read_registry"]})),
    (
        "deploy-tokens-pull-and-end",
        resource(TOKEN, {"scopes": ["read_registry", "write_registry"], "expiresAt": "2027-01-01T00:00:00Z"}),
    ),
]


def test_every_rule_refuses_something() -> None:
    assert {rule for rule, _ in BAD} == {rule for rule, _ in GOOD} == {rule.name for rule in delivery.RULES}


@pytest.mark.parametrize(("rule", "good"), GOOD)
def test_a_correct_resource_passes(rule: str, good: Resource) -> None:
    assert violations(rule, good) == []


@pytest.mark.parametrize(("rule", "bad"), BAD)
def test_a_resource_that_breaks_one_rule_is_refused_by_that_rule_alone(rule: str, bad: Resource) -> None:
    assert [one.name for one in delivery.RULES if violations(one.name, bad)] == [rule]


def resources(program: Program) -> list[Resource]:
    return [Resource(type=one.type, urn=one.urn, inputs=one.inputs) for one in program.registrations]


def test_the_stacks_break_no_rule_with_everything_enabled(program: Program) -> None:
    everything = {"delivery.admissionPolicy": True, **(WANTED if program.stack == "prod" else {})}
    for made in (program, run(program.stack, {**everything, **ID_TOKENS}, gitlab=PROTECTED)):
        assert [each for rule in delivery.RULES for each in violations(rule.name, *resources(made))] == []
