"""The major version of PostgreSQL and the claim that the database is on, according to the cluster.

`python -m ops upgrade` moves the database to another version and claim but does not change the stack file, so the
cluster knows first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from components.cloudnative_pg import API, RESOURCE
from components.database import CONTAINER
from components.database_claims import MAJOR, UPGRADED_FROM, DatabaseClaims
from lookups.cluster import Cluster, Object
from lookups.moving import Record
from settings import Settings
from settings.commands import ops_command, pulumi_command
from settings.database import DatabaseSettings
from settings.images import MAJORS, postgres_major
from settings.names import PROGRAM, Names

STOPPED_BY: Final = f"ops.{PROGRAM}/stopped-by"
"""Annotation on the app's Deployment: the run of `ops` that stopped the app and may start it again."""
UPGRADE_RUN: Final = "upgrade-"
"""Prefix in that annotation for runs of `ops upgrade`."""
_PAGE: Final = "docs/runbook/database.md, Another major version of PostgreSQL"


@dataclass(frozen=True, kw_only=True)
class FoundClaims:
    """What the cluster knows about the database."""

    claims: DatabaseClaims
    """Claims of a StatefulSet's database."""
    major: int | None
    """Version of the data; None if there is no data, or nothing that tells its version."""
    requested: int | None = None
    """Version requested from CloudNativePG's operator; None with the other engine."""


def candidates(names: Names) -> list[str]:
    """Every name that the database's claims may have."""
    return [names.database_claim, *(names.claim_of_major(major) for major in MAJORS)]


def data_major(operated: Object | None) -> int | None:
    """Version of the data in a CloudNativePG Cluster, as its operator reports it; None until then."""
    info = ((operated or {}).get("status") or {}).get("pgDataImageInfo") or {}
    major: int | None = info.get("majorVersion")
    return major


def requested_major(operated: Object | None) -> int | None:
    """Version that a CloudNativePG Cluster is to run; None if its image does not name it."""
    image = ((operated or {}).get("spec") or {}).get("imageName") or ""
    try:
        return postgres_major(image)
    except ValueError:
        return None


def find_claims(settings: Settings, cluster: Cluster, record: Record | None) -> FoundClaims:
    """The database's claims and version; without existing claims, those of a new stack.

    `record` is what the last `up` recorded.
    """
    names, upgrade = settings.names, settings.database.upgrade if settings.database else None
    found = {name: cluster.get("v1", "persistentvolumeclaims", name, names.namespace) for name in candidates(names)}
    there = {name: claim for name, claim in found.items() if claim is not None}
    stateful_set = cluster.get("apps/v1", "statefulsets", names.database, names.namespace)
    # A StatefulSet made by hand may mount others. The next `up` after its removal would not know them, and delete them.
    mounted = mounted_claim(stateful_set)
    current = (mounted if mounted in found else None) or _recorded(there, record) or names.database_claim
    major = _major(there.get(current), stateful_set, record)
    following = None
    if upgrade is not None and (wanted := postgres_major(upgrade.image)) != major:
        following = names.claim_of_major(wanted)
    kept = {name: _annotation(there[name], MAJOR) for name in _ancestors(there, current)}
    if settings.operated_database is not None:
        operated = cluster.get(API, RESOURCE, names.database, names.namespace)
        claims = DatabaseClaims(current=current, kept=kept)
        return FoundClaims(claims=claims, major=data_major(operated), requested=requested_major(operated))
    return FoundClaims(claims=DatabaseClaims(current=current, next=following, kept=kept), major=major)


def with_live_version(settings: Settings, found: FoundClaims) -> Settings:
    """The settings with the version to which the database has been upgraded, if it has been."""
    database = settings.database
    upgrade = database.upgrade if database else None
    if database is None or upgrade is None or found.major != postgres_major(upgrade.image):
        return settings
    updated: dict[str, object] = {"image": upgrade.image, "upgrade": None}
    if upgrade.operand_image is not None:
        updated["operand_image"] = upgrade.operand_image
    if database.wal is not None:
        updated["wal"] = database.wal.model_copy(update={"archive": upgrade.archive})
    return settings.model_copy(update={"database": database.model_copy(update=updated)})


