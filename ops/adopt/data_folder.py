"""Checks whether a manually created volume holds the database where the program's pod will look for it.

The pod mounts the volume's root at /var/lib/postgresql and leaves PGDATA to the image; since version 18 it is
/var/lib/postgresql/<major>/docker (docker-library/postgres#1259). If that folder is empty, the image initialises an
empty database beside the old files, and everything looks well. People keep the data elsewhere to get around lost+found
(docker-library/postgres#952, #696).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Self

from components.database import MOUNT, USER_ID
from components.database_address import DatabaseAddress
from components.database_claims import FIRST_WITH_OWN_FOLDER
from lookups.database_claims import candidates
from settings.images import c_library
from settings.names import Names

Object = Mapping[str, Any]

_OFFICIAL: Final = "postgres"
_ROOT_USER: Final = 0  # the image's entrypoint switches to the user postgres, who then owns the files


def claims(workload: Object) -> dict[str, str]:
    """Maps claims to volumes, for a pod or a workload that creates pods."""
    spec, name = workload["spec"], workload["metadata"]["name"]
    volumes = [(one.get("persistentVolumeClaim") or {}, one["name"]) for one in _pod(workload).get("volumes") or []]
    made = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates") or []]
    return {
        **{claim["claimName"]: volume for claim, volume in volumes if claim},
        **{f"{volume}-{name}-0": volume for volume in made},
    }


def on_another_volume(workload: Object, *, names: Names) -> Iterator[str]:
    """Why the program's claims do not hold the data of a workload, if that is a PostgreSQL server or named like it."""
    found = claims(workload)
    if found.keys() & set(candidates(names)):
        return
    volumes = {volume: f"the claim {claim}" for claim, volume in found.items()}
    for one in _pod(workload).get("volumes") or []:
        source = next((key for key in one if key != "name"), "emptyDir")
        volumes.setdefault(one["name"], f"a {source} volume")
    data = [name for name, path in _mounts(workload) if path.is_relative_to(MOUNT)]
    if not data and _is_the_programs(workload, names):
        data = [name for name, _ in _mounts(workload) if name in found.values()] or [""]
    for volume in data:
        yield f"the data is on {volumes.get(volume, 'no volume')}, not on the claim {names.database_claim}"


def writes_beside(workload: Object, *, names: Names) -> bool:
    """Whether a workload is a PostgreSQL server on one of the database's claims, and not the program's StatefulSet."""
    data = {name for name, path in _mounts(workload) if path.is_relative_to(MOUNT)}
    held = {volume for claim, volume in claims(workload).items() if claim in candidates(names)}
    return bool(data & held) and not _is_the_programs(workload, names)


def _is_the_programs(workload: Object, names: Names) -> bool:
    return (workload["kind"], workload["metadata"]["name"]) == ("StatefulSet", names.database)


def _pod(workload: Object) -> Object:
    spec = workload["spec"]
    pod: Object = spec["template"]["spec"] if "template" in spec else spec
    return pod


def _mounts(workload: Object) -> list[tuple[str, PurePosixPath]]:
    """Volumes, and where the containers mount them."""
    containers = _pod(workload).get("containers") or []
    mounts = [mount for container in containers for mount in container.get("volumeMounts") or []]
    return [(one["name"], PurePosixPath(one["mountPath"])) for one in mounts]


def elsewhere(
    pod: Object,
    volume: str,
    *,
    names: Names,
    image: str,
    config_maps: Mapping[str, Object],
    secrets: Mapping[str, Object],
) -> Iterator[str]:
    """Why the program's pod, of `image`, would not find the data that the pod spec `pod` keeps on its `volume`.

    `config_maps` and `secrets` map the names of those in the namespace to their data, in plain text.
    """
    mounted = [
        (one, [mount for mount in one.get("volumeMounts") or [] if mount["name"] == volume])
        for one in pod.get("containers") or []
    ]
    holders = [(container, mounts) for container, mounts in mounted if mounts]
    servers = [each for each in holders if _name(each[0].get("image", "")) == _name(image)]  # the others are sidecars
    for container, mounts in servers or holders:
        for mount in mounts:
            yield from _mount(mount)
        yield from _image(container.get("image", ""), image)
        variables = _Variables.of(container, config_maps, secrets)
        yield from _environment(container, DatabaseAddress.of(names), image, variables)
        yield from _user(pod, container)


