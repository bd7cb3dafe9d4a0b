"""After an `up` that was killed: takes its lock away, and puts what it had made but not recorded into the state.

The engine records a resource once it has been made. Where it dies in between, the object exists and the state holds a
pending create: the next `up` would make the object a second time, and a Kubernetes API server, say, refuses that. The
engine's own remedy is `pulumi refresh --import-pending-creates <urn> <id>`; this looks the ids up.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ops.command_line import pulumi

Find = Callable[[str, Mapping[str, Any]], str | None]
"""Type token and inputs of a resource to the import id of the object that exists, or None."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What was pending: URN to import id of those that had been made, and the URNs of those that had not."""

    mended: bool
    """The checkpoint, or what belongs to it, was half-written."""
    imported: Mapping[str, str]
    cleared: tuple[str, ...]


def recover(stack: str, find: Find) -> Recovery:
    """Cancels the lock of the dead update and settles its pending creates, as `find` sees the live systems.

    Raises `PulumiError` where the command line refuses. Safe to run twice, and where nothing is wrong.
    """
    mended = mend_checkpoint(stack, os.environ.get("PULUMI_BACKEND_URL", ""))
    pulumi("cancel", "--yes", "--stack", stack)
    pending = pending_creates(json.loads(pulumi("stack", "export", "--stack", stack)))
    imported: dict[str, str] = {}
    for urn, resource in pending.items():
        id_ = find(resource["type"], resource.get("inputs", {}))
        if id_ is not None:
            imported[urn] = id_
    if pending:
        options = [
            option for pair in imported.items() for part in pair for option in ("--import-pending-creates", part)
        ]
        pulumi("refresh", "--yes", "--stack", stack, "--clear-pending-creates", *options)
    cleared = tuple(urn for urn in pending if urn not in imported)
    return Recovery(mended=mended, imported=imported, cleared=cleared)


def mend_checkpoint(stack: str, backend: str) -> bool:
    """Mends what a kill in the middle of a write leaves of a checkpoint; says whether that was needed.

    Only the file backend writes in several steps; object stores replace a file as a whole. Seen after a SIGKILL: an
    empty file of attributes, which it can do without. Where the checkpoint itself is not readable, its backup takes its
    place: the state before the last write, in which what was being made is still a pending create.
    """
    if not backend.startswith("file://"):
        return False
    folder = Path(url2pathname(urlsplit(backend).path)).expanduser() / ".pulumi" / "stacks"
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
