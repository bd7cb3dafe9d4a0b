"""After an `up` that was killed: takes its lock away, and puts what it had made but not recorded into the state.

The engine records a resource once it has been made. Where it dies in between, the object exists and the state holds a
pending create: the next `up` would make the object a second time, and a Kubernetes API server, say, refuses that. So
what exists of those is looked up, and imported. (The engine's own remedy, `pulumi refresh --import-pending-creates`,
turns a pending create into a pending import, which engine 3.259 then drops.)
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
from settings.commands import ops_command, pulumi_command
from settings.names import Names

_TAKEN_OVER: Final = ("gitlab:", "onepassword:", "pulumi-python:")
"""Packages of what the program itself imports, or finds, in the next `up`."""
_OLD_ITEM: Final = "onepassword:index/item:Item"
"""What the registry item was to releases before components/registry_item.py.

Their plugin fails for ever where the item is gone, or the token revoked that it recorded. Without its record, the next
`up` takes the item over or creates it.
"""

_STACK: Final = "pulumi:pulumi:Stack"
_ALWAYS: Final = frozenset({"namespace", "app", "app-service", "route"})
"""Names of resources that every stack has."""

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
    released: tuple[str, ...]
    """URNs that were taken out of the state, for the next `up` to take over what they stand for."""
    next: str
    """What to run now, in words."""


def recover(names: Names, find: Find, *, certain: bool = False) -> Recovery:
    """Cancels the lock of the dead update and settles its pending creates, as `find` sees the live systems.

    Raises `PulumiError` where the command line refuses, where the process that holds the lock lives, and
    `UnknownHolderError` where that cannot be known and nobody is `certain` that it does not. Safe to run twice, and
    where nothing is wrong.
    """
    backend, stack = _backend(), names.stack
    mended = mend_store(names, _folder(backend))
    check_lock(names, _folder(backend), certain=certain)
    mended |= mend_checkpoint(names, backend)
    _refuse_cut_off(names, _folder(backend))
    pulumi("cancel", "--yes", "--stack", stack)
    checkpoint = json.loads(pulumi("stack", "export", "--stack", stack))
    pending, recorded = pending_creates(checkpoint), recorded_urns(checkpoint)
    # Before anything refreshes.
    old = tuple(sorted(urn for urn in recorded if f"${_OLD_ITEM}::" in urn))
    for urn in old:
        pulumi("state", "delete", urn, "--yes", "--stack", stack)
    found = {urn: find(resource["type"], resource.get("inputs", {})) for urn, resource in pending.items()}
    made = {urn: id_ for urn, id_ in found.items() if id_ is not None}
    # Imported first and cleared afterwards: where either is interrupted, the next run finds what is pending once more.
    unrecorded = [
        _as_made(resource, made[urn]) for urn, resource in pending.items() if urn in made and urn not in recorded
    ]
    import_into_state(stack, [one for one in unrecorded if not one.type.startswith(_TAKEN_OVER)])
    if pending:
        pulumi("refresh", "--yes", "--stack", stack, "--clear-pending-creates")
    cleared = tuple(urn for urn in pending if urn not in made)
    return Recovery(mended=mended, imported=made, cleared=cleared, released=old, next=interrupted(stack, checkpoint))


def interrupted(stack: str, checkpoint: Mapping[str, Any]) -> str:
    """What to run after the dead update, as far as the state shows what it was; it does not record the command.

    A `destroy` deletes what every stack has, and an `up` never does, except for what it has replaced. Once an `up` has
    ended, the stack has outputs; they stay until a `destroy` has ended.
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
    """URL of the state's backend, as the engine finds it: environment, Pulumi.yaml, or the last `pulumi login`."""
    return os.environ.get("PULUMI_BACKEND_URL") or str(json.loads(pulumi("whoami", "--json"))["url"])


def mend_store(names: Names, root: Path | None) -> bool:
    """Writes again what says how a file backend's folders are laid out, where a kill or a full disk has emptied that.

    Without it the engine calls the whole store corrupt. Stacks that lie in a folder of their project tell the layout.
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
    """Mends what a kill in the middle of a write leaves of a checkpoint; says whether that was needed.

    Only the file backend writes in several steps; object stores replace a file as a whole. Seen after a SIGKILL: an
    empty file of attributes, which it can do without. Where the checkpoint itself is not readable, its backup takes its
    place: the state before the last write, in which what was being made is still a pending create.
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
    """The folder of a file backend, as the engine reads its URL: ~ and ./ may begin it. None for other backends."""
    if not backend.startswith("file://"):
        return None
    return Path(unquote(backend.removeprefix("file://").partition("?")[0])).expanduser()


def _refuse_cut_off(names: Names, backend: Path | None) -> None:
    """Raises `PulumiError` with the way out where checkpoint and backup are both cut off, as by a full disk."""
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
            f"The newest whole one is {good[-1]}: cp {shlex.quote(str(good[-1]))} {shlex.quote(str(checkpoint))}, and "
            "run this again; what was made since then is looked up"
            if good
            else "There is no whole one in .pulumi/history or .pulumi/backups either: take the file from a backup of "
            f"the disk, or adopt everything again ({ops_command('import-existing', names.stack)})"
        )
        raise PulumiError(
            f"The state of stack {names.stack} is cut off, as by a full disk, and so is its backup: {checkpoint}. "
            f"Nothing was changed. Make room on the disk first (df). {way_out}."
        )


def _checkpoints(folder: Path, names: Names, suffix: str = "") -> Iterator[Path]:
    """The stack's checkpoint, plain and packed (PULUMI_DIY_BACKEND_GZIP), or what lies beside it."""
    for packed in ("", ".gz"):
        yield from folder.glob(f"{names.project}/{names.stack}.json{packed}{suffix}")


def _is_checkpoint(file: Path) -> bool:
    """Whether the file is whole: cut off it is no JSON, and an empty object is what some editors leave."""
    content = _json(file)
    return isinstance(content, dict) and "version" in content


def _json(file: Path) -> Any:
    """What the file holds, packed or not; None where it is cut off."""
    try:
        content = file.read_bytes()
        return json.loads(gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content)
    except (OSError, EOFError, ValueError, zlib.error):
        return None


def pending_creates(checkpoint: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """URN and resource of every create that was begun and never recorded, from `pulumi stack export`."""
    operations = checkpoint["deployment"].get("pending_operations") or []
    creating = [operation["resource"] for operation in operations if operation["type"] == "creating"]
    return {resource["urn"]: resource for resource in creating}


def recorded_urns(checkpoint: Mapping[str, Any]) -> set[str]:
    """URNs of the resources in a state, from `pulumi stack export`."""
    return {resource["urn"] for resource in checkpoint["deployment"].get("resources") or []}
