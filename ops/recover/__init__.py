"""After an `up` that was killed: takes its lock away, and puts what it had made but not recorded into the state.

The engine records a resource once it has been made. Where it dies in between, the object exists and the state holds a
pending create: the next `up` would make the object a second time, and a Kubernetes API server, say, refuses that. So
what exists of those is looked up, and imported. (The engine's own remedy, `pulumi refresh --import-pending-creates`,
turns a pending create into a pending import, which engine 3.259 then drops.)
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from ops.command_line import pulumi
from ops.recover.state_import import Made, import_into_state

_TAKEN_OVER: Final = ("gitlab:", "onepassword:", "pulumi-python:")
"""Packages of what the program itself imports, or finds, in the next `up`."""

Find = Callable[[str, Mapping[str, Any]], str | None]
"""Type token and inputs of a resource to the import id of the object that exists, or None."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What was pending: URN to import id of those that had been made, and the URNs of those that had not."""

    mended: bool
    """The checkpoint, or what belongs to it, was half-written."""
    imported: Mapping[str, str]
    """Into the state, or by the program itself in the next `up`."""
    cleared: tuple[str, ...]


def recover(stack: str, find: Find) -> Recovery:
    """Cancels the lock of the dead update and settles its pending creates, as `find` sees the live systems.

    Raises `PulumiError` where the command line refuses. Safe to run twice, and where nothing is wrong.
    """
    mended = mend_checkpoint(stack, os.environ.get("PULUMI_BACKEND_URL", ""))
    pulumi("cancel", "--yes", "--stack", stack)
    checkpoint = json.loads(pulumi("stack", "export", "--stack", stack))
    pending, recorded = pending_creates(checkpoint), recorded_urns(checkpoint)
    found = {urn: find(resource["type"], resource.get("inputs", {})) for urn, resource in pending.items()}
    made = {urn: id_ for urn, id_ in found.items() if id_ is not None}
    # Imported first and cleared afterwards: where either is interrupted, the next run finds what is pending once more.
    lost = [_as_made(resource, made[urn]) for urn, resource in pending.items() if urn in made and urn not in recorded]
    import_into_state(stack, [one for one in lost if not one.type.startswith(_TAKEN_OVER)])
    if pending:
        pulumi("refresh", "--yes", "--stack", stack, "--clear-pending-creates")
    cleared = tuple(urn for urn in pending if urn not in made)
    return Recovery(mended=mended, imported=made, cleared=cleared)


def _as_made(resource: Mapping[str, Any], id_: str) -> Made:
    provider, _, _ = resource["provider"].rpartition("::")  # <URN>::<id>
    name = resource["urn"].rsplit("::", 1)[-1]
    return Made(type=resource["type"], name=name, id=id_, parent=resource["parent"], provider=provider)


def mend_checkpoint(stack: str, backend: str) -> bool:
    """Mends what a kill in the middle of a write leaves of a checkpoint; says whether that was needed.

    Only the file backend writes in several steps; object stores replace a file as a whole. Seen after a SIGKILL: an
    empty file of attributes, which it can do without. Where the checkpoint itself is not readable, its backup takes its
    place: the state before the last write, in which what was being made is still a pending create.
    """
    if not backend.startswith("file://"):
        return False
    path = unquote(backend.removeprefix("file://").partition("?")[0])  # as the engine reads it: ~ and ./ may begin it
    folder = Path(path).expanduser() / ".pulumi" / "stacks"
    mended = False
    for attributes in folder.glob(f"*/{stack}.json.attrs"):
        if not _readable(attributes):
            attributes.unlink()
            mended = True
    for backup in folder.glob(f"*/{stack}.json.bak"):
        checkpoint = backup.with_suffix("")
        if _readable(checkpoint) or not _readable(backup):
            continue
        copy = checkpoint.with_name(f"{checkpoint.name}.mended")
        shutil.copyfile(backup, copy)
        copy.rename(checkpoint)
        mended = True
    return mended


def _readable(checkpoint: Path) -> bool:
    try:
        json.loads(checkpoint.read_text())
    except (OSError, ValueError):
        return False
    return True


def pending_creates(checkpoint: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """URN and resource of every create that was begun and never recorded, from `pulumi stack export`."""
    operations = checkpoint["deployment"].get("pending_operations") or []
    creating = [operation["resource"] for operation in operations if operation["type"] == "creating"]
    return {resource["urn"]: resource for resource in creating}


def recorded_urns(checkpoint: Mapping[str, Any]) -> set[str]:
    """URNs of the resources in a state, from `pulumi stack export`."""
    return {resource["urn"] for resource in checkpoint["deployment"].get("resources") or []}
