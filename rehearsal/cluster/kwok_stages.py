"""The stages that kwok applies to nodes and pods: its own, changed as stages.yaml says, and ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

OWN = Path(__file__).with_name("stages.yaml")

_SCRIPT = '.spec.containers[].command | select(. != null) | .[] | select(startswith("/scripts/"))'
"""jq: the script of the one container, in a pod that `pods/runner.py` runs for real."""


def read(kwok: Path) -> str:
    """The stages as one YAML text; `kwok` is the folder of kwok's module."""
    stages: list[dict[str, Any]] = []
    for folder in ("node", "pod"):
        for file in sorted((kwok / "kustomize" / "stage" / folder / "fast").glob("*.yaml")):
            stages.extend(one for one in yaml.safe_load_all(file.read_text()) if one and one["kind"] == "Stage")
    own = list(yaml.safe_load_all(OWN.read_text()))
    pulled = {**own[0]["spec"]["selector"]["matchExpressions"][-1], "operator": "DoesNotExist"}
    pretended = {"key": _SCRIPT, "operator": "DoesNotExist"}
    for stage in stages:
        if stage["metadata"]["name"] == "pod-ready":
            stage["spec"]["selector"]["matchExpressions"].append(pulled)
        if stage["metadata"]["name"].startswith("pod-"):
            stage["spec"]["selector"]["matchExpressions"].append(pretended)
    return yaml.safe_dump_all([*stages, *own])
