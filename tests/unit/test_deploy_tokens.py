"""python-gitlab trusts the same GitLab certificates as the plugin, and does not wait forever."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from lookups import deploy_tokens
from tests.rehearsal.certificates import self_signed


class Handler(http.server.BaseHTTPRequestHandler):
    """GitLab's version, and nothing else."""

    def do_GET(self) -> None:
        body = json.dumps({"version": "19.1.0"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "gitlab.pem"
    file.write_text("".join(self_signed("localhost")))
    return file


@pytest.fixture
def private_gitlab(certificate: Path) -> Iterator[str]:
    """The address of a GitLab whose certificate no authority has signed."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-x")
    monkeypatch.delenv("GITLAB_BASE_URL", raising=False)


def test_a_certificate_of_the_system_s_own_store_is_enough(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, private_gitlab: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert deploy_tokens.connect(private_gitlab).http_get("/version") == {"version": "19.1.0"}


def test_another_certificate_is_refused(private_gitlab: str) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        deploy_tokens.connect(private_gitlab).http_get("/version", max_retries=0)


def test_an_answer_that_does_not_come_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_tokens, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gitlab = deploy_tokens.connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(requests.exceptions.Timeout):
            gitlab.http_get("/version", max_retries=0)


@pytest.mark.parametrize(
    ("variable", "url"),
    [("", "https://gitlab.example.com"), ("https://other.example.com/api/v4/", "https://other.example.com")],
)
def test_an_empty_address_in_the_environment_is_none(monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    monkeypatch.setenv("GITLAB_BASE_URL", variable)
    assert deploy_tokens.connect("https://gitlab.example.com").url == url
