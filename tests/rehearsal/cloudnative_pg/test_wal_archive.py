"""A stack whose write-ahead log is archived: the real operator asks the real plugin, and the API server checks both."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import subprocess
import time
from typing import Any, Final

import pytest

from components.cloudnative_pg import HEALTHY
from components.wal_archive import PLUGIN
from ops.clients import dynamic_client
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal
from tests.database.invoices import content, fill
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.cloudnative_pg.operated import CLUSTER, Stack, answer, refused, wait_until
from tests.rehearsal.stack_files import LATER
from tests.unit.program import run
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_wal_archive import BUCKET, ENGINE, VALUES

KEYS: Final = {"accessKey": "access-key", "secretKey": "secret-key"}
ITEM: Final = "Invoicetron Archive"
IN_R2: Final = "homelab-archive-in-r2"
SIDECAR: Final = "plugin-barman-cloud"


def archiving(rehearsal: Rehearsal, name: str) -> Stack:
    """A new stack that archives its log."""
    rehearsal.onepassword.put(ITEM, {"access-key": "the-id", "secret-key": "the-secret"})
    stack = Stack.configured(rehearsal, name)
    for key, value in BUCKET.items():
        stack.set(f"wal.s3.{key}", value)
    stack.set("wal.schedule", LATER)
    return stack


def sidecars(stack: Stack) -> list[dict[str, Any]]:
    """The containers that the plugin has added to the instances' pods."""
    pods = stack.get("pods", "-l", f"cnpg.io/cluster={CLUSTER},cnpg.io/podRole=instance")["items"]
    return [one for pod in pods for one in pod["spec"].get("initContainers", []) if one["name"] == SIDECAR]


def test_the_life_of_an_archive(operated: Rehearsal) -> None:
    stack, program = archiving(operated, "dev"), operated.program
    program.up("dev", "--skip-preview")

    # The plugin's container runs beside each instance, as `restricted` demands and within the quota.
    found = sidecars(stack)
    assert len(found) == 2
    assert {one["resources"]["limits"]["memory"] for one in found} == {"512Mi"}
    assert all({"name": "AWS_REQUEST_CHECKSUM_CALCULATION", "value": "when_required"} in one["env"] for one in found)
    level = "pod-security.kubernetes.io/enforce=restricted"
    command = ("label", "namespace", stack.namespace, level, "--overwrite", "--dry-run=server", "-o", "name")
    assert "violate" not in stack.kubectl_says(*command)
    assert stack.secret("invoicetron-db-wal") == {"access-key": "the-id", "secret-key": "the-secret"}

    # The first base backup is requested at once. Nothing here takes it, and `verify` reports what follows from that.
    (backup,) = stack.get("backups.postgresql.cnpg.io")["items"]
    assert backup["spec"] == {**backup["spec"], "method": "plugin", "pluginConfiguration": {"name": PLUGIN}}
    said = BackedUp(rehearsal=operated).ops("verify", "--json").stdout
    (check,) = (one for one in json.loads(said[said.index("{") :])["checks"] if one["check"] == "wal-archive")
    assert (check["ok"], check["seen"]) == (False, "nothing has been archived yet")

    undo_a_mistake(stack)
    move_to_r2(stack)

    # Without the label on its Service the operator does not find the plugin in a cluster.
    service = ("-n", "cnpg-system", "label", "service", "barman-cloud", "--overwrite")
    operated.kubectl(*service, "cnpg.io/pluginName=another")
    try:
        assert "The operator finds no plugin barman-cloud in cnpg-system" in refused(stack)
    finally:
        operated.kubectl(*service, f"cnpg.io/pluginName={PLUGIN}")


