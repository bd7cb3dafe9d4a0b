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
    """Prometheus has the stack's alerts, and none of its namespace fires that calls somebody.

    The result names pending ones.
    """
    namespace, rules = systems.settings.namespace, _rules(systems)
    if not any(
        one["labels"].get("namespace") == namespace and one["name"].startswith(systems.names.alerts) for one in rules
    ):
        labels = ", ".join(f"{key}: {value}" for key, value in systems.monitoring.labels.items())
        raise CheckError(
            "Prometheus has no alert of this stack, so none can fire",
            f"monitoring.labels ({labels}) must be what the Prometheus selects rules by: kubectl get prometheus -A "
            f"-o jsonpath='{{.items[*].spec.ruleSelector}}'; then {systems.up}",
        )
    found = [
        one
        for rule in rules
        for one in rule["alerts"]
        if one["labels"].get("namespace") == namespace and one["labels"].get("severity") not in _CALL_NOBODY
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


def _rules(systems: Systems) -> list[Any]:
    """The alerting rules, each with its active alerts, from Prometheus' API `/api/v1/rules`."""
    host, _, port = systems.monitoring.prometheus.partition(":")
    name, namespace = host.split(".")[:2]
    # The client has a method for this, but it encodes the slashes of the inner path as %2F.
    path = f"/api/v1/namespaces/{namespace}/services/{name}:{port or 80}/proxy/api/v1/rules"
    client = systems.cluster.client
    request = client.param_serialize("GET", path, query_params=[("type", "alert")], auth_settings=["BearerToken"])
    answer = client.call_api(*request, _request_timeout=systems.patience)
    body = answer.read()
    if answer.status == _FORBIDDEN:
        fix = f"let this kubeconfig's user get services/proxy in namespace {namespace}"
        raise CheckError(f"Prometheus could not be queried: {answer.status} of {name}.{namespace}", fix)
    if answer.status != _OK:
        fix = "correct monitoring.prometheus in the stack file, or find out why Prometheus does not answer"
        raise CheckError(f"Prometheus could not be queried: {answer.status} of {name}.{namespace}", fix)
    try:
        found = [rule for group in json.loads(body)["data"]["groups"] for rule in group["rules"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckError(
            f"Prometheus could not be queried: {name}.{namespace} does not answer as Prometheus does",
            "correct monitoring.prometheus in the stack file",
        ) from error
    return found
