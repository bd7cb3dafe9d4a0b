"""What the pods do when a node fails or is drained, or when something they need is unavailable."""

from __future__ import annotations

from typing import Any

from tests.unit.program import Program, run

LOST_NODE = {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}
FIVE_MINUTES = 300
DAY = 24 * 3600


def servers(program: Program) -> dict[str, dict[str, Any]]:
    """The pods that serve, app and database, by the kind of their owner."""
    return {owner.kind: pod for owner, pod in program.pods() if owner.kind in {"Deployment", "StatefulSet"}}


def on_backups(program: Program) -> list[dict[str, Any]]:
    """The pods that mount the volume of the backups."""
    return [
        pod
        for _, pod in program.pods()
        for volume in pod["spec"].get("volumes", [])
        if volume.get("persistentVolumeClaim", {}).get("claimName") == "invoicetron-backups"
    ]


def patience(probe: dict[str, Any]) -> int:
    """Seconds of failures after which a probe takes effect."""
    return int(probe["periodSeconds"] * probe["failureThreshold"])


def test_app_and_database_leave_a_lost_node_after_a_minute(program: Program) -> None:
    for pod in servers(program).values():
        tolerated = {each["key"]: each for each in pod["spec"]["tolerations"]}
        assert set(tolerated) == LOST_NODE
        assert all(each["effect"] == "NoExecute" and each["tolerationSeconds"] == 60 for each in tolerated.values())


def test_a_drain_evicts_every_pod_one_at_a_time(program: Program) -> None:
    pods = servers(program)
    budgets = [each.inputs["spec"] for each in program.of("PodDisruptionBudget")]
    assert len(budgets) == len(pods)
    for budget in budgets:
        labels = budget["selector"]["matchLabels"].items()
        (selected,) = [kind for kind, pod in pods.items() if labels <= pod["metadata"]["labels"].items()]
        replicas = program.one(selected).inputs["spec"]["replicas"]
        assert budget["maxUnavailable"] == 1 <= replicas
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_database_that_is_away_for_minutes_stops_requests_and_kills_no_app(program: Program) -> None:
    (container,) = servers(program)["Deployment"]["spec"]["containers"]
    startup, readiness, liveness = (container[f"{each}Probe"] for each in ("startup", "readiness", "liveness"))
    assert patience(startup) >= FIVE_MINUTES
    assert patience(liveness) >= FIVE_MINUTES
    assert patience(readiness) <= 15
    assert {probe["timeoutSeconds"] for probe in (startup, readiness, liveness)} == {5}
    assert {probe["httpGet"]["path"] for probe in (startup, readiness, liveness)} == {"/api/health"}


def test_a_terminating_app_serves_until_the_gateway_has_removed_it(program: Program) -> None:
    pod = servers(program)["Deployment"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The pause counts towards the grace period, 30 s by default; the rest is left to the app.
    assert 5 <= pause <= pod.get("terminationGracePeriodSeconds", 30) / 2


def test_only_a_stack_that_names_a_priority_class_has_one(dev: Program) -> None:
    assert not [pod for _, pod in dev.pods() if "priorityClassName" in pod["spec"]]
    named = run("dev", {"cluster.priorityClass": "homelab-important"})
    assert {pod["spec"]["priorityClassName"] for pod in servers(named).values()} == {"homelab-important"}


def test_a_job_that_hangs_ends_before_it_is_due_again(program: Program) -> None:
    jobs = [one.inputs["spec"] for one in program.of("CronJob")]
    assert jobs
    for job in jobs:
        assert job["concurrencyPolicy"] == "Forbid"
        assert 0 < job["jobTemplate"]["spec"]["activeDeadlineSeconds"] < DAY


def test_pods_that_share_the_volume_of_the_backups_run_on_one_node(program: Program) -> None:
    pods = on_backups(program)
    labels = {pod["metadata"]["labels"]["app"] for pod in pods}
    assert len(labels) > 1
    for pod in pods:
        (term,) = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (expression,) = term["labelSelector"]["matchExpressions"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert (expression["key"], expression["operator"], set(expression["values"])) == ("app", "In", labels)


def test_an_export_is_mounted_on_any_node() -> None:
    export = run("dev", {"backup.nfs": {"server": "192.0.2.4", "path": "/exports/invoicetron"}})
    assert on_backups(export)
    assert not [pod for pod in on_backups(export) if "affinity" in pod["spec"]]
