"""Off-site copies: what the program creates for `backup.s3`, and who holds which keys."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
import yaml

from lookups.secrets import SecretsError
from settings import Settings, SettingsError
from tests.stacks import PROD, STACKS
from tests.unit.network_page import edges
from tests.unit.program import Program, run

REFERENCE: Final = "op://Kubernetes/Invoicetron Off-site"
S3: Final[dict[str, Any]] = {
    "endpoint": "https://s3.example.com:9000",
    "bucket": "homelab-backups",
    "accessKey": f"{REFERENCE}/access-key",
    "secretKey": f"{REFERENCE}/secret-key",
    "password": f"{REFERENCE}/copies-password",
}
VALUES: Final = {
    "access-key": "unit-test-access",
    "secret-key": "unit-test-secret",
    "copies-password": "unit-test-copies-pass",
}
UPLOAD, CHECK, OFFSITE = "invoicetron-db-upload", "invoicetron-db-offsite-check", "invoicetron-db-offsite"


@pytest.fixture(scope="module")
def prod() -> Program:
    return run("prod", {"backup.s3": S3}, values=VALUES)


def container(program: Program, name: str) -> dict[str, Any]:
    spec = program.one("CronJob", name).inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (found,) = spec["containers"]
    return dict(found)


def load(**changes: Any) -> Settings:
    config = yaml.safe_load((STACKS / "Pulumi.prod.yaml").read_text())["config"]
    found = {key.removeprefix("invoicetron:"): value for key, value in config.items()}
    found["backup"] = {**found["backup"], "s3": {**S3, **changes}}
    return Settings.load(PROD, found, running=True)


@pytest.mark.parametrize("name", [UPLOAD, CHECK])
def test_keys_and_password_reach_the_pod_by_a_secret_alone(prod: Program, name: str) -> None:
    made = container(prod, name)
    assert made["command"][0] == "sh"
    assert len(made["command"]) == 2
    by_secret = {each["name"] for each in made["env"] if "valueFrom" in each}
    assert by_secret == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RESTIC_PASSWORD"}
    for each in prod.registrations:
        if each.kind != "Secret":
            assert not [value for value in VALUES.values() if value in json.dumps(each.inputs)], each.urn
    secret = prod.one("Secret", OFFSITE)
    assert secret.secret_inputs
    assert set(secret.inputs["stringData"].values()) == set(VALUES.values())


def test_a_drill_of_the_copies_has_the_keys_where_it_fetches_and_neither_volume_nor_database(prod: Program) -> None:
    spec = prod.one("CronJob", PROD.offsite_drill).inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (fetches,), (restores,) = spec["initContainers"], spec["containers"]
    assert fetches["command"] == ["sh", "/scripts/fetch.sh"]
    assert restores["command"] == ["sh", "/scripts/drill.sh"]
    assert [each["name"] for each in restores["env"] if "valueFrom" in each] == []
    assert not [each for each in spec["volumes"] if "persistentVolumeClaim" in each]
    reached = {(source, target) for source, target, _ in edges(prod) if PROD.offsite_drill in {source, target}}
    assert reached == {(PROD.offsite_drill, "the cluster's DNS")}
    environment = {each["name"]: each.get("value") for each in restores["env"]}
    assert environment["DRILLED_FROM"] == "s3"
    assert environment["RESULT"] == "/dev/termination-log", "where the pod's status gets it from"


def test_the_image_is_pinned_by_tag_and_digest(prod: Program) -> None:
    image = container(prod, UPLOAD)["image"]
    assert ":0.18.1@sha256:" in image


def test_who_holds_the_buckets_keys_reaches_the_endpoint_and_no_database(prod: Program) -> None:
    policy = prod.one("CiliumNetworkPolicy", OFFSITE).inputs["spec"]
    _, outside = policy["egress"]
    assert outside == {
        "toFQDNs": [{"matchName": "s3.example.com"}],
        "toPorts": [{"ports": [{"port": "9000", "protocol": "TCP"}]}],
    }
    reached = {(source, target) for source, target, _ in edges(prod) if UPLOAD in {source, target}}
    assert reached == {(UPLOAD, "the cluster's DNS")}


def test_repositories_of_two_stacks_are_apart_in_one_bucket(prod: Program) -> None:
    env = {each["name"]: each.get("value") for each in container(prod, UPLOAD)["env"]}
    assert env["CRON_JOB"] == UPLOAD, "for the command that a failure names"
    assert env["RESTIC_REPOSITORY"] == "s3:https://s3.example.com:9000/homelab-backups/invoicetron-prod"
    assert env["STACK"] == "invoicetron-prod"


def test_dumps_are_compressed_unless_copies_of_them_are_deduplicated(prod: Program) -> None:
    def compression(program: Program) -> list[str]:
        env = container(program, "invoicetron-db-backup")["env"]
        return [each["value"] for each in env if each["name"] == "DUMP_COMPRESSION"]

    assert compression(prod) == ["none"]
    assert compression(run("prod")) == []


def test_without_s3_nothing_for_it_is_made_or_read() -> None:
    made = run("prod")
    assert not [each for each in made.registrations if "offsite" in each.urn or "restic" in json.dumps(each.inputs)]


def test_copies_are_kept_longer_than_backups_on_the_volume_by_default() -> None:
    backup = load().backup
    assert backup is not None
    assert backup.s3 is not None
    kept = backup.s3.retention
    assert (kept.daily, kept.weekly, kept.monthly) == (7, 5, 12)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("endpoint", "http://s3.example.com", "https://"),
        ("endpoint", "https://10.10.30.4", "host name"),
        ("endpoint", "https://s3.example.com/homelab-backups", "without bucket or path"),
        ("bucket", "Homelab_Backups", "lower-case"),
        ("prefix", "/prod", "folders in the bucket"),
        ("secretKey", "hunter2hunter2", "op://"),
        ("schedule", "0 3 * * 0", "every day"),
        ("checkSchedule", "0 3 1 * *", "every week"),
    ],
)
def test_invalid_settings_are_refused_with_the_reason(key: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError, match=allowed) as error:
        load(**{key: value})
    assert f"backup.s3.{key}" in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_short_password_is_refused_before_anything_is_encrypted_with_it() -> None:
    with pytest.raises(SecretsError, match="shorter than 20 characters") as error:
        run("prod", {"backup.s3": S3}, values={**VALUES, "copies-password": "short-and-secret"})
    assert "short-and-secret" not in str(error.value)
