"""All permissions that the kubeconfig's user lacks are reported before the first resource."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from lookups.cluster import Cluster, ClusterError, ForbiddenError
from lookups.permissions import check_permissions, needed
from settings import Settings
from settings.names import Names
from tests.stacks import DEV
from tests.unit.program import Program, Registration, load_settings, run
from tests.unit.stack_files import sections
from tests.unit.test_postgres_exporter import METRICS, VALUES
from tests.unit.test_wal_archive import WAL

OWN = "invoicetron-prod"


class Answering(Cluster):
    """A cluster whose user may do everything except `denied`: verb, resource and namespace."""

    def __init__(self, denied: Collection[tuple[str, str, str | None]], *, namespace: bool = True) -> None:
        self.denied, self.namespace = denied, namespace

    def get(self, _version: str, resource: str, name: str, _namespace: str | None = None) -> Mapping[str, Any] | None:
        assert resource == "namespaces"
        return {"metadata": {"name": name}} if self.namespace else None

    def may(self, verb: str, _group: str, resource: str, namespace: str | None = None) -> bool:
        return not self.denied if verb == "*" else (verb, resource, namespace) not in self.denied


def refusal(denied: Collection[tuple[str, str, str | None]], *, namespace: bool = True) -> str:
    with pytest.raises(ClusterError) as refused:
        check_permissions(load_settings("prod"), Answering(denied, namespace=namespace))
    return str(refused.value)


def test_a_user_who_may_do_everything_passes() -> None:
    check_permissions(load_settings("prod"), Answering([]))


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "told"),
    [
        ("patch", "persistentvolumes", None, "patch persistentvolumes: the database's volume"),
        ("create", "ciliumnetworkpolicies", "cloudflare", "create ciliumnetworkpolicies.cilium.io in the namespace cl"),
        ("patch", "secrets", OWN, f"patch secrets in the namespace {OWN}\n"),
        ("create", "rolebindings", OWN, f"create rolebindings.rbac.authorization.k8s.io in the namespace {OWN}\n"),
        ("patch", "namespaces", OWN, f"patch namespaces in the namespace {OWN}: the stack's own\n"),
    ],
)
def test_missing_permissions_are_named_as_kubectl_names_them(
    verb: str, resource: str, namespace: str | None, told: str
) -> None:
    assert f"Missing:\n\n  {told}" in refusal([(verb, resource, namespace)])


def test_all_missing_permissions_are_reported_at_once() -> None:
    message = refusal(
        [("get", "persistentvolumes", None), ("patch", "persistentvolumes", None), ("create", "nodes", None)]
    )
    assert "  get, patch persistentvolumes: " in message
    assert "nodes" not in message, "the stack makes none"


def test_what_the_pipelines_role_grants_is_needed_except_by_a_user_who_may_grant_more() -> None:
    lacking: list[tuple[str, str, str | None]] = [("create", "jobs", OWN), ("get", "pods/log", OWN)]
    for further in ("escalate", "bind"):
        message = refusal([*lacking, (further, "roles", OWN)])
        assert f"  create jobs.batch in the namespace {OWN}: the pipeline's Role grants it\n" in message
        assert f"  get pods/log in the namespace {OWN}: the pipeline's Role grants it\n" in message
    check_permissions(load_settings("prod"), Answering(lacking))
    check_permissions(load_settings("prod"), Answering([*lacking, ("bind", "roles", OWN)], namespace=False))


def test_a_role_of_the_pipeline_has_what_is_asked_for(program: Program) -> None:
    (role,) = program.of("Role")
    granted = {
        (group, resource, verb)
        for rule in role.inputs["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    cluster = Answering([("escalate", "roles", f"invoicetron-{program.stack}")])
    asked = {
        (one.group, one.resource, verb)
        for one in needed(load_settings(program.stack), cluster)
        if "Role" in one.why
        for verb in one.verbs
    }
    assert granted == asked


def test_creating_the_namespace_is_needed_only_if_it_does_not_exist() -> None:
    denied: list[tuple[str, str, str | None]] = [("create", "namespaces", None), ("create", "secrets", OWN)]
    message = refusal(denied, namespace=False)
    assert "  create namespaces: " in message
    assert "secrets" not in message, "whoever makes a namespace may be given everything in it"
    assert "namespaces" not in refusal(denied, namespace=True)


def test_a_cluster_that_does_not_show_permissions_is_not_refused() -> None:
    class Silent(Answering):
        def may(self, *_: Any) -> bool:
            raise ForbiddenError("cannot create selfsubjectaccessreviews")

    check_permissions(load_settings("prod"), Silent([("get", "secrets", OWN)]))


def kind_of(registration: Registration) -> tuple[str, str]:
    """The API group and the plural of an object of Kubernetes."""
    _, version, kind = registration.type.split(":")
    return version.rpartition("/")[0].removeprefix("core"), f"{kind.lower()}s".replace("ys", "ies")


@pytest.mark.parametrize(("stack", "changes"), [("dev", {}), ("prod", {"database.engine": "cloudnative-pg"})])
def test_what_the_provider_is_told_to_wait_for_may_be_listed_and_watched(stack: str, changes: dict[str, Any]) -> None:
    program = run(stack, changes)
    awaited = {
        kind_of(one)
        for one in program.registrations
        if "pulumi.com/waitFor" in (one.inputs.get("metadata", {}).get("annotations") or {})
    }
    config = {**sections(stack), "database": {"engine": "cloudnative-pg"}} if changes else sections(stack)
    asked = needed(Settings.load(Names("invoicetron", stack), config), Answering([]))
    followed = {
        (one.group, one.resource)
        for one in asked
        if one.namespace == f"invoicetron-{stack}" and {"list", "watch"} <= {*one.verbs}
    }
    assert ("", "secrets") in awaited, "the token of the pipeline's account"
    assert awaited <= followed


def test_secrets_need_not_be_watched_if_no_token_is_waited_for() -> None:
    config = sections("dev")
    del config["delivery"]
    asked = needed(Settings.load(DEV, config), Answering([]))
    assert not [one for one in asked if one.resource == "secrets" and "watch" in one.verbs]


def test_every_kind_that_the_program_creates_is_asked_about(program: Program) -> None:
    everything = sections(program.stack)
    everything["delivery"] = {**everything["delivery"], "admissionPolicy": True}
    everything["monitoring"] = METRICS
    settings = Settings.load(Names("invoicetron", program.stack), everything)
    program = run(program.stack, {"delivery.admissionPolicy": True, "monitoring": METRICS}, values=VALUES)
    asked = {(one.group, one.resource) for one in needed(settings, Answering([]))}
    made = {kind_of(one) for one in program.registrations if one.type.startswith("kubernetes:")}
    assert ("monitoring.coreos.com", "podmonitors") in made
    assert {("apps", "statefulsets"), ("admissionregistration.k8s.io", "validatingadmissionpolicies")} <= made
    assert made <= asked


def test_a_volume_for_an_export_is_the_clusters() -> None:
    nfs = {**sections("dev"), "backup": {"nfs": {"server": "10.10.30.4", "path": "/backups"}}}
    (volumes,) = [one for one in needed(Settings.load(DEV, nfs), Answering([])) if one.resource == "persistentvolumes"]
    assert volumes.verbs == ("create", "get", "patch")


def test_a_stack_without_volumes_to_keep_or_policies_for_its_pipeline_needs_no_rights_for_them() -> None:
    asked = needed(Settings.load(DEV, {**sections("dev"), "backup": {}}), Answering([]))
    assert {one.resource for one in asked if one.namespace is None} == set()


def test_permissions_for_cloudnative_pg_are_checked_if_it_runs_the_database() -> None:
    operated = Settings.load(DEV, {**sections("dev"), "database": {"engine": "cloudnative-pg"}})
    asked = {f"{one}" for one in needed(operated, Answering([]))}
    kind = "clusters.postgresql.cnpg.io in the namespace invoicetron-dev"
    wanted = {f"create, get, patch {kind}", f"list, watch {kind}: to wait until it is ready"}
    assert asked - {f"{one}" for one in needed(Settings.load(DEV, sections("dev")), Answering([]))} == wanted
    archived = Settings.load(DEV, {**sections("dev"), "database": {"engine": "cloudnative-pg", "wal": WAL}})
    assert {f"{one}" for one in needed(archived, Answering([]))} - asked == {
        "create, get, patch objectstores.barmancloud.cnpg.io in the namespace invoicetron-dev",
        "create, get, patch scheduledbackups.postgresql.cnpg.io in the namespace invoicetron-dev",
    }
