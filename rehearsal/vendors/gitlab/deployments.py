"""The deployments into a GitLab project's environments, by its jobs and by API calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from rehearsal.vendors.gitlab.answers import Body, RefusedError, now, required, user
from rehearsal.vendors.gitlab.delivery import Environments

_MADE_AS: Final = {"running", "success", "failed", "canceled"}
_STATUSES: Final = _MADE_AS | {"created", "skipped", "blocked"}
_ORDERS: Final = {"id", "iid", "created_at", "updated_at", "finished_at", "ref"}


class Deployments:
    """`/projects/:id/deployments`. The environment's page shows the last one that succeeded."""

    def __init__(self, ids: Iterator[int], environments: Environments) -> None:
        self._ids, self._environments = ids, environments
        self._numbers = itertools.count(1)
        self._entries: list[Body] = []

    def shown(self, environment: str) -> str | None:
        """The commit that the environment's page shows as deployed."""
        made = [one for one in self._entries if one["environment"]["name"] == environment]
        return next((str(one["sha"]) for one in reversed(made) if one["status"] == "success"), None)

    def entries(self, query: Body) -> list[Body]:
        status, name = query.get("status"), query.get("environment")
        order, sort = query.get("order_by", "id"), query.get("sort", "asc")
        for key, value, known in (("status", status, _STATUSES), ("order_by", order, _ORDERS)):
            if value is not None and value not in known:
                raise RefusedError(400, {"error": f"{key} does not have a valid value"})
        found = [
            one
            for one in self._entries
            if name in (None, one["environment"]["name"]) and status in (None, one["status"])
        ]
        return sorted(found, key=lambda one: str(one[order]).zfill(20), reverse=sort == "desc")

    def create(self, body: Body) -> Body:
        """Adds a deployment through the API, which no job made."""
        required(body, "environment", "sha", "ref", "status")
        if "tag" not in body:
            raise RefusedError(400, {"error": "tag is missing"})
        if body["status"] not in _MADE_AS:
            raise RefusedError(400, {"error": "status does not have a valid value"})
        return self.add(body["environment"], body["sha"], body["ref"], status=body["status"])

    def add(self, environment: str, sha: str, ref: str, *, status: str = "success") -> Body:
        """Adds a deployment into an environment, which it starts, and creates if there is none of that name."""
        found = self._environments.entries({"name": environment})
        (at,) = found or [self._environments.create({"name": environment})]
        self._environments.deployed(environment)
        made: Body = {
            "id": next(self._ids),
            "iid": next(self._numbers),
            "ref": ref,
            "sha": sha,
            "created_at": now(),
            "updated_at": now(),
            "status": status,
            "user": user(1),
            "environment": at,
            "deployable": None,
        }
        self._entries.append(made)
        return made
