"""Field managers of an existing object, as Kubernetes records them in `managedFields`.

Before an update, pulumi-kubernetes takes over the fields of managers whose names begin with kubectl, and its own from
before server-side apply (`fixCSAFieldManagers` in provider/pkg/await/await.go), but those of no other tool and of no
subresource. A preview takes over nothing, but forces if one entry has the provider's old name. If anybody else's field
differs, `up` stops with a conflict, unless the program forces changes on that object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from settings.names import PROGRAM

Entry = Mapping[str, Any]

_PROVIDER: Final = "pulumi-kubernetes"
_TAKEN_OVER: Final = "kubectl"
_PIPELINE: Final = "gitlab-ci"
"""Manager of the app's pipeline, which keeps the image."""
_OWN: Final = (_PROVIDER, _PIPELINE, PROGRAM)
"""Beginnings of the names of this program's managers. `ops` has those that begin with PROGRAM."""
_AUTOSCALER: Final = "kube-controller-manager"
"""Manager of the subresource `scale` where a HorizontalPodAutoscaler sets the number of replicas."""


def others(managers: Sequence[Entry]) -> list[tuple[int, Entry]]:
    """Entries of other managers than this program's, with their indexes. Nobody applies a status."""
    return [
        (index, entry)
        for index, entry in enumerate(managers)
        if entry.get("subresource") != "status" and not entry["manager"].startswith(_OWN)
    ]


def of_other_tools(managers: Sequence[Entry]) -> list[str]:
    """Names of managers whose fields the provider does not take over."""
    return [
        entry["manager"]
        for _, entry in others(managers)
        if not entry["manager"].startswith(_TAKEN_OVER) and not entry.get("subresource")
    ]


def hand_over(managers: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """JSON patch after which the provider takes over the fields of all others. It keeps the order of the entries."""
    missing = not any(entry["manager"] == _PROVIDER and entry.get("operation") == "Update" for entry in managers)
    for index, entry in others(managers):
        path, manager, scales = f"/metadata/managedFields/{index}", entry["manager"], bool(entry.get("subresource"))
        # Distinct names, because the API server keeps only one of two entries with the same.
        named = manager if manager.startswith(_TAKEN_OVER) else f"{_TAKEN_OVER}-{manager}"
        named = _PROVIDER if missing else f"{named}-scale" if scales else named
        if named != manager:
            yield {"op": "test", "path": f"{path}/manager", "value": manager}
            yield {"op": "replace", "path": f"{path}/manager", "value": named}
        if missing and entry.get("operation") != "Update":
            yield {"op": "replace", "path": f"{path}/operation", "value": "Update"}
        if scales:
            yield {"op": "remove", "path": f"{path}/subresource"}
        missing = False


def still_managed(managers: Sequence[Entry]) -> str:
    """What has to end first, in brackets; empty where only kubectl was used."""
    tools = " or ".join(dict.fromkeys(of_other_tools(managers)))
    return f" (if {tools} still manages this object, end that first, or it undoes the change)" if tools else ""


def belong_to(managers: Sequence[Entry]) -> str:
    """Who manages the fields, and what has to end first."""
    found = others(managers)
    said = f"its fields belong to {', '.join(dict.fromkeys(entry['manager'] for _, entry in found))}"
    said += still_managed(managers)
    if any(entry["manager"] == _AUTOSCALER and entry.get("subresource") for _, entry in found):
        said += " (first delete its HorizontalPodAutoscaler: the program runs one pod)"
    return f"{said}, and the program does not force changes on this object: hand them over"
