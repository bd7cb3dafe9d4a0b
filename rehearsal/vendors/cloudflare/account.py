"""Emulates the Cloudflare API calls that the program makes; the tunnel already has other people's hostnames."""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal.homelab import TUNNEL, ZONE
from rehearsal.vendors.cloudflare.access import Access
from rehearsal.vendors.cloudflare.answers import (
    ACCESS_EDIT,
    DNS_EDIT,
    OF_ACCOUNTS,
    ORGANIZATION_READ,
    SCOPES,
    TUNNEL_EDIT,
    ZONE_READ,
    Grant,
    RefusedError,
    check_record,
    found,
    page_of,
)
from rehearsal.vendors.cloudflare.objects import (
    Object,
    new_account,
    new_group,
    new_identity_provider,
    new_organization,
    new_policy,
    new_rules,
    new_tunnel,
    new_zone,
    now,
    shared_document,
    stored_application,
    stored_record,
)
from rehearsal.vendors.cloudflare.r2 import R2
from rehearsal.vendors.server import Service

POLICY: Final = "Allow Admin"


class Cloudflare:
    """One account with one zone and one shared tunnel, beside somebody else's account. `app` is what to serve."""

    def __init__(self) -> None:
        self.account, self.other_account = new_account("homelab"), new_account("somebody else's")
        self.zone = new_zone(self.account)
        self.zones = [self.zone]
        self._tunnel = new_tunnel(self.account, TUNNEL)
        self.tunnels = [self._tunnel]
        self.policy_id = str(uuid.uuid4())
        self._grants: dict[str, Grant] = {}
        self.token = self.issue_token(*SCOPES)
        self.hides_zones = False
        """Whether a token that may not read zones gets an empty list instead of a refusal: both have been seen."""
        self.refuses_account_tokens = 401
        """What `/user/tokens/verify` answers to an account's own token: 401; one report has 403."""
        self.organization = new_organization()
        self.version = 7
        self.document = shared_document()
        self.applications: dict[str, Object] = {}
        self.records: dict[str, Object] = {}
        self.access = Access(self.applications)
        self.policies, self.groups = self.access.policies, self.access.groups
        self.add_policy(POLICY, id_=self.policy_id)
        self.identity_providers = [new_identity_provider()]
        self.r2 = R2()
        for hostname in ("portfolio", "blog", "status"):
            self.add_record(f"{hostname}.{ZONE}")
        account, zone = "/client/v4/accounts/{account}", "/client/v4/zones"
        tunnels, access = f"{account}/cfd_tunnel", f"{account}/access"
        routes: list[tuple[str, str, str | None, Callable[[Request], Awaitable[Any]]]] = [
            ("GET", "/client/v4/user/tokens/verify", None, self._verify_token),
            ("GET", f"{account}/tokens/verify", None, self._verify_token),
            ("GET", "/client/v4/accounts", None, self._accounts),
            ("GET", zone, None, self._list_zones),
            ("GET", f"{zone}/{{zone}}", ZONE_READ, self._zone),
            ("GET", tunnels, TUNNEL_EDIT, self._list_tunnels),
            ("GET", f"{tunnels}/{{tunnel}}", TUNNEL_EDIT, self._read_tunnel),
            ("GET", f"{tunnels}/{{tunnel}}/configurations", TUNNEL_EDIT, self._configuration),
            ("PUT", f"{tunnels}/{{tunnel}}/configurations", TUNNEL_EDIT, self._configure),
            ("GET", f"{access}/organizations", ORGANIZATION_READ, self._organization),
            ("GET", f"{access}/identity_providers", ORGANIZATION_READ, self._list_identity_providers),
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
            *self.r2.routes(account),
        ]
        routes += self.access.routes(access)
        served = [Route(path, self._answered(scope, handle), methods=[verb]) for verb, path, scope, handle in routes]
        self.app = Service(Starlette(routes=served))

    @property
    def account_id(self) -> str:
        """Id of the account."""
        return str(self.account["id"])

    @property
    def zone_id(self) -> str:
        """Id of the zone."""
        return str(self.zone["id"])

    @property
    def tunnel_id(self) -> str:
        """Id of the shared tunnel."""
        return str(self._tunnel["id"])

    @property
    def source(self) -> str:
        """Where the shared tunnel is configured: `cloudflare`, or `local`."""
        return str(self._tunnel["config_src"])

    @source.setter
    def source(self, source: str) -> None:
        self._tunnel |= {"config_src": source, "remote_config": source == "cloudflare"}

    @property
    def target(self) -> str:
        """What a public hostname's CNAME points to."""
        return f"{self.tunnel_id}.cfargotunnel.com"

    def issue_token(
        self, *scopes: str, expires: str | None = None, of_account: bool = False, elsewhere: bool = False
    ) -> str:
        """A token with only these scopes, of the user or of the account; or one for another account."""
        token = secrets.token_hex(20)
        account = self.other_account if elsewhere else self.account
        self._grants[token] = Grant(scopes=frozenset(scopes), account=account, expires=expires, of_account=of_account)
        return token

    def add_policy(
        self,
        name: str,
        *,
        decision: str = "allow",
        reusable: bool = True,
        id_: str | None = None,
        include: list[Object] | None = None,
    ) -> str:
        """Adds an Access policy to the account, by default for one address; returns its id."""
        policy_id = id_ or str(uuid.uuid4())
        owner = [{"email": {"email": "owner@example.com"}}]
        rules = new_rules(owner if include is None else include)
        self.policies[policy_id] = new_policy(policy_id, name, decision, rules, reusable=reusable)
        return policy_id

    def add_group(self, name: str, *include: Object) -> str:
        """Adds an Access group to the account; returns its id."""
        id_ = str(uuid.uuid4())
        self.groups[id_] = new_group(id_, name, new_rules(list(include)))
        return id_

    def add_application(self, hostname: str, *, name: str) -> str:
        """Adds a hand-made Access application with the policy that everybody uses; returns its id."""
        policy = {**self.policies[self.policy_id], "precedence": 1}
        return str(self._store_application({"name": name, "type": "self_hosted", "domain": hostname}, [policy])["id"])

    def add_record(self, hostname: str) -> str:
        """Adds a record that points to the tunnel, as the dashboard does with a public hostname; returns its id."""
        record = {"name": hostname, "type": "CNAME", "content": self.target, "proxied": True}
        return str(self._store_record(record)["id"])

    def add_tunnel(self, name: str) -> str:
        """Adds another tunnel to the account; returns its id."""
        self.tunnels.append(new_tunnel(self.account, name))
        return str(self.tunnels[-1]["id"])

    def delete_tunnel(self) -> str:
        """Deletes the shared tunnel, which stays readable, and makes another of the same name; returns the new id."""
        self._tunnel |= {"deleted_at": now(), "status": "inactive"}
        self._tunnel = new_tunnel(self.account, TUNNEL)
        self.tunnels.append(self._tunnel)
        self.document = {"ingress": [{"service": "http_status:404"}]}
        return self.tunnel_id

    def exposed(self) -> set[str]:
        """Hostnames that anybody can reach: they resolve, the tunnel has a rule for them, no application guards them.

        cloudflared's own demand does not count: it is the fallback for when this fails.
        """
        guarded = {one["domain"] for one in self.applications.values() if one["policies"]}
        ruled = {rule.get("hostname") for rule in self.document["ingress"]}
        resolving = {record["name"] for record in self.records.values() if record["content"] == self.target}
        others = {f"{name}.{ZONE}" for name in ("portfolio", "blog", "status")}  # public on purpose
        return (resolving & ruled) - guarded - others

    def others_rules(self, *own: str) -> list[Object]:
        """The tunnel's rules except those for the hostnames in `own`."""
        return [rule for rule in self.document["ingress"] if rule.get("hostname") not in own]

    def write(self, document: Object) -> None:
        """Writes the document as somebody else would."""
        self.document = copy.deepcopy(document)
        self.version += 1

    def _answered(
        self, scope: str | None, handler: Callable[[Request], Awaitable[Any]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._authorize(request, scope)
                result = await handler(request)
            except RefusedError as error:
                errors = [{"code": error.code, "message": str(error)}]
                body = {"success": False, "errors": errors, "messages": [], "result": None}
                return JSONResponse(body, status_code=error.status)
            body = {"success": True, "errors": [], "messages": [], "result": result}
            return JSONResponse({**body, **page_of(result, request)} if isinstance(result, list) else body)

        return answer

    def _grant(self, request: Request) -> Grant:
        grant = self._grants.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if grant is None or (grant.expires is not None and grant.expires <= now()):
            raise RefusedError(401, 1000, "Invalid API Token")
        return grant

    def _authorize(self, request: Request, scope: str | None) -> None:
        grant = self._grant(request)
        # Another account is refused like a missing permission.
        elsewhere = request.path_params.get("account", grant.account["id"]) != grant.account["id"]
        if elsewhere or (scope is not None and scope not in grant.scopes):
            raise RefusedError(403, 10000, "Authentication error")
        zone = request.path_params.get("zone")
        if zone is not None and zone not in {one["id"] for one in self._zones_of(grant)}:
            raise RefusedError(403, 9109, "Unauthorized to access requested resource")

    def _zones_of(self, grant: Grant) -> list[Object]:
        return [one for one in self.zones if one["account"]["id"] == grant.account["id"]]

    async def _verify_token(self, request: Request) -> Object:
        grant = self._grant(request)
        if grant.of_account != ("account" in request.path_params):
            raise RefusedError(self.refuses_account_tokens, 1000, "Invalid API Token")
        expires = {} if grant.expires is None else {"expires_on": grant.expires}
        return {"id": secrets.token_hex(16), "status": "active", **expires}

    async def _accounts(self, request: Request) -> list[Object]:
        grant = self._grant(request)
        return [grant.account] if grant.scopes & OF_ACCOUNTS else []

    async def _list_zones(self, request: Request) -> list[Object]:
        grant = self._grant(request)
        if ZONE_READ not in grant.scopes:
            if self.hides_zones:
                return []
            actor = f"com.cloudflare.api.token.{secrets.token_hex(16)}"
            needed = "com.cloudflare.api.account.zone.list"
            raise RefusedError(403, 0, f"Actor '{actor}' requires permission '{needed}' to list zones")
        return [one for one in self._zones_of(grant) if request.query_params.get("name") in {None, one["name"]}]

    async def _zone(self, request: Request) -> Object:
        return next(one for one in self.zones if one["id"] == request.path_params["zone"])

    async def _list_tunnels(self, request: Request) -> list[Object]:
        asked = request.query_params
        deleted = asked.get("is_deleted")
        return [
            one
            for one in self.tunnels
            if asked.get("name") in {None, one["name"]} and deleted in {None, str(bool(one["deleted_at"])).lower()}
        ]

    async def _read_tunnel(self, request: Request) -> Object:
        tunnel = next((one for one in self.tunnels if one["id"] == request.path_params["tunnel"]), None)
        if tunnel is None:
            raise RefusedError(404, 1002, "Tunnel not found")
        return tunnel

    async def _configuration(self, request: Request) -> Object:
        tunnel = await self._read_tunnel(request)
        document = self.document if tunnel is self._tunnel else {"ingress": [{"service": "http_status:404"}]}
        return {
            "account_id": self.account_id,
            "tunnel_id": tunnel["id"],
            "version": self.version,
            "source": tunnel["config_src"],
            "created_at": tunnel["created_at"],
            "config": copy.deepcopy(document),
        }

    async def _configure(self, request: Request) -> Object:
        if await self._read_tunnel(request) is not self._tunnel:
            raise RefusedError(400, 1059, "this emulator keeps the document of one tunnel")
        document = (await request.json())["config"]
        if not document.get("ingress") or document["ingress"][-1].get("hostname"):
            raise RefusedError(400, 1056, "Bad Configuration: the last ingress rule must match all URLs")
        self.write(document)
        return await self._configuration(request)

    async def _organization(self, _request: Request) -> Object:
        return self.organization

    async def _list_identity_providers(self, _request: Request) -> list[Object]:
        return list(self.identity_providers)

    async def _list_applications(self, request: Request) -> list[Object]:
        domain, exact = request.query_params.get("domain"), request.query_params.get("exact") == "true"
        return [
            one
            for one in self.applications.values()
            if domain in {None, one["domain"]} or (not exact and str(domain) in one["domain"])
        ]

    async def _application(self, request: Request) -> Object:
        return found(self.applications, request, 12135, "access.api.error.application_not_found")

    async def _put_application(self, request: Request) -> Object:
        body = await request.json()
        policies: list[Object] = []
        for reference in body.get("policies", []):
            policy = self.policies.get(reference["id"])
            if policy is None or not policy.get("reusable"):
                raise RefusedError(400, 12130, "access.api.error.invalid_request: policy is not reusable")
            policies.append({**policy, "precedence": reference.get("precedence", len(policies) + 1)})
        id_ = request.path_params.get("id")
        if id_ is None:
            if body["domain"] in {one["domain"] for one in self.applications.values()}:
                raise RefusedError(409, 11010, "access.api.error.application_already_exists")
        elif id_ not in self.applications:
            raise RefusedError(404, 12135, "access.api.error.application_not_found")
        return self._store_application(body, policies, id_)

    def _store_application(self, body: Object, policies: list[Object], id_: str | None = None) -> Object:
        id_ = id_ or str(uuid.uuid4())
        old = self.applications.get(id_, {"id": id_, "uid": id_, "aud": secrets.token_hex(32), "created_at": now()})
        kept = {name: old[name] for name in ("id", "uid", "aud", "created_at")}
        self.applications[id_] = stored_application(body, policies, kept)
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
        return found(self.records, request, 81044, "Record does not exist.")

    async def _create_record(self, request: Request) -> Object:
        body = await request.json()
        self._check_record(body)
        return self._store_record(body)

    def _store_record(self, body: Object) -> Object:
        id_ = secrets.token_hex(16)
        self.records[id_] = stored_record(body, self.zone, {"id": id_, "created_on": now()})
        return self.records[id_]

    async def _update_record(self, request: Request) -> Object:
        one, body = await self._record(request), await request.json()
        self._check_record(body, beside=one["id"])
        one.update(stored_record(body, self.zone, {"id": one["id"], "created_on": one["created_on"]}))
        return one

    def _check_record(self, body: Object, *, beside: str | None = None) -> None:
        named = [one for one in self.records.values() if one["name"] == body["name"] and one["id"] != beside]
        check_record(body, named)

    async def _delete_record(self, request: Request) -> Object:
        del self.records[(await self._record(request))["id"]]
        return {"id": request.path_params["id"]}
