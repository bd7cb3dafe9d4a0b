"""Delivery, the deployer and the pull credentials: what GitLab, 1Password and the cluster get."""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.admission_names import PARTS
from components.maskable import MaskingError, check_maskable
from lookups.gitlab import GitLabError
from settings.cluster import ClusterSettings
from settings.section import today
from tests.pages import blocks
from tests.unit.answers import CA, DEPLOYER, REGISTRY, TOKEN
from tests.unit.program import Program, Registration, run
from tests.unit.stack_files import refusal_of, sections

PAGE = Path(__file__).parents[2] / "docs" / "app-pipeline.md"
PIPELINE = yaml.safe_load((Path(__file__).parents[2] / "ci/app.gitlab-ci.yml").read_text())


ID_TOKENS = {"delivery.credentials": "id-token"}
PROTECTED = {"getProjectProtectedBranches": {"protectedBranches": [{"name": "develop"}, {"name": "main"}]}}


def variables(program: Program) -> dict[str, Registration]:
    return {each.inputs["key"]: each for each in program.of("ProjectVariable")}


def values(program: Program) -> dict[str, str]:
    return {key: each.inputs["value"] for key, each in variables(program).items()}


def named(what: str, **attributes: Any) -> dict[str, Any]:
    """One of GitLab's listings with one entry."""
    return {what: [attributes]}


def test_the_environment_is_the_stack_s_and_is_stopped_before_it_is_destroyed(dev: Program, prod: Program) -> None:
    environments = [program.of("ProjectEnvironment")[0].inputs for program in (dev, prod)]
    assert [(each["name"], each["tier"]) for each in environments] == [
        ("development", "development"),
        ("production", "production"),
    ]
    assert all(each["stopBeforeDestroy"] for each in environments)


def test_people_are_sent_to_the_public_address_if_there_is_one(dev: Program, prod: Program) -> None:
    for program, url in (
        (dev, "https://invoicetron.dev.k8s.rommelporras.com"),
        (prod, "https://invoicetron.rommelporras.com"),
    ):
        assert program.of("ProjectEnvironment")[0].inputs["externalUrl"] == url
        assert values(program)["APP_URL"] == url


def test_the_pipeline_checks_health_at_the_internal_address_without_a_login(prod: Program) -> None:
    assert values(prod)["HEALTH_URL"] == "https://invoicetron.k8s.rommelporras.com/api/health"


def test_the_pipeline_is_given_every_variable_that_it_uses(program: Program) -> None:
    text = (Path(__file__).parents[2] / "ci/app.gitlab-ci.yml").read_text()
    used = set(re.findall(r"\$\{?((?:KUBE|APP|HEALTH)_\w+)", text))
    signed = set(PIPELINE[".cluster"]["id_tokens"])
    assert used - signed - {"KUBE_USER"} == set(values(program))
    assert used - signed - {"KUBE_TOKEN"} == set(values(run(program.stack, ID_TOKENS, gitlab=PROTECTED)))


def test_the_pipeline_deploys_the_stack_s_branch_into_the_stack_s_environment(program: Program) -> None:
    environment = program.of("ProjectEnvironment")[0].inputs["name"]
    branch = {"dev": "develop", "prod": "main"}[program.stack]
    job = PIPELINE[f"deploy:{environment}"]
    assert job["environment"]["name"] == job["resource_group"] == environment
    assert PIPELINE[f".{environment}"]["rules"] == [{"if": f'$CI_COMMIT_BRANCH == "{branch}"'}]


def test_images_are_pushed_to_where_the_placeholder_is_pulled_from(program: Program) -> None:
    deployment = program.one("Deployment").inputs["spec"]["template"]["spec"]["containers"][0]["image"]
    assert deployment == f"{values(program)['APP_IMAGE']}:placeholder"


@pytest.mark.parametrize(
    "image",
    [f"{REGISTRY}/a/b:tag", f"{REGISTRY}/a/b@sha256:" + "0" * 64],
)
def test_the_registry_path_is_the_image_without_its_tag_or_digest(image: str) -> None:
    assert values(run("dev", {"app.image": image}))["APP_IMAGE"] == f"{REGISTRY}/a/b"


def test_variables_belong_to_the_environment_and_are_never_expanded(program: Program) -> None:
    environment = program.of("ProjectEnvironment")[0]
    for each in program.of("ProjectVariable"):
        assert each.inputs["environmentScope"] == environment.inputs["name"]
        assert each.inputs["raw"]
        assert environment.urn in program.waits_for(each)


