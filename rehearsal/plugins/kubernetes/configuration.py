"""The provider's own inputs: which cluster, and how the plugin treats the objects in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from rehearsal.plugins.base import Diff, DiffKind, PluginError
from rehearsal.plugins.values import UNKNOWN, Properties, plain

_CLUSTER_KEYS: Final = ("kubeconfig", "context", "cluster")

_REFUSED: Final = {
    "enableServerSideApply": False,
    "upsertExistingObjects": True,
    "renderYamlToDirectory": True,
    "skipUpdateUnreachable": True,
}
"""Options that this stand-in does not support, and the value that it refuses."""


class KubeconfigError(Exception):
    """A kubeconfig that cannot be read, or lacks what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The provider's inputs as the plugin uses them; each option falls back to its `PULUMI_K8S_...` variable."""

    kubeconfig: str = ""
    context: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    secret_mutable: bool = False
    config_map_mutable: bool = False
    patch_force: bool = False
    delete_unreachable: bool = False

    @classmethod
    def of(cls, properties: Properties) -> Configuration:
        """Reads the inputs; raises `PluginError` for an option that the stand-in refuses."""
        for option, refused in _REFUSED.items():
            if option in properties and _truth(properties[option]) is refused:
                raise PluginError(
                    f"the stand-in for pulumi-kubernetes does not support {option}={properties[option]!r}"
                )
        return cls(
            kubeconfig=_text(properties, "kubeconfig") or "",
            context=_text(properties, "context"),
            cluster=_text(properties, "cluster"),
            namespace=_text(properties, "namespace"),
            secret_mutable=_option(properties, "enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
            config_map_mutable=_option(properties, "enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
            patch_force=_option(properties, "enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
            delete_unreachable=_option(properties, "deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
        )


def _text(properties: Properties, key: str) -> str | None:
    value = properties.get(key)
    return value if isinstance(value, str) and value else None


def _truth(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value not in ("", "false"))


def _option(properties: Properties, key: str, variable: str) -> bool:
    return _truth(properties[key]) if key in properties else os.environ.get(variable) == "true"


def load_kubeconfig(path_or_text: str) -> dict[str, Any]:
    """A kubeconfig from its path or its text; empty for an empty string. Raises `KubeconfigError`.

    A path to a missing file is parsed as text, and fails as it does in the real plugin.
    """
    if not path_or_text:
        return {}
    text = path_or_text
    if "\n" not in text:
        path = Path(text).expanduser()
        if path.exists():
            text = path.read_text()
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise KubeconfigError(f"failed to parse kubeconfig: {error}") from error
    if not isinstance(loaded, dict):
        raise KubeconfigError(
            "failed to parse kubeconfig: couldn't get version/kind; json parse error: it is one string"
        )
    return loaded


def active_context(kubeconfig: Mapping[str, Any], context: str | None) -> dict[str, Any] | None:
    """The named context, else the current one; None if the kubeconfig has no such context."""
    return _named(kubeconfig.get("contexts"), context or kubeconfig.get("current-context"), "context")


def _named(entries: Any, name: Any, key: str) -> dict[str, Any] | None:
    for entry in entries or []:
        if entry.get("name") == name:
            return dict(entry.get(key) or {})
    return None


def _active_cluster(properties: Properties) -> dict[str, Any] | None:
    kubeconfig = load_kubeconfig(str(properties.get("kubeconfig") or ""))
    context = active_context(kubeconfig, _text(properties, "context"))
    name = _text(properties, "cluster") or (context or {}).get("cluster")
    return _named(kubeconfig.get("clusters"), name, "cluster") if context is not None else None


def diff_configuration(olds: Properties, news: Properties) -> Diff:
    """What changed inputs mean: a changed `clusterIdentifier` replaces every resource, an unchanged one none.

    Without an identifier, a changed server, certificate or proxy of the active cluster replaces everything. Raises
    `PluginError` if either kubeconfig cannot be read, so also if the recorded path does not exist on this machine.
    """
    olds, news = plain(olds), plain(news)
    changed = {key for key in olds.keys() | news.keys() if olds.get(key) != news.get(key)}
    identifiers = olds.get("clusterIdentifier"), news.get("clusterIdentifier")
    replaces: set[str] = set()
    if None not in identifiers and "clusterIdentifier" in changed:
        replaces.add("clusterIdentifier")
    if any(news.get(key) is UNKNOWN for key in _CLUSTER_KEYS):
        replaces |= {key for key in _CLUSTER_KEYS if news.get(key) is UNKNOWN}
    elif changed:
        try:
            old, new = _active_cluster(olds), _active_cluster(news)
        except KubeconfigError as error:
            raise PluginError(str(error)) from error
        if old is not None and new is not None and old != new:
            replaces |= changed & set(_CLUSTER_KEYS)
    if identifiers[1] is not None and "clusterIdentifier" not in changed:
        replaces = set()
    return Diff(changes={key: DiffKind.UPDATE_REPLACE if key in replaces else DiffKind.UPDATE for key in changed})
