"""An app without a database: nothing stores, backs up or migrates, and nothing names a database."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import pytest

from lookups.permissions import needed
from ops.restore import parse_request
from ops.restore.source import SourceError
from ops.status import SYSTEMS
from ops.verify import CHECKS
from settings import Settings
from tests.stacks import DEV, PROD
from tests.unit.program import Program, run
from tests.unit.stack_files import refusal, sections

OFF: dict[str, Any] = {"enabled": False}
STATELESS: dict[str, Any] = {"database": OFF, "backup": OFF, "secrets": {}}
KEY = {"SHOP_KEY": "op://Kubernetes/Invoicetron Prod/better-auth-secret"}
OF_DATABASES = (
    "database",
    "database-volume",
    "database-role",
    "backup-volume",
    "migration",
    "secret-database",
    "backup",
    "drill",
)


def stateless(stack: str = "prod", **changes: Any) -> dict[str, Any]:
    found = sections(stack)
    del found["secrets"]
    return {**found, "database": OFF, "backup": OFF, **changes}


@pytest.fixture(scope="module", params=["dev", "prod"])
def program(request: pytest.FixtureRequest) -> Program:
    more = {"monitoring": {"dashboard": True}} if request.param == "prod" else {}
    return run(request.param, {**STATELESS, **more, "delivery.admissionPolicy": True})


def test_nothing_stores_backs_up_or_migrates(program: Program) -> None:
    assert not [each.kind for each in program.registrations if each.kind in {"StatefulSet", "CronJob", "ConfigMap"}][1:]
    for kind in ("StatefulSet", "CronJob", "PersistentVolumeClaim", "PersistentVolume", "RetainedVolume"):
        assert not program.of(kind)
    assert not {"database", "backup", "offsite"} & {each.name for each in program.registrations}
    assert "database_host" not in program.outputs
    assert "database_claim" not in program.outputs


def test_nothing_names_a_database_or_a_migration(program: Program) -> None:
    words = ("invoicetron-db", "invoicetron-migrate", "5432", "DATABASE_URL", "database-url", "DatabaseNotReady")
    for each in program.registrations:
        text = json.dumps(each.inputs)
        for word in words:
            assert word not in text, f"{each.urn} names {word}"


def test_the_app_has_no_secret_and_waits_for_nothing(program: Program) -> None:
    pod = program.one("Deployment").inputs["spec"]["template"]["spec"]
    assert not pod.get("initContainers")
    assert [one["name"] for one in pod["containers"][0]["env"]] == ["NODE_ENV", "ADDITIONAL_TRUSTED_ORIGINS"]
    assert "invoicetron-app" not in [each.inputs["metadata"]["name"] for each in program.of("Secret")]


def test_the_pipeline_migrates_nothing_and_may_create_no_job(program: Program) -> None:
    values = {each.name: each.inputs["value"] for each in program.of("ProjectVariable")}
    assert values["APP_MIGRATION"] == "none"
    assert not [rule for rule in program.one("Role").inputs["rules"] if "batch" in rule["apiGroups"]]
    parts = [each.name for each in program.of("ValidatingAdmissionPolicy")]
    assert parts == ["deployment-policy"]


def test_the_apps_own_secrets_make_a_secret_and_roll_the_app() -> None:
    first = run("prod", {**STATELESS, "app.secrets": KEY})
    assert first.one("Secret", "invoicetron-app").inputs["stringData"].keys() == {"SHOP_KEY"}
    template = first.one("Deployment").inputs["spec"]["template"]["metadata"]["annotations"]
    second = run(
        "prod", {**STATELESS, "app.secrets": KEY}, values={"better-auth-secret": "another-0123456789-0123456789"}
    )
    assert second.one("Deployment").inputs["spec"]["template"]["metadata"]["annotations"] != template


def checks(settings: Settings) -> set[str]:
    """The names of what `ops verify` and `ops status` check."""
    listed = [*CHECKS, *(check for group in SYSTEMS for check in group)]
    return {one.name for check in listed for one in check.each(settings)}


def test_no_check_is_about_a_database() -> None:
    bare = checks(Settings.load(PROD, stateless()))
    assert bare
    assert not {*OF_DATABASES, "secret-app"} & bare
    with_a_secret = stateless(app={**sections("prod")["app"], "secrets": KEY})
    assert checks(Settings.load(PROD, with_a_secret)) - bare == {"secret-app"}


def test_no_permission_is_needed_to_create_storage() -> None:
    held = Mock(**{"get.return_value": {"metadata": {}}})
    asked = list(needed(Settings.load(PROD, stateless()), held))
    created = {one.resource for one in asked if "create" in one.verbs}
    assert "deployments" in created
    assert not {"statefulsets", "cronjobs", "persistentvolumeclaims", "persistentvolumes"} & created
    assert not {"statefulsets", "cronjobs", "persistentvolumes"} & {one.resource for one in asked}


def test_a_stateless_app_need_not_be_protected_in_prod() -> None:
    assert not Settings.load(PROD, stateless(protect=False)).protect


def test_a_restore_is_refused_for_lack_of_a_database() -> None:
    with pytest.raises(SourceError, match="no database"):
        parse_request(Settings.load(DEV, stateless("dev")), source="latest", expect=None, clear_sessions=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backup": {}}, "nothing to back up"),
        ({"secrets": {"postgresPassword": "op://a/b/c"}}, "no database password and no database URL"),
        ({"secrets": {"databaseUrl": "op://a/b/c"}}, "no database password and no database URL"),
    ],
)
def test_a_section_that_is_about_a_database_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in refusal("prod", stateless(**changes))


@pytest.mark.parametrize(
    ("secrets", "missing"),
    [
        (None, "postgresPassword and betterAuthSecret"),
        ({}, "postgresPassword and betterAuthSecret"),
        ({"postgresPassword": "op://a/b/c"}, "betterAuthSecret"),
        ({"betterAuthSecret": "op://a/b/c"}, "postgresPassword"),
    ],
)
def test_an_app_with_a_database_needs_its_secrets(secrets: dict[str, Any] | None, missing: str) -> None:
    config = sections("dev")
    del config["secrets"]
    if secrets is not None:
        config["secrets"] = secrets
    message = refusal("dev", config)
    assert "1 mistake." in message
    assert f"references of {missing}, which an app with a database needs" in message
