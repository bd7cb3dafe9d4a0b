"""What the project and the stack are called, and what follows from it."""

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
