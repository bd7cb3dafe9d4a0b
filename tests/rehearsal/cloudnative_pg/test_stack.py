"""The life of both stacks whose database CloudNativePG's real operator runs: up, changes, losses, backup, restore."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.cloudnative_pg import HEALTHY
from rehearsal.engine import EngineError
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal
from tests.database.invoices import content
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.cloudnative_pg.operated import CLUSTER, Stack, refused, wait_until


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_stack_keeps_its_promises_throughout_its_life(operated: Rehearsal, stack: str) -> None:
    rows = list(Lifecycle(operated, stack, operated=True, previewed=False).rows())
    assert [f"{row.step}: {row.result}" for row in rows if not row.ok] == []
    assert rows[-1].step == "destroy"


def test_the_life_of_dev(operated: Rehearsal) -> None:
    stack = Stack.configured(operated, "dev")
    program = operated.program
    program.up("dev")
    cluster = stack.cluster()
    assert cluster["status"]["readyInstances"] == cluster["spec"]["instances"] == 2
    assert program.outputs("dev")["database_host"] == f"{CLUSTER}-rw"
    assert not program.up("dev", "--skip-preview").changes

    # A namespace that enforces `restricted` would refuse nothing that the operator makes.
    level = "pod-security.kubernetes.io/enforce=restricted"
    command = ("label", "namespace", stack.namespace, level, "--overwrite", "--dry-run=server", "-o", "name")
    assert "violate" not in stack.kubectl_says(*command)

    # A new password in 1Password reaches the role's Secret and the app, and restarts no instance.
    before, pods = stack.secret(f"{CLUSTER}-owner")["password"], stack.pods()
    administrators = stack.secret(f"{CLUSTER}-admin")["password"]
    operated.onepassword.rotate("dev")
    program.up("dev", "--skip-preview")
    assert stack.secret(f"{CLUSTER}-owner")["password"] != before
    assert stack.secret(f"{CLUSTER}-admin")["password"] == administrators
    assert stack.pods() == pods
    exported = json.dumps(program.export("dev"))
    assert administrators not in exported

    # A new image: the standby first, then a switch-over, all of it within the quota.
    primary = stack.cluster()["status"]["currentPrimary"]
    stack.set("operandImage", newer := "ghcr.io/cloudnative-pg/postgresql:18.7-minimal-trixie")
    program.up("dev", "--skip-preview")
    wait_until(lambda: stack.images() == {newer} and stack.cluster()["status"]["phase"] == HEALTHY, "the new image")
    assert stack.cluster()["status"]["currentPrimary"] != primary
    assert "exceeded quota" not in operated.kubectl("-n", stack.namespace, "get", "events", "-o", "wide")
    assert not program.preview("dev").changes

    # The primary's pod is lost: the standby takes over, and the old one comes back as a standby.
    primary = stack.cluster()["status"]["currentPrimary"]
    operated.kubectl("-n", stack.namespace, "delete", "pod", primary, "--grace-period=0", "--force")
    wait_until(
        lambda: (
            stack.cluster()["status"]["currentPrimary"] != primary and stack.cluster()["status"]["phase"] == HEALTHY
        ),
        "the standby takes over",
    )

    # One more standby, for which the same `up` makes room in the quota.
    stack.set("instances", "3")
    program.up("dev", "--skip-preview")
    wait_until(lambda: stack.cluster()["status"]["readyInstances"] == 3, "the third instance")

    program.destroy("dev", "--skip-preview")
    assert not program.export("dev")["deployment"].get("resources")


def test_changes_that_a_live_stack_cannot_take_are_refused(operated: Rehearsal) -> None:
    """The other engine, in both directions; a smaller volume; and an empty Cluster in place of a lost one."""
    stack, program = Stack.configured(operated, "dev"), operated.program
    program.up("dev", "--skip-preview")
    stack.set("engine", "statefulset")
    assert "set database.engine: cloudnative-pg" in refused(stack)
    stack.set("engine", "cloudnative-pg")
    stack.set("size", "5Gi")
    said = refused(stack)
    assert said.count("set database.size to 10Gi or more") == 2
    stack.unset("size")
    uid = stack.cluster()["metadata"]["uid"]
    operated.kubectl("-n", stack.namespace, "delete", "cluster", CLUSTER)
    assert f"lostClaim {uid}" in refused(stack)
    stack.set("lostClaim", uid)
    program.up("dev", "--skip-preview")
    assert stack.cluster()["metadata"]["uid"] != uid
    program.destroy("dev", "--skip-preview")
    stack.set("engine", "statefulset")
    program.up("dev", "--skip-preview")
    stack.set("engine", "cloudnative-pg")
    assert "set database.engine: statefulset" in refused(stack)


def test_the_life_of_prod(operated: Rehearsal) -> None:
    stack = Stack.configured(operated, "prod", instances="3", synchronous="required")
    program = operated.program
    program.up("prod")
    assert not program.preview("prod").changes
    assert {volume["spec"]["persistentVolumeReclaimPolicy"] for volume in stack.volumes()} == {"Retain"}

    # An instance that was created since: the next `up` retains its volume.
    (standby, *_) = (pod for pod in stack.pods() if pod != stack.cluster()["status"]["currentPrimary"])
    operated.kubectl("-n", stack.namespace, "delete", "pvc,pod", standby, "--grace-period=0", "--force", "--wait=false")
    wait_until(lambda: standby not in stack.pods() and len(stack.pods()) == 3, "another standby")
    wait_until(lambda: stack.cluster()["status"]["phase"] == HEALTHY, "all is well")
    program.up("prod", "--skip-preview")
    assert {volume["spec"]["persistentVolumeReclaimPolicy"] for volume in stack.volumes()} == {"Retain"}

    with pytest.raises(EngineError, match="protect"):
        program.destroy("prod")
    assert stack.cluster()["status"]["phase"] == HEALTHY

    # The Cluster is deleted by hand: its volumes stay, and no empty one takes its place.
    kept, uid = {volume["metadata"]["name"] for volume in stack.volumes()}, stack.cluster()["metadata"]["uid"]
    operated.kubectl("-n", stack.namespace, "delete", "cluster", CLUSTER)
    assert uid in refused(stack)
    program.run("state", "unprotect", "--all", "--yes", "--stack", "prod")
    program.destroy("prod", "--skip-preview")
    assert kept <= set(operated.kubectl("get", "pv", "-o", "jsonpath={.items[*].metadata.name}").split())
    assert not program.export("prod")["deployment"].get("resources")


def test_a_backup_is_restored_with_its_owners_and_a_foreign_dump_becomes_the_app_s(
    operated: Rehearsal, tmp_path: Path
) -> None:
    backed_up = BackedUp(rehearsal=operated)
    stack = Stack.configured(operated, "dev")
    operated.program.up("dev", "--skip-preview")
    server = backed_up.server
    server.sql("SET ROLE invoicetron; CREATE TABLE invoices (id serial PRIMARY KEY, note text)")
    server.sql("INSERT INTO invoices (note) SELECT md5(n::text) FROM generate_series(1, 300) AS n")
    before = content(server)
    done = backed_up.ops("backup")
    assert done.returncode == 0, done.stdout
    server.sql("DELETE FROM invoices WHERE id > 10")
    done = backed_up.ops("restore", "--from", "latest", "--yes")
    assert done.returncode == 0, done.stdout
    assert content(server) == before
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert server.sql(owners) == "invoicetron"

    # As the app's role, with the app's password, over TCP.
    password = stack.secret(f"{CLUSTER}-owner")["password"]
    environment = server.environment(PGUSER="invoicetron", PGPASSWORD=password)
    asked: list[str | Path] = [server.bin / "psql", "-XAt", "-c", "SELECT count(*) FROM invoices"]
    assert server.run(asked, env=environment, capture_output=True).stdout.strip() == "300"

    dump = tmp_path / "dump"
    (taken,) = (name for name in backed_up.backups() if name.startswith("invoicetron-"))
    dump.write_bytes(backed_up.dump(taken).read_bytes())
    server.sql("ALTER TABLE invoices OWNER TO postgres")
    done = backed_up.ops("restore", "--from", str(dump), "--expect", "invoices=300", "--yes")
    assert done.returncode == 0, done.stdout
    assert server.sql(owners) == "invoicetron"
    assert server.run(asked, env=environment, capture_output=True).stdout.strip() == "300"

    # The drill restores the same backup in a separate server.
    operated.kubectl("-n", stack.namespace, "create", "job", "drill", "--from=cronjob/invoicetron-db-drill")
    operated.kubectl("-n", stack.namespace, "wait", "job/drill", "--for=condition=complete", "--timeout=120s")


def test_verify_sees_the_operator_the_instances_and_their_volumes(
    operated: Rehearsal,
) -> None:
    stack = Stack.configured(operated, "dev")
    operated.program.up("dev", "--skip-preview")
    done = BackedUp(rehearsal=operated).ops("verify", "--json")
    checks = {one["check"]: one for one in json.loads(done.stdout[done.stdout.index("{") :])["checks"]}
    ours = {name: one for name, one in checks.items() if "database" in name}
    assert {name for name, one in ours.items() if one["ok"]} == {
        "database-operator",
        "database",
        "database-volume",
        "database-role",
        "secret-database",
    }, ours
    assert "2 of 2 instances ready, primary invoicetron-db-1" in ours["database"]["seen"]
    operated.kubectl("-n", "cnpg-system", "scale", "deployment", "cnpg-controller-manager", "--replicas=0")
    try:
        wait_until(
            lambda: (
                '"availableReplicas"'
                not in operated.kubectl(
                    "-n", "cnpg-system", "get", "deployment", "cnpg-controller-manager", "-o", "json"
                )
            ),
            "no operator is available",
        )
        done = BackedUp(rehearsal=operated).ops("verify", "--json")
        assert "The operator is not available" in done.stdout
        assert "The operator is not available" in refused(stack)
    finally:
        operated.kubectl("-n", "cnpg-system", "scale", "deployment", "cnpg-controller-manager", "--replicas=1")


def test_a_cluster_without_the_operator_is_refused_before_anything_is_made(rehearsal: Rehearsal) -> None:
    stack = Stack.configured(rehearsal, "dev")
    assert "CloudNativePG is not installed" in refused(stack)
    assert stack.namespace not in rehearsal.kubectl("get", "namespaces", "-o", "name")