def undo_a_mistake(stack: Stack) -> None:
    """Recovers to the moment before it: first into another database to inspect, then for good."""
    operated, backed_up = stack.rehearsal, BackedUp(rehearsal=stack.rehearsal)
    server, pods = backed_up.server, operated.control_plane.pods
    server.sql("SET ROLE invoicetron; CREATE TABLE invoices (id serial PRIMARY KEY, note text)")
    server.sql("INSERT INTO invoices (note) SELECT md5(n::text) FROM generate_series(1, 300) AS n")
    before = content(server)
    pods.remember(stack.namespace)
    moment = server.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')")
    time.sleep(1)
    server.sql("DELETE FROM invoices WHERE id > 10")
    pods.remember(stack.namespace)
    to = ("--to", str(dt.datetime.fromisoformat(moment) + dt.timedelta(seconds=1)))

    done = backed_up.ops("restore", *to, "--into", "before", "--archive", "another")
    assert done.returncode == 0, done.stdout
    assert 'rows: "invoices": 300' in done.stdout
    assert server.sql("SELECT count(*) FROM invoices") == "10"
    assert server.sql("SELECT count(*) FROM invoices", database="invoicetron_look_before") == "300"

    # The server archives nothing here, which does not prevent a recovery from what is archived already.
    uid = stack.cluster()["metadata"]["uid"]
    done = backed_up.ops("restore", *to, "--yes", "--expect", "invoices=300")
    assert done.returncode == 0, done.stdout
    assert "The recovery uses what is archived already" in done.stdout
    assert content(server) == before
    assert stack.cluster()["metadata"]["uid"] == uid
    assert not stack.get("clusters", "-l", "app=invoicetron-db-recovery")["items"]
    assert [name.partition("-0")[0] for name in backed_up.backups()] == ["before-restore", "recovered"]
    done = backed_up.ops("drill")
    assert done.returncode == 0, done.stdout
    assert 'rows: "invoices": ' in done.stdout
    assert "Recorded in the Lease invoicetron-dev-recovery" in done.stdout
    assert content(server) == before
    assert not stack.get("clusters", "-l", "app=invoicetron-db-recovery")["items"]
    assert "a drill is weekly: nothing to do" in backed_up.ops("drill", "--if-due").stdout
    # The quota had room for the recovered instance, and for the plugin's container beside it.
    assert "exceeded quota" not in operated.kubectl("-n", stack.namespace, "get", "events", "-o", "wide")


def move_to_r2(stack: Stack) -> None:
    """Moves to a bucket that `up` makes: no instance restarts, and a base backup to it is requested at once."""
    operated, cloudflare = stack.rehearsal, stack.rehearsal.cloudflare
    pods = stack.pods()
    for key in BUCKET:
        stack.unset(f"wal.s3.{key}")
    stack.set("wal.s3.serverSideEncryption", "bucket-default")
    stack.set("wal.s3.r2.accountId", cloudflare.account_id)
    stack.set("wal.s3.r2.bucket", IN_R2)
    stack.set("wal.s3.r2.item", "op://Kubernetes/Invoicetron Archive R2")
    operated.kubectl("-n", stack.namespace, "delete", "scheduledbackup", CLUSTER)
    operated.program.up("dev", "--skip-preview")

    (token,) = cloudflare.r2.tokens.values()
    secret = hashlib.sha256(token["value"].encode()).hexdigest()
    assert stack.secret("invoicetron-db-wal") == {"access-key": token["id"], "secret-key": secret, "region": "auto"}
    (policy,) = token["policies"]
    assert [*policy["resources"]] == [f"com.cloudflare.edge.r2.bucket.{cloudflare.account_id}_default_{IN_R2}"]
    assert [rule["enabled"] for rule in cloudflare.r2.rules[IN_R2]] == [False]
    store = stack.get("objectstores", CLUSTER)["spec"]["configuration"]
    assert store["destinationPath"] == f"s3://{IN_R2}/wal/{stack.namespace}"
    assert stack.pods() == pods
    wait_until(lambda: len(stack.get("backups.postgresql.cnpg.io")["items"]) == 2, "there is no second base backup")
    state = json.dumps(operated.program.export("dev"))
    assert token["value"] not in state
    assert secret not in state
    # A refresh finds exactly what was made.
    assert not operated.program.preview("dev").changes


OLD: Final = {"image": "postgres:17-alpine", "operandImage": "ghcr.io/cloudnative-pg/postgresql:17.9-minimal-trixie"}
NEW: Final = {"image": "postgres:18-alpine", "operandImage": "ghcr.io/cloudnative-pg/postgresql:18.6-minimal-trixie"}
MISSING: Final = f"{NEW['operandImage']}-placeholder"
UPGRADE: Final = ("upgrade", "--to", "18", "--yes")


