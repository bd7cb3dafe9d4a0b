"""Attempts to bypass the templates with the pipeline's token: the real API server refuses each, and no proper Job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.database.invoices import fill
from tests.rehearsal.app_deployed import Deployed
from tests.rehearsal.cleanup import rehearsed
from tests.rehearsal.test_deployer_access import NAMESPACE, as_deployer

REPOSITORY = "registry.k8s.rommelporras.com/0xwsh/invoicetron/dev"
MIGRATION, BACKUP = "invoicetron-migrate", "invoicetron-db-backup"
DENIED = ("ValidatingAdmissionPolicy", "denied request")

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def stack(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    with rehearsed(tools, control_plane, tmp_path_factory.mktemp("admission") / "rehearsal") as one:
        one.program.init("dev")
        one.configure("dev", "cluster.apiUrl", one.control_plane.url)
        one.configure("dev", "delivery.admissionPolicy", "true")
        one.program.up("dev", "--skip-preview")
        wait_until_enforced(one)
        yield one


def wait_until_enforced(stack: Rehearsal) -> None:
    """The API server compiles policies and watches their parameters some seconds after they are created."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        bad, good = create(stack, job(stack, image("example.org/other:1"))), create(stack, job(stack), dry=True)
        if bad.startswith("denied") and good == "created":
            return
        time.sleep(0.5)
    pytest.fail(f"not enforced after 30 s: {bad}; {good}")


def job(stack: Rehearsal, *changes: Change, template: str = MIGRATION) -> dict[str, Any]:
    """A Job as the pipeline makes it from a template, with changes."""
    name = f"{template}-{time.monotonic_ns()}"
    made = stack.kubectl(
        "-n", NAMESPACE, "create", "job", name, f"--from=cronjob/{template}", "--dry-run=client", "-o", "json"
    )
    found: dict[str, Any] = json.loads(made)
    if template == MIGRATION:
        image(f"{REPOSITORY}:1a2b3c4d")(found)
    for change in changes:
        change(found)
    return found


def create(stack: Rehearsal, manifest: dict[str, Any], *, dry: bool = False) -> str:
    done = as_deployer(
        stack, "create", "-o", "name", *(["--dry-run=server"] if dry else []), "-f", "-", stdin=json.dumps(manifest)
    )
    return outcome(done.returncode, done.stderr, "created")


def outcome(returncode: int, stderr: str, passed: str) -> str:
    if returncode == 0:
        return passed
    return f"denied {stderr}" if all(word in stderr for word in DENIED) else f"failed {stderr}"


