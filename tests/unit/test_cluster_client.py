"""The client for a context of the kubeconfig: certificates, keys and tokens."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from kubernetes.config import kube_config

from components.server_certificate import _issued
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


@contextmanager
def api_server(directory: Path, *, clients: str) -> Iterator[tuple[str, str]]:
    """Its address and its authority's certificate. It accepts the clients with the certificate `clients` only."""
    made = _issued(["localhost"], None)
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


def test_a_key_of_another_certificate_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (key, _), (_, certificate) = self_signed("one"), self_signed("another")
    write_kubeconfig("https://127.0.0.1:9", tmp_path, monkeypatch)
    user = inline({"client-certificate": certificate, "client-key": key}, tmp_path)
    add(tmp_path / "kubeconfig", cluster={}, user=user)
    with pytest.raises(CredentialsError, match=r"the context a cannot be read from .*KEY_VALUES_MISMATCH") as refused:
        connect("a")
    assert key.splitlines()[1] not in str(refused.value)


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