def test_an_in_place_upgrade_starts_a_new_archive_and_resumes_where_it_was_killed(operated: Rehearsal) -> None:
    stack, program, ops = archiving(operated, "dev"), operated.program, BackedUp(rehearsal=operated)
    for key, value in OLD.items():
        stack.set(key, value)
    program.up("dev", "--skip-preview")
    lifecycle = Lifecycle(operated, "dev", operated=True)
    lifecycle.deploy(lifecycle.image)
    fill(ops.server)
    before = content(ops.server)
    assert (ops.server.major, ops.app()) == (17, (1, 1))

    for key, value in NEW.items():
        stack.set(key, value)
    assert "python -m ops upgrade --stack dev --to 18" in refused(stack)
    for key, value in OLD.items():
        stack.set(key, value)
    for key, value in {**NEW, "archive": "second"}.items():
        stack.set(f"upgrade.{key}", value)
    uid = stack.cluster()["metadata"]["uid"]
    assert not program.up("dev", "--skip-preview").changes
    assert "not archived: nothing has been archived yet" in ops.ops(*UPGRADE).stdout
    archives(stack)
    take_back(stack, ops)
    assert (ops.server.major, content(ops.server), ops.app()) == (17, before, (1, 1))
    assert not program.preview("dev").changes
    upgrade(stack, ops)
    assert (ops.server.major, content(ops.server), ops.app()) == (18, before, (1, 1))
    assert (server_name(stack), stack.cluster()["metadata"]["uid"]) == ("second", uid)
    backups = stack.get("backups.postgresql.cnpg.io")["items"]
    assert [one["spec"]["target"] for one in backups if "upgraded" in one["metadata"]["name"]] == ["primary"]

    # The stack file still has the old values, and `up` does not go back to them.
    program.up("dev", "--skip-preview")
    assert (stack.cluster()["spec"]["imageName"], server_name(stack)) == (NEW["operandImage"], "second")
    for key, value in {**NEW, "wal.archive": "second"}.items():
        stack.set(key, value)
    stack.unset("upgrade")
    assert not program.up("dev", "--skip-preview").changes
    done = ops.ops("backup")
    assert done.returncode == 0, done.stdout
    for key, value in OLD.items():
        stack.set(key, value)
    assert "Set it to an image of 18" in refused(stack)


def upgrade(stack: Stack, ops: BackedUp) -> None:
    """Kills the command while the operator works, which continues; then runs the command again."""
    with ops.started(*UPGRADE) as process:
        heard(process, "the operator upgrades")
        process.kill()
    assert ops.app()[0] == 0
    said = refused(stack)
    assert "would interrupt that" in said or "The app is stopped for an upgrade" in said
    done = ops.ops(*UPGRADE)
    assert done.returncode == 0, done.stdout


def take_back(stack: Stack, ops: BackedUp) -> None:
    """The image cannot be pulled, so the operator's Job does not start; then its pod fails, as a kubelet reports it."""
    stack.set("upgrade.operandImage", MISSING)
    with ops.started(*UPGRADE, before="import ops.upgrade.operated as it; it.START_PATIENCE = 3") as process:
        said, _ = process.communicate(timeout=120)
    assert "its pod did not start within 3 s: ImagePullBackOff" in said
    check_as_before(stack, said)

    with ops.started(*UPGRADE) as process:
        wait_until(lambda: bool(upgrading(stack, "pods")), "the operator's Job has a pod")
        (pod,) = upgrading(stack, "pods")
        body = ("--subresource=status", "--type=merge", "--patch", '{"status": {"phase": "Failed"}}')
        stack.rehearsal.kubectl("-n", stack.namespace, "patch", "pod", pod["metadata"]["name"], *body)
        said, _ = process.communicate(timeout=120)
    assert "its Job has failed" in said
    check_as_before(stack, said)
    stack.set("upgrade.operandImage", NEW["operandImage"])


def check_as_before(stack: Stack, said: str) -> None:
    """The operator has deleted its Job, and runs all instances on the old image."""
    assert f"putting {OLD['operandImage']} back" in said
    assert "is on PostgreSQL 17 again, as it was" in said
    assert (stack.cluster()["spec"]["imageName"], server_name(stack)) == (OLD["operandImage"], CLUSTER)
    wait_until(lambda: stack.cluster()["status"]["phase"] == HEALTHY, "both instances are back")
    assert not upgrading(stack, "jobs")
    assert OLD["operandImage"] in stack.images()


