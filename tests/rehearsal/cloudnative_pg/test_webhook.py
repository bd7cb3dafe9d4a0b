"""The operator's real webhook as a second safeguard: our settings already refuse what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ops.clients import dynamic_client
from rehearsal.cluster.controlplane import ControlPlane
from tests.rehearsal.cloudnative_pg.operated import answer
from tests.unit.program import run
from tests.unit.stack_files import refusal, with_value

ENGINE = {"engine": "cloudnative-pg"}


@pytest.fixture(scope="module")
def clusters(operated_plane: ControlPlane) -> Iterator[Any]:
    with operated_plane.client() as client:
        yield dynamic_client(client).resources.get(api_version="postgresql.cnpg.io/v1", kind="Cluster")


def made(**database: Any) -> dict[str, Any]:
    """The Cluster that the program makes from these settings."""
    inputs = (
        run("dev", {f"database.{key}": value for key, value in {**ENGINE, **database}.items()}).one("Cluster").inputs
    )
    return {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "x"}, "spec": inputs["spec"]}


@pytest.mark.parametrize(
    "database",
    [
        {},
        {"instances": 1},
        {"instances": 2, "synchronous": "preferred"},
        {"instances": 9, "synchronous": "required", "size": "100Ti", "storageClass": "other"},
        {"parameters": {"min_wal_size": "32MB", "max_wal_size": "64MB"}},
        {"image": "postgres:17-alpine", "operandImage": "ghcr.io/cloudnative-pg/postgresql:17.9-minimal-trixie"},
        {"operandImage": f"mirror.example.com:5000/cnpg/postgresql:18.3@sha256:{'0' * 64}"},
    ],
)
def test_the_webhook_accepts_what_the_settings_allow(clusters: Any, database: dict[str, Any]) -> None:
    assert answer(clusters, made(**database)) == ""


IMAGE = "ghcr.io/cloudnative-pg/postgresql"
DIGEST = f"{IMAGE}@sha256:{'0' * 64}"
ONE = {"instances": 1, "synchronous": "required"}


@pytest.mark.parametrize(
    ("path", "bad", "database", "said"),
    [
        ("storage.size", "nonsense", {"size": "nonsense"}, "Size value isn't valid"),
        ("storage.size", "", {"size": ""}, "Size not configured"),
        ("imageName", f"{IMAGE}:latest", {"operandImage": f"{IMAGE}:latest"}, "Can't use 'latest'"),
        ("imageName", DIGEST, {"operandImage": DIGEST}, "just the image sha"),
        ("imageName", f"{IMAGE}:trixie", {"operandImage": f"{IMAGE}:trixie"}, "invalid version tag"),
        ("instances", 0, {"instances": 0}, "greater than or equal to 1"),
        ("instances", 1, ONE, "must be less than the total number of instances"),
        (
            "postgresql.synchronous.dataDurability",
            "sometimes",
            {"instances": 3, "synchronous": "sometimes"},
            "Unsupported value",
        ),
        (
            "resources.requests.memory",
            "64Gi",
            {
                "resources": {
                    "requests": {"cpu": "1", "memory": "64Gi"},
                    "limits": {"cpu": "1", "memory": "1Gi"},
                }
            },
            "Memory request is greater than the limit",
        ),
        (
            "resources.requests.cpu",
            "64",
            {"resources": {"requests": {"cpu": "64", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}},
            "CPU request is greater than the limit",
        ),
        (
            "postgresql.parameters.min_wal_size",
            "1GB",
            {"parameters": {"min_wal_size": "1GB"}},
            "should be smaller than parameter max_wal_size",
        ),
        (
            "postgresql.parameters.max_wal_size",
            "64MB",
            {"parameters": {"max_wal_size": "64MB"}},
            "should be smaller than parameter max_wal_size",
        ),
    ],
)
def test_the_settings_already_refuse_what_the_webhook_refuses(
    clusters: Any, path: str, bad: Any, database: dict[str, Any], said: str
) -> None:
    body = made(instances=3, synchronous="required")
    *above, last = path.split(".")
    target = body["spec"]
    for key in above:
        target = target[key]
    target[last] = bad
    assert said in answer(clusters, body)
    message = refusal("dev", with_value("dev", "database", {**ENGINE, **database}))
    assert "invoicetron:database." in message
    assert "1 mistake." in message
