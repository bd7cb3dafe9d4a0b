"""The names of project and stack, and the names that follow from them."""

from __future__ import annotations

import re

import pytest

from settings import Settings, SettingsError
from settings.names import Names
from tests.stacks import PROD
from tests.unit.stack_files import refusal_of, sections

NO_LABELS = ("backups_export", "deploy_token", "offsite_token", "service_token", "wal_token")
CRON_JOBS = ("migration", "backup", "drill", "restore", "upload", "offsite_check")


@pytest.mark.parametrize("given", ["invoicetron-dev", "default", "Invoicetron", "another"])
def test_a_namespace_that_does_not_follow_from_project_and_stack_is_refused(given: str) -> None:
    message = refusal_of("namespace", given)
    assert "invoicetron-prod, which follows from the project and the stack" in message
    assert "fix:     remove the key" in message


def test_a_stack_file_of_an_earlier_release_may_name_the_namespace_that_follows() -> None:
    named = Settings.load(PROD, {**sections("prod"), "namespace": "invoicetron-prod"})
    assert named.namespace == Settings.load(PROD, sections("prod")).namespace == "invoicetron-prod"


@pytest.mark.parametrize(
    "names",
    [
        Names("Invoicetron", "dev"),
        Names("my_app", "dev"),
        Names("1password", "dev"),
        Names("app-", "dev"),
        Names("", "dev"),
        Names("kube", "system"),
        Names("kube-app", "dev"),
        Names("a" * 36, "dev"),
        Names("app", "Dev"),
        Names("app", "my.stack"),
        Names("app", "-dev"),
        Names("a" * 35, "b" * 28),
    ],
)
def test_names_of_project_and_stack_that_kubernetes_would_refuse_are_refused_with_all_other_mistakes(
    names: Names,
) -> None:
    with pytest.raises(SettingsError, match="2 mistakes") as error:
        Settings.load(names, {**sections("dev"), "nonsense": {}})
    assert "lower-case letters" in str(error.value)


RESERVED = ("postgres", "public", "none", "template0", "template1", "pg-stats", "cnpg-app", "streaming-replica")


@pytest.mark.parametrize("project", RESERVED)
def test_a_project_named_like_a_reserved_role_is_refused_unless_it_has_no_database(project: str) -> None:
    names = Names(project, "dev")
    with pytest.raises(SettingsError, match="2 mistakes") as error:
        Settings.load(names, {**sections("dev"), "nonsense": {}})
    assert f"the name in Pulumi.yaml\n      given:   {project!r}" in str(error.value)
    assert "take for a role and a database" in str(error.value)
    assert not list(names.problems(stateless=True))


@pytest.mark.parametrize("project", ["pg", "pgadmin", "cnpg", "postgresql", "template", "publican", "user", "order"])
def test_a_name_next_to_a_reserved_one_is_a_role_s(project: str) -> None:
    assert not list(Names(project, "dev").problems())


@pytest.mark.parametrize(
    ("cluster", "job"), [("database", "99-initdb"), ("database", "99-join"), ("recovered", "1-full-recovery")]
)
def test_the_operators_jobs_have_names_that_a_label_holds(cluster: str, job: str) -> None:
    # cloudnative-pg, pkg/specs/jobs.go, getJobName
    assert len(f"{getattr(Names('a' * 35, 'b'), cluster)}-{job}") <= 63


@pytest.mark.parametrize("names", [Names("a", "b"), Names("a" * 35, "b" * 27), Names("my-app-2", "2")])
def test_every_name_that_follows_is_one_that_kubernetes_takes(names: Names) -> None:
    assert not list(names.problems())
    every = {name: getattr(names, name) for name, kind in vars(Names).items() if isinstance(kind, property)}
    texts = {name: value for name, value in every.items() if isinstance(value, str)}
    assert texts
    for name, text in texts.items():
        if name in {"database_role", "monitor_role"}:
            assert re.fullmatch(r"[a-z_][a-z0-9_]*", text)
        elif name == "alerts":
            assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", text)
        else:
            assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", text)
            assert len(text) <= (52 if name in CRON_JOBS else 253 if name in NO_LABELS else 63), name