def _mount(mount: Object) -> Iterator[str]:
    if mount["mountPath"].rstrip("/") != MOUNT:
        yield f"the volume is mounted at {mount['mountPath']}"
    if sub_path := mount.get("subPath") or mount.get("subPathExpr"):
        yield f"of the volume, subPath {sub_path} is mounted"


def _image(live: str, wanted: str) -> Iterator[str]:
    if _name(live) != _name(wanted):
        yield f"the image is {live}, not {wanted}"
        return
    (old, new) = _major(live), _major(wanted)
    if old is None:
        yield f"the image {live} names no version"
    elif new is not None and old != new:
        yield f"the data is of PostgreSQL {old}, and {wanted} is {new}"
    if _name(live) == _OFFICIAL and c_library(live) != c_library(wanted):
        yield (
            f"{live} sorts text by {c_library(live)} and {wanted} by {c_library(wanted)}, and indexes keep that order"
        )


@dataclass(frozen=True, kw_only=True)
class _Variables:
    """The environment of a container, as far as it can be known."""

    values: Mapping[str, str | None]
    """None: it is set, but the value is unknown."""
    of_secrets: Collection[str]
    """Names of those whose values are from a Secret, and not to be shown."""
    complete: bool
    """Whether there are no others."""

    @classmethod
    def of(cls, container: Object, config_maps: Mapping[str, Object], secrets: Mapping[str, Object]) -> Self:
        """Reads what ConfigMaps and Secrets of the namespace contribute."""
        values: dict[str, str | None] = {}
        of_secrets: set[str] = set()
        complete = True
        kept = {"configMap": config_maps, "secret": secrets}
        for source in container.get("envFrom") or []:
            for kind, objects in kept.items():
                if (reference := source.get(f"{kind}Ref")) is not None:
                    data = objects.get(reference["name"])
                    complete = complete and data is not None
                    named = {f"{source.get('prefix') or ''}{key}": value for key, value in (data or {}).items()}
                    values |= named
                    of_secrets |= named.keys() if kind == "secret" else set()
        for variable in container.get("env") or []:
            name, value = variable["name"], variable.get("value", "")
            of_secrets.discard(name)
            for kind, objects in kept.items():
                if (reference := (variable.get("valueFrom") or {}).get(f"{kind}KeyRef")) is not None:
                    value = objects.get(reference["name"], {}).get(reference["key"])
                    of_secrets |= {name} if kind == "secret" else set()
            values[name] = None if "valueFrom" in variable and not value else value
        return cls(values=values, of_secrets=of_secrets, complete=complete)


def _environment(container: Object, address: DatabaseAddress, image: str, variables: _Variables) -> Iterator[str]:
    values = variables.values
    usual = str(PurePosixPath(MOUNT) / str(_major(image)) / "docker")
    if "PGDATA" not in values and (major := _major(image)) is not None and major < FIRST_WITH_OWN_FOLDER:
        yield f"PGDATA is not set, and the image keeps the data of PostgreSQL {major} outside the volume or in its root"
    if "PGDATA" in values and (folder := values["PGDATA"] or "").rstrip("/") != usual:
        shown = "set from elsewhere" if not folder or "PGDATA" in variables.of_secrets else folder
        yield f"PGDATA is {shown}, not {usual}"
    if "POSTGRES_INITDB_WALDIR" in values:
        yield "POSTGRES_INITDB_WALDIR keeps a part of it elsewhere"
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    if re.search(r"(^|\s)-D\S*|data[_-]directory|PGDATA", " ".join(words)):
        yield "the container's command names a data directory"
    user = values.get("POSTGRES_USER", "postgres" if variables.complete else None)
    database = values.get("POSTGRES_DB", user)
    for what, variable, there, ours in (
        ("role", "POSTGRES_USER", user, address.user),
        ("database", "POSTGRES_DB", database, address.database),
    ):
        if there is not None and there != ours:
            read = variable if variable in values else "POSTGRES_USER"
            yield f"its {what} is {'another' if read in variables.of_secrets else there}, not {ours}"


def _user(pod: Object, container: Object) -> Iterator[str]:
    contexts = [container.get("securityContext") or {}, pod.get("securityContext") or {}]
    user = next((one["runAsUser"] for one in contexts if "runAsUser" in one), _ROOT_USER)
    if user not in {_ROOT_USER, USER_ID}:
        yield f"its files are those of user {user}, not {USER_ID}"


def _name(image: str) -> str:
    """The last part of an image's repository."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def _major(image: str) -> int | None:
    found = re.match(r"(\d+)", image.partition("@")[0].rpartition("/")[2].partition(":")[2])
    return int(found[1]) if found else None