def find_problems(
    settings: Settings, database: DatabaseSettings, cluster: Cluster, found: FoundClaims
) -> Iterator[str]:
    """Problems: another major version than the data's, or an unfinished upgrade."""
    if found.major is not None and (found.requested or 0) > found.major:
        again = ops_command("upgrade", settings.stack, "--to", str(found.requested))
        yield (
            f"CloudNativePG's operator has been asked to upgrade the database from PostgreSQL {found.major} to "
            f"{found.requested}, and `up` would interrupt that. Wait until `ops upgrade` ends; if it no longer runs, "
            f"run it again: {again}"
        )
        return
    image = database.operand_image if database.is_cluster else database.image
    wanted = postgres_major(image)
    if found.major is not None and found.major != wanted:
        yield _other_version(settings, database, image, found.major, found.claims)
    deployment = cluster.get("apps/v1", "deployments", settings.names.app, settings.namespace)
    run = _annotation(deployment, STOPPED_BY) if deployment else None
    unfinished = database.is_cluster or found.claims.next is not None
    if run is not None and run.startswith(UPGRADE_RUN) and unfinished:
        to = str(postgres_major(database.upgrade.image)) if database.upgrade else str(wanted)
        yield (
            "The app is stopped for an upgrade of the database. Wait until the upgrade ends; if it no longer runs, "
            f"run it again, and it continues: {ops_command('upgrade', settings.stack, '--to', to)}"
        )


def _other_version(
    settings: Settings, database: DatabaseSettings, image: str, major: int, claims: DatabaseClaims
) -> str:
    """The problem that `image`, which is to run, has another version than `major`, the version of the data."""
    key, keys, name, holder = "image", "database.image", "the new image in database.upgrade.image", claims.current
    if database.is_cluster:
        key, keys = "operandImage", "database.image and database.operandImage"
        name, holder = "the new ones in database.upgrade", settings.names.database
    wanted = postgres_major(image)
    if wanted > major:
        way = (
            f"To upgrade, set {keys} back, name {name}, run `{pulumi_command('up', settings.stack)}` and then "
            f"`{ops_command('upgrade', settings.stack, '--to', str(wanted))}` ({_PAGE})"
        )
    else:
        path = f"{settings.project}:database.{key}"
        way = (
            f"Set it to an image of {major}: {pulumi_command('config set', settings.stack, '--path', path, '<image>')}"
        )
    kind = "Cluster" if database.is_cluster else "claim"
    return (
        f"database.{key} is {image}, and the {kind} {holder} has data of PostgreSQL {major}, which another major "
        f"version cannot read. {way}"
    )


def mounted_claim(stateful_set: Object | None) -> str | None:
    """Name of the claim that the server's pod mounts; None if there is none."""
    pod = stateful_set["spec"]["template"]["spec"] if stateful_set else {}
    claims = [one.get("persistentVolumeClaim") for one in pod.get("volumes") or []]
    return next((claim["claimName"] for claim in claims if claim), None)


def _recorded(there: Mapping[str, Object], record: Record | None) -> str | None:
    """For a database that is not running: the claim that the last `up` recorded, or the one it was moved to since."""
    if record is None:
        return None
    name = next((name for name, claim in there.items() if claim["metadata"]["uid"] == record.uid), None)
    while name is not None:
        uid = there[name]["metadata"]["uid"]
        later = next((one for one, claim in there.items() if _annotation(claim, UPGRADED_FROM) == uid), None)
        if later is None:
            return name
        name = later
    return record.name


def _ancestors(there: Mapping[str, Object], current: str) -> Iterator[str]:
    seen, name = {current}, current
    while name in there and (uid := _annotation(there[name], UPGRADED_FROM)) is not None:
        earlier = next((one for one, claim in there.items() if claim["metadata"]["uid"] == uid), None)
        if earlier is None or earlier in seen:
            return
        seen.add(earlier)
        yield earlier
        name = earlier


def _major(claim: Object | None, stateful_set: Object | None, record: Record | None) -> int | None:
    if claim is None:
        return None
    if (said := _annotation(claim, MAJOR)) is not None:
        return int(said)
    # The claim is from a release before this annotation.
    containers = stateful_set["spec"]["template"]["spec"]["containers"] if stateful_set else []
    image = next((one["image"] for one in containers if one["name"] == CONTAINER), record.image if record else None)
    try:
        return postgres_major(image) if image else None
    except ValueError:
        return None


def _annotation(live: Object, key: str) -> str | None:
    found: str | None = (live["metadata"].get("annotations") or {}).get(key)
    return found
