"""Cleans up after an `up` that was killed: removes its lock, and imports what it had created but not recorded.

The engine records a resource after its creation. If the engine dies in between, the object exists and the state holds a
pending create: the next `up` would create the object again, which a Kubernetes API server, for one, refuses. So this
looks up which of these objects exist, and imports them. (The engine's own remedy, `pulumi refresh
--import-pending-creates`, turns a pending create into a pending import, which engine 3.259 then drops.)
"""

from __future__ import annotations

import gzip
import json
import os
import shlex
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from ops.command_line import PulumiError, pulumi
from ops.recover.lock import check_lock
from ops.recover.state_import import UnrecordedResource, import_into_state
from settings.commands import pulumi_command
from settings.names import Names

_TAKEN_OVER: Final = (
    "gitlab:index/projectEnvironment:",
    "gitlab:index/projectVariable:",
    "gitlab:index/branch:",
    "gitlab:index/branchProtection:",
    "gitlab:index/projectProtectedEnvironment:",
    "gitlab:index/pipelineSchedule:",
    "gitlab:index/tagProtection:",
    "onepassword:",
    "pulumi-python:",
)
"""Beginnings of the types that the program itself imports, or finds, in the next `up`.

Not a push mirror: the next `up` would create another, with another key, and delete this one.
"""
_OLD_ITEM: Final = "onepassword:index/item:Item"
"""Type of the registry item in releases before components/registry_item.py.

Their plugin fails for ever if the item is gone, or the token that it recorded is revoked. Once the state has no record
of the item, the next `up` takes it over or creates it.
"""

_STACK: Final = "pulumi:pulumi:Stack"
_ALWAYS: Final = frozenset({"namespace", "app", "app-service", "route"})
"""Names of resources that every stack has."""

Find = Callable[[str, Mapping[str, Any]], str | None]
"""Maps the type token and inputs of a resource to the import id of the existing object, or to None."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """What was pending: URN to import id of resources that had been created, and the URNs of those that had not."""

    mended: bool
    """Whether the checkpoint, or a file that belongs to it, was half-written."""
    imported: Mapping[str, str]
    """Imported into the state now, or by the program itself in the next `up`."""
    taken_over: frozenset[str]
    """URNs of those of `imported` that only the next `up` records."""
    cleared: tuple[str, ...]
    released: tuple[str, ...]
    """URNs that were deleted from the state; the next `up` takes their objects over."""
    next: str
    """What to run now, as text for the user."""


def recover(names: Names, find: Find, *, certain: bool = False) -> Recovery:
    """Cancels the lock of the dead update and settles its pending creates, with `find` to look them up.

    Raises `PulumiError` if the command line refuses, or if the process that holds the lock is alive, and
    `UnknownHolderError` if that cannot be known and the user is not `certain` that it has ended. Safe to run twice, and
    when nothing is wrong.
    """
    backend, stack = _backend(), names.stack
    mended = mend_store(names, _folder(backend))
    check_lock(names, _folder(backend), certain=certain)
    mended |= mend_checkpoint(names, backend)
    _refuse_cut_off(names, _folder(backend))
    pulumi("cancel", "--yes", "--stack", stack)
    checkpoint = json.loads(pulumi("stack", "export", "--stack", stack))
    pending, recorded = pending_creates(checkpoint), recorded_urns(checkpoint)
    # Before any refresh.
    old = tuple(sorted(urn for urn in recorded if f"${_OLD_ITEM}::" in urn))
    for urn in old:
        pulumi("state", "delete", urn, "--yes", "--stack", stack)
    found = {urn: find(resource["type"], resource.get("inputs", {})) for urn, resource in pending.items()}
    made = {urn: id_ for urn, id_ in found.items() if id_ is not None}
    # Import first, clear afterwards: if either is interrupted, the next run finds the pending creates once more.
    unrecorded = [
        _as_made(resource, made[urn]) for urn, resource in pending.items() if urn in made and urn not in recorded
    ]
    import_into_state(stack, [one for one in unrecorded if not one.type.startswith(_TAKEN_OVER)])
    later = {urn for urn in made if urn not in recorded and pending[urn]["type"].startswith(_TAKEN_OVER)}
    if pending:
        pulumi("refresh", "--yes", "--stack", stack, "--clear-pending-creates")
    cleared = tuple(urn for urn in pending if urn not in made)
    return Recovery(
        mended=mended,
        imported=made,
        taken_over=frozenset(later),
        cleared=cleared,
        released=old,
        next=interrupted(stack, checkpoint),
    )


def interrupted(stack: str, checkpoint: Mapping[str, Any]) -> str:
    """What to run after the dead update, as far as the state shows which command that was; it does not record it.

    A `destroy` deletes resources that every stack has; an `up` never does, except for replaced ones. Once an `up` has
    ended, the stack has outputs, which stay until a `destroy` has ended.
    """
    deployment = checkpoint["deployment"]
    resources = deployment.get("resources") or []
    operations = deployment.get("pending_operations") or []
    deleting = [one["resource"] for one in operations if one["type"] == "deleting"]
    there = {_name(resource) for resource in resources}
    complete = any(one.get("type") == _STACK and one.get("outputs") for one in resources)
    if any(_name(one) in _ALWAYS and not one.get("delete") for one in deleting) or (complete and not there >= _ALWAYS):
        return pulumi_command("destroy", stack)
    if deleting:
        return f"what was killed: {pulumi_command('destroy', stack)}, or {pulumi_command('up', stack)}"
    return pulumi_command("up", stack)


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rsplit("::", 1)[-1]


def _as_made(resource: Mapping[str, Any], id_: str) -> UnrecordedResource:
    provider, _, _ = resource["provider"].rpartition("::")  # <URN>::<id>
    name = resource["urn"].rsplit("::", 1)[-1]
    return UnrecordedResource(type=resource["type"], name=name, id=id_, parent=resource["parent"], provider=provider)


def _backend() -> str:
    """URL of the state's backend, found as the engine does: environment, Pulumi.yaml, or the last `pulumi login`."""
    return os.environ.get("PULUMI_BACKEND_URL") or str(json.loads(pulumi("whoami", "--json"))["url"])