def upgrading(stack: Stack, kind: str) -> list[dict[str, Any]]:
    """The operator's Jobs that upgrade the data, or their pods."""
    labels = f"cnpg.io/cluster={CLUSTER},cnpg.io/jobRole=major-upgrade"
    found: list[dict[str, Any]] = stack.get(kind, "-l", labels)["items"]
    return found


def archives(stack: Stack) -> None:
    """Sets the Cluster's condition that its log is archived, as an instance manager would: none runs here."""
    conditions = [
        *stack.cluster()["status"]["conditions"],
        {
            "type": "ContinuousArchiving",
            "status": "True",
            "reason": "ContinuousArchivingSuccess",
            "message": "Continuous archiving is working",
            "lastTransitionTime": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        },
    ]
    body = json.dumps({"status": {"conditions": conditions}})
    command = ("patch", "cluster", CLUSTER, "--subresource=status", "--type=merge", "--patch", body)
    stack.rehearsal.kubectl("-n", stack.namespace, *command)


def server_name(stack: Stack) -> Any:
    (plugin,) = stack.cluster()["spec"]["plugins"]
    return plugin["parameters"]["serverName"]


def heard(process: subprocess.Popen[str], words: str) -> None:
    """Returns once the command has printed these words."""
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return
    pytest.fail(f"never said {words!r}:\n{''.join(said)}")


def made(kind: str, **wal: Any) -> dict[str, Any]:
    """The object that the program makes from these settings."""
    changes = {**ENGINE, "database.wal": {"s3": BUCKET, **wal}}
    one = run("dev", changes, values=VALUES).one(kind)
    return {"apiVersion": one.inputs["apiVersion"], "kind": kind, "metadata": {"name": "x"}, "spec": one.inputs["spec"]}


@pytest.mark.parametrize("kind", ["ObjectStore", "ScheduledBackup", "Cluster"])
@pytest.mark.parametrize(
    "wal",
    [
        {},
        {"schedule": "*/15 0-23/2 * * *", "retentionDays": 3650, "archive": "second"},
        {"s3": {**BUCKET, "serverSideEncryption": "aws:kms", "prefix": "a/b", "region": "auto"}},
        {"s3": {**BUCKET, "serverSideEncryption": "bucket-default"}},
    ],
)
def test_the_api_server_accepts_what_the_settings_allow(
    operated_plane: ControlPlane, kind: str, wal: dict[str, Any]
) -> None:
    body = made(kind, **wal)
    with operated_plane.client() as client:
        api = dynamic_client(client).resources.get(api_version=body["apiVersion"], kind=kind)
        assert answer(api, body) == ""


@pytest.mark.parametrize(
    ("kind", "bad", "wal", "said"),
    [
        ("ObjectStore", ("retentionPolicy", "0d"), {"retentionDays": 0}, "should match"),
        (
            "ObjectStore",
            ("configuration.wal.encryption", "aes256"),
            {"s3": {**BUCKET, "serverSideEncryption": "aes256"}},
            "Unsupported value",
        ),
        ("ObjectStore", ("configuration.destinationPath", ""), {"s3": {**BUCKET, "bucket": ""}}, "at least 1 chars"),
        ("ScheduledBackup", ("schedule", "0 0 25 * * *"), {"schedule": "0 25 * * *"}, "above maximum"),
    ],
)
def test_the_settings_already_refuse_what_the_cluster_refuses(
    operated_plane: ControlPlane, kind: str, bad: tuple[str, str], wal: dict[str, Any], said: str
) -> None:
    body = made(kind)
    *above, last = bad[0].split(".")
    target = body["spec"]
    for key in above:
        target = target[key]
    target[last] = bad[1]
    with operated_plane.client() as client:
        api = dynamic_client(client).resources.get(api_version=body["apiVersion"], kind=kind)
        assert said in answer(api, body)
    config = with_value("dev", "database", {"engine": "cloudnative-pg", "wal": {"s3": BUCKET, **wal}})
    assert "invoicetron:database.wal." in refusal("dev", config)
