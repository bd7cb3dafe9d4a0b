"""Delivery under the real engine: GitLab, 1Password and the cluster at once."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from typing import Any

import pytest

from rehearsal.engine import EngineError
from rehearsal.lifecycle import Lifecycle
from rehearsal.processes import free_port
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.gitlab import DEVELOPER
from rehearsal.vendors.server import Call, Fault
from settings.section import today


def gitlab(rehearsal: Rehearsal) -> dict[str, Any]:
    """Everything in the GitLab project that a stack could make, without times and states that change by themselves."""
    project = rehearsal.gitlab.project
    return {
        "environments": sorted(one["name"] for one in project.environments.entries({})),
        "variables": sorted((one["environment_scope"], one["key"]) for one in project.variables.entries({})),
        "tokens": sorted(one["name"] for one in active_tokens(rehearsal)),
    }


def active_tokens(rehearsal: Rehearsal) -> list[dict[str, Any]]:
    return [one for one in rehearsal.gitlab.project.deploy_tokens.entries({}) if not one["revoked"]]


def pull_login(rehearsal: Rehearsal, stack: str) -> tuple[str, str]:
    """User name and password in the pull secret."""
    secret = rehearsal.get("secret", "gitlab-registry", namespace=f"invoicetron-{stack}")
    (login,) = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"].values()
    return login["username"], login["password"]


def test_everything_that_a_weak_token_lacks_is_reported_before_anything_is_made(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    weak = rehearsal.gitlab.issue_token("read_api", "read_user", level=DEVELOPER)
    with pytest.raises(EngineError) as refused:
        rehearsal.program.with_environment({"GITLAB_TOKEN": weak}).up("dev")
    assert "the scope api: GITLAB_TOKEN has read_api, read_user" in str(refused.value)
    assert "the role Maintainer (40) of 0xwsh/invoicetron" in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert not rehearsal.gitlab.app.writes
    assert "invoicetron-dev" not in rehearsal.kubectl("get", "namespaces", "-o", "name")


def test_a_read_only_token_is_enough_for_a_preview_and_nothing_more(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    reader = rehearsal.program.with_environment({"GITLAB_TOKEN": rehearsal.gitlab.issue_token("read_api")})
    reader.preview("dev")
    with pytest.raises(EngineError, match="the scope api: GITLAB_TOKEN has read_api"):
        reader.up("dev")
    assert "invoicetron-dev" not in rehearsal.kubectl("get", "namespaces", "-o", "name")


def test_the_message_about_an_unreachable_gitlab_contains_its_address(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    away = f"http://127.0.0.1:{free_port()}/api/v4/"
    program = rehearsal.program.with_environment({"GITLAB_BASE_URL": away})
    with pytest.raises(EngineError) as refused:
        program.preview("dev")
    message = str(refused.value)
    assert f"GitLab does not answer at {away}" in message
    assert "Nothing was created or changed" in message
    assert "ConnectionError" not in message
    assert "role Maintainer" not in message, "another token would not help"
    rehearsal.gitlab.app.fail(Fault(status=502, body=b"<html>Bad Gateway</html>"), times=100)
    with pytest.raises(EngineError, match=r"GitLab does not answer at http://127\.0\.0\.1:\d+/api/v4/: 502"):
        rehearsal.program.preview("dev")


def test_destroying_dev_leaves_nothing_of_dev_and_touches_nothing_of_prod_or_of_people(rehearsal: Rehearsal) -> None:
    project = rehearsal.gitlab.project
    project.environments.create({"name": "review"})
    project.variables.create({"key": "BY_HAND", "value": "1", "environment_scope": "*"})
    project.deploy_tokens.create({"name": "by-hand", "scopes": ["read_registry"]})
    items = rehearsal.onepassword.titles()
    for stack in ("prod", "dev"):
        rehearsal.program.init(stack)
    rehearsal.program.up("prod", "--skip-preview")
    before, with_prod = gitlab(rehearsal), rehearsal.onepassword.titles()
    # An environment that a pipeline has made becomes the stack's, and is deleted with it.
    adopted = project.environments.create({"name": "development"})["id"]
    rehearsal.program.up("dev", "--skip-preview")
    assert [one["id"] for one in project.environments.entries({"name": "development"})] == [adopted]
    rehearsal.program.destroy("dev", "--skip-preview")
    assert gitlab(rehearsal) == before
    assert rehearsal.onepassword.titles() == with_prod
    assert set(items) <= set(with_prod)
    assert not Lifecycle(rehearsal, "dev").objects()
    assert not rehearsal.program.up("prod", "--skip-preview").changes


def test_a_new_expiry_issues_a_new_token_before_the_old_one_is_revoked(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    (old,) = active_tokens(rehearsal)
    login = pull_login(rehearsal, "dev")
    rehearsal.configure("dev", "delivery.pullCredentials.expires", "2098-06-30")
    rehearsal.gitlab.app.forget()
    could_pull: list[bool] = []

    def look(call: Call) -> None:
        if call.method == "DELETE":
            login = pull_login(rehearsal, "dev")
            could_pull.append(login[0] != old["username"] and rehearsal.gitlab.project.deploy_tokens.may_pull(*login))

    rehearsal.gitlab.app.before.append(look)
    rehearsal.program.up("dev", "--skip-preview")
    assert could_pull == [True], "the cluster holds the new token before the old one is revoked"
    (new,) = active_tokens(rehearsal)
    assert new["id"] != old["id"]
    calls = [call.method for call in rehearsal.gitlab.app.writes if "deploy_tokens" in call.path]
    assert calls == ["POST", "DELETE"]
    assert pull_login(rehearsal, "dev") != login
    assert pull_login(rehearsal, "dev")[0] == new["username"]


def pipeline_token(rehearsal: Rehearsal) -> str:
    """KUBE_TOKEN of dev, as its jobs get it."""
    listed = rehearsal.gitlab.project.variables.stored()
    (value,) = [one["value"] for one in listed if one["key"] == "KUBE_TOKEN"]
    return str(value)


def is_known(rehearsal: Rehearsal, token: str) -> bool:
    """Whether the API server accepts the token."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    said = json.loads(rehearsal.kubectl("create", "--filename=-", "--output=json", stdin=json.dumps(review)))
    return bool(said["status"].get("authenticated"))


