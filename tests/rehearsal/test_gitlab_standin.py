"""The stand-in for pulumi-gitlab against the emulated GitLab: lives of resources, GitLab's refusals, lost answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.plugins.base import Call, Diff, PluginError, State
from rehearsal.plugins.gitlab.plugin import GitLabPlugin
from rehearsal.plugins.values import Properties, Secret, plain
from rehearsal.vendors.gitlab import DEVELOPER, GitLab
from rehearsal.vendors.server import Fault, serve

PROJECT = "57"
HOST_KEY = "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

ENVIRONMENT = {
    "project": PROJECT,
    "name": "development",
    "tier": "development",
    "externalUrl": "https://invoicetron.dev.k8s.rommelporras.com",
    "stopBeforeDestroy": True,
}
VARIABLE = {
    "project": PROJECT,
    "key": "KUBE_TOKEN",
    "value": "aaaa.bbbb.cccc",
    "masked": True,
    "raw": True,
    "environmentScope": "development",
}
TOKEN = {
    "project": PROJECT,
    "name": "invoicetron-pull-dev",
    "scopes": ["read_registry"],
    "expiresAt": "2027-12-31T23:59:59Z",
}
MIRROR = {
    "project": PROJECT,
    "url": "ssh://git@github.com/rommelporras/invoicetron.git",
    "authMethod": "ssh_public_key",
    "hostKeys": [HOST_KEY],
    "enabled": True,
    "keepDivergentRefs": True,
}
BRANCH = {"project": PROJECT, "name": "develop", "ref": "main", "keepOnDestroy": False}
LEVELS = {"allowedToPushes": [{"accessLevel": "developer"}], "allowedToMerges": [{"accessLevel": "developer"}]}
PROTECTION = {"project": PROJECT, "branch": "develop", "allowForcePush": False, **LEVELS}

RESOURCES: dict[str, Properties] = {
    "projectEnvironment:ProjectEnvironment": ENVIRONMENT,
    "projectVariable:ProjectVariable": VARIABLE,
    "projectDeployToken:ProjectDeployToken": TOKEN,
    "projectPushMirror:ProjectPushMirror": MIRROR,
    "branch:Branch": BRANCH,
    "branchProtection:BranchProtection": PROTECTION,
}


class Resource:
    """One resource of the plugin with what the engine remembers of it."""

    def __init__(self, plugin: GitLabPlugin, kind: str) -> None:
        self._plugin, self._urn = plugin, f"urn:pulumi:dev::invoicetron::gitlab:index/{kind}::it"
        self.id, self.inputs, self.outputs = "", Properties(), Properties()

    def create(self, inputs: Properties) -> Resource:
        self.id, self.outputs = self._plugin.create(Call(urn=self._urn, inputs=inputs))
        self.inputs = inputs
        return self

    def refresh(self) -> State | None:
        state = self._plugin.read(Call(urn=self._urn, id=self.id, olds=self.outputs, old_inputs=self.inputs))
        if state is not None:
            self.inputs, self.outputs = state.inputs, state.outputs
        return state

    def found(self, id_: str) -> State | None:
        """What an import finds."""
        return self._plugin.read(Call(urn=self._urn, id=id_))

    def diff(self, inputs: Properties) -> Diff:
        call = Call(urn=self._urn, id=self.id, olds=self.outputs, old_inputs=self.inputs, inputs=inputs)
        return self._plugin.diff(call)

    def update(self, inputs: Properties) -> None:
        call = Call(urn=self._urn, id=self.id, olds=self.outputs, old_inputs=self.inputs, inputs=inputs)
        self.outputs, self.inputs = self._plugin.update(call), inputs

    def delete(self) -> None:
        self._plugin.delete(Call(urn=self._urn, id=self.id, olds=self.outputs))


@pytest.fixture
def gitlab() -> GitLab:
    return GitLab.seeded()


@pytest.fixture
def url(gitlab: GitLab) -> Iterator[str]:
    with serve(gitlab.app) as base:
        yield f"{base}/api/v4/"


def configured(url: str, token: str) -> GitLabPlugin:
    plugin = GitLabPlugin()
    plugin.configure({"baseUrl": url, "token": token})
    return plugin


@pytest.fixture
def plugin(gitlab: GitLab, url: str) -> GitLabPlugin:
    return configured(url, gitlab.token)


def created(plugin: GitLabPlugin, kind: str) -> Resource:
    if kind.startswith("branchProtection"):
        created(plugin, "branch:Branch")
    return Resource(plugin, kind).create(RESOURCES[kind])


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_created_resource_reads_back_without_a_difference(plugin: GitLabPlugin, kind: str) -> None:
    resource = created(plugin, kind)
    assert resource.refresh() is not None
    assert not resource.diff(RESOURCES[kind]).changes


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_refresh_finds_a_deleted_resource_gone_and_only_a_deploy_token_fails_a_second_deletion(
    plugin: GitLabPlugin, kind: str
) -> None:
    resource = created(plugin, kind)
    resource.delete()
    assert resource.refresh() is None
    if "DeployToken" in kind:
        with pytest.raises(PluginError, match="the deletion of the deploy token invoicetron-pull-dev: 404"):
            resource.delete()
    else:
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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ssh://git@github.com/o/r.git", "ssh://git@github.com/o/r.git"),
        ("ssh://deploy@github.com/o/r.git", "ssh://*****@github.com/o/r.git"),
        ("https://git:glpat@github.com/o/r.git", "https://git:*****@github.com/o/r.git"),
        ("https://bot:glpat@github.com/o/r.git", "https://*****:*****@github.com/o/r.git"),
    ],
)
def test_gitlab_masks_every_user_name_of_a_mirror_except_git(gitlab: GitLab, url: str, shown: str) -> None:
    assert gitlab.project.mirrors.create({"url": url})["url"] == shown


def test_a_mirror_made_by_hand_is_imported_and_given_its_host_keys(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    made = gitlab.project.mirrors.create({"url": MIRROR["url"], "enabled": True})
    resource = Resource(plugin, "projectPushMirror:ProjectPushMirror")
    state = resource.found(f"{PROJECT}:{made['id']}")
    assert state is not None
    resource.id, resource.inputs, resource.outputs = state.id, state.inputs, state.outputs
    difference = resource.diff(MIRROR)
    assert difference.changes
    assert not difference.replaces
    resource.update(MIRROR)
    assert gitlab.project.mirrors.get(str(made["id"]))["host_keys"]


def test_a_gitlab_before_18_11_silently_drops_host_keys(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    gitlab.be("18.10.4")
    created(plugin, "projectPushMirror:ProjectPushMirror")
    (mirror,) = gitlab.project.mirrors.entries({})
    assert mirror["host_keys"] == []
    gitlab.project.mirrors.sync(str(mirror["id"]))
    assert mirror["last_error"] == "Host key verification failed."


@pytest.mark.parametrize(
    ("keys", "words"),
    [(["github.com ssh-ed25519 AAAA"], "Invalid SSH host key"), ([HOST_KEY] * 11, "too many host keys")],
)
def test_invalid_or_too_many_host_keys_are_refused(plugin: GitLabPlugin, keys: list[str], words: str) -> None:
    with pytest.raises(PluginError, match=rf"push mirror: 400 .*{words}"):
        Resource(plugin, "projectPushMirror:ProjectPushMirror").create({**MIRROR, "hostKeys": keys})


def test_a_developer_sees_no_mirror_and_is_refused_as_if_the_token_were_unknown(gitlab: GitLab, url: str) -> None:
    plugin = configured(url, gitlab.issue_token("api", level=DEVELOPER))
    with pytest.raises(PluginError, match="push mirror: 401"):
        created(plugin, "projectPushMirror:ProjectPushMirror")


def test_a_wrong_token_is_refused_before_anything_else(url: str) -> None:
    with pytest.raises(PluginError, match="GITLAB_TOKEN: 401"):
        configured(url, "glpat-wrong")


def test_the_error_names_a_missing_scope(gitlab: GitLab, url: str) -> None:
    plugin = configured(url, gitlab.issue_token("read_api"))
    with pytest.raises(PluginError, match=r'403 .*insufficient_scope.*"scope":"api"'):
        created(plugin, "projectVariable:ProjectVariable")


def test_a_developer_s_token_may_not_write_variables(gitlab: GitLab, url: str) -> None:
    plugin = configured(url, gitlab.issue_token("api", level=DEVELOPER))
    with pytest.raises(PluginError, match="KUBE_TOKEN of scope development: 403"):
        created(plugin, "projectVariable:ProjectVariable")


@pytest.mark.parametrize("fault", [Fault(status=429, headers={"Retry-After": "1"}), Fault(status=503)])
def test_a_transient_fault_heals(gitlab: GitLab, plugin: GitLabPlugin, fault: Fault) -> None:
    gitlab.app.fail(fault, method="POST")
    created(plugin, "projectVariable:ProjectVariable")
    assert len(gitlab.project.variables.entries({})) == 1


def test_a_broken_connection_is_reported_and_not_retried(gitlab: GitLab, plugin: GitLabPlugin) -> None:
    gitlab.app.fail(Fault(reset=True, after_effect=True), method="POST")
    with pytest.raises(PluginError, match="no answer about the CI variable KUBE_TOKEN of scope development"):
        created(plugin, "projectVariable:ProjectVariable")
    assert len(gitlab.app.writes) == len(gitlab.project.variables.entries({})) == 1


def test_a_persistent_fault_is_one_message_with_the_subject_and_the_status(
    gitlab: GitLab, plugin: GitLabPlugin
) -> None:
    gitlab.app.fail(Fault(status=502), method="POST", times=20)
    with pytest.raises(PluginError, match="KUBE_TOKEN of scope development: 502"):
        created(plugin, "projectVariable:ProjectVariable")
    assert not gitlab.project.variables.entries({})
