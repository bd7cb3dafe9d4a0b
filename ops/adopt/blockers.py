"""Why an existing object cannot be adopted as it is, and what to do about it first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.adopt.pod_template import Fault, Operation, Secrets, faults

Object = Mapping[str, Any]

_FIXED: Final = ("volumeClaimTemplates", "podManagementPolicy", "serviceName", "selector")
"""Fields of a StatefulSet's spec that the API refuses to change: the provider deletes the StatefulSet with its pods
and creates it again."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_FORCED: Final = "pulumi.com/patchForce"
_RECORDED: Final = "which `pulumi import` would write into the state"


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """Why one object cannot be adopted as it is."""

    why: str
    remedy: str
    """A command, or what to click."""
    imported: bool = True
    """Whether the object is imported anyway; otherwise the next `up` creates its own instead."""
    fatal: bool = False
    """Whether nothing may be imported, or deleted for the import, before this is resolved."""


def kubernetes_blockers(
    live: Object,
    inputs: Object,
    *,
    secrets: Secrets = Secrets(),  # noqa: B008 - frozen
    config_maps: Mapping[str, Object] | None = None,
) -> Iterator[Blocker]:
    """The blockers of an object in the cluster that the program describes by `inputs`.

    `secrets` knows what must not be in plain text; `config_maps` maps the ConfigMaps of its namespace to their data.
    """
    kind, meta = live["kind"], live["metadata"]
    where = f"-n {meta['namespace']} " if "namespace" in meta else ""
    target = f"kubectl {where}{{}} {kind.lower()} {meta['name']}"
    annotations = meta.get("annotations") or {}
    found = _template_faults(live, inputs, secrets, config_maps or {})
    if kind == "StatefulSet" and (found or _cannot_become(live["spec"], inputs["spec"])):
        yield Blocker(
            why=_sentence(found)
            or "its claim template or management policy cannot be changed, and replacing it would delete its pods; "
            "orphaned, they keep running, keep their volume, and are adopted by the StatefulSet that `up` makes",
            remedy=f"{target.format('delete')} --cascade=orphan",
            imported=False,
        )
        return
    if kind == "CronJob" and found:
        why = f"{_sentence(found)}. Only its Jobs' history is lost: `up` creates it again"
        yield Blocker(why=why, remedy=target.format("delete"), imported=False)
        return
    if kind == "ConfigMap" and any(secrets.shows(str(text), key) for key, text in (live.get("data") or {}).items()):
        why = f"it contains a secret in plain text, {_RECORDED}: `up` creates its own"
        yield Blocker(why=why, remedy=target.format("delete"), imported=False)
        return
    if _LAST_APPLIED in annotations and not found and _keeps_a_secret(annotations[_LAST_APPLIED], kind, secrets):
        yield Blocker(
            why="kubectl keeps its values in an annotation, which Pulumi would record in plain text",
            remedy=f"{target.format('annotate')} {_LAST_APPLIED}-",
        )
    owner = _first_owner(meta.get("managedFields") or [])
    handed: list[Operation] = []
    if owner is not None and inputs["metadata"].get("annotations", {}).get(_FORCED) == "false":
        index, manager = owner
        path = f"/metadata/managedFields/{index}/manager"
        handed = [
            {"op": "test", "path": path, "value": manager},
            {"op": "replace", "path": path, "value": "pulumi-kubernetes"},
        ]
        why = f"its fields belong to {manager}, and the program does not force changes on this object: hand them over"
    if found:
        # In one command with the change of the field manager, because another edit would shift that entry's index.
        why = "; ".join([_sentence(found), *([why] if handed else [])])
        applied = f"/metadata/annotations/{_LAST_APPLIED.replace('/', '~1')}"
        kept = [{"op": "remove", "path": applied}] if _LAST_APPLIED in annotations else []
        handed += kept + [
            {**operation, "path": f"/spec/template/spec{operation['path']}"}
            for fault in found
            for operation in fault.operations
        ]
    if handed:
        manager = " --field-manager=pulumi-kubernetes" if found else ""
        yield Blocker(
            why=why, remedy=f"{target.format('patch')} --type=json{manager} -p {shlex.quote(json.dumps(handed))}"
        )


def _template_faults(live: Object, inputs: Object, secrets: Secrets, config_maps: Mapping[str, Object]) -> list[Fault]:
    path = {"Deployment": (), "StatefulSet": (), "CronJob": ("jobTemplate", "spec")}.get(live["kind"])
    if path is None:
        return []
    own, wanted = live, inputs
    for name in ("spec", *path, "template", "spec"):
        own, wanted = own.get(name) or {}, wanted.get(name) or {}
    return faults(own, wanted, secrets, config_maps)


def _sentence(found: Sequence[Fault]) -> str:
    """All faults in one sentence; empty if there are none."""
    plain = [fault.where for fault in found if fault.secret]
    other = [fault.where for fault in found if not fault.secret]
    said = []
    if plain:
        said.append(
            f"{', '.join(plain)}: a secret in plain text, {_RECORDED}. Change it in 1Password once this is done "
            "(docs/runbook/credentials.md, Rotation), because anyone who may read pods could read it"
        )
    if other:
        said.append(f"{', '.join(other)}: of a kind other than the program's, and the API refuses to have both")
    return "; ".join(said)


def _keeps_a_secret(applied: str, kind: str, secrets: Secrets) -> bool:
    if kind == "Secret":
        return bool({"data", "stringData"} & json.loads(applied).keys())
    return secrets.shows(applied)


def _cannot_become(live: Object, wanted: Object) -> bool:
    # The API server fills in the policy, so a field that the program leaves out counts as the default.
    defaults = {"volumeClaimTemplates": [], "podManagementPolicy": "OrderedReady"}
    return any((live.get(name) or defaults.get(name)) != wanted.get(name, defaults.get(name)) for name in _FIXED)


def _first_owner(managers: list[Object]) -> tuple[int, str] | None:
    """Index and name of kubectl's first entry; once one entry has the provider's name, it takes over the others."""
    for index, entry in enumerate(managers):
        updates = entry.get("operation") == "Update" and not entry.get("subresource")
        if updates and str(entry.get("manager", "")).startswith("kubectl"):
            return index, entry["manager"]
    return None


def data_blocker(namespace: str, why: Sequence[str]) -> Blocker:
    """The blocker of a database whose data the program's pod would not find, or could not serve."""
    return Blocker(
        why=f"{'; '.join(why)}. The program's pod would start with an EMPTY database beside this data",
        remedy="Dump it, let `up` create a new volume, and put the dump into that with `ops restore`: "
        f"docs/runbook/cluster.md, The data is elsewhere on its volume (namespace {namespace})",
        imported=False,
        fatal=True,
    )


def mirror_blocker(url: str, auth_method: str) -> Blocker:
    """The blocker of a push mirror with another address (as GitLab shows it) or another login than the program's."""
    return Blocker(
        why=f"it pushes to {url} with the login {auth_method}, not with a key of its own to the stack file's address: "
        "`up` makes one beside it",
        remedy="paste the stack output `mirror_key` into GitHub, then delete the old mirror in GitLab "
        "(Settings > Repository > Mirroring repositories)",
        imported=False,
    )


def tunnel_blocker(hostname: str, service: str) -> Blocker:
    """The blocker of a tunnel rule that leads elsewhere."""
    return Blocker(
        why=f"the tunnel's rule for {hostname} leads to {service}",
        remedy="set access.public.adopt.tunnelRule to true for the first `up`",
        imported=False,
    )
