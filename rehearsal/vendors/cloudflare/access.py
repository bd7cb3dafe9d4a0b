"""Whom Access lets in: the account's reusable policies, groups and service tokens."""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request

from rehearsal.vendors.cloudflare.answers import (
    ACCESS_EDIT,
    ORGANIZATION_READ,
    SERVICE_TOKENS_EDIT,
    RefusedError,
    found,
)
from rehearsal.vendors.cloudflare.objects import Object, new_policy, new_rules, new_service_token, now

_NO_TOKEN: Final = "access.api.error.service_token_not_found"  # noqa: S105 - Cloudflare's words

Handler = Callable[[Request], Awaitable[Any]]


class Access:
    """The objects by id; `applications` are the account's, which show policies as they are now."""

    def __init__(self, applications: dict[str, Object]) -> None:
        self.policies: dict[str, Object] = {}
        self.groups: dict[str, Object] = {}
        self.service_tokens: dict[str, Object] = {}
        self._secrets: dict[str, str] = {}
        self._applications = applications

    def routes(self, access: str) -> list[tuple[str, str, str | None, Handler]]:
        """Method, path, permission and handler; `access` is the prefix of the paths."""
        policies, tokens = f"{access}/policies", f"{access}/service_tokens"
        return [
            ("GET", f"{access}/groups/{{id}}", ORGANIZATION_READ, self._group),
            ("GET", policies, ACCESS_EDIT, self._list_policies),
            ("POST", policies, ACCESS_EDIT, self._create_policy),
            ("GET", f"{policies}/{{id}}", ACCESS_EDIT, self._policy),
            ("PUT", f"{policies}/{{id}}", ACCESS_EDIT, self._update_policy),
            ("DELETE", f"{policies}/{{id}}", ACCESS_EDIT, self._delete_policy),
            ("GET", tokens, SERVICE_TOKENS_EDIT, self._list_tokens),
            ("POST", tokens, SERVICE_TOKENS_EDIT, self._create_token),
            ("GET", f"{tokens}/{{id}}", SERVICE_TOKENS_EDIT, self._token),
            ("PUT", f"{tokens}/{{id}}", SERVICE_TOKENS_EDIT, self._update_token),
            ("DELETE", f"{tokens}/{{id}}", SERVICE_TOKENS_EDIT, self._delete_token),
        ]

    def admitted(self, application: Object, client_id: str, client_secret: str) -> bool:
        """Whether a policy of the application lets in a request with these two headers."""
        tokens = self.service_tokens.values()
        own = [one["id"] for one in tokens if one["client_id"] == client_id and one["expires_at"] > now()]
        if not own or not secrets.compare_digest(self._secrets[own[0]], client_secret):
            return False
        policies = [one for one in application["policies"] if one["decision"] == "non_identity"]
        included = [rule.get("service_token", {}).get("token_id") for one in policies for rule in one["include"]]
        return own[0] in included

    async def _group(self, request: Request) -> Object:
        return found(self.groups, request, 12130, "access.api.error.group_not_found")

    async def _list_policies(self, _request: Request) -> list[Object]:
        return [one for one in self.policies.values() if one.get("reusable")]

    async def _policy(self, request: Request) -> Object:
        return found(self.policies, request, 12130, "access.api.error.policy_not_found")

    async def _create_policy(self, request: Request) -> Object:
        return await self._store_policy(request, str(uuid.uuid4()))

    async def _update_policy(self, request: Request) -> Object:
        await self._policy(request)
        return await self._store_policy(request, request.path_params["id"])

    async def _store_policy(self, request: Request, id_: str) -> Object:
        body = await request.json()
        rules = new_rules(body["include"], body.get("require"), body.get("exclude"))
        unknown = [rule["service_token"]["token_id"] for rule in body["include"] if "service_token" in rule]
        if not set(unknown) <= self.service_tokens.keys():
            raise RefusedError(400, 12130, f"access.api.error.invalid_request: {_NO_TOKEN}")
        stored = new_policy(id_, body["name"], body["decision"], rules, reusable=True)
        self.policies[id_] = stored
        # An application shows a reusable policy as it is now.
        for application in self._applications.values():
            application["policies"] = [
                {**stored, "precedence": one["precedence"]} if one["id"] == id_ else one
                for one in application["policies"]
            ]
        return stored

    async def _delete_policy(self, request: Request) -> Object:
        one = await self._policy(request)
        if any(one["id"] == used["id"] for each in self._applications.values() for used in each["policies"]):
            raise RefusedError(400, 12130, "access.api.error.invalid_request: policy is in use")
        del self.policies[one["id"]]
        return {"id": one["id"]}

    async def _list_tokens(self, _request: Request) -> list[Object]:
        return list(self.service_tokens.values())

    async def _token(self, request: Request) -> Object:
        return found(self.service_tokens, request, 12135, _NO_TOKEN)

    async def _create_token(self, request: Request) -> Object:
        body = await request.json()
        made = new_service_token(str(uuid.uuid4()), body["name"], body.get("duration", "8760h"))
        self.service_tokens[made["id"]] = made
        self._secrets[made["id"]] = secrets.token_hex(32)
        return {**made, "client_secret": self._secrets[made["id"]]}

    async def _update_token(self, request: Request) -> Object:
        one, body = await self._token(request), await request.json()
        one |= {key: body[key] for key in ("name", "duration") if key in body}
        return one

    async def _delete_token(self, request: Request) -> Object:
        one = await self._token(request)
        held = {"service_token": {"token_id": one["id"]}}
        if any(held in each["include"] for each in self.policies.values()):
            raise RefusedError(400, 12130, "access.api.error.invalid_request: service token is in use")
        del self._secrets[one["id"]]
        return copy.deepcopy(self.service_tokens.pop(one["id"]))
