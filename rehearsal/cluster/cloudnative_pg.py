"""CloudNativePG's real operator and its real plugin barman-cloud as processes beside the API server, with their real
CRDs, roles and webhooks.

What is not real: kwok only reports their Deployments ready. The API server calls the webhooks at a loopback address
instead of a Service's. The operator finds the plugin by a socket, like a plugin in its own pod, because nothing here
resolves the name of the plugin's Service. No instance runs: `pods/instance_manager.py` answers the operator for them.
Neither does the plugin's container beside an instance, so nothing is archived here, and a Backup fails.
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import platform
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes.dynamic import DynamicClient

from components.wal_archive import PLUGIN, PLUGIN_LABEL
from rehearsal.optional_tools import OperatorTools
from rehearsal.processes import Child, free_port, running, wait_until

_NAMESPACE: Final = "cnpg-system"
_CONFIGURATION: Final = "cnpg-controller-manager-config"
_CRD: Final = "CustomResourceDefinition"
_CERTIFICATES: Final = {"Certificate", "Issuer"}
"""Kinds of cert-manager, which is not here: they are for the connection between operator and plugin, a socket here."""
_SIDECAR: Final = "ghcr.io/cloudnative-pg/plugin-barman-cloud-sidecar:v0.15.0"


def pod_addresses() -> str:
    """For kwok's `--cidr`: the operator connects to its pods, and a rehearsal must not connect to other machines.

    Each control plane has different addresses, because every instance needs the same port on its own address.
    """
    return f"127.{64 + secrets.randbelow(190)}.{16 * secrets.randbelow(16)}.1/20"


def definitions(tools: OperatorTools) -> list[dict[str, Any]]:
    """The CRDs. They have to exist before the garbage collector starts, so that it knows them at once."""
    return [one for one in _objects(tools) if one["kind"] == _CRD]


@contextmanager
def running_operator(
    tools: OperatorTools, cluster: DynamicClient, kubeconfig: Path, directory: Path
) -> Iterator[tuple[Child, int]]:
    """Installs the releases and runs the operator and its plugin; yields the operator and its webhooks' port."""
    port = free_port()
    certificates, work = directory / "webhook", directory / "operator"
    certificates.mkdir(parents=True)
    authority = _write_certificate(certificates)
    # The operator hands its own program out to instances, and looks for it by the machine's architecture.
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    (work / "operator").mkdir(parents=True)
    (work / "operator" / f"manager_{architecture}").symlink_to(tools.manager)
    objects = [one for one in _objects(tools) if one["kind"] != _CRD]
    deployment = next(one for one in objects if one["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for one in objects:
        for webhook in one.get("webhooks", []):
            path = webhook["clientConfig"].pop("service")["path"]
            webhook["clientConfig"] |= {"url": f"https://127.0.0.1:{port}{path}", "caBundle": authority}
    for one in objects:
        api = cluster.resources.get(api_version=one["apiVersion"], kind=one["kind"])
        api.create(body=one, namespace=one["metadata"].get("namespace"))
    # Relative to its working directory, which `running` does not set.
    command: list[str | Path] = ["sh", "-c", 'cd "$0" && exec "$@"', work, tools.manager, "controller"]
    options = [
        f"--webhook-port={port}",
        "--metrics-bind-address=127.0.0.1:0",
        f"--config-map-name={_CONFIGURATION}",
        f"--secret-name={_CONFIGURATION}",
    ]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(work),
        "KUBECONFIG": str(kubeconfig),
        "OPERATOR_NAMESPACE": _NAMESPACE,
        "OPERATOR_DEPLOYMENT_NAME": deployment["metadata"]["name"],
        "OPERATOR_IMAGE_NAME": container["image"],
        "MONITORING_QUERIES_CONFIGMAP": "cnpg-default-monitoring",
        "WEBHOOK_CERT_DIR": str(certificates),
    }
    with ExitStack() as stack:
        # The operator looks for sockets once, when it starts.
        environment["PLUGIN_SOCKET_DIR"] = str(stack.enter_context(_running_plugin(tools, kubeconfig, directory)))
        log = directory / "cloudnative-pg.log"
        yield stack.enter_context(running([*command, *options], log=log, environment=environment)), port


@contextmanager
def _running_plugin(tools: OperatorTools, kubeconfig: Path, directory: Path) -> Iterator[Path]:
    """Runs the plugin; yields the folder of its socket."""
    # A short path, because a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="plugins-") as sockets:
        command: list[str | Path] = [tools.plugin, "operator", f"--plugin-path={sockets}"]
        options = ["--health-probe-bind-address=0", "--metrics-bind-address=0"]
        environment = {"HOME": str(directory), "KUBECONFIG": str(kubeconfig), "SIDECAR_IMAGE": _SIDECAR}
        log = directory / "barman-cloud.log"
        with running([*command, *options], log=log, environment=environment) as child:
            listening = (Path(sockets) / PLUGIN).exists
            wait_until(listening, what="the plugin barman-cloud listens", children=[child], timeout=60)
            yield Path(sockets)


def _objects(tools: OperatorTools) -> list[dict[str, Any]]:
    """The operator's objects, and then the plugin's."""
    # With libyaml if PyYAML has it: the CRDs are 800 KB.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    files = (tools.manifest, tools.plugin_manifest)
    found = [one for file in files for one in yaml.load_all(file.read_text(), Loader=loader) if one]
    for one in found:
        if one["kind"] == "Service" and PLUGIN_LABEL in one["metadata"].get("labels", {}):
            # With these annotations the operator would look for the certificates, and drop a plugin without them.
            one["metadata"]["annotations"] = {}
    return [one for one in found if one["kind"] not in _CERTIFICATES]


def _write_certificate(directory: Path) -> str:
    """Writes key and certificate for 127.0.0.1, named as the operator wants; returns the certificate as `caBundle`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloudnative-pg")])
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (directory / "apiserver.crt").write_bytes(pem)
    private = directory / "apiserver.key"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return base64.b64encode(pem).decode()
