"""The client for a context of the kubeconfig: certificates, keys and tokens."""

from __future__ import annotations

import base64
import datetime as dt
import http.server
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.config import kube_config
from urllib3.util.ssl_ import create_urllib3_context

from components.server_certificate import _issued
from lookups import cluster_client
from lookups.cluster import ClusterError, connect
from lookups.cluster_client import api_client, in_files
from lookups.credentials import CredentialsError
from tests.rehearsal.certificates import self_signed
from tests.unit.kubeconfig import write_kubeconfig


class _Answer(http.server.BaseHTTPRequestHandler):
    """Answers with the client's certificate as the object's name."""

    def do_GET(self) -> None:
        assert isinstance(self.connection, ssl.SSLSocket)
        client = x509.load_der_x509_certificate(self.connection.getpeercert(binary_form=True) or b"")
        (name,) = client.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        body = json.dumps({"metadata": {"name": name.value}})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


def issued_without_extensions() -> dict[str, str]:
    """A server's certificate and its authority's, as MicroK8s made them until June 2026 (canonical/microk8s#5537)."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "server")}
    names = {name: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in keys}
    now = dt.datetime.now(dt.UTC)

    def issued(name: str, *extensions: x509.ExtensionType) -> str:
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["authority"])
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        made = builder.sign(keys["authority"], hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    private = keys["server"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "authority": issued("authority", x509.BasicConstraints(ca=True, path_length=None)),
        "certificate": issued("server", x509.SubjectAlternativeName([x509.DNSName("localhost")])),
        "key": private.decode(),
    }


@contextmanager
def api_server(directory: Path, *, clients: str, made: Mapping[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """Its address and its authority's certificate. It accepts the clients with the certificate `clients` only."""
    made = made or _issued(["localhost"], None)
    (directory / "server.pem").write_text(made["key"] + made["certificate"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "server.pem")
    tls.load_verify_locations(cadata=clients)
    tls.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}", made["authority"]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def inline(values: Mapping[str, str], _: Path) -> dict[str, str]:
    """The values in the kubeconfig itself."""
    return {f"{name}-data": base64.b64encode(value.encode()).decode() for name, value in values.items()}


def files(values: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The values in files that the kubeconfig names."""
    for name, value in values.items():
        (directory / name).write_text(value)
    return {name: str(directory / name) for name in values}


def add(kubeconfig: Path, *, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    content = json.loads(kubeconfig.read_text())
    content["clusters"][0]["cluster"].update(cluster)
    content["users"][0]["user"].update(user)
    kubeconfig.write_text(json.dumps(content))


def of_environment(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    """Sets these proxy variables and no others."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this process's temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("written", [inline, files])
def test_certificates_and_key_are_used_and_left_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path, written: Any
) -> None:
    key, certificate = self_signed("kubernetes-admin")
    with api_server(tmp_path, clients=certificate) as (url, authority):
        write_kubeconfig(url, tmp_path, monkeypatch)
        add(
            tmp_path / "kubeconfig",
            cluster=written({"certificate-authority": authority}, tmp_path),
            user=written({"client-certificate": certificate, "client-key": key}, tmp_path),
        )
        for _ in range(2):
            cluster = connect("a")
            assert not list(temporary.iterdir())
            assert cluster.get("v1", "namespaces", "own") == {"metadata": {"name": "kubernetes-admin"}}


@pytest.mark.parametrize("written", [inline, files])
def test_what_takes_no_tls_context_gets_files_for_as_long_as_it_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: Path, written: Any
) -> None:
    key, certificate = self_signed("kubernetes-admin")
    write_kubeconfig("https://127.0.0.1:9", tmp_path, monkeypatch, bearer="of-mine")
    add(
        tmp_path / "kubeconfig",
        cluster=written({"certificate-authority": certificate}, tmp_path),
        user=written({"client-certificate": certificate, "client-key": key}, tmp_path),
    )
    client = api_client("a")
    with in_files(client.configuration) as configuration:
        assert configuration.get_api_key_with_prefix("BearerToken") == "Bearer of-mine"
        named = [configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file]
        assert [Path(str(file)).read_text() for file in named] == [certificate, certificate, key]
        assert list(temporary.iterdir())
    assert not list(temporary.iterdir())


def test_what_takes_no_tls_context_gets_a_token_that_is_still_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renew(configuration: Any) -> None:
        configuration.api_key = {"authorization": "Bearer renewed"}

    write_kubeconfig("http://127.0.0.1:9", tmp_path, monkeypatch, bearer="expired")
    client = api_client("a")
    client.configuration.refresh_api_key_hook = renew
    with in_files(client.configuration) as configuration:
        assert configuration.api_key == {"authorization": "Bearer renewed"}
        assert configuration.refresh_api_key_hook is None, "it would name files that are deleted"


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize(("cluster", "trusted"), [({}, False), ({"insecure-skip-tls-verify": True}, True)])
def test_a_server_of_another_authority_is_trusted_only_if_the_kubeconfig_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Mapping[str, Any], *, trusted: bool
) -> None:
    key, certificate = self_signed("kubernetes-admin")
    user = inline({"client-certificate": certificate, "client-key": key}, tmp_path)
    with api_server(tmp_path, clients=certificate) as (url, _):
        write_kubeconfig(url, tmp_path, monkeypatch)
        if not cluster:
            cluster = inline({"certificate-authority": _issued(["localhost"], None)["authority"]}, tmp_path)
        add(tmp_path / "kubeconfig", cluster=cluster, user=user)
        if trusted:
            assert connect("a").get("v1", "namespaces", "own")
        else:
            with pytest.raises(ClusterError, match="CERTIFICATE_VERIFY_FAILED"):
                connect("a").get("v1", "namespaces", "own")


