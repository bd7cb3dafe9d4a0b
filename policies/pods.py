"""Rules for pods, in whichever kind of resource their specification is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.rule import Resource, Rule, Violation, known

_TEMPLATES = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}

_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
"""Kinds of volumes that the level `restricted` allows."""

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_UNUSED = ("procMount", "seLinuxOptions", "sysctls", "windowsOptions")
"""Fields of a security context that the level restricts and nothing here needs: refused altogether."""


def template(resource: Resource) -> dict[str, Any] | None:
    """The pod template (`metadata` and `spec`) of a resource that creates pods, else None."""
    if not resource.type.startswith("kubernetes:") or resource.kind not in _TEMPLATES:
        return None
    found: Any = resource.inputs
    for key in _TEMPLATES[resource.kind]:
        found = found[key] if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else None


def _spec(resource: Resource) -> dict[str, Any]:
    pod = template(resource) or {}
    spec: dict[str, Any] = pod.get("spec", {})
    return spec


def containers(resource: Resource) -> Iterator[dict[str, Any]]:
    """Every container of the pods that a resource creates, init containers included."""
    spec = _spec(resource)
    yield from spec.get("initContainers", [])
    yield from spec.get("containers", [])


def _images_have_versions(resource: Resource) -> Iterator[str]:
    for container in containers(resource):
        image = container.get("image", "")
        if not known(image) or "@sha256:" in image:
            continue
        tag = image.rpartition("/")[2].partition(":")[2]
        if tag in {"", "latest"}:
            yield (
                f"container {container['name']} runs {image}, which names no version: give it a tag other than latest, "
                "or a digest, so that a restart does not bring another program"
            )


def _containers_are_bounded(resource: Resource) -> Iterator[str]:
    for container in containers(resource):
        resources = container.get("resources", {})
        missing = [
            f"{bound}.{name}"
            for bound in ("requests", "limits")
            for name in ("cpu", "memory")
            if name not in resources.get(bound, {})
        ]
        if missing:
            yield f"container {container['name']} has no resources.{', resources.'.join(missing)}"


def _servers_are_probed(resource: Resource) -> Iterator[str]:
    for container in containers(resource):
        missing = [probe for probe in ("readinessProbe", "livenessProbe") if probe not in container]
        if container.get("ports") and missing:
            yield f"container {container['name']} serves a port and has no {' and no '.join(missing)}"


def _restricted(resource: Resource) -> Iterator[str]:
    """The `restricted` level of the Pod Security Standards, as kubernetes.io documents it."""
    spec = _spec(resource)
    if not spec:
        return
    pod = spec.get("securityContext", {})
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(flag):
            yield f"{flag} must not be set"
    for volume in spec.get("volumes", []):
        for kind in sorted(set(volume) - {"name"} - _VOLUMES):
            yield f"volume {volume['name']} is a {kind}: {', '.join(sorted(_VOLUMES))} are allowed"
    yield from (f"securityContext.{field} must not be set" for field in _UNUSED if pod.get(field))
    for container in containers(resource):
        yield from (f"container {container['name']}: {message}" for message in _broken(container, pod))


def _broken(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    """The rules of the level that a container violates; `pod` is the pod's security context."""
    own = container.get("securityContext", {})
    both = {**pod, **own}
    capabilities = own.get("capabilities", {})
    calls = [*(container.get(probe, {}) for probe in _PROBES), *container.get("lifecycle", {}).values()]
    hosts = [call.get(action, {}).get("host") for call in calls for action in ("httpGet", "tcpSocket")]
    broken = {
        "runAsNonRoot must be true": both.get("runAsNonRoot") is not True,
        "runAsUser must not be 0": both.get("runAsUser") == 0,
        "allowPrivilegeEscalation must be false": own.get("allowPrivilegeEscalation") is not False,
        "capabilities must drop ALL": "ALL" not in capabilities.get("drop", []),
        "capabilities may add NET_BIND_SERVICE only": bool(set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}),
        "seccompProfile must be RuntimeDefault or Localhost": (
            both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}
        ),
        "appArmorProfile must not be Unconfined": both.get("appArmorProfile", {}).get("type") == "Unconfined",
        "privileged must not be set": bool(own.get("privileged")),
        "hostPort must not be set": any(port.get("hostPort") for port in container.get("ports", [])),
        "probes and hooks must not name a host": any(hosts),
        **{f"{field} must not be set": bool(own.get(field)) for field in _UNUSED},
    }
    yield from (message for message, is_so in broken.items() if is_so)


def _no_token(resource: Resource) -> Iterator[str]:
    spec = _spec(resource)
    if spec and spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false: nothing in this stack talks to the API server from a pod"
    for volume in spec.get("volumes", []):
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", [])):
            yield f"volume {volume['name']} holds a service account's token: no pod of this stack needs one"


def _no_env_from(resource: Resource) -> Iterator[str]:
    for container in containers(resource):
        if container.get("envFrom"):
            yield (
                f"container {container['name']} uses envFrom, which passes a Secret's keys on under their own names: "
                "map each variable with valueFrom.secretKeyRef (the app's migrations once failed on this)"
            )


def _pods_have_a_network_policy(resources: Sequence[Resource]) -> Iterator[Violation]:
    policies = [resource for resource in resources if resource.kind == "CiliumNetworkPolicy"]
    for resource in resources:
        pod = template(resource)
        if pod is None:
            continue
        labels = pod.get("metadata", {}).get("labels", {})
        denied = {
            direction
            for policy in policies
            if policy.namespace == resource.namespace and _selects(policy, labels)
            for direction in _denied_by_default(policy)
        }
        if open_ := [direction for direction in ("ingress", "egress") if direction not in denied]:
            yield Violation(
                message=f"no CiliumNetworkPolicy of this namespace bounds the {' and '.join(open_)} of these pods: "
                "they can reach everything, or everything can reach them",
                urn=resource.urn,
            )


def _selects(policy: Resource, labels: Mapping[str, str]) -> bool:
    """Whether a policy applies to pods with these labels. One without an endpointSelector applies to nodes."""
    selector = policy.inputs.get("spec", {}).get("endpointSelector")
    if selector is None:
        return False
    expressions = selector.get("matchExpressions", [])
    return selector.get("matchLabels", {}).items() <= labels.items() and all(_holds(one, labels) for one in expressions)


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", [])
    holds = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return holds.get(expression["operator"], False)


def _denied_by_default(policy: Resource) -> Iterator[str]:
    """The directions in which a policy denies what no rule allows."""
    spec = policy.inputs.get("spec", {})
    for direction in ("ingress", "egress"):
        if spec.get(direction) and spec.get("enableDefaultDeny", {}).get(direction, True):
            yield direction


RULES = (
    Rule(name="images-have-versions", description="No image is `latest`.", each=_images_have_versions),
    Rule(
        name="containers-are-bounded",
        description="Every container has requests and limits for CPU and memory.",
        each=_containers_are_bounded,
    ),
    Rule(
        name="servers-are-probed",
        description="Every container that serves a port has a readiness and a liveness probe.",
        each=_servers_are_probed,
    ),
    Rule(name="pods-are-restricted", description="Every pod passes the `restricted` level.", each=_restricted),
    Rule(
        name="no-service-account-token",
        description="No pod is given a service account's token.",
        each=_no_token,
    ),
    Rule(name="no-env-from", description="Environment variables are mapped one by one.", each=_no_env_from),
    Rule(
        name="pods-have-a-network-policy",
        description="Network policies bound every pod, both ways.",
        all=_pods_have_a_network_policy,
    ),
)