def mend_store(names: Names, root: Path | None) -> bool:
    """Rewrites the file with a file backend's folder layout if a kill or a full disk has emptied it.

    Without it the engine calls the whole store corrupt. Stacks in a folder of their project show which layout it is.
    """
    if root is None or not (root / ".pulumi" / "stacks" / names.project).is_dir():
        return False
    layout, attributes = root / ".pulumi" / "meta.yaml", root / ".pulumi" / "meta.yaml.attrs"
    if not layout.is_file() or "version:" in layout.read_text(errors="replace"):
        return False
    attributes.unlink(missing_ok=True)
    layout.write_text("version: 1\n")
    return True


def mend_checkpoint(names: Names, backend: str) -> bool:
    """Repairs a checkpoint after a kill in the middle of a write; returns whether that was needed.

    Only the file backend writes in several steps; object stores replace a file as a whole. Seen after a SIGKILL: an
    empty attributes file, which the backend can do without. If the checkpoint itself is unreadable, its backup replaces
    it: the state before the last write, in which a resource under creation is still a pending create.
    """
    root = _folder(backend)
    if root is None:
        return False
    folder = root / ".pulumi" / "stacks"
    mended = False
    for attributes in _checkpoints(folder, names, ".attrs"):
        if _json(attributes) is None:
            attributes.unlink()
            mended = True
    for backup in _checkpoints(folder, names, ".bak"):
        checkpoint = backup.with_suffix("")
        if _is_checkpoint(checkpoint) or not _is_checkpoint(backup):
            continue
        copy = checkpoint.with_name(f"{checkpoint.name}.mended")
        shutil.copyfile(backup, copy)
        copy.rename(checkpoint)
        mended = True
    return mended


def _folder(backend: str) -> Path | None:
    """The folder of a file backend, read from its URL as the engine does (~ and ./ may begin it); None for others."""
    if not backend.startswith("file://"):
        return None
    return Path(unquote(backend.removeprefix("file://").partition("?")[0])).expanduser()


def _refuse_cut_off(names: Names, backend: Path | None) -> None:
    """Raises `PulumiError` with the way out if both checkpoint and backup are truncated, as by a full disk."""
    if backend is None:
        return
    for checkpoint in _checkpoints(backend / ".pulumi" / "stacks", names):
        if _is_checkpoint(checkpoint):
            continue
        packed = checkpoint.suffix if checkpoint.suffix == ".gz" else ""
        saved = [*(backend / ".pulumi").glob(f"history/{names.project}/**/{names.stack}-*.checkpoint.json{packed}")]
        saved += (backend / ".pulumi").glob(f"backups/{names.project}/**/{names.stack}.*.json{packed}")
        good = sorted((one for one in saved if _is_checkpoint(one)), key=lambda one: one.stat().st_mtime)
        way_out = (
            f"The newest intact one is {good[-1]}: cp {shlex.quote(str(good[-1]))} {shlex.quote(str(checkpoint))}, and "
            "run this again, which looks up what was created since then"
            if good
            else "There is no intact one in .pulumi/history or .pulumi/backups either: take the file from a backup "
            "of the disk, or move it away and adopt everything (docs/runbook/cluster.md, The state or its passphrase "
            "is lost)"
        )
        raise PulumiError(
            f"The state of stack {names.stack} is truncated, as by a full disk, and so is its backup: {checkpoint}. "
            f"Nothing was changed. Make room on the disk first (df). {way_out}."
        )


def _checkpoints(folder: Path, names: Names, suffix: str = "") -> Iterator[Path]:
    """The stack's checkpoint, plain and compressed (PULUMI_DIY_BACKEND_GZIP), or a file beside it, by `suffix`."""
    for packed in ("", ".gz"):
        yield from folder.glob(f"{names.project}/{names.stack}.json{packed}{suffix}")


def _is_checkpoint(file: Path) -> bool:
    """Whether the file is whole: a truncated one is no JSON, and some editors leave an empty object."""
    content = _json(file)
    return isinstance(content, dict) and "version" in content


def _json(file: Path) -> Any:
    """What the file holds, compressed or not; None if it is truncated."""
    try:
        content = file.read_bytes()
        return json.loads(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def pending_creates(checkpoint: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """URN and resource of every create that began and was never recorded, from `pulumi stack export`."""
    operations = checkpoint["deployment"].get("pending_operations") or []
    creating = [operation["resource"] for operation in operations if operation["type"] == "creating"]
    return {resource["urn"]: resource for resource in creating}


def recorded_urns(checkpoint: Mapping[str, Any]) -> set[str]:
    """URNs of the resources in a state, from `pulumi stack export`."""
    return {resource["urn"] for resource in checkpoint["deployment"].get("resources") or []}
