"""An empty database never replaces a lost one, whoever deleted it and however, until somebody says so."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any

import pytest

from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from tests.pages import REPOSITORY, blocks
from tests.rehearsal.cleanup import delete_namespaces
from tests.rehearsal.ops_command import ops
from tests.stacks import PROD

RUNBOOK = REPOSITORY / "docs" / "runbook" / "backups.md"

BACKUPS, CLAIM = PROD.backups_claim, PROD.database_claim


def claim(rehearsal: Rehearsal, namespace: str, name: str = CLAIM) -> dict[str, Any]:
    return rehearsal.get("pvc", name, namespace=namespace)


def refused(rehearsal: Rehearsal, stack: str, *, previewed: bool = False) -> str:
    """The message with which `up` refuses; if `previewed`, its preview refuses, too."""
    before = namespaces(rehearsal), rehearsal.gitlab.project.environments.entries({})
    said = []
    for options in [(), ("--skip-preview",)] if previewed else [("--skip-preview",)]:
        with pytest.raises(EngineError) as error:
            rehearsal.program.up(stack, *options)
        said.append(str(error.value))
    assert "Nothing was created or changed" in said[0]
    assert "Traceback" not in "".join(said)
    assert before == (namespaces(rehearsal), rehearsal.gitlab.project.environments.entries({}))
    return said[-1]


def namespaces(rehearsal: Rehearsal) -> list[str]:
    return rehearsal.kubectl("get", "namespaces", "-o", "name").split()


def command(said: str, begins: str) -> list[str]:
    """The command in the message, without its program's name."""
    line = next(line.strip() for line in said.splitlines() if line.strip().startswith(begins))
    return shlex.split(line)[1:]


def test_another_cluster_identifier_does_not_replace_the_database(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    before = claim(rehearsal, "invoicetron-dev")["metadata"]["uid"]
    rehearsal.configure("dev", "cluster.identifier", "attic")
    assert "Set it to homelab. To change it, copy a backup off the cluster, delete the stack" in refused(
        rehearsal, "dev", previewed=True
    )
    assert claim(rehearsal, "invoicetron-dev")["metadata"]["uid"] == before


def test_a_namespace_deleted_by_hand_is_not_recreated_with_an_empty_database(rehearsal: Rehearsal) -> None:
    program, namespace = rehearsal.program, "invoicetron-dev"
    program.init("dev")
    program.up("dev", "--skip-preview")
    for _ in range(2):  # the setting that accepts the first loss does not accept the second
        uid = claim(rehearsal, namespace)["metadata"]["uid"]
        delete_namespaces(rehearsal.client, namespace)
        said = refused(rehearsal, "dev", previewed=True)
        assert uid in said
        assert f"{CLAIM} ({uid}" in said
        program.run(*command(said, "pulumi config set"))
        program.up("dev", "--skip-preview")
    assert not program.up("dev", "--skip-preview").changes
    delete_namespaces(rehearsal.client, namespace)
    program.destroy("dev", "--skip-preview")
    program.up("dev", "--skip-preview")


def test_a_claim_that_is_being_deleted_gone_or_replaced_is_reported(rehearsal: Rehearsal) -> None:
    program, namespace = rehearsal.program, "invoicetron-dev"
    program.init("dev")
    program.up("dev", "--skip-preview")
    first = claim(rehearsal, namespace)
    rehearsal.kubectl("-n", namespace, "delete", "pvc", CLAIM, "--wait=false")
    said = refused(rehearsal, "dev")
    assert "is being deleted" in said
    assert "kubernetes.io/pvc-protection" in said
    assert first["spec"]["volumeName"] in said
    rehearsal.kubectl("-n", namespace, "delete", "statefulset", "invoicetron-db")
    rehearsal.kubectl("-n", namespace, "wait", "pvc", CLAIM, "--for=delete", "--timeout=60s")
    assert "is gone" in refused(rehearsal, "dev")
    metadata = {"name": CLAIM, "namespace": namespace}
    another = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": first["spec"]}
    del another["spec"]["volumeName"]
    rehearsal.kubectl("create", "-f", "-", stdin=json.dumps(another))
    said = refused(rehearsal, "dev")
    assert "is not the database's" in said
    assert first["metadata"]["uid"] in said


def test_a_claim_is_still_the_database_s_after_growing_or_if_an_earlier_release_made_it(
    rehearsal: Rehearsal,
) -> None:
    program, namespace = rehearsal.program, "invoicetron-dev"
    program.init("dev")
    program.up("dev", "--skip-preview")
    rehearsal.configure("dev", "database.size", "11Gi")
    program.up("dev", "--skip-preview")
    rehearsal.configure("dev", "database.size", "10Gi")
    said = refused(rehearsal, "dev")
    assert "set database.size to 11Gi or more" in said
    rehearsal.configure("dev", "database.size", "11Gi")
    forget_the_record(rehearsal)
    program.up("dev", "--skip-preview")
    forget_the_record(rehearsal)
    delete_namespaces(rehearsal.client, namespace)
    assert "an earlier release" in refused(rehearsal, "dev")


def forget_the_record(rehearsal: Rehearsal) -> None:
    """Changes dev's state to what the last release wrote."""
    state = rehearsal.program.export("dev")
    for resource in state["deployment"]["resources"]:
        resource.get("outputs", {}).pop("database_claim", None)
    rehearsal.program.run("stack", "import", "--stack", "dev", stdin=json.dumps(state))


def test_the_volumes_of_prod_outlive_their_claims_and_are_reused_as_the_runbook_says(rehearsal: Rehearsal) -> None:
    program, namespace = rehearsal.program, "invoicetron-prod"
    program.init("prod")
    program.up("prod", "--skip-preview")
    volumes = {name: claim(rehearsal, namespace, name)["spec"]["volumeName"] for name in (CLAIM, BACKUPS)}
    assert policies(rehearsal, volumes.values()) == ["Retain", "Retain"]
    delete = json.dumps({"spec": {"persistentVolumeReclaimPolicy": "Delete"}})
    rehearsal.kubectl("patch", "pv", volumes[CLAIM], "-p", delete)
    assert program.up("prod", "--skip-preview").changes == {"database-volume-retained": "update"}
    assert policies(rehearsal, volumes.values()) == ["Retain", "Retain"]

    delete_namespaces(rehearsal.client, namespace)
    assert volumes[CLAIM] in refused(rehearsal, "prod")
    (block,) = (one for one in blocks(RUNBOOK) if '"uid": null' in one.text)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text.replace("<ns>", namespace).replace("<stack>", "prod")],  # noqa: S607
        cwd=program.directory,
        env={**program.environment, "PULUMI_SKIP_CONFIRMATIONS": "true"},
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=600,
    )
    assert {name: claim(rehearsal, namespace, name)["spec"]["volumeName"] for name in volumes} == volumes
    assert not program.up("prod", "--skip-preview").changes


