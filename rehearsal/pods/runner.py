"""Runs the pods of backup, drill and restore for real: their own script, environment and volumes, as processes on this
machine, against a real PostgreSQL 18 in place of the namespace's database.

For these pods it does what a kubelet does, from the objects in the API: it reads Secrets and ConfigMaps, sets the pod's
status, and ends the pod when it is deleted. So Jobs and their retries are the real controller's, and logs and exec go
through the real API server to kwok, which serves the kubelets' API.

What is not real: there are no images, cgroups or namespaces. Where a container's command and environment name the paths
of its mounts, folders on this machine replace them. Limits, the read-only root and read-only mounts are not enforced.
The database's Service leads to the PostgreSQL on this machine, whose role gets its password from the StatefulSet's
Secret, as the StatefulSet's own hook sets it (tests/database shows that with the real script). For a CloudNativePG
Cluster, that PostgreSQL gets the roles that the Cluster manages, with their passwords, and after the operator has
upgraded the data, the real pg_upgrade does so here. A Cluster that is recovered to a moment holds what the database
held when it was last remembered before that (`archive.py`). The endpoint of off-site copies leads to a server on this
machine, in plain HTTP, or nowhere.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from kubernetes.client import ApiClient, AppsV1Api, CoreV1Api, CustomObjectsApi
from kubernetes.client.exceptions import ApiException
from kubernetes.watch import Watch

from rehearsal import optional_tools
from rehearsal.pods import cluster_roles, pod_specs
from rehearsal.pods.archive import Archive
from rehearsal.pods.container import Container, Mount, placed
from rehearsal.pods.instance_manager import CLUSTER, CLUSTERS
from rehearsal.pods.kwok_objects import as_account, tell_kwok
from rehearsal.pods.pg_upgrade import server_of
from rehearsal.pods.postgres import PostgresServer, account
from rehearsal.pods.postgres_tls import write_secrets
from rehearsal.pods.shell import link_applets
from settings.images import postgres_major

_RESTIC: Final = "docker.io/restic/restic:"
_NOWHERE: Final = "http://127.0.0.1:1"
_WATCH: Final = 30  # seconds; then the pods are listed again
_AGAIN: Final = 0.2  # seconds between two attempts to read what does not exist yet


class PodRunner:
    """Context manager; until its end, runs the pods that appear anywhere in the cluster."""

    def __init__(self, client: ApiClient) -> None:
        self.endpoints: dict[str, str] = {}
        """Host name (and port, if any) of an off-site copies' endpoint, to its URL on this machine."""
        self._core: Any = CoreV1Api(client)
        self._apps: Any = AppsV1Api(client)
        self._custom: Any = CustomObjectsApi(client)
        self._stopped = threading.Event()
        self._databases: dict[str, PostgresServer] = {}
        self._archive = Archive()
        self._replaced: list[PostgresServer] = []
        self._containers: dict[str, Container | None] = {}
        self._directory = Path()
        # A server ends with the thread that started it, so one thread starts all of them, and lives until the end.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="postgres")
        self._watcher = threading.Thread(target=self._watch, name="pod runner", daemon=True)

    def __enter__(self) -> Self:
        # Not below the caller's folder: the scripts do not run as root, and their user may have no access there.
        self._directory = Path(tempfile.mkdtemp(prefix="pods-"))
        self._directory.chmod(0o755)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for container in list(self._containers.values()):
            if container is not None:
                container.kill()
        self._starter.shutdown()
        for server in [*self._databases.values(), *self._archive.servers, *self._replaced]:
            server.__exit__()
        shutil.rmtree(self._directory, ignore_errors=True)

    def database(self, namespace: str, host: str | None = None) -> PostgresServer:
        """The PostgreSQL of a namespace with the database's StatefulSet or Cluster; started on first use.

        `host` is the Service that leads to it, if the namespace has both.
        """
        return self._starter.submit(self._database, namespace, host).result()

    def remember(self, namespace: str) -> None:
        """Archives the namespace's database as it is now, so that it can be recovered to this moment or a later one."""
        self._archive.remember(namespace, self.database(namespace))

    def volume(self, namespace: str, claim: str) -> Path:
        """The folder that stands in for a claim's volume."""
        return self._of_claim(namespace, claim, self.database(namespace))

    def _of_claim(self, namespace: str, claim: str, server: PostgresServer) -> Path:
        uid = self._core.read_namespaced_persistent_volume_claim(claim, namespace).metadata.uid
        return self._folder(f"volume-{uid}", server)

    def _database(self, namespace: str, host: str | None) -> PostgresServer:
        self._forget()
        uid = self._core.read_namespace(namespace).metadata.uid
        cluster = self._cluster(namespace)
        if cluster is not None and host in (None, cluster_roles.host(cluster)):
            key = f"{uid}/{cluster['metadata']['uid']}"
            self._databases[key] = server_of(cluster, self._databases.get(key))
            cluster_roles.reconcile(self._databases[key], cluster, lambda name: self._secret(namespace, name))
            return self._databases[key]
        if not (found := self._apps.list_namespaced_stateful_set(namespace).items):
            raise ApiException(status=404, reason=f"{namespace} has no StatefulSet")  # it may be created later
        template = found[0].spec.template
        (container,) = template.spec.containers
        variables = pod_specs.variables_of(container, partial(self._secret, namespace))
        password = variables["POSTGRES_PASSWORD"]
        files = write_secrets(
            template.spec, partial(self._secret, namespace), self._directory / f"server-{uid}", account()
        )
        parameters = pod_specs.server_parameters(container, files)
        certificate = (template.metadata.annotations or {}).get("checksum/certificate")
        major = postgres_major(container.image)
        server = self._databases.get(uid)
        data = None
        if server is not None and server.major != major:  # `ops upgrade` has pointed the StatefulSet at another claim
            server.stop()
            self._replaced.append(server)
            volume = self._of_claim(namespace, pod_specs.mounted_claim(found[0]), server)
            data, server = volume / str(major) / "docker", None
        if server is None:
            server = self._databases[uid] = PostgresServer(
                name=variables["POSTGRES_DB"], password=password, settings=parameters, major=major, data=data
            ).__enter__()
            self._start_hook(container, server, variables, files)
            self._let_in(found[0], container, server)
        elif not parameters.items() <= server.settings.items() or server.certificate != certificate:
            gone = [name for name in server.settings if name.startswith("ssl") and name not in parameters]
            server.settings = {name: value for name, value in server.settings.items() if name not in gone} | parameters
            server.restart()
            self._start_hook(container, server, variables, files)
        server.certificate = certificate
        if server.password != password:
            self._start_hook(container, server, variables, files)
            server.password = password
        return server

    def _start_hook(
        self, container: Any, server: PostgresServer, variables: Mapping[str, str], files: Sequence[Mount]
    ) -> None:
        """Runs the postStart hook of the database's container, as the kubelet does; it sets the password, say."""
        if container.lifecycle is None or container.lifecycle.post_start is None:
            return
        command = container.lifecycle.post_start._exec.command  # noqa: SLF001 - the client's name for `exec`
        env = server.environment(local=True, **variables)
        server.run([placed(part, files) for part in command], env=env, capture_output=True, start_new_session=True)
        server.find_superuser()

    def _let_in(self, stateful_set: Any, container: Any, server: PostgresServer) -> None:
        """Makes commands in the database's pod run where its server runs."""
        secret = {one.name for one in container.env if one.value_from is not None}
        variables = server.environment(
            local=True, **{one.name: one.value for one in container.env if one.name not in secret}
        )
        del variables["PGUSER"], variables["PGDATABASE"]
        name, namespace = f"{stateful_set.metadata.name}-0", stateful_set.metadata.namespace
        # For as long as the namespace exists, like the server, whatever happens to StatefulSet and pod.
        tell_kwok(self._custom, namespace, name, "Exec", {"execs": [{"local": as_account(variables, server)}]})

    def _cluster(self, namespace: str) -> dict[str, Any] | None:
        """CloudNativePG's Cluster; None if the namespace has none, or the API server does not know the kind."""
        try:
            found = self._custom.list_namespaced_custom_object(**CLUSTERS, namespace=namespace)["items"]
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        return next((one for one in found if not cluster_roles.is_recovered(one)), None)

    def _behind(self, namespace: str, host: str) -> PostgresServer | None:
        """The server that a Service of the namespace leads to; None if there is no such Service."""
        found = {one.metadata.name: one for one in self._core.list_namespaced_service(namespace).items}
        if host not in found:
            return None
        name = (found[host].spec.selector or {}).get(CLUSTER)
        if name is None:
            return self.database(namespace, host)
        cluster = self._custom.get_namespaced_custom_object(**CLUSTERS, namespace=namespace, name=name)
        if not cluster_roles.is_recovered(cluster):
            return self.database(namespace, host)
        secret = partial(self._secret, namespace)
        return self._starter.submit(self._archive.recovered, namespace, cluster, secret).result()

    def _secret(self, namespace: str, name: str) -> dict[str, str]:
        data = self._core.read_namespaced_secret(name, namespace).data
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _forget(self) -> None:
        """Stops the servers of namespaces that are gone."""
        there = {one.metadata.uid for one in self._core.list_namespace().items}
        for key in [key for key in self._databases if key.partition("/")[0] not in there]:
            self._databases.pop(key).__exit__()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(Exception):  # the API server does not answer yet, or shuts down with us
                for event in Watch().stream(self._core.list_pod_for_all_namespaces, timeout_seconds=_WATCH):
                    if self._stopped.is_set():
                        return
                    if pod_specs.is_ours(event["object"]):
                        self._see(event["object"], gone=event["type"] == "DELETED")
                    elif event["type"] == "ADDED" and pod_specs.is_of_stateful_set(event["object"]):
                        self._starter.submit(self._start_again, event["object"].metadata.namespace)
            self._stopped.wait(_AGAIN)

    def _start_again(self, namespace: str) -> None:
        """For a new pod of the database: a server that runs already may need another version from now on."""
        with contextlib.suppress(Exception):  # pods and tests ask for the server, too, and get the error
            if self._core.read_namespace(namespace).metadata.uid in self._databases:
                self._database(namespace, None)

    def _see(self, pod: Any, *, gone: bool) -> None:
        uid = pod.metadata.uid
        if gone or pod.metadata.deletion_timestamp is not None:
            container = self._containers.get(uid)
            if container is not None:
                container.end(0 if gone else pod.metadata.deletion_grace_period_seconds or 0)
            elif not gone:
                self._give_up(pod)
        elif uid not in self._containers and pod.status.phase == "Pending":
            self._containers[uid] = None
            threading.Thread(target=self._run, args=(pod,), name=pod.metadata.name, daemon=True).start()

    def _run(self, pod: Any) -> None:
        with contextlib.suppress(ApiException):
            containers = self._prepare(pod)
            self._serve(pod, containers)
            for container in containers:
                self._containers[pod.metadata.uid] = container
                if self._is_deleted(pod):
                    self._give_up(pod)
                    return
                initial = container is not containers[-1]
                started = _now()
                running = {"running": {"startedAt": started}}
                self._set_status(pod, "Pending" if initial else "Running", running, initial=initial)
                code = container.run()
                ended = {"startedAt": started, "finishedAt": _now(), "exitCode": code, "message": container.message}
                ended["reason"] = "Error" if code else "Completed"
                if code or not initial:
                    self._set_status(pod, "Failed" if code else "Succeeded", {"terminated": ended}, initial=initial)
                    break
            if self._is_deleted(pod):
                self._remove(pod)

    def _is_deleted(self, pod: Any) -> bool:
        there = self._core.read_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
        return there.metadata.deletion_timestamp is not None

    def _give_up(self, pod: Any) -> None:
        """Ends a pod that was deleted before it ran, as failed: its Job waits for that before it releases the pod."""
        with contextlib.suppress(ApiException):
            never_ran = {"reason": "ContainerStatusUnknown", "exitCode": 137, "finishedAt": _now()}
            self._set_status(pod, "Failed", {"terminated": never_ran})
        self._remove(pod)

    def _prepare(self, pod: Any) -> list[Container]:
        """The pod's containers in order; waits until the volumes and objects that they refer to exist."""
        while True:
            try:
                return [
                    self._container(pod, spec) for spec in [*(pod.spec.init_containers or []), *pod.spec.containers]
                ]
            except ApiException as error:
                if error.status != 404 or self._stopped.wait(_AGAIN):
                    raise
                waiting = {"reason": "CreateContainerConfigError", "message": str(error.reason)}
                self._set_status(pod, "Pending", {"waiting": waiting})

    def _container(self, pod: Any, spec: Any) -> Container:
        namespace, uid = pod.metadata.namespace, f"{pod.metadata.uid}/{spec.name}"
        server = self.database(namespace)
        volumes = {volume.name: self._mounted(pod, volume, server) for volume in pod.spec.volumes}
        mounts = [Mount(path=mount.mount_path, folder=volumes[mount.name]) for mount in spec.volume_mounts]
        message = self._folder(f"{uid}/termination", server) / "message"
        mounts.append(Mount(path=spec.termination_message_path, folder=message))
        variables = pod_specs.variables_of(spec, partial(self._secret, namespace), pod)
        for prefix in ("", "SOURCE_"):
            if (behind := self._behind(namespace, variables.get(f"{prefix}PGHOST", ""))) is not None:
                # With TLS the host name stays, because libpq compares the certificate with it.
                where = "PGHOSTADDR" if f"{prefix}PGSSLMODE" in variables else "PGHOST"
                variables |= {f"{prefix}{where}": "127.0.0.1", f"{prefix}PGPORT": str(behind.port)}
        applets = self._folder(f"{uid}/bin", server)
        link_applets(applets)
        postgres = pod_specs.programs_of(spec.image, server, self._folder)
        if spec.image.startswith(_RESTIC):
            shutil.copy(optional_tools.restic(), applets)
            variables["RESTIC_REPOSITORY"] = self._led(variables["RESTIC_REPOSITORY"])
        log = self._folder(f"{uid}/log", server) / "0.log"
        log.touch()
        return Container(
            [placed(part, mounts) for part in spec.command],
            environment={
                "PATH": os.pathsep.join([str(applets), str(postgres), os.environ["PATH"]]),
                "LANG": "C.UTF-8",
                "TMPDIR": placed("/tmp", mounts),  # noqa: S108 - in the container
                **{name: placed(value, mounts) for name, value in variables.items()},
            },
            account=server.account,
            log=log,
            termination_message=message,
        )

    def _led(self, repository: str) -> str:
        """The URL of a restic repository, on the server of this machine that stands in for its endpoint."""
        asked = urlsplit(repository.removeprefix("s3:"))
        return f"s3:{self.endpoints.get(asked.netloc, _NOWHERE)}{asked.path}"

    def _mounted(self, pod: Any, volume: Any, server: PostgresServer) -> Path:
        """The folder that stands in for a volume, filled as by a kubelet."""
        if volume.persistent_volume_claim is not None:
            return self.volume(pod.metadata.namespace, volume.persistent_volume_claim.claim_name)
        folder = self._folder(f"{pod.metadata.uid}/{volume.name}", server)
        if volume.config_map is not None:
            data = self._core.read_namespaced_config_map(volume.config_map.name, pod.metadata.namespace).data
            for name, text in data.items():
                (folder / name).write_text(text)
        return folder

    def _serve(self, pod: Any, containers: Sequence[Container]) -> None:
        """Tells kwok where the pod's logs are and how to run commands in it; waits until the API server has the log."""
        specs = [*(pod.spec.init_containers or []), *pod.spec.containers]
        secret = {one.name for spec in specs for one in spec.env if one.value_from is not None}
        envs = {name: value for name, value in containers[-1].environment.items() if name not in secret}
        local = as_account(envs, self.database(pod.metadata.namespace))
        namespace, name = pod.metadata.namespace, pod.metadata.name
        owners = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": pod.metadata.uid}]
        tell_kwok(self._custom, namespace, name, "Exec", {"execs": [{"local": local}]}, owners=owners)
        logs = [
            {"containers": [spec.name], "logsFile": str(container.log)}
            for spec, container in zip(specs, containers, strict=True)
        ]
        tell_kwok(self._custom, namespace, name, "Logs", {"logs": logs}, owners=owners)
        while not self._stopped.is_set():
            with contextlib.suppress(ApiException):
                self._core.read_namespaced_pod_log(pod.metadata.name, pod.metadata.namespace)
                return
            self._stopped.wait(_AGAIN)

    def _set_status(self, pod: Any, phase: str, state: Mapping[str, Any], *, initial: bool = False) -> None:
        """Sets the pod's status; `state` is the container's or, with `initial`, the first init container's."""
        spec = (pod.spec.init_containers if initial else pod.spec.containers)[0]
        ready = phase == "Running"
        container = {"name": spec.name, "image": spec.image, "imageID": "", "ready": ready, "restartCount": 0}
        conditions = [
            {"type": type_, "status": str(ready), "lastTransitionTime": _now()}
            for type_ in ("Ready", "ContainersReady")
        ]
        status = {
            "phase": phase,
            "hostIP": "127.0.0.1",
            "startTime": pod.metadata.creation_timestamp.isoformat(),
            "conditions": conditions,
            "initContainerStatuses" if initial else "containerStatuses": [
                {**container, "started": ready, "state": state}
            ],
        }
        self._core.patch_namespaced_pod_status(pod.metadata.name, pod.metadata.namespace, {"status": status})

    def _remove(self, pod: Any) -> None:
        """Deletes the pod for good, as a kubelet does once nothing of a deleted pod runs any more."""
        with contextlib.suppress(ApiException):
            self._core.delete_namespaced_pod(
                pod.metadata.name,
                pod.metadata.namespace,
                body={"gracePeriodSeconds": 0, "preconditions": {"uid": pod.metadata.uid}},
            )

    def _folder(self, name: str, server: PostgresServer) -> Path:
        """A folder that belongs to the scripts' account."""
        folder = self._directory / name
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            server.give(folder)
        return folder


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
