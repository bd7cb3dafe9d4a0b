"""This program's own GitLab project: its schedule and its protected tags, through the life of a stack."""

from __future__ import annotations

import pytest

from rehearsal.engine import EngineError
from rehearsal.homelab import INFRASTRUCTURE_PROJECT
from rehearsal.rehearsal import Rehearsal


def test_the_schedule_and_the_tag_protection_are_created_adopted_repaired_and_deleted(rehearsal: Rehearsal) -> None:
    program, project = rehearsal.program, rehearsal.gitlab.infrastructure
    project.protected_tags.create({"name": "v*", "create_access_level": 40})  # as somebody has made it by hand
    program.init("prod")
    rehearsal.configure("prod", "repository.infrastructure.project", INFRASTRUCTURE_PROJECT)
    program.up("prod", "--skip-preview")
    (schedule,) = project.schedules.entries({})
    assert schedule["ref"] == "refs/heads/main"
    assert schedule["description"].startswith("verify and drift")

    project.schedules.update(str(schedule["id"]), {"active": False})
    program.up("prod", "--skip-preview")
    assert project.schedules.get(str(schedule["id"]))["active"] is True

    new = program.with_environment({"GITLAB_TOKEN": rehearsal.gitlab.issue_token("api")})
    assert not new.up("prod", "--skip-preview").changes
    rehearsal.configure("prod", "repository.infrastructure.schedule", "15 5 * * *")
    with pytest.raises(EngineError, match="belongs to user-1, not to the user of GITLAB_TOKEN"):
        new.up("prod", "--skip-preview")
    project.schedules.delete(str(schedule["id"]))
    new.up("prod", "--skip-preview")
    (schedule,) = project.schedules.entries({})
    assert schedule["cron"] == "15 5 * * *"

    program.run("config", "rm", "--stack", "prod", "--path", "invoicetron:repository.infrastructure")
    program.up("prod", "--skip-preview")
    assert project.schedules.entries({}) == []
    assert project.protected_tags.entries({}) == []
