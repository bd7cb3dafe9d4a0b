"""Which alerts fire, asked of Prometheus itself through the API server, which reaches its Service when we cannot."""

from __future__ import annotations

import json
from typing import Any, Final

from ops.terminal import age
from ops.verify.cluster import moment
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError

_OK: Final = 200
_FORBIDDEN: Final = 403
_CALL_NOBODY: Final = frozenset({"info", "none"})
"""Severities that kube-prometheus-stack sends to nobody: for a quota that just fits, say, the alert fires for ever."""


def firing(systems: Systems) -> str:
    """No alert of the stack's namespace fires that calls somebody. The result names pending ones."""
    found = [
        one
        for one in _active(systems)
        if one["labels"].get("namespace") == systems.settings.namespace
        and one["labels"].get("severity") not in _CALL_NOBODY
    ]
    fire, pending = ([one for one in found if one["state"] == state] for state in ("firing", "pending"))
    waiting = f"; pending: {', '.join(sorted({one['labels']['alertname'] for one in pending}))}" if pending else ""
    if not fire:
        return f"none fires{waiting}"
    lines = sorted(
        f"{one['labels']['alertname']} for {age(systems.now - moment(one['activeAt']))}"
        f" ({one['annotations'].get('summary', one['labels'].get('severity', 'no summary'))})"
        for one in fire
    )
    raise CheckError("; ".join(lines) + waiting, "docs/alerts.md says what to do about each")


def _active(systems: Systems) -> list[Any]:
    """The active alerts, from Prometheus' API `/api/v1/alerts`."""
    host, _, port = systems.monitoring.prometheus.partition(":")
    name, namespace = host.split(".")[:2]
    # The client has a method for this, but it encodes the slashes of the inner path as %2F.
    path = f"/api/v1/namespaces/{namespace}/services/{name}:{port or 80}/proxy/api/v1/alerts"
    client = systems.cluster.client
    request = client.param_serialize("GET", path, auth_settings=["BearerToken"])
    answer = client.call_api(*request, _request_timeout=systems.patience)
    body = answer.read()
    if answer.status == _FORBIDDEN:
        fix = f"let this kubeconfig's user get services/proxy in namespace {namespace}"
        raise CheckError(f"Prometheus could not be queried: {answer.status} of {name}.{namespace}", fix)
    if answer.status != _OK:
        fix = "correct monitoring.prometheus in the stack file, or find out why Prometheus does not answer"
        raise CheckError(f"Prometheus could not be queried: {answer.status} of {name}.{namespace}", fix)
    try:
        found: list[Any] = json.loads(body)["data"]["alerts"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckError(
            f"Prometheus could not be queried: {name}.{namespace} does not answer as Prometheus does",
            "correct monitoring.prometheus in the stack file",
        ) from error
    return found
