"""A CloudNativePG Cluster as `ops upgrade` reads and changes it, and the operator's Job that upgrades its data."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kubernetes.client import CustomObjectsApi
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from components.cloudnative_pg import API, CLUSTER_LABEL, KIND, RESOURCE
from components.wal_archive import PLUGIN
from ops.kube.cluster import PROVIDER, REQUEST_TIMEOUT, Cluster, ClusterError
from ops.kube.job import pending_reason

_JOB: Final = {"cnpg.io/jobRole": "major-upgrade"}
_LINES: Final = 8  # of the failed Job's log


@dataclass(frozen=True, kw_only=True)
class OperatedCluster:
    """The stack's Cluster."""

    cluster: Cluster

    def patch(self, body: dict[str, Any], **options: str) -> None:
        """Patches the Cluster; raises `ClusterError` if the API server or a webhook refuses that."""
        patch = self._objects.patch_namespaced_custom_object
        where = (*API.split("/"), self.cluster.namespace, RESOURCE, self.cluster.names.database, body)
        self._allowed(lambda: patch(*where, field_manager=PROVIDER, _request_timeout=REQUEST_TIMEOUT, **options))

    def _allowed(self, request: Callable[[], Any]) -> None:
        """Sends the request; raises `ClusterError` with the webhook's message if one refuses."""

        def said() -> Any:
            try:
                return request()
            except ApiException as error:
                if error.status in {400, 403, 422}:
                    with suppress(ValueError, KeyError):
                        raise ClusterError(json.loads(error.body or "")["message"]) from error
                raise

        self.cluster.persistently(said)

    @property
    def _objects(self) -> Any:
        return CustomObjectsApi(self.cluster.client)

    def read(self) -> dict[str, Any]:
        """The Cluster as it is now; raises `ClusterError` if it is gone."""
        live = self.cluster.custom_object(API, RESOURCE, self.cluster.names.database)
        if live is None:
            raise ClusterError(f"somebody deleted the Cluster {self.cluster.names.database}")
        return live

    def jobs(self) -> list[Any]:
        """The operator's Jobs for this upgrade."""
        wanted = {CLUSTER_LABEL: self.cluster.names.database, **_JOB}
        selector = ",".join(f"{key}={value}" for key, value in wanted.items())
        request = partial(
            self.cluster.batch.list_namespaced_job,
            self.cluster.namespace,
            label_selector=selector,
            _request_timeout=REQUEST_TIMEOUT,
        )
        return list(self.cluster.persistently(request).items)

    def not_started(self, job: str) -> str | None:
        """Why the Job's container has not started; None if it has."""
        pods = self.cluster.pods_of(job).listed(self.cluster)
        if not pods:
            return "no pod was made"
        return pending_reason(pods[-1]) if pods[-1].status.phase == "Pending" else None

    def last_words(self, job: str) -> str:
        """Why a Job has failed, from the end of its log."""
        look = f"see: kubectl -n {self.cluster.namespace} logs job/{job} --all-containers"
        for pod in self.cluster.pods_of(job).listed(self.cluster):
            # There is no log any more if the pod or its node is gone.
            with suppress(HTTPError, ApiException):
                # If the client decodes it, an empty log is None, and one that is not UTF-8 raises an error.
                log = self.cluster.core.read_namespaced_pod_log(
                    pod.metadata.name,
                    self.cluster.namespace,
                    tail_lines=50,
                    _preload_content=False,
                    _request_timeout=REQUEST_TIMEOUT,
                ).data
                if said := messages(log.decode(errors="replace")):
                    return "\n".join(["", *(f"  {line}" for line in said[-_LINES:])])
        return f"its Job has failed, and left no log; {look}"

    def create_base_backup(self, **options: str) -> str:
        """Has the plugin take a base backup of the primary; returns its name. Raises `ClusterError`."""
        names, live = self.cluster.names, self.read()
        name = f"{names.database}-upgraded-{secrets.token_hex(4)}"
        owner = {"apiVersion": API, "kind": KIND, "name": names.database, "uid": live["metadata"]["uid"]}
        body = {
            "apiVersion": API,
            "kind": "Backup",
            "metadata": {"name": name, "labels": names.labels(names.database), "ownerReferences": [owner]},
            "spec": {
                "cluster": {"name": names.database},
                "method": "plugin",
                "pluginConfiguration": {"name": PLUGIN},
                "target": "primary",  # the operator still recreates the standbys
            },
        }
        create = self._objects.create_namespaced_custom_object
        where = (*API.split("/"), self.cluster.namespace, "backups", body)

        def once() -> None:
            try:
                create(*where, _request_timeout=REQUEST_TIMEOUT, **options)
            except ApiException as error:
                if error.status != 409:  # an earlier attempt created it, and its answer was lost
                    raise

        self._allowed(once)
        return name


def messages(log: str) -> list[str]:
    """Messages in the operator's log, which is JSON, and those of pg_upgrade in it."""
    said = []
    for line in log.splitlines():
        try:
            record = json.loads(line)
            text = ": ".join(str(record[key]) for key in ("msg", "error") if record.get(key))
        except (ValueError, AttributeError, TypeError):
            text = line
        if text.strip():
            said.append(text)
    return said


def serves(pods: list[Any], *, image: str) -> bool:
    """Whether a pod with this image is ready."""
    return any(
        pod.metadata.deletion_timestamp is None
        and any(one.image == image for one in pod.spec.containers)
        and any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])
        for pod in pods
    )
