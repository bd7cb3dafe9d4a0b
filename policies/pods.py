"""Rules about pods, wherever a pod's specification stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policies.rule import Resource, Rule, Violation, known

PLACEHOLDER_TAG = "placeholder"
"""Tag of the image that only the app's pipeline replaces (see the decision on the image)."""

_TEMPLATES = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def template(resource: Resource) -> dict[str, Any] | None:
    """The pod template (`metadata` and `spec`) of a resource that makes pods, else None."""
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


def _containers(resource: Resource) -> Iterator[dict[str, Any]]:
    spec = _spec(resource)
    yield from spec.get("initContainers", [])
    yield from spec.get("containers", [])


def _images_have_versions(resource: Resource) -> Iterator[str]:
    for container in _containers(resource):
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
    for container in _containers(resource):
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
    for container in _spec(resource).get("containers", []):
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
    yield from (f"volume {volume['name']} is a hostPath" for volume in spec.get("volumes", []) if "hostPath" in volume)
    for container in _containers(resource):
        own = container.get("securityContext", {})
        seccomp = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
        broken = {
            "runAsNonRoot must be true": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True,
            "runAsUser must not be 0": own.get("runAsUser", pod.get("runAsUser")) == 0,
            "allowPrivilegeEscalation must be false": own.get("allowPrivilegeEscalation") is not False,
            "capabilities must drop ALL": "ALL" not in own.get("capabilities", {}).get("drop", []),
            "capabilities may add NET_BIND_SERVICE only": bool(
                set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}
            ),
            "seccompProfile must be RuntimeDefault or Localhost": seccomp not in {"RuntimeDefault", "Localhost"},
            "privileged must not be set": bool(own.get("privileged")),
            "hostPort must not be set": any(port.get("hostPort") for port in container.get("ports", [])),
        }
        yield from (f"container {container['name']}: {message}" for message, is_so in broken.items() if is_so)


def _no_default_token(resource: Resource) -> Iterator[str]:
    spec = _spec(resource)
    if spec and spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken must be false: nothing in this stack talks to the API server from a pod"


def _no_env_from(resource: Resource) -> Iterator[str]:
    for container in _containers(resource):
        if container.get("envFrom"):
            yield (
                f"container {container['name']} uses envFrom, which passes a Secret's keys on under their own names: "
                "map each variable with valueFrom.secretKeyRef (the app's migrations once failed on this)"
            )


def _pods_have_a_network_policy(resources: Sequence[Resource]) -> Iterator[Violation]:
    policies = [
        (resource.namespace, resource.inputs.get("spec", {}).get("endpointSelector", {}).get("matchLabels", {}))
        for resource in resources
        if resource.kind == "CiliumNetworkPolicy"
    ]
    for resource in resources:
        pod = template(resource)
        if pod is None:
            continue
        labels = pod.get("metadata", {}).get("labels", {}).items()
        if not any(namespace == resource.namespace and selector.items() <= labels for namespace, selector in policies):
            yield Violation(
                message="no CiliumNetworkPolicy of this namespace selects these pods: they reach all, all reach them",
                urn=resource.urn,
            )


RULES = (
    Rule(name="images-have-versions", description="No image is `latest`.", each=_images_have_versions),
    Rule(
        name="containers-are-bounded",
        description="Every container requests, and is limited in, CPU and memory.",
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
        each=_no_default_token,
    ),
    Rule(name="no-env-from", description="Environment variables are mapped one by one.", each=_no_env_from),
    Rule(
        name="pods-have-a-network-policy",
        description="A network policy selects every pod.",
        all=_pods_have_a_network_policy,
    ),
)
