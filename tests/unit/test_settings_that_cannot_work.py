"""Settings that are well formed but could not work: refused at load with a remedy, while similar ones are accepted."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from settings import Settings, SettingsError
from settings.types import BranchName, Host, HostKey, InternetName, S3Endpoint, TableName, UrlPath
from tests.stacks import PROD
from tests.unit.stack_files import refusal, refusal_of, sections, with_value

KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
S3 = {
    "endpoint": "https://s3.example.com",
    "bucket": "homelab-backups",
    "accessKey": "op://Kubernetes/S3/access",
    "secretKey": "op://Kubernetes/S3/secret",
    "password": "op://Kubernetes/S3/password",
}


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (
            BranchName,
            ["main", "feat/x@1", "release-1.2", "refs", "heads/x", "HEADER", "a.lockfile"],
            ["refs/heads/main", "/a", "@", "HEAD", ".hidden", "a/.b", "a.lock/b", "a.lock", "a..b", "a/", "-a"],
        ),
        (
            UrlPath,
            ["/", "/api/health", "/api/", "/%C3%A4", "/.well-known/x", "/a..b"],
            ["//example.com", "/a//b", "/../x", "/a/..", "/./a", "/%zz", "/a%2", "/a?b", "/a#b"],
        ),
        (
            TableName,
            ["user_sessions", "auth.logins", "a b", 'it"s', "publicity", "UserSessions"],
            ['"session"', "public.session", " session", "session ", 'session"', "a\nb"],
        ),
        (Host, ["nas", "10.10.30.4", "localhost.example.com"], ["localhost", "127.0.0.1", "127.1.2.3", "0.0.0.0"]),  # noqa: S104 - given, not bound
        (
            InternetName,
            ["api.example.com", "svc.example.com", "cluster.local.example.com"],
            ["a.b.svc", "a.b.svc.cluster.local", "a.cluster.local", "*.example.com", "10.0.0.1"],
        ),
        (
            S3Endpoint,
            ["https://s3.example.com", "https://svc.example.com:9000"],
            ["https://minio.minio.svc", "https://minio.minio.svc.cluster.local:9000", "https://minio.minio.svc/"],
        ),
        (
            HostKey,
            [f"github.com ssh-ed25519 {KEY}"],
            [
                f"github.com ssh-rsa {KEY}",
                f"github.com ecdsa-sha2-nistp256 {KEY}",
                f"github.com ssh-ed25519 {KEY[:-4]}",
                f"github.com ssh-ed25519 {KEY[:-1]}",
                f"github.com ssh-ed25519 {KEY}AAAA",
                f"github.com ssh-ed25519 {'B' * 68}",
                f"github.com ssh-ed25519 {KEY} me@home",
            ],
        ),
    ],
)
def test_values_close_to_valid_ones_are_refused(kind: Any, right: list[str], wrong: list[str]) -> None:
    for value in right:
        assert TypeAdapter(kind).validate_python(value) == value
    for value in wrong:
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("key", "schedule"),
    [("schedule", "30 2 * * *"), ("checkSchedule", "30 2 * * 0"), ("drillSchedule", "15,45 2 * * sun")],
)
def test_a_schedule_of_the_copies_that_the_zone_skips_is_refused(key: str, schedule: str) -> None:
    message = refusal("prod", with_value("prod", "backup", {"timeZone": "Europe/Berlin", "s3": {**S3, key: schedule}}))
    assert f"invoicetron:backup.s3.{key}\n      given:   {schedule!r}" in message
    assert "Europe/Berlin never skips" in message
    assert Settings.load(PROD, with_value("prod", "backup", {"timeZone": "Asia/Manila", "s3": {**S3, key: schedule}}))


def test_a_schedule_of_the_infrastructure_that_the_zone_skips_is_refused() -> None:
    infrastructure = {"project": "0xwsh/homelab", "timeZone": "Europe/Berlin", "schedule": "30 2 * * *"}
    message = refusal_of("repository.infrastructure", infrastructure)
    assert "invoicetron:repository.infrastructure.schedule" in message
    assert "Europe/Berlin never skips" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("secrets.postgresPassword", "op://Kubernetes/Invoicetron Prod/better-auth-secret"),
        ("secrets.databaseUrl", "op://Kubernetes/Invoicetron Prod/postgres-password"),
        ("backup.s3", {**S3, "secretKey": S3["accessKey"]}),
        ("backup.s3", {**S3, "password": S3["secretKey"]}),
        ("backup.s3", {**S3, "password": "op://Kubernetes/Invoicetron Prod/postgres-password"}),
        ("monitoring.databaseMetrics", {"password": "op://Kubernetes/Invoicetron Prod/postgres-password"}),
    ],
)
def test_one_reference_cannot_stand_for_two_secrets(path: str, value: Any) -> None:
    assert "a secret other than that of " in refusal_of(path, value)


def test_variables_of_the_app_may_share_a_secret() -> None:
    shared = "op://Kubernetes/Invoicetron Prod/better-auth-secret"
    assert Settings.load(PROD, with_value("prod", "app.secrets", {"AUTH_SECRET": shared, "NEXTAUTH_SECRET": shared}))


@pytest.mark.parametrize(
    "path",
    ["backup", "monitoring", "repository", "access.public", "backup.nfs", "backup.schedule", "app.environment.LEVEL"],
)
def test_a_key_without_a_value_does_not_count_as_a_section_left_out(path: str) -> None:
    config = sections("prod")
    *above, last = path.split(".")
    target = config
    for key in above:
        target = target.setdefault(key, {})
    target[last] = None
    message = refusal("prod", config)
    assert f"invoicetron:{path}\n" in message
    assert "1 mistake." in message


def test_keys_without_a_value_are_reported_with_other_mistakes() -> None:
    config = with_value("prod", "protect", False) | {"backup": None}
    message = refusal("prod", config)
    assert "2 mistakes" in message
    assert "nothing (null)" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("app.egress", ["a.example.com", "b.example.com", "a.example.com"]),
        ("backup.sessionTables", ["logins", "logins"]),
        ("repository.protectedEnvironments", ["production", "production"]),
        ("repository.hostKeys", [f"github.com ssh-ed25519 {KEY}"] * 2),
    ],
)
def test_a_duplicate_entry_is_refused(path: str, value: list[str]) -> None:
    message = refusal_of(path, value)
    assert "each entry only once" in message
    assert value[0] in message


def test_host_keys_are_those_of_the_mirror() -> None:
    message = refusal_of("repository.hostKeys", [f"gitlab.com ssh-ed25519 {KEY}", f"github.com ssh-ed25519 {KEY}"])
    assert "given:   'gitlab.com'\n      allowed: keys of github.com, where the mirror is" in message


def test_the_app_listens_where_probes_and_tunnel_look_for_it() -> None:
    message = refusal_of("app.environment", {"PORT": "8080"})
    assert "invoicetron:app.environment.PORT\n      given:   '8080'\n      allowed: 3000" in message
    assert Settings.load(PROD, with_value("prod", "app.environment", {"PORT": "3000"}))


@pytest.mark.parametrize("value", ["op://a/b/c", "OP://a/b/c", " op://a/b/c", "{{ op://a/b/c }}"])
def test_a_reference_among_plain_values_is_refused_however_it_is_written(value: str) -> None:
    assert "references are not resolved here" in refusal_of("app.environment", {"LEVEL": value})


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("app:bakup", "backup"),
        ("other:Backup", "backup"),
        ("gitlab:delivery", "delivery"),
        ("kubernetes:backup", "backup"),
        ("pulumi:protect", "protect"),
        ("cloudflare:access", "access"),
        ("INVOICETRON:acces", "access"),
    ],
)
def test_a_section_under_another_name_is_refused(key: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"did you mean invoicetron:{meant}"):
        Settings.load(PROD, sections("prod"), foreign=[key])


def test_keys_of_pulumi_and_its_providers_are_ignored() -> None:
    theirs = [
        "pulumi:tags",
        "pulumi:disable-default-providers",
        "kubernetes:cluster",
        "kubernetes:context",
        "aws:region",
    ]
    assert Settings.load(PROD, sections("prod"), foreign=[*theirs, "gitlab:token", "time:zone"])
