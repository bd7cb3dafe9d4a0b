"""The app's pipeline at work: its jobs run by gitlab-ci-local, against a stack that is up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import NotFoundException

from lookups.database_claims import STOPPED_BY
from ops.kube.cluster import PROVIDER
from rehearsal.background import repeated
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.pipeline import AppRepository
from rehearsal.pods.postgres import PostgresServer
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.rehearsal.cleanup import rehearsed

REGISTRY = "registry.k8s.rommelporras.com/0xwsh/invoicetron/dev"
"""Where the jobs push the image of dev."""
NAMESPACE = "invoicetron-dev"
BACKUP = "invoicetron-db-backup"
"""The CronJob from which the jobs take a backup."""
PATCH = ("patch", "deployment", "invoicetron")
"""The command with which a test changes the app's Deployment."""

# Stands in for a command of a job: logs its arguments, then runs `then`.
RECORDER = """#!/bin/sh
printf '%s\\n' "$*" >>"{log}"
{then}
"""


@contextmanager
def dev_up(tools: Tools, control_plane: ControlPlane, directory: Path) -> Iterator[Rehearsal]:
    """A rehearsal whose stack dev is up, with the API server's own address for the pipeline."""
    with rehearsed(tools, control_plane, directory) as one:
        one.program.init("dev")
        one.configure("dev", "cluster.apiUrl", one.control_plane.url)
        one.program.up("dev", "--skip-preview")
        yield one


def _owner(job: Mapping[str, Any]) -> str | None:
    name: str | None = job["metadata"].get("ownerReferences", [{}])[0].get("name")
    return name


class Deployed:
    """The stack, and a clone of the app's repository to deploy from."""

    def __init__(self, rehearsal: Rehearsal, directory: Path) -> None:
        self.rehearsal = rehearsal
        self.repository = AppRepository(directory, branch="develop")
        self._tools = directory / "tools"
        self._tools.mkdir()
        self.log = directory / "arguments.log"
        self.record("kubectl", then=f'exec "{rehearsal.tools.kubectl}" "$@"')

    def record(self, command: str, *, then: str) -> None:
        """Gives the jobs a `command` that logs its arguments, which everybody on a runner can read."""
        file = self._tools / command
        file.write_text(RECORDER.format(log=self.log, then=then))
        file.chmod(0o755)

    @property
    def arguments(self) -> str:
        """The arguments of every recorded command so far."""
        return self.log.read_text()

    def job(self, name: str, **variables: str) -> tuple[bool, str]:
        runner = {"PATH": str(self._tools)}
        gitlab = self.rehearsal.gitlab
        api = self.rehearsal.program.environment["GITLAB_BASE_URL"].rstrip("/")
        given = {"CI_API_V4_URL": api, "CI_JOB_TOKEN": gitlab.issue_job_token(), **variables}
        run = self.repository.run(name, gitlab.project, variables=given, runner=runner)
        shown = run.output + (self.arguments if self.log.exists() else "")
        for secret in self.rehearsal.gitlab.handed_out:
            assert secret not in shown
        return run.passed, run.output

    def get(self, *arguments: str) -> Any:
        return self.rehearsal.get(*arguments, namespace=NAMESPACE)

    def jobs_of(self, template: str) -> list[dict[str, Any]]:
        """The Jobs that were made from a CronJob, the newest last."""
        of = [job for job in self.get("jobs")["items"] if _owner(job) == template]
        return sorted(of, key=lambda job: str(job["metadata"]["creationTimestamp"]))

    def delete_jobs(self, template: str) -> None:
        for job in self.jobs_of(template):
            self.rehearsal.kubectl("-n", NAMESPACE, "delete", "job", job["metadata"]["name"])

    def give_migrations(self, *, seconds: int) -> None:
        deadline = json.dumps({"spec": {"jobTemplate": {"spec": {"activeDeadlineSeconds": seconds}}}})
        self.rehearsal.kubectl("-n", NAMESPACE, "patch", "cronjob", "invoicetron-migrate", "--patch", deadline)

    def rotate_and_up(self) -> None:
        """Runs an `up` that changes the Deployment, but not its image."""
        before = self.get("deployment", "invoicetron")["spec"]["template"]["metadata"]["annotations"]
        self.rehearsal.onepassword.rotate("dev")
        self.rehearsal.program.up("dev", "--skip-preview")
        assert self.get("deployment", "invoicetron")["spec"]["template"]["metadata"]["annotations"] != before

    @property
    def database(self) -> PostgresServer:
        return self.rehearsal.control_plane.pods.database(NAMESPACE)

    @property
    def image(self) -> str:
        image: str = self.get("deployment", "invoicetron")["spec"]["template"]["spec"]["containers"][0]["image"]
        return image


@contextmanager
def migrations_succeed(rehearsal: Rehearsal) -> Iterator[None]:
    """Lets every pod of a migration succeed, whatever its image is."""
    cluster = CoreV1Api(rehearsal.client)

    def succeed() -> None:
        for pod in cluster.list_namespaced_pod(NAMESPACE, label_selector="app=invoicetron-migrate").items:
            assert pod.metadata
            with suppress(NotFoundException):  # gone by now
                done = {"status": {"phase": "Succeeded"}}
                cluster.patch_namespaced_pod_status(str(pod.metadata.name), NAMESPACE, done)

    with repeated(succeed, every=0.2):
        yield


@contextmanager
def released(deployed: Deployed) -> Iterator[None]:
    """Afterwards the app runs as before a run of `ops` stopped it."""
    try:
        yield
    finally:
        start = {"metadata": {"annotations": {STOPPED_BY: None}}, "spec": {"replicas": 1}}
        manager = f"--field-manager={PROVIDER}"
        deployed.rehearsal.kubectl("-n", NAMESPACE, *PATCH, manager, f"--patch={json.dumps(start)}")


@contextmanager
def backups(deployed: Deployed, *, spec: dict[str, Any]) -> Iterator[None]:
    """The backup's CronJob with a changed template for a while."""
    live = deployed.get("cronjob", BACKUP)["spec"]["jobTemplate"]
    patch = ["-n", NAMESPACE, "patch", "cronjob", BACKUP, "--patch"]
    deployed.rehearsal.kubectl(*patch, json.dumps({"spec": {"jobTemplate": {"spec": spec}}}))
    try:
        yield
    finally:
        deployed.rehearsal.kubectl(*patch, json.dumps({"spec": {"jobTemplate": live}}))
