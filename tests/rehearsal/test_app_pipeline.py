"""The app's pipeline: valid for GitLab, and its jobs deploy into the rehearsal's cluster with what `up` gave GitLab."""

from __future__ import annotations

import http.server
import json
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rehearsal.controlplane import ControlPlane
from rehearsal.pipeline import PIPELINE, AppRepository, PipelineError, Repository
from rehearsal.toolchain import Tools
from rehearsal.world import World
from tests.rehearsal.certificates import self_signed
from tests.rehearsal.cleanup import rehearsed

HOST = "invoicetron.dev.k8s.rommelporras.com"
REGISTRY = "registry.k8s.rommelporras.com/0xwsh/invoicetron/dev"
STAGES = ["validate", "test", "build", "deploy", "verify"]


@pytest.fixture
def repository(tmp_path: Path) -> AppRepository:
    return AppRepository(tmp_path / "app", branch="develop")


def test_the_pipeline_is_valid_by_gitlab_s_own_schema(repository: AppRepository) -> None:
    assert repository.jobs()


@pytest.mark.parametrize(
    ("good", "bad"), [("resource_group: development", "resource_group: [1]"), ("needs: []", "nees: []")]
)
def test_a_pipeline_that_gitlab_would_refuse_is_refused(tmp_path: Path, good: str, bad: str) -> None:
    text = PIPELINE.read_text()
    assert good in text
    with pytest.raises(PipelineError, match=r"Invalid \.gitlab-ci\.yml"):
        AppRepository(tmp_path / "app", branch="develop", pipeline=text.replace(good, bad)).jobs()


@pytest.mark.parametrize(("branch", "environment"), [("develop", "development"), ("main", "production")])
def test_a_push_goes_through_all_stages_into_the_branch_s_environment(
    tmp_path: Path, branch: str, environment: str
) -> None:
    jobs = stages(AppRepository(tmp_path / "app", branch=branch))
    assert {name for name, stage in jobs.items() if stage in {"build", "deploy", "verify"}} == {
        f"build:{environment}",
        f"deploy:{environment}",
        f"verify:{environment}",
    }
    assert set(jobs.values()) == set(STAGES)


def test_a_merge_request_is_checked_and_neither_built_nor_deployed(repository: AppRepository) -> None:
    assert set(stages(repository, source="merge_request_event").values()) == {"validate", "test"}


def test_no_job_prints_a_secret_or_talks_to_the_cluster_without_verifying_it(repository: AppRepository) -> None:
    dangerous = re.compile(r"--insecure|insecure-skip-tls-verify|set -x|xtrace|--token|printenv|--password ")
    for name, script in scripts(repository).items():
        assert not dangerous.search(script), name


def test_one_deployment_at_a_time_and_none_is_cut_short(tmp_path: Path) -> None:
    for branch, environment in (("develop", "development"), ("main", "production")):
        job = AppRepository(tmp_path / branch, branch=branch).definitions[f"deploy:{environment}"]
        assert job["resource_group"] == environment
        assert job["interruptible"] is False


def test_the_jobs_shell_is_clean(repository: AppRepository, tmp_path: Path) -> None:
    for script in scripts(repository).values():
        shellcheck(script, tmp_path)


def stages(repository: AppRepository, *, source: str = "push") -> dict[str, str]:
    return {name: job["stage"] for name, job in repository.jobs(source=source).items()}


def scripts(repository: Repository) -> dict[str, str]:
    """What each job runs."""
    return {name: "\n".join(job["script"]) for name, job in repository.definitions.items()}


def shellcheck(script: str, directory: Path) -> None:
    file = directory / "script.sh"
    file.write_text(f"#!/bin/sh\n{script}\n")
    executable = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(executable), str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


# Stands in for a command of a job: notes its arguments and its standard input, then does what it is told to.
RECORDER = """#!/bin/sh
printf '%s\\n' "$*" >>"{log}"
{then}
"""


