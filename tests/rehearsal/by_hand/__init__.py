"""prod as it was created by hand before this program existed: with kubectl, and in GitLab's and Cloudflare's pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from rehearsal.homelab import ZONE
from rehearsal.rehearsal import Rehearsal

NAMESPACE: Final = "invoicetron-prod"
IMAGE: Final = "registry.k8s.rommelporras.com/0xwsh/invoicetron/prod:5eed0001"
HOSTNAME: Final = f"invoicetron.{ZONE}"
SERVICE: Final = f"http://invoicetron.{NAMESPACE}.svc.cluster.local:3000"
DETECTED: Final = (
    "github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nk"
    "t5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="
)
"""A host key of GitHub that GitLab's page detects; not the one in the stack file."""
CLAIM: Final = "data-invoicetron-db-0"


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """The ids of what was made, which only the systems know."""

    application: str
    record: str
    environment: int


def fill(rehearsal: Rehearsal, *, replacing: Mapping[str, str] = MappingProxyType({})) -> ByHand:
    """Makes all of it, with text in the manifests replaced; returns once the database is ready and its volume bound."""
    _fill_cluster(rehearsal, replacing)
    environment = _fill_gitlab(rehearsal)
    application, record = _fill_cloudflare(rehearsal)
    return ByHand(application=application, record=record, environment=environment)


def live(rehearsal: Rehearsal, kind: str, name: str) -> dict[str, Any]:
    """An object of the namespace."""
    return rehearsal.get(kind, name, namespace=NAMESPACE)


def _fill_cluster(rehearsal: Rehearsal, replacing: Mapping[str, str]) -> None:
    kubectl = rehearsal.kubectl
    kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    )
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=baseline")
    values = {field["label"]: field["value"] for field in rehearsal.onepassword.item("Invoicetron Prod")["fields"]}
    login = {"username": "gitlab+deploy-token-1", "password": "a-token-made-by-hand"}
    registry = {"auths": {"registry.k8s.rommelporras.com": login}}
    for name, kind, data in (
        ("invoicetron-db", "Opaque", {"postgres-password": values["postgres-password"]}),
        ("invoicetron-app", "Opaque", {key: values[key] for key in ("database-url", "better-auth-secret")}),
        ("gitlab-registry", "kubernetes.io/dockerconfigjson", {".dockerconfigjson": json.dumps(registry)}),
    ):
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": encoded}
        kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(secret))
    manifests = (Path(__file__).parent / "objects.yaml").read_text(encoding="utf-8")
    for old, new in replacing.items():
        assert old in manifests
        manifests = manifests.replace(old, new)
    kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=manifests)
    origins = f"ADDITIONAL_TRUSTED_ORIGINS=https://invoicetron.k8s.rommelporras.com,https://{HOSTNAME}"
    kubectl("-n", NAMESPACE, "set", "env", "deployment/invoicetron", origins)
    kubectl("-n", NAMESPACE, "set", "image", "deployment/invoicetron", f"invoicetron={IMAGE}")
    for workload in ("statefulset/invoicetron-db", "deployment/invoicetron"):
        kubectl("-n", NAMESPACE, "rollout", "status", workload, "--timeout=180s")


def _fill_gitlab(rehearsal: Rehearsal) -> int:
    project = rehearsal.gitlab.project
    environment: int = project.environments.create({"name": "production"})["id"]
    token = base64.b64decode(live(rehearsal, "secret", "gitlab-deploy-token")["data"]["token"]).decode()
    for key, value, masked in (
        ("KUBE_TOKEN", token, True),
        ("KUBE_API_URL", "https://api.k8s.rommelporras.com:6443", False),
    ):
        variable = {"key": key, "value": value, "masked": masked, "raw": False, "environment_scope": "production"}
        project.variables.create(variable)
    project.deploy_tokens.create({"name": "k8s-image-pull", "scopes": ["read_registry"]})
    project.branches.create({"branch": "develop", "ref": "main"})
    mirror = {"url": "ssh://git@github.com/rommelporras/invoicetron.git", "auth_method": "ssh_public_key"}
    project.mirrors.create({**mirror, "enabled": True, "host_keys": [DETECTED]})
    return environment


def _fill_cloudflare(rehearsal: Rehearsal) -> tuple[str, str]:
    cloudflare = rehearsal.cloudflare
    application = cloudflare.add_application(HOSTNAME, name="Invoicetron")
    document = cloudflare.document
    rule = {"hostname": HOSTNAME, "service": SERVICE, "originRequest": {}}
    cloudflare.write({**document, "ingress": [rule, *document["ingress"]]})
    return application, cloudflare.add_record(HOSTNAME)
