"""The domain types of the stack files: what each accepts and what it refuses."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import TypeAdapter

from settings.images import ImageReference, PostgresImage, image_registry, image_repository
from settings.references import ItemReference, SecretReference
from settings.types import (
    AbsolutePath,
    BranchName,
    CloudflareId,
    Date,
    DnsLabel,
    DnsName,
    EnvironmentName,
    GitHubAddress,
    GitLabProject,
    Host,
    HostKey,
    HttpsUrl,
    LabelKey,
    LabelValue,
    Name,
    PageUrl,
    RegistryHost,
    ResourceName,
    ServiceAddress,
    SessionDuration,
    TimeZone,
    Uuid,
)
from tests.unit.stack_files import accepts

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DnsLabel, "homelab-gateway"),
        (DnsLabel, "a" * 63),
        (ResourceName, "longhorn.retain-2"),
        (DnsName, "invoicetron.dev.k8s.rommelporras.com"),
        (Host, "10.10.30.4"),
        (Host, "nas.example.com"),
        (RegistryHost, "registry.example.com:5050"),
        (ServiceAddress, "blackbox-exporter.monitoring.svc.cluster.local:9115"),
        (ServiceAddress, "blackbox.monitoring.svc"),
        (ServiceAddress, "blackbox-exporter.monitoring:9115"),
        (ImageReference, "postgres:18-alpine"),
        (ImageReference, "registry.k8s.rommelporras.com/0xwsh/invoicetron/dev:placeholder"),
        (ImageReference, "localhost:5000/a_b/c--d:v1"),
        (ImageReference, f"ghcr.io/a/b@{DIGEST}"),
        (ImageReference, f"ghcr.io/a/b:1@{DIGEST}"),
        (ImageReference, "busybox:latest-musl"),
        (PostgresImage, "postgres:18"),
        (PostgresImage, "postgres:18-alpine"),
        (PostgresImage, "postgres:17.10-alpine"),
        (PostgresImage, "postgres:18.3-alpine3.22"),
        (PostgresImage, "docker.io/library/postgres:18.3"),
        (PostgresImage, "index.docker.io/library/postgres:18-bookworm"),
        (PostgresImage, "arm64v8/postgres:18"),
        (PostgresImage, f"postgres:18-alpine@{DIGEST}"),
        (PostgresImage, "registry.example.com/postgres:18-alpine"),
        (PostgresImage, "registry.example.com:5050/mirror/library/postgres:18.1"),
        (PostgresImage, "localhost:5000/postgres:18"),
        (GitLabProject, "0xwsh/invoicetron"),
        (GitLabProject, "group/sub.group/project"),
        (BranchName, "feat/x@1"),
        (CloudflareId, "0123456789abcdef0123456789abcdef"),
        (Uuid, "01234567-89ab-cdef-0123-456789abcdef"),
        (SessionDuration, "24h"),
        (SessionDuration, "1h30m"),
        (SessionDuration, "1m"),
        (SessionDuration, "1.5h"),
        (SessionDuration, "730h"),
        (AbsolutePath, "/"),
        (EnvironmentName, "review/42"),
        (GitHubAddress, "ssh://git@github.com/a-b/c.d_e.git"),
        (HostKey, "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"),
        (LabelKey, "app.kubernetes.io/name"),
        (LabelValue, ""),
        (LabelValue, "cloudflared"),
        (AbsolutePath, "/exports/..hidden/a b/"),
        (Name, "Allow Admin"),
        (Name, "Z\u00fcrich"),
        (Host, "nas-1"),
        (Host, "255.255.255.255"),
        (Host, "3com"),
        (HttpsUrl, "https://10.10.30.4:65535"),
        (HttpsUrl, "https://api.k8s.rommelporras.com:6443"),
        (HttpsUrl, "https://gitlab.example.com/"),
        (TimeZone, "Asia/Manila"),
        (TimeZone, "Etc/UTC"),
        (TimeZone, "UTC"),
        (TimeZone, "Asia/Calcutta"),
        (TimeZone, "America/Argentina/Buenos_Aires"),
    ],
)
def test_right_values_are_accepted(kind: Any, value: str) -> None:
    assert accepts(kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (DnsLabel, "Homelab"),
        (DnsLabel, "a.b"),
        (DnsLabel, "-a"),
        (DnsLabel, "a" * 64),
        (DnsLabel, "a\n"),
        (ResourceName, "a..b"),
        (ResourceName, "long_horn"),
        (ResourceName, ".".join(["a" * 63] * 4)),
        (DnsName, "localhost"),
        (DnsName, "10.10.30.4"),
        (Host, "nas_1"),
        (RegistryHost, "https://registry.example.com"),
        (RegistryHost, "registry.example.com/path"),
        (DnsName, "https://invoicetron.example.com"),
        (DnsName, "invoicetron.example.com."),
        (DnsName, "*.example.com"),
        (DnsName, "invoicetron.example.com:443"),
        (ServiceAddress, "blackbox:9115"),
        (ServiceAddress, "10.10.30.4:9115"),
        (ServiceAddress, "blackbox.example.org:9115"),
        (ServiceAddress, "http://blackbox.monitoring:9115"),
        (ServiceAddress, "blackbox.monitoring:port"),
        (ImageReference, "postgres"),
        (ImageReference, "postgres:latest"),
        (ImageReference, "docker.io/library/postgres:latest"),
        (ImageReference, "Postgres:18"),
        (ImageReference, "postgres:18 "),
        (ImageReference, "postgres@sha256:123"),
        (ImageReference, "https://registry.example.com/a:1"),
        (ImageReference, "registry.example.com:99999/a:1"),
        (PostgresImage, "postgres"),
        (PostgresImage, "postgres:latest"),
        (PostgresImage, "postgres:alpine"),
        (PostgresImage, "postgres:16-alpine"),
        (PostgresImage, "postgres:19-alpine"),
        (PostgresImage, "postgres:180"),
        (PostgresImage, "postgres:118"),
        (PostgresImage, "postgres:18beta1"),
        (PostgresImage, "postgres:18rc1-alpine"),
        (PostgresImage, "postgres:18."),
        (PostgresImage, "postgres:18-"),
        (PostgresImage, "postgres:16.18"),
        (PostgresImage, "postgres:alpine-18"),
        (PostgresImage, "postgres:v18"),
        (PostgresImage, f"postgres@{DIGEST}"),
        (PostgresImage, f"postgres:16@{DIGEST}"),
        (PostgresImage, "supabase/postgres:18"),
        (PostgresImage, "docker.io/supabase/postgres:18"),
        (PostgresImage, "bitnami/postgresql:18"),
        (PostgresImage, "postgis/postgis:18-3.6"),
        (PostgresImage, "timescale/timescaledb:2.23-pg18"),
        (PostgresImage, "registry.example.com/postgres-backup:18"),
        (PostgresImage, "registry.example.com/postgres/client:18"),
        (PostgresImage, "mysql:18"),
        (GitLabProject, "0xwsh/invoicetron.git"),
        (EnvironmentName, "/production"),
        (EnvironmentName, "review/"),
        (EnvironmentName, "review 42"),
        (EnvironmentName, ""),
        (EnvironmentName, "a" * 256),
        (GitHubAddress, "https://github.com/rommelporras/invoicetron.git"),
        (GitHubAddress, "ssh://git@github.com/.git"),
        (GitHubAddress, "ssh://git@github.com/rommelporras/invoicetron"),
        (GitHubAddress, "ssh://git@github.com/rommelporras/../invoicetron.git"),
        (GitHubAddress, "ssh://git@github.com/rommel porras/invoicetron.git"),
        (GitHubAddress, "ssh://git:password@github.com/rommelporras/invoicetron.git"),
        (HostKey, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"),
        (HostKey, "github.com ssh-dss AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"),
        (HostKey, "github.com ssh-ed25519"),
        (HostKey, "# github.com:22 SSH-2.0-babeld"),
        (LabelKey, "a b"),
        (LabelKey, "/name"),
        (LabelKey, "UPPER.example.com/name"),
        (LabelValue, "a b"),
        (LabelValue, "-a"),
        (LabelValue, "a" * 64),
        (GitLabProject, "invoicetron"),
        (GitLabProject, "/0xwsh/invoicetron"),
        (GitLabProject, "0xwsh/invoicetron/"),
        (BranchName, "a..b"),
        (BranchName, "-a"),
        (BranchName, "a.lock"),
        (BranchName, "a b"),
        (BranchName, "a/"),
        (CloudflareId, "0123456789ABCDEF0123456789ABCDEF"),
        (CloudflareId, "0123"),
        (Uuid, "7f65c50c-xxxx-xxxx-xxxx-xxxxxxxxxxxx"),
        (SessionDuration, "24"),
        (SessionDuration, "1d"),
        (HttpsUrl, "http://api.example.com"),
        (HttpsUrl, "https://user:password@api.example.com"),
        (HttpsUrl, "https://api.example.com/path"),
        (HttpsUrl, "https://api.example.com?query"),
        (HttpsUrl, "https:// api.example.com"),
        (HttpsUrl, "https://"),
        (HttpsUrl, "https://api.example.com:99999"),
        (HttpsUrl, "https://api.example.com:65536"),
        (HttpsUrl, "https://api.example.com:0"),
        (HttpsUrl, "https://api.example.com:0443"),
        (HttpsUrl, "https://10.10.30.256"),
        (HttpsUrl, "https://10.10.30"),
        (PageUrl, "https://docs.example.com:70000/alerts"),
        (RegistryHost, "registry.example.com:99999"),
        (RegistryHost, "registry.example.com:"),
        (ServiceAddress, "blackbox.monitoring:65536"),
        (ServiceAddress, "blackbox.monitoring:0"),
        (Host, "10.10.30.256"),
        (Host, "10.10.30"),
        (Host, "010.10.30.4"),
        (Host, "NAS.example.com"),
        (Host, "nas.example.com."),
        (DnsName, "INVOICETRON.example.com"),
        (DnsName, "rechnungen.m\u00fcller.example"),
        (DnsName, "invoice_tron.example.com"),
        (DnsName, " invoicetron.example.com"),
        (AbsolutePath, "exports"),
        (AbsolutePath, ""),
        (AbsolutePath, "/exports/../other"),
        (AbsolutePath, "/exports/.."),
        (AbsolutePath, "/.."),
        (AbsolutePath, "/exports/./other"),
        (AbsolutePath, "/exports//other"),
        (AbsolutePath, "//exports"),
        (AbsolutePath, "/exports "),
        (AbsolutePath, "/ exports"),
        (AbsolutePath, "/exports\n"),
        (AbsolutePath, "/exp\0orts"),
        (Name, ""),
        (Name, " "),
        (Name, "homelab "),
        (Name, "homelab\u00a0"),
        (Name, "home\u200blab"),
        (Name, "homelab\n"),
        (SessionDuration, "0h"),
        (SessionDuration, "0s"),
        (SessionDuration, "0h0m"),
        (SessionDuration, "59s"),
        (SessionDuration, "1ns"),
        (SessionDuration, "731h"),
        (SessionDuration, "-24h"),
        (SessionDuration, "24 h"),
        (SessionDuration, "24H"),
        (SessionDuration, "24h "),
        (SessionDuration, "1..5h"),
        (SessionDuration, ""),
        (TimeZone, "localtime"),
        (TimeZone, "posix/Europe/Berlin"),
        (TimeZone, "right/Europe/Berlin"),
        (TimeZone, "posixrules"),
        (TimeZone, "Factory"),
        (TimeZone, "Local"),
        (TimeZone, "europe/berlin"),
        (TimeZone, "Europe/Berlin "),
        (TimeZone, "CEST"),
        (TimeZone, "UTC+2"),
        (TimeZone, "zone.tab"),
        (HttpsUrl, "https://api.example.com:port"),
        (TimeZone, "Asia/Manilla"),
        (TimeZone, "Asia"),
        (TimeZone, "../etc/passwd"),
        (TimeZone, ""),
    ],
)
def test_wrong_values_are_refused(kind: Any, value: str) -> None:
    assert not accepts(kind, value)


def test_a_trailing_slash_of_an_address_is_removed() -> None:
    assert TypeAdapter(HttpsUrl).validate_python("https://gitlab.example.com/") == "https://gitlab.example.com"


@pytest.mark.parametrize("value", ["2027-12-31", "2027-12-31 00:00:00 +0000 UTC"])
def test_a_date_is_read_however_pulumi_hands_it_over(value: str) -> None:
    assert TypeAdapter(Date).validate_python(value) == dt.date(2027, 12, 31)


@pytest.mark.parametrize("value", ["31.12.2027", "2027-02-30", "2027-12-31 10:00:00 +0000 UTC", "", 20271231, None])
def test_a_value_that_is_not_a_date_is_refused(value: object) -> None:
    assert not accepts(Date, value)


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("postgres:18-alpine", "docker.io"),
        ("library/postgres:18-alpine", "docker.io"),
        ("registry.example.com/a/b:1", "registry.example.com"),
        ("registry:5000/a:1", "registry:5000"),
    ],
)
def test_the_registry_of_an_image_is_its_first_part_if_that_is_a_host(image: str, registry: str) -> None:
    assert image_registry(image) == registry


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("registry.example.com/a/b:1", "registry.example.com/a/b"),
        ("registry:5000/a:1", "registry:5000/a"),
        ("registry:5000/a", "registry:5000/a"),
        (f"registry:5000/a:1@sha256:{'0' * 64}", "registry:5000/a"),
        (f"postgres@sha256:{'0' * 64}", "postgres"),
    ],
)
def test_the_repository_of_an_image_is_the_part_before_its_tag_and_digest(image: str, repository: str) -> None:
    assert image_repository(image) == repository


def test_a_secret_reference_has_parts_and_an_item() -> None:
    reference = SecretReference.parse("op://Kubernetes/Invoicetron Dev/database/postgres-password")
    assert (reference.vault, reference.item) == ("Kubernetes", "Invoicetron Dev")
    assert (reference.section, reference.field) == ("database", "postgres-password")
    assert reference.of_item == ItemReference.parse("op://Kubernetes/Invoicetron Dev")
    assert SecretReference.parse("op://Kubernetes/Invoicetron Dev/postgres-password").section is None


@pytest.mark.parametrize(
    "address", ["op://vault/an item/field", "op://vault/item/section/field", 'op://vault/item/12" rack/field']
)
def test_a_secret_reference_is_written_as_it_was_read(address: str) -> None:
    assert str(SecretReference.parse(address)) == address


def test_the_field_of_an_item_is_not_tied_to_a_section() -> None:
    assert str(ItemReference.parse("op://vault/item").field("username")) == "op://vault/item/username"


@pytest.mark.parametrize(
    "address",
    [
        "hunter2",
        "op://vault/item",
        "op://vault/item/section/field/more",
        "op:/vault/item/field",
        "op://vault//field",
        "op://vault/item/ field",
        "op://vault/item/field\n",
        "op://vault/item/field?attribute=otp",
        'op://vault/the "new" item/field',
        'op://my "vault"/item/section/field',
        "OP://vault/item/field",
    ],
)
def test_an_invalid_secret_reference_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ValueError, match="op://vault/item/field") as error:
        SecretReference.parse(address)
    assert "hunter2" not in str(error.value)
