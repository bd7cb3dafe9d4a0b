"""Import ids of objects that already exist in the live systems, in the form that the providers' documentation gives.

`recover` uses it for objects that a killed `up` created but did not record, `import-existing` for those people created.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cloudflare import Cloudflare
from gitlab import Gitlab, GitlabGetError
from gitlab.v4.objects import ProjectRemoteMirror
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from components.registry_item import existing
from components.tunnel import Tunnel
from lookups.access_application import guarded_hostnames, shared_with
from lookups.onepassword_client import client
from lookups.tunnel_document import find as find_rule
from ops.adopt.blockers import (
    Blocker,
    data_blocker,
    kubernetes_blockers,
    mirror_blocker,
    second_server_blocker,
    tunnel_blocker,
)
from ops.adopt.data_folder import claims, elsewhere, on_another_volume, writes_beside
from ops.adopt.pod_template import Secrets
from ops.mirrors import push_mirrors
from policies.shapes import SECRET_NAME
from settings.names import Names

Inputs = Mapping[str, Any]

_LEAST_SECRET: Final = 8
"""Characters from which a Secret's value counts as a secret wherever it occurs; anything may contain a shorter one."""

REGISTRY_ITEM: Final = "pulumi-python:dynamic/registry_item:RegistryItem"
TUNNEL_HOSTNAME: Final = "pulumi-python:dynamic/tunnel:TunnelHostname"


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What Secrets and ConfigMaps of one namespace hold, by name and key, in plain text."""

    secrets: Mapping[str, Mapping[str, str]] = field(repr=False)
    config_maps: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Live:
    """Clients for the live systems that the stack uses. Nothing is found in a system that is None."""

    kubernetes: DynamicClient
    names: Names
    """The stack's names."""
    gitlab: Gitlab | None = None
    cloudflare: Cloudflare | None = None
    mirror: str | None = None
    """Address of the push mirror, from the settings, because it is a secret in inputs and state."""
    secret_names: Collection[str] = ()
    """Variables of `app.secrets`: keys of Secrets whose values count as secret, whatever the name."""
    database_image: str | None = None
    """If set, `blockers` checks that the database's volume has the data where this image will look."""

    _read: dict[str, _Kept] = field(default_factory=dict, init=False, repr=False, compare=False)

    def find(self, type_: str, inputs: Inputs) -> str | None:
        """The import id of the object that `inputs` describe, or None if it does not exist."""
        package, _, kind = type_.partition(":")
        if package == "kubernetes":
            return self._in_kubernetes(inputs)
        if type_ == TUNNEL_HOSTNAME:
            return inputs["hostname"] if _rule(inputs) is not None else None
        if type_ == REGISTRY_ITEM:
            return _registry_item(inputs)
        kind = kind.rsplit(":", 1)[-1]
        if package == "gitlab" and self.gitlab is not None:
            return self._in_gitlab(self.gitlab, kind, inputs)
        if package == "cloudflare" and self.cloudflare is not None:
            return self._in_cloudflare(self.cloudflare, kind, inputs)
        return None

    def blockers(self, type_: str, inputs: Inputs) -> Iterator[Blocker]:
        """What prevents the object that `find` finds from being adopted as it is.

        Also what keeps the database's data from being on the claim that the program would look for, or create.
        """
        if type_.startswith("kubernetes:"):
            if (live := self._kubernetes_object(inputs)) is not None:
                kept = self._of_namespace(live["metadata"].get("namespace"))
                yield from kubernetes_blockers(
                    live, inputs, secrets=self._secret_values(kept), config_maps=kept.config_maps
                )
            if (
                inputs.get("kind") == "PersistentVolumeClaim"
                and inputs["metadata"]["name"] == self.names.database_claim
            ):
                yield from self._data_elsewhere(inputs["metadata"]["namespace"])
        elif type_ == TUNNEL_HOSTNAME and (rule := _rule(inputs)) is not None:
            if rule.get("service") != inputs["service"] and not inputs["adopt"]:
                yield tunnel_blocker(inputs["hostname"], rule["service"])
        elif type_.endswith(":ProjectPushMirror") and self.gitlab is not None:
            mirrors = self._push_mirrors(self.gitlab, inputs)
            if mirrors and not any(map(self._is_usable, mirrors)):
                yield mirror_blocker(mirrors[0].url, mirrors[0].auth_method)
        elif type_.endswith(":ZeroTrustAccessApplication") and self.cloudflare is not None:
            hostname = inputs["domain"]
            for one in self.cloudflare.zero_trust.access.applications.list(account_id=inputs["accountId"]):
                found = one.to_dict()
                if hostname in guarded_hostnames(found) and (shared := shared_with(hostname, found)):
                    yield Blocker(why=f"the Access application {shared[0]}", remedy=shared[1], fatal=True)

    def _in_kubernetes(self, inputs: Inputs) -> str | None:
        if self._kubernetes_object(inputs) is None:
            return None
        metadata = inputs["metadata"]
        name, namespace = metadata["name"], metadata.get("namespace")
        return f"{namespace}/{name}" if namespace else str(name)

    def _kubernetes_object(self, inputs: Inputs) -> dict[str, Any] | None:
        metadata = inputs.get("metadata", {})
        try:
            api = self.kubernetes.resources.get(api_version=inputs["apiVersion"], kind=inputs["kind"])
            found: dict[str, Any] = api.get(name=metadata.get("name"), namespace=metadata.get("namespace")).to_dict()
        except (ResourceNotFoundError, NotFoundError):
            return None
        return found

    def _of_namespace(self, namespace: str | None) -> _Kept:
        """The data of its Secrets and ConfigMaps; nothing for an object without a namespace."""
        if namespace is None:
            return _Kept(secrets={}, config_maps={})
        if namespace not in self._read:
            secrets, config_maps = self._all("Secret", namespace), self._all("ConfigMap", namespace)
            self._read[namespace] = _Kept(
                secrets={
                    one["metadata"]["name"]: {key: _decoded(data) for key, data in (one.get("data") or {}).items()}
                    for one in secrets
                },
                config_maps={one["metadata"]["name"]: one.get("data") or {} for one in config_maps},
            )
        return self._read[namespace]

    def _secret_values(self, kept: _Kept) -> Secrets:
        """The values in Secrets whose keys name secrets."""
        values = {
            value
            for data in kept.secrets.values()
            for key, text in data.items()
            if (key in self.secret_names or SECRET_NAME.search(key)) and len(value := text.strip()) >= _LEAST_SECRET
        }
        return Secrets(values=values)

    def _data_elsewhere(self, namespace: str) -> Iterator[Blocker]:
        if self.database_image is None:
            return
        kept = self._of_namespace(namespace)
        kinds = (("v1", "Pod"), ("apps/v1", "StatefulSet"), ("apps/v1", "Deployment"))
        there = [
            {**one, "kind": kind} for version, kind in kinds for one in self._all(kind, namespace, api_version=version)
        ]
        found: dict[str, None] = {}
        holders = [(one, volume) for one in there if (volume := claims(one).get(self.names.database_claim))]
        for one, volume in holders:
            pod = one["spec"]["template"]["spec"] if "template" in one["spec"] else one["spec"]
            why = elsewhere(
                pod,
                volume,
                names=self.names,
                image=self.database_image,
                config_maps=kept.config_maps,
                secrets=kept.secrets,
            )
            found |= dict.fromkeys(why)
            if one["kind"] != "Pod" and writes_beside(one, names=self.names):
                yield second_server_blocker(one)
        # Beside it, other apps' databases have volumes of their own.
        for one in [] if holders else there:
            found |= dict.fromkeys(on_another_volume(one, names=self.names))
        if found:
            yield data_blocker(namespace, list(found))

    def _all(self, kind: str, namespace: str, *, api_version: str = "v1") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            self.kubernetes.resources.get(api_version=api_version, kind=kind)
            .get(namespace=namespace)
            .to_dict()["items"]
        )
        return found

    def _in_gitlab(self, client: Gitlab, kind: str, inputs: Inputs) -> str | None:
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
                case "ProjectProtectedEnvironment":
                    project.protected_environments.get(inputs["environment"])
                    return f"{project_id}:{inputs['environment']}"
                case "PipelineSchedule":
                    schedules = project.pipelineschedules.list(iterator=True)
                    same = (one.id for one in schedules if one.description == inputs["description"])
                    return next((f"{project_id}:{id_}" for id_ in same), None)
                case "TagProtection":
                    project.protectedtags.get(inputs["tag"])
                    return f"{project_id}:{inputs['tag']}"
                case "ProjectPushMirror":
                    mirrors = filter(self._is_usable, self._push_mirrors(client, inputs))
                    return next((f"{project_id}:{one.id}" for one in mirrors), None)
        except GitlabGetError as error:
            if error.response_code != 404:
                raise
        return None

    def _push_mirrors(self, client: Gitlab, inputs: Inputs) -> list[ProjectRemoteMirror]:
        """The push mirrors to the stack's repository, whoever made them."""
        if self.mirror is None:
            return []
        return push_mirrors(client.projects.get(inputs["project"], lazy=True), self.mirror)

    def _is_usable(self, mirror: ProjectRemoteMirror) -> bool:
        # The next preview asks for the key to add to GitHub, and a mirror without its own key cannot show one.
        return bool(mirror.url == self.mirror and mirror.auth_method == "ssh_public_key")

    @staticmethod
    def _in_cloudflare(client: Cloudflare, kind: str, inputs: Inputs) -> str | None:
        if kind == "ZeroTrustAccessApplication":
            account = inputs["accountId"]
            applications = client.zero_trust.access.applications.list(account_id=account, domain=inputs["domain"])
            # A bookmark is only a link in the App Launcher.
            guarding = (one for one in applications if getattr(one, "type", None) != "bookmark")
            found = (one.id for one in guarding if getattr(one, "domain", None) == inputs["domain"])
            return next((f"accounts/{account}/{id_}" for id_ in found), None)
        if kind == "DnsRecord":
            zone = inputs["zoneId"]
            records = client.dns.records.list(zone_id=zone, name={"exact": inputs["name"]}, type=inputs["type"])
            return next((f"{zone}/{record.id}" for record in records), None)
        return None


def _decoded(data: str | None) -> str:
    return base64.b64decode(data or "").decode(errors="replace")


def _registry_item(inputs: Inputs) -> str | None:
    """Id of the item that the stack writes its deploy token to; None unless there is exactly one."""
    found = existing(client(os.environ), inputs)
    return f"vaults/{inputs['vault']}/items/{found[0]['id']}" if len(found) == 1 else None


def _rule(inputs: Inputs) -> dict[str, Any] | None:
    """The tunnel's rule for the hostname of `inputs`."""
    return find_rule(Tunnel(inputs["account_id"], inputs["tunnel_id"]).read().document, inputs["hostname"])
