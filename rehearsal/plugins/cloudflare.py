"""Stand-in for the cloudflare plugin (pulumi-cloudflare 6.23.1): the resources that the program uses.

And the functions that the last release uses (tests/rehearsal/test_upgrade.py); this one asks Cloudflare itself.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from rehearsal.plugins.base import CheckFailedError, PluginError, State, serve
from rehearsal.plugins.rest import ResourceKind, RestPlugin, extract_inputs
from rehearsal.plugins.values import Properties, Secret, plain

_API: Final = "https://api.cloudflare.com/client/v4"
_RETRIES: Final = 10  # the client's own, for connection errors, 408, 409, 429 and 5xx
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


class NotFoundError(PluginError):
    """The API answers 404."""


class Client:
    """Cloudflare's envelope, unwrapped; waits and repeats as the provider's client does."""

    def __init__(self, config: Properties) -> None:
        token = config.get("apiToken") or os.environ.get("CLOUDFLARE_API_TOKEN")
        if not token:
            raise PluginError("must provide one of: api_token, api_key, api_user_service_key")
        base = config.get("baseUrl") or os.environ.get("CLOUDFLARE_BASE_URL") or _API
        self._client = httpx.Client(base_url=base.rstrip("/"), headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def call(self, method: str, path: str, *, body: Any = None, **query: str) -> Any:
        """The `result` of a call; raises `PluginError` with Cloudflare's words."""
        problem = ""
        for attempt in range(_RETRIES + 1):
            try:
                answer = self._client.request(method, path, json=body, params=query)
            except httpx.TransportError as error:
                problem, wait = f"{type(error).__name__}", min(0.5 * 2**attempt, 8.0)
            else:
                if answer.status_code not in {408, 409, 429} and answer.status_code < 500:
                    return _result(method, path, answer)
                problem = f"{answer.status_code} {answer.text[:300]}"
                wait = float(answer.headers.get("Retry-After", min(0.5 * 2**attempt, 8.0)))
            if attempt < _RETRIES:
                time.sleep(wait)
        raise PluginError(f'{method} "{path}": {problem}')

    def pages(self, path: str, **query: str) -> list[Any]:
        """All of a list: the provider's data sources ask on until a page is empty."""
        found: list[Any] = []
        page = 1
        while listed := self.call("GET", path, **query, page=str(page)):
            found += listed
            page += 1
        return found


def _result(method: str, path: str, answer: httpx.Response) -> Any:
    body = answer.json()
    if answer.status_code == 404:
        raise NotFoundError(f'{method} "{path}": 404 Not Found {body["errors"]}')
    if answer.is_error:
        raise PluginError(f'{method} "{path}": {answer.status_code} {answer.reason_phrase} {body["errors"]}')
    return body["result"]


class _Kind(ResourceKind):
    """An object under one path; inputs and outputs are the API's keys in camel case."""

    owner = ""
    required: tuple[str, ...] = ()

    def __init__(self, plugin: CloudflarePlugin) -> None:
        self._plugin = plugin

    def path(self, owner: str) -> str:
        """The collection's path."""
        raise NotImplementedError

    def check(self, inputs: Properties) -> Properties:
        missing = {name: f"Missing required argument {name}" for name in self.required if name not in inputs}
        if missing:
            raise CheckFailedError(missing)
        return inputs

    def create(self, inputs: Properties) -> tuple[str, Properties]:
        made = self._plugin.client.call("POST", self.path(inputs[self.owner]), body=self._body(inputs))
        return made["id"], self._outputs(inputs, made)

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        parts = id_.split("/")
        owner = parts[-2] if len(parts) > 1 else {**olds, **inputs}[self.owner]
        try:
            live = self._plugin.client.call("GET", f"{self.path(owner)}/{parts[-1]}")
        except NotFoundError:
            return None
        outputs = {**_camel(self._normalised(live)), self.owner: owner}
        # An import has no inputs yet: they are everything that a program could have given.
        given = extract_inputs(inputs, outputs) if inputs else {k: v for k, v in outputs.items() if k in self.inputs}
        return State(id=parts[-1], inputs=given, outputs=outputs)

    inputs: frozenset[str] = frozenset()

    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:  # noqa: ARG002 - the signature
        changed = self._plugin.client.call("PUT", f"{self.path(inputs[self.owner])}/{id_}", body=self._body(inputs))
        return self._outputs(inputs, changed)

    def delete(self, id_: str, olds: Properties) -> None:
        self._plugin.client.call("DELETE", f"{self.path(olds[self.owner])}/{id_}")

    def _body(self, inputs: Properties) -> Properties:
        return _snake({name: value for name, value in inputs.items() if name != self.owner})

    def _normalised(self, live: Properties) -> Properties:
        return live

    def _outputs(self, inputs: Properties, live: Properties) -> Properties:
        return {**_camel(self._normalised(live)), **inputs}


