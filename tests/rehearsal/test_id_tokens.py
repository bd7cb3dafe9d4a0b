"""GitLab's ID tokens at the real API server, with the configuration that docs/app-pipeline.md gives for it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.pipeline import REPOSITORY
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from rehearsal.vendors.server import serve
from tests.pages import blocks
from tests.rehearsal.app_deployed import Deployed
from tests.rehearsal.certificates import self_signed
from tests.rehearsal.cleanup import rehearsed
from tests.rehearsal.test_delivery import is_refused_soon, pipeline_token
from tests.rehearsal.test_deployer_access import ALLOWED, NAMESPACE, REFUSED, with_token

IMAGES = "registry.k8s.rommelporras.com/0xwsh/invoicetron/dev"
DEPLOYS: dict[str, Any] = {"ref": "develop", "protected": True, "environment": "development"}
"""The job whose user may deploy."""


@pytest.fixture(scope="module")
def stack(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The stack dev, switched from a token to ID tokens once the API server accepts them."""
    folder = tmp_path_factory.mktemp("id-tokens")
    with rehearsed(tools, control_plane, folder / "rehearsal") as one, issuer(one, folder):
        one.program.init("dev")
        one.configure("dev", "cluster.apiUrl", control_plane.url)
        one.configure("dev", "delivery.admissionPolicy", "true")
        one.program.up("dev", "--skip-preview")
        old = pipeline_token(one)
        one.configure("dev", "delivery.credentials", "id-token")
        with pytest.raises(EngineError, match="The branch develop of 0xwsh/invoicetron is not protected"):
            one.program.up("dev", "--skip-preview")
        assert pipeline_token(one) == old, "nothing was changed"
        one.gitlab.project.branches.create({"branch": "develop", "ref": "main"})
        one.gitlab.project.branches.protect({"name": "develop"})
        one.program.up("dev", "--skip-preview")
        assert is_refused_soon(one, old)
        yield one


@contextmanager
def issuer(rehearsal: Rehearsal, folder: Path) -> Iterator[None]:
    """Serves GitLab's keys, and points the API server to them with the page's own configuration."""
    files = folder / "key.pem", folder / "certificate.pem"
    files[0].touch(mode=0o600)
    for file, text in zip(files, self_signed("localhost"), strict=True):
        file.write_text(text)
    (page,) = [one for one in blocks(REPOSITORY / "docs" / "app-pipeline.md") if one.mark == "authentication"]
    configuration = yaml.safe_load(page.text)
    with serve(rehearsal.gitlab.id_tokens.app(), certificate=files) as url:
        configuration["jwt"][0]["issuer"] |= {
            "audiences": [rehearsal.control_plane.url],
            # The issuer's name stays; its address and its certificate are the rehearsal's.
            "discoveryURL": f"{url}/.well-known/openid-configuration",
            "certificateAuthority": files[1].read_text(),
        }
        with rehearsal.control_plane.authenticating_with(configuration):
            yield


def token(stack: Rehearsal, **job: Any) -> str:
    project = stack.gitlab.project
    wanted = {"audience": stack.control_plane.url, **DEPLOYS, **job}
    return stack.gitlab.id_tokens.issue(wanted.pop("project", project.id), project.path, **wanted)


@pytest.fixture
def good(stack: Rehearsal) -> str:
    """The token of a job that may deploy, once the API server has loaded the configuration."""
    deadline = time.monotonic() + 60
    while whoami(stack, token(stack)).startswith("refused") and time.monotonic() < deadline:
        time.sleep(0.5)
    return token(stack)


def whoami(stack: Rehearsal, bearer: str) -> str:
    done = with_token(stack, bearer, "auth", "whoami", "--output=jsonpath={.status.userInfo.username}")
    return done.stdout if done.returncode == 0 else f"refused {done.stderr}"


def test_a_job_of_the_branch_and_the_environment_may_do_what_the_pipeline_does_and_nothing_else(
    stack: Rehearsal, good: str
) -> None:
    assert whoami(stack, good) == "gitlab:project:57:branch:develop:environment:development"

    def may(call: tuple[str, ...]) -> bool:
        return with_token(stack, good, "-n", NAMESPACE, "auth", "can-i", *call).stdout.strip() == "yes"

    assert [call for call in ALLOWED if not may(call)] == []
    assert [call for call in REFUSED if may(call)] == []


@pytest.mark.parametrize(
    ("job", "why"),
    [
        ({"audience": "https://another.example.com"}, "the audience is another API server"),
        ({"protected": False}, "the branch is not protected"),
        ({"claims": {"ref_protected": True}}, "a claim of another type"),
        ({"environment": None}, "a job without an environment"),
        ({"seconds": -1}, "the token has ended"),
        ({"seconds": 7300}, "a job that gives itself a longer life"),
        ({"claims": {"iss": "https://gitlab.com"}}, "another GitLab"),
        ({"claims": {"nbf": 4_000_000_000, "exp": 4_000_000_100, "iat": 4_000_000_000}}, "a token of the future"),
    ],
)
def test_a_token_with_a_wrong_claim_is_not_accepted(stack: Rehearsal, good: str, job: dict[str, Any], why: str) -> None:
    assert whoami(stack, good).startswith("gitlab:")
    assert whoami(stack, token(stack, **job)).startswith("refused"), why


