"""The jobs of the app's pipeline that build its image, with a recorder in the builder's place."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.pipeline import REPOSITORY
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.pages import blocks
from tests.rehearsal.app_deployed import REGISTRY, Deployed, dev_up
from tests.rehearsal.app_served import HOST
from tests.rehearsal.test_app_pipeline_definition import scripts, shellcheck

REGISTRY_LOGIN = {
    "CI_REGISTRY": "registry.example.com",
    "CI_REGISTRY_IMAGE": REGISTRY.removesuffix("/dev"),
    "CI_REGISTRY_USER": "gitlab-ci-token",
    "CI_REGISTRY_PASSWORD": "job-password",
}
DIGEST = f"sha256:{'ab' * 32}"
DAEMON = '[ "$1" != login ] || cat >/dev/null'
"""A daemon that answers. A login that ended before it had read the password would end the job with SIGPIPE."""

SLOW_DAEMON = """
case $1 in
  info) [ "$(wc -l <"{log}")" -ge {calls} ] || {{ echo 'Cannot connect to the Docker daemon'; exit 1; }} ;;
  login) [ "$(cat)" = job-password ] ;;
  image) printf 'another.example.com/x@sha256:00\\n{repository}@{digest}\\n' ;;
esac
"""


@pytest.fixture(scope="module")
def stack(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The stack dev: the jobs need what its `up` gave GitLab."""
    with dev_up(tools, control_plane, tmp_path_factory.mktemp("builds") / "rehearsal") as one:
        yield one


@pytest.fixture
def deployed(stack: Rehearsal, tmp_path: Path) -> Deployed:
    return Deployed(stack, tmp_path / "app")


def test_the_image_is_built_for_its_environment_and_pushed_with_the_job_s_own_login(deployed: Deployed) -> None:
    deployed.record("docker", then=SLOW_DAEMON.format(log=deployed.log, calls=3, repository=REGISTRY, digest=DIGEST))
    commit = deployed.repository.commit()
    passed, output = deployed.job("build:development", **REGISTRY_LOGIN)
    assert passed, output
    *waiting, login, build, push, inspect = deployed.arguments.splitlines()
    assert waiting == ["info"] * 3, "the job waits for the daemon"
    assert login == "login --username gitlab-ci-token --password-stdin registry.example.com"
    assert f"--build-arg NEXT_PUBLIC_APP_URL=https://{HOST} " in build
    assert f"--tag {REGISTRY}:{commit} ." in build
    assert push == f"push {REGISTRY}:{commit}"
    assert inspect.startswith("image inspect")
    passed, output = deployed.job("deploy:development")
    assert passed, output
    assert deployed.image == f"{REGISTRY}:{commit}@{DIGEST}", "the image that was built, wherever the tag points by now"


def test_the_build_fails_if_the_digest_of_the_image_is_unknown(deployed: Deployed) -> None:
    deployed.record("docker", then=DAEMON)
    passed, output = deployed.job("build:development", **REGISTRY_LOGIN)
    assert not passed
    assert f"does not report the digest of {REGISTRY}:" in output


def test_the_build_gives_up_on_a_missing_docker_daemon_before_the_job_s_timeout(deployed: Deployed) -> None:
    deployed.record("docker", then=SLOW_DAEMON.format(log=deployed.log, calls=1000, repository=REGISTRY, digest=DIGEST))
    passed, output = deployed.job("build:development", DOCKER_PATIENCE="2", **REGISTRY_LOGIN)
    assert not passed
    assert "Cannot connect to the Docker daemon" in output
    assert "see docs/app-pipeline.md" in output
    assert set(deployed.arguments.splitlines()) == {"info"}


@pytest.mark.parametrize("image", ["quay.io/0xwsh/invoicetron/dev", f"{REGISTRY.removesuffix('/dev')}-other/dev"])
def test_an_image_that_the_job_s_login_cannot_push_is_refused_before_it_is_built(
    deployed: Deployed, image: str
) -> None:
    deployed.record("docker", then=DAEMON)
    passed, output = deployed.job("build:development", APP_IMAGE=image, **REGISTRY_LOGIN)
    assert not passed
    assert f"This job can push only to {REGISTRY.removesuffix('/dev')}, and {image} is not in it." in output
    assert "build" not in deployed.arguments


def test_the_build_fails_with_advice_if_the_project_has_no_registry(deployed: Deployed) -> None:
    deployed.record("docker", then=DAEMON)
    passed, output = deployed.job("build:development", **{**REGISTRY_LOGIN, "CI_REGISTRY_IMAGE": ""})
    assert not passed
    assert "switch on the container registry of this project" in output


def test_the_documented_build_without_privileges_pushes_the_image(deployed: Deployed) -> None:
    (block,) = [block for block in blocks(REPOSITORY / "docs" / "app-pipeline.md") if block.mark == "buildkit"]
    with (deployed.repository.clone / ".gitlab-ci.yml").open("a") as file:
        file.write(block.text)
    shellcheck(scripts(deployed.repository)["build:development"], deployed.repository.clone)
    written = deployed.log.with_name("metadata.json")
    written.write_text(json.dumps({"containerimage.config.digest": "0", "containerimage.digest": DIGEST}, indent=2))
    deployed.record(
        "buildctl-daemonless.sh",
        then=f'cp ~/.docker/config.json "{deployed.log}.json"; cp "{written}" image.json',
    )
    commit = deployed.repository.commit()
    passed, output = deployed.job("build:development", **REGISTRY_LOGIN)
    assert passed, output
    assert f"--opt build-arg:NEXT_PUBLIC_APP_URL=https://{HOST} " in deployed.arguments
    assert f"--output type=image,name={REGISTRY}:{commit},push=true" in deployed.arguments
    (login,) = json.loads(deployed.log.with_suffix(".log.json").read_text())["auths"].values()
    assert base64.b64decode(login["auth"]) == b"gitlab-ci-token:job-password"
    assert (deployed.repository.clone / "image.env").read_text() == f"IMAGE_DIGEST={DIGEST}\n"
