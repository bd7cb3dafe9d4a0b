"""Why an existing object cannot be adopted as it is, and what to do about it first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.adopt.field_managers import belong_to, hand_over, of_other_tools, still_managed
from ops.adopt.pod_template import Fault, Operation, Secrets, faults

Object = Mapping[str, Any]

_FIXED: Final = ("volumeClaimTemplates", "podManagementPolicy", "serviceName", "selector", "revisionHistoryLimit")
"""Fields of a StatefulSet's spec for which the provider deletes it with its pods, and creates it again (`forceNew` in
pulumi-kubernetes)."""
_CONTAINERS: Final = "/spec/template/spec/containers"
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
    kind, annotations = live["kind"], live["metadata"].get("annotations") or {}
    managers = live["metadata"].get("managedFields") or []
    target = _command(live)
    found = _template_faults(live, inputs, secrets, config_maps or {})
    if (again := _made_again(live, inputs, found, secrets)) is not None:
        yield again
        return
    if _LAST_APPLIED in annotations and not found and _keeps_a_secret(annotations[_LAST_APPLIED], kind, secrets):
        yield Blocker(
            why="kubectl keeps its values in an annotation, which Pulumi would record in plain text",
            remedy=f"{target.format('annotate')} {_LAST_APPLIED}-",
        )
    if kind == "Service":
        for why, operations in _of_service(live.get("spec") or {}, inputs.get("spec") or {}):
            yield Blocker(
                why=why, remedy=f"{target.format('patch')} --type=json -p {shlex.quote(json.dumps(operations))}"
            )
    handed: list[Operation] = []
    reasons: list[str] = []
    if inputs["metadata"].get("annotations", {}).get(_FORCED) == "false":
        handed = list(hand_over(managers))
        reasons = [belong_to(managers)] if handed else []
    first = _to_the_front(live, inputs) if kind == "Deployment" else []
    if found:
        # In one command with the change of the field managers, because another edit would shift their indexes.
        reasons.insert(0, _sentence(found))
        applied = f"/metadata/annotations/{_LAST_APPLIED.replace('/', '~1')}"
        kept = [{"op": "remove", "path": applied}] if _LAST_APPLIED in annotations else []
        handed += kept + [
            {**operation, "path": f"/spec/template/spec{operation['path']}"}
            for fault in found
            for operation in fault.operations
        ]
    if first:
        # After the changes of containers, which name them by their index.
        reasons.insert(0, "`up` keeps the image of the first container, which is not the app's: put the app's first")
        handed += first
    if handed:
        manager = " --field-manager=pulumi-kubernetes" if found else ""
        yield Blocker(
            why="; ".join(reasons),
            remedy=f"{target.format('patch')} --type=json{manager} -p {shlex.quote(json.dumps(handed))}",
        )


def _command(live: Object, what: str = "") -> str:
    """A call of kubectl with `{}` for the verb, for that object or for `what` in its namespace."""
    meta = live["metadata"]
    where = f"-n {meta['namespace']} " if "namespace" in meta else ""
    return f"kubectl {where}{{}} {what or ' '.join([live['kind'].lower(), meta['name']])}"


def _made_again(live: Object, inputs: Object, found: Sequence[Fault], secrets: Secrets) -> Blocker | None:
    """The blocker of an object that has to be deleted first, because it cannot become the program's."""
    target, delete = _command(live), _command(live).format("delete")
    managers = live["metadata"].get("managedFields") or []
    match live["kind"]:
        case "Deployment" if operations := _another_selector(live, inputs):
            return Blocker(
                why="its selector is not the program's and cannot be changed: `up` would delete it with its pods, and "
                "make it again with the placeholder's image. Replace it now, with a short downtime, and run this again",
                remedy=f"{target.format('get')} -o json | kubectl patch --local -f - --type=json -o json "
                f"-p {shlex.quote(json.dumps(operations))} | kubectl replace --force -f -",
                fatal=True,
            )
        case "StatefulSet" if found or _cannot_become(live["spec"], inputs["spec"]):
            why = _sentence(found) or (
                "its claim template, policy or history limit cannot be changed, and a replacement would delete its "
                "pods; orphaned, they keep running and their volume, and are adopted by the StatefulSet that `up` makes"
            )
            why += still_managed(managers)
            remedy = "\n".join([f"{delete} --cascade=orphan", *_label_pods(live, inputs)])
            return Blocker(why=why, remedy=remedy, imported=False)
        case "CronJob" if found or (tools := of_other_tools(managers)):
            why = _sentence(found) or f"its containers, of {', '.join(tools)}, would stay beside the program's"
            why = f"{why}. Only its Jobs' history is lost: `up` creates it again"
            return Blocker(why=why, remedy=delete, imported=False)
        case "PodDisruptionBudget" if "minAvailable" in live["spec"] and "maxUnavailable" in inputs["spec"]:
            why = "it has minAvailable, and the API refuses the program's maxUnavailable beside it: `up` makes its own"
            return Blocker(why=why, remedy=delete, imported=False)
        case "ConfigMap" if any(secrets.shows(str(text), key) for key, text in (live.get("data") or {}).items()):
            why = f"it contains a secret in plain text, {_RECORDED}: `up` creates its own"
            return Blocker(why=why, remedy=delete, imported=False)
        case "Secret" | "ConfigMap" if live.get("immutable"):
            why = "it is immutable, and the API refuses the program's changes: `up` creates its own"
            return Blocker(why=why, remedy=delete, imported=False)
    return None


