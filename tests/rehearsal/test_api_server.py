"""The API server itself validates every object of both stacks."""

from __future__ import annotations

import json
import subprocess

import pytest

from rehearsal.rehearsal import Rehearsal
from tests.unit.program import run


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_object_passes_strict_validation_and_the_restricted_level_without_a_warning(
    rehearsal: Rehearsal, stack: str
) -> None:
    objects = [each.inputs for each in run(stack).registrations if each.custom and each.type.startswith("kubernetes:")]
    (namespace,) = [one for one in objects if one["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/warn"] == "restricted"
    rehearsal.kubectl("create", "-f", "-", stdin=json.dumps(namespace))
    others = [one for one in objects if one["kind"] != "Namespace"]
    judged = subprocess.run(
        [str(rehearsal.tools.kubectl), "create", "--dry-run=server", "--validate=strict", "-f", "-"],
        env=dict(rehearsal.program.environment),
        input=json.dumps({"apiVersion": "v1", "kind": "List", "items": others}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stderr
    assert judged.stderr == ""
    assert len(judged.stdout.splitlines()) == len(others)
