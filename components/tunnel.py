"""TunnelHostname: owns exactly one rule of a tunnel that others use too.

The provider's own resource for this replaces the whole document, drops keys that it does not know, and its delete does
nothing. The API has neither a call for a single rule nor a precondition: this reads the document, changes its rule in
it, writes it back, and compares the document's version counter, which each write moves by one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx
import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from lookups.tunnel_document import Document, find, with_rule, without_rule

ORIGIN: Final = "http://{0}.{1}.svc.cluster.local:{2}"
"""What a rule leads to: name of the Service, namespace, port."""
TARGET: Final = "{0}.cfargotunnel.com"
"""What the DNS record of a hostname in the tunnel of that id points to."""

_API: Final = "https://api.cloudflare.com/client/v4"
_ATTEMPTS: Final = 5
_LONGEST_WAIT: Final = 30.0  # seconds
_T = TypeVar("_T")
_SCOPE: Final = "Account > Cloudflare Tunnel: Edit"


class TunnelError(Exception):
    """The rule could not be read or written; the message says why and what to do."""


class NoDocumentError(TunnelError):
    """The tunnel is deleted, or managed locally: no document rules it, and a rule of ours that was in one is gone."""


class _TransientError(Exception):
    """Worth another attempt, after `wait` seconds."""

    def __init__(self, what: str, wait: float) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(frozen=True, kw_only=True)
class Version:
    """The document as it was read, and its version counter."""

    number: int
    document: Document


class Tunnel:
    """The configuration of one tunnel. The token comes from the environment each time, never from the state."""

    def __init__(self, account_id: str, tunnel_id: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._path = f"/accounts/{account_id}/cfd_tunnel/{tunnel_id}/configurations"
        self._name = tunnel_id
        self._pause = pause
        token = os.environ.get("CLOUDFLARE_API_TOKEN", "")
        if not token:
            raise TunnelError(f"CLOUDFLARE_API_TOKEN is not set: export a token with {_SCOPE}")
        base = os.environ.get("CLOUDFLARE_BASE_URL", _API).rstrip("/")
        self._client = httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def read(self) -> Version:
        """The document as it is now. Raises `TunnelError`, also for a tunnel that is not configured remotely."""
        return self._attempts("reading the tunnel's configuration", self._read)

    def change(self, edit: Callable[[Document], Document]) -> None:
        """Reads, edits and writes until the document is as `edit` wants it; writes nothing where it is already."""
        self._attempts("writing the tunnel's configuration", lambda: self._change(edit))

    def _change(self, edit: Callable[[Document], Document]) -> None:
        before = self._read()
        wanted = edit(before.document)
        if wanted == before.document:
            return
        # A write whose answer is lost is neither repeated nor given up: the next attempt reads, and sees.
        number = self._call("PUT", json={"config": wanted})["version"]
        if number != before.number + 1:
            raise TunnelError(
                f"somebody else changed tunnel {self._name} at the same moment: version {before.number} was read, and "
                f"{number} written, so what they wrote in between is replaced. Ask who it was (the account's audit log "
                "says), let them repeat their change, and run `pulumi up` again"
            )
        after = self._read().document
        if edit(after) != after:
            raise _TransientError("somebody else's older document has replaced ours", 0.5)

    def _read(self) -> Version:
        result = self._call("GET")
        if result.get("source") == "local":
            raise NoDocumentError(
                f"tunnel {self._name} is configured by a file beside cloudflared (source: local), and what is written "
                "to the API has no effect: migrate it to remote management in the dashboard, or correct the stack file"
            )
        return Version(number=result["version"], document=result.get("config") or {})

    def _call(self, method: str, **more: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, self._path, **more)
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _TransientError(f"{method}: {type(error).__name__}", 1.0) from error
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _TransientError(f"status {answer.status_code}", float(answer.headers.get("Retry-After", 1)))
        if answer.is_error:
            said = "; ".join(f"{one.get('message')} ({one.get('code')})" for one in body.get("errors", []))
            hint = f". The token needs {_SCOPE}" if answer.status_code in {401, 403} else ""
            if answer.status_code == 404:
                raise NoDocumentError(f"there is no tunnel {self._name}, says Cloudflare: {said}. Name another one")
            raise TunnelError(f"Cloudflare refuses {method} of tunnel {self._name}: {said}{hint}")
        result: dict[str, Any] = body["result"]
        return result

    def _attempts(self, what: str, run: Callable[[], _T]) -> _T:
        problem = ""
        for attempt in range(_ATTEMPTS):
            try:
                return run()
            except _TransientError as error:
                problem = str(error)
                if attempt + 1 < _ATTEMPTS:
                    self._pause(min(error.wait, _LONGEST_WAIT))
        raise TunnelError(
            f"{what} failed {_ATTEMPTS} times, the last time with: {problem}. Run `pulumi up` again later"
        )


class _TunnelRuleProvider(ResourceProvider):
    """Holds nothing: what is pickled into the state is this class's name."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        return CheckResult(news, [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        elsewhere = [name for name in ("account_id", "tunnel_id", "hostname") if olds.get(name) != news.get(name)]
        # A changed hostname is a new rule first, and then the old one's removal.
        return DiffResult(
            changes=bool(elsewhere) or olds.get("service") != news.get("service"),
            replaces=elsewhere,
            delete_before_replace=False,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        tunnel, hostname, service = _tunnel(props), props["hostname"], props["service"]
        there = find(tunnel.read().document, hostname)
        # The very rule that we would write is ours: a killed `up` has written it and recorded nothing.
        if there is not None and there.get("service") != service and not props["adopt"]:
            raise TunnelError(
                f"the tunnel already has a rule for {hostname}, made by hand, to {there.get('service')}: set "
                "access.public.adopt.tunnelRule to true to take it over, or remove it in the dashboard"
            )
        tunnel.change(lambda document: with_rule(document, hostname, service))
        return CreateResult(f"{props['account_id']}/{props['tunnel_id']}/{hostname}", _state(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            rule = find(_tunnel(props).read().document, props["hostname"])
        except NoDocumentError:
            rule = None
        if rule is None:
            return ReadResult("", {})
        return ReadResult(id_, {**_state(props), "service": rule.get("service")})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _tunnel(news).change(lambda document: with_rule(document, news["hostname"], news["service"]))
        return UpdateResult(_state(news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        with suppress(NoDocumentError):
            _tunnel(props).change(lambda document: without_rule(document, props["hostname"]))


def _tunnel(props: dict[str, Any]) -> Tunnel:
    return Tunnel(props["account_id"], props["tunnel_id"])


def _state(props: dict[str, Any]) -> dict[str, Any]:
    return {name: props[name] for name in ("account_id", "tunnel_id", "hostname", "service", "adopt")}


class TunnelHostname(Resource, module="tunnel", name="TunnelHostname"):
    """The rule that sends `hostname` to `service`. CLOUDFLARE_API_TOKEN needs Account > Cloudflare Tunnel: Edit."""

    hostname: pulumi.Output[str]
    service: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        account_id: str,
        tunnel_id: str,
        hostname: str,
        service: pulumi.Input[str],
        adopt: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "account_id": account_id,
            "tunnel_id": tunnel_id,
            "hostname": hostname,
            "service": service,
            "adopt": adopt,
        }
        super().__init__(_TunnelRuleProvider(), name, props, opts)
