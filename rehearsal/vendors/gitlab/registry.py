"""What a GitLab project's container registry holds: repositories with their tags."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Final

from rehearsal.homelab import REGISTRY
from rehearsal.vendors.gitlab.answers import Body, missing, now

_SUFFIX: Final = len(REGISTRY) + 1


class Registry:
    """`/projects/:id/registry/repositories`."""

    def __init__(self, ids: Iterator[int], project: int) -> None:
        self._ids, self._project = ids, project
        self._numbers = itertools.count(1)
        self._repositories: dict[str, Body] = {}
        self._tags: dict[str, dict[str, Body]] = {}

    def push(self, image: str, *, created_at: str | None = None) -> str:
        """Pushes `repository:tag` as a build job does; returns the digest."""
        location, _, tag = image.partition("@")[0].rpartition(":")
        if location not in self._tags:
            path = location[_SUFFIX:]
            self._repositories[location] = {
                "id": next(self._ids),
                "name": "/".join(path.split("/")[2:]),
                "path": path,
                "project_id": self._project,
                "location": location,
                "created_at": now(),
                "cleanup_policy_started_at": None,
                "status": None,
            }
        number = next(self._numbers)
        revision = hashlib.sha256(f"{image} {number}".encode()).hexdigest()
        self._tags.setdefault(location, {})[tag] = {
            "name": tag,
            "path": f"{location[_SUFFIX:]}:{tag}",
            "location": f"{location}:{tag}",
            "revision": revision,
            "short_revision": revision[:9],
            "digest": f"sha256:{revision}",
            "created_at": created_at or now(),
            "total_size": 1_000_000,
        }
        return f"sha256:{revision}"

    def remove(self, image: str) -> None:
        """Removes a tag, as a user or the clean-up policy does."""
        location, _, tag = image.partition("@")[0].rpartition(":")
        del self._tags[location][tag]

    def entries(self, _query: Body) -> list[Body]:
        return list(self._repositories.values())

    def tags(self, id_: str) -> list[Body]:
        shown = ("name", "path", "location")
        return [{key: tag[key] for key in shown} for tag in self._of(id_).values()]

    def tag(self, path: str) -> Body:
        """`path` is the repository's id and the tag's name."""
        id_, _, name = path.partition("/")
        try:
            return self._of(id_)[name]
        except KeyError:
            raise missing("Tag") from None

    def _of(self, id_: str) -> dict[str, Body]:
        for location, repository in self._repositories.items():
            if str(repository["id"]) == id_:
                return self._tags[location]
        raise missing("Container Repository")
