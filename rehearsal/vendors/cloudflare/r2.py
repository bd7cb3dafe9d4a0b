"""Emulates R2's buckets and their locks, and the account's own API tokens, from which the S3 keys follow.

Codes: https://developers.cloudflare.com/r2/api/error-codes/
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request

from rehearsal.vendors.cloudflare.answers import R2_EDIT, TOKENS_EDIT, RefusedError, found
from rehearsal.vendors.cloudflare.objects import Object, now

Handler = Callable[[Request], Awaitable[Any]]

_GROUPS: Final = {
    "2efd5506f9c8494dacb1fa10a3e7d5b6": "Workers R2 Storage Bucket Item Write",
    "6a018a9f2fc74eb6b293b0c548f38b39": "Workers R2 Storage Bucket Item Read",
}
"""Permission groups of buckets: https://developers.cloudflare.com/r2/api/tokens/#permission-groups"""


class R2:
    """The buckets and tokens of one account."""

    def __init__(self) -> None:
        self.buckets: dict[str, Object] = {}
        self.rules: dict[str, list[Object]] = {}
        """The rules of each bucket's lock, by the bucket's name."""
        self.public: set[str] = set()
        """Names of the buckets that anybody can read at their r2.dev address."""
        self.domains: dict[str, list[Object]] = {}
        """Custom domains of each bucket, by its name."""
        self.tokens: dict[str, Object] = {}
        """Tokens by id, with their values, which the API shows only once."""

    def routes(self, account: str) -> list[tuple[str, str, str | None, Handler]]:
        """Verb, path, permission and handler of each call."""
        bucket, tokens = f"{account}/r2/buckets/{{bucket}}", f"{account}/tokens"
        return [
            ("POST", f"{account}/r2/buckets", R2_EDIT, self._create_bucket),
            ("GET", bucket, R2_EDIT, self._bucket),
            ("GET", f"{bucket}/lock", R2_EDIT, self._lock),
            ("PUT", f"{bucket}/lock", R2_EDIT, self._set_lock),
            ("GET", f"{bucket}/domains/managed", R2_EDIT, self._managed_domain),
            ("GET", f"{bucket}/domains/custom", R2_EDIT, self._custom_domains),
            ("GET", f"{tokens}/permission_groups", TOKENS_EDIT, self._groups),
            ("POST", tokens, TOKENS_EDIT, self._create_token),
            ("GET", f"{tokens}/{{id}}", TOKENS_EDIT, self._token),
            ("PUT", f"{tokens}/{{id}}", TOKENS_EDIT, self._update_token),
            ("DELETE", f"{tokens}/{{id}}", TOKENS_EDIT, self._delete_token),
        ]

    def add_bucket(self, name: str, rules: list[Object] | None = None) -> str:
        """Adds a bucket that somebody made by hand; returns its name."""
        self.buckets[name] = {
            "name": name,
            "creation_date": now(),
            "location": "weur",
            "storage_class": "Standard",
            "jurisdiction": "default",
        }
        self.rules[name] = rules or []
        return name

    async def _create_bucket(self, request: Request) -> Object:
        name = str((await request.json())["name"])
        if name in self.buckets:
            raise RefusedError(409, 10004, "The bucket you tried to create already exists, and you own it.")
        self.add_bucket(name)
        return self.buckets[name]

    async def _bucket(self, request: Request) -> Object:
        try:
            return self.buckets[request.path_params["bucket"]]
        except KeyError:
            raise RefusedError(404, 10006, "The specified bucket does not exist.") from None

    async def _lock(self, request: Request) -> Object:
        return {"rules": self.rules[(await self._bucket(request))["name"]]}

    async def _set_lock(self, request: Request) -> Object:
        self.rules[(await self._bucket(request))["name"]] = (await request.json())["rules"]
        return {}

    async def _managed_domain(self, request: Request) -> Object:
        name = (await self._bucket(request))["name"]
        id_ = hashlib.sha256(name.encode()).hexdigest()[:32]
        return {"bucketId": id_, "domain": f"pub-{id_}.r2.dev", "enabled": name in self.public}

    async def _custom_domains(self, request: Request) -> Object:
        return {"domains": self.domains.get((await self._bucket(request))["name"], [])}

    async def _groups(self, _request: Request) -> list[Object]:
        scopes = ["com.cloudflare.edge.r2.bucket"]
        return [{"id": id_, "name": name, "scopes": scopes} for id_, name in _GROUPS.items()]

    async def _create_token(self, request: Request) -> Object:
        id_ = secrets.token_hex(16)
        self.tokens[id_] = {
            "id": id_,
            "issued_on": now(),
            "status": "active",
            **_with_groups(await request.json()),
            "value": secrets.token_urlsafe(30),
        }
        return self.tokens[id_]

    async def _token(self, request: Request) -> Object:
        one = found(self.tokens, request, 1003, "Token not found")
        return {name: value for name, value in one.items() if name != "value"}

    async def _update_token(self, request: Request) -> Object:
        found(self.tokens, request, 1003, "Token not found").update(_with_groups(await request.json()))
        return await self._token(request)

    async def _delete_token(self, request: Request) -> Object:
        del self.tokens[(await self._token(request))["id"]]
        return {"id": request.path_params["id"]}


def _with_groups(body: Object) -> Object:
    """The token as requested, with names and ids added to its permissions."""
    policies: list[Object] = []
    for policy in body["policies"]:
        if unknown := [one["id"] for one in policy["permission_groups"] if one["id"] not in _GROUPS]:
            raise RefusedError(400, 1001, f"Invalid permission group: {json.dumps(unknown)}")
        groups = [{"id": one["id"], "name": _GROUPS[one["id"]]} for one in policy["permission_groups"]]
        policies.append({**policy, "id": secrets.token_hex(16), "permission_groups": groups})
    return {**body, "policies": policies}
