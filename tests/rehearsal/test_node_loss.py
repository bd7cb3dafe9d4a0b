"""The loss of a node, under the program's own tolerations: what moves by itself, what waits, and what ends the wait.

The controllers are Kubernetes' own; the grace period after which a node counts as lost is short
(`MONITOR_GRACE_SECONDS`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from components.availability import EVICTION_SECONDS
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.rehearsal import Rehearsal, start_rehearsal
from rehearsal.toolchain import Tools
from tests.stacks import STACKS

NAMESPACE: Final = "invoicetron-dev"
IMAGE: Final = "invoicetron=registry.k8s.rommelporras.com/0xwsh/invoicetron/dev:1a2b3c4d"
LOST, OTHER = "node-1", "node-2"
COLLECTED: Final = 20
"""Seconds between two runs of Kubernetes' garbage collector for pods (gcCheckPeriod)."""
SLACK: Final = 30
"""Extra seconds that a step may take on a busy machine."""
WITNESS: Final = {
    # Another database, which leaves its node at once.
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "witness", "namespace": "default"},
    "spec": {
        "serviceName": "witness",
        "selector": {"matchLabels": {"app": "witness"}},
        "template": {
            "metadata": {"labels": {"app": "witness"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "tolerations": [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}],
                "containers": [
                    {"name": "main", "image": "busybox", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
                ],
            },
        },
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        ],
    },
}


@pytest.fixture
def stack(tools: Tools, tmp_path: Path) -> Iterator[Rehearsal]:
    with (
        ControlPlane(tools, tmp_path / "control-plane", failing_nodes=True) as plane,
        start_rehearsal(tools, plane, tmp_path / "rehearsal", stack_files=STACKS) as one,
    ):
        yield one


def get(stack: Rehearsal, *what: str) -> list[Any]:
    found: list[Any] = json.loads(stack.kubectl("get", *what, "--output=json"))["items"]
    return found


def pods(stack: Rehearsal, app: str, namespace: str = NAMESPACE) -> dict[str, bool]:
    """Nodes of the app's pods that are not being deleted, and whether each pod is ready."""
    return {
        one["spec"].get("nodeName", "none"): any(
            each["type"] == "Ready" and each["status"] == "True" for each in one["status"].get("conditions", [])
        )
        for one in get(stack, "pods", f"--namespace={namespace}", f"--selector=app={app}")
        if "deletionTimestamp" not in one["metadata"]
    }


def database_terminating(stack: Rehearsal) -> bool:
    (pod,) = get(stack, "pods", f"--namespace={NAMESPACE}", "--selector=app=invoicetron-db")
    return "deletionTimestamp" in pod["metadata"] and pod["spec"]["nodeName"] == LOST


def attached(stack: Rehearsal, claim: str, namespace: str = NAMESPACE) -> set[str]:
    """The nodes that the volume of a claim is attached to."""
    volume = stack.kubectl("get", "pvc", claim, f"--namespace={namespace}", "--output=jsonpath={.spec.volumeName}")
    return {
        one["spec"]["nodeName"]
        for one in get(stack, "volumeattachments")
        if one["spec"]["source"]["persistentVolumeName"] == volume and one["status"]["attached"]
    }


def seconds_until(condition: Callable[[], bool], *, within: float) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within, "the condition did not become true in time"
        time.sleep(0.2)
    return time.monotonic() - started


def tainted(stack: Rehearsal) -> bool:
    (node,) = (one for one in get(stack, "nodes") if one["metadata"]["name"] == LOST)
    return any(
        one["key"] == "node.kubernetes.io/unreachable" and one["effect"] == "NoExecute"
        for one in node["spec"].get("taints", [])
    )


def set_policy(stack: Rehearsal, value: str) -> None:
    """Changes Longhorn's setting, with the command that `ops verify` gives."""
    setting = ["settings.longhorn.io", "node-down-pod-deletion-policy", "--namespace=longhorn-system"]
    stack.kubectl("patch", *setting, "--type=merge", "--patch", json.dumps({"value": value}))


def test_the_app_moves_by_itself_and_the_database_once_its_node_is_marked_out_of_service(stack: Rehearsal) -> None:
    stack.program.init("dev")
    stack.kubectl("cordon", LOST)
    stack.kubectl("apply", "--filename=-", stdin=json.dumps(WITNESS))
    stack.program.up("dev", "--skip-preview")
    stack.kubectl(
        "--namespace", NAMESPACE, "set", "image", "deployment/invoicetron", IMAGE, "--field-manager=gitlab-ci"
    )
    seconds_until(lambda: pods(stack, "invoicetron").get(OTHER, False), within=SLACK)
    stack.kubectl("uncordon", LOST)

    # Maintenance, with the runbook's command: the disruption budgets block no eviction, and the volumes follow.
    stack.kubectl("drain", OTHER, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
    stack.kubectl("uncordon", OTHER)
    there = {LOST: True}
    seconds_until(lambda: pods(stack, "invoicetron") == pods(stack, "invoicetron-db") == there, within=SLACK)
    seconds_until(lambda: pods(stack, "witness", "default") == there, within=SLACK)
    assert attached(stack, "data-invoicetron-db-0") == attached(stack, "data-witness-0", "default") == {LOST}

    stack.control_plane.lose_node(LOST)
    seconds_until(lambda: tainted(stack), within=SLACK)
    lost = time.monotonic()
    # With the Longhorn setting that `ops verify` demands, a database leaves its node.
    seconds_until(lambda: OTHER in pods(stack, "witness", "default"), within=SLACK)

    # Without it, it does not: Kubernetes evicts it and waits for a kubelet that will never answer.
    set_policy(stack, "do-nothing")
    assert time.monotonic() - lost < EVICTION_SECONDS
    seconds_until(lambda: pods(stack, "invoicetron") == {OTHER: True}, within=EVICTION_SECONDS + SLACK)
    moved = time.monotonic() - lost
    # By now the attach-detach controller, which looks once a minute, has also noticed that Longhorn detached a volume.
    assert pods(stack, "witness", "default") == {OTHER: True}
    assert attached(stack, "data-witness-0", "default") == {OTHER}
    assert EVICTION_SECONDS - 2 < moved < EVICTION_SECONDS + SLACK
    seconds_until(lambda: database_terminating(stack), within=SLACK)
    time.sleep(5)
    assert database_terminating(stack)
    assert attached(stack, "data-invoicetron-db-0") == {LOST}

    # The runbook's way out.
    stack.kubectl("taint", "node", LOST, "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
    waited = seconds_until(lambda: pods(stack, "invoicetron-db") == {OTHER: True}, within=COLLECTED + SLACK)
    assert attached(stack, "data-invoicetron-db-0") == {OTHER}
    print(f"\nafter the taint of the lost node: the app {moved:.0f} s; after ours: the database {waited:.0f} s")
