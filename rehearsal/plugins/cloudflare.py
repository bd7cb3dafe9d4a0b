"""Stand-in for the cloudflare plugin (pulumi-cloudflare 6.23.1): the resources that the program uses.

Also the functions that the last release uses (tests/rehearsal/test_upgrade.py); this release asks Cloudflare itself.
"""

from __future__ import annotations

import json

from rehearsal.plugins.base import PluginError, State, serve
from rehearsal.plugins.cloudflare_kind import Client, Kind, NotFoundError, camel
from rehearsal.plugins.rest import RestPlugin, extract_inputs
from rehearsal.plugins.values import Properties, plain


class DnsRecord(Kind):
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


class AccessApplication(Kind):
    """`cloudflare.ZeroTrustAccessApplication`, of an account."""

    owner = "accountId"
    required = ("accountId",)
    replace_on = frozenset({"accountId"})
    optional = frozenset({"allowedIdps", "corsHeaders", "customDenyMessage", "customDenyUrl", "logoUrl"})
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
        # Without `policies`, the provider sends an empty list, which detaches every policy.
        return {"policies": [], **super()._body(inputs)}

    def _normalised(self, live: Properties) -> Properties:
        # The API returns a reusable policy expanded; the provider keeps its id.
        policies = [{"id": one["id"], "precedence": one["precedence"]} for one in live.get("policies", [])]
        return {**live, "policies": policies, **({} if live.get("allowed_idps") else {"allowed_idps": None})}


class AccessPolicy(Kind):
    """`cloudflare.ZeroTrustAccessPolicy`: a reusable policy of the account."""

    owner = "accountId"
    required = ("accountId", "name", "decision")
    replace_on = frozenset({"accountId"})
    inputs = frozenset({"accountId", "name", "decision", "includes"})
    optional = frozenset({"includes", "excludes", "requires"})

    def path(self, owner: str) -> str:
        return f"/accounts/{owner}/access/policies"

    def _body(self, inputs: Properties) -> Properties:
        body = super()._body(inputs)
        rules = {name.removesuffix("s"): body.pop(name, []) for name in sorted(self.optional)}
        return {**body, **rules}

    def _normalised(self, live: Properties) -> Properties:
        return {**live, **{name: live.get(name.removesuffix("s"), []) for name in sorted(self.optional)}}


class AccessServiceToken(Kind):
    """`cloudflare.ZeroTrustAccessServiceToken`."""

    owner = "accountId"
    required = ("accountId", "name")
    replace_on = frozenset({"accountId"})
    computed = frozenset({"clientId", "clientSecret", "expiresAt"})
    inputs = frozenset({"accountId", "name", "duration"})
    shown_once = "clientSecret"

    def path(self, owner: str) -> str:
        return f"/accounts/{owner}/access/service_tokens"


class R2Bucket(Kind):
    """`cloudflare.R2Bucket`; its id is its name."""

    owner = "accountId"
    required = ("accountId", "name")
    replace_on = frozenset({"accountId", "name"})
    computed = frozenset({"creationDate", "jurisdiction", "location", "storageClass"})
    inputs = frozenset({"accountId", "name"})

    def path(self, owner: str) -> str:
        return f"/accounts/{owner}/r2/buckets"

    def create(self, inputs: Properties) -> tuple[str, Properties]:
        made = self._plugin.client.call("POST", self.path(inputs["accountId"]), body=self._body(inputs))
        return made["name"], self._outputs(inputs, made)

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        # An import's id is <account>/<bucket>/<jurisdiction>.
        account, _, name = id_.removesuffix("/default").rpartition("/")
        return super().read(f"{account}/{name}" if account else name, inputs, olds)


class R2BucketLock(Kind):
    """`cloudflare.R2BucketLock`: all rules of a bucket, written as given."""

    owner = "accountId"
    required = ("accountId", "bucketName", "rules")
    replace_on = frozenset({"accountId", "bucketName"})

    def create(self, inputs: Properties) -> tuple[str, Properties]:
        path = f"/accounts/{inputs['accountId']}/r2/buckets/{inputs['bucketName']}/lock"
        # The API spells this object as Pulumi does.
        self._plugin.client.call("PUT", path, body={"rules": inputs["rules"]})
        return inputs["bucketName"], inputs

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        path = f"/accounts/{olds['accountId']}/r2/buckets/{olds['bucketName']}/lock"
        try:
            outputs = {**olds, "rules": self._plugin.client.call("GET", path)["rules"]}
        except NotFoundError:
            return None
        return State(id=id_, inputs=extract_inputs(inputs, outputs), outputs=outputs)

    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:  # noqa: ARG002 - the signature
        return self.create(inputs)[1]

    def delete(self, id_: str, olds: Properties) -> None:
        """The provider makes no call: the rules stay."""


