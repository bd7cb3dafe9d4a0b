"""The emulator of GitLab and all its clients keep to the pages of GitLab's API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import gitlab as python_gitlab
import pytest

from ci.merge_request import put_comment
from lookups.ci_variable import CiVariable
from lookups.deploy_tokens import DeployTokens, active, connect
from lookups.gitlab_access import check_answers, missing_permissions
from ops import mirrors
from ops.adopt.existing import Live
from rehearsal.homelab import APP_PROJECT, REGISTRY
from rehearsal.plugins.base import Call
from rehearsal.plugins.gitlab.plugin import GitLabPlugin
from rehearsal.vendors.gitlab import REPORTER, GitLab
from rehearsal.vendors.server import serve
from settings.delivery import DeliverySettings
from tests.contract.gitlab.held import HeldGitLab
from tests.contract.gitlab.requests import OPERATIONS, PAGES
from tests.stacks import DEV

MIRROR: Final = "ssh://git@github.com/0xWSH/invoicetron.git"
KEY: Final = "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
IMAGE: Final = f"{REGISTRY}/{APP_PROJECT}/prod"
MANY: Final = 130
"""More than one page of the largest size."""


def project_id(emulator: GitLab) -> str:
    return str(emulator.project.id)


def resources(emulator: GitLab) -> dict[str, dict[str, Any]]:
    """Each resource of the program, with every input that it is ever given."""
    project = project_id(emulator)
    levels = [{"accessLevel": "maintainer"}]
    return {
        "gitlab:index/projectEnvironment:ProjectEnvironment": {
            "project": project,
            "name": "production",
            "description": "x",
            "externalUrl": "https://a.example.com",
            "tier": "production",
            "stopBeforeDestroy": True,
        },
        "gitlab:index/projectVariable:ProjectVariable": {
            "project": project,
            "key": "APP_URL",
            "value": "https://a.example.com",
            "description": "x",
            "environmentScope": "production",
            "masked": False,
            "protected": False,
            "raw": True,
        },
        "gitlab:index/projectPushMirror:ProjectPushMirror": {
            "project": project,
            "url": MIRROR,
            "authMethod": "ssh_public_key",
            "enabled": True,
            "hostKeys": [KEY],
            "keepDivergentRefs": False,
            "onlyProtectedBranches": True,
        },
        "gitlab:index/branch:Branch": {"project": project, "name": "develop", "ref": "main"},
        "gitlab:index/branchProtection:BranchProtection": {
            "project": project,
            "branch": "main",
            "allowedToPushes": levels,
            "allowedToMerges": levels,
            "allowForcePush": False,
        },
        "gitlab:index/projectProtectedEnvironment:ProjectProtectedEnvironment": {
            "project": project,
            "environment": "production",
            "deployAccessLevelsAttributes": levels,
        },
        "gitlab:index/pipelineSchedule:PipelineSchedule": {
            "project": project,
            "description": "x",
            "ref": "refs/heads/main",
            "cron": "30 6 * * *",
            "cronTimezone": "Etc/UTC",
            "active": True,
        },
        "gitlab:index/tagProtection:TagProtection": {
            "project": project,
            "tag": "v*",
            "createAccessLevel": "maintainer",
        },
        "gitlab:index/projectDeployToken:ProjectDeployToken": {
            "project": project,
            "name": "invoicetron-pull-dev",
            "scopes": ["read_registry"],
            "expiresAt": "2099-12-31T23:59:59Z",
        },
    }


UNCHANGEABLE: Final = {"TagProtection", "ProjectDeployToken"}


def live(plugin: GitLabPlugin, emulator: GitLab) -> None:
    """The stand-in plugin creates, reads, changes and deletes every resource."""
    for type_, inputs in resources(emulator).items():
        urn = f"urn:pulumi:dev::invoicetron::{type_}::one"
        id_, outputs = plugin.create(Call(urn=urn, inputs=inputs))
        assert plugin.read(Call(urn=urn, id=id_, old_inputs=inputs, olds=outputs))
        if type_.rpartition(":")[2] not in UNCHANGEABLE:
            plugin.update(Call(urn=urn, id=id_, inputs=inputs, olds=outputs))
        plugin.delete(Call(urn=urn, id=id_, olds=outputs))


def test_what_the_stand_in_for_the_plugin_asks_and_gets(plugin: GitLabPlugin, emulator: GitLab) -> None:
    live(plugin, emulator)


def test_what_the_stand_in_asks_of_a_community_edition(held: HeldGitLab, monkeypatch: pytest.MonkeyPatch) -> None:
    community = GitLab("a/b", enterprise=False)
    mine = HeldGitLab(community.app)
    with serve(mine) as base:
        monkeypatch.setenv("GITLAB_BASE_URL", f"{base}/api/v4/")
        monkeypatch.setenv("GITLAB_TOKEN", community.token)
        plugin = GitLabPlugin()
        plugin.configure({})
        urn = "urn:pulumi:dev::i::gitlab:index/branchProtection:BranchProtection::one"
        inputs = {"project": project_id(community), "branch": "x", "pushAccessLevel": "maintainer"}
        plugin.create(Call(urn=urn, inputs={**inputs, "mergeAccessLevel": "maintainer"}))
    assert mine.problems == []
    assert held.problems == []


FUNCTIONS: Final = {
    "getProjectEnvironments": ("project", "environments"),
    "getProjectVariables": ("project", "variables"),
    "getProjectBranches": ("project", "branches"),
    "getProjectProtectedBranches": ("projectId", "protectedBranches"),
    "getPipelineSchedules": ("project", "pipelineSchedules"),
    "getProjectProtectedTags": ("project", "protectedTags"),
}


def fill(emulator: GitLab, count: int) -> None:
    """Adds `count` of everything that can be listed."""
    project = emulator.project
    for number in range(count):
        project.environments.create({"name": f"review/{number}"})
        project.variables.create({"key": f"KEY_{number}", "value": "x"})
        project.deploy_tokens.create({"name": "invoicetron-pull-dev", "scopes": ["read_registry"]})
        project.branches.create({"branch": f"branch-{number}", "ref": "main"})
        project.branches.protect({"name": f"branch-{number}"})
        project.schedules.create({"description": f"{number}", "ref": "main", "cron": "30 6 * * *"})
        project.protected_tags.create({"name": f"v{number}*"})
        project.deployments.add("production", f"{number:040x}", "main")
        project.registry.push(f"{IMAGE}:{number}")
        project.registry.push(f"{IMAGE}-{number}:1")
        project.protected_environments.create(
            {"name": f"review/{number}", "deploy_access_levels": [{"access_level": 40}]}
        )
    for number in range(count):
        project.mirrors.create({"url": f"ssh://git@example.com/{number}.git", "auth_method": "ssh_public_key"})
    project.mirrors.create({"url": MIRROR, "auth_method": "ssh_public_key", "enabled": True, "host_keys": [KEY]})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_stand_in_s_functions_give_every_page(plugin: GitLabPlugin, emulator: GitLab, function: str) -> None:
    fill(emulator, MANY)
    argument, listed = FUNCTIONS[function]
    found = plugin.invoke(f"gitlab:index/{function}:{function}", {argument: project_id(emulator)})
    assert len(found[listed]) >= MANY


def test_what_the_stand_in_s_other_functions_ask(plugin: GitLabPlugin, emulator: GitLab) -> None:
    mirror = emulator.project.mirrors.create({"url": MIRROR, "auth_method": "ssh_public_key"})
    plugin.invoke("gitlab:index/getMetadata:getMetadata", {})
    plugin.invoke("gitlab:index/getProject:getProject", {"pathWithNamespace": emulator.project.path})
    arguments = {"projectId": project_id(emulator), "mirrorId": mirror["id"]}
    plugin.invoke("gitlab:index/getProjectMirrorPublicKey:getProjectMirrorPublicKey", arguments)


LISTS: Final = {
    "environments": lambda project: project.environments,
    "variables": lambda project: project.variables,
    "deploy tokens": lambda project: project.deploytokens,
    "mirrors": lambda project: project.remote_mirrors,
    "branches": lambda project: project.branches,
    "protected branches": lambda project: project.protectedbranches,
    "pipeline schedules": lambda project: project.pipelineschedules,
    "protected tags": lambda project: project.protectedtags,
    "deployments": lambda project: project.deployments,
    "images": lambda project: project.repositories,
    "tags of an image": lambda project: next(iter(project.repositories.list(iterator=True))).tags,
    "protected environments": lambda project: project.protected_environments,
}


@pytest.mark.parametrize("name", LISTS)
def test_every_list_has_pages_and_a_client_that_asks_on_sees_all_of_it(
    url: str, emulator: GitLab, held: HeldGitLab, name: str
) -> None:
    fill(emulator, MANY)
    server = python_gitlab.Gitlab(url, private_token=emulator.token)
    manager = LISTS[name](server.projects.get(emulator.project.id, lazy=True))
    assert len(manager.list(get_all=False)) == 20, "GitLab's page"
    assert len(manager.list(get_all=False, per_page=1000)) == 100, "the largest page"
    whole = manager.list(iterator=True)
    assert len(list(whole)) == whole.total >= MANY
    held.problems = [one for one in held.problems if "per_page" not in one]  # the page is too large on purpose


def test_what_the_program_and_ops_look_for_is_found_on_whatever_page_it_is(url: str, emulator: GitLab) -> None:
    assert url
    fill(emulator, MANY)
    project = connect("https://gitlab.example.com").projects.get(emulator.project.id)
    (mirror,) = mirrors.push_mirrors(project, MIRROR)
    assert mirror.url == MIRROR
    assert len(active(project, "invoicetron-pull-dev")) == MANY
    tokens = DeployTokens(gitlab="https://x", project=project_id(emulator), name="invoicetron-pull-dev")
    kept = emulator.project.deploy_tokens.entries({})[-1]["username"]
    tokens._revoke_all_but([kept])
    assert [one.username for one in active(project, "invoicetron-pull-dev")] == [kept]


def test_what_the_program_asks_about_its_token(url: str, emulator: GitLab) -> None:
    assert url
    environment = {"name": "production", "tier": "production"}
    delivery = {"project": emulator.project.path, "branch": "main", "environment": environment}
    assert missing_permissions(DeliverySettings.model_validate(delivery)) == []
    check_answers(DeliverySettings.model_validate(delivery))


def test_a_variable_that_gives_way_is_deleted_in_its_own_scope_and_one_that_is_gone_is_no_error(
    url: str, emulator: GitLab
) -> None:
    assert url
    for scope in ("*", "development", "production"):
        emulator.project.variables.create({"key": "KUBE_TOKEN", "value": "x", "environment_scope": scope})
    variable = CiVariable(gitlab="https://x", project=project_id(emulator), key="KUBE_TOKEN", scope="development")
    for _ in range(2):
        variable._delete()
        assert {one["environment_scope"] for one in emulator.project.variables.entries({})} == {"*", "production"}


def test_what_ops_asks(url: str, emulator: GitLab) -> None:
    assert url
    fill(emulator, MANY)
    server = connect("https://gitlab.example.com")
    found = Live(kubernetes=None, names=DEV, gitlab=server, mirror=MIRROR)  # type: ignore[arg-type] # not asked
    project = project_id(emulator)
    last = MANY - 1
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("projectEnvironment:ProjectEnvironment", {"name": f"review/{last}"}),
        ("branch:Branch", {"name": f"branch-{last}"}),
        ("branchProtection:BranchProtection", {"branch": f"branch-{last}"}),
        ("projectPushMirror:ProjectPushMirror", {"url": MIRROR}),
    ]
    for kind, inputs in wanted:
        assert found.find(f"gitlab:index/{kind}", {"project": project, **inputs}), kind
    assert server.projects.get(emulator.project.id).repositories.list(iterator=True).next().tags.get("0").digest
    assert mirrors.push_now(server.projects.get(emulator.project.id), MIRROR, patience=5)


def test_what_a_job_s_comment_asks_and_that_it_finds_its_own_on_the_second_page(url: str, emulator: GitLab) -> None:
    iid = str(emulator.infrastructure.merge_requests.open())
    note = emulator.issue_token("api", level=REPORTER)
    for number in range(MANY):
        emulator.infrastructure.merge_requests.create(iid, {"body": f"{number}"}, user=99)
    environment = {
        "CI_SERVER_URL": url,
        "GITLAB_NOTE_TOKEN": note,
        "CI_PROJECT_ID": str(emulator.infrastructure.id),
        "CI_MERGE_REQUEST_IID": iid,
    }
    for body in ("<!-- x --> one", "<!-- x --> two"):
        put_comment(environment, marker="<!-- x -->", body=body)
    notes = emulator.infrastructure.merge_requests.notes(iid, {})
    assert [one["body"] for one in notes if one["body"].startswith("<!--")] == ["<!-- x --> two"]


def test_every_operation_has_a_page() -> None:
    for _, path in OPERATIONS:
        words = [word for word in path.split("/") if word in PAGES]
        assert words, path


def held_by(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[GitLab], None]) -> list[str]:
    emulator = GitLab.seeded()
    spoil(emulator)
    held = HeldGitLab(emulator.app)
    with serve(held) as base:
        monkeypatch.setenv("GITLAB_BASE_URL", f"{base}/api/v4/")
        monkeypatch.setenv("GITLAB_TOKEN", emulator.token)
        plugin = GitLabPlugin()
        plugin.configure({})
        plugin.invoke("gitlab:index/getProjectVariables:getProjectVariables", {"project": project_id(emulator)})
    return held.problems


def test_an_attribute_that_the_pages_do_not_know_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(emulator: GitLab) -> None:
        emulator.project.variables.create({"key": "ONE", "value": "x"})
        emulator.project.variables._by_key["ONE", "*"]["colour"] = "blue"

    assert "colour" in json.dumps(held_by(monkeypatch, spoil))


def test_what_a_job_notes_as_deployed_with_its_own_token_which_opens_nothing_else(url: str, emulator: GitLab) -> None:
    emulator.project.deployments.add("production", "a" * 40, "main")
    token = emulator.issue_job_token()
    project = python_gitlab.Gitlab(url, job_token=token).projects.get(emulator.project.id, lazy=True)
    asked: dict[str, Any] = {"environment": "production", "status": "success", "order_by": "id", "sort": "desc"}
    assert [one.sha for one in project.deployments.list(get_all=False, **asked)] == ["a" * 40]
    made = {"environment": "production", "sha": "b" * 40, "ref": "main", "tag": False, "status": "success"}
    project.deployments.create(made)
    assert [one.sha for one in project.deployments.list(get_all=False, **asked)] == ["b" * 40, "a" * 40]
    assert emulator.project.deployments.shown("production") == "b" * 40
    for refused in (project.variables, project.environments):
        with pytest.raises(python_gitlab.GitlabAuthenticationError):
            refused.list(get_all=False)
