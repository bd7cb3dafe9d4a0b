"""`database.wal`: what the program creates for it, who holds the bucket's keys, and what is refused."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from settings import Settings
from tests.stacks import PROD
from tests.unit.network_page import endpoints
from tests.unit.program import Program, amount, run
from tests.unit.reachability import Outsider, Pod, Policies
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_environment import quota

ITEM: Final = "op://Kubernetes/Invoicetron Archive"
BUCKET: Final[dict[str, Any]] = {
    "endpoint": "https://s3.example.com:9000",
    "bucket": "homelab-archive",
    "accessKey": f"{ITEM}/access-key",
    "secretKey": f"{ITEM}/secret-key",
    "serverSideEncryption": "AES256",
}
WAL: Final[dict[str, Any]] = {"s3": BUCKET}
VALUES: Final = {"access-key": "unit-test-archive-id", "secret-key": "unit-test-archive-secret"}
ENGINE: Final = {"database.engine": "cloudnative-pg"}


def archived(**changes: Any) -> Program:
    wal = {**WAL, **changes.pop("wal", {})}
    return run("prod", {**ENGINE, **changes, "database.wal": wal}, values=VALUES)


@pytest.fixture(scope="module")
def prod() -> Program:
    return archived()


def store(program: Program) -> dict[str, Any]:
    spec: dict[str, Any] = program.one("ObjectStore").inputs["spec"]
    return spec


def test_the_cluster_archives_its_log_by_the_plugin_into_a_store_that_exists_before_it(prod: Program) -> None:
    (plugin,) = prod.one("Cluster").inputs["spec"]["plugins"]
    assert (plugin["name"], plugin["isWALArchiver"]) == ("barman-cloud.cloudnative-pg.io", True)
    made = prod.one("ObjectStore")
    assert plugin["parameters"]["barmanObjectName"] == made.inputs["metadata"]["name"]
    assert made.urn in prod.waits_for(prod.one("Cluster"))
    # In-tree archiving next to it would be refused, and is deprecated.
    assert "backup" not in prod.one("Cluster").inputs["spec"]


def test_a_stack_without_the_section_has_no_archive(operated: Program) -> None:
    assert not operated.of("ObjectStore")
    assert not operated.of("ScheduledBackup")
    assert "plugins" not in operated.one("Cluster").inputs["spec"]


def test_the_first_base_backup_is_taken_at_once_and_then_by_the_schedule(prod: Program) -> None:
    backup = prod.one("ScheduledBackup")
    spec = backup.inputs["spec"]
    assert (spec["schedule"], spec["immediate"], spec["method"]) == ("0 0 1 * * *", True, "plugin")
    assert spec["cluster"]["name"] == prod.one("Cluster").inputs["metadata"]["name"]
    assert prod.one("Cluster").urn in prod.waits_for(backup)


def test_the_keys_are_in_one_secret_and_nowhere_else(prod: Program) -> None:
    secret = prod.one("Secret", "invoicetron-db-wal")
    assert secret.inputs["stringData"] == VALUES
    assert "stringData" in secret.secret_inputs
    for each in prod.registrations:
        if each.urn != secret.urn:
            assert not [value for value in VALUES.values() if value in json.dumps(each.inputs)], each.urn
    for credential in store(prod)["configuration"]["s3Credentials"].values():
        assert credential["name"] == "invoicetron-db-wal"
        assert credential["key"] in secret.inputs["stringData"]


def test_the_store_says_where_for_how_long_and_with_what_encryption() -> None:
    program = archived(wal={"retentionDays": 7, "archive": "second", "s3": {**BUCKET, "region": "auto"}})
    spec = store(program)
    configuration = spec["configuration"]
    assert configuration["destinationPath"] == "s3://homelab-archive/wal/invoicetron-prod"
    assert configuration["endpointURL"] == BUCKET["endpoint"]
    assert configuration["wal"]["encryption"] == configuration["data"]["encryption"] == "AES256"
    assert spec["retentionPolicy"] == "7d"
    assert program.one("Secret", "invoicetron-db-wal").inputs["stringData"]["region"] == "auto"
    assert configuration["s3Credentials"]["region"]["key"] == "region"
    # The plugin refuses a server name in the store; the Cluster has it.
    assert "serverName" not in configuration
    (plugin,) = program.one("Cluster").inputs["spec"]["plugins"]
    assert plugin["parameters"]["serverName"] == "second"


def test_encryption_is_left_to_the_endpoint_only_if_the_stack_file_says_so() -> None:
    configuration = store(archived(wal={"s3": {**BUCKET, "serverSideEncryption": "bucket-default"}}))["configuration"]
    assert "encryption" not in configuration["wal"]
    assert "encryption" not in configuration["data"]


def test_the_quota_holds_the_plugins_container_per_instance_and_a_recovered_cluster(
    prod: Program, operated: Program
) -> None:
    with_archive, without = quota(prod), quota(operated)
    sidecar = store(prod)["instanceSidecarConfiguration"]["resources"]
    instance = prod.one("Cluster").inputs["spec"]["resources"]
    for kind in ("requests", "limits"):
        for name in ("cpu", "memory"):
            # Two instances and the Job of a new one have one more container each; the recovered cluster has both kinds.
            expected = 4 * amount(sidecar[kind][name]) + amount(instance[kind][name])
            assert with_archive[f"{kind}.{name}"] - without[f"{kind}.{name}"] == expected


LIVE: Final = Pod(name="an instance", namespace="invoicetron-prod", labels={"cnpg.io/cluster": "invoicetron-db"})
RECOVERED: Final = Pod(
    name="the recovered one", namespace="invoicetron-prod", labels={"cnpg.io/cluster": "invoicetron-db-recovery"}
)
OPERATOR: Final = Pod(name="the operator", namespace="cnpg-system", labels={"app.kubernetes.io/name": "cloudnative-pg"})


BUCKETS_HOST: Final = Outsider(name="the bucket", entity="world", host="s3.example.com")


def connections(program: Program, *pods: Pod) -> set[tuple[str, str, str]]:
    """The connections that begin or end at these pods."""
    policies = Policies([one.inputs for one in program.of("CiliumNetworkPolicy")])
    _, everybody = endpoints(program)
    return set(policies.edges([*everybody, LIVE, RECOVERED, OPERATOR, BUCKETS_HOST], pods))


def test_a_recovered_database_is_reached_by_backups_alone_and_reaches_no_other_database(prod: Program) -> None:
    found = connections(prod, RECOVERED)
    into = {(source, port) for source, destination, port in found if destination == RECOVERED.name}
    assert into == {
        ("invoicetron-db-backup", "5432/TCP"),
        ("invoicetron-db-restore", "5432/TCP"),
        *(("the operator", port) for port in ("5432/TCP", "8000/TCP")),
        ("the pod's own node", "8000/TCP"),
    }
    out = {destination for source, destination, _ in found if source == RECOVERED.name}
    assert out == {"the cluster's DNS", "the API server", BUCKETS_HOST.name}


def test_only_the_instances_reach_the_bucket(prod: Program, operated: Program) -> None:
    for program, pods, reached in ((prod, (LIVE, RECOVERED), 2), (operated, (LIVE,), 0)):
        found = connections(program, *pods)
        out = {(source, port) for source, destination, port in found if destination == BUCKETS_HOST.name}
        assert out == ({(pod.name, "9000/TCP") for pod in pods} if reached else set())
        policies = [one.inputs for one in program.of("CiliumNetworkPolicy")]
        assert sum("s3.example.com" in json.dumps(one) for one in policies) == reached


def without(key: str) -> dict[str, Any]:
    return {"s3": {name: value for name, value in BUCKET.items() if name != key}}


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ({"engine": "statefulset", "wal": WAL}, "only with database.engine: cloudnative-pg"),
        ({"wal": {}}, "invoicetron:database.wal.s3"),
        ({"wal": without("serverSideEncryption")}, "invoicetron:database.wal.s3.serverSideEncryption"),
        ({"wal": without("endpoint")}, "invoicetron:database.wal.s3.endpoint"),
        ({"wal": {"s3": {**BUCKET, "serverSideEncryption": "aes256"}}}, "'AES256', 'aws:kms' or 'bucket-default'"),
        ({"wal": {"s3": {**BUCKET, "endpoint": "http://s3.example.com"}}}, "https:// and the host name"),
        ({"wal": {"s3": {**BUCKET, "endpoint": "https://minio.storage.svc"}}}, "outside the cluster"),
        ({"wal": {"s3": {**BUCKET, "bucket": "Archive"}}}, "the name of a bucket"),
        ({"wal": {"s3": {**BUCKET, "prefix": "/wal/"}}}, "folders in the bucket"),
        ({"wal": {"s3": {**BUCKET, "accessKey": "AKIA"}}}, "op://"),
        ({"wal": {"s3": {**BUCKET, "secretKey": BUCKET["accessKey"]}}}, "a secret other than that of database.wal"),
        ({"wal": {**WAL, "schedule": "0 1 * * 0"}}, "a schedule that runs every day"),
        ({"wal": {**WAL, "schedule": "0 0 1 * * *"}}, "invoicetron:database.wal.schedule"),
        ({"wal": {**WAL, "retentionDays": 0}}, "invoicetron:database.wal.retentionDays"),
        ({"wal": {**WAL, "retentionDays": "30d"}}, "invoicetron:database.wal.retentionDays"),
        ({"wal": {**WAL, "archive": "a/b"}}, "invoicetron:database.wal.archive"),
        ({"wal": WAL, "lostClaim": "unknown"}, "a name that no archive of the bucket has had"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(database: dict[str, Any], said: str) -> None:
    message = refusal("prod", with_value("prod", "database", {"engine": "cloudnative-pg", **database}))
    assert said in message
    assert "1 mistake." in message


def test_a_new_database_after_a_loss_gets_its_own_archive() -> None:
    program = archived(**{"database.lostClaim": "unknown"}, wal={"archive": "second"})
    (plugin,) = program.one("Cluster").inputs["spec"]["plugins"]
    assert plugin["parameters"]["serverName"] == "second"


def test_the_key_of_the_instances_may_not_be_the_key_of_the_off_site_copies() -> None:
    copies = {**{key: BUCKET[key] for key in ("endpoint", "bucket", "accessKey")}, "secretKey": f"{ITEM}/other"}
    config = with_value("prod", "database", {"engine": "cloudnative-pg", "wal": WAL})
    config["backup"] = {**config["backup"], "s3": {**copies, "password": f"{ITEM}/password"}}
    assert "a secret other than that of backup.s3.accessKey" in refusal("prod", config)


COPIES: Final[dict[str, Any]] = {
    "endpoint": "https://s3.example.com:9000",
    "bucket": "homelab-archive",
    "accessKey": "op://Kubernetes/Copies/access-key",
    "secretKey": "op://Kubernetes/Copies/secret-key",
    "password": "op://Kubernetes/Copies/password",
}


def beside(copies: dict[str, Any], **bucket: Any) -> dict[str, Any]:
    """The sections of prod with copies and archive."""
    wal = {"s3": {**BUCKET, **bucket}}
    return with_value("prod", "database", {"engine": "cloudnative-pg", "wal": wal}) | {"backup": {"s3": copies}}


@pytest.mark.parametrize(
    ("copies", "archive"),
    [
        ("same", "same"),
        ("all", "all/log"),
        ("all/copies", "all"),
        (None, "invoicetron-prod"),
        ("wal/invoicetron-prod", None),
        ("wal", None),
    ],
)
def test_copies_and_archive_are_in_separate_folders(copies: str | None, archive: str | None) -> None:
    given = {**COPIES, "prefix": copies} if copies else COPIES
    bucket = {"prefix": archive} if archive else {}
    message = refusal("prod", beside(given, **bucket))
    assert "invoicetron:backup.s3.prefix\n" in message
    assert "neither inside the other" in message
    for elsewhere in (
        {"bucket": "another"},
        {"endpoint": "https://s3.example.com"},
        {"endpoint": "https://s4.example.com:9000"},
    ):
        assert Settings.load(PROD, beside(given | elsewhere, **bucket))


@pytest.mark.parametrize(
    ("copies", "archive"), [(None, None), ("all/copies", "all/log"), ("wa", "wal"), ("wal2", "wal")]
)
def test_one_bucket_may_hold_both(copies: str | None, archive: str | None) -> None:
    given = {**COPIES, "prefix": copies} if copies else COPIES
    assert Settings.load(PROD, beside(given, **({"prefix": archive} if archive else {})))
