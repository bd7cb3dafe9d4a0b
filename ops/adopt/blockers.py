"""What stands in the way of taking an existing object over as it is, and what a person does about it first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Object = Mapping[str, Any]

_FIXED: Final = ("volumeClaimTemplates", "podManagementPolicy", "serviceName", "selector")
"""Of a StatefulSet's spec: the API refuses a change, so the provider deletes it, pods included, and makes it anew."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_FORCED: Final = "pulumi.com/patchForce"


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """One object that is not taken over as it is."""

    why: str
    remedy: str
    """A command, or what to click."""
    imported: bool = True
    """Whether it is imported all the same; otherwise the next `up` makes one of its own in its place."""


def kubernetes_obstacles(live: Object, inputs: Object) -> Iterator[Obstacle]:
    """Those of an object in the cluster, which the program would have as `inputs`."""
    kind, meta = live["kind"], live["metadata"]
    where = f"-n {meta['namespace']} " if "namespace" in meta else ""
    target = f"kubectl {where}{{}} {kind.lower()} {meta['name']}"
    annotations = meta.get("annotations") or {}
    if kind == "StatefulSet" and _cannot_become(live["spec"], inputs["spec"]):
        yield Obstacle(
            why="its claim template or management policy cannot be changed, and replaced it would lose its pods; "
            "orphaned, they run on, keep their volume, and are taken in by the StatefulSet that `up` makes",
            remedy=f"{target.format('delete')} --cascade=orphan",
            imported=False,
        )
        return
    if kind == "Secret" and {"data", "stringData"} & json.loads(annotations.get(_LAST_APPLIED, "{}")).keys():
        yield Obstacle(
            why="kubectl keeps its values in an annotation, which Pulumi would record in plain text",
            remedy=f"{target.format('annotate')} {_LAST_APPLIED}-",
        )
    owner = _first_owner(meta.get("managedFields") or [])
    if owner is not None and inputs["metadata"].get("annotations", {}).get(_FORCED) == "false":
        index, manager = owner
        path = f"/metadata/managedFields/{index}/manager"
        patch = [
            {"op": "test", "path": path, "value": manager},
            {"op": "replace", "path": path, "value": "pulumi-kubernetes"},
        ]
        yield Obstacle(
            why=f"its fields belong to {manager}, and the program forces nothing on this object: hand them over",
            remedy=f"{target.format('patch')} --type=json -p {shlex.quote(json.dumps(patch))}",
        )


def _cannot_become(live: Object, wanted: Object) -> bool:
    # The API server fills in the policy, so what the program leaves out counts as its default.
    defaults = {"volumeClaimTemplates": [], "podManagementPolicy": "OrderedReady"}
    return any((live.get(name) or defaults.get(name)) != wanted.get(name, defaults.get(name)) for name in _FIXED)


def _first_owner(managers: list[Object]) -> tuple[int, str] | None:
    """Index and name of kubectl's first entry; the provider takes the others' over itself once one bears its name."""
    for index, entry in enumerate(managers):
        updates = entry.get("operation") == "Update" and not entry.get("subresource")
        if updates and str(entry.get("manager", "")).startswith("kubectl"):
            return index, entry["manager"]
    return None


def mirror_obstacle(hidden_url: str) -> Obstacle:
    """That of a push mirror."""
    return Obstacle(
        why=f"GitLab shows its address as {hidden_url} only, so it would be replaced: `up` makes one beside it",
        remedy="paste the stack output `mirror_key` into GitHub, then delete the old mirror in GitLab "
        "(Settings > Repository > Mirroring repositories)",
        imported=False,
    )


def tunnel_obstacle(hostname: str, service: str) -> Obstacle:
    """That of a rule of the tunnel which leads elsewhere."""
    return Obstacle(
        why=f"the tunnel's rule for {hostname} leads to {service}",
        remedy="set access.public.adopt.tunnelRule to true for the first `up`",
        imported=False,
    )