class Deployed:
    """The stack, and a clone of the app's repository to deploy from."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        # gitlab-ci-local would start the service with the real docker; the jobs' own docker is recorded instead.
        pipeline, services = re.subn(r"\n  services: .*", "", PIPELINE.read_text())
        assert services == 1
        self.repository = AppRepository(directory, branch="develop", pipeline=pipeline)
        self._tools = directory / "tools"
        self._tools.mkdir()
        self._arguments = directory / "arguments.log"
        self.record("kubectl", then=f'exec "{world.tools.kubectl}" "$@"')

    def record(self, command: str, *, then: str) -> None:
        """Has the jobs find `command` in a form that keeps its arguments, which everybody on a runner can read."""
        file = self._tools / command
        file.write_text(RECORDER.format(log=self._arguments, then=then))
        file.chmod(0o755)

    @property
    def arguments(self) -> str:
        """The arguments of every recorded command so far."""
        return self._arguments.read_text()

    def job(self, name: str, **variables: str) -> tuple[bool, str]:
        runner = {"PATH": str(self._tools)}
        run = self.repository.run(name, self.world.gitlab.project, variables=variables, runner=runner)
        shown = run.output + (self.arguments if self._arguments.exists() else "")
        for secret in self.world.gitlab.handed_out:
            assert secret not in shown
        return run.passed, run.output

    def get(self, *arguments: str) -> Any:
        return json.loads(self.world.kubectl("-n", "invoicetron-dev", "get", *arguments, "--output=json"))

    def give_migrations(self, *, seconds: int) -> None:
        deadline = json.dumps({"spec": {"jobTemplate": {"spec": {"activeDeadlineSeconds": seconds}}}})
        self.world.kubectl("-n", "invoicetron-dev", "patch", "cronjob", "invoicetron-migrate", "--patch", deadline)

    def rotate_and_up(self) -> None:
        """An `up` that changes the Deployment elsewhere than in its image."""
        before = self.get("deployment", "invoicetron")["spec"]["template"]["metadata"]["annotations"]
        self.world.onepassword.rotate("dev")
        self.world.program.up("dev")
        assert self.get("deployment", "invoicetron")["spec"]["template"]["metadata"]["annotations"] != before

    @property
    def image(self) -> str:
        image: str = self.get("deployment", "invoicetron")["spec"]["template"]["spec"]["containers"][0]["image"]
        return image


@pytest.fixture(scope="module")
def stack(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The stack dev, brought up once for all tests here; each deploys a commit of its own."""
    with rehearsed(tools, control_plane, tmp_path_factory.mktemp("pipeline") / "rehearsal") as one:
        one.program.init("dev")
        one.configure("dev", "cluster.apiUrl", one.control_plane.url)
        one.program.up("dev", "--skip-preview")
        yield one


@pytest.fixture
def deployed(stack: World, tmp_path: Path) -> Deployed:
    return Deployed(stack, tmp_path / "app")


def test_the_deploy_job_migrates_and_rolls_out_the_commit_s_image(deployed: Deployed) -> None:
    commit = deployed.repository.commit()
    passed, output = deployed.job("deploy:development")
    assert passed, output
    assert deployed.image == f"{REGISTRY}:{commit}"
    job = deployed.get("job", f"invoicetron-migrate-{commit}")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"{REGISTRY}:{commit}"
    assert container["env"][0]["valueFrom"]["secretKeyRef"]["key"] == "database-url"
    assert deployed.get("deployment", "invoicetron")["status"]["readyReplicas"] == 1


