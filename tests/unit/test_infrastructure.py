"""What this program's own GitLab project is given, where the stack file names it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from lookups.gitlab_access import missing_permissions
from settings.repository import RepositorySettings
from tests.unit.program import Program, load_settings, run

PROJECT = "0xwsh/invoicetron-infra"
WANTED = {"repository.infrastructure": {"project": PROJECT, "schedule": "15 5 * * *", "timeZone": "Asia/Manila"}}
DESCRIPTION = "verify and drift, managed by pulumi: invoicetron/prod"


def test_a_stack_that_does_not_name_it_makes_nothing_there(prod: Program) -> None:
    assert not prod.of("PipelineSchedule")
    assert not prod.of("TagProtection")


def test_a_schedule_runs_the_checks_and_tags_of_releases_are_protected() -> None:
    made = run("prod", WANTED)
    schedule = made.of("PipelineSchedule")[0].inputs
    assert schedule["ref"] == "refs/heads/main"
    assert (schedule["cron"], schedule["cronTimezone"]) == ("15 5 * * *", "Asia/Manila")
    assert schedule["active"] is True
    assert schedule["description"] == DESCRIPTION
    (protection,) = made.of("TagProtection")
    assert (protection.inputs["tag"], protection.inputs["createAccessLevel"]) == ("v*", "maintainer")


def test_what_an_earlier_run_or_a_person_has_made_is_taken_over() -> None:
    schedules = [schedule(7, "somebody's"), schedule(9, DESCRIPTION)]
    made = run(
        "prod",
        WANTED,
        gitlab={
            "getPipelineSchedules": {"pipelineSchedules": schedules},
            "getProjectProtectedTags": {"protectedTags": [{"tag": "v*", "createAccessLevels": []}]},
        },
    )
    assert made.of("PipelineSchedule")[0].request.importId == "57:9"
    assert made.of("TagProtection")[0].request.importId == "57:v*"


def schedule(id_: int, description: str) -> dict[str, Any]:
    texts = dict.fromkeys(("createdAt", "cron", "cronTimezone", "nextRunAt", "ref", "updatedAt"), "x")
    return {"id": id_, "description": description, "active": True, "owner": None, **texts}


@pytest.mark.parametrize(
    ("answer", "words"),
    [((404, {}), "repository.infrastructure.project"), ((200, {"access_level": 30}), "the role Maintainer (40) of")],
)
def test_a_token_that_may_not_write_there_is_refused_before_anything(
    answer: tuple[int, dict[str, Any]], words: str
) -> None:
    settings = load_settings("prod")
    assert settings.delivery
    status, access = answer

    def get(url: str, _environment: object) -> tuple[int, dict[str, Any]]:
        if url.endswith("self"):
            return 200, {"scopes": ["api"]}
        if PROJECT.replace("/", "%2F") in url:
            return status, {"permissions": {"project_access": access or None}} if access else {}
        return 200, {"permissions": {"project_access": {"access_level": 40}}}

    repository = {"mirror": "ssh://git@github.com/a/b.git", "infrastructure": {"project": PROJECT}}
    with mock.patch("lookups.gitlab_access._get", get):
        lacking = missing_permissions(
            settings.delivery,
            RepositorySettings.model_validate(repository),
            {},
        )
    assert len(lacking) == 1
    assert words in lacking[0]
    assert PROJECT in lacking[0]


def test_alerts_link_to_their_page_in_that_project_where_no_other_is_named() -> None:
    def links(**monitoring: Any) -> set[str]:
        rules = (
            run("prod", {**WANTED, "monitoring": monitoring}).one("PrometheusRule").inputs["spec"]["groups"][0]["rules"]
        )
        return {rule["annotations"]["runbook_url"].partition("#")[0] for rule in rules if "alert" in rule}

    assert links() == {f"https://gitlab.k8s.rommelporras.com/{PROJECT}/-/blob/main/docs/alerts.md"}
    assert links(runbook="https://docs.example.org/alerts.md") == {"https://docs.example.org/alerts.md"}