def test_the_token_alone_is_masked_and_secret(program: Program) -> None:
    masked = {key for key, each in variables(program).items() if each.inputs["masked"]}
    secret = {key for key, each in variables(program).items() if "value" in each.secret_inputs}
    assert masked == {"KUBE_TOKEN"}
    assert secret - {"KUBE_CA"} == {
        "KUBE_TOKEN"
    }  # the CA comes from the same Secret, which the engine marks as a whole
    token = variables(program)["KUBE_TOKEN"]
    assert token.inputs["value"] == DEPLOYER
    assert "value" in token.request.additionalSecretOutputs


def test_the_api_server_s_certificate_goes_with_its_address(program: Program) -> None:
    assert values(program)["KUBE_API_URL"].startswith("https://")
    assert base64.b64decode(values(program)["KUBE_CA"])


@pytest.mark.parametrize(
    ("protection", "protected"), [(None, False), ("develop", True), ("dev*", True), ("main", False)]
)
def test_the_token_is_protected_where_its_branch_is(protection: str | None, protected: bool) -> None:
    found = named("protectedBranches", name=protection) if protection else {}
    program = run("dev", gitlab={"getProjectProtectedBranches": found})
    assert variables(program)["KUBE_TOKEN"].inputs["protected"] is protected


def test_the_token_is_protected_where_the_same_stack_protects_its_branch(prod: Program) -> None:
    assert variables(prod)["KUBE_TOKEN"].inputs["protected"]


def test_an_environment_that_a_pipeline_has_made_is_adopted() -> None:
    found = named("environments", id=9, name="development")
    program = run("dev", gitlab={"getProjectEnvironments": found})
    assert program.of("ProjectEnvironment")[0].request.importId == "57:9"


def test_a_variable_made_by_hand_is_adopted_in_the_same_scope_only() -> None:
    found = {
        "variables": [
            {"key": "KUBE_CA", "environmentScope": "development"},
            {"key": "KUBE_API_URL", "environmentScope": "*"},
        ]
    }
    program = run("dev", gitlab={"getProjectVariables": found})
    imported = {each.name: each.request.importId for each in program.of("ProjectVariable") if each.request.importId}
    assert imported == {"KUBE_CA": "57:KUBE_CA:development"}


def test_a_token_that_was_put_there_by_hand_is_not_imported_because_that_would_show_it() -> None:
    found = {"variables": [{"key": "KUBE_TOKEN", "environmentScope": "development"}]}
    token = variables(run("dev", gitlab={"getProjectVariables": found}))["KUBE_TOKEN"]
    assert not token.request.importId
    assert list(token.request.hooks.before_create)


def test_the_deployer_may_do_what_the_pipeline_does_and_nothing_else(program: Program) -> None:
    rules = program.one("Role", "gitlab-deploy").inputs["rules"]
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert ("", "secrets", "get") not in granted
    assert not [each for each in granted if "*" in each]
    assert {resource for _, resource, verb in granted if verb in {"create", "delete"}} == {"jobs"}
    templates = ["invoicetron-migrate", "invoicetron-db-backup"]
    assert [rule["resourceNames"] for rule in rules if "cronjobs" in rule["resources"]] == [templates]


def test_the_deployer_of_a_stack_without_backups_creates_jobs_for_migrations_alone() -> None:
    rules = run("dev", {"backup": {"enabled": False}}).one("Role", "gitlab-deploy").inputs["rules"]
    assert [rule["resourceNames"] for rule in rules if "cronjobs" in rule["resources"]] == [["invoicetron-migrate"]]


def test_production_is_backed_up_before_its_migration_by_the_backup_s_own_cronjob(prod: Program) -> None:
    jobs = (".cluster", ".deploy", "deploy:production")
    variables = {key: value for job in jobs for key, value in PIPELINE[job]["variables"].items()}
    assert variables["BACKUP"]
    (script,) = PIPELINE[".deploy"]["script"]
    assert '--from="cronjob/$app-db-backup"' in script
    cron_job = prod.one("CronJob", f"{values(prod)['APP_NAME']}-db-backup")
    backup = cron_job.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [container["name"] for container in backup["containers"]] == [variables["BACKUP_CONTAINER"]]


def test_the_pipeline_knows_the_names_of_what_it_deploys(prod: Program) -> None:
    given = values(prod)
    assert prod.one("CronJob", given["APP_MIGRATION"])
    (container,) = prod.one("Deployment", given["APP_NAME"]).inputs["spec"]["template"]["spec"]["containers"]
    assert container["name"] == given["APP_NAME"]