def test_a_token_that_gitlab_did_not_sign_is_not_accepted(stack: Rehearsal, good: str) -> None:
    stranger = type(stack.gitlab.id_tokens)()
    project = stack.gitlab.project
    forged = stranger.issue(project.id, project.path, audience=stack.control_plane.url, **DEPLOYS)
    assert whoami(stack, forged).startswith("refused")
    head, payload, _ = good.split(".")
    assert whoami(stack, f"{head}.{payload}.{forged.rpartition('.')[2]}").startswith("refused")


@pytest.mark.parametrize(
    "job",
    [
        {"project": 58},
        {"ref": "main"},
        {"ref": "develop", "ref_type": "tag"},
        {"environment": "production"},
        {"environment": "development/2"},
    ],
    ids=["another project", "another branch", "a tag of that name", "another environment", "an environment below"],
)
def test_another_job_is_another_user_who_may_do_nothing(stack: Rehearsal, good: str, job: dict[str, Any]) -> None:
    another = token(stack, **job)
    assert whoami(stack, another) not in {whoami(stack, good), ""}
    assert whoami(stack, another).startswith("gitlab:project:")
    for call in (["get", "deployments"], ["get", "jobs"], ["get", "pods"]):
        done = with_token(stack, another, "-n", NAMESPACE, *call)
        assert "Forbidden" in done.stderr, done.stdout


def test_the_admission_policy_applies_to_that_user_as_it_did_to_the_account(stack: Rehearsal, good: str) -> None:
    def patched(*arguments: str) -> str:
        return with_token(stack, good, "-n", NAMESPACE, *arguments).stderr

    denied = "denied request: the pipeline changes no more than the image of the app's container"
    replicas = json.dumps({"spec": {"replicas": 0}})
    deadline = time.monotonic() + 30  # the API server compiles a changed policy some seconds later
    while denied not in (said := patched("patch", "deployment", "invoicetron", "--dry-run=server", "-p", replicas)):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    other = patched("set", "image", "deployment/invoicetron", "invoicetron=docker.io/library/nginx:1")
    assert "denied request: the image has to be one of" in other
    bare = ["create", "job", "a", "--image=busybox:1.36"]
    assert "denied request: the pipeline creates Jobs from these CronJobs only" in patched(*bare)


def test_the_pipeline_deploys_and_rolls_back_without_a_stored_token(
    stack: Rehearsal, good: str, tmp_path: Path
) -> None:
    assert good
    variables = stack.gitlab.project.variables.stored()
    assert "KUBE_TOKEN" not in {one["key"] for one in variables}
    assert not [one for one in variables if one["masked"]]
    secrets = stack.kubectl("-n", NAMESPACE, "get", "secrets,serviceaccounts", "-o", "name")
    assert "gitlab-deploy" not in secrets
    deployed = Deployed(stack, tmp_path / "app")
    images = []
    for _ in range(2):
        commit = deployed.repository.commit()
        passed, output = deployed.job("deploy:development")
        assert passed, output
        assert deployed.image == f"{IMAGES}:{commit}"
        images.append(deployed.image)
    deployed.job("rollback:development")
    assert deployed.image == images[0]
    assert not stack.program.preview("dev").changes


def test_a_job_that_is_another_user_or_none_says_so_before_it_touches_anything(
    stack: Rehearsal, good: str, tmp_path: Path
) -> None:
    assert good
    deployed = Deployed(stack, tmp_path / "app")
    before = deployed.image
    passed, output = deployed.job("deploy:development", KUBE_ID_TOKEN=token(stack, environment="production"))
    assert not passed
    assert "environment:production, and only gitlab:project:57:branch:develop:environment:development may" in output
    passed, output = deployed.job("deploy:development", KUBE_ID_TOKEN=token(stack, protected=False))
    assert not passed
    assert "The API server does not accept this job's ID token." in output
    assert deployed.image == before


def test_verify_sees_who_may_deploy_and_a_token_that_was_left_behind(stack: Rehearsal) -> None:
    def seen() -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "ops", "verify", "--stack", "dev", "--json"],
            cwd=stack.program.directory,
            env={**stack.program.environment, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
        checks = json.loads(done.stdout)["checks"]
        assert "deployer-token" not in {one["check"] for one in checks}
        return {one["check"]: f"{one['ok']}: {one['seen']}" for one in checks}

    found = seen()
    assert found["deployer-identity"].startswith("True: the Role is bound to User gitlab:project:57:branch:develop:")
    assert found["ci-variables"].startswith("True")
    everybody = json.dumps([{"op": "replace", "path": "/subjects/0/name", "value": "gitlab:project:58"}])
    stack.kubectl("-n", NAMESPACE, "patch", "rolebinding", "gitlab-deploy", "--type=json", "-p", everybody)
    variables = stack.gitlab.project.variables
    variables.create({"key": "KUBE_TOKEN", "value": "by-hand", "environment_scope": "development"})
    found = seen()
    assert found["deployer-identity"].startswith("False: the Role is bound to User gitlab:project:58, not to User")
    assert "KUBE_TOKEN is still in scope development" in found["deployer-identity"]
    variables.delete("KUBE_TOKEN", "development")
    stack.program.up("dev", "--skip-preview")
    assert seen()["deployer-identity"].startswith("True")
