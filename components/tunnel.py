"""TunnelHostname: owns exactly one rule of a tunnel that others use, too.

The provider's own resource replaces the whole document, drops keys that it does not know, and does nothing on delete.
The API has neither a call for a single rule nor preconditions. So this resource reads the document, changes its own
rule, writes the document back, reads it again, and compares its version counter, which each write increases by one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from lookups.cloudflare_api import CloudflareApi, CloudflareError, TransientError
from lookups.tunnel_document import AccessDemand, Document, demand_of, find, first_taker, with_rule, without_rule

ORIGIN: Final = "http://{0}.{1}.svc.cluster.local:{2}"
"""URL to which a rule sends requests, from the Service's name, namespace and port."""
TARGET: Final = "{0}.cfargotunnel.com"
"""Target of a hostname's DNS record, from the tunnel's id."""
TEAM_DOMAIN: Final = "{0}.cloudflareaccess.com"
"""Host of a Zero Trust team's login pages and keys, from the team's name."""

_SCOPE: Final = "Account > Cloudflare Tunnel: Edit"
_T = TypeVar("_T")
_INPUTS: Final = ("account_id", "tunnel_id", "hostname", "service", "team_name", "audience", "adopt")


class TunnelError(Exception):
    """The rule could not be read or written; the message says why and what to do."""


