"""Emulates the instance managers of CloudNativePG's pods: the operator's requests to them, and what they do to the
Cluster.

Follows CloudNativePG 1.27: pkg/management/postgres/probes.go (`/pg/status`), pkg/postgres/status.go (its JSON) and
internal/management/controller/instance_startup.go and instance_controller.go (who is primary) and
internal/management/controller/roles/reconciler.go (the status of managed roles). An instance is primary
once the Cluster names it as the target; the others follow it without lag. It serves HTTPS at the pod's own address with
the certificate that the operator created, and TLS 1.3, as the operator requires.

Not emulated: replication itself, configuration reloads, in-place upgrades, probes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import ssl
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

from kubernetes.client import ApiClient, CoreV1Api, CustomObjectsApi
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.resource import Resource

CLUSTERS: Final = {"group": "postgresql.cnpg.io", "version": "v1", "plural": "clusters"}
CLUSTER: Final = "cnpg.io/cluster"
"""Label of everything that belongs to a Cluster."""
_INSTANCES: Final = "cnpg.io/podRole=instance"
_PORT: Final = 8000
_LSN: Final = "0/5000060"
_SYSTEM: Final = "75000000000000000{major:02}"
"""Differs by major version, as after pg_upgrade."""


class InstanceManagers:
    """Each `step` does what is due. A context manager: at its end, all servers stop listening."""

    watched: Sequence[Resource] = ()

    def __init__(self, client: ApiClient, manager: Path) -> None:
        """`manager` is the operator's program, whose hash an instance reports as its own."""
        self._core: Any = CoreV1Api(client)
        self._custom: Any = CustomObjectsApi(client)
        self._hash = hashlib.sha256(manager.read_bytes()).hexdigest()
        self._servers: dict[str, ThreadingHTTPServer] = {}
        self._serving: set[tuple[str, str]] = set()
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for uid in list(self._servers):
            self._stop(uid)

    def step(self) -> None:
        """Serves each running instance, stops serving those that are gone, and makes a Cluster's target primary."""
        pods = self._core.list_pod_for_all_namespaces(label_selector=_INSTANCES).items
        there = {pod.metadata.uid: pod for pod in pods if pod.status.phase == "Running" and pod.status.pod_ip}
        self._serving = {(pod.metadata.namespace, pod.metadata.name) for pod in there.values()}
        for uid in self._servers.keys() - there.keys():
            self._stop(uid)
        for uid, pod in there.items():
            if uid not in self._servers and not self._ended:
                self._serve(uid, pod)
            if pod.metadata.deletion_timestamp is None:
                self._promote(pod)
                self._set_roles(pod)

    def _promote(self, pod: Any) -> None:
        namespace, name = pod.metadata.namespace, pod.metadata.labels[CLUSTER]
        status = self._cluster(namespace, name).get("status", {})
        if status.get("targetPrimary") == pod.metadata.name != status.get("currentPrimary"):
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            body = {"status": {"currentPrimary": pod.metadata.name, "currentPrimaryTimestamp": now}}
            self._custom.patch_namespaced_custom_object_status(**CLUSTERS, namespace=namespace, name=name, body=body)

    def _set_roles(self, pod: Any) -> None:
        """The primary says of every role that the Cluster names that it is as it should be."""
        namespace, name = pod.metadata.namespace, pod.metadata.labels[CLUSTER]
        cluster = self._cluster(namespace, name)
        roles = [one["name"] for one in cluster.get("spec", {}).get("managed", {}).get("roles", [])]
        status = cluster.get("status", {})
        by_status = {"reconciled": roles}
        if status.get("currentPrimary") == pod.metadata.name and (
            status.get("managedRolesStatus", {}).get("byStatus") != by_status
        ):
            body = {"status": {"managedRolesStatus": {"byStatus": by_status}}}
            self._custom.patch_namespaced_custom_object_status(**CLUSTERS, namespace=namespace, name=name, body=body)

    def _cluster(self, namespace: str, name: str) -> dict[str, Any]:
        with suppress(ApiException):
            found: dict[str, Any] = self._custom.get_namespaced_custom_object(
                **CLUSTERS, namespace=namespace, name=name
            )
            return found
        return {}

    def status(self, namespace: str, cluster: str, pod: str, *, session: str) -> dict[str, Any]:
        """The answer of an instance's `/pg/status`; `session` differs with each start of its instance manager."""
        seen = self._cluster(namespace, cluster).get("status", {})
        current = seen.get("currentPrimary")
        primary = current == pod
        major = (seen.get("pgDataImageInfo") or {}).get("majorVersion", 0)
        # A primary that is gone, or that another instance is to replace, sends nothing: the operator waits for that.
        receives = seen.get("targetPrimary") == current and (namespace, current) in self._serving
        said: dict[str, Any] = {
            "systemID": _SYSTEM.format(major=major),
            "isPrimary": primary,
            "replayPaused": False,
            "pendingRestart": False,
            "pendingRestartForDecrease": False,
            "isWalReceiverActive": receives and not primary,
            "isPgRewindRunning": False,
            "mightBeUnavailable": False,
            "isArchivingWAL": False,
            "node": "",
            "pod": None,
            "timeLineID": 1,
            "executableHash": self._hash,
            "sessionID": session,
            "instanceArch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "isInstanceManagerUpgrading": False,
            "isPodReady": False,
        }
        if not primary:
            return {**said, "receivedLsn": _LSN, "replayLsn": _LSN}
        standbys = [name for name in seen.get("instanceNames", []) if name != pod]
        lsn = dict.fromkeys(("receivedLsn", "writeLsn", "flushLsn", "replayLsn"), _LSN)
        rows = [
            {"applicationName": name, "state": "streaming", **lsn, "syncState": "async", "syncPriority": "0"}
            for name in standbys
        ]
        return {**said, "currentLsn": _LSN, "currentWAL": "000000010000000000000005", "replicationInfo": rows}

    def _serve(self, uid: str, pod: Any) -> None:
        namespace, name, cluster = pod.metadata.namespace, pod.metadata.name, pod.metadata.labels[CLUSTER]
        try:
            context = self._tls(namespace, cluster)
        except ApiException:
            return  # the Secret does not exist yet, or is gone already
        manager = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/pg/status":
                    self.send_error(404)
                    return
                body = json.dumps(manager.status(namespace, cluster, name, session=uid)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer((pod.status.pod_ip, _PORT), Handler)
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, name=f"instance {name}", daemon=True).start()
        self._servers[uid] = server

    def _tls(self, namespace: str, cluster: str) -> ssl.SSLContext:
        data = self._core.read_namespaced_secret(f"{cluster}-server", namespace).data
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with tempfile.NamedTemporaryFile() as both:
            both.write(base64.b64decode(data["tls.crt"]) + base64.b64decode(data["tls.key"]))
            both.flush()
            context.load_cert_chain(both.name)
        return context

    def _stop(self, uid: str) -> None:
        server = self._servers.pop(uid)
        server.shutdown()
        server.server_close()