def test_the_cluster_s_certificates_need_no_more_extensions_than_for_kubectl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # urllib3's default from Python 3.13 on
    with_strict = partial(create_urllib3_context, verify_flags=strict)
    monkeypatch.setattr(cluster_client, "create_urllib3_context", with_strict)
    key, certificate = self_signed("kubernetes-admin")
    user = inline({"client-certificate": certificate, "client-key": key}, tmp_path)
    with api_server(tmp_path, clients=certificate, made=issued_without_extensions()) as (url, authority):
        write_kubeconfig(url, tmp_path, monkeypatch)
        add(tmp_path / "kubeconfig", cluster=inline({"certificate-authority": authority}, tmp_path), user=user)
        assert connect("a").get("v1", "namespaces", "own")


def test_a_key_of_another_certificate_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (key, _), (_, certificate) = self_signed("one"), self_signed("another")
    write_kubeconfig("https://127.0.0.1:9", tmp_path, monkeypatch)
    user = inline({"client-certificate": certificate, "client-key": key}, tmp_path)
    add(tmp_path / "kubeconfig", cluster={}, user=user)
    with pytest.raises(CredentialsError, match=r"the context a cannot be read from .*KEY_VALUES_MISMATCH") as refused:
        connect("a")
    assert key.splitlines()[1] not in str(refused.value)


SOCKS = "socks5://127.0.0.1:1080"


@pytest.mark.parametrize(
    ("cluster", "environment"),
    [
        ({"proxy-url": SOCKS}, {}),
        ({"proxy-url": "proxy.lan:3128"}, {}),
        ({}, {"HTTPS_PROXY": SOCKS}),
        ({}, {"HTTPS_PROXY": "ftp://me:secret@proxy.lan"}),
    ],
)
def test_a_proxy_that_is_no_http_proxy_is_refused_with_the_alternatives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Mapping[str, Any], environment: Mapping[str, str]
) -> None:
    write_kubeconfig("https://10.0.0.1:6443", tmp_path, monkeypatch)
    add(tmp_path / "kubeconfig", cluster=cluster, user={})
    of_environment(monkeypatch, environment)
    with pytest.raises(CredentialsError, match=r"the proxy .* of the context a is no HTTP proxy") as refused:
        connect("a")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("cluster", "environment", "proxy"),
    [
        ({}, {}, None),
        ({}, {"ALL_PROXY": SOCKS}, None),
        ({}, {"HTTPS_PROXY": SOCKS, "NO_PROXY": "fd00::1,10.0.0.0/8"}, None),
        ({}, {"HTTPS_PROXY": "proxy.lan:3128"}, "http://proxy.lan:3128"),
        ({"proxy-url": "http://a.lan:1"}, {"HTTPS_PROXY": SOCKS, "NO_PROXY": "10.0.0.1"}, "http://a.lan:1"),
    ],
)
def test_the_proxy_is_kubectl_s(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cluster: Mapping[str, Any],
    environment: Mapping[str, str],
    proxy: str | None,
) -> None:
    write_kubeconfig("https://10.0.0.1:6443", tmp_path, monkeypatch)
    add(tmp_path / "kubeconfig", cluster=cluster, user={})
    of_environment(monkeypatch, environment)
    found = api_client("a").rest_client.pool_manager.proxy
    assert (found.url if found else None) == proxy


@pytest.mark.parametrize("token", ["of-theirs\n", "of-\ntheirs", "of\u2011theirs"])
def test_a_token_that_no_header_can_hold_is_refused_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    write_kubeconfig("http://127.0.0.1:9", tmp_path, monkeypatch, bearer=token)
    with pytest.raises(CredentialsError, match="for the context a contains a line break") as refused:
        connect("a")
    assert "theirs" not in str(refused.value)


def test_no_client_reads_a_certificate_that_is_still_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kubeconfig("https://127.0.0.1:9", tmp_path, monkeypatch)
    authority = _issued(["localhost"], None)["authority"]
    add(tmp_path / "kubeconfig", cluster=inline({"certificate-authority": authority}, tmp_path), user={})
    opening, made = threading.Event(), []

    def slow_open(file: Any, mode: str = "r", **more: Any) -> Any:
        if mode == "wb":
            opening.set()
            time.sleep(0.1)
        return open(file, mode, **more)  # noqa: PTH123 - in the place of the library's own call

    monkeypatch.setattr(kube_config, "open", slow_open, raising=False)

    def make() -> None:
        made.append(api_client("a"))

    first, second = threading.Thread(target=make), threading.Thread(target=make)
    first.start()
    assert opening.wait(10)
    second.start()
    first.join()
    second.join()
    contexts = [client.rest_client.pool_manager.connection_pool_kw["ssl_context"] for client in made]
    assert [len(tls.get_ca_certs()) for tls in contexts] == [1, 1]
