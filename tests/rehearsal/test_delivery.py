"""Delivery under the real engine: GitLab, 1Password and the cluster at once."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any

import pytest

from rehearsal.emulators.server import Fault
from rehearsal.engine import EngineError
from rehearsal.life import HOSTNAMES, PIPELINE_IMAGE, Life
from rehearsal.world import World
from tests.rehearsal.test_killed_engine import recover


def gitlab(world: World) -> dict[str, Any]:
    """Everything of the GitLab project that a stack could make; times and states that move by themselves left out."""
    project = world.gitlab.project
    return {
        "environments": sorted(one["name"] for one in project.environments.entries({})),
        "variables": sorted((one["environment_scope"], one["key"]) for one in project.variables.entries({})),
        "tokens": sorted(one["name"] for one in active_tokens(world)),
    }


def active_tokens(world: World) -> list[dict[str, Any]]:
    return [one for one in world.gitlab.project.deploy_tokens.entries({}) if not one["revoked"]]


def pull_login(world: World, stack: str) -> tuple[str, str]:
    """User name and password in the pull secret."""
    secret = json.loads(world.kubectl("-n", f"invoicetron-{stack}", "get", "secret", "gitlab-registry", "-o", "json"))
    (login,) = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"].values()
    return login["username"], login["password"]


def test_destroying_dev_leaves_nothing_of_dev_and_touches_nothing_of_prod_or_of_people(rehearsal: World) -> None:
    project = rehearsal.gitlab.project
    project.environments.create({"name": "review"})
    project.variables.create({"key": "BY_HAND", "value": "1", "environment_scope": "*"})
    project.deploy_tokens.create({"name": "by-hand", "scopes": ["read_registry"]})
    items = rehearsal.onepassword.titles()
    for stack in ("prod", "dev"):
        rehearsal.program.init(stack)
    rehearsal.program.up("prod")
    before, with_prod = gitlab(rehearsal), rehearsal.onepassword.titles()
    rehearsal.program.up("dev")
    assert gitlab(rehearsal) != before
    rehearsal.program.destroy("dev")
    assert gitlab(rehearsal) == before
    assert rehearsal.onepassword.titles() == with_prod
    assert set(items) <= set(with_prod)
    assert not Life(rehearsal, "dev").objects()
    assert not rehearsal.program.up("prod").changes


def test_a_new_expiry_issues_a_new_token_before_the_old_one_goes(rehearsal: World) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev")
    (old,) = active_tokens(rehearsal)
    login = pull_login(rehearsal, "dev")
    rehearsal.configure("dev", "delivery.pullCredentials.expires", "2028-06-30")
    rehearsal.gitlab.app.forget()
    rehearsal.program.up("dev")
    (new,) = active_tokens(rehearsal)
    assert new["id"] != old["id"]
    calls = [call.method for call in rehearsal.gitlab.app.writes if "deploy_tokens" in call.path]
    assert calls == ["POST", "DELETE"]
    assert pull_login(rehearsal, "dev") != login
    assert pull_login(rehearsal, "dev")[0] == new["username"]


def failure_of_up(world: World) -> str:
    """The output of an `up` of dev that failed; empty where it went through."""
    try:
        world.program.up("dev")
    except EngineError as error:
        return str(error)
    return ""


LOST = Fault(reset=True, after_effect=True)
REFUSED = Fault(status=400, body=b'{"message": "no"}')


@pytest.mark.parametrize("fault", [LOST, REFUSED], ids=["answer lost", "refused"])
@pytest.mark.parametrize("kind", ["environments", "variables", "deploy_tokens"])
def test_a_fault_at_a_write_heals_or_ends_in_a_message_and_the_next_up_finishes(
    rehearsal: World, kind: str, fault: Fault
) -> None:
    rehearsal.program.init("dev")
    rehearsal.gitlab.app.fail(fault, method="POST", path=kind)
    assert re.search("^$|gitlab", failure_of_up(rehearsal))
    recover(rehearsal, "dev")
    rehearsal.program.up("dev")
    assert not rehearsal.program.up("dev").changes
    assert len(active_tokens(rehearsal)) == 1
    assert len(gitlab(rehearsal)["environments"]) == 1
    rehearsal.program.destroy("dev")
    assert gitlab(rehearsal) == {"environments": [], "variables": [], "tokens": []}


def test_in_any_order_of_deployments_settings_and_rotations_the_image_is_the_pipelines_last(rehearsal: World) -> None:
    randomness = random.Random(20261124)  # noqa: S311 - a reproducible order, no secret
    life = Life(rehearsal, "dev")
    rehearsal.program.init("dev")
    rehearsal.program.up("dev")
    image = hostname = None
    for number in range(10):
        if randomness.random() < 0.6 or image is None:
            image = PIPELINE_IMAGE.format(stack="dev", tag=f"{number:08x}")
            life.deploy(image)
        if randomness.random() < 0.5:
            hostname = f"n{number}.{HOSTNAMES['dev'].partition('.')[2]}"
            rehearsal.configure("dev", "access.hostname", hostname)
        if randomness.random() < 0.3:
            rehearsal.onepassword.rotate("dev")
        rehearsal.program.up("dev", *randomness.choice([(), ("--skip-preview",)]))
        deployment = rehearsal.kubectl("-n", life.namespace, "get", "deployment", "invoicetron", "-o", "json")
        container = json.loads(deployment)["spec"]["template"]["spec"]["containers"][0]
        assert container["image"] == image
        if hostname is not None:
            assert f"https://{hostname}" in json.dumps(container["env"])
