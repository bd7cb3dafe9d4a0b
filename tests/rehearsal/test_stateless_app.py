"""An app whose stack file declares no database, under the real engine and with its own pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.app_deployed import Deployed
from tests.rehearsal.cleanup import NAMESPACED

NAMESPACE = "invoicetron-dev"
STORING = ("statefulset", "cronjob", "job", "persistentvolumeclaim", "invoicetron-db", "invoicetron-migrate")


def objects(rehearsal: Rehearsal) -> list[str]:
    """The objects in the namespace, as kind/name."""
    return rehearsal.kubectl("-n", NAMESPACE, "get", NAMESPACED, "-o", "name").split()


def without_database(rehearsal: Rehearsal) -> None:
    """Reduces dev's stack file to what a stateless app needs."""
    for section in ("backup", "secrets"):
        rehearsal.program.run("config", "rm", "--stack", "dev", "--path", f"invoicetron:{section}")
    rehearsal.configure("dev", "database.enabled", "false")


def test_a_stateless_app_is_deployed_by_its_pipeline_and_has_no_storage(rehearsal: Rehearsal, tmp_path: Path) -> None:
    rehearsal.program.init("dev")
    without_database(rehearsal)
    rehearsal.configure("dev", "cluster.apiUrl", rehearsal.control_plane.url)
    rehearsal.program.up("dev")
    assert not rehearsal.program.up("dev", "--skip-preview").changes
    stands = objects(rehearsal)
    assert stands
    assert not [one for one in stands if any(word in one for word in STORING)]

    passed, output = Deployed(rehearsal, tmp_path / "app").job("deploy:development", BACKUP="yes")
    assert passed, output
    assert "Migrating" not in output
    deployment = rehearsal.get("deployment", "invoicetron", namespace=NAMESPACE)
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert "placeholder" not in image
    assert not rehearsal.program.up("dev", "--skip-preview").changes

    rehearsal.program.destroy("dev", "--skip-preview")
    assert NAMESPACE not in rehearsal.kubectl("get", "namespaces", "-o", "name")


def test_an_existing_database_cannot_be_switched_off(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    before = objects(rehearsal)
    without_database(rehearsal)
    with pytest.raises(EngineError, match="database is switched off, and the claim data-invoicetron-db-0") as refused:
        rehearsal.program.up("dev", "--skip-preview")
    assert "backup is switched off" in str(refused.value)
    assert objects(rehearsal) == before
