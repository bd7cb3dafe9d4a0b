"""Repository: what both stacks share in GitLab, owned by prod."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pulumi
import pytest

from lookups.gitlab import GitLabError
from lookups.lost_mirrors import LostMirrors
from rehearsal.vendors.gitlab import REPORTER, GitLab
from rehearsal.vendors.server import Fault
from tests.unit.program import Program, run


def protections(program: Program) -> dict[str, dict[str, object]]:
    return {each.inputs["branch"]: each.inputs for each in program.of("BranchProtection")}


def test_prod_owns_the_repository_and_dev_has_none_of_it(dev: Program, prod: Program) -> None:
    assert prod.of("Repository")
    for kind in ("Repository", "ProjectPushMirror", "Branch", "BranchProtection", "ProjectProtectedEnvironment"):
        assert not dev.of(kind)


def test_a_destroy_leaves_the_repository_alone(prod: Program) -> None:
    repository = prod.of("Repository")[0]
    children = [each for each in prod.registrations if each.parent == repository.urn]
    assert len(children) == 4
    assert all(each.request.protect for each in children)
    assert prod.of("Branch")[0].inputs["keepOnDestroy"]


def test_the_mirror_never_deletes_what_only_github_has(prod: Program) -> None:
    mirror = prod.of("ProjectPushMirror")[0].inputs
    assert mirror["keepDivergentRefs"]
    assert mirror["authMethod"] == "ssh_public_key"
    assert mirror["hostKeys"][0].startswith("github.com ssh-ed25519 ")


def test_the_mirror_gets_every_branch_and_not_the_provider_s_default_of_protected_ones(prod: Program) -> None:
    assert prod.of("ProjectPushMirror")[0].inputs["onlyProtectedBranches"] is False


def test_the_mirror_s_key_comes_with_the_page_to_paste_it_into(prod: Program) -> None:
    assert prod.outputs["mirror_key"] == (
        "paste into https://github.com/rommelporras/invoicetron/settings/keys/new and tick 'Allow write access': "
        "ssh-rsa AAAA"
    )


def test_develop_starts_from_the_default_branch_and_is_not_moved_back(prod: Program) -> None:
    branch = prod.of("Branch")[0]
    assert (branch.inputs["name"], branch.inputs["ref"]) == ("develop", "main")
    assert list(branch.request.ignoreChanges) == ["ref"]


def test_both_branches_are_protected_from_force_pushes(prod: Program) -> None:
    assert {branch: each["allowForcePush"] for branch, each in protections(prod).items()} == {
        "main": False,
        "develop": False,
    }


def test_develop_exists_before_it_is_protected(prod: Program) -> None:
    develop = next(each for each in prod.of("BranchProtection") if each.inputs["branch"] == "develop")
    assert prod.of("Branch")[0].urn in prod.waits_for(develop)


@pytest.mark.parametrize(
    ("enterprise", "given"),
    [
        (
            True,
            {"allowedToPushes": [{"accessLevel": "maintainer"}], "allowedToMerges": [{"accessLevel": "maintainer"}]},
        ),
        (False, {"pushAccessLevel": "maintainer", "mergeAccessLevel": "maintainer"}),
    ],
)
def test_access_levels_come_in_the_form_of_the_edition(enterprise: bool, given: dict[str, object]) -> None:
    main = protections(run("prod", gitlab={"getMetadata": {"enterprise": enterprise, "version": "19.1.0"}}))["main"]
    levels = ("allowedToPushes", "allowedToMerges", "pushAccessLevel", "mergeAccessLevel")
    assert {name: main[name] for name in levels if name in main} == given


def test_environments_are_protected_only_if_the_settings_name_them(prod: Program) -> None:
    assert not prod.of("ProjectProtectedEnvironment")
    program = run("prod", {"repository.protectedEnvironments": ["production"]})
    protected = program.of("ProjectProtectedEnvironment")[0]
    assert protected.inputs["environment"] == "production"
    assert protected.request.protect


def test_an_environment_that_is_protected_already_is_adopted() -> None:
    wanted = {"repository.protectedEnvironments": ["production", "development"]}
    program = run("prod", wanted, protected_environments=["production"])
    found = program.of("ProjectProtectedEnvironment")
    assert {each.inputs["environment"]: each.request.importId for each in found} == {
        "production": "57:production",
        "development": "",
    }


OWN = "ssh://git@github.com/o/r.git"


def after_creation(gitlab: GitLab, id_: int) -> pulumi.ResourceHookArgs:
    return pulumi.ResourceHookArgs(urn="urn", id=f"{gitlab.project.id}:{id_}", name="mirror", type="mirror")


def test_once_the_mirror_exists_only_those_that_an_earlier_up_has_lost_are_deleted(gitlab: GitLab) -> None:
    mirrors, ssh = gitlab.project.mirrors, {"auth_method": "ssh_public_key", "enabled": True}
    works = mirrors.create({"url": OWN, **ssh})
    works["last_successful_update_at"] = "2026-11-01T00:00:00Z"
    others = [
        works,
        mirrors.create({"url": "ssh://git@github.com/o/another.git", **ssh}),
        mirrors.create({"url": OWN, "auth_method": "password"}),
    ]
    for _ in range(2):
        mirrors.create({"url": OWN, **ssh})
    own = mirrors.create({"url": OWN, **ssh})
    lost = LostMirrors(gitlab="https://gitlab.example.com", project=str(gitlab.project.id), url=OWN)
    for _ in range(2):
        asyncio.run(lost.delete(after_creation(gitlab, own["id"])))
        assert mirrors.entries({}) == [*others, own]


def test_a_refusal_to_delete_a_lost_mirror_says_what_is_right_and_what_to_do(
    gitlab: GitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", gitlab.issue_token("api", level=REPORTER))
    lost = LostMirrors(gitlab="https://gitlab.example.com", project=str(gitlab.project.id), url=OWN)
    with pytest.raises(RuntimeError, match=r"push mirrors to ssh:\S+ \(401.*own is right; .*delete it by hand"):
        asyncio.run(lost.delete(after_creation(gitlab, 1)))
    monkeypatch.setattr("gitlab.utils.time", Mock())  # between python-gitlab's attempts
    gitlab.app.fail(Fault(reset=True), times=100)
    with pytest.raises(RuntimeError, match=r"own is right; .*delete it by hand"):
        asyncio.run(lost.delete(after_creation(gitlab, 1)))


def test_existing_branches_and_protections_are_adopted() -> None:
    program = run(
        "prod",
        gitlab={
            "getProjectBranches": {"branches": [{"name": "main"}, {"name": "develop"}]},
            "getProjectProtectedBranches": {"protectedBranches": [{"name": "main"}]},
        },
    )
    assert program.of("Branch")[0].request.importId == "57:develop"
    assert {each.inputs["branch"]: each.request.importId for each in program.of("BranchProtection")} == {
        "main": "57:main",
        "develop": "",
    }


@pytest.mark.parametrize("version", ["18.10.4-ee", "17.11.0", "8.12.1"])
def test_a_gitlab_that_ignores_a_mirror_s_host_keys_is_refused_with_the_version_needed(version: str) -> None:
    with pytest.raises(GitLabError, match=rf"GitLab is {version}, .* from 18\.11 on"):
        run("prod", gitlab={"getMetadata": {"enterprise": True, "version": version}})


@pytest.mark.parametrize("version", ["18.11.0-ee", "19.0.0-pre", "20.1.0", "nightly"])
def test_a_gitlab_that_uses_a_mirror_s_host_keys_is_accepted(version: str) -> None:
    assert run("prod", gitlab={"getMetadata": {"enterprise": True, "version": version}}).of("ProjectPushMirror")


def refused(changes: dict[str, Any] | None = None, **gitlab: dict[str, Any]) -> str:
    with pytest.raises(GitLabError) as error:
        run("prod", changes, gitlab=gitlab)
    assert "Nothing was created or changed" in str(error.value)
    return str(error.value)


def test_a_develop_branch_that_is_the_default_branch_is_refused() -> None:
    message = refused({"repository.developBranch": "main"})
    assert "repository.developBranch is main, which is also the default branch of the project 0xwsh/invoic" in message
    assert "set repository.developBranch to another branch, or make another branch the project's default" in message


@pytest.mark.parametrize(
    ("default", "why"),
    [("main", "its default branch main does not exist"), ("", "it has no default branch")],
)
def test_an_empty_repository_is_refused_before_the_first_resource(default: str, why: str) -> None:
    message = refused(getProject={"defaultBranch": default}, getProjectBranches={"branches": []})
    assert f"has no branch from which to create develop, because {why}: push a first commit" in message


def level(access_level: str, **who: int) -> dict[str, Any]:
    return {"accessLevel": access_level, "accessLevelDescription": "x", **who}


def protection(name: str, push: dict[str, Any], merge: dict[str, Any], *, force: bool = False) -> dict[str, Any]:
    levels = {"pushAccessLevels": [push], "mergeAccessLevels": [merge]}
    return {"protectedBranches": [{"name": name, "allowForcePush": force, **levels}]}


MAINTAINER, DEVELOPER, NO_ONE = level("maintainer"), level("developer"), level("no one")


@pytest.mark.parametrize(
    ("name", "push", "merge", "who"),
    [
        ("*", DEVELOPER, MAINTAINER, "Developers"),
        ("ma*", NO_ONE, DEVELOPER, "Developers"),
        # The level of a user or a group is not its role.
        ("m*n", level("maintainer", userId=7), NO_ONE, "named users or groups"),
        ("*", MAINTAINER, level("maintainer", groupId=7), "named users or groups"),
        ("*", DEVELOPER, level("maintainer", groupId=7), "Developers and named users or groups"),
    ],
)
def test_a_wildcard_that_opens_the_default_branch_to_others_than_maintainers_is_refused(
    name: str, push: dict[str, Any], merge: dict[str, Any], who: str
) -> None:
    message = refused(getProjectProtectedBranches=protection(name, push, merge))
    assert f"the protection of the branches {name} lets {who} push to main or merge into it" in message
    assert "allow only the role Maintainers there (Settings > Repository > Protected branches)" in message


@pytest.mark.parametrize(
    ("name", "push", "merge"),
    [
        ("*", MAINTAINER, NO_ONE),
        ("*", level("maintainer", userId=0, groupId=0, deployKeyId=3), MAINTAINER),
        ("dev*", DEVELOPER, DEVELOPER),
        ("Ma*", DEVELOPER, DEVELOPER),
        # `up` itself corrects the branch's own protection.
        ("main", DEVELOPER, DEVELOPER),
    ],
)
def test_a_protection_that_does_not_open_the_default_branch_is_accepted(
    name: str, push: dict[str, Any], merge: dict[str, Any]
) -> None:
    found = protection(name, push, merge)
    assert run("prod", gitlab={"getProjectProtectedBranches": found}).of("BranchProtection")


@pytest.mark.parametrize(
    ("name", "push", "branches"),
    [("*", MAINTAINER, "main and develop"), ("ma*", NO_ONE, "main"), ("dev*", DEVELOPER, "develop")],
)
def test_a_wildcard_that_allows_force_pushes_is_refused_whoever_may_push_there(
    name: str, push: dict[str, Any], branches: str
) -> None:
    message = refused(getProjectProtectedBranches=protection(name, push, MAINTAINER, force=True))
    assert f"the protection of the branches {name} allows force pushes to {branches}" in message
    assert "switch off 'Allowed to force push' there (Settings > Repository > Protected branches)" in message


@pytest.mark.parametrize(("name", "push"), [("main", MAINTAINER), ("release/*", DEVELOPER)])
def test_force_pushes_to_other_branches_or_that_up_itself_switches_off_are_accepted(
    name: str, push: dict[str, Any]
) -> None:
    found = protection(name, push, MAINTAINER, force=True)
    assert run("prod", gitlab={"getProjectProtectedBranches": found}).of("BranchProtection")


COMMUNITY = {"enterprise": False, "version": "19.1.0"}
WITH_A_DEPLOY_KEY = level("maintainer", deployKeyId=3)


@pytest.mark.parametrize(
    ("name", "push", "merge", "found", "wanted"),
    [
        ("main", [NO_ONE], [MAINTAINER], "no one push to it, and maintainer merge", "maintainer do both"),
        ("main", [MAINTAINER], [DEVELOPER], "maintainer push to it, and developer merge", "maintainer do both"),
        ("develop", [MAINTAINER], [DEVELOPER], "maintainer push to it, and developer merge", "developer do both"),
    ],
)
def test_a_protection_that_a_community_edition_cannot_change_is_refused_with_the_way_out(
    name: str, push: list[dict[str, Any]], merge: list[dict[str, Any]], found: str, wanted: str
) -> None:
    there = {"protectedBranches": [{"name": name, "pushAccessLevels": push, "mergeAccessLevels": merge}]}
    message = refused(getMetadata=COMMUNITY, getProjectProtectedBranches=there)
    assert f"the protection of the branch {name} lets {found}, and has to let {wanted}" in message
    assert "Delete it (Settings > Repository > Protected branches)" in message
    # An Enterprise Edition changes it in place.
    assert run("prod", gitlab={"getProjectProtectedBranches": there}).of("BranchProtection")


def test_a_protection_that_fits_is_accepted_by_a_community_edition() -> None:
    levels = {"pushAccessLevels": [WITH_A_DEPLOY_KEY, DEVELOPER], "mergeAccessLevels": [DEVELOPER]}
    other = {"pushAccessLevels": [NO_ONE], "mergeAccessLevels": [NO_ONE]}
    found = {"protectedBranches": [{"name": "develop", **levels}, {"name": "other", **other}]}
    assert run("prod", gitlab={"getMetadata": COMMUNITY, "getProjectProtectedBranches": found}).of("BranchProtection")


def test_everything_that_gitlab_cannot_do_is_reported_at_once() -> None:
    message = refused(
        {"repository.developBranch": "main"},
        getMetadata={"enterprise": True, "version": "17.11.0"},
        getProjectBranches={"branches": []},
        getProjectProtectedBranches=protection("*", DEVELOPER, DEVELOPER),
    )
    for words in ("GitLab is 17.11.0", "repository.developBranch is main", "main does not exist", "lets Developers"):
        assert words in message


def test_a_stack_without_a_repository_may_have_any_branches() -> None:
    found = protection("*", DEVELOPER, DEVELOPER)
    assert run("dev", gitlab={"getProjectBranches": {"branches": []}, "getProjectProtectedBranches": found})


def test_a_stack_without_a_mirror_needs_no_newer_gitlab() -> None:
    assert run("dev", gitlab={"getMetadata": {"enterprise": True, "version": "17.11.0"}}).registrations
