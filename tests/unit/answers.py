"""What the systems around the program answer under Pulumi's mocks: the cluster, GitLab, 1Password and Cloudflare."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi import runtime

from components.server_certificate import _ServerCertificateProvider
from lookups.cloudflare import CloudflareIds
from lookups.ownership import MIRROR_KEY

PASSWORD: Final = "unit-test-password"
AUTH_SECRET: Final = "unit-test-better-auth-secret-0123456789"
TOKEN: Final = "unit-test-registry-token"
DEPLOYER: Final = "unit-test.deployer.token"
CLIENT_SECRET: Final = "unit-test-access-client-secret"
R2_TOKEN: Final = "unit-test-r2-token"
SECRETS: Final = (PASSWORD, AUTH_SECRET, TOKEN, DEPLOYER)

AUDIENCE: Final = "a" * 64
IDS: Final = CloudflareIds(
    account_id="account",
    zone_id="zone",
    tunnel_id="tunnel",
    policy_id="policy",
    team_name="homelab",
    identity_provider_ids=(),
)
CA: Final = "unit-test certificate authority"
HELD: Final = {
    "statefulsets": None,
    "persistentvolumeclaims": None,
    "clusters": None,
    "configmaps": {"data": {"ca.crt": CA}},
    "gatewayclasses": {"spec": {"controllerName": "io.cilium/gateway-controller"}},
    "gateways": {
        "spec": {
            "gatewayClassName": "cilium",
            "listeners": [
                {"name": name, "protocol": "HTTPS", "allowedRoutes": {"namespaces": {"from": "All"}}}
                for name in ("https", "https-dev")
            ],
        }
    },
}
"""The cluster's object of each of these kinds; every other object that is read exists."""
REGISTRY: Final = "registry.k8s.rommelporras.com/0xwsh/invoicetron"
"""The registry of the app's project."""
_VAULT: Final = "aaaaaaaaaaaaaaaaaaaaaaaaaa"


def _empty_gitlab() -> dict[str, dict[str, Any]]:
    """GitLab's answers by function: a project with nothing but its default branch, on an Enterprise Edition."""
    return {
        "getProject": {"id": "57", "defaultBranch": "main", "containerRegistryImagePrefix": REGISTRY},
        "getMetadata": {"id": "1", "enterprise": True, "version": "19.1.0-ee"},
        "getProjectMirrorPublicKey": {"id": "57:1", "publicKey": "ssh-rsa AAAA"},
        "getProjectEnvironments": {"id": "57", "environments": []},
        "getProjectVariables": {"id": "57", "variables": []},
        "getProjectBranches": {"id": "57", "branches": [{"name": "main"}]},
        "getProjectProtectedBranches": {"id": 57, "protectedBranches": []},
        "getPipelineSchedules": {"id": "57", "pipelineSchedules": []},
        "getProjectProtectedTags": {"id": "57", "protectedTags": []},
    }


_LOGINS: Final = ("Token", "R2", "Log")
"""How the titles of items end that hold only a login, to which the program writes."""


@dataclass
class Answers(runtime.Mocks):
    """Every resource's outputs are its inputs; 1Password holds what the stack file refers to."""

    values: dict[str, str] = field(
        default_factory=lambda: {"postgres-password": PASSWORD, "better-auth-secret": AUTH_SECRET}
    )
    gitlab: dict[str, dict[str, Any]] = field(default_factory=_empty_gitlab)

    def new_resource(self, args: runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.inputs.get("type") == "kubernetes.io/service-account-token":
            outputs["data"] = {"token": base64.b64encode(DEPLOYER.encode()).decode(), "ca.crt": "Q0E="}
        elif args.typ.endswith("ProjectDeployToken"):
            outputs |= {"username": "gitlab+deploy-token-2", "token": TOKEN}
        elif args.typ.endswith("ProjectPushMirror"):
            outputs["mirrorId"] = 1
        elif args.typ.endswith("ZeroTrustAccessApplication"):
            outputs["aud"] = AUDIENCE
        elif args.typ.endswith("ZeroTrustAccessServiceToken"):
            outputs |= {"clientId": "unit-test.access", "clientSecret": CLIENT_SECRET}
        elif args.typ.endswith("ServerCertificate"):
            outputs |= _ServerCertificateProvider().create(args.inputs).outs or {}
        elif args.typ.endswith("AccountToken"):
            outputs["value"] = R2_TOKEN
        return f"{args.name}-id", outputs

    def call(self, args: runtime.MockCallArgs) -> Any:
        if args.token.endswith("getVault"):
            return {"id": f"vaults/{_VAULT}", "uuid": _VAULT, "name": "Kubernetes", "description": ""}
        if args.token == "pulumi:pulumi:readStackResourceOutputs":
            return {"outputs": {}}
        if args.token == "pulumi:pulumi:readStackOutputs":
            # Its repository is its own, as that of a stack that is up.
            return {"name": args.args["name"], "outputs": {MIRROR_KEY: "ssh-ed25519 AAAA"}, "secretOutputNames": []}
        if args.token.startswith("gitlab:"):
            found = self.gitlab[args.token.rpartition(":")[2]]
            if "variables" in found:
                # As the provider documents it; it leaves the filter to GitLab, whose list of variables has none.
                scope = args.args.get("environmentScope", "*")
                return {**found, "variables": [one for one in found["variables"] if one["environmentScope"] == scope]}
            return found
        if args.token.startswith("cloudflare:"):
            raise AssertionError(f"{args.token}: the program asks Cloudflare itself")
        assert args.token == "onepassword:index/getItem:getItem", args.token
        title = str(args.args.get("title"))
        values = {} if title.endswith(_LOGINS) else self.values
        fields = [{"id": name, "label": name, "type": "CONCEALED", "value": text} for name, text in values.items()]
        login = {"username": "gitlab+deploy-token-1", "password": TOKEN}
        item: dict[str, Any] = {
            "id": "x",
            "uuid": f"uuid of {title}",
            "vault": _VAULT,
            "title": title,
            "category": "login",
            "sections": [],
        }
        return {**item, **login, "sections": [{"id": "s", "label": "", "fields": fields}]}
