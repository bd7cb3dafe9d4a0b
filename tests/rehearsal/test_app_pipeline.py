"""The app's pipeline: valid for GitLab, and its jobs deploy into the rehearsal's cluster with what `up` gave GitLab."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rehearsal.controlplane import ControlPlane
from rehearsal.pipeline import PIPELINE, AppRepository, PipelineError
from rehearsal.toolchain import Tools
from rehearsal.world import World, world

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
    jobs = AppRepository(tmp_path / "app", branch=branch).jobs()
    assert {name for name, stage in jobs.items() if stage in {"build", "deploy", "verify"}} == {
        f"build:{environment}",
        f"deploy:{environment}",
        f"verify:{environment}",
    }
    assert set(jobs.values()) == set(STAGES)


def test_a_merge_request_is_checked_and_neither_built_nor_deployed(repository: AppRepository) -> None:
    assert set(repository.jobs(merge_request=True).values()) == {"validate", "test"}


def definitions() -> dict[str, dict[str, Any]]:
    """The jobs, each with what it extends."""
    pipeline: dict[str, Any] = yaml.safe_load(PIPELINE.read_text())

    def resolved(name: str) -> dict[str, Any]:
        job: dict[str, Any] = pipeline[name]
        bases = job.get("extends", [])
        merged: dict[str, Any] = {}
        for base in [bases] if isinstance(bases, str) else bases:
            merged |= resolved(base)
        return merged | job

    return {name: resolved(name) for name, job in pipeline.items() if isinstance(job, dict) and "extends" in job}


@pytest.mark.parametrize("name", definitions())
def test_no_job_prints_a_secret_or_talks_to_the_cluster_without_verifying_it(name: str) -> None:
    script = definitions()[name]["script"]
    text = script if isinstance(script, str) else "\n".join(script)
    for dangerous in (
        "--insecure",
        "insecure-skip-tls-verify",
        "set -x",
        "xtrace",
        "--token",
        "printenv",
        "--password ",
    ):
        assert dangerous not in text


def test_one_deployment_at_a_time_and_none_is_cut_short() -> None:
    for environment in ("development", "production"):
        job = definitions()[f"deploy:{environment}"]
        assert job["resource_group"] == environment
        assert job["interruptible"] is False


@pytest.mark.parametrize("name", definitions())
def test_the_jobs_shell_is_clean(name: str, tmp_path: Path) -> None:
    script = definitions()[name]["script"]
    file = tmp_path / "script.sh"
    file.write_text("#!/bin/sh\n" + (script if isinstance(script, str) else "\n".join(script)) + "\n")
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(shellcheck), str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout


class Deployed:
    """The stack, and a clone of the app's repository to deploy from."""

    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.repository = AppRepository(directory, branch="develop")

    def job(self, name: str, **variables: str) -> tuple[bool, str]:
        run = self.repository.run(
            name, self.world.gitlab.project, path=self.world.tools.kubectl.parent, variables=variables
        )
        for secret in self.world.gitlab.handed_out:
            assert secret not in run.output
        return run.passed, run.output

    def get(self, *arguments: str) -> Any:
        return json.loads(self.world.kubectl("-n", "invoicetron-dev", "get", *arguments, "--output=json"))

    def give_migrations(self, *, seconds: int) -> None:
        deadline = json.dumps({"spec": {"jobTemplate": {"spec": {"activeDeadlineSeconds": seconds}}}})
        self.world.kubectl("-n", "invoicetron-dev", "patch", "cronjob", "invoicetron-migrate", "--patch", deadline)

    @property
    def image(self) -> str:
        image: str = self.get("deployment", "invoicetron")["spec"]["template"]["spec"]["containers"][0]["image"]
        return image


@pytest.fixture(scope="module")
def stack(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The stack dev, brought up once for all tests here; each deploys a commit of its own."""
    with world(tools, control_plane, tmp_path_factory.mktemp("pipeline") / "rehearsal") as one:
        one.program.init("dev")
        one.configure("dev", "cluster.apiUrl", one.control_plane.url)
        one.program.up("dev", "--skip-preview")
        yield one
        one.kubectl("delete", "namespace", "invoicetron-dev", "--ignore-not-found")


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
                world.kubectl("-n", "invoicetron-dev", "patch", pod, "--subresource=status", "--patch", done)

    thread = threading.Thread(target=succeed, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_failed_rollout_is_undone_and_fails_the_job(deployed: Deployed) -> None:
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

    certificate = _certificate(directory)
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


def _certificate(directory: Path) -> Path:
    """Key and certificate of the app's host name, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "app.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


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
