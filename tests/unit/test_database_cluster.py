"""The database on CloudNativePG, as the program registers it."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from components.cloudnative_pg import instances
from lookups.database_url import url_complaint
from policies.exposure import RULES
from policies.rule import Resource
from rehearsal.plugins.kubernetes.wait_for import expectations
from settings import Settings
from settings.database import DatabaseSettings
from tests.stacks import DEV
from tests.unit.answers import PASSWORD
from tests.unit.network_page import edges, endpoints
from tests.unit.program import Program, amount, load_settings, run
from tests.unit.reachability import Pod, Policies
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_environment import BOUNDS, added, busiest_moment, quota

NAMES: Final = load_settings("prod").names
ENGINE: Final = {"database.engine": "cloudnative-pg"}


def cluster(program: Program) -> dict[str, Any]:
    spec: dict[str, Any] = program.one("Cluster").inputs["spec"]
    return spec


def test_nothing_of_a_stateful_set_is_left(operated: Program) -> None:
    assert not operated.of("StatefulSet")
    assert "data-invoicetron-db-0" not in {
        one.inputs["metadata"]["name"] for one in operated.of("PersistentVolumeClaim")
    }
    assert {one.inputs["metadata"]["name"] for one in operated.of("Service")} == {"invoicetron"}


def test_the_apps_role_is_no_superuser_and_only_backup_and_restore_log_in_as_one(operated: Program) -> None:
    spec = cluster(operated)
    assert spec["enableSuperuserAccess"] is False
    roles = {role["name"]: role for role in spec["managed"]["roles"]}
    assert roles["invoicetron"]["superuser"] is False
    assert roles["invoicetron_admin"]["superuser"] is True
    assert spec["bootstrap"]["initdb"]["owner"] == "invoicetron"
    administrators = roles["invoicetron_admin"]["passwordSecret"]["name"]
    users = {
        owner.inputs["metadata"]["name"]
        for owner, pod in operated.pods()
        for container in pod["spec"]["containers"]
        for one in container["env"]
        if one.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == administrators
    }
    assert users == {"invoicetron-db-backup", "invoicetron-db-restore"}


def test_data_restored_from_elsewhere_belongs_to_the_apps_role(operated: Program) -> None:
    pods = {owner.inputs["metadata"]["name"]: pod for owner, pod in operated.pods()}
    (container,) = pods["invoicetron-db-restore"]["spec"]["containers"]
    values = {one["name"]: one.get("value") for one in container["env"]}
    assert (values["PGUSER"], values["OWNER"]) == ("invoicetron_admin", "invoicetron")
    assert values["PGHOST"] == "invoicetron-db-rw"


def test_passwords_are_secret_and_reloaded_and_the_administrator_has_its_own(operated: Program) -> None:
    (owner, administrator) = (operated.one("Secret", f"invoicetron-db{suffix}") for suffix in ("-owner", "-admin"))
    for one in (owner, administrator):
        assert one.inputs["type"] == "kubernetes.io/basic-auth"
        assert one.inputs["metadata"]["labels"]["cnpg.io/reload"] == "true"
        assert "stringData" in one.secret_inputs
    assert owner.inputs["stringData"] == {"username": "invoicetron", "password": PASSWORD}
    assert administrator.inputs["stringData"]["password"] != PASSWORD
    (made_up,) = operated.of("RandomPassword")
    assert "result" in made_up.request.additionalSecretOutputs, "the state would show it"


@pytest.mark.parametrize("status", ["True", "False"])
def test_what_uses_the_database_waits_until_the_cluster_is_ready(operated: Program, status: str) -> None:
    (ready,) = expectations(operated.one("Cluster").inputs["metadata"]["annotations"]["pulumi.com/waitFor"])
    conditions = [{"type": "ContinuousArchiving", "status": "True"}, {"type": "Ready", "status": status}]
    assert ready.is_met({"status": {"conditions": conditions}}) is (status == "True")


def test_prods_cluster_is_protected_and_survives_the_program(operated: Program) -> None:
    one = operated.one("Cluster")
    assert one.request.protect
    assert one.request.retainOnDelete
    assert len(operated.of("RetainedVolumes")) == 1
    loose = Resource(type=one.type, urn=one.urn, inputs=one.inputs, protect=False)
    (rule,) = (rule for rule in RULES if rule.name == "data-is-protected")
    assert rule.all
    assert [violation.urn for violation in rule.all([loose])] == [one.urn]


def test_a_standby_takes_over_and_a_single_instance_lets_a_drain_pass(operated: Program) -> None:
    assert (cluster(operated)["primaryUpdateMethod"], cluster(operated)["enablePDB"]) == ("switchover", True)
    alone = cluster(run("dev", {**ENGINE, "database.instances": 1}))
    assert (alone["primaryUpdateMethod"], alone["enablePDB"]) == ("restart", False)


def test_a_commit_waits_for_a_standby_if_the_settings_require_it(operated: Program) -> None:
    assert "synchronous" not in cluster(operated)["postgresql"]
    changes = {**ENGINE, "database.instances": 3, "database.synchronous": "required"}
    synchronous = cluster(run("dev", changes))["postgresql"]["synchronous"]
    assert synchronous == {"method": "any", "number": 1, "dataDurability": "required"}


def test_the_servers_parameters_reach_the_instances() -> None:
    program = run("dev", {**ENGINE, "database.parameters": {"max_connections": 60}})
    assert cluster(program)["postgresql"]["parameters"]["max_connections"] == "60"


def test_the_instances_volumes_join_longhorns_groups_of_recurring_jobs(operated: Program) -> None:
    assert "inheritedMetadata" not in cluster(operated)
    labelled = run("dev", {**ENGINE, "database.recurringJobGroups": ["critical"]})
    assert cluster(labelled)["inheritedMetadata"]["labels"] == {
        "recurring-job.longhorn.io/source": "enabled",
        "recurring-job-group.longhorn.io/critical": "enabled",
    }


def test_the_priority_class_reaches_the_instances() -> None:
    assert cluster(run("dev", {**ENGINE, "cluster.priorityClass": "homelab"}))["priorityClassName"] == "homelab"


def test_the_quota_holds_every_instance_and_the_job_of_a_new_one_and_no_more() -> None:
    program = run("dev", {**ENGINE, "database.instances": 3})
    resources = cluster(program)["resources"]
    one = {f"{kind}.{name}": amount(resources[kind][name]) for kind in resources for name in resources[kind]}
    most = added([busiest_moment(program), one, one, one, one])
    assert all(most[bound] <= quota(program)[bound] < most[bound] + one[bound] for bound in BOUNDS)


INSTANCE: Final = "an instance"
_OF_CLUSTER: Final = {"cnpg.io/cluster": "invoicetron-db"}
PEERS: Final = (
    Pod(name=INSTANCE, namespace="invoicetron-prod", labels={**_OF_CLUSTER, "cnpg.io/podRole": "instance"}),
    Pod(name="its joining Job", namespace="invoicetron-prod", labels={**_OF_CLUSTER, "cnpg.io/jobRole": "join"}),
    Pod(name="the operator", namespace="cnpg-system", labels={"app.kubernetes.io/name": "cloudnative-pg"}),
    Pod(name="another pod of cnpg-system", namespace="cnpg-system"),
)


def test_instances_are_reached_by_clients_each_other_operator_and_kubelet_and_by_nobody_else(operated: Program) -> None:
    policies = Policies([one.inputs for one in operated.of("CiliumNetworkPolicy")])
    _, everybody = endpoints(operated)
    found = set(policies.edges([*everybody, *PEERS], PEERS[:1]))
    into = {(source, port) for source, destination, port in found if destination == INSTANCE}
    sql, status = "5432/TCP", "8000/TCP"
    clients = {"invoicetron", "invoicetron-migrate", "invoicetron-db-backup", "invoicetron-db-restore"}
    assert into == {
        *((client, sql) for client in clients),
        *((peer, port) for peer in ("its joining Job", "the operator") for port in (sql, status)),
        ("the pod's own node", status),
    }
    out = {destination for source, destination, _ in found if source == INSTANCE}
    assert out == {"the cluster's DNS", "the API server", "its joining Job"}
    assert not [edge for edge in edges(operated) if "the API server" in edge]


def test_the_alerts_watch_the_instances(operated: Program) -> None:
    (group,) = operated.one("PrometheusRule").inputs["spec"]["groups"]
    rules = {rule["alert"]: rule["expr"] for rule in group["rules"] if "alert" in rule}
    assert f'pod=~"{instances(NAMES)}"' in rules["InvoicetronDatabaseNotReady"]
    assert "statefulset" not in str(rules)
    assert instances(NAMES) in rules["InvoicetronVolumeNearlyFull"]
    assert "invoicetron|postgres" in rules["InvoicetronRestarts"]
    assert re.fullmatch(instances(NAMES), "invoicetron-db-12")
    assert not re.fullmatch(instances(NAMES), "invoicetron-db-0-x")


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"instances": 3}, "only with database.engine: cloudnative-pg"),
        ({"synchronous": "preferred"}, "only with database.engine: cloudnative-pg"),
        ({"operandImage": "ghcr.io/cloudnative-pg/postgresql:18.3"}, "only with database.engine: cloudnative-pg"),
        ({"operatorNamespace": "databases"}, "only with database.engine: cloudnative-pg"),
        (
            {
                "engine": "cloudnative-pg",
                "resources": {
                    "requests": {"cpu": "1", "memory": "256Mi"},
                    "limits": {"cpu": "1", "memory": "4Gi"},
                },
            },
            "at least the server's shared_buffers",
        ),
        ({"engine": "zalando"}, "'statefulset' or 'cloudnative-pg'"),
        ({"engine": "cloudnative-pg", "instances": 1, "synchronous": "preferred"}, "database.instances 2 or more"),
        ({"engine": "cloudnative-pg", "instances": 2, "synchronous": "required"}, "database.instances 3 or more"),
        ({"engine": "cloudnative-pg", "image": "ghcr.io/cloudnative-pg/postgresql:18.6"}, "official image"),
    ],
)
def test_settings_that_do_not_fit_the_engine_are_refused_with_the_reason(changes: dict[str, Any], allowed: str) -> None:
    assert allowed in refusal("dev", with_value("dev", "database", changes))


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"min_wal_size": "1GB"}, "min_wal_size"),
        ({"min_wal_size": "2GB", "max_wal_size": "2GB"}, "min_wal_size"),
        ({"min_wal_size": "3GB", "max_wal_size": "2GB"}, "min_wal_size"),
        ({"max_wal_size": "80MB"}, "max_wal_size"),
        ({"max_wal_size": "64MB"}, "max_wal_size"),
    ],
)
@pytest.mark.parametrize("engine", [{"engine": "cloudnative-pg"}, {"movingFrom": "cloudnative-pg"}])
def test_the_log_s_sizes_differ_as_the_operator_demands(
    engine: dict[str, str], parameters: dict[str, str], key: str
) -> None:
    message = refusal("dev", with_value("dev", "database", {**engine, "parameters": parameters}))
    assert f"invoicetron:database.parameters.{key}\n" in message
    assert "a min_wal_size below max_wal_size" in message
    assert "1 mistake." in message
    apart = {"min_wal_size": "64MB", "max_wal_size": "65MB"}
    assert Settings.load(DEV, with_value("dev", "database", {**engine, "parameters": apart}))


URL: Final = f"postgresql://invoicetron:{PASSWORD}@invoicetron-db-rw:5432/invoicetron"
OPERATED: Final = DatabaseSettings(engine="cloudnative-pg")


def test_the_url_leads_to_the_engines_own_host(operated: Program) -> None:
    assert operated.one("Secret", NAMES.app_secret).inputs["stringData"]["database-url"] == URL
    assert operated.outputs["database_host"] == "invoicetron-db-rw"
    assert not url_complaint(URL, PASSWORD, NAMES, OPERATED)
    assert not url_complaint(f"{URL}?schema=public&connection_limit=5", PASSWORD, NAMES, OPERATED)
    for_stateful_set = url_complaint(URL.replace("-rw", ""), PASSWORD, NAMES, OPERATED)
    assert for_stateful_set
    assert "another host" in for_stateful_set[0]
    assert "@invoicetron-db-rw:5432/" in for_stateful_set[1]


@pytest.mark.parametrize(("query", "served"), [("sslmode=require", True), ("sslmode=verify-full", False)])
def test_a_url_may_demand_tls_but_not_a_certificate_that_the_app_cannot_know(query: str, served: bool) -> None:
    assert (url_complaint(f"{URL}?{query}", PASSWORD, NAMES, OPERATED) is None) is served
    assert url_complaint(f"{URL.replace('-rw', '')}?{query}", PASSWORD, NAMES)
