"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler; kwok plays the nodes.

Not real: no container runs. kwok reports pods ready and Jobs complete; the pods of backup, drill and restore run their
scripts on this machine (`pods/runner.py`). Volumes and the Gateway's answers come from the stand-in controllers in
`volumes.py` and `gateway.py`, and no network policy is enforced.
"""

from __future__ import annotations

import base64
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import kubernetes
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubernetes.config import new_client_from_config
from kubernetes.dynamic import DynamicClient

from rehearsal.cluster import attachments, cloudnative_pg, controllers, gateway, volumes
from rehearsal.optional_tools import OperatorTools
from rehearsal.pods.instance_manager import InstanceManagers
from rehearsal.pods.runner import PodRunner
from rehearsal.processes import COLLECTING_LESS, Child, answers, free_port, kill_group, running, wait_until
from rehearsal.toolchain import Tools

CONTEXT = "homelab"
MONITOR_GRACE_SECONDS = 8
"""Seconds without a heartbeat after which a node that can fail counts as lost: four renewals of its lease."""
_HOMELAB = Path(__file__).with_name("homelab.yaml")
_NO_ISSUER = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
_START = 60.0  # seconds; docs/measurements.md
_NODES = ("node-1", "node-2")  # of homelab.yaml
_GRACE = 0.1  # seconds for each process to end; its folder is deleted anyway, with whatever it would still write


class ControlPlane:
    """Context manager; everything that it starts listens on 127.0.0.1 and writes below `directory`."""

    pods: PodRunner
    """Runs pods for real; set once the context is entered."""

    def __init__(
        self,
        tools: Tools,
        directory: Path,
        *,
        controllers: bool = True,
        operator: OperatorTools | None = None,
        failing_nodes: bool = False,
    ) -> None:
        """Without `controllers`, only the API server runs, and nothing acts on its objects: for previews.

        `operator` is CloudNativePG's; it then runs beside the controllers, and its pods have loopback addresses. With
        `failing_nodes`, each node has its own kwok, which `lose_node` kills; volumes are attached to nodes, and the
        controller manager considers a node lost after `MONITOR_GRACE_SECONDS` instead of Kubernetes' 50.
        """
        self._tools = tools
        self._operator = operator
        self._failing_nodes = failing_nodes
        self._kubelets: dict[str, Child] = {}
        self._controllers = controllers
        self._directory = directory
        self._stack = ExitStack()
        self._children: list[Child] = []
        self.kubeconfig = directory / "kubeconfig"
        self._certificates = directory / "certificates"
        self._authentication = directory / "authentication.yaml"
        self.url = ""

    @property
    def ca(self) -> str:
        """The certificate, in PEM, with which clients verify the API server."""
        return (self._certificates / "apiserver.crt").read_text()

    def client(self) -> kubernetes.client.ApiClient:
        """A new client with the administrator's rights."""
        client: kubernetes.client.ApiClient = new_client_from_config(str(self.kubeconfig), context=CONTEXT)
        return client

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self._certificates.mkdir(parents=True)
        etcd = self._start_etcd()
        token = self._write_credentials()
        self._start_api_server(etcd, token)
        # By default the library caches discovery in the system's temporary folder.
        cluster = DynamicClient(self.client(), cache_file=str(self._directory / "discovery.json"))
        # Before the controllers: the garbage collector looks for new kinds only every 30 s, and until it knows a kind,
        # an object of that kind that is deleted in the foreground stays.
        definitions = cloudnative_pg.definitions(self._operator) if self._operator else []
        _create_all(cluster, [*_documents(self._tools.crds), *definitions])
        self._wait(lambda: _established(cluster), what="the CRDs are established")
        if self._controllers:
            self._start_controllers()
        _create_all(cluster, _documents([_HOMELAB]))
        if not self._controllers:
            return
        self._start_kwok()
        self._wait(lambda: _populated(cluster), what="the nodes are ready and namespaces have their service accounts")
        stopped = threading.Event()
        pool = self._stack.enter_context(ThreadPoolExecutor(max_workers=4, thread_name_prefix="controller"))
        self._stack.callback(stopped.set)
        standing_in: list[controllers.Controller] = [volumes.Provisioner(cluster), gateway.Controller(cluster)]
        if self._failing_nodes:
            standing_in.append(attachments.Attachments(cluster))
        if self._operator:
            standing_in.append(self._start_operator(self._operator, cluster))
        for one in standing_in:
            pool.submit(controllers.run, one, stopped)
        self.pods = self._stack.enter_context(PodRunner(self.client()))

    def _start_operator(self, operator: OperatorTools, cluster: DynamicClient) -> InstanceManagers:
        """Starts CloudNativePG's operator; returns the stand-in for its instances."""
        running_ = cloudnative_pg.running_operator(operator, cluster, self.kubeconfig, self._directory)
        child, port = self._stack.enter_context(running_)
        self._children.append(child)
        self._wait(lambda: answers(port), what="CloudNativePG's webhooks answer")
        return self._stack.enter_context(InstanceManagers(self.client(), operator.manager))

    def lose_node(self, name: str) -> None:
        """Kills the node's kwok, as if its machine lost power. Needs `failing_nodes`."""
        kill_group(self._kubelets[name].process)

    def _run(self, name: str, *arguments: str | Path, executable: Path) -> Child:
        log = self._directory / f"{name}.log"
        one = running([executable, *arguments], log=log, environment={**COLLECTING_LESS, **os.environ}, grace=_GRACE)
        child = self._stack.enter_context(one)
        self._children.append(child)
        return child

    def _wait(self, ready: Callable[[], bool], *, what: str) -> None:
        wait_until(ready, what=what, children=self._children, timeout=_START)

    def _start_etcd(self) -> str:
        clients, peers = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self._run(
            "etcd",
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # nothing here outlives the machine's next crash
            executable=self._tools.etcd,
        )
        return clients

    def _write_credentials(self) -> Path:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self._certificates / "service-account.key").write_bytes(pem)
        self._token = secrets.token_urlsafe(24)
        tokens = self._directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{self._token},admin,1,"system:masters"\n')
        self._write_authentication(_NO_ISSUER)
        return tokens

    @contextmanager
    def authenticating_with(self, configuration: Mapping[str, Any]) -> Iterator[None]:
        """Gives the API server an AuthenticationConfiguration; the server applies each new one some seconds later."""
        self._write_authentication(configuration)
        try:
            yield
        finally:
            self._write_authentication(_NO_ISSUER)

    def _write_authentication(self, configuration: Mapping[str, Any]) -> None:
        self._authentication.write_text(yaml.safe_dump(dict(configuration)))

    def _start_api_server(self, etcd: str, tokens: Path) -> None:
        port = free_port()
        key = self._certificates / "service-account.key"
        self.url = f"https://127.0.0.1:{port}"
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self._certificates}",
            f"--token-auth-file={tokens}",
            f"--authentication-config={self._authentication}",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            # Nothing here resolves the nodes' names.
            "--kubelet-preferred-address-types=InternalIP",
            executable=self._tools.kube_apiserver,
        )
        # The server generates its own certificate, and writes the key once the certificate is complete.
        written = (self._certificates / "apiserver.key").exists
        self._wait(written, what="the API server's certificate is written")
        self._write_kubeconfig()
        self._wait(self._answers, what="the API server answers")

    def _write_kubeconfig(self) -> None:
        authority = base64.b64encode(self.ca.encode()).decode()
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": CONTEXT, "cluster": {"server": self.url, "certificate-authority-data": authority}}
                    ],
                    "users": [{"name": "admin", "user": {"token": self._token}}],
                    "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "admin"}}],
                    "current-context": CONTEXT,
                }
            )
        )

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                # The last object that a new API server creates for itself.
                kubernetes.client.CoreV1Api(client).read_namespaced_service("kubernetes", "default", _request_timeout=2)
        except Exception:  # noqa: BLE001 - refused, reset, 401, 403, 500: all of it means "not yet"
            return False
        return True

    def _start_controllers(self) -> None:
        common = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1")
        self._run(
            "kube-controller-manager",
            *common,
            f"--secure-port={free_port()}",
            f"--cert-dir={self._certificates}",
            f"--service-account-private-key-file={self._certificates / 'service-account.key'}",
            f"--root-ca-file={self._certificates / 'apiserver.crt'}",
            # The defaults wait for real nodes and real disks.
            "--pvclaimbinder-sync-period=1s",
            *(
                [f"--node-monitor-grace-period={MONITOR_GRACE_SECONDS}s", "--node-monitor-period=1s"]
                if self._failing_nodes
                else []
            ),
            executable=self._tools.kube_controller_manager,
        )
        self._run(
            "kube-scheduler",
            *common,
            f"--secure-port={free_port()}",
            f"--cert-dir={self._certificates}",
            executable=self._tools.kube_scheduler,
        )

    def _start_kwok(self) -> None:
        if not self._failing_nodes:
            # Without leases, the controller manager considers the nodes dead after 40 s, and their pods not ready.
            self._run_kwok(
                "kwok", "--manage-all-nodes=true", "--node-lease-duration-seconds=40", stages=self._tools.kwok_stages
            )
            return
        made = attachments.write_stages(self._tools.kwok_stages, self._directory)
        for node in _NODES:
            # Renewed every two seconds.
            lease = "--node-lease-duration-seconds=8"
            self._kubelets[node] = self._run_kwok(f"kwok-{node}", f"--manage-single-node={node}", lease, stages=made)

    def _run_kwok(self, name: str, *arguments: str, stages: Path) -> Child:
        port = free_port()
        return self._run(
            name,
            f"--kubeconfig={self.kubeconfig}",
            *arguments,
            f"--config={stages}",
            # The kubelets' API, with which the API server reads pods' logs and runs commands in them.
            f"--server-address=127.0.0.1:{port}",
            "--node-ip=127.0.0.1",
            f"--node-port={port}",
            "--enable-crds=Exec,Logs",
            *([f"--cidr={cloudnative_pg.pod_addresses()}"] if self._operator else []),
            executable=self._tools.kwok,
        )


