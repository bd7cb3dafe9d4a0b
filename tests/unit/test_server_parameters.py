"""`database.parameters`: the server's parameters fit its container, and those that would break it are refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import Settings
from settings.database import DatabaseSettings
from settings.parameters import ServerParameters, amount
from tests.stacks import DEV
from tests.unit.program import Program, run
from tests.unit.program import amount as quantity
from tests.unit.stack_files import refusal, refusal_of, with_value


def pod(program: Program) -> dict[str, Any]:
    """The database's pod."""
    spec: dict[str, Any] = program.one("StatefulSet").inputs["spec"]["template"]["spec"]
    return spec


def arguments(program: Program) -> dict[str, str]:
    """The parameters on the server's command line, by name."""
    (container,) = pod(program)["containers"]
    return dict(word.removeprefix("--").split("=", 1) for word in container["args"])


def test_parameters_of_the_stack_file_reach_the_server_with_the_defaults(dev: Program) -> None:
    chosen = run("dev", {"database.parameters": {"work_mem": "2MB", "jit": False, "random_page_cost": 1.1}})
    changed = dict(arguments(chosen).items() - arguments(dev).items())
    assert changed == {"work_mem": "2MB", "jit": "off", "random_page_cost": "1.1"}
    assert amount(arguments(dev)["lock_timeout"]) > 0
    assert amount(arguments(dev)["idle_in_transaction_session_timeout"]) > 0


@given(st.integers(min_value=2**24, max_value=2**40))
def test_the_defaults_fit_every_memory_limit(limit: int) -> None:
    assert ServerParameters().at_most(Decimal(limit)) <= limit


@given(st.integers(min_value=2**28, max_value=2**34), st.integers(20, 1000), st.integers(1, 16))
def test_more_connections_and_workers_share_the_same_memory(limit: int, connections: int, workers: int) -> None:
    parameters = ServerParameters(max_connections=connections, autovacuum_max_workers=workers)
    assert parameters.at_most(Decimal(limit)) <= limit


def test_the_buffers_follow_the_memory_limit() -> None:
    resources = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"cpu": "1", "memory": "4Gi"}}
    assert amount(arguments(run("dev", {"database.resources": resources}))["shared_buffers"]) == 2**30


def test_the_memory_that_the_server_may_use_is_requested(program: Program) -> None:
    (container,) = pod(program)["containers"]
    resources = container["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]


def test_shared_memory_is_a_sized_part_of_the_containers(program: Program) -> None:
    (container,) = pod(program)["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == "/dev/shm"]  # noqa: S108
    (volume,) = [one for one in pod(program)["volumes"] if one["name"] == mount["name"]]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert quantity(volume["emptyDir"]["sizeLimit"]) * 4 == quantity(container["resources"]["limits"]["memory"])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"shared_buffers": "900MB"}, "in all"),
        ({"work_mem": "16MB"}, "max_connections times work_mem"),
        ({"maintenance_work_mem": "256MB"}, "autovacuum_max_workers times maintenance_work_mem"),
        ({"max_locks_per_transaction": 4096, "max_connections": 1000}, "and the locks together"),
    ],
)
def test_parameters_that_exceed_the_memory_limit_are_refused_with_the_sum(
    parameters: dict[str, str], said: str
) -> None:
    message = refusal_of("database.parameters", parameters)
    assert said in message
    assert "1Gi (resources.limits.memory)" in message


@pytest.mark.parametrize("name", ["max_wal_size", "min_wal_size"])
def test_a_log_that_fills_the_volume_is_refused(name: str) -> None:
    message = refusal_of("database.parameters", {"max_wal_size": "5GB", name: "6GB"})
    assert f"invoicetron:database.parameters.{name}\n" in message
    assert "at most half of 10Gi" in message
    assert Settings.load(DEV, with_value("dev", "database.parameters", {"max_wal_size": "5GB", name: "5GB"}))


@pytest.mark.parametrize(
    ("size", "most"), [("1Gi", "512MB"), ("1.5Gi", "768MB"), ("2G", "953MB"), ("2Gi", None), ("10Gi", None)]
)
def test_by_default_the_log_takes_no_more_than_half_of_a_small_volume(size: str, most: str | None) -> None:
    config = with_value("dev", "database.size", size)
    assert database_of(config).server_parameters.get("max_wal_size") == most
    config["database"]["parameters"] = {"max_wal_size": "64MB"}
    assert database_of(config).server_parameters["max_wal_size"] == "64MB"