class NoDocumentError(TunnelError):
    """The tunnel is deleted or managed locally: no document controls it, and a rule that we had in one is gone."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """The document as it was read, and its version counter."""

    number: int
    document: Document


class Tunnel:
    """The configuration of one tunnel. The token comes from the environment each time, never from the state."""

    def __init__(self, account_id: str, tunnel_id: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._path = f"/accounts/{account_id}/cfd_tunnel/{tunnel_id}"
        self._name = tunnel_id
        try:
            self._api = CloudflareApi(pause=pause)
        except CloudflareError as error:
            raise TunnelError(f"{error}. It needs {_SCOPE}") from None

    def read(self) -> Version:
        """The current document. Raises `TunnelError`, also for a tunnel that is not configured remotely."""
        return self._attempts(self._read)

    def change(self, edit: Callable[[Document], Document]) -> None:
        """Reads, edits and writes until the document is as `edit` wants it; writes nothing if it already is."""
        self._attempts(lambda: self._change(edit))

    def _change(self, edit: Callable[[Document], Document]) -> None:
        before = self._read()
        wanted = edit(before.document)
        if wanted == before.document:
            return
        # If the answer to a write is lost, the next attempt does not repeat the write but reads the document first.
        number = self._call("PUT", "/configurations", json={"config": wanted})["version"]
        after = self._read().document
        if edit(after) != after:
            raise TransientError("somebody else's older document has replaced ours", 0.5)
        if number != before.number + 1:
            _warn(
                f"tunnel {self._name}: its version was {before.number} when it was read and {number} once written, so "
                "somebody else may have saved it in between, and what they saved is then replaced. Its document is as "
                "this program wants it. If a change of theirs is missing (the account's audit log says whose), let "
                "them repeat it"
            )

    def _read(self) -> Version:
        # The API still returns the configuration of a deleted tunnel.
        if deleted := self._call("GET").get("deleted_at"):
            raise NoDocumentError(f"tunnel {self._name} was deleted at {deleted}: name another one")
        result = self._call("GET", "/configurations")
        if result.get("source") == "local":
            raise NoDocumentError(
                f"tunnel {self._name} is configured by a file beside cloudflared (source: local), and what is written "
                "to the API has no effect: migrate it to remote management in the dashboard, or correct the stack file"
            )
        return Version(number=result["version"], document=result.get("config") or {})

    def _call(self, method: str, path: str = "", **more: Any) -> dict[str, Any]:
        try:
            result: dict[str, Any] = self._api.call(method, f"{self._path}{path}", **more)["result"]
        except CloudflareError as error:
            if error.status == 404:
                raise NoDocumentError(f"there is no tunnel {self._name}. {error}. Name another one") from None
            needed = f"{_SCOPE}, in the account of the tunnel"
            raise TunnelError(f"{method} of tunnel {self._name}: {error.with_permission(needed)}") from None
        return result

    def _attempts(self, run: Callable[[], _T]) -> _T:
        try:
            return self._api.attempts(f"tunnel {self._name}: its configuration", run)
        except CloudflareError as error:
            raise TunnelError(str(error)) from None


def _warn(message: str) -> None:
    # The engine shows what its plugins write to stderr; a dynamic provider has no access to the engine's log.
    sys.stderr.write(f"warning: {message}\n")
    sys.stderr.flush()


class _TunnelRuleProvider(ResourceProvider):
    """Has no data: pickling records only the name of this class in the state."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        return CheckResult(news, [])

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        elsewhere = [name for name in ("account_id", "tunnel_id", "hostname") if olds.get(name) != news.get(name)]
        # For a changed hostname, the new rule is created first, and then the old one is removed.
        return DiffResult(
            changes=bool(elsewhere)
            or any(olds.get(name) != news.get(name) for name in ("service", "team_name", "audience")),
            replaces=elsewhere,
            delete_before_replace=False,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        tunnel, hostname, service = _tunnel(props), props["hostname"], props["service"]
        there = find(tunnel.read().document, hostname)
        # A rule identical to ours is ours: an `up` that was killed wrote it but did not record it.
        if there is not None and there.get("service") != service and not props["adopt"]:
            raise TunnelError(
                f"the tunnel already has a rule for {hostname}, made by hand, to {there.get('service')}: set "
                "access.public.adopt.tunnelRule to true (of a further hostname: in access.public.adopt.hostnames) to "
                "take it over, or remove it in the dashboard"
            )
        _write(tunnel, props)
        return CreateResult(f"{props['account_id']}/{props['tunnel_id']}/{hostname}", _state(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            document = _tunnel(props).read().document
        except NoDocumentError:
            document = {}
        rule = find(document, props["hostname"])
        if rule is None:
            return ReadResult("", {})
        demand = demand_of(rule)
        seen = {
            # Where requests really go: an earlier wildcard may match, and an update then moves our rule before it.
            "service": (first_taker(document, props["hostname"]) or rule).get("service"),
            "team_name": demand.team if demand else None,
            "audience": ", ".join(demand.audiences) if demand else None,
        }
        return ReadResult(id_, {**_state(props), **seen})

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _write(_tunnel(news), news)
        return UpdateResult(_state(news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        with suppress(NoDocumentError):
            _tunnel(props).change(lambda document: without_rule(document, props["hostname"]))


def _tunnel(props: dict[str, Any]) -> Tunnel:
    return Tunnel(props["account_id"], props["tunnel_id"])


def _write(tunnel: Tunnel, props: dict[str, Any]) -> None:
    team, audience = props["team_name"], props["audience"]
    if not team or not audience:
        # A rule without both would let everybody past cloudflared; a rule with only one of them, nobody.
        raise TunnelError("the Access application has no audience tag: run `pulumi up` again")
    demand = AccessDemand(team=team, audiences=(audience,))
    tunnel.change(lambda document: with_rule(document, props["hostname"], props["service"], demand))


def _state(props: dict[str, Any]) -> dict[str, Any]:
    # A rule from an earlier release requires no token, and its state has neither team nor audience.
    return {name: props.get(name) for name in _INPUTS}


class TunnelHostname(Resource, module="tunnel", name="TunnelHostname"):
    """The rule that sends `hostname` to `service`, for requests with a token from the Access application.

    cloudflared itself verifies the token (its originRequest.access): if the application is deleted or belongs to
    another hostname, nobody gets in. CLOUDFLARE_API_TOKEN needs Account > Cloudflare Tunnel: Edit.
    """

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
        team_name: str,
        audience: pulumi.Input[str],
        adopt: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "account_id": account_id,
            "tunnel_id": tunnel_id,
            "hostname": hostname,
            "service": service,
            "team_name": team_name,
            "audience": audience,
            "adopt": adopt,
        }
        super().__init__(_TunnelRuleProvider(), name, props, opts)
