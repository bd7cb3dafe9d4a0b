"""Stands in for what is between users and the app: DNS, the cluster's Gateway, Cloudflare's edge with its tunnel.

They answer from what the cluster and the Cloudflare emulator hold at that moment. Not real: TLS, because requests go to
loopback in plain HTTP; network policies, which nothing enforces; and the app, of which they know only whether one of
its pods is ready, so every path of it answers 200.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from kubernetes.dynamic import DynamicClient
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from rehearsal.cluster.gateway import API
from rehearsal.homelab import INTERNAL, TEAM
from rehearsal.vendors.backends import Backends
from rehearsal.vendors.cloudflare import Cloudflare, Object
from rehearsal.vendors.server import Service, serve

LOGIN: Final = f"{TEAM}.cloudflareaccess.com"
"""The host of the account's login pages."""


class Gateway:
    """Envoy behind the cluster's Gateway; `app` can be made to fail. Knows the cluster's endpoints, or those given."""

    def __init__(self, cluster: DynamicClient, backends: Backends | None = None) -> None:
        self._routes = cluster.resources.get(api_version=API, kind="HTTPRoute")
        self._services = backends or Backends(cluster)
        self.app = _served(self._answer)

    def _answer(self, hostname: str, _path: str, _headers: Headers) -> Response:
        for route in self._routes.get().to_dict()["items"]:
            parents = route.get("status", {}).get("parents", [])
            answers = {one["status"] for parent in parents for one in parent["conditions"]}
            if hostname in route["spec"]["hostnames"] and answers == {"True"}:
                backend = route["spec"]["rules"][0]["backendRefs"][0]
                return self._services.answer(backend["name"], route["metadata"]["namespace"], unready=503)
        return Response(status_code=404)


class Edge:
    """Cloudflare's edge and the tunnel's connector, cloudflared. `app` can be made to fail.

    Access asks for a login if an application guards the hostname, and nobody here has one. It issues a token to a
    client whose service token a policy accepts; with a bypass policy it issues none. cloudflared takes the first rule
    that matches and, if it demands a token, checks whose that is (cloudflared, `ingress/middleware/jwtvalidator.go`).
    """

    def __init__(self, cluster: DynamicClient, cloudflare: Cloudflare) -> None:
        self._cloudflare = cloudflare
        self._services = Backends(cluster)
        self.app = _served(self._answer)

    def serves(self, hostname: str) -> bool:
        """Whether DNS points here. Without the proxy, a tunnel's name resolves to an address that nobody can reach."""
        records = [one for one in self._cloudflare.records.values() if one["name"] == hostname and one["proxied"]]
        return any(one["content"] == self._cloudflare.target for one in records)

    def _guarding(self, hostname: str) -> Object | None:
        applications = self._cloudflare.applications.values()
        return next((one for one in applications if hostname in {one["domain"], *one["self_hosted_domains"]}), None)

    def _answer(self, hostname: str, path: str, headers: Headers) -> Response:
        application, audience = self._guarding(hostname), None
        if application and not any(one["decision"] == "bypass" for one in application["policies"]):
            client = [headers.get(f"CF-Access-Client-{part}", "") for part in ("Id", "Secret")]
            if not self._cloudflare.access.admitted(application, *client):
                login = f"https://{LOGIN}/cdn-cgi/access/login/{hostname}?kid={application['aud']}&redirect_url={path}"
                return RedirectResponse(login, status_code=302)
            audience = application["aud"]
        rule = next(one for one in self._cloudflare.document["ingress"] if _takes(one, hostname, path))
        demand = (rule.get("originRequest") or {}).get("access") or {}
        if demand.get("required") and audience is not None and demand.get("teamName") != TEAM:
            return Response(status_code=502)  # signed with keys that are not the team's
        if demand.get("required") and audience not in (demand.get("audTag") or []):
            return Response(status_code=403)
        if rule["service"].startswith("http_status:"):
            return Response(status_code=int(rule["service"].partition(":")[2]))
        service, namespace, *_ = str(urlsplit(rule["service"]).hostname).split(".")
        return self._services.answer(service, namespace, unready=502)


@contextmanager
def transport(gateway: Gateway, edge: Edge) -> Iterator[httpx.BaseTransport]:
    """Serves both; the transport sends a client's requests where DNS would point them."""
    with serve(gateway.app) as inside, serve(edge.app) as outside:

        def resolve(hostname: str) -> str | None:
            if edge.serves(hostname):
                return outside
            return inside if hostname.endswith(f".{INTERNAL}") else None

        yield _Loopback(resolve)


class _Loopback(httpx.BaseTransport):
    """Sends a request to a server on loopback, with the requested host name in its header."""

    def __init__(self, resolve: Callable[[str], str | None]) -> None:
        self._resolve = resolve
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = self._resolve(request.url.host)
        if url is None:
            raise httpx.ConnectError("[Errno -2] Name or service not known", request=request)
        address = httpx.URL(url)
        request.url = request.url.copy_with(scheme=address.scheme, host=address.host, port=address.port)
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Stays open: one transport serves many clients."""


def _served(answer: Callable[[str, str, Headers], Response]) -> Service:
    async def handle(request: Request) -> Response:
        return await run_in_threadpool(answer, str(request.url.hostname), request.url.path, request.headers)

    return Service(Starlette(routes=[Route("/{path:path}", handle)]))


def _takes(rule: dict[str, Any], hostname: str, path: str) -> bool:
    pattern = rule.get("hostname") or "*"
    matches = pattern in {"*", hostname} or (pattern.startswith("*.") and hostname.endswith(pattern[1:]))
    return matches and re.search(rule.get("path", ""), path) is not None