def is_refused_soon(rehearsal: Rehearsal, token: str) -> bool:
    """Whether the API server refuses it within 30 s; it caches an accepted token for 10 s (TokenSuccessCacheTTL)."""
    deadline = time.monotonic() + 30
    while is_known(rehearsal, token):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def test_a_new_renewal_date_gives_the_pipeline_a_new_token_before_the_old_one_is_revoked(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    old = pipeline_token(rehearsal)
    known: list[bool] = []

    def look(_call: Call) -> None:
        known.append(is_known(rehearsal, pipeline_token(rehearsal)))

    rehearsal.gitlab.app.after.append(look)
    day = (today() + dt.timedelta(days=100)).isoformat()
    rehearsal.configure("dev", "delivery.renewTokenBy", day)
    rehearsal.program.up("dev", "--skip-preview")
    rehearsal.gitlab.app.after.remove(look)
    assert known
    assert all(known), "at every moment the cluster accepts the token that GitLab holds"
    assert pipeline_token(rehearsal) != old
    assert is_known(rehearsal, pipeline_token(rehearsal))
    assert is_refused_soon(rehearsal, old)
    assert rehearsal.program.preview("dev").changes == {}


def test_a_token_lost_as_it_was_issued_is_revoked_once_the_cluster_holds_its_successor(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    (old,) = active_tokens(rehearsal)
    rehearsal.configure("dev", "delivery.pullCredentials.expires", "2098-06-30")
    rehearsal.gitlab.app.fail_each(Fault(reset=True, after_effect=True), method="POST")
    with pytest.raises(EngineError):
        rehearsal.program.up("dev", "--skip-preview")
    (lost,) = [one for one in active_tokens(rehearsal) if one["id"] != old["id"]]
    revoked: list[str] = []

    def look(call: Call) -> None:
        if call.method == "DELETE":
            assert rehearsal.gitlab.project.deploy_tokens.may_pull(*pull_login(rehearsal, "dev"))
            revoked.append(call.path.rpartition("/")[2])

    rehearsal.gitlab.app.before.append(look)
    rehearsal.program.up("dev", "--skip-preview")
    assert revoked == [str(lost["id"]), str(old["id"])]
    (new,) = active_tokens(rehearsal)
    assert pull_login(rehearsal, "dev")[0] == new["username"]


def test_a_lost_token_that_gitlab_refuses_to_revoke_is_only_a_warning(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    lost = rehearsal.gitlab.project.deploy_tokens.create({"name": "invoicetron-pull-dev", "scopes": ["read_registry"]})
    rehearsal.gitlab.app.fail(Fault(status=403, body=b'{"message": "403 Forbidden"}'), method="DELETE")
    said = rehearsal.program.up("dev", "--skip-preview").output
    warning = said[said.index("GitLab does not show or revoke the deploy tokens invoicetron-pull-dev") :]
    assert "one that was lost may still be valid: `python -m ops recover` revokes it" in warning
    assert lost["id"] in [one["id"] for one in active_tokens(rehearsal)]
    assert not rehearsal.program.up("dev", "--skip-preview").changes


def test_the_item_of_an_issued_token_is_not_mistaken_for_one_kept_by_a_person(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    assert not rehearsal.program.up("dev", "--skip-preview").changes
    rehearsal.configure("dev", "delivery.pullCredentials.issue", "false")
    expires = "invoicetron:delivery.pullCredentials.expires"
    rehearsal.program.run("config", "rm", "--stack", "dev", "--path", expires)
    with pytest.raises(EngineError, match="the stack issued the token in this item"):
        rehearsal.program.up("dev", "--skip-preview")
    assert rehearsal.gitlab.project.deploy_tokens.may_pull(*pull_login(rehearsal, "dev"))


def test_a_new_expiry_for_a_pull_secret_that_was_deleted_by_hand_takes_a_second_up(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    rehearsal.kubectl("-n", "invoicetron-dev", "delete", "secret", "gitlab-registry")
    rehearsal.configure("dev", "delivery.pullCredentials.expires", "2098-06-30")
    with pytest.raises(EngineError, match="the deletion of the deploy token invoicetron-pull-dev: 404"):
        rehearsal.program.up("dev", "--skip-preview")
    (new,) = active_tokens(rehearsal)
    assert pull_login(rehearsal, "dev")[0] == new["username"]
    rehearsal.program.up("dev", "--skip-preview")
    assert not rehearsal.program.up("dev", "--skip-preview").changes


def test_environments_are_protected_if_gitlab_is_licensed_for_it_and_otherwise_the_message_says_so(
    rehearsal: Rehearsal,
) -> None:
    project = rehearsal.gitlab.project
    rehearsal.program.init("prod")
    rehearsal.configure("prod", "repository.protectedEnvironments[0]", "production")
    with pytest.raises(EngineError, match=r"GitLab Premium, for protected environments: .*leave out"):
        rehearsal.program.up("prod", "--skip-preview")
    assert not rehearsal.gitlab.app.writes
    project.licensed = True
    rehearsal.program.up("prod", "--skip-preview")
    (protection,) = project.protected_environments.entries({})
    assert protection["name"] == "production"
    assert [level["access_level_description"] for level in protection["deploy_access_levels"]] == ["Maintainers"]
    assert not rehearsal.program.up("prod", "--skip-preview").changes