def test_the_minimum_is_compared_with_what_the_log_takes_on_a_small_volume() -> None:
    small = {"engine": "cloudnative-pg", "size": "1Gi", "parameters": {"min_wal_size": "512MB"}}
    assert "a min_wal_size below max_wal_size" in refusal("dev", with_value("dev", "database", small))


def database_of(config: dict[str, Any]) -> DatabaseSettings:
    database = Settings.load(DEV, config).database
    assert database is not None
    return database


@pytest.mark.parametrize(
    ("parameters", "most"),
    [
        ({"min_wal_size": "2GB"}, "1GB"),
        ({"min_wal_size": "1025MB"}, "1GB"),
        ({"min_wal_size": "1GB", "max_wal_size": "512MB"}, "512MB"),
    ],
)
def test_a_minimum_log_size_above_the_maximum_is_refused(parameters: dict[str, str], most: str) -> None:
    message = refusal_of("database.parameters", parameters)
    assert "invoicetron:database.parameters.min_wal_size\n" in message
    assert f"at most max_wal_size ({most})" in message
    for fits in ({"min_wal_size": "1GB"}, {"max_wal_size": "64MB"}, {"min_wal_size": "2GB", "max_wal_size": "2GB"}):
        assert Settings.load(DEV, with_value("dev", "database.parameters", fits))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fsync", "lose or damage invoices"),
        ("full_page_writes", "lose or damage invoices"),
        ("synchronous_commit", "lose or damage invoices"),
        ("listen_addresses", "find the server"),
        ("data_directory", "find the server"),
        ("hba_file", "find the server"),
        ("archive_mode", "an archive of its log"),
        ("archive_command", "an archive of its log"),
        ("default_transaction_read_only", "backups and restores"),
        ("shared_preload_libraries", "does not start"),
        ("log_statement", "hashes of passwords"),
        ("FSYNC", "lose or damage invoices"),
    ],
)
def test_parameters_that_would_break_the_server_or_its_safety_are_refused_with_the_reason(
    name: str, reason: str
) -> None:
    message = refusal_of("database.parameters", {name: "off"})
    assert f"invoicetron:database.parameters.{name}\n" in message
    assert reason in message


def test_every_parameter_that_cannot_be_set_is_named_at_once() -> None:
    config = with_value("prod", "database.parameters", {"fsync": "off", "port": 5433, "workmem": "4MB"})
    message = refusal("prod", config)
    assert "3 mistakes" in message
    assert "did you mean work_mem?" in message


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("work_mem", "8Mi", "did you mean 8MB?"),
        ("work_mem", "8mb", "did you mean 8MB?"),
        ("work_mem", "8 MB", "did you mean 8MB?"),
        ("lock_timeout", "30S", "did you mean 30s?"),
        ("work_mem", 4096, None),
        ("work_mem", "0", None),
        ("work_mem", "-1", None),
        ("work_mem", "1kB", None),
        ("lock_timeout", 30, None),
        ("lock_timeout", "5 minutes", None),
        ("lock_timeout", True, None),
        ("lock_timeout", False, None),
        ("lock_timeout", "30s\n", "did you mean 30s?"),
        ("lock_timeout", "30s -c fsync=off", None),
        ("lock_timeout", "٣s", None),
        ("max_connections", 5, None),
        ("max_connections", "100", None),
        ("jit", "maybe", None),
        ("random_page_cost", float("nan"), None),
        ("random_page_cost", float("inf"), None),
    ],
)
def test_a_value_that_postgresql_would_reject_or_misread_is_refused(name: str, value: object, fix: str | None) -> None:
    message = refusal_of("database.parameters", {name: value})
    assert f"invoicetron:database.parameters.{name}\n" in message
    assert "allowed:" in message
    assert fix is None or fix in message


@pytest.mark.parametrize(("name", "value"), [("lock_timeout", 0), ("lock_timeout", "0"), ("temp_file_limit", -1)])
def test_a_limit_can_be_taken_away(name: str, value: object) -> None:
    settings = Settings.load(DEV, with_value("dev", "database.parameters", {name: value}))
    assert settings.database
    assert settings.database.server_parameters[name] == str(value)
