"""The blackbox exporter, with which Prometheus checks whether the app is well."""

from __future__ import annotations

from ops.verify.check import Check
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError


def prober(systems: Systems) -> str:
    """The blackbox exporter's Service is where the Probe expects it; otherwise an alert would say so an hour later."""
    host, _, port = systems.monitoring.prober.partition(":")
    name, namespace = host.split(".")[:2]
    found = systems.get("v1", "Service", name, namespace)
    fix = f"name it in monitoring.prober (kubectl get services -A | grep blackbox), then {systems.up}"
    if found is None:
        raise CheckError(f"there is no Service {namespace}/{name}", fix)
    ports = [str(one["port"]) for one in found["spec"].get("ports") or []]
    if (port or "80") not in ports:
        raise CheckError(f"{namespace}/{name} has the ports {', '.join(ports) or 'none'}, not {port or 80}", fix)
    return f"{namespace}/{name} listens on {port or 80}"


CHECKS = (Check(name="prober", look=prober, applies=lambda settings: settings.monitoring is not None),)
