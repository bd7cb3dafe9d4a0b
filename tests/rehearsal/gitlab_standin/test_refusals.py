"""The stand-in for pulumi-gitlab against the emulated GitLab: push mirrors, refusals, lost answers."""

from __future__ import annotations

import pytest

from rehearsal.plugins.base import PluginError
from rehearsal.plugins.gitlab.plugin import GitLabPlugin
from rehearsal.vendors.gitlab import DEVELOPER, GitLab
from rehearsal.vendors.server import Fault
from tests.rehearsal.gitlab_standin.resource import HOST_KEY, MIRROR, PROJECT, Resource, configured, created


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
