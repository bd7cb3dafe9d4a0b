"""Import ids of what already exists in the live systems, as the providers' documentation spells them.

Used by `recover`, for what a killed `up` had made but not recorded, and by `import-existing`, for what people made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudflare import Cloudflare
from gitlab import Gitlab, GitlabGetError
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

Inputs = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Live:
    """Clients of the live systems, those that the stack uses; a resource of a system that is None is never found."""

    kubernetes: DynamicClient
    gitlab: Gitlab | None = None
    cloudflare: Cloudflare | None = None

    def find(self, type_: str, inputs: Inputs) -> str | None:
        """The import id of the object that `inputs` describe, or None where there is none."""
        package, _, kind = type_.partition(":")
        if package == "kubernetes":
            return self._in_kubernetes(inputs)
        kind = kind.rsplit(":", 1)[-1]
        if package == "gitlab" and self.gitlab is not None:
            return self._in_gitlab(self.gitlab, kind, inputs)
        if package == "cloudflare" and self.cloudflare is not None:
            return self._in_cloudflare(self.cloudflare, kind, inputs)
        return None

    def _in_kubernetes(self, inputs: Inputs) -> str | None:
        metadata = inputs.get("metadata", {})
        name, namespace = metadata.get("name"), metadata.get("namespace")
        try:
            api = self.kubernetes.resources.get(api_version=inputs["apiVersion"], kind=inputs["kind"])
            api.get(name=name, namespace=namespace)
        except (ResourceNotFoundError, NotFoundError):
            return None
        return f"{namespace}/{name}" if namespace else str(name)

    @staticmethod
    def _in_gitlab(client: Gitlab, kind: str, inputs: Inputs) -> str | None:
        project_id = inputs.get("project")
        if project_id is None:
            return None
        project = client.projects.get(project_id, lazy=True)
        try:
            match kind:
                case "ProjectEnvironment":
                    found = project.environments.list(name=inputs["name"], iterator=True)
                    return next((f"{project_id}:{one.id}" for one in found), None)
                case "ProjectVariable":
                    key, scope = inputs["key"], inputs.get("environmentScope", "*")
                    project.variables.get(key, filter={"environment_scope": scope})
                    return f"{project_id}:{key}:{scope}"
                case "Branch":
                    project.branches.get(inputs["name"])
                    return f"{project_id}:{inputs['name']}"
                case "BranchProtection":
                    project.protectedbranches.get(inputs["branch"])
                    return f"{project_id}:{inputs['branch']}"
                case "ProjectPushMirror":
                    host_and_path = inputs["url"].rpartition("@")[2]
                    mirrors = project.remote_mirrors.list(iterator=True)
                    return next((f"{project_id}:{one.id}" for one in mirrors if one.url.endswith(host_and_path)), None)
        except GitlabGetError as error:
            if error.response_code != 404:
                raise
        return None

    @staticmethod
    def _in_cloudflare(client: Cloudflare, kind: str, inputs: Inputs) -> str | None:
        if kind == "ZeroTrustAccessApplication":
            account = inputs["accountId"]
            applications = client.zero_trust.access.applications.list(account_id=account, domain=inputs["domain"])
            found = (one.id for one in applications if getattr(one, "domain", None) == inputs["domain"])
            return next((f"accounts/{account}/{id_}" for id_ in found), None)
        if kind == "DnsRecord":
            zone = inputs["zoneId"]
            records = client.dns.records.list(zone_id=zone, name={"exact": inputs["name"]}, type=inputs["type"])
            return next((f"{zone}/{record.id}" for record in records), None)
        return None