def _label_pods(live: Object, inputs: Object) -> Iterator[str]:
    """Command that gives orphaned pods the labels by which the program's StatefulSet adopts them, if they lack any.

    It could not create its own pod beside one of the same name.
    """
    labels = ((live["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    selector = (live["spec"].get("selector") or {}).get("matchLabels") or labels
    wanted = (inputs["spec"].get("selector") or {}).get("matchLabels") or {}
    if not wanted.items() <= {**selector, **labels}.items():
        label = _command(live, f"pods -l {','.join(_pairs(selector))}").format("label")
        yield f"{label} {' '.join(_pairs(wanted))} --overwrite"


def _pairs(labels: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in labels.items()]


def _another_selector(live: Object, inputs: Object) -> list[Operation]:
    """JSON patch that gives a Deployment the program's selector, with the labels for it; empty if it has that."""
    wanted = (inputs.get("spec") or {}).get("selector")
    if wanted is None or live["spec"]["selector"] == wanted:
        return []
    labels = {**live["spec"]["template"]["metadata"].get("labels", {}), **wanted["matchLabels"]}
    return [
        {"op": "replace", "path": "/spec/selector", "value": wanted},
        {"op": "add", "path": "/spec/template/metadata/labels", "value": labels},
    ]


def _to_the_front(live: Object, inputs: Object) -> list[Operation]:
    """JSON patch that makes the app's container the first; empty if it is, or if none has its name."""
    names = [[one["name"] for one in _containers(each)] for each in (live, inputs)]
    there, wanted = names[0], names[1][:1]
    index = there.index(wanted[0]) if wanted and wanted[0] in there else 0
    return [{"op": "move", "from": f"{_CONTAINERS}/{index}", "path": f"{_CONTAINERS}/0"}] if index else []


def _containers(deployment: Object) -> list[Object]:
    spec: Object = deployment.get("spec") or {}
    found: list[Object] = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    return found


def _of_service(live: Object, wanted: Object) -> Iterator[tuple[str, list[Operation]]]:
    """What the API server refuses beside the program's fields of a Service, each with a JSON patch.

    Until the provider has taken over the Service's fields, a preview has both (kubernetes/kubernetes#131147).
    """
    ranges = "loadBalancerSourceRanges"
    if live.get(ranges) and wanted.get("type") == "ClusterIP":
        yield (
            f"it is a load balancer with {ranges}, and the API refuses these on the program's ClusterIP: change both",
            [
                {"op": "replace", "path": "/spec/type", "value": "ClusterIP"},
                {"op": "remove", "path": f"/spec/{ranges}"},
            ],
        )
    own = {one.get("name"): one["port"] for one in wanted.get("ports") or []}
    for index, port in enumerate(live.get("ports") or []):
        name = port.get("name")
        if name in own and port["port"] != own[name]:
            yield (
                f"its port {port['port']} has the name of the program's {own[name]}, and the API refuses both: rename",
                [
                    {"op": "test", "path": f"/spec/ports/{index}/port", "value": port["port"]},
                    {"op": "replace", "path": f"/spec/ports/{index}/name", "value": f"{name}-by-hand"},
                ],
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
        said.append(f"{', '.join(other)}: the API refuses this beside what the program has there")
    return "; ".join(said)


def _keeps_a_secret(applied: str, kind: str, secrets: Secrets) -> bool:
    if kind == "Secret":
        return bool({"data", "stringData"} & json.loads(applied).keys())
    return secrets.shows(applied)


def _cannot_become(live: Object, wanted: Object) -> bool:
    # The API server fills in both, so a field that the program leaves out counts as the default.
    defaults = {"volumeClaimTemplates": [], "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10}
    return any((live.get(name) or defaults.get(name)) != wanted.get(name, defaults.get(name)) for name in _FIXED)


def data_blocker(namespace: str, why: Sequence[str]) -> Blocker:
    """The blocker of a database whose data the program's pod would not find, or could not serve."""
    return Blocker(
        why=f"{'; '.join(why)}. The program's pod would start with an EMPTY database beside this data",
        remedy="Dump it, let `up` create a new volume, and put the dump into that with `ops restore`: "
        f"docs/runbook/cluster.md, The data is elsewhere on its volume (namespace {namespace})",
        imported=False,
        fatal=True,
    )


def second_server_blocker(workload: Object) -> Blocker:
    """The blocker of a workload that would go on writing to the database's claim beside the program's StatefulSet."""
    kind, name = workload["kind"], workload["metadata"]["name"]
    return Blocker(
        why=f"the {kind} {name} mounts it, and `up` makes a StatefulSet that does, too: two servers on one data "
        "directory destroy it. Delete the first, which leaves the data where it is, and run this again",
        remedy=_command(workload).format("delete"),
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
