"""The providers: what they need from the environment, and which of it never reaches the state."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pulumi
import pytest

from lookups.credentials import CredentialsError
from providers import Providers
from settings import Settings
from settings.section import today
from tests.stacks import DEV
from tests.unit.stack_files import sections
from tests.unit.test_r2 import MADE as BUCKET

ROOT = Path(__file__).parents[2]
TOKEN = "connect-" + "token-" + "value"
CONFIG: dict[str, Any] = {
    "namespace": "invoicetron-dev",
    "secrets": {"postgresPassword": "op://v/i/p", "betterAuthSecret": "op://v/i/b"},
    "registry": {"server": "registry.example.com", "item": "op://v/i"},
    "app": {"image": "registry.example.com/invoicetron:placeholder"},
    "access": {"hostname": "invoicetron.example.com", "gateway": {"listener": "https"}},
}
DELIVERY = {"project": "a/b", "branch": "main", "environment": {"name": "development", "tier": "development"}}
PUBLIC = {"zone": "example.org", "hostname": "a.example.org", "tunnel": "homelab", "policyName": "Allow Admin"}


class Recorder(pulumi.runtime.Mocks):
    """Keeps the inputs of every provider."""

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs[args.typ.removeprefix("pulumi:providers:")] = args.inputs
        return args.name, args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise NotImplementedError


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "contexts: [{name: other}, {name: homelab}]\nusers: [{name: me, user: {token: kubeconfig-token}}]\n"
    )
    return path


@pytest.fixture
def environment(kubeconfig: Path) -> dict[str, str]:
    """Everything that the stacks need."""
    return {
        "KUBECONFIG": str(kubeconfig),
        "OP_CONNECT_HOST": "http://127.0.0.1:8080",
        "OP_CONNECT_TOKEN": TOKEN,
        "GITLAB_TOKEN": TOKEN,
        "GITLAB_BASE_URL": "http://127.0.0.1:8081/api/v4/",
        "CLOUDFLARE_API_TOKEN": TOKEN,
    }


def settings(**changes: Any) -> Settings:
    return Settings.load(DEV, {**CONFIG, **changes})


def problems(environment: dict[str, str], **changes: Any) -> str:
    with pytest.raises(CredentialsError) as error:
        Providers(settings(**changes), environment)
    return str(error.value)


def registered(stack: Settings, environment: dict[str, str], *names: str) -> dict[str, dict[str, Any]]:
    """The inputs with which the named providers are registered."""
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, project="invoicetron", stack="dev")
    providers = Providers(stack, environment)

    async def register() -> None:
        for name in names:
            await getattr(providers, name).urn.future()

    asyncio.get_event_loop().run_until_complete(register())
    return recorder.inputs


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_cloudflare")  # from classes that are not used here
def test_neither_credential_nor_path_reaches_the_state(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**environment, "OP_CLI_PATH": "/opt/op"}.items():
        monkeypatch.setenv(name, value)  # the SDKs read the process's environment, whatever is passed to Providers
    inputs = registered(settings(delivery=DELIVERY), environment, "kubernetes", "onepassword", "gitlab", "cloudflare")
    assert inputs["onepassword"] == {}
    assert inputs["gitlab"] == {}
    assert inputs["cloudflare"] == {}
    assert "kubeconfig" not in inputs["kubernetes"]


def test_the_cluster_comes_from_the_settings_and_has_a_stable_identifier(environment: dict[str, str]) -> None:
    stack = settings(cluster={"context": "other", "identifier": "home"})
    inputs = registered(stack, environment, "kubernetes")["kubernetes"]
    assert inputs["context"] == "other"
    assert inputs["clusterIdentifier"] == "home"


def test_a_changed_secret_is_updated_in_place(environment: dict[str, str]) -> None:
    assert registered(settings(), environment, "kubernetes")["kubernetes"]["enableSecretMutable"] == "true"


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("PULUMI_K8S_ENABLE_PATCH_FORCE", "true", "enablePatchForce"),
        ("PULUMI_K8S_DELETE_UNREACHABLE", "true", "deleteUnreachable"),
        ("PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY", "false", "enableServerSideApply"),
        ("PULUMI_K8S_SKIP_UPDATE_UNREACHABLE", "true", "skipUpdateUnreachable"),
        ("PULUMI_K8S_UPSERT_EXISTING_OBJECTS", "true", "upsertExistingObjects"),
    ],
)
def test_no_variable_changes_how_the_cluster_s_provider_treats_objects(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, key: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert registered(settings(), environment, "kubernetes")["kubernetes"][key] != value


def test_gitlab_comes_from_the_settings_unless_the_environment_names_another(environment: dict[str, str]) -> None:
    del environment["GITLAB_BASE_URL"]
    stack = settings(delivery={**DELIVERY, "gitlab": "https://gitlab.example.com"})
    assert registered(stack, environment, "gitlab")["gitlab"] == {"baseUrl": "https://gitlab.example.com/api/v4/"}


def test_dynamic_resources_have_their_own_provider(environment: dict[str, str]) -> None:
    assert registered(settings(), environment, "dynamic") == {"pulumi-python": {}}


def test_everything_that_is_missing_is_reported_together(tmp_path: Path) -> None:
    message = problems(
        {"KUBECONFIG": str(tmp_path / "none")}, delivery=DELIVERY, access={**CONFIG["access"], "public": PUBLIC}
    )
    for name in ("KUBECONFIG", "OP_CONNECT_HOST", "OP_SERVICE_ACCOUNT_TOKEN", "GITLAB_TOKEN", "CLOUDFLARE_API_TOKEN"):
        assert name in message


def test_a_stack_that_only_has_a_bucket_at_cloudflare_needs_a_token_that_nothing_logs(
    environment: dict[str, str],
) -> None:
    backup = {**sections("prod")["backup"], "s3": BUCKET}
    Providers(settings(backup=backup), environment)
    assert "TF_LOG makes the plugins log" in problems({**environment, "TF_LOG": "DEBUG"}, backup=backup)
    del environment["CLOUDFLARE_API_TOKEN"]
    assert "CLOUDFLARE_API_TOKEN is not set" in problems(environment, backup=backup)


def test_a_stack_needs_no_credentials_for_what_it_does_not_use(environment: dict[str, str]) -> None:
    for name in ("GITLAB_TOKEN", "GITLAB_BASE_URL", "CLOUDFLARE_API_TOKEN"):
        del environment[name]
    Providers(settings(), environment)


@pytest.mark.parametrize(
    "pair",
    [
        {"OP_SERVICE_ACCOUNT_TOKEN": TOKEN},
        {"OP_ACCOUNT": "my.1password.com"},
        {"OP_ACCOUNT": "The House"},
        {"OP_CONNECT_HOST": "http://localhost", "OP_CONNECT_TOKEN": TOKEN, "OP_ACCOUNT": ""},
    ],
)
def test_each_way_to_1password_is_enough(kubeconfig: Path, pair: dict[str, str]) -> None:
    Providers(settings(), {"KUBECONFIG": str(kubeconfig), **pair})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"OP_CONNECT_TOKEN": ""}, "OP_CONNECT_HOST alone is set"),
        ({"OP_CONNECT_HOST": ""}, "OP_CONNECT_TOKEN alone is set"),
        ({"OP_SERVICE_ACCOUNT_TOKEN": TOKEN}, "contradict each other"),
        ({"OP_CONNECT_HOST": "http://127.0.0.1:8080/"}, "ends with a slash"),
        ({"OP_CONNECT_HOST": "127.0.0.1:8080"}, "OP_CONNECT_HOST is not the address of a Connect server"),
        ({"OP_CONNECT_TOKEN": f"{TOKEN}\n"}, "OP_CONNECT_TOKEN contains a space, a line break or"),
        ({"OP_CONNECT_TOKEN": f"{TOKEN[:9]}\n{TOKEN[9:]}"}, "OP_CONNECT_TOKEN contains a space, a line break or"),
        ({"GITLAB_TOKEN": f"{TOKEN}\n"}, "GITLAB_TOKEN contains a space, a line break or"),
        ({"GITLAB_TOKEN": f"{TOKEN[:9]}\r{TOKEN[9:]}"}, "GITLAB_TOKEN contains a space, a line break or"),
        ({"GITLAB_BASE_URL": "https://gitlab.example.com/"}, "GITLAB_BASE_URL is not the address"),
        ({"GITLAB_BASE_URL": "https://gitlab.example.com/api/v4"}, "GITLAB_BASE_URL is not the address"),
        ({"GITLAB_BASE_URL": "http://gitlab.example.com/api/v4/"}, "GITLAB_BASE_URL is not the address"),
        ({"GITLAB_BASE_URL": "https:///api/v4/"}, "GITLAB_BASE_URL is not the address"),
        ({"CLOUDFLARE_EMAIL": ""}, "CLOUDFLARE_EMAIL would be sent to Cloudflare beside CLOUDFLARE_API_TOKEN"),
        ({"CLOUDFLARE_API_KEY": TOKEN}, "CLOUDFLARE_API_KEY would be sent to Cloudflare beside"),
        ({"CLOUDFLARE_BASE_URL": ""}, "CLOUDFLARE_BASE_URL is not the address"),
        ({"CLOUDFLARE_BASE_URL": "api.cloudflare.com/client/v4"}, "CLOUDFLARE_BASE_URL is not the address"),
        ({"CLOUDFLARE_BASE_URL": "http://api.cloudflare.com/client/v4"}, "CLOUDFLARE_BASE_URL is not the address"),
    ],
)
def test_an_unusable_value_is_reported_without_being_shown(
    environment: dict[str, str], change: dict[str, str], words: str
) -> None:
    message = problems({**environment, **change}, delivery=DELIVERY, access={**CONFIG["access"], "public": PUBLIC})
    assert words in message
    assert TOKEN not in message


def test_an_encrypted_address_of_another_server_is_accepted(environment: dict[str, str]) -> None:
    environment["GITLAB_BASE_URL"] = "https://gitlab.example.com/api/v4/"
    environment["CLOUDFLARE_BASE_URL"] = "https://api.example.com/client/v4"
    Providers(settings(delivery=DELIVERY, access={**CONFIG["access"], "public": PUBLIC}), environment)


def test_a_missing_context_is_reported_with_the_existing_ones(environment: dict[str, str], kubeconfig: Path) -> None:
    message = problems(environment, cluster={"context": "home"})
    assert "no context 'home'; it has: other, homelab" in message
    assert "kubeconfig-token" not in message
    for content in ("", "contexts:", "kind: Config"):
        kubeconfig.write_text(content)
        assert "no context 'homelab'; it has: none" in problems(environment)


def test_kubeconfig_may_list_several_files_as_kubectl_reads_them(
    environment: dict[str, str], kubeconfig: Path, tmp_path: Path
) -> None:
    second = tmp_path / "second"
    second.write_text("contexts: [{name: home}]")
    environment["KUBECONFIG"] = f"{kubeconfig}:{tmp_path / 'none'}:{second}"
    Providers(settings(cluster={"context": "home"}), environment)


@pytest.mark.parametrize("listed", ["~/config", "{kubeconfig}:~/config", "~"])
def test_a_home_that_only_shells_know_is_refused_although_the_file_exists(
    environment: dict[str, str], kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    (kubeconfig.parent / "config").write_text(kubeconfig.read_text())
    monkeypatch.setenv("HOME", str(kubeconfig.parent))
    environment["KUBECONFIG"] = listed.format(kubeconfig=kubeconfig)
    assert "KUBECONFIG has a path that begins with ~" in problems(environment)


@pytest.mark.parametrize(
    "content", ["contexts: [", "text", "contexts: [1]", "contexts: {a: b}", "contexts: [{}]", "contexts: \xff"]
)
def test_an_unreadable_kubeconfig_is_reported(environment: dict[str, str], kubeconfig: Path, content: str) -> None:
    kubeconfig.write_text(content, encoding="latin-1")
    assert "kubeconfig cannot be read" in problems(environment)


def test_the_text_of_a_kubeconfig_in_place_of_its_path_is_not_repeated(environment: dict[str, str]) -> None:
    environment["KUBECONFIG"] = "apiVersion: v1\nusers: [{user: {token: kubeconfig-token}}]"
    assert "kubeconfig-token" not in problems(environment)


def test_the_default_kubeconfig_is_kubectl_s(
    environment: dict[str, str], kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del environment["KUBECONFIG"]
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert ".kube/config does not exist" in problems(environment)
    (tmp_path / "home/.kube").mkdir(parents=True)
    kubeconfig.rename(tmp_path / "home/.kube/config")
    Providers(settings(), environment)


ISSUING: dict[str, Any] = {
    "project": "a/b",
    "branch": "develop",
    "environment": {"name": "development", "tier": "development"},
    "pullCredentials": {"issue": True, "expires": "2099-12-31"},
}


@pytest.mark.parametrize("level", ["INFO", "debug", "TRACE", "JSON", "no level at all"])
@pytest.mark.parametrize("name", ["TF_LOG", "TF_LOG_PROVIDER", "TF_LOG_PROVIDER_ONEPASSWORD"])
@pytest.mark.parametrize("delivery", [ISSUING, {**ISSUING, "pullCredentials": {"issue": False}}])
def test_a_log_level_that_prints_a_token_is_refused(
    environment: dict[str, str], name: str, level: str, delivery: dict[str, Any]
) -> None:
    told = problems({**environment, name: level}, delivery=delivery)
    assert f"{name} makes the plugins log the tokens that the stack creates" in told


def test_a_log_level_that_prints_a_service_token_is_refused(environment: dict[str, str]) -> None:
    token = {"item": "op://v/service-token", "expires": (today() + dt.timedelta(days=90)).isoformat()}
    public = {**CONFIG["access"], "public": {**PUBLIC, "serviceToken": token}}
    assert "TF_LOG makes the plugins log" in problems({**environment, "TF_LOG": "DEBUG"}, access=public)


def test_the_engine_s_own_record_of_every_call_is_refused(environment: dict[str, str]) -> None:
    assert "PULUMI_DEBUG_GRPC makes the engine write every secret" in problems(
        {**environment, "PULUMI_DEBUG_GRPC": "calls.json"}
    )


@pytest.mark.parametrize("level", ["", "WARN", "error", "off"])
def test_a_log_level_that_prints_no_token_is_accepted(environment: dict[str, str], level: str) -> None:
    Providers(settings(delivery=ISSUING), {**environment, "TF_LOG": level, "TF_LOG_PATH": "INFO"})


def test_a_stack_that_gives_gitlab_no_token_may_use_any_log_level(environment: dict[str, str]) -> None:
    Providers(settings(), {**environment, "TF_LOG": "TRACE"})
