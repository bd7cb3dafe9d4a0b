"""The settings: what a stack file may say, and how its mistakes are reported."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from settings import Settings, SettingsError
from settings.names import Names
from tests.stacks import DEV, PROD, PROJECT
from tests.unit.stack_files import refusal, refusal_of, sections, with_value

NAMES = ["dev", "prod"]


@pytest.mark.parametrize("stack", NAMES)
def test_the_stack_files_are_right(stack: str) -> None:
    assert Settings.load(Names(PROJECT, stack), sections(stack)).namespace == f"invoicetron-{stack}"


@pytest.mark.parametrize("stack", NAMES)
def test_the_stack_files_hold_no_secret(stack: str) -> None:
    for reference in sections(stack)["secrets"].values():
        assert reference.startswith("op://")


def test_prod_has_what_dev_lacks() -> None:
    dev, prod = Settings.load(DEV, sections("dev")), Settings.load(PROD, sections("prod"))
    only_in_prod = [(stack.protect, stack.access.public, stack.monitoring, stack.repository) for stack in (dev, prod)]
    assert not any(only_in_prod[0])
    assert all(only_in_prod[1])


def test_settings_cannot_be_changed_after_loading() -> None:
    settings = Settings.load(DEV, sections("dev"))
    with pytest.raises(ValueError, match="frozen"):
        settings.stack = "other"


def test_registry_credentials_are_the_item_s_username_and_password() -> None:
    registry = Settings.load(
        DEV, {**sections("dev"), "registry": {"server": "registry.k8s.rommelporras.com", "item": "op://v/i"}}
    ).registry
    assert (str(registry.username), str(registry.password)) == ("op://v/i/username", "op://v/i/password")


def test_a_disabled_section_is_absent() -> None:
    assert Settings.load(PROD, {**sections("prod"), "backup": {"enabled": False}}).backup is None


def test_an_empty_section_stands_for_its_defaults() -> None:
    backup = Settings.load(PROD, {**sections("prod"), "backup": {}}).backup
    assert backup is not None
    assert backup.retention.daily == 7


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("cluster.apiUrl", "http://api.example.com"),
        ("database.image", "postgres:latest"),
        ("database.size", "10 Gi"),
        ("database.storageClass", "long_horn"),
        ("access.gateway.listener", "HTTPS"),
        ("access.public.tunnelId", "homelab"),
        ("access.public.sessionDuration", "1d"),
        ("backup.schedule", "0 3 * *"),
        ("backup.schedule", "0 3 * * 1-5"),
        ("backup.drillSchedule", "0 4 1 * *"),
        ("backup.timeZone", "Manila"),
        ("monitoring.prober", "blackbox:9115"),
        ("backup.nfs", {"server": "nas.example.com", "path": "exports"}),
        ("delivery.environment.tier", "prod"),
        ("repository.mirror", "https://github.com/rommelporras/invoicetron.git"),
    ],
)
def test_a_mistake_is_reported_with_its_key_its_value_and_what_is_allowed(path: str, value: object) -> None:
    message = refusal_of(path, value)
    key = f"{path}.path" if isinstance(value, dict) else path
    given = value["path"] if isinstance(value, dict) else value
    assert f"  invoicetron:{key}\n      given:   {given!r}\n      allowed: " in message
    assert "Edit Pulumi.prod.yaml" in message


@pytest.mark.parametrize(
    ("path", "value", "allowed"),
    [
        ("protect", "yes", "a valid boolean"),
        ("backup.retention.daily", 0, "greater than or equal to 1"),
        ("backup.retention.daily", "7", "a valid integer"),
        ("repository.hostKeys", "github.com", "a list"),
        ("cluster.context", "", "at least 1 character"),
    ],
)
def test_values_of_another_type_are_refused(path: str, value: object, allowed: str) -> None:
    assert allowed in refusal_of(path, value)


def test_all_mistakes_are_reported_together() -> None:
    config = sections("prod") | {"namespace": "x_y", "protect": False, "app": {"image": "a b"}, "extra": 1}
    config["access"]["public"]["hostname"] = "invoicetron.example.org"
    config["backup"]["schedule"] = "daily"
    message = refusal("prod", config)
    assert "6 mistakes" in message
    for key in ("namespace", "protect", "app.image", "extra", "access.public.hostname", "backup.schedule"):
        assert f"\n  invoicetron:{key}\n" in message


def test_an_unknown_key_is_refused_with_the_allowed_ones_and_the_nearest() -> None:
    message = refusal_of("access.hostnam", "a.example.com")
    assert "invoicetron:access.hostnam\n" in message
    assert "gateway, hostname, hostnames, public" in message
    assert "did you mean hostname?" in message


def test_an_unknown_section_is_refused_with_the_allowed_ones_and_the_nearest() -> None:
    message = refusal_of("databse", {})
    assert "access, app, backup, cluster, database" in message
    assert "did you mean database?" in message
    assert "repository, secrets\n" in message


def test_a_path_written_as_one_key_is_refused_with_the_way_to_set_it() -> None:
    message = refusal("dev", {**sections("dev"), "database.size": "20Gi"})
    assert "pulumi config set --path" in message


def test_keys_are_spelled_as_in_the_stack_file() -> None:
    assert "invoicetron:secrets.postgres_password\n" in refusal_of("secrets.postgres_password", "op://a/b/c")


@pytest.mark.parametrize("path", ["secrets", "secrets.postgresPassword", "access.public.zone"])
def test_a_missing_key_is_reported(path: str) -> None:
    message = refusal_of(path, None)
    assert f"invoicetron:{path}\n      given:   nothing\n" in message


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("registry.item", "op://vault/item"),
        ("delivery.project", "a value, for example 0xwsh/invoicetron"),
        ("delivery.environment", "a mapping with the keys name, tier"),
        ("delivery.environment.tier", "production, staging, testing, development or other"),
        ("access.public.tunnel", "a value; the key is required"),
    ],
)
def test_a_missing_key_is_reported_with_what_it_takes(path: str, allowed: str) -> None:
    assert f"invoicetron:{path}\n      given:   nothing\n      allowed: {allowed}" in refusal_of(path, None)


SECRET = "correct-horse-battery"
TOKENS = [
    "glpat-abcdefghij1234567890",
    "eyJhbGciOiJIUzI1NiJ9",
    "postgresql://user:word@host/db",
    "3f2a9c0d1e4b5a69788f7e6d5c4b3a2f",
]


@pytest.mark.parametrize(
    "path", ["secrets.postgresPassword", "secrets.betterAuthSecret", "registry.item", "secrets", "app"]
)
def test_a_secret_in_place_of_its_address_is_not_repeated(path: str) -> None:
    message = refusal_of(path, SECRET)
    assert SECRET not in message
    assert "not shown" in message
    assert ("keep the value in 1Password" in message) == ("." in path)


@pytest.mark.parametrize("path", ["secrets.postgresPassword", "secrets.databaseUrl", "registry.item", "app.image"])
@pytest.mark.parametrize("begin", ["op://", "op:///", "op://Kubernetes/Item/field/section/"])
def test_a_secret_behind_the_beginning_of_an_address_is_not_repeated(path: str, begin: str) -> None:
    for secret in [SECRET, *TOKENS]:
        assert secret not in refusal_of(path, f"{begin}{secret}/")


@pytest.mark.parametrize(
    "place", ["op://{}/item/field", "op://vault/{}/field", "op://vault/item/{}/field", "op://a/b/{}"]
)
def test_a_token_as_a_part_of_an_address_is_refused_and_not_repeated(place: str) -> None:
    # Assembled here, so that no secret scanner takes them for real tokens.
    begins = (
        "glpat-",
        "gloas-",
        "glcbt-",
        "ghp_",
        "ghs_",
        "github_pat_",
        "ops_eyJ",
        "eyJ",
        "cfut_",
        "xoxb-",
        "sk_live_",
        "hvs.",
    )
    for token in [*(f"{begin}abcdefghij1234567890" for begin in begins), "AKIA" + "IOSFODNN7EXAMPLE"]:
        message = refusal_of("secrets.postgresPassword", place.format(token))
        assert token not in message
        assert "keep the value in 1Password" in message


def test_an_address_with_parameters_is_refused_with_a_remedy() -> None:
    message = refusal_of("secrets.postgresPassword", "op://Kubernetes/Invoicetron/password?attribute=otp")
    assert "op:// and 3 parts" in message
    assert "as its UUID" in message


def test_the_value_of_an_unknown_key_is_not_repeated() -> None:
    assert SECRET not in refusal_of("secrets.password", SECRET)


@pytest.mark.parametrize("path", ["app.image", "access.hostname", "namespace", "delivery.branch"])
@pytest.mark.parametrize("token", TOKENS)
def test_a_value_that_looks_like_a_secret_is_not_repeated_anywhere(path: str, token: str) -> None:
    with_token = with_value("prod", path, f"{token}?~ ^:")
    assert token not in refusal("prod", with_token)


def test_values_of_a_section_that_pulumi_encrypts_are_not_repeated() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load(DEV, with_value("dev", "app.image", "short"), hidden={"app"})
    assert "'short'" not in str(error.value)


@pytest.mark.parametrize("protect", [False, None])
def test_prod_is_protected(protect: bool | None) -> None:
    assert "its database" in refusal_of("protect", protect)


def test_other_stacks_need_no_protection() -> None:
    assert not Settings.load(DEV, sections("dev")).protect


def test_the_image_is_in_the_registry_that_the_credentials_are_for() -> None:
    message = refusal_of("app.image", "ghcr.io/someone/invoicetron:1")
    assert "registry.k8s.rommelporras.com" in message
    assert "invoicetron:app.image\n" in message


@pytest.mark.parametrize("amount", ["cpu", "memory"])
def test_requests_do_not_exceed_limits(amount: str) -> None:
    resources = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    assert Settings.load(DEV, with_value("dev", "database.resources", resources))
    resources["limits"][amount] = {"cpu": "999m", "memory": "1023Mi"}[amount]
    message = refusal_of("database.resources", resources)
    assert f"invoicetron:database.resources.limits.{amount}\n" in message
    assert f"requests.{amount}" in message


def test_the_public_hostname_is_inside_its_zone() -> None:
    assert "inside the zone rommelporras.com" in refusal_of("access.public.hostname", "invoicetron.notrommelporras.com")


def test_the_public_hostname_is_not_the_internal_one() -> None:
    assert "without Cloudflare Access" in refusal_of("access.public.hostname", "invoicetron.k8s.rommelporras.com")


@pytest.mark.parametrize(
    ("credentials", "right"),
    [
        ({"issue": True, "expires": "2099-12-31"}, True),
        ({"issue": False}, True),
        ({}, True),
        ({"issue": True}, False),
        ({"issue": False, "expires": "2099-12-31"}, False),
    ],
)
def test_issued_pull_credentials_and_only_those_have_an_expiry(credentials: dict[str, Any], right: bool) -> None:
    if right:
        Settings.load(PROD, with_value("prod", "delivery.pullCredentials", credentials))
    else:
        assert "pullCredentials.expires" in refusal_of("delivery.pullCredentials", credentials)


def expiring(days: int) -> dict[str, Any]:
    """The sections of a stack whose deploy token expires in this many days."""
    day = dt.datetime.now(dt.UTC).date() + dt.timedelta(days)
    return with_value("prod", "delivery.pullCredentials", {"issue": True, "expires": day.isoformat()})


@pytest.mark.parametrize("days", [-3000, -1, 0])
def test_a_last_day_that_is_today_or_past_is_refused(days: int) -> None:
    message = refusal("prod", expiring(days))
    assert "invoicetron:delivery.pullCredentials.expires\n" in message
    assert "write a later date" in message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("delivery.pullCredentials", {"issue": True, "expires": "2020-01-01"}),
        ("delivery.renewTokenBy", "2020-01-01"),
        ("access.public.serviceToken", {"item": "op://Kubernetes/Probe", "expires": "2020-01-01"}),
    ],
)
def test_a_running_stack_can_be_inspected_and_restored_after_its_last_day(path: str, value: object) -> None:
    assert Settings.load(PROD, with_value("prod", path, value), running=True)


@pytest.mark.parametrize("day", ["3000-01-01", "3000-06-30", "9999-12-31"])
def test_a_last_day_that_gitlab_takes_for_never_is_refused(day: str) -> None:
    message = refusal_of("delivery.pullCredentials", {"issue": True, "expires": day})
    assert day in message
    assert "GitLab treats a later one as no expiry" in message


def test_a_repository_needs_the_project_that_delivery_names() -> None:
    assert "invoicetron:repository\n" in refusal_of("delivery", None)


def test_a_public_hostname_further_down_needs_an_advanced_certificate() -> None:
    deep = {"access.public.hostname": "app.invoicetron.rommelporras.com"}
    message = refusal_of("access.public.hostname", deep["access.public.hostname"])
    assert "directly below rommelporras.com" in message
    assert "app.rommelporras.com" in message
    assert "access.public.advancedCertificate" in message
    config = with_value("prod", *deep.popitem())
    config["access"]["public"]["advancedCertificate"] = True
    assert Settings.load(PROD, config).access.public
