"""Stand-in for Cilium's Gateway controller: sets every HTTPRoute's status, as the Gateway API defines it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError

API = "gateway.networking.k8s.io/v1"
CONTROLLER = "io.cilium/gateway-controller"

Answer = tuple[str, str, str]
"""Status, reason and message of a condition."""


class Controller:
    """Each `step` sets the status of routes where it is missing or out of date."""

    def __init__(self, cluster: DynamicClient) -> None:
        resources = cluster.resources
        self._gateways = resources.get(api_version=API, kind="Gateway")
        self._routes = resources.get(api_version=API, kind="HTTPRoute")
        self._services = resources.get(api_version="v1", kind="Service")
        self.watched = (self._gateways, self._routes, self._services)

    def step(self) -> None:
        """Checks every route once."""
        listed = self._gateways.get().to_dict()["items"]
        gateways = {(one["metadata"]["namespace"], one["metadata"]["name"]): one for one in listed}
        for route in self._routes.get().to_dict()["items"]:
            parents = [self._parent(route, reference, gateways) for reference in route["spec"].get("parentRefs", [])]
            if _without_times(route.get("status", {}).get("parents", [])) != _without_times(parents):
                self._routes.status.patch(
                    name=route["metadata"]["name"],
                    namespace=route["metadata"]["namespace"],
                    body={"status": {"parents": parents}},
                    content_type="application/merge-patch+json",
                )

    def _parent(
        self, route: dict[str, Any], reference: dict[str, Any], gateways: dict[tuple[str, str], dict[str, Any]]
    ) -> dict[str, Any]:
        namespace = reference.get("namespace", route["metadata"]["namespace"])
        gateway = gateways.get((namespace, reference["name"]))
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        answers = {"Accepted": accepted(route, reference, gateway), "ResolvedRefs": self._resolved(route)}
        conditions = [
            {
                "type": type_,
                "status": status,
                "reason": reason,
                "message": message,
                "observedGeneration": route["metadata"]["generation"],
                "lastTransitionTime": now,
            }
            for type_, (status, reason, message) in answers.items()
        ]
        return {"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions}

    def _resolved(self, route: dict[str, Any]) -> Answer:
        for rule in route["spec"].get("rules", []):
            for backend in rule.get("backendRefs", []):
                try:
                    self._services.get(name=backend["name"], namespace=route["metadata"]["namespace"])
                except NotFoundError:
                    return "False", "BackendNotFound", f'services "{backend["name"]}" not found'
        return "True", "ResolvedRefs", "Service reference is valid"


def accepted(route: dict[str, Any], reference: dict[str, Any], gateway: dict[str, Any] | None) -> Answer:
    """Whether the Gateway accepts the route (gateway-api.sigs.k8s.io, RouteConditionReason)."""
    if gateway is None:
        return "False", "NoMatchingParent", f'gateway "{reference["name"]}" not found'
    listeners = gateway["spec"]["listeners"]
    wanted = reference.get("sectionName")
    named = [one for one in listeners if wanted is None or one["name"] == wanted]
    if not named:
        return "False", "NoMatchingParent", f'no listener "{wanted}"'
    hostnames = route["spec"].get("hostnames", [])
    serving = [one for one in named if not hostnames or any(_matches(host, one.get("hostname")) for host in hostnames)]
    if not serving:
        return "False", "NoMatchingListenerHostname", "No matching listener hostname"
    foreign = route["metadata"]["namespace"] != gateway["metadata"]["namespace"]
    if foreign and not any(_from(one) == "All" for one in serving):
        return "False", "NotAllowedByListeners", "HTTPRoute is not allowed to attach to this Gateway"
    return "True", "Accepted", "Accepted HTTPRoute"


def _from(listener: dict[str, Any]) -> str:
    found: str = listener.get("allowedRoutes", {}).get("namespaces", {}).get("from", "Same")
    return found


def _matches(hostname: str, listener: str | None) -> bool:
    if listener is None:
        return True
    if listener.startswith("*."):
        return hostname.endswith(listener[1:])
    return hostname == listener


def _without_times(parents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **parent,
            "conditions": [
                {key: value for key, value in condition.items() if key != "lastTransitionTime"}
                for condition in parent["conditions"]
            ],
        }
        for parent in parents
    ]
