"""The rows of the image matrix (facts, section 1.2) that can occur here: the pipeline's image is never lost."""

from __future__ import annotations

import json

import pytest

from rehearsal.engine import EngineError
from rehearsal.life import HOSTNAMES, PIPELINE_IMAGE, Life
from rehearsal.world import World

FIRST, SECOND = (PIPELINE_IMAGE.format(stack="dev", tag=tag) for tag in ("aaaaaaaa", "bbbbbbbb"))


def image(world: World) -> str:
    deployment = json.loads(world.kubectl("-n", "invoicetron-dev", "get", "deployment", "invoicetron", "-o", "json"))
    found: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


@pytest.fixture
def life(rehearsal: World) -> Life:
    """A stack whose app the pipeline has deployed, with a change in the settings that the next up brings."""
    life = Life(rehearsal, "dev")
    rehearsal.program.init("dev")
    rehearsal.program.up("dev")
    life.deploy(FIRST)
    rehearsal.configure("dev", "access.hostname", HOSTNAMES["dev"])
    return life


def test_the_image_is_kept_by_an_up_with_and_without_preview_and_after_every_further_deployment(life: Life) -> None:
    life.world.program.up("dev", "--skip-preview")
    assert image(life.world) == FIRST
    life.deploy(SECOND)
    life.world.configure("dev", "access.hostname", "other.dev.k8s.rommelporras.com")
    life.world.program.up("dev")
    assert image(life.world) == SECOND


@pytest.mark.parametrize("options", [("--refresh=false",), ("--refresh=false", "--skip-preview")])
def test_an_up_that_does_not_look_first_stops_at_a_conflict_and_the_image_is_kept(
    life: Life, options: tuple[str, ...]
) -> None:
    with pytest.raises(EngineError, match="gitlab-ci"):
        life.world.program.up("dev", *options)
    assert image(life.world) == FIRST


def test_the_image_is_kept_even_where_somebody_forgot_the_field_manager(rehearsal: World) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev")
    rehearsal.kubectl("-n", "invoicetron-dev", "set", "image", "deployment/invoicetron", f"invoicetron={FIRST}")
    rehearsal.configure("dev", "access.hostname", HOSTNAMES["dev"])
    rehearsal.program.up("dev")
    assert image(rehearsal) == FIRST
