"""Checks whether a manually created volume holds the database where the program's pod will look for it.

The pod mounts the volume's root at /var/lib/postgresql and leaves PGDATA to the image; since version 18 it is
/var/lib/postgresql/<major>/docker (docker-library/postgres#1259). If that folder is empty, the image initialises an
empty database beside the old files, and everything looks well. People keep the data elsewhere to get around lost+found
(docker-library/postgres#952, #696).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from components.database import MOUNT, USER_ID
from components.database_address import DatabaseAddress
from components.database_claims import FIRST_WITH_OWN_FOLDER
from settings.images import c_library
from settings.names import Names

Object = Mapping[str, Any]

_OFFICIAL: Final = "postgres"
_ROOT_USER: Final = 0  # the image's entrypoint switches to the user postgres, who then owns the files


def claims(workload: Object) -> dict[str, str]:
    """Maps claims to volumes, for a pod or a workload that creates pods."""
    spec, name = workload["spec"], workload["metadata"]["name"]
    pod = spec["template"]["spec"] if "template" in spec else spec
    volumes = [(one.get("persistentVolumeClaim") or {}, one["name"]) for one in pod.get("volumes") or []]
    made = [one["metadata"]["name"] for one in spec.get("volumeClaimTemplates") or []]
    return {
        **{claim["claimName"]: volume for claim, volume in volumes if claim},
        **{f"{volume}-{name}-0": volume for volume in made},
    }


def elsewhere(
    pod: Object, volume: str, *, names: Names, image: str, config_maps: Mapping[str, Object]
) -> Iterator[str]:
    """Why the program's pod, of `image`, would not find the data that the pod spec `pod` keeps on its `volume`."""
    for container in pod.get("containers") or []:
        mounts = [one for one in container.get("volumeMounts") or [] if one["name"] == volume]
        for mount in mounts:
            yield from _mount(mount)
        if mounts:
            yield from _image(container.get("image", ""), image)
            yield from _environment(container, DatabaseAddress.of(names), image, config_maps)
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


def _environment(
    container: Object, address: DatabaseAddress, image: str, config_maps: Mapping[str, Object]
) -> Iterator[str]:
    variables: dict[str, Object] = {}
    unseen = False
    for source in container.get("envFrom") or []:
        unseen = unseen or "secretRef" in source
        named = config_maps.get((source.get("configMapRef") or {}).get("name", ""), {})
        variables |= {f"{source.get('prefix') or ''}{key}": {"value": value} for key, value in named.items()}
    variables |= {one["name"]: one for one in container.get("env") or []}
    folder = variables.get("PGDATA")
    usual = str(PurePosixPath(MOUNT) / str(_major(image)) / "docker")
    if folder is None and (major := _major(image)) is not None and major < FIRST_WITH_OWN_FOLDER:
        yield f"PGDATA is not set, and the image keeps the data of PostgreSQL {major} outside the volume or in its root"
    if folder is not None and str(folder.get("value", "")).rstrip("/") != usual:
        yield f"PGDATA is {folder.get('value') or 'set from elsewhere'}, not {usual}"
    if "POSTGRES_INITDB_WALDIR" in variables:
        yield "POSTGRES_INITDB_WALDIR keeps a part of it elsewhere"
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    if re.search(r"(^|\s)-D\S*|data[_-]directory|PGDATA", " ".join(words)):
        yield "the container's command names a data directory"
    user = variables.get("POSTGRES_USER", {} if unseen else {"value": "postgres"}).get("value")
    database = variables.get("POSTGRES_DB", {"value": user}).get("value")
    for what, there, ours in (("role", user, address.user), ("database", database, address.database)):
        if there is not None and there != ours:
            yield f"its {what} is {there}, not {ours}"


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
