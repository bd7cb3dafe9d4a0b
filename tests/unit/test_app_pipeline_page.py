"""docs/app-pipeline.md and the pipeline that it describes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.pages import blocks
from tests.unit.program import Program

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "app-pipeline.md"


def runners() -> list[dict[str, Any]]:
    return [tomllib.loads(block.text)["runners"][0]["kubernetes"] for block in blocks(PAGE) if block.info == "toml"]


def test_the_runner_shares_the_folder_in_which_the_jobs_look_for_certificates() -> None:
    docker = yaml.safe_load((REPOSITORY / "ci" / "docker.gitlab-ci.yml").read_text())[".docker"]
    (volume,) = runners()[0]["volumes"]["empty_dir"]
    assert volume["mount_path"] == docker["variables"]["DOCKER_CERT_PATH"]
    assert docker["variables"]["DOCKER_HOST"].endswith(docker["services"][0]["variables"]["HEALTHCHECK_TCP_PORT"])


def test_the_runner_s_policy_allows_the_pods_and_the_port_that_the_route_leads_to(dev: Program) -> None:
    (block,) = [block for block in blocks(PAGE) if block.is_shell]
    policy = yaml.safe_load(block.text.partition("<<'POLICY'\n")[2].partition("POLICY\n")[0])
    _, to_app = policy["spec"]["egress"]
    service = dev.one("Service", "invoicetron").inputs
    labels = to_app["toEndpoints"][0]["matchLabels"]
    assert labels.pop("k8s:io.kubernetes.pod.namespace") == service["metadata"]["namespace"]
    assert labels == service["spec"]["selector"]
    assert int(to_app["toPorts"][0]["ports"][0]["port"]) == service["spec"]["ports"][0]["port"]