class AccountToken(Kind):
    """`cloudflare.AccountToken`."""

    owner = "accountId"
    required = ("accountId", "name", "policies")
    replace_on = frozenset({"accountId"})
    computed = frozenset({"issuedOn", "status", "value"})
    shown_once = "value"

    def path(self, owner: str) -> str:
        return f"/accounts/{owner}/tokens"

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        state = super().read(id_, inputs, olds)
        # The provider drops a token that no longer opens anything, so that the next `up` creates another.
        return None if state and state.outputs["status"] in {"expired", "revoked (exposed)"} else state

    def _body(self, inputs: Properties) -> Properties:
        policies = [
            {
                "effect": one["effect"],
                "permission_groups": one["permissionGroups"],
                "resources": json.loads(one["resources"]),
            }
            for one in inputs["policies"]
        ]
        return {"name": inputs["name"], "policies": policies}

    def _normalised(self, live: Properties) -> Properties:
        policies = [
            {
                "effect": one["effect"],
                "permission_groups": [{"id": group["id"]} for group in one["permission_groups"]],
                # The real plugin keeps the text of the answer, which has no spaces.
                "resources": json.dumps(one["resources"], separators=(",", ":")),
            }
            for one in live["policies"]
        ]
        return {**live, "policies": policies}


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
            "cloudflare:index/r2Bucket:R2Bucket": R2Bucket(self),
            "cloudflare:index/r2BucketLock:R2BucketLock": R2BucketLock(self),
            "cloudflare:index/accountToken:AccountToken": AccountToken(self),
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
        """A client with the configuration's token, or the environment's if it has none."""
        return Client(self._config)

    def _zone(self, args: Properties) -> Properties:
        if "filter" in args:
            wanted = args["filter"]
            found = _one(self.client.call("GET", "/zones", name=wanted["name"], match=wanted.get("match", "all")))
        else:
            found = self.client.call("GET", f"/zones/{args['zoneId']}")
        return {**camel(found), "zoneId": found["id"]}

    def _tunnel(self, args: Properties) -> Properties:
        path = f"/accounts/{args['accountId']}/cfd_tunnel"
        if "filter" not in args:
            found = self.client.call("GET", f"{path}/{args['tunnelId']}")
        else:
            deleted = str(args["filter"].get("isDeleted", "")).lower()
            found = _one(self.client.call("GET", path, name=args["filter"]["name"], is_deleted=deleted))
        return camel({**found, "metadata": json.dumps(found["metadata"])})

    def _tunnel_config(self, args: Properties) -> Properties:
        path = f"/accounts/{args['accountId']}/cfd_tunnel/{args['tunnelId']}/configurations"
        found = self.client.call("GET", path)
        # The provider's types cover only part of the document, and the program needs none of it from here.
        return {**args, "source": found["source"], "version": found["version"]}

    def _records(self, args: Properties) -> Properties:
        query = {"name.exact": args["name"]["exact"]} if "name" in args else {}
        found = self.client.pages(f"/zones/{args['zoneId']}/dns_records", **query)
        return {"zoneId": args["zoneId"], "results": [camel(_record(one)) for one in found]}

    def _policy(self, args: Properties) -> Properties:
        path = f"/accounts/{args['accountId']}/access/policies/{args['policyId']}"
        return {**camel(dict(self.client.call("GET", path))), "policyId": args["policyId"]}

    def _policies(self, args: Properties) -> Properties:
        found = self.client.pages(f"/accounts/{args['accountId']}/access/policies")
        return {"accountId": args["accountId"], "results": [camel(one) for one in found]}

    def _applications(self, args: Properties) -> Properties:
        query = {name: str(args[name]).lower() for name in ("domain", "exact") if name in args}
        found = self.client.pages(f"/accounts/{args['accountId']}/access/apps", **query)
        return {**args, "results": [camel(one) for one in found]}

    def _providers(self, args: Properties) -> Properties:
        found = self.client.pages(f"/accounts/{args['accountId']}/access/identity_providers")
        return {"accountId": args["accountId"], "results": [camel(one) for one in found]}


def _record(live: Properties) -> Properties:
    """A DNS record as the provider has it, where `meta` is a string."""
    return {**live, "meta": json.dumps(live.get("meta", {}))}


def _one(found: list[Properties]) -> Properties:
    if len(found) != 1:
        raise PluginError(f"failed to find exactly one result: {len(found)} found")
    return found[0]


if __name__ == "__main__":
    serve(CloudflarePlugin())