def pod(found: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def container(found: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = pod(found)["containers"][0]
    return first


def image(name: str) -> Change:
    return lambda found: container(found).update(image=name)


def secret_volume(found: dict[str, Any]) -> None:
    pod(found)["volumes"] = [{"name": "loot", "secret": {"secretName": "invoicetron-db"}}]
    container(found)["volumeMounts"] = [{"name": "loot", "mountPath": "/loot"}]


def host_path(found: dict[str, Any]) -> None:
    pod(found)["volumes"] = [{"name": "host", "hostPath": {"path": "/"}}]


def another_container(section: str) -> Change:
    return lambda found: pod(found).update(
        {section: [*pod(found).get(section, []), {"name": "second", "image": f"{REPOSITORY}:1", "command": ["sh"]}]}
    )


def variable(found: dict[str, Any]) -> None:
    reference = {"secretKeyRef": {"name": "invoicetron-app", "key": "better-auth-secret"}}
    container(found)["env"].append({"name": "LOOT", "valueFrom": reference})


JOBS: dict[str, Change] = {
    "a volume with another Secret": secret_volume,
    "the host's disk": host_path,
    "the database's volume": lambda j: pod(j).update(
        volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data-invoicetron-db-0"}}]
    ),
    "envFrom": lambda j: container(j).update(envFrom=[{"secretRef": {"name": "invoicetron-app"}}]),
    "a variable of another Secret": variable,
    "no variables": lambda j: container(j).pop("env"),
    "an init container": another_container("initContainers"),
    "a second container": another_container("containers"),
    "another service account": lambda j: pod(j).update(serviceAccountName="gitlab-deploy"),
    "the service account's token": lambda j: pod(j).update(automountServiceAccountToken=True),
    "another command": lambda j: container(j).update(command=["sh", "-c", "env"]),
    "arguments": lambda j: container(j).update(args=["--loot"]),
    "a laxer security context": lambda j: container(j)["securityContext"].update(allowPrivilegeEscalation=True),
    "no security context of the pod": lambda j: pod(j).pop("securityContext"),
    "the host's network": lambda j: pod(j).update(hostNetwork=True),
    "a node of its choice": lambda j: pod(j).update(nodeName="node-1"),
    "a hook": lambda j: container(j).update(lifecycle={"preStop": {"exec": {"command": ["sh"]}}}),
    "labels of the app": lambda j: j["spec"]["template"]["metadata"]["labels"].update(app="invoicetron"),
    "an annotation": lambda j: j["spec"]["template"]["metadata"].update(annotations={"a": "b"}),
    "a thousand pods": lambda j: j["spec"].update(parallelism=1000, completions=1000),
    "a deadline of its own": lambda j: j["spec"].update(activeDeadlineSeconds=86400),
    "labels that it selects itself": lambda j: j["spec"].update(
        manualSelector=True, selector={"matchLabels": {"app": MIGRATION}}
    ),
    "no owner": lambda j: j["metadata"].pop("ownerReferences"),
    "another owner": lambda j: j["metadata"]["ownerReferences"][0].update(name="invoicetron-db-restore"),
    "two owners": lambda j: j["metadata"]["ownerReferences"].append(
        {**j["metadata"]["ownerReferences"][0], "name": "other", "controller": False}
    ),
    "an owner with another UID": lambda j: j["metadata"]["ownerReferences"][0].update(uid="0"),
    "another name": lambda j: j["metadata"].update(name="anything"),
    "a finalizer": lambda j: j["metadata"].update(finalizers=["example.org/forever"]),
    "another repository": image("registry.k8s.rommelporras.com/0xwsh/invoicetron/prod:1a2b3c4d"),
    "a repository that begins alike": image(f"{REPOSITORY}-evil:1"),
    "a repository below": image(f"{REPOSITORY}/evil:1"),
    "a repository with another dot": image(REPOSITORY.replace("k8s.", "k8sx") + ":1"),
    "an image without a tag": image(REPOSITORY),
}


@pytest.mark.parametrize("change", JOBS.values(), ids=list(JOBS))
def test_a_job_that_differs_from_its_template_is_denied(stack: Rehearsal, change: Change) -> None:
    assert create(stack, job(stack, change)).startswith("denied"), create(stack, job(stack, change))


@pytest.mark.parametrize("name", ["the backup's image", "the backup's command", "migration's pod in a backup's Job"])
def test_a_backup_that_differs_from_its_template_is_denied(stack: Rehearsal, name: str) -> None:
    changes: dict[str, Change] = {
        "the backup's image": image(f"{REPOSITORY}:1a2b3c4d"),
        "the backup's command": lambda j: container(j).update(command=["sh", "-c", "env"]),
        "migration's pod in a backup's Job": lambda j: j["spec"].update(job(stack)["spec"]),
    }
    assert create(stack, job(stack, changes[name], template=BACKUP)).startswith("denied")


@pytest.mark.parametrize("digest", ["", "@sha256:" + "a" * 64])
def test_the_jobs_that_the_pipeline_makes_are_admitted(stack: Rehearsal, digest: str) -> None:
    assert create(stack, job(stack, image(f"{REPOSITORY}:1a2b3c4d{digest}"))) == "created"
    assert create(stack, job(stack, template=BACKUP)) == "created"


SET_IMAGE = ["set", "image", "deployment/invoicetron"]
TEMPLATE = "/spec/template/spec"
DEPLOYMENTS: dict[str, list[dict[str, Any]]] = {
    "replicas": [{"op": "replace", "path": "/spec/replicas", "value": 0}],
    "a variable": [{"op": "add", "path": f"{TEMPLATE}/containers/0/env/-", "value": {"name": "A", "value": "b"}}],
    "a command": [{"op": "add", "path": f"{TEMPLATE}/containers/0/command", "value": ["sh"]}],
    "the waiter's image": [{"op": "replace", "path": f"{TEMPLATE}/initContainers/0/image", "value": f"{REPOSITORY}:1"}],
    "a second container": [
        {"op": "add", "path": f"{TEMPLATE}/containers/-", "value": {"name": "b", "image": f"{REPOSITORY}:1"}}
    ],
    "a volume": [
        {
            "op": "add",
            "path": f"{TEMPLATE}/volumes",
            "value": [{"name": "a", "secret": {"secretName": "invoicetron-db"}}],
        }
    ],
    "the pods' annotations": [{"op": "add", "path": "/spec/template/metadata/annotations/a", "value": "b"}],
    "its annotations": [{"op": "add", "path": "/metadata/annotations/a", "value": "b"}],
    "its labels": [{"op": "add", "path": "/metadata/labels/a", "value": "b"}],
    "a service account": [{"op": "add", "path": f"{TEMPLATE}/serviceAccountName", "value": "gitlab-deploy"}],
    "the strategy": [{"op": "replace", "path": "/spec/strategy", "value": {"type": "Recreate"}}],
    "the probe": [{"op": "remove", "path": f"{TEMPLATE}/containers/0/livenessProbe"}],
    "a paused rollout": [{"op": "add", "path": "/spec/paused", "value": True}],
    "an image of another repository": [
        {"op": "replace", "path": f"{TEMPLATE}/containers/0/image", "value": "docker.io/library/nginx:1"}
    ],
}


@pytest.mark.parametrize("patch", DEPLOYMENTS.values(), ids=list(DEPLOYMENTS))
def test_any_change_to_the_deployment_other_than_its_image_is_denied(
    stack: Rehearsal, patch: list[dict[str, Any]]
) -> None:
    done = as_deployer(
        stack, "-n", NAMESPACE, "patch", "deployment", "invoicetron", "--type=json", "-p", json.dumps(patch)
    )
    assert outcome(done.returncode, done.stderr, "changed").startswith("denied"), done.stderr


def test_an_image_of_the_environment_s_repository_can_be_set_and_set_back(stack: Rehearsal) -> None:
    for name in ("1a2b3c4d", "5e6f7a8b", "1a2b3c4d"):
        done = as_deployer(
            stack, "-n", NAMESPACE, *SET_IMAGE, f"invoicetron={REPOSITORY}:{name}", "--field-manager=gitlab-ci"
        )
        assert done.returncode == 0, done.stderr


def test_the_pipeline_may_not_change_another_deployment(stack: Rehearsal) -> None:
    stack.kubectl("-n", NAMESPACE, "create", "deployment", "other", f"--image={REPOSITORY}:1")
    done = as_deployer(stack, "-n", NAMESPACE, "set", "image", "deployment/other", f"dev={REPOSITORY}:2")
    assert outcome(done.returncode, done.stderr, "changed").startswith("denied"), done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["-n", NAMESPACE, "patch", "cronjob", MIGRATION, "-p", '{"spec": {"suspend": false}}'],
        ["-n", "default", "create", "job", "a", "--image=busybox:1.36"],
        ["-n", NAMESPACE, "scale", "deployment", "invoicetron", "--replicas=0"],
        ["delete", "validatingadmissionpolicybinding", f"{NAMESPACE}-gitlab-deploy-jobs"],
    ],
    ids=["a template", "another namespace", "the scale", "the policy"],
)
def test_the_account_is_refused_everything_else(stack: Rehearsal, command: list[str]) -> None:
    done = as_deployer(stack, *command)
    assert done.returncode != 0
    assert "orbidden" in done.stderr, done.stderr


