"""The program's own HTTP reaches what the plugins reach: by the same certificates and proxies."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp
from urllib3.util.ssl_ import create_urllib3_context

from lookups import deploy_tokens
from lookups.cloudflare_api import CloudflareApi, CloudflareError
from lookups.gitlab_access import check_answers
from lookups.http import PluginTransport, proxy_for
from lookups.onepassword_client import AccountError, Client, ConnectClient
from rehearsal.vendors.onepassword import OnePassword
from tests.unit.program import load_settings
from tests.unit.test_cluster_client import issued_without_extensions
from tests.unit.tls_server import answering

VAULT = "v" * 26


@pytest.fixture
def private(certificate: Path) -> Iterator[str]:
    """The address of a Connect server whose certificate no public authority has signed."""
    with answering({"id": VAULT}, certificate) as url:
        yield url


@pytest.fixture
def connect(served: Callable[[ASGIApp], str]) -> Callable[[], Client]:
    server = OnePassword()
    server.add_vault("Kubernetes")
    return partial(ConnectClient, served(server.app), server.token)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_a_private_authority_that_the_system_trusts_is_enough(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, private: str
) -> None:
    with pytest.raises(AccountError, match="CERTIFICATE_VERIFY_FAILED"):
        ConnectClient(private, "token").vault(VAULT)

    def load(context: ssl.SSLContext, *_: Any) -> None:
        context.load_verify_locations(certificate)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", load)
    assert ConnectClient(private, "token").vault(VAULT) == VAULT


STRICT = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
"""Python's and urllib3's default from Python 3.13 on."""


@pytest.fixture
def unusual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a server whose authority the system trusts, although its certificate lacks extensions."""
    default, made = ssl.create_default_context, issued_without_extensions()
    (tmp_path / "authority.pem").write_text(made["authority"])
    (tmp_path / "server.pem").write_text(made["key"] + made["certificate"])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))

    def strict(*args: Any, **options: Any) -> ssl.SSLContext:
        context = default(*args, **options)
        context.verify_flags |= STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    monkeypatch.setattr(ssl, "_create_default_https_context", strict)
    for place in ("urllib3.connection", "urllib3.util.ssl_"):
        monkeypatch.setattr(f"{place}.create_urllib3_context", partial(create_urllib3_context, verify_flags=STRICT))
    with answering({"id": VAULT}, tmp_path / "server.pem") as url:
        yield url


def test_a_connect_server_needs_no_more_extensions_than_for_the_plugin(unusual: str) -> None:
    assert ConnectClient(unusual, "token").vault(VAULT) == VAULT


def test_gitlab_needs_no_more_extensions_than_for_the_plugin(unusual: str) -> None:
    delivery = load_settings("prod").delivery
    assert delivery
    check_answers(delivery, {"GITLAB_BASE_URL": f"{unusual}/api/v4/", "GITLAB_TOKEN": "glpat-x"})
    assert deploy_tokens.client(unusual, "glpat-x").http_get("/version", max_retries=0) == {"id": VAULT}


@pytest.mark.parametrize("exceptions", ["::1", "[::1]", "fd00::/8", "localhost,127.0.0.1,10.42.0.0/16,[fd00::1]:443"])
def test_ipv6_addresses_and_networks_may_be_excepted_from_proxies(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[], Client], exceptions: str
) -> None:
    monkeypatch.setenv("NO_PROXY", exceptions)
    assert connect().vault("Kubernetes")


@pytest.mark.parametrize("proxy", ["socks5://proxy.lan:1080", "ftp://proxy.lan", "http://me:se#cret@proxy.lan"])
def test_a_proxy_that_is_no_http_proxy_is_named_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, connect: Callable[[], Client], proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert connect().vault("Kubernetes"), "a loopback address needs none"
    with pytest.raises(AccountError, match="HTTP_PROXY is not the address of an HTTP proxy") as refused:
        ConnectClient("http://connect.invalid", "token").vault(VAULT)
    assert "cret" not in str(refused.value)


def test_the_reason_for_which_cloudflare_is_not_reached_is_shown(monkeypatch: pytest.MonkeyPatch, private: str) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token")
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", private)
    with pytest.raises(CloudflareError, match="CERTIFICATE_VERIFY_FAILED"):
        CloudflareApi(pause=lambda _: None).get("/zones/a")


PROXY = "http://proxy.lan:3128"


@pytest.mark.parametrize(
    ("exceptions", "url"),
    [
        ("*", "https://api.cloudflare.com"),
        ("lan", "http://connect.lan:8080"),
        ("connect.lan", "http://a.connect.lan"),
        (".lan,other", "http://CONNECT.lan:8080"),
        ("*.lan", "http://connect.lan"),
        ("connect.lan:8080", "http://connect.lan:8080"),
        ("connect.lan:80", "http://connect.lan"),
        ("10.10.30.5", "http://10.10.30.5:8080"),
        (" 10.0.0.0/8 ,x", "http://10.10.30.5:8080"),
        ("fd00::/8", "http://[fd00::5]:8080"),
        ("fd00::5", "http://[fd00::5]:8080"),
        ("[fd00::5]:8080", "http://[fd00::5]:8080"),
        ("", "http://localhost:8080"),
        ("", "http://127.0.0.9:8080"),
        ("", "http://[::1]:8080"),
    ],
)
def test_what_no_proxy_names_is_reached_directly(exceptions: str, url: str) -> None:
    assert proxy_for(url, {"http": PROXY, "https": PROXY, "no": exceptions}) is None


@pytest.mark.parametrize(
    ("exceptions", "url"),
    [
        ("", "http://connect.lan"),
        ("nect.lan", "http://connect.lan"),
        (".connect.lan", "http://connect.lan"),
        ("connect.lan:80", "http://connect.lan:8080"),
        ("10.0.0.0/16", "http://10.10.30.5"),
        ("10.0.0.0/x", "http://10.10.30.5"),
        ("10.0.0.0/8", "http://connect.lan"),
        ("fd00::/8", "http://10.10.30.5"),
    ],
)
def test_everything_else_goes_through_the_proxy(exceptions: str, url: str) -> None:
    assert proxy_for(url, {"http": PROXY, "no": exceptions}) == PROXY


def test_a_proxy_is_for_one_scheme_and_needs_none_itself() -> None:
    proxies = {"https": "proxy.lan:3128", "all": "socks5://proxy.lan:1080"}
    assert proxy_for("https://api.cloudflare.com", proxies) == PROXY
    assert proxy_for("http://connect.lan", proxies) is None


def test_a_client_with_this_transport_can_be_closed(served: Callable[[ASGIApp], str]) -> None:
    with httpx.Client(transport=PluginTransport()) as client:
        assert client.get(served(OnePassword().app)).status_code in {401, 404}
