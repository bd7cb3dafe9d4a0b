"""HTTP as the providers' plugins speak it, which are Go programs: through the same proxies, trusting the same servers.

By itself, httpx does not trust the system's authorities, fails on IPv6 addresses in NO_PROXY, and knows no networks
there. Then the plugin reads an item, and the program fails to write one, when half of the stack already exists.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies_environment

import httpx

_LOOPBACK: Final = "localhost"


class PluginTransport(httpx.BaseTransport):
    """Sends each request directly, or through the proxy that the environment names for its address."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str | None], httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises `httpx.TransportError`, also for a proxy of a kind that is not supported."""
        proxy = proxy_for(str(request.url), getproxies_environment())
        key = request.url.scheme, proxy
        if key not in self._made:
            self._made[key] = _transport(*key)
        return self._made[key].handle_request(request)

    def close(self) -> None:
        """Closes all connections."""
        for one in self._made.values():
            one.close()


def _transport(scheme: str, proxy: str | None) -> httpx.HTTPTransport:
    # Reading all certificates takes longer than a request.
    verify = trust() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return httpx.HTTPTransport(verify=verify, proxy=proxy)
    # Without their texts, which may show the proxy's password.
    except (ImportError, ValueError, httpx.InvalidURL):
        raise httpx.UnsupportedProtocol(
            f"{scheme.upper()}_PROXY is not the address of an HTTP proxy: export one with http://, or name this host "
            "in NO_PROXY"
        ) from None


def trust() -> ssl.SSLContext:
    """Trusts the system's authorities (SSL_CERT_FILE and SSL_CERT_DIR name others) and those of certifi."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return like_go(context)


def like_go(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, without the demand of Python since 3.13 for extensions that private authorities often lack.

    See kubernetes-client/python#2394 and canonical/microk8s#5537, for certificates that clusters make themselves.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def proxy_for(url: str, proxies: Mapping[str, str]) -> str | None:
    """The proxy for an address among `proxies` (by scheme; `no` lists exceptions), by Go's rules; None for none.

    See golang.org/x/net/http/httpproxy: a loopback address never has one, and ALL_PROXY has no meaning. Raises
    `ValueError` if `url` is no address.
    """
    parts = urlsplit(url)
    proxy = proxies.get(parts.scheme)
    if not proxy or _is_direct(parts, proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_direct(url: SplitResult, exceptions: str) -> bool:
    host = url.hostname or ""
    address = _address(host)
    if host == _LOOPBACK or (address and address.is_loopback):
        return True
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return any(_excepts(one.strip().lower(), host, address, port) for one in exceptions.split(","))


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address | None


def _excepts(entry: str, host: str, address: _Address, port: int | None) -> bool:
    """Whether an entry of NO_PROXY is for this host."""
    if entry in {"", "*"}:
        return entry == "*"
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name = entry
    if _address(entry) is None and (parts := entry.rpartition(":"))[1] and parts[2].isdecimal():
        if int(parts[2]) != port:
            return False
        name = parts[0]
    name = name.removeprefix("[").removesuffix("]")
    if (excepted := _address(name)) is not None:
        return excepted == address
    if name.startswith(("*.", ".")):
        return host.endswith(name.removeprefix("*"))
    return host == name or host.endswith(f".{name}")


def _address(host: str) -> _Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