class DnsRecord(_Kind):
    """`cloudflare.DnsRecord`."""

    owner = "zoneId"
    required = ("zoneId", "name", "type", "ttl")
    replace_on = frozenset({"zoneId", "type"})
    computed = frozenset({"createdOn", "modifiedOn", "proxiable"})
    inputs = frozenset({"zoneId", "name", "type", "ttl", "content", "proxied", "comment"})

    def path(self, owner: str) -> str:
        return f"/zones/{owner}/dns_records"

    def _normalised(self, live: Properties) -> Properties:
        return _record(live)


class AccessApplication(_Kind):
    """`cloudflare.ZeroTrustAccessApplication`, of an account."""

    owner = "accountId"
    required = ("accountId",)
    replace_on = frozenset({"accountId"})
    computed = frozenset({"aud", "createdAt", "updatedAt"})
    inputs = frozenset(
        {
            "accountId",
            "name",
            "type",
            "domain",
            "sessionDuration",
            "policies",
            "allowedIdps",
            "appLauncherVisible",
            "httpOnlyCookieAttribute",
            "sameSiteCookieAttribute",
        }
    )

    def path(self, owner: str) -> str:
        return f"/accounts/{owner}/access/apps"

    def _body(self, inputs: Properties) -> Properties:
        # What is not named is sent as an empty list, which detaches every policy.
        return {"policies": [], **super()._body(inputs)}

    def _normalised(self, live: Properties) -> Properties:
        # A reusable policy comes back expanded and is kept as its id.
        policies = [{"id": one["id"], "precedence": one["precedence"]} for one in live.get("policies", [])]
        return {**live, "policies": policies, **({} if live.get("allowed_idps") else {"allowed_idps": None})}


class AccessPolicy(_Kind):
    """`cloudflare.ZeroTrustAccessPolicy`: a reusable policy of the account."""

    owner = "accountId"
    required = ("accountId", "name", "decision")
    replace_on = frozenset({"accountId"})
    inputs = frozenset({"accountId", "name", "decision", "includes"})

    def path(self, owner: str) -> str:
        return f"/accounts/{owner}/access/policies"

    def _body(self, inputs: Properties) -> Properties:
        body = super()._body(inputs)
        includes = body.pop("includes", [])
        return {**body, "include": includes}

    def _normalised(self, live: Properties) -> Properties:
        return {**live, "includes": live.get("include", [])}


class AccessServiceToken(_Kind):
    """`cloudflare.ZeroTrustAccessServiceToken`; its secret is known from its creation only, and kept from then on."""

    owner = "accountId"
    required = ("accountId", "name")
    replace_on = frozenset({"accountId"})
    computed = frozenset({"clientId", "clientSecret", "expiresAt"})
    inputs = frozenset({"accountId", "name", "duration"})

    def path(self, owner: str) -> str:
        return f"/accounts/{owner}/access/service_tokens"

    def create(self, inputs: Properties) -> tuple[str, Properties]:
        id_, outputs = super().create(inputs)
        return id_, {**outputs, "clientSecret": Secret(outputs["clientSecret"])}

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        state = super().read(id_, inputs, olds)
        if state is not None and olds.get("clientSecret"):
            state.outputs["clientSecret"] = Secret(olds["clientSecret"])
        return state

    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        return {**super().update(id_, inputs, olds), "clientSecret": Secret(olds.get("clientSecret"))}


