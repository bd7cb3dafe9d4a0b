"""Checks, before the first resource, that the cluster has what the stack builds on.

Without its APIs, Gateway, cloudflared and operator, `up` would create everything else, wait, and fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pulumi

from lookups import gateway, operator, peers
from lookups.cluster import Cluster
from settings import Settings

_CILIUM: Final = "install Cilium 1.16 or newer"
_GATEWAY_API: Final = "install Gateway API's CRDs and a controller (https://docs.cilium.io, Gateway API Support)"
_PROMETHEUS: Final = "install the Prometheus operator (https://prometheus-operator.dev), or remove `monitoring`"


class PrerequisitesError(pulumi.RunError):
    """The cluster lacks what the stack builds on; the message lists all of it."""


def check_prerequisites(settings: Settings, cluster: Cluster) -> None:
    """Raises `PrerequisitesError` with everything that is missing; warns if the kubeconfig's user may not look."""
    if problems := list(find_problems(settings, cluster)):
        listed = "\n\n".join(f"  {what}: {fix}" for what, fix in problems)
        raise PrerequisitesError(
            f"The cluster {settings.cluster.context} is not ready for stack {settings.stack!r}. Nothing was created or "
            f"changed.\n\n{listed}"
        )


def find_problems(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Problems, each with its fix."""
    for api_version, resources, fix in _apis(settings):
        served = cluster.served(api_version)
        missing = [one for one in resources if one not in served]
        if missing:
            yield f"The API server does not know {' and '.join(missing)} ({api_version})", fix
        elif api_version == gateway.API:
            yield from gateway.find_problems(settings, cluster)
    yield from peers.find_problems(settings, cluster)
    if settings.database_of_operator is not None:
        yield from operator.find_problems(settings, cluster)


def _apis(settings: Settings) -> Iterator[tuple[str, tuple[str, ...], str]]:
    yield "cilium.io/v2", ("ciliumnetworkpolicies",), _CILIUM
    yield gateway.API, (gateway.RESOURCE, "httproutes"), _GATEWAY_API
    if settings.monitoring:
        metrics = ("podmonitors",) if settings.database_metrics else ()
        yield "monitoring.coreos.com/v1", ("probes", "prometheusrules", *metrics), _PROMETHEUS
