"""postgres_exporter and the dashboard on a real API server: adding and removing them does not affect the database."""

from __future__ import annotations

from typing import Any

from rehearsal.rehearsal import Rehearsal
from tests.stacks import DEV

ITEM = "Invoicetron Monitor"


def test_adding_and_removing_the_exporter_and_the_dashboard_does_not_restart_the_database(rehearsal: Rehearsal) -> None:
    program = rehearsal.program
    program.init("dev")
    program.up("dev", "--skip-preview")
    before = pod(rehearsal)

    rehearsal.onepassword.put(ITEM, {"password": "a-password-of-the-exporter"})
    rehearsal.configure("dev", "monitoring.databaseMetrics.password", f"op://Kubernetes/{ITEM}/password")
    rehearsal.configure("dev", "monitoring.dashboard", "true")
    added = program.up("dev", "--skip-preview")
    assert set(added.changes.values()) <= {"create", "update"}  # the quota and the database's policy have room for it
    found = get(rehearsal, "deployment,podmonitor,configmap")
    assert {"invoicetron-db-exporter", "invoicetron-dashboard"} <= {each["metadata"]["name"] for each in found}
    (exporter,) = [each for each in found if each["kind"] == "Deployment" and "exporter" in each["metadata"]["name"]]
    assert exporter["status"]["readyReplicas"] == 1
    assert not program.up("dev", "--skip-preview").changes

    program.run("config", "rm", "--stack", "dev", "invoicetron:monitoring")
    program.up("dev", "--skip-preview")
    assert not [each for each in get(rehearsal, "deployment,podmonitor") if "exporter" in each["metadata"]["name"]]
    assert pod(rehearsal) == before


def get(rehearsal: Rehearsal, kinds: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rehearsal.get(kinds, namespace=DEV.namespace)["items"]
    return found


def pod(rehearsal: Rehearsal) -> str:
    """UID of the database's pod."""
    return str(rehearsal.get("pod", f"{DEV.database}-0", namespace=DEV.namespace)["metadata"]["uid"])