class CloudflarePlugin(RestPlugin):
    """The provider."""

    version = "6.23.1"

    def __init__(self) -> None:
        self._config: Properties = {}
        self.kinds = {
            "cloudflare:index/dnsRecord:DnsRecord": DnsRecord(self),
            "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication": AccessApplication(self),
            "cloudflare:index/zeroTrustAccessPolicy:ZeroTrustAccessPolicy": AccessPolicy(self),
            "cloudflare:index/zeroTrustAccessServiceToken:ZeroTrustAccessServiceToken": AccessServiceToken(self),
        }
        prefix = "cloudflare:index/"
        self.functions = {
            f"{prefix}getZone:getZone": self._zone,
            f"{prefix}getZeroTrustTunnelCloudflared:getZeroTrustTunnelCloudflared": self._tunnel,
            f"{prefix}getZeroTrustTunnelCloudflaredConfig:getZeroTrustTunnelCloudflaredConfig": self._tunnel_config,
            f"{prefix}getDnsRecords:getDnsRecords": self._records,
            f"{prefix}getZeroTrustAccessPolicy:getZeroTrustAccessPolicy": self._policy,
            f"{prefix}getZeroTrustAccessPolicies:getZeroTrustAccessPolicies": self._policies,
            f"{prefix}getZeroTrustAccessApplications:getZeroTrustAccessApplications": self._applications,
            f"{prefix}getZeroTrustAccessIdentityProviders:getZeroTrustAccessIdentityProviders": self._providers,
        }

    def configure(self, config: Properties) -> None:
        self._config = plain(config)

    @property
    def client(self) -> Client:
        """A client with the configuration's token, or else the environment's."""
        return Client(self._config)

    def _zone(self, args: Properties) -> Properties:
        if "filter" in args:
            wanted = args["filter"]
            found = _one(self.client.call("GET", "/zones", name=wanted["name"], match=wanted.get("match", "all")))
        else:
            found = self.client.call("GET", f"/zones/{args['zoneId']}")
        return {**_camel(found), "zoneId": found["id"]}

    def _tunnel(self, args: Properties) -> Properties:
        path = f"/accounts/{args['accountId']}/cfd_tunnel"
        if "filter" not in args:
            found = self.client.call("GET", f"{path}/{args['tunnelId']}")
        else:
            deleted = str(args["filter"].get("isDeleted", "")).lower()
            found = _one(self.client.call("GET", path, name=args["filter"]["name"], is_deleted=deleted))
        return _camel({**found, "metadata": json.dumps(found["metadata"])})

    def _tunnel_config(self, args: Properties) -> Properties:
        path = f"/accounts/{args['accountId']}/cfd_tunnel/{args['tunnelId']}/configurations"
        found = self.client.call("GET", path)
        # Of the document the provider's types know a part; the program needs none of it from here.
        return {**args, "source": found["source"], "version": found["version"]}

    def _records(self, args: Properties) -> Properties:
        query = {"name.exact": args["name"]["exact"]} if "name" in args else {}
        found = self.client.pages(f"/zones/{args['zoneId']}/dns_records", **query)
        return {"zoneId": args["zoneId"], "results": [_camel(_record(one)) for one in found]}

    def _policy(self, args: Properties) -> Properties:
        path = f"/accounts/{args['accountId']}/access/policies/{args['policyId']}"
        return {**_camel(dict(self.client.call("GET", path))), "policyId": args["policyId"]}

    def _policies(self, args: Properties) -> Properties:
        found = self.client.pages(f"/accounts/{args['accountId']}/access/policies")
        return {"accountId": args["accountId"], "results": [_camel(one) for one in found]}

    def _applications(self, args: Properties) -> Properties:
        query = {name: str(args[name]).lower() for name in ("domain", "exact") if name in args}
        found = self.client.pages(f"/accounts/{args['accountId']}/access/apps", **query)
        return {**args, "results": [_camel(one) for one in found]}

    def _providers(self, args: Properties) -> Properties:
        found = self.client.pages(f"/accounts/{args['accountId']}/access/identity_providers")
        return {"accountId": args["accountId"], "results": [_camel(one) for one in found]}


def _record(live: Properties) -> Properties:
    """A DNS record as the provider has it: `meta` is a text there."""
    return {**live, "meta": json.dumps(live.get("meta", {}))}


def _one(found: list[Properties]) -> Properties:
    if len(found) != 1:
        raise PluginError(f"failed to find exactly one result: {len(found)} found")
    return found[0]


def _camel(value: Properties) -> Properties:
    """An object of the API with its keys as Pulumi spells them."""
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), key): _each(_camel, item) for key, item in value.items()}


def _snake(value: Properties) -> Properties:
    """An object of Pulumi's with its keys as the API spells them."""
    return {_WORD.sub("_", key).lower(): _each(_snake, item) for key, item in value.items()}


def _each(spell: Callable[[Properties], Properties], value: Any) -> Any:
    if isinstance(value, dict):
        return spell(value)
    return [_each(spell, item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    serve(CloudflarePlugin())