def _documents(files: Iterable[Path]) -> list[dict[str, Any]]:
    # libyaml's parser, if PyYAML was built with it, reads the CRDs in a tenth of the other parser's two seconds.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for file in files for document in yaml.load_all(file.read_text(), loader) if document]


def _create_all(cluster: DynamicClient, documents: list[dict[str, Any]]) -> None:
    for document in documents:
        api = cluster.resources.get(api_version=document["apiVersion"], kind=document["kind"])
        api.create(body=document, namespace=document["metadata"].get("namespace"))


def _established(cluster: DynamicClient) -> bool:
    api = cluster.resources.get(api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition")
    return all(_is_true(one, "Established") for one in api.get().to_dict()["items"])


def _populated(cluster: DynamicClient) -> bool:
    """Whether kwok and the controller manager are at work: until then, pods stay pending or are refused."""
    nodes = cluster.resources.get(api_version="v1", kind="Node").get().to_dict()["items"]
    accounts = cluster.resources.get(api_version="v1", kind="ServiceAccount").get(namespace="default").items
    return bool(accounts) and all(_is_true(node, "Ready") for node in nodes)


def _is_true(live: dict[str, Any], condition: str) -> bool:
    found = live.get("status", {}).get("conditions") or []
    return any(one["type"] == condition and one["status"] == "True" for one in found)
