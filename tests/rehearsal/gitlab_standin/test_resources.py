"""The stand-in for pulumi-gitlab against the emulated GitLab: lives of resources."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.plugins.base import PluginError
from rehearsal.plugins.gitlab.plugin import GitLabPlugin
from rehearsal.plugins.values import Properties, Secret, plain
from rehearsal.vendors.gitlab import GitLab
from rehearsal.vendors.server import Fault, serve
from tests.rehearsal.gitlab_standin.resource import (
    ENVIRONMENT,
    GUARDED,
    LEVELS,
    PROJECT,
    PROTECTION,
    RESOURCES,
    TOKEN,
    VARIABLE,
    Resource,
    configured,
    created,
)


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_created_resource_reads_back_without_a_difference(plugin: GitLabPlugin, kind: str) -> None:
    resource = created(plugin, kind)
    assert resource.refresh() is not None
    assert not resource.diff(RESOURCES[kind]).changes


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_refresh_finds_a_deleted_resource_gone_and_only_a_variable_may_be_deleted_twice(
    plugin: GitLabPlugin, kind: str
) -> None:
    resource = created(plugin, kind)
    resource.delete()
    assert resource.refresh() is None
    if "Variable" in kind:
        resource.delete()
    else:
        with pytest.raises(PluginError, match=r"the deletion of the .*: 404"):
            resource.delete()


def test_an_environment_that_need_not_be_stopped_may_be_deleted_twice(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    kind = "projectEnvironment:ProjectEnvironment"
    resource = Resource(plugin, kind).create({**ENVIRONMENT, "stopBeforeDestroy": False})
    (environment,) = gitlab.project.environments.entries({})
    gitlab.project.environments.stop(str(environment["id"]), {})
    resource.refresh()
    for _ in range(2):
        resource.delete()


@pytest.mark.parametrize("kind", [kind for kind in RESOURCES if "Token" not in kind and "Mirror" not in kind])
def test_an_existing_resource_is_imported_and_then_needs_no_replacement(plugin: GitLabPlugin, kind: str) -> None:
    resource = created(plugin, kind)
    state = resource.found(resource.id)
    assert state is not None
    resource.inputs, resource.outputs = state.inputs, state.outputs
    # `ref` is known from the creation only: whoever imports a branch has to ignore it.
    assert set(resource.diff(RESOURCES[kind]).replaces) <= {"ref"}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("projectEnvironment:ProjectEnvironment", {"externalUrl": "https://other.example.com"}),
        ("projectVariable:ProjectVariable", {"value": "dddd.eeee.ffff"}),
        ("projectPushMirror:ProjectPushMirror", {"enabled": False}),
        ("branchProtection:BranchProtection", {"allowedToPushes": [{"accessLevel": "maintainer"}]}),
        (
            "projectProtectedEnvironment:ProjectProtectedEnvironment",
            {"deployAccessLevelsAttributes": [{"accessLevel": "developer"}]},
        ),
        (
            "projectProtectedEnvironment:ProjectProtectedEnvironment",
            {"deployAccessLevelsAttributes": [{"accessLevel": "maintainer"}, {"accessLevel": "developer"}]},
        ),
        ("pipelineSchedule:PipelineSchedule", {"cron": "0 7 * * *"}),
    ],
)
def test_a_change_is_made_in_place(plugin: GitLabPlugin, kind: str, change: Properties) -> None:
    resource = created(plugin, kind)
    wanted = {**RESOURCES[kind], **change}
    assert not resource.diff(wanted).replaces
    resource.update(wanted)
    resource.refresh()
    assert not resource.diff(wanted).changes


def test_a_deploy_token_is_shown_once_and_kept_in_the_state(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    resource = created(plugin, "projectDeployToken:ProjectDeployToken")
    token = resource.outputs["token"]
    assert isinstance(token, Secret)
    assert token.value in gitlab.handed_out
    resource.refresh()
    assert resource.outputs["token"] == token
    assert all("token" not in entry for entry in gitlab.project.deploy_tokens.entries({}))


@pytest.mark.parametrize("change", [{"expiresAt": "2028-12-31T23:59:59Z"}, {"scopes": ["read_repository"]}])
def test_any_change_to_a_deploy_token_replaces_it_and_creates_the_new_one_first(
    plugin: GitLabPlugin, change: dict[str, Any]
) -> None:
    difference = created(plugin, "projectDeployToken:ProjectDeployToken").diff({**TOKEN, **change})
    assert difference.replaces
    assert not difference.delete_before_replace


def test_the_registry_accepts_a_deploy_token_until_it_is_revoked(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    resource = created(plugin, "projectDeployToken:ProjectDeployToken")
    login = resource.outputs["username"], plain(resource.outputs["token"])
    assert gitlab.project.deploy_tokens.may_pull(*login)
    resource.delete()
    assert not gitlab.project.deploy_tokens.may_pull(*login)


def test_an_environment_that_is_not_stopped_first_cannot_be_deleted(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    kind = "projectEnvironment:ProjectEnvironment"
    resource = Resource(plugin, kind).create({**ENVIRONMENT, "stopBeforeDestroy": False})
    with pytest.raises(PluginError, match="deletion of the environment development: 403"):
        resource.delete()
    assert len(gitlab.project.environments.entries({})) == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("projectEnvironment:ProjectEnvironment", r"environment development: 400 .*name.*has already been taken"),
        ("projectVariable:ProjectVariable", r"KUBE_TOKEN of scope development: 400 .*has already been taken"),
        ("branch:Branch", r"branch develop: 400 .*Branch already exists"),
        ("branchProtection:BranchProtection", r"branch develop: 409 .*already exists"),
        (
            "projectProtectedEnvironment:ProjectProtectedEnvironment",
            r"environment production: 409 .*Environment 'production' is already protected",
        ),
    ],
)
def test_a_duplicate_is_refused_by_name(plugin: GitLabPlugin, kind: str, message: str) -> None:
    created(plugin, kind)
    with pytest.raises(PluginError, match=message):
        Resource(plugin, kind).create(RESOURCES[kind])


@pytest.mark.parametrize("value", ["short", "two\nlines of it", "with a space"])
@pytest.mark.parametrize("raw", [True, False])
def test_a_value_that_cannot_be_masked_is_refused(plugin: GitLabPlugin, value: str, raw: bool) -> None:
    with pytest.raises(PluginError, match=r"KUBE_TOKEN .*is invalid") as refusal:
        Resource(plugin, "projectVariable:ProjectVariable").create({**VARIABLE, "value": value, "raw": raw})
    assert value not in str(refusal.value)


def test_a_variable_with_two_scopes_is_changed_in_its_own_scope_only(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    kind = "projectVariable:ProjectVariable"
    dev, prod = (
        Resource(plugin, kind).create({**VARIABLE, "environmentScope": scope, "value": scope * 2})
        for scope in ("development", "production")
    )
    dev.update({**VARIABLE, "value": "changed-value"})
    dev.refresh()
    assert dev.outputs["value"] == "changed-value"
    dev.delete()
    assert [each["environment_scope"] for each in gitlab.project.variables.entries({})] == ["production"]
    prod.refresh()
    assert prod.outputs["value"] == "productionproduction"


def test_a_level_added_by_hand_to_a_protected_environment_is_removed_and_the_others_keep_their_ids(
    gitlab: GitLab, plugin: GitLabPlugin
) -> None:
    protections = gitlab.project.protected_environments
    resource = created(plugin, "projectProtectedEnvironment:ProjectProtectedEnvironment")
    (own,) = protections.get("production")["deploy_access_levels"]
    protections.update("production", {"deploy_access_levels": [{"access_level": 30}]})
    resource.refresh()
    assert not resource.diff(GUARDED).replaces
    resource.update(GUARDED)
    assert protections.get("production")["deploy_access_levels"] == [own]


def test_an_existing_protection_of_tags_is_replaced(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    gitlab.project.protected_tags.create({"name": "v*", "create_access_level": 30})
    created(plugin, "tagProtection:TagProtection")
    (protection,) = gitlab.project.protected_tags.entries({})
    assert [level["access_level"] for level in protection["create_access_levels"]] == [40]


def test_a_refused_protection_of_tags_is_told_as_the_refused_removal_of_an_existing_one(
    gitlab: GitLab, plugin: GitLabPlugin
) -> None:
    refusal = Fault(status=422, body=b'{"message": ["Name is invalid"]}')
    gitlab.app.fail(refusal, method="POST", path="/protected_tags$")
    with pytest.raises(PluginError, match=r"the tags v\*: 404"):
        created(plugin, "tagProtection:TagProtection")


@pytest.mark.parametrize("scope", [None, "development", "nowhere"])
def test_variables_of_every_scope_are_listed_whatever_the_filter(
    gitlab: GitLab, plugin: GitLabPlugin, scope: str | None
) -> None:
    for name in ("development", "production"):
        gitlab.project.variables.create({"key": "KUBE_TOKEN", "value": "x", "environment_scope": name})
    arguments = {"project": PROJECT, **({"environmentScope": scope} if scope else {})}
    found = plugin.invoke("gitlab:index/getProjectVariables:getProjectVariables", arguments)
    assert [one["environmentScope"] for one in found["variables"]] == ["development", "production"]


def test_the_default_branch_s_own_protection_is_taken_over(plugin: GitLabPlugin) -> None:
    resource = Resource(plugin, "branchProtection:BranchProtection").create({**PROTECTION, "branch": "main"})
    resource.refresh()
    assert not resource.diff({**PROTECTION, "branch": "main"}).changes


@pytest.mark.parametrize("enterprise", [True, False])
def test_protected_branches_are_listed_with_who_may_push_and_merge(enterprise: bool) -> None:
    gitlab = GitLab("0xwsh/invoicetron", enterprise=enterprise)
    granular = {"allowed_to_push": [{"access_level": 30}], "allowed_to_merge": [{"access_level": 0}]}
    levels = granular if enterprise else {"push_access_level": 30, "merge_access_level": 0}
    gitlab.project.branches.protect({"name": "ma*", **levels})
    with serve(gitlab.app) as base:
        plugin = configured(f"{base}/api/v4/", gitlab.token)
        function = "gitlab:index/getProjectProtectedBranches:getProjectProtectedBranches"
        main, wildcard = plugin.invoke(function, {"projectId": PROJECT})["protectedBranches"]
    assert (main["name"], wildcard["name"]) == ("main", "ma*")
    shown = {"accessLevel": "maintainer", "accessLevelDescription": "Maintainers"}
    assert main["pushAccessLevels"] == main["mergeAccessLevels"] == [shown]
    assert [one["accessLevel"] for one in wildcard["pushAccessLevels"]] == ["developer"]
    assert [one["accessLevel"] for one in wildcard["mergeAccessLevels"]] == ["no one"]


@pytest.mark.parametrize(
    ("enterprise", "levels"),
    [(True, {"pushAccessLevel": "maintainer", "mergeAccessLevel": "maintainer"}), (False, LEVELS)],
)
def test_access_levels_in_the_other_edition_s_form_are_refused(enterprise: bool, levels: Properties) -> None:
    gitlab = GitLab("0xwsh/invoicetron", enterprise=enterprise)
    with serve(gitlab.app) as base:
        resource = Resource(configured(f"{base}/api/v4/", gitlab.token), "branchProtection:BranchProtection")
        with pytest.raises(PluginError, match=r"cannot be used with an? \w+ Edition"):
            resource.create({"project": PROJECT, "branch": "main", **levels})


def test_environments_are_not_protected_in_a_community_edition() -> None:
    gitlab = GitLab("0xwsh/invoicetron", enterprise=False)
    levels = {"deployAccessLevelsAttributes": [{"accessLevel": "maintainer"}]}
    with serve(gitlab.app) as base, pytest.raises(PluginError, match="environment production: 404"):
        Resource(
            configured(f"{base}/api/v4/", gitlab.token), "projectProtectedEnvironment:ProjectProtectedEnvironment"
        ).create({"project": PROJECT, "environment": "production", **levels})


def test_environments_are_protected_in_an_enterprise_edition_licensed_or_not() -> None:
    gitlab = GitLab("0xwsh/invoicetron")
    levels = {"deployAccessLevelsAttributes": [{"accessLevel": "maintainer"}]}
    wanted = {"project": PROJECT, "environment": "production", **levels}
    with serve(gitlab.app) as base:
        resource = Resource(
            configured(f"{base}/api/v4/", gitlab.token), "projectProtectedEnvironment:ProjectProtectedEnvironment"
        ).create(wanted)
        resource.refresh()
        assert not resource.diff(wanted).changes
        (protection,) = gitlab.project.protected_environments.entries({})
        assert [level["access_level"] for level in protection["deploy_access_levels"]] == [40]
        resource.delete()
        assert resource.refresh() is None
