"""What a move has to know of the two databases, and of the URL by which the app finds its one."""

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
    """The stack's, as the API has it."""
    found = cluster.persistently(
        lambda: cluster.core.read_namespace(cluster.namespace, _request_timeout=REQUEST_TIMEOUT)
    )
    return {"metadata": {"annotations": found.metadata.annotations or {}}}


def host_of(cron_job: Any) -> str | None:
    """Host of the database that the Jobs of a CronJob speak to."""
    (container,) = cron_job.spec.job_template.spec.template.spec.containers
    return next((one.value for one in container.env if one.name == "PGHOST"), None)


def cluster_of(cluster: Cluster) -> dict[str, Any] | None:
    """CloudNativePG's Cluster of the stack; None where there is none."""
    return cluster.custom_object(cloudnative_pg.API, cloudnative_pg.RESOURCE, cluster.names.database)


def claims_of(cluster: Cluster) -> dict[str, Any]:
    """The claims of the StatefulSet's volumes by name: after an upgrade there may be those of earlier versions."""
    names = set(candidates(cluster.names))
    listed = cluster.core.list_namespaced_persistent_volume_claim(cluster.namespace, _request_timeout=REQUEST_TIMEOUT)
    return {one.metadata.name: one for one in listed.items if one.metadata.name in names}


def _current_claim(cluster: Cluster) -> Any:
    """The claim that the StatefulSet runs on; None where there is none."""
    found = unless_gone(
        lambda: cluster.apps.read_namespaced_stateful_set(
            cluster.names.database, cluster.namespace, _request_timeout=REQUEST_TIMEOUT
        )
    )
    name = mounted_claim(cluster.client.sanitize_for_serialization(found))
    return claims_of(cluster).get(name) if name else None


def uid_of(cluster: Cluster, engine: Engine) -> str:
    """Of what holds the database of an engine; raises `ClusterError` where that is not there."""
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
    """The URL in the app's Secret; raises `ClusterError` where there is none."""
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
    """The URL with another host, and all else that it says."""
    parts = urlsplit(url)
    user, at, address = parts.netloc.rpartition("@")
    _, colon, port = address.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}{colon}{port}"))


def fix_of_url(url: str, names: Names, target: DatabaseSettings) -> str | None:
    """What to do first where the app's URL, once it leads to the new database, asks for what that does not have."""
    complaint = url_complaint(url, None, names, target)
    if complaint is None:
        return None
    return (
        f"the app's URL does not work with {target.engine}: {complaint[0]}. Change the field database-url in "
        "1Password, or delete it"
    )


def set_app_url(cluster: Cluster, url: str) -> None:
    """Writes the URL into the app's Secret, which its pods read as they start."""
    cluster.persistently(
        lambda: cluster.core.patch_namespaced_secret(
            cluster.names.app_secret,
            cluster.namespace,
            {"stringData": {DATABASE_URL: url}},
            field_manager=PROVIDER,
            _request_timeout=REQUEST_TIMEOUT,
        )
    )
