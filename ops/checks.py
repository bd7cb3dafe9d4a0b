"""Records the scheduled checks of a stack for Prometheus: a job that has passed renews the Lease of its check.

kube-state-metrics exports the time as `kube_lease_renew_time` by default.
"""

from __future__ import annotations

import datetime as dt

from kubernetes.client import ApiClient, CoordinationV1Api
from kubernetes.client.exceptions import ApiException

from ops.kube.cluster import REQUEST_TIMEOUT, unless_gone
from settings.names import PROGRAM, Names
from settings.schedules import SCHEDULED_CHECKS

_FORBIDDEN = 403


def record(client: ApiClient, names: Names, check: str) -> str:
    """Records that the check has just passed; returns a message for the user.

    A job whose account may not write the Lease has not failed: without a Lease the check's alert does not fire either.
    """
    lease = names.check_lease(check)
    spec = {
        "holderIdentity": PROGRAM,
        "leaseDurationSeconds": SCHEDULED_CHECKS[check] * 3600,
        "renewTime": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
    }
    metadata = {"name": lease, "namespace": names.namespace, "labels": names.owner_labels}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    try:
        CoordinationV1Api(client).patch_namespaced_lease(
            lease,
            names.namespace,
            body,
            field_manager=PROGRAM,
            force=True,
            _content_type="application/apply-patch+yaml",
            _request_timeout=REQUEST_TIMEOUT,
        )
    except ApiException as error:
        if error.status != _FORBIDDEN:
            raise
        return (
            f"Not recorded: this account may not create and patch the Lease {lease} in {names.namespace}, so no alert "
            f"says when {check} stops passing (docs/merge-requests.md)."
        )
    return f"Recorded in the Lease {lease}: {check} has passed."


def last(client: ApiClient, names: Names, check: str) -> dt.datetime | None:
    """When the check was last recorded; None if it never was."""
    read = CoordinationV1Api(client).read_namespaced_lease
    lease = unless_gone(lambda: read(names.check_lease(check), names.namespace, _request_timeout=REQUEST_TIMEOUT))
    return lease.spec.renew_time if lease and lease.spec else None