def test_the_image_is_owned_by_a_field_manager_that_up_respects(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    managed = deployed.get("deployment", "invoicetron", "--show-managed-fields")["metadata"]["managedFields"]
    owners = {
        each["manager"] for each in managed if '"f:image"' in json.dumps(each["fieldsV1"]) and "subresource" not in each
    }
    assert "gitlab-ci" in owners
    assert not {owner for owner in owners if owner.startswith("kubectl")}


def test_a_job_that_is_run_again_for_the_same_commit_passes_again(deployed: Deployed) -> None:
    for _ in range(2):
        passed, output = deployed.job("deploy:development")
        assert passed, output


def test_a_failed_migration_fails_the_job_and_leaves_the_old_version_running(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    before = deployed.image
    # A person's impatience: the migration is given a second, which its pod, whose image is not to be had, cannot keep.
    deployed.give_migrations(seconds=1)
    passed, output = deployed.job("deploy:development", CI_COMMIT_SHORT_SHA="placeholder")
    deployed.give_migrations(seconds=600)
    assert not passed
    assert "The migration is failed" in output
    assert deployed.image == before


@contextmanager
def migrations_succeed(world: World) -> Iterator[None]:
    """Every pod of a migration ends well, whatever its image is."""
    ended = threading.Event()

    def succeed() -> None:
        pods = ["-n", "invoicetron-dev", "get", "pods", "--selector=app=invoicetron-migrate", "--output=name"]
        while not ended.wait(0.2):
            for pod in world.kubectl(*pods).split():
                done = json.dumps({"status": {"phase": "Succeeded"}})
                patch = ["patch", pod, "--subresource=status", "--patch", done]
                world.kubectl("-n", "invoicetron-dev", *patch, check=False)  # unless it is gone by now

    thread = threading.Thread(target=succeed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_failed_rollout_is_undone_and_fails_the_job_and_the_next_up_keeps_the_image(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    before = deployed.image
    # An image that is not to be had: the migration is declared done, so that the rollout is what fails.
    with migrations_succeed(deployed.world):
        passed, output = deployed.job("deploy:development", CI_COMMIT_SHORT_SHA="placeholder", ROLLOUT_TIMEOUT="5s")
    assert not passed
    assert f"Going back to {before}" in output
    assert deployed.image == before
    assert deployed.get("deployment", "invoicetron")["status"]["readyReplicas"] == 1
    deployed.rotate_and_up()
    assert deployed.image == before


def test_an_up_after_a_person_s_rollout_undo_keeps_the_image_that_runs(deployed: Deployed) -> None:
    for _ in range(2):
        deployed.repository.commit()
        passed, output = deployed.job("deploy:development")
        assert passed, output
    latest = deployed.image
    deployed.world.kubectl("-n", "invoicetron-dev", "rollout", "undo", "deployment/invoicetron")
    earlier = deployed.image
    assert earlier != latest
    deployed.rotate_and_up()
    assert deployed.image == earlier
    deployed.repository.commit()
    passed, output = deployed.job("deploy:development")
    assert passed, output
    assert deployed.image not in {earlier, latest}


def test_the_image_is_built_for_its_environment_and_pushed_with_the_job_s_own_login(deployed: Deployed) -> None:
    deployed.record("docker", then='[ "$1" != login ] || [ "$(cat)" = job-password ]')
    registry = {"CI_REGISTRY": "registry.example.com", "CI_REGISTRY_USER": "gitlab-ci-token"}
    commit = deployed.repository.commit()
    passed, output = deployed.job("build:development", CI_REGISTRY_PASSWORD="job-password", **registry)
    assert passed, output
    login, build, push = deployed.arguments.splitlines()
    assert login == "login --username gitlab-ci-token --password-stdin registry.example.com"
    assert f"--build-arg NEXT_PUBLIC_APP_URL=https://{HOST} " in build
    assert f"--tag {REGISTRY}:{commit} ." in build
    assert push == f"push {REGISTRY}:{commit}"


def test_without_the_token_the_job_says_what_to_do(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development", KUBE_TOKEN="")
    assert not passed
    assert "KUBE_TOKEN" in output
    assert "run pulumi up" in output


def test_a_protected_token_is_not_seen_by_an_unprotected_branch(deployed: Deployed) -> None:
    project = deployed.world.gitlab.project
    project.variables.update("KUBE_TOKEN", "development", {"protected": True})
    passed, output = deployed.job("deploy:development")
    assert not passed
    assert "protect the branch" in output
    project.branches.protect({"name": "develop"})
    try:
        passed, output = deployed.job("deploy:development")
        assert passed, output
    finally:
        project.branches.unprotect("develop")
        project.variables.update("KUBE_TOKEN", "development", {"protected": False})


@contextmanager
def app(repository: AppRepository, directory: Path, *statuses: int) -> Iterator[list[str]]:
    """The app behind its host name, answering with these statuses in turn, the last of them for ever."""
    answers = list(statuses)
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Location", "https://login.example.com/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    certificate = directory / "app.pem"
    certificate.write_text("".join(self_signed(HOST)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    repository.curlrc.write_text(
        f'connect-to = "{HOST}:443:127.0.0.1:{server.server_port}"\ncacert = "{certificate}"\nretry-delay = 1\n'
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()


def test_the_verify_job_waits_until_the_app_is_healthy(deployed: Deployed, tmp_path: Path) -> None:
    with app(deployed.repository, tmp_path, 503, 200) as asked:
        passed, output = deployed.job("verify:development")
    assert passed, output
    assert asked == ["/api/health"] * 2


def test_a_redirect_to_a_login_is_no_health(deployed: Deployed, tmp_path: Path) -> None:
    with app(deployed.repository, tmp_path, 302):
        passed, output = deployed.job("verify:development")
    assert not passed
    assert "answers 302, expected is 200" in output
