"""Emulates the calls of Cloudflare's API that the program makes; other people's hostnames are in the tunnel already."""

from __future__ import annotations

import copy
import datetime as dt
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal.emulators.server import Service

Object = dict[str, Any]

ZONE: Final = "rommelporras.com"
TUNNEL: Final = "homelab"
POLICY: Final = "Allow Admin"

TUNNEL_EDIT: Final = "Cloudflare Tunnel: Edit"
ACCESS_EDIT: Final = "Access: Apps and Policies: Edit"
DNS_EDIT: Final = "DNS: Edit"
ZONE_READ: Final = "Zone: Read"
PROVIDERS_READ: Final = "Access: Organizations, Identity Providers, and Groups: Read"
SCOPES: Final = frozenset({TUNNEL_EDIT, ACCESS_EDIT, DNS_EDIT, ZONE_READ, PROVIDERS_READ})


class _RefusedError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class _Grant:
    scopes: frozenset[str]
    expires: str | None = None
    of_account: bool = False


class Cloudflare:
    """One account with one zone and one shared tunnel. `app` is what to serve."""

    def __init__(self) -> None:
        self.account_id, self.zone_id = secrets.token_hex(16), secrets.token_hex(16)
        self.tunnel_id, self.policy_id = str(uuid.uuid4()), str(uuid.uuid4())
        self._grants: dict[str, _Grant] = {}
        self.token = self.issue_token(*SCOPES)
        self.source = "cloudflare"
        self.version = 7
        self.document = _others()
        self.applications: dict[str, Object] = {}
        self.records: dict[str, Object] = {}
        self.policies: dict[str, Object] = {}
        self.add_policy(POLICY, id_=self.policy_id)
        self.identity_providers = [{"id": str(uuid.uuid4()), "name": "PIN", "type": "onetimepin", "config": {}}]
        for hostname in ("portfolio", "blog", "status"):
            self.add_record(f"{hostname}.{ZONE}")
        account, zone = "/client/v4/accounts/{account}", "/client/v4/zones"
        tunnels, access = f"{account}/cfd_tunnel", f"{account}/access"
        routes: list[tuple[str, str, str | None, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/client/v4/user/tokens/verify", None, self._verify_token),
            ("GET", f"{account}/tokens/verify", None, self._verify_token),
            ("GET", zone, ZONE_READ, self._zones),
            ("GET", f"{zone}/{{zone}}", ZONE_READ, self._zone),
            ("GET", tunnels, TUNNEL_EDIT, self._tunnels),
            ("GET", f"{tunnels}/{{tunnel}}", TUNNEL_EDIT, self._tunnel),
            ("GET", f"{tunnels}/{{tunnel}}/configurations", TUNNEL_EDIT, self._configuration),
            ("PUT", f"{tunnels}/{{tunnel}}/configurations", TUNNEL_EDIT, self._configure),
            ("GET", f"{access}/policies", ACCESS_EDIT, self._list_policies),
            ("GET", f"{access}/policies/{{id}}", ACCESS_EDIT, self._policy),
            ("GET", f"{access}/identity_providers", PROVIDERS_READ, self._list_identity_providers),
            ("GET", f"{access}/apps", ACCESS_EDIT, self._list_applications),
            ("POST", f"{access}/apps", ACCESS_EDIT, self._put_application),
            ("GET", f"{access}/apps/{{id}}", ACCESS_EDIT, self._application),
            ("PUT", f"{access}/apps/{{id}}", ACCESS_EDIT, self._put_application),
            ("DELETE", f"{access}/apps/{{id}}", ACCESS_EDIT, self._delete_application),
            ("GET", f"{zone}/{{zone}}/dns_records", DNS_EDIT, self._list_records),
            ("POST", f"{zone}/{{zone}}/dns_records", DNS_EDIT, self._create_record),
            ("GET", f"{zone}/{{zone}}/dns_records/{{id}}", DNS_EDIT, self._record),
            ("PUT", f"{zone}/{{zone}}/dns_records/{{id}}", DNS_EDIT, self._update_record),
            ("DELETE", f"{zone}/{{zone}}/dns_records/{{id}}", DNS_EDIT, self._delete_record),
        ]
        self.app = Service(
            Starlette(
                routes=[
                    Route(path, self._answered(scope, handler), methods=[method])
                    for method, path, scope, handler in routes
                ]
            )
        )

    @property
    def target(self) -> str:
        """What a public hostname's CNAME points to."""
        return f"{self.tunnel_id}.cfargotunnel.com"

    def issue_token(self, *scopes: str, expires: str | None = None, of_account: bool = False) -> str:
        """A token with these scopes and no other, of the user or of the account."""
        token = secrets.token_hex(20)
        self._grants[token] = _Grant(frozenset(scopes), expires, of_account)
        return token

    def add_policy(self, name: str, *, decision: str = "allow", reusable: bool = True, id_: str | None = None) -> str:
        """An Access policy of the account; its id."""
        policy_id = id_ or str(uuid.uuid4())
        include = [{"email": {"email": "owner@example.com"}}]
        self.policies[policy_id] = {
            "id": policy_id,
            "name": name,
            "decision": decision,
            "reusable": reusable,
            "session_duration": "24h",
            "include": include,
            "exclude": [],
            "require": [],
            "created_at": _now(),
            "updated_at": _now(),
        }
        return policy_id

    def add_application(self, hostname: str, *, name: str) -> str:
        """An Access application as a person makes it, with the policy that everybody uses; its id."""
        policy = {**self.policies[self.policy_id], "precedence": 1}
        return str(self._store_application({"name": name, "type": "self_hosted", "domain": hostname}, [policy])["id"])

    def add_record(self, hostname: str) -> str:
        """A record that leads to the tunnel, as the dashboard makes it with a public hostname; its id."""
        record = {"name": hostname, "type": "CNAME", "content": self.target, "proxied": True}
        return str(self._store_record(record)["id"])

    def exposed(self) -> set[str]:
        """Hostnames that anybody reaches: they resolve, the tunnel has a rule for them, no application guards them."""
        guarded = {one["domain"] for one in self.applications.values() if one["policies"]}
        ruled = {rule.get("hostname") for rule in self.document["ingress"]}
        resolving = {record["name"] for record in self.records.values() if record["content"] == self.target}
        others = {f"{name}.{ZONE}" for name in ("portfolio", "blog", "status")}  # public on purpose
        return (resolving & ruled) - guarded - others

    def others_rules(self, *own: str) -> list[Object]:
        """The tunnel's rules but those for the hostnames in `own`."""
        return [rule for rule in self.document["ingress"] if rule.get("hostname") not in own]

    def write(self, document: Object) -> None:
        """What somebody else's write does."""
        self.document = copy.deepcopy(document)
        self.version += 1

    def _answered(
        self, scope: str | None, handler: Callable[[Request], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._authorize(request, scope)
                result = await handler(request)
            except _RefusedError as error:
                errors = [{"code": error.code, "message": str(error)}]
                body = {"success": False, "errors": errors, "messages": [], "result": None}
                return JSONResponse(body, status_code=error.status)
            body = {"success": True, "errors": [], "messages": [], "result": result}
            if isinstance(result, list):
                # The client asks on until a page is empty.
                page = int(request.query_params.get("page", 1))
                shown = result if page == 1 else []
                count = {"page": page, "per_page": 50, "count": len(shown), "total_count": len(result)}
                body |= {"result": shown, "result_info": count}
            return JSONResponse(body)

        return answer

    def _authorize(self, request: Request, scope: str | None) -> None:
        grant = self._grants.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if grant is None or (grant.expires is not None and grant.expires <= _now()):
            raise _RefusedError(401, 1000, "Invalid API Token")
        if scope is not None and scope not in grant.scopes:
            raise _RefusedError(403, 10000, "Authentication error")
        if request.path_params.get("account", self.account_id) != self.account_id:
            raise _RefusedError(404, 7003, "Could not route to this account")
        if request.path_params.get("zone", self.zone_id) != self.zone_id:
            raise _RefusedError(404, 7003, "Could not route to this zone")
        if request.path_params.get("tunnel", self.tunnel_id) != self.tunnel_id:
            raise _RefusedError(404, 1002, "Tunnel not found")

    async def _verify_token(self, request: Request) -> Object:
        grant = self._grants[request.headers["authorization"].removeprefix("Bearer ")]
        if grant.of_account != ("account" in request.path_params):
            raise _RefusedError(401, 1000, "Invalid API Token")
        return {"id": secrets.token_hex(16), "status": "active", "expires_on": grant.expires}

    async def _zones(self, request: Request) -> list[Object]:
        return [self._zone_object()] if request.query_params.get("name", ZONE) == ZONE else []

    async def _zone(self, _request: Request) -> Object:
        return self._zone_object()

    def _zone_object(self) -> Object:
        account = {"id": self.account_id, "name": "homelab"}
        return {
            "id": self.zone_id,
            "name": ZONE,
            "status": "active",
            "paused": False,
            "type": "full",
            "account": account,
        }

    async def _tunnels(self, request: Request) -> list[Object]:
        return [self._tunnel_object()] if request.query_params.get("name", TUNNEL) == TUNNEL else []

    async def _tunnel(self, _request: Request) -> Object:
        return self._tunnel_object()

    def _tunnel_object(self) -> Object:
        return {"id": self.tunnel_id, "account_tag": self.account_id, "name": TUNNEL, "config_src": self.source}

    async def _configuration(self, _request: Request) -> Object:
        ids = {"account_id": self.account_id, "tunnel_id": self.tunnel_id}
        return {**ids, "version": self.version, "source": self.source, "config": copy.deepcopy(self.document)}

    async def _configure(self, request: Request) -> Object:
        document = (await request.json())["config"]
        if not document.get("ingress") or document["ingress"][-1].get("hostname"):
            raise _RefusedError(400, 1056, "Bad Configuration: the last ingress rule must match all URLs")
        self.write(document)
        return await self._configuration(request)

    async def _list_policies(self, _request: Request) -> list[Object]:
        return list(self.policies.values())

    async def _policy(self, request: Request) -> Object:
        return _found(self.policies, request, 12130, "access.api.error.policy_not_found")

    async def _list_identity_providers(self, _request: Request) -> list[Object]:
        return list(self.identity_providers)

    async def _list_applications(self, request: Request) -> list[Object]:
        domain = request.query_params.get("domain")
        return [one for one in self.applications.values() if domain in {None, one["domain"]}]

    async def _application(self, request: Request) -> Object:
        return _found(self.applications, request, 12135, "access.api.error.application_not_found")

    async def _put_application(self, request: Request) -> Object:
        body = await request.json()
        policies: list[Object] = []
        for reference in body.get("policies", []):
            policy = self.policies.get(reference["id"])
            if policy is None or not policy["reusable"]:
                raise _RefusedError(400, 12130, "access.api.error.invalid_request: policy is not reusable")
            policies.append({**policy, "precedence": reference.get("precedence", len(policies) + 1)})
        id_ = request.path_params.get("id")
        if id_ is None:
            if any(one["domain"] == body["domain"] for one in self.applications.values()):
                raise _RefusedError(400, 12132, "access.api.error.application_already_exists")
        elif id_ not in self.applications:
            raise _RefusedError(404, 12135, "access.api.error.application_not_found")
        return self._store_application(body, policies, id_)

    def _store_application(self, body: Object, policies: list[Object], id_: str | None = None) -> Object:
        id_ = id_ or str(uuid.uuid4())
        old = self.applications.get(id_, {"id": id_, "aud": secrets.token_hex(32), "created_at": _now()})
        kept = {name: old[name] for name in ("id", "aud", "created_at")}
        defaults = {"allowed_idps": [], "auto_redirect_to_identity": False, "tags": [], "session_duration": "24h"}
        self.applications[id_] = {**defaults, **body, **kept, "policies": policies, "updated_at": _now()}
        return self.applications[id_]

    async def _delete_application(self, request: Request) -> Object:
        one = await self._application(request)
        del self.applications[one["id"]]
        return {"id": one["id"]}

    async def _list_records(self, request: Request) -> list[Object]:
        asked = request.query_params
        name = asked.get("name.exact") or asked.get("name[exact]") or asked.get("name")
        return [
            one
            for one in self.records.values()
            if name in {None, one["name"]} and asked.get("type") in {None, one["type"]}
        ]

    async def _record(self, request: Request) -> Object:
        return _found(self.records, request, 81044, "Record does not exist.")

    async def _create_record(self, request: Request) -> Object:
        body = await request.json()
        self._check_record(body)
        if any(one["name"] == body["name"] for one in self.records.values()):
            raise _RefusedError(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
        return self._store_record(body)

    def _store_record(self, body: Object) -> Object:
        id_ = secrets.token_hex(16)
        times = {"created_on": _now(), "modified_on": _now()}
        own = {"id": id_, "zone_id": self.zone_id, "zone_name": ZONE, "proxiable": True, "tags": [], "meta": {}}
        self.records[id_] = {"ttl": 1, "settings": {"flatten_cname": False}, **body, **own, **times}
        return self.records[id_]

    async def _update_record(self, request: Request) -> Object:
        one, body = await self._record(request), await request.json()
        self._check_record(body)
        one.update({**body, "modified_on": _now()})
        return one

    @staticmethod
    def _check_record(body: Object) -> None:
        if body.get("proxied") and body.get("ttl") != 1:
            raise _RefusedError(400, 9021, "TTL must be 1 (automatic) for a proxied record")

    async def _delete_record(self, request: Request) -> Object:
        one = await self._record(request)
        del self.records[one["id"]]
        return {"id": one["id"]}


def _found(objects: dict[str, Object], request: Request, code: int, message: str) -> Object:
    try:
        return objects[request.path_params["id"]]
    except KeyError:
        raise _RefusedError(404, code, message) from None


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _others() -> Object:
    """The shared tunnel's document as the homelab has it before invoicetron, unknown keys included."""
    return {
        "ingress": [
            {"hostname": f"portfolio.{ZONE}", "service": "http://portfolio.portfolio-prod.svc.cluster.local:80"},
            {
                "hostname": f"blog.{ZONE}",
                "service": "http://ghost.ghost-prod.svc.cluster.local:2368",
                "originRequest": {"noTLSVerify": True, "a-key-of-tomorrow": [1, 2]},
            },
            {"hostname": f"status.{ZONE}", "path": "^/public", "service": "http://status.status.svc.cluster.local:80"},
            {"hostname": f"*.{ZONE}", "service": "http_status:403", "originRequest": {}},
            {"service": "http_status:404"},
        ],
        "originRequest": {"connectTimeout": 10},
        "warp-routing": {"enabled": True},
        "another-unknown-key": {"x": None},
    }
