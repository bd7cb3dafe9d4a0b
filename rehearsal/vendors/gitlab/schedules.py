"""What a GitLab project holds for its pipelines: schedules, and the protection of tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rehearsal.vendors.gitlab.answers import Body, RefusedError, missing, now, required, user

_SETTABLE: Final = ("description", "ref", "cron", "cron_timezone", "active")


class Schedules:
    """`/projects/:id/pipeline_schedules`."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._by_id: dict[int, Body] = {}

    def entries(self, _query: Body) -> list[Body]:
        return list(self._by_id.values())

    def create(self, body: Body) -> Body:
        required(body, "description", "ref", "cron")
        schedule: Body = {
            "id": next(self._ids),
            "cron_timezone": "UTC",
            "active": True,
            "next_run_at": now(),
            "created_at": now(),
            "owner": _owner(),
        }
        self._by_id[schedule["id"]] = schedule
        return self.update(str(schedule["id"]), body)

    def get(self, id_: str) -> Body:
        try:
            schedule = self._by_id[int(id_)]
        except (KeyError, ValueError):
            raise missing("Pipeline Schedule") from None
        return {**schedule, "last_pipeline": None, "variables": []}

    def update(self, id_: str, body: Body) -> Body:
        self.get(id_)
        schedule = self._by_id[int(id_)]
        schedule |= {key: body[key] for key in _SETTABLE if key in body}
        # GitLab keeps the whole reference, whichever was given.
        if not schedule["ref"].startswith("refs/"):
            schedule["ref"] = f"refs/heads/{schedule['ref']}"
        schedule["updated_at"] = now()
        return self.get(id_)

    def delete(self, id_: str) -> None:
        del self._by_id[self.get(id_)["id"]]


class ProtectedTags:
    """`/projects/:id/protected_tags`."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._by_name: dict[str, Body] = {}

    def entries(self, _query: Body) -> list[Body]:
        return list(self._by_name.values())

    def create(self, body: Body) -> Body:
        required(body, "name")
        if body["name"] in self._by_name:
            raise RefusedError(409, {"message": f"Protected tag '{body['name']}' already exists"})
        level = body.get("create_access_level", 40)
        words = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers"}
        if level not in words:
            raise RefusedError(400, {"error": "create_access_level does not have a valid value"})
        made = {"id": next(self._ids), "access_level": level, "access_level_description": words[level]}
        self._by_name[body["name"]] = {"name": body["name"], "create_access_levels": [made]}
        return self._by_name[body["name"]]

    def get(self, name: str) -> Body:
        try:
            return self._by_name[name]
        except KeyError:
            raise missing() from None

    def delete(self, name: str) -> None:
        del self._by_name[self.get(name)["name"]]


def _owner() -> Body:
    return user(1)