def test_a_retained_volume_reveals_its_database_even_if_the_state_knows_nothing(rehearsal: Rehearsal) -> None:
    program, namespace = rehearsal.program, "invoicetron-prod"
    program.init("prod")
    program.up("prod", "--skip-preview")
    uid = claim(rehearsal, namespace)["metadata"]["uid"]
    program.run("state", "unprotect", "--all", "--yes", "--stack", "prod")
    program.destroy("prod", "--skip-preview")
    said = refused(rehearsal, "prod")
    assert uid in said
    program.run(*command(said, "pulumi config set"))
    program.up("prod", "--skip-preview")


def policies(rehearsal: Rehearsal, volumes: Any) -> list[str]:
    path = "jsonpath={.spec.persistentVolumeReclaimPolicy}"
    return [rehearsal.kubectl("get", "pv", volume, "-o", path) for volume in volumes]


EXPORT = ("backup.nfs.server", "10.10.30.4"), ("backup.nfs.path", "/exports/invoicetron")


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_backups_are_never_deleted_by_a_change_of_the_stack_file(rehearsal: Rehearsal, stack: str) -> None:
    program, namespace = rehearsal.program, f"invoicetron-{stack}"
    program.init(stack)
    program.up(stack, "--skip-preview")
    file = program.directory / f"Pulumi.{stack}.yaml"
    before, uid = file.read_text(), claim(rehearsal, namespace, BACKUPS)["metadata"]["uid"]
    for changes, told in (
        (EXPORT, "backup.nfs: with a move to 10.10.30.4:/exports/invoicetron"),
        ((), "backup is switched off"),
    ):
        if not changes:
            program.run("config", "rm", "--stack", stack, "invoicetron:backup")
        for path, value in changes:
            rehearsal.configure(stack, path, value)
        with pytest.raises(EngineError, match="Nothing was created or changed") as error:
            program.up(stack)
        assert told in str(error.value)
        file.write_text(before)
    assert claim(rehearsal, namespace, BACKUPS)["metadata"]["uid"] == uid
    ops(rehearsal, "backups list", stack, timeout=120)  # its pod has ended, and names the claim
    rehearsal.kubectl("-n", namespace, "delete", "pvc", BACKUPS, "--wait=false")
    rehearsal.kubectl(*command(refused(rehearsal, stack), "kubectl"))
    rehearsal.kubectl("-n", namespace, "wait", "pvc", BACKUPS, "--for=delete", "--timeout=60s")
    for path, value in EXPORT:
        rehearsal.configure(stack, path, value)
    program.up(stack, "--skip-preview")
    assert claim(rehearsal, namespace, BACKUPS)["spec"]["volumeName"] == f"{namespace}-backups"
    assert not program.up(stack, "--skip-preview").changes
    file.write_text(before)
    with pytest.raises(EngineError, match=r"backup\.nfs: with a move to a volume of the class 'longhorn'"):
        program.up(stack)
    for path, value in (*EXPORT[:1], ("backup.nfs.path", "/exports/other")):
        rehearsal.configure(stack, path, value)
    with pytest.raises(EngineError, match=r"10\.10\.30\.4:/exports/invoicetron, for good"):
        program.up(stack)
