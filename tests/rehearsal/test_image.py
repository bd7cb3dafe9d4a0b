"""The pipeline's image outlives every `up`, whatever else changes."""

from __future__ import annotations

import json
import random

import pytest

from rehearsal.engine import EngineError
from rehearsal.homelab import HOSTNAMES, PIPELINE_IMAGE
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal


def test_the_pipeline_s_last_image_survives_any_order_of_deployments_settings_and_rotations(
    rehearsal: Rehearsal,
) -> None:
    randomness = random.Random(20261124)  # noqa: S311 - a reproducible order, no secret
    lifecycle = Lifecycle(rehearsal, "dev")
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    image = hostname = None
    for number in range(10):
        if randomness.random() < 0.6 or image is None:
            image = PIPELINE_IMAGE.format(stack="dev", tag=f"{number:08x}")
            lifecycle.deploy(image)
        if randomness.random() < 0.5:
            hostname = f"n{number}.{HOSTNAMES['dev'].partition('.')[2]}"
            rehearsal.configure("dev", "access.hostname", hostname)
        if randomness.random() < 0.3:
            rehearsal.onepassword.rotate("dev")
        rehearsal.program.up("dev", *randomness.choice([(), ("--skip-preview",)]))
        container = lifecycle._container()
        assert container["image"] == image
        if hostname is not None:
            assert f"https://{hostname}" in json.dumps(container["env"])


def test_an_up_without_a_refresh_stops_at_a_conflict_and_keeps_the_image(rehearsal: Rehearsal) -> None:
    lifecycle = Lifecycle(rehearsal, "dev")
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    lifecycle.deploy(lifecycle.image)
    rehearsal.configure("dev", "access.hostname", HOSTNAMES["dev"])
    for options in ((), ("--skip-preview",)):  # in this order: the preview refuses before anything changes
        with pytest.raises(EngineError, match="gitlab-ci"):
            rehearsal.program.up("dev", "--refresh=false", *options)
        assert lifecycle.image_running() == lifecycle.image


def test_the_image_is_kept_even_if_somebody_forgot_the_field_manager(rehearsal: Rehearsal) -> None:
    lifecycle = Lifecycle(rehearsal, "dev")
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    image = f"invoicetron={lifecycle.image}"
    rehearsal.kubectl("-n", lifecycle.namespace, "set", "image", "deployment/invoicetron", image)
    rehearsal.configure("dev", "access.hostname", HOSTNAMES["dev"])
    rehearsal.program.up("dev")
    assert lifecycle.image_running() == lifecycle.image