def test_the_role_is_bound_to_the_account_of_the_token(program: Program) -> None:
    binding = program.one("RoleBinding").inputs
    account = program.one("ServiceAccount").inputs["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    assert binding["roleRef"]["name"] == program.one("Role").inputs["metadata"]["name"]
    annotations = program.one("Secret", "gitlab-deploy-token").inputs["metadata"]["annotations"]
    assert annotations["kubernetes.io/service-account.name"] == account["name"]


def test_the_deployer_s_token_is_waited_for(program: Program) -> None:
    secret = program.one("Secret", "gitlab-deploy-token")
    assert secret.inputs["metadata"]["annotations"]["pulumi.com/waitFor"] == "jsonpath={.data.token}"


def pull_config(program: Program) -> dict[str, Any]:
    secret = program.one("Secret", "gitlab-registry")
    assert "stringData" in secret.secret_inputs
    config: dict[str, Any] = json.loads(secret.inputs["stringData"][".dockerconfigjson"])
    return config


def test_the_stack_pulls_with_a_deploy_token_of_its_own(program: Program) -> None:
    token = program.of("ProjectDeployToken")[0].inputs
    assert token["scopes"] == ["read_registry"]
    assert token["name"] == f"invoicetron-pull-{program.stack}"
    assert token["expiresAt"] == "2099-12-31T23:59:59Z"
    login = pull_config(program)["auths"]["registry.k8s.rommelporras.com"]
    assert (login["username"], login["password"]) == ("gitlab+deploy-token-2", TOKEN)
    assert base64.b64decode(login["auth"]).decode() == f"gitlab+deploy-token-2:{TOKEN}"


def test_the_token_in_use_can_be_looked_up_in_1password(program: Program) -> None:
    item = program.of("RegistryItem")[0]
    assert item.inputs["title"] == f"Invoicetron {program.stack.title()} Deploy Token"
    assert (item.inputs["username"], item.inputs["password"]) == ("gitlab+deploy-token-2", TOKEN)
    assert "password" in item.secret_inputs
    assert item.inputs["token_name"] == f"invoicetron-pull-{program.stack}"
    assert item.inputs["owner"] == f"invoicetron/{program.stack}"


def test_the_item_is_written_by_no_plugin_that_would_record_its_credentials(program: Program) -> None:
    assert not [each.name for each in program.registrations if each.type.startswith("onepassword:")]
    item = program.of("RegistryItem")[0]
    assert item.request.provider.startswith(program.of("pulumi-python")[0].urn)
    # An item that an earlier release made with the provider's Item resource is taken over with its id.
    (alias,) = item.request.aliases
    assert alias.spec.type == "onepassword:index/item:Item"


def test_credentials_kept_by_hand_are_read_and_nothing_is_issued() -> None:
    program = run("dev", {"delivery.pullCredentials": {"issue": False}})
    assert not program.of("ProjectDeployToken")
    assert not program.of("RegistryItem")
    assert pull_config(program)["auths"]["registry.k8s.rommelporras.com"]["username"] == "gitlab+deploy-token-1"


def test_a_stack_without_delivery_asks_nothing_of_gitlab() -> None:
    program = run("dev", {"delivery": {"enabled": False}})
    assert not [each for each in program.registrations if each.type.startswith(("gitlab:", "pulumi:providers:gitlab"))]
    assert pull_config(program)


@pytest.mark.parametrize("value", ["12345678", "eyJhbGciOi.J9_-.abc", "p@ss/w0rd+="])
@pytest.mark.parametrize("raw", [True, False])
def test_a_value_that_gitlab_can_mask_passes(value: str, raw: bool) -> None:
    assert check_maskable("KUBE_TOKEN", value, raw=raw) == value


@pytest.mark.parametrize(
    ("value", "raw", "words"),
    [
        ("1234567", True, "it has 7 characters, and at least 8 are needed"),
        ("first\nsecond", True, "more than one line"),
        ("with a space", True, "it has a space"),
        ("dollar$dollar", False, "a character other than letters, digits"),
        ("x" * 10_001, True, "at most 10000"),
    ],
)
def test_a_value_that_gitlab_cannot_mask_is_refused_with_the_variable_s_name(value: str, raw: bool, words: str) -> None:
    with pytest.raises(MaskingError, match="the CI variable KUBE_TOKEN") as error:
        check_maskable("KUBE_TOKEN", value, raw=raw)
    assert words in str(error.value)
    assert value not in str(error.value)


def test_a_raw_value_may_hold_what_an_expanded_one_may_not() -> None:
    assert check_maskable("PASSWORD", "dollar$dollar", raw=True)


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("registry.k8s.rommelporras.com/0xwsh/other", "which is registry.k8s.rommelporras.com/0xwsh/other"),
        (REGISTRY[:-1], "is not in the container registry"),
        ("", "which is switched off"),
    ],
)
def test_an_image_that_an_issued_token_cannot_pull_is_refused_before_the_first_resource(
    prefix: str, words: str
) -> None:
    project = {"id": "57", "defaultBranch": "main", "containerRegistryImagePrefix": prefix}
    with pytest.raises(GitLabError, match=words) as refused:
        run("dev", gitlab={"getProject": project})
    assert "delivery.pullCredentials.issue" in str(refused.value)
    assert run("dev", {"delivery.pullCredentials": {"issue": False}}, gitlab={"getProject": project}).registrations


