"""Who owns which field: what the real plugin does to `managedFields` before it applies, and tells the server then.

The traps are those of the real provider, pulumi-kubernetes 4.34. It matches managers by prefix, so the next real update
silently takes over the fields of `kubectl set image` (manager `kubectl-set`). And an ignored path with a list index
matches nothing, so the provider sends the field with whatever value was recorded last.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

from rehearsal.plugins.kubernetes.diff import parse_path, path_text
from rehearsal.plugins.kubernetes.objects import PATCH_FORCE, Object, is_marked, metadata, pluck

CREATOR: Final = "pulumi-kubernetes"
"""The manager of objects that were created and never updated; it owns their fields with operation Update."""

_ABSORBED: Final = (
    ("kubectl", "Apply"),
    ("kubectl", "Update"),
    ("before-first-apply", "Update"),
    ("pulumi-kubernetes", "Update"),
    ("pulumi-resource-kubernetes", "Update"),
)


def absorb(live: Object, manager: str) -> list[Object] | None:
    """The `managedFields` after `manager` has taken over kubectl's and the creator's; None if it takes over nothing."""
    entries = metadata(live, "managedFields") or []
    own = next((entry for entry in entries if entry.get("manager") == manager and entry["operation"] == "Apply"), None)
    absorbed = [entry for entry in entries if entry is not own and _is_absorbed(entry)]
    if not absorbed:
        return None
    others = [entry for entry in entries if entry is not own and not _is_absorbed(entry)]
    merged = copy.deepcopy(own) if own else {**absorbed.pop(0), "manager": manager, "operation": "Apply"}
    for entry in absorbed:
        merged["fieldsV1"] = _merged(merged["fieldsV1"], entry["fieldsV1"])
    return [*others, merged]


def _is_absorbed(entry: Object) -> bool:
    if entry.get("subresource"):
        return False
    return any(
        str(entry.get("manager", "")).startswith(prefix) and entry.get("operation") == operation
        for prefix, operation in _ABSORBED
    )


def _merged(left: Object, right: Object) -> Object:
    both = left.keys() & right.keys()
    return {**left, **right, **{key: _merged(left[key], right[key]) for key in both}}


def without_ignored(inputs: Object, live: Object, ignore: Sequence[str], manager: str) -> Object:
    """The inputs to apply: an ignored field that only others own is left out, any other gets its live value.

    As in the real plugin, paths are split only at the dots.
    """
    result = copy.deepcopy(inputs)
    for text in ignore:
        path = path_text(parse_path(text)).split(".")
        ours = _owned(live, path, lambda owner: owner == manager)
        theirs = _owned(live, path, lambda owner: owner != manager)
        parent = pluck(result, *path[:-1])
        if theirs and not ours:
            if isinstance(parent, dict):
                parent.pop(path[-1], None)
            continue
        value = pluck(live, *path)
        if value is not None and isinstance(parent, dict):
            parent[path[-1]] = copy.deepcopy(value)
    return result


def _owned(live: Object, path: Sequence[str], is_owner: Any) -> bool:
    keys = [f"f:{element}" for element in path]
    return any(
        pluck(entry.get("fieldsV1"), *keys) is not None
        for entry in metadata(live, "managedFields") or []
        if is_owner(entry.get("manager"))
    )


def must_force(inputs: Object, live: Object, *, preview: bool, enabled: bool) -> bool:
    """Whether to make the server override the ownership of others.

    `enabled` is the provider's option. A preview of the first update forces, too, because a preview does not take over
    the creator's fields.
    """
    managers = metadata(live, "managedFields") or []
    if is_marked(inputs, PATCH_FORCE) or enabled or not managers:
        return True
    return preview and any(
        entry.get("operation") == "Update" and entry.get("manager") in (CREATOR, "pulumi-resource-kubernetes")
        for entry in managers
    )
