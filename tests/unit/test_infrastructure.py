"""What this program's own GitLab project gets if the stack file names it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from unittest import mock

import httpx
import pytest
from starlette.types import ASGIApp

from lookups import deploy_tokens
from lookups.gitlab import GitLabError
from lookups.gitlab_access import missing_permissions
from ops.verify import delivery
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from rehearsal.vendors.gitlab import GitLab
from settings.repository import InfrastructureSettings, RepositorySettings
from tests.unit.program import Program, load_settings, run

PROJECT = "0xwsh/invoicetron-infra"
WANTED = {"repository.infrastructure": {"project": PROJECT, "schedule": "15 5 * * *", "timeZone": "Asia/Manila"}}
DESCRIPTION = "verify and drift, managed by pulumi: invoicetron/prod"


def test_a_stack_that_does_not_name_the_project_creates_nothing_in_it(prod: Program) -> None:
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


def test_what_an_earlier_run_or_a_user_has_made_is_adopted() -> None:
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


OWNER = {"id": 1, **dict.fromkeys(("avatarUrl", "name", "state", "username", "webUrl"), "pulumi")}


def schedule(id_: int, description: str, **more: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("createdAt", "cron", "cronTimezone", "nextRunAt", "ref", "updatedAt"), "x")
    return {"id": id_, "description": description, "active": True, "owner": OWNER, **texts, **more}


@pytest.mark.parametrize(
    ("owner", "named"), [({**OWNER, "id": 2, "username": "old-token"}, "old-token"), (None, "a deleted user")]
)
def test_a_schedule_that_has_to_change_and_is_another_users_is_refused(
    owner: dict[str, Any] | None, named: str
) -> None:
    def up(**more: Any) -> Program:
        found = schedule(9, DESCRIPTION, owner=owner, **more)
        return run("prod", WANTED, gitlab={"getPipelineSchedules": {"pipelineSchedules": [found]}})

    with pytest.raises(GitLabError, match=rf"belongs to {named}.*, not to the user of GITLAB_TOKEN(?s:.*)Delete it"):
        up()
    same = {"cron": "15 5 * * *", "cronTimezone": "Asia/Manila", "ref": "refs/heads/main"}
    assert up(**same).of("PipelineSchedule")[0].request.importId == "57:9"
    with mock.patch("pulumi.runtime.is_dry_run", return_value=True):  # a preview changes nothing
        assert up().of("PipelineSchedule")[0].request.importId == "57:9"
    with pytest.raises(GitLabError):
        up(**same, active=False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [((404, {}), "repository.infrastructure.project"), ((200, {"access_level": 30}), "the role Maintainer (40) of")],
)
def test_a_token_that_may_not_write_to_the_project_is_refused(answer: tuple[int, dict[str, Any]], words: str) -> None:
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


@pytest.mark.parametrize(
    ("tag", "level", "refused"),
    [
        ("v*", "developer", True),
        ("*", "developer", True),
        ("v1.*", "developer", True),
        ("v*", "maintainer", False),
        ("v*", "no one", False),
        ("docs-*", "developer", False),
    ],
)
def test_a_tag_protection_that_lets_developers_release_is_refused(tag: str, level: str, *, refused: bool) -> None:
    levels = [{"id": 1, "accessLevel": level, "accessLevelDescription": "x"}]
    found = {"getProjectProtectedTags": {"protectedTags": [{"tag": tag, "createAccessLevels": levels}]}}
    if not refused:
        assert run("prod", WANTED, gitlab=found).of("TagProtection")
        return
    with pytest.raises(GitLabError, match=f"Developers may create tags {re.escape(tag)}, and so make a release"):
        run("prod", WANTED, gitlab=found)


def test_a_stricter_protection_of_the_releases_stays_as_it_is() -> None:
    # The provider replaces a protection whose level differs, and the engine refuses that for what is imported.
    levels = [{"id": 1, "accessLevel": "no one", "accessLevelDescription": "No one"}]
    made = run("prod", WANTED, gitlab={"getProjectProtectedTags": {"protectedTags": [protected("v*", levels)]}})
    (protection,) = made.of("TagProtection")
    assert (protection.request.importId, protection.inputs["createAccessLevel"]) == ("57:v*", "no one")


@pytest.mark.parametrize("who", ["userId", "groupId"])
def test_a_tag_protection_that_lets_named_users_or_groups_release_is_refused(who: str) -> None:
    # The level of a user or a group is not its role.
    level = {"id": 1, "accessLevel": "maintainer", "accessLevelDescription": "x", who: 7}
    with pytest.raises(GitLabError, match=r"named users or groups may create tags v\*, v1\.\*, and so make"):
        run(
            "prod",
            WANTED,
            gitlab={"getProjectProtectedTags": {"protectedTags": [protected(tag, [level]) for tag in ("v*", "v1.*")]}},
        )


def protected(tag: str, levels: list[dict[str, Any]]) -> dict[str, Any]:
    return {"tag": tag, "createAccessLevels": levels}


class Live(Systems):
    """Stack prod with a GitLab at `url`."""

    def __init__(self, url: str) -> None:
        own = InfrastructureSettings.model_validate({"project": PROJECT})
        settings = load_settings("prod")
        assert settings.repository
        repository = settings.repository.model_copy(update={"infrastructure": own})
        super().__init__(settings.model_copy(update={"repository": repository}), http=httpx.Client())
        self.__dict__["_gitlab"] = (deploy_tokens.connect(url), None)


def test_verify_sees_whether_a_schedule_checks_the_stacks_and_who_makes_releases(
    served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gitlab = GitLab.seeded()
    url = served(gitlab.app)
    monkeypatch.setenv("GITLAB_BASE_URL", f"{url}/api/v4/")
    monkeypatch.setenv("GITLAB_TOKEN", gitlab.token)
    project, live = gitlab.infrastructure, Live(url)

    def seen() -> str:
        try:
            return delivery.infrastructure(live)
        except CheckError as error:
            return f"{error.seen}. {error.fix}"

    assert f"it has no schedule '{DESCRIPTION}'" in seen()
    assert "tags v*, which other projects use to include its pipeline, are not protected" in seen()
    made = project.schedules.create(
        {"description": DESCRIPTION, "ref": "main", "cron": "30 6 * * *", "cron_timezone": "Etc/UTC"}
    )
    project.protected_tags.create({"name": "v*", "create_access_level": 40})
    project.protected_tags.create({"name": "docs-*", "create_access_level": 30})
    assert seen() == (f"{PROJECT} checks the stacks at 30 6 * * * (Etc/UTC), and only Maintainers create tags v*")
    project.schedules.update(str(made["id"]), {"active": False})
    assert "its schedule is inactive, so the stacks are not checked" in seen()
    project.schedules.update(str(made["id"]), {"active": True, "cron": "0 0 1 1 *"})
    assert "its schedule is 0 0 1 1 * (Etc/UTC), not 30 6 * * *" in seen()
    project.protected_tags.create({"name": "v2*", "create_access_level": 30})
    levels = project.protected_tags.get("v2*")["create_access_levels"]
    levels.append({"access_level": 40})
    assert "Developers may create tags v2*. " in seen()
    assert "allow only Maintainers" in seen()
    levels[0].update(access_level=40, user_id=7)
    assert "named users or groups may create tags v2*. " in seen()
