"""What a move needs to know about the two databases, and about the URL with which the app connects to its own."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from components import cloudnative_pg
from components.app import DATABASE_URL
from lookups.database_claims import candidates, mounted_claim
from lookups.database_url import url_complaint
from ops.kube.cluster import PROVIDER, REQUEST_TIMEOUT, Cluster, ClusterError, unless_gone
from settings.cloudnative_pg import CLOUDNATIVE_PG, Engine
from settings.database import DatabaseSettings
from settings.names import Names


def read_namespace(cluster: Cluster) -> dict[str, Any]:
    """The stack's namespace, in the API's form, with its annotations only."""
    found = cluster.persistently(
        lambda: cluster.core.read_namespace(cluster.namespace, _request_timeout=REQUEST_TIMEOUT)
    )
    return {"metadata": {"annotations": found.metadata.annotations or {}}}


def cluster_of(cluster: Cluster) -> dict[str, Any] | None:
    """The stack's CloudNativePG Cluster, or None."""
    return cluster.custom_object(cloudnative_pg.API, cloudnative_pg.RESOURCE, cluster.names.database)


def claims_of(cluster: Cluster) -> dict[str, Any]:
    """The claims of the StatefulSet's volumes, by name; after an upgrade also those of earlier versions."""
    names = set(candidates(cluster.names))
    listed = cluster.core.list_namespaced_persistent_volume_claim(cluster.namespace, _request_timeout=REQUEST_TIMEOUT)
    return {one.metadata.name: one for one in listed.items if one.metadata.name in names}


def _current_claim(cluster: Cluster) -> Any:
    """The claim that the StatefulSet runs on, or None."""
    found = unless_gone(
        lambda: cluster.apps.read_namespaced_stateful_set(
            cluster.names.database, cluster.namespace, _request_timeout=REQUEST_TIMEOUT
        )
    )
    name = mounted_claim(cluster.client.sanitize_for_serialization(found))
    return claims_of(cluster).get(name) if name else None


def uid_of(cluster: Cluster, engine: Engine) -> str:
    """UID of the object that holds an engine's database; raises `ClusterError` if there is none."""
    if engine == CLOUDNATIVE_PG:
        found = cluster_of(cluster)
        uid = found["metadata"]["uid"] if found else None
    else:
        claim = _current_claim(cluster)
        uid = claim.metadata.uid if claim else None
    if uid is None:
        raise ClusterError(f"{cluster.namespace} has no database of {engine}")
    return str(uid)


def app_url(cluster: Cluster) -> str:
    """The database URL in the app's Secret; raises `ClusterError` if it has none."""
    secret = cluster.persistently(
        lambda: cluster.core.read_namespaced_secret(
            cluster.names.app_secret, cluster.namespace, _request_timeout=REQUEST_TIMEOUT
        )
    )
    data = secret.data or {}
    if DATABASE_URL not in data:
        raise ClusterError(f"the Secret {cluster.names.app_secret} has no {DATABASE_URL}")
    return base64.b64decode(data[DATABASE_URL]).decode()


def moved_url(url: str, host: str) -> str:
    """The URL with another host, and otherwise unchanged."""
    parts = urlsplit(url)
    user, at, address = parts.netloc.rpartition("@")
    _, colon, port = address.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}{colon}{port}"))


def fix_of_url(url: str, names: Names, target: DatabaseSettings) -> str | None:
    """What to do first if the app's URL, once it leads to the new database, asks for something which that lacks."""
    complaint = url_complaint(url, None, names, target)
    if complaint is None:
        return None
    return (
        f"the app's URL does not work with {target.engine}: {complaint[0]}. Change the field database-url in "
        "1Password, or delete it"
    )


def set_app_url(cluster: Cluster, url: str) -> None:
    """Writes the URL into the app's Secret, which its pods read when they start."""
    cluster.persistently(
        lambda: cluster.core.patch_namespaced_secret(
            cluster.names.app_secret,
            cluster.namespace,
            {"stringData": {DATABASE_URL: url}},
            field_manager=PROVIDER,
            _request_timeout=REQUEST_TIMEOUT,
        )
    )
