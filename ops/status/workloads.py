"""What runs, and since when."""

from __future__ import annotations

from components import database
from ops.terminal import age
from ops.verify import cluster
from ops.verify.cluster import moment
from ops.verify.database import instances_ready
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError


def app_runs(systems: Systems) -> str:
    """The app's image, and since when it runs."""
    image, rollout = cluster.image(systems), cluster.rollout(systems)
    conditions = systems.need("apps/v1", "Deployment", systems.names.app)["status"].get("conditions") or []
    # The controller does not change this time after a rollout, whatever happens to the pods later.
    ended = next((one["lastUpdateTime"] for one in conditions if one["type"] == "Progressing"), None)
    since = f" since {_since(systems, ended)}" if ended else ""
    return f"{image}{since}; {rollout}"


def database_runs(systems: Systems) -> str:
    """The server's image, and since when it runs; for a Cluster, how many of its instances are ready."""
    if systems.settings.operated_database:
        return instances_ready(systems)
    ready = cluster.database_ready(systems)
    pods = [one for one in systems.list("v1", "Pod") if one["metadata"]["name"] == f"{systems.names.database}-0"]
    statuses = [one for pod in pods for one in pod["status"].get("containerStatuses") or []]
    server = next((one for one in statuses if one["name"] == database.CONTAINER), None)
    started = ((server or {}).get("state") or {}).get("running")
    if server is None or started is None:
        fix = cluster.LOOK.format(systems.names.namespace, systems.names.database)
        raise CheckError(f"{ready}, and its container does not run", fix)
    restarts = f", {server['restartCount']} restarts" if server["restartCount"] else ""
    return f"{ready} since {_since(systems, started['startedAt'])}{restarts}"


def _since(systems: Systems, time: str) -> str:
    began = moment(time)
    return f"{began:%Y-%m-%d %H:%M} UTC ({age(systems.now - began)})"
