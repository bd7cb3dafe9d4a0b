"""The pipeline's image outlives every `up`, whatever else changes."""

from __future__ import annotations

import json

import pytest

from rehearsal.engine import EngineError
from rehearsal.homelab import HOSTNAMES, PIPELINE_IMAGE
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal

FIRST, SECOND = (PIPELINE_IMAGE.format(stack="dev", tag=tag) for tag in ("aaaaaaaa", "bbbbbbbb"))


def image(rehearsal: Rehearsal) -> str:
    deployment = json.loads(
        rehearsal.kubectl("-n", "invoicetron-dev", "get", "deployment", "invoicetron", "-o", "json")
    )
    found: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


@pytest.fixture
def lifecycle(rehearsal: Rehearsal) -> Lifecycle:
    """A stack whose app the pipeline has deployed, with a changed setting that the next `up` applies."""
    lifecycle = Lifecycle(rehearsal, "dev")
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    lifecycle.deploy(FIRST)
    rehearsal.configure("dev", "access.hostname", HOSTNAMES["dev"])
    return lifecycle


def test_the_image_is_kept_by_an_up_with_and_without_preview_and_after_every_further_deployment(
    lifecycle: Lifecycle,
) -> None:
    lifecycle.rehearsal.program.up("dev", "--skip-preview")
    assert image(lifecycle.rehearsal) == FIRST
    lifecycle.deploy(SECOND)
    lifecycle.rehearsal.configure("dev", "access.hostname", "other.dev.k8s.rommelporras.com")
    lifecycle.rehearsal.program.up("dev")
    assert image(lifecycle.rehearsal) == SECOND


@pytest.mark.parametrize("options", [("--refresh=false",), ("--refresh=false", "--skip-preview")])
def test_an_up_without_a_refresh_stops_at_a_conflict_and_keeps_the_image(
    lifecycle: Lifecycle, options: tuple[str, ...]
) -> None:
    with pytest.raises(EngineError, match="gitlab-ci"):
        lifecycle.rehearsal.program.up("dev", *options)
    assert image(lifecycle.rehearsal) == FIRST


def test_the_image_is_kept_even_if_somebody_forgot_the_field_manager(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    rehearsal.kubectl("-n", "invoicetron-dev", "set", "image", "deployment/invoicetron", f"invoicetron={FIRST}")
    rehearsal.configure("dev", "access.hostname", HOSTNAMES["dev"])
    rehearsal.program.up("dev")
    assert image(rehearsal) == FIRST
