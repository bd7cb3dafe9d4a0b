"""How people reach the app inside the network."""

from __future__ import annotations

from ops.verify.check import Check
from ops.verify.systems import Object, Systems
from ops.verify.trouble import CheckError
from settings.access import url_of


def route(systems: Systems) -> str:
    """The Gateway serves the hostnames, and resolves their backends."""
    wanted = systems.settings.access
    found = systems.need("gateway.networking.k8s.io/v1", "HTTPRoute", systems.names.app)
    hostnames = found["spec"].get("hostnames", [])
    named = ", ".join(wanted.hostnames)
    if set(hostnames) != set(wanted.hostnames):
        raise CheckError(f"it serves {', '.join(hostnames) or 'every hostname'}, not {named}", systems.up)
    # A controller may keep what it said about a parent that the route no longer names: Cilium did until June 2026 (its
    # pull request 46296).
    places = [_place(one) for one in found["spec"].get("parentRefs") or []]
    answers = (found.get("status") or {}).get("parents") or []
    parents = [one for one in answers if _place(one["parentRef"]) in places]
    if not parents:
        raise CheckError("no Gateway has answered it", f"check access.gateway: is there a {wanted.gateway.name}?")
    conditions = {one["type"]: one for parent in parents for one in parent["conditions"]}
    for type_ in ("Accepted", "ResolvedRefs"):
        one = conditions.get(type_, {"status": "Unknown", "reason": "no such condition", "message": ""})
        if one["status"] != "True":
            raise CheckError(
                f"{type_} is {one['status']}: {one['reason']}, {one['message']}",
                f"correct access.gateway (listener {wanted.gateway.listener}) in the stack file, then {systems.up}",
            )
        if one["observedGeneration"] < found["metadata"]["generation"]:
            raise CheckError(f"{type_} is about an older version of it", "wait for the Gateway's controller")
    return f"{named} is Accepted and ResolvedRefs by {wanted.gateway.name}/{wanted.gateway.listener}"


def _place(parent: Object) -> tuple[str | None, ...]:
    """Which listener of which Gateway the route names."""
    return tuple(parent.get(key) for key in ("namespace", "name", "sectionName"))


def internal_url(systems: Systems, hostname: str) -> str:
    """The app and its database answer at the address that people in the network use."""
    url = f"{url_of(hostname)}{systems.settings.app.health_path}"
    status = systems.http.get(url).status_code
    if status != 200:
        raise CheckError(
            f"{url} answers {status}, not 200",
            f"kubectl -n {systems.names.namespace} logs deployment/{systems.names.app}; "
            "a 404 or 503 is the Gateway's own",
        )
    return f"{url} answers 200"


CHECKS = (
    Check(name="route", look=route),
    Check(name="internal-url", look=internal_url, hostnames=lambda settings: settings.access.hostnames),
)