def test_admission_policies_exist_only_if_the_stack_file_says_so(program: Program) -> None:
    assert not program.of("ValidatingAdmissionPolicy")
    wanting = run(program.stack, {"delivery.admissionPolicy": True})
    names = {each.inputs["metadata"]["name"] for each in wanting.of("ValidatingAdmissionPolicy")}
    assert names == {f"invoicetron-{program.stack}-gitlab-deploy-{part}" for part in PARTS}
    bound = {each.inputs["spec"]["policyName"] for each in wanting.of("ValidatingAdmissionPolicyBinding")}
    assert bound == names


def test_the_pipelines_token_changes_with_the_day_in_the_stack_file(prod: Program) -> None:
    def secret(program: Program) -> str:
        (found,) = [
            one for one in program.of("Secret") if one.inputs.get("type") == "kubernetes.io/service-account-token"
        ]
        name: str = found.inputs["metadata"]["name"]
        return name

    assert secret(prod) == "gitlab-deploy-token"
    days = [(today() + dt.timedelta(days=left)).isoformat() for left in (100, 200)]
    names = [secret(run("prod", {"delivery.renewTokenBy": day})) for day in days]
    assert names == [f"gitlab-deploy-token-{day}" for day in days]


@pytest.mark.parametrize("day", ["2020-01-01", "2999-01-01"])
def test_a_renewal_day_in_the_past_or_far_away_is_refused(day: str) -> None:
    assert "a day after today and within 400 days" in refusal_of("delivery.renewTokenBy", day)


def test_with_id_tokens_the_role_is_bound_to_the_jobs_of_one_branch_and_environment_and_nobody_holds_a_token() -> None:
    program = run("prod", {**ID_TOKENS, "delivery.admissionPolicy": True})
    user = "gitlab:project:57:branch:main:environment:production"
    binding = program.one("RoleBinding", "gitlab-deploy").inputs
    assert binding["subjects"] == [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]
    assert not [one for one in program.of("Secret") if one.inputs.get("type") == "kubernetes.io/service-account-token"]
    assert not program.of("ServiceAccount")
    assert values(program)["KUBE_USER"] == user
    assert base64.b64decode(values(program)["KUBE_CA"]) == CA.encode()
    assert not [key for key, each in variables(program).items() if each.inputs["masked"]]
    policies = [one.inputs["spec"] for one in program.of("ValidatingAdmissionPolicy")]
    who = {condition["expression"] for one in policies for condition in one["matchConditions"][:1]}
    assert who == {f"request.userInfo.username == '{user}'"}


def test_the_audience_of_the_jobs_tokens_is_the_api_server() -> None:
    assert PIPELINE[".cluster"]["id_tokens"] == {"KUBE_ID_TOKEN": {"aud": "$KUBE_API_URL"}}
    (page,) = [one for one in blocks(PAGE) if one.mark == "authentication"]
    (audience,) = yaml.safe_load(page.text)["jwt"][0]["issuer"]["audiences"]
    assert audience == ClusterSettings().api_url


def test_kubeadm_gives_the_api_server_the_file_that_the_page_has() -> None:
    (page,) = [one for one in blocks(PAGE) if one.mark == "kubeadm"]
    server = yaml.safe_load(page.text)["apiServer"]
    (argument,), (volume,) = server["extraArgs"], server["extraVolumes"]
    assert argument["name"] == "authentication-config"
    assert argument["value"].startswith(f"{volume['mountPath']}/")
    assert f"`{argument['value']}`" in PAGE.read_text()


def test_a_pipeline_without_a_kept_token_has_no_day_for_a_new_one() -> None:
    delivery = {**sections("prod")["delivery"], "credentials": "id-token", "renewTokenBy": "2027-06-30"}
    mistake = refusal_of("delivery", delivery)
    assert "no day while credentials is id-token" in mistake