def test_no_container_can_be_added_to_a_running_pod(stack: Rehearsal) -> None:
    name = stack.kubectl("-n", NAMESPACE, "get", "pods", "-l", "app=invoicetron", "-o", "name").split()[0]
    added = json.dumps({"spec": {"ephemeralContainers": [{"name": "e", "image": "busybox:1.36"}]}})
    done = as_deployer(stack, "-n", NAMESPACE, "patch", name, "--subresource=ephemeralcontainers", "-p", added)
    assert done.returncode != 0
    assert "orbidden" in done.stderr, done.stderr


def test_people_may_still_do_what_the_pipeline_may_not(stack: Rehearsal) -> None:
    changed = job(stack, lambda j: container(j).update(command=["true"]))
    assert stack.kubectl(
        "-n", NAMESPACE, "create", "--dry-run=server", "-o", "name", "-f", "-", stdin=json.dumps(changed)
    )


def test_the_pipeline_backs_up_migrates_and_deploys(stack: Rehearsal, tmp_path: Path) -> None:
    fill(stack.control_plane.pods.database(NAMESPACE), count=5)
    deployed = Deployed(stack, tmp_path / "app")
    commit = deployed.repository.commit()
    passed, output = deployed.job("deploy:development", BACKUP=BACKUP)
    assert passed, output
    assert "denied" not in output
    assert deployed.image == f"{REPOSITORY}:{commit}"
    assert BACKUP in output


def test_a_template_changed_by_hand_makes_no_jobs_until_the_next_up(stack: Rehearsal) -> None:
    patch = {"spec": {"jobTemplate": {"spec": {"activeDeadlineSeconds": 86400}}}}
    stack.kubectl("-n", NAMESPACE, "patch", "cronjob", MIGRATION, "--patch", json.dumps(patch))
    assert create(stack, job(stack), dry=True).startswith("denied")
    stack.program.up("dev", "--skip-preview")
    assert create(stack, job(stack), dry=True) == "created"


def test_policies_that_were_removed_for_a_while_know_the_current_templates(stack: Rehearsal) -> None:
    """With the CronJob as their parameter they would not, until the API server is restarted (kubernetes#130887)."""
    stack.configure("dev", "delivery.admissionPolicy", "false")
    stack.program.up("dev", "--skip-preview")
    assert create(stack, job(stack, image("example.org/other:1")), dry=True) == "created"
    stack.configure("dev", "delivery.admissionPolicy", "true")
    stack.configure("dev", "backup.retention.daily", "3")  # in the template of the backups
    stack.program.up("dev", "--skip-preview")
    wait_until_enforced(stack)
    assert create(stack, job(stack, template=BACKUP), dry=True) == "created"
