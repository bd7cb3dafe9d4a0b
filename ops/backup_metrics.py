"""Exports figures of the last backup and the last drills to Prometheus.

The figures are in the status of their pods, which none of the usual exporters reads. A PrometheusRule with rules that
record constant numbers needs no exporter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kubernetes.client import ApiClient, CoreV1Api, CustomObjectsApi
from kubernetes.client.exceptions import ApiException

from components.recording_rules import BACKUP_BYTES, BACKUP_ROWS, BACKUP_SECONDS
from ops.kube.cluster import REQUEST_TIMEOUT, unless_gone
from ops.results import drills, newest_backup
from settings import Settings
from settings.monitoring import MonitoringSettings
from settings.names import PROGRAM, Names

_GROUP, _VERSION, _PLURAL = "monitoring.coreos.com", "v1", "prometheusrules"
_FORBIDDEN: Final = 403


def record(client: ApiClient, settings: Settings) -> str | None:
    """Writes the PrometheusRule; returns a message for the user, or None if the stack has nothing to record.

    As with the Lease of a check, a job whose account may not write it has not failed. Figures of pods that are gone
    leave the rule; once no figures are left, the rule stays as it is.
    """
    if settings.monitoring is None or settings.backup is None:
        return None
    name = settings.names.backup_results
    try:
        return _write(client, settings.names, settings.monitoring)
    except ApiException as error:
        if error.status != _FORBIDDEN:
            raise
        return (
            f"Not recorded: this account may not create and patch the PrometheusRule {name} in "
            f"{settings.namespace}, so the dashboard does not show how much was backed up (docs/merge-requests.md)."
        )


def rules(names: Names, pods: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The recording rules, each with one number of one CronJob; `pods` are JSON, as the API returns them."""

    def known(metric: str, value: int, cron_job: str) -> Mapping[str, Any]:
        labels = {"namespace": names.namespace, "cronjob": cron_job}
        return {"record": metric, "expr": f"vector({value})", "labels": labels}

    pods = list(pods)
    if (backup := newest_backup(pods)) is not None:
        yield known(BACKUP_ROWS, backup.rows, names.backup)
        yield known(BACKUP_BYTES, backup.bytes, names.backup)
        yield known(BACKUP_SECONDS, backup.seconds, names.backup)
    drilled = drills(pods)
    for origin, cron_job in (("volume", names.drill), ("s3", names.offsite_drill)):
        if last := next((one for one in drilled if one.origin == origin), None):
            yield known(BACKUP_ROWS, last.rows, cron_job)
            yield known(BACKUP_SECONDS, last.seconds, cron_job)


def _write(client: ApiClient, names: Names, monitoring: MonitoringSettings) -> str | None:
    pods = CoreV1Api(client).list_namespaced_pod(names.namespace, _request_timeout=REQUEST_TIMEOUT)
    found = list(rules(names, client.sanitize_for_serialization(pods)["items"]))
    api = CustomObjectsApi(client)
    place = (_GROUP, _VERSION, names.namespace, _PLURAL)
    alerts = unless_gone(lambda: api.get_namespaced_custom_object(*place, names.app, _request_timeout=REQUEST_TIMEOUT))
    if not found or alerts is None:
        return None
    kind = {"apiVersion": f"{_GROUP}/{_VERSION}", "kind": "PrometheusRule"}
    metadata = {
        "name": names.backup_results,
        "namespace": names.namespace,
        "labels": {**names.owner_labels, **monitoring.labels},
        # The API server deletes it with the alerts, which the program manages.
        "ownerReferences": [{**kind, "name": names.app, "uid": alerts["metadata"]["uid"]}],
    }
    api.patch_namespaced_custom_object(
        *place,
        names.backup_results,
        {**kind, "metadata": metadata, "spec": {"groups": [{"name": names.backup_results, "rules": found}]}},
        field_manager=PROGRAM,
        force=True,
        _content_type="application/apply-patch+yaml",
        _request_timeout=REQUEST_TIMEOUT,
    )
    return f"Recorded in the PrometheusRule {names.backup_results}: rows of the last backup and of the last drills."
