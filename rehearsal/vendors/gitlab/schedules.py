"""What a GitLab project holds for its pipelines: schedules, and the protection of tags."""

from __future__ import annotations

from typing import Final

from rehearsal.vendors.gitlab.answers import Body, Collection, RefusedError, access_level, now, required, user

_SETTABLE: Final = ("description", "ref", "cron", "cron_timezone", "active")


class Schedules(Collection):
    """`/projects/:id/pipeline_schedules`."""

    kind = "Pipeline Schedule"

    def create(self, body: Body, *, by: int = 1) -> Body:
        """`by` is the user's id."""
        required(body, "description", "ref", "cron")
        schedule: Body = {
            "id": next(self._ids),
            "cron_timezone": "UTC",
            "active": True,
            "next_run_at": now(),
            "created_at": now(),
            "owner": user(by),
        }
        self._add(schedule)
        return self.update(str(schedule["id"]), body)

    def get(self, key: str) -> Body:
        return {**super().get(key), "last_pipeline": None, "variables": []}

    def update(self, id_: str, body: Body, *, by: int | None = None) -> Body:
        """Only its owner may change a schedule; `by` None is an administrator."""
        schedule = super().get(id_)
        if by not in {None, schedule["owner"]["id"]}:
            raise RefusedError(403, {"message": "403 Forbidden"})
        schedule |= {key: body[key] for key in _SETTABLE if key in body}
        # GitLab keeps the full reference, whichever form was given.
        if not schedule["ref"].startswith("refs/"):
            schedule["ref"] = f"refs/heads/{schedule['ref']}"
        schedule["updated_at"] = now()
        return self.get(id_)


class ProtectedTags(Collection):
    """`/projects/:id/protected_tags`."""

    key = "name"

    def create(self, body: Body) -> Body:
        required(body, "name")
        if body["name"] in self._entries:
            raise RefusedError(422, {"message": ["Name has already been taken"]})
        level = access_level(next(self._ids), body.get("create_access_level", 40))
        return self._add({"name": body["name"], "create_access_levels": [level]})
