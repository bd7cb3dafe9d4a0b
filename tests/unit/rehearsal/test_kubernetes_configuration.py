"""What a change to the provider's inputs means for everything in the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.plugins.base import PluginError
from rehearsal.plugins.kubernetes.client import _api_client
from rehearsal.plugins.kubernetes.configuration import Configuration, diff_configuration


def kubeconfig(directory: Path, server: str, name: str = "config") -> str:
    path = directory / name
    path.write_text(
        f"{{clusters: [{{name: c, cluster: {{server: '{server}'}}}}], users: [{{name: u, user: {{token: {name}}}}}],"
        " contexts: [{name: homelab, context: {cluster: c, user: u}}]}"
    )
    return str(path)


def test_another_server_replaces_everything_where_no_identifier_is_set(tmp_path: Path) -> None:
    old = {"kubeconfig": kubeconfig(tmp_path, "https://127.0.0.1", "a"), "context": "homelab"}
    new = {"kubeconfig": kubeconfig(tmp_path, "https://localhost", "b"), "context": "homelab"}
    assert diff_configuration(old, new).replaces == ["kubeconfig"]
    identified = {"clusterIdentifier": "homelab"}
    assert diff_configuration(old | identified, new | identified).replaces == []
    assert diff_configuration(old | identified, new | identified).changes.keys() == {"kubeconfig"}


def test_another_token_or_path_to_the_same_cluster_replaces_nothing(tmp_path: Path) -> None:
    old = {"kubeconfig": kubeconfig(tmp_path, "https://127.0.0.1", "a"), "context": "homelab"}
    new = {"kubeconfig": kubeconfig(tmp_path, "https://127.0.0.1", "b"), "context": "homelab"}
    assert diff_configuration(old, new).replaces == []


def test_another_identifier_replaces_everything_and_a_first_one_nothing(tmp_path: Path) -> None:
    same = {"kubeconfig": kubeconfig(tmp_path, "https://127.0.0.1"), "context": "homelab"}
    assert diff_configuration(same | {"clusterIdentifier": "a"}, same | {"clusterIdentifier": "b"}).replaces
    assert not diff_configuration(same, same | {"clusterIdentifier": "a"}).replaces


def test_a_recorded_path_that_is_not_on_this_machine_is_an_error_even_with_an_identifier(tmp_path: Path) -> None:
    old = {"kubeconfig": "/not/here/config", "clusterIdentifier": "homelab"}
    with pytest.raises(PluginError, match="failed to parse kubeconfig"):
        diff_configuration(old, old | {"kubeconfig": kubeconfig(tmp_path, "https://127.0.0.1")})


@pytest.mark.parametrize("option", [{"enableServerSideApply": "false"}, {"upsertExistingObjects": "true"}])
def test_an_option_that_the_stand_in_does_not_support_is_refused(option: dict[str, str]) -> None:
    with pytest.raises(PluginError, match="does not support"):
        Configuration.of(option)


def test_options_fall_back_to_the_variables_of_the_real_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_K8S_ENABLE_SECRET_MUTABLE", "true")
    assert Configuration.of({}).secret_mutable
    assert not Configuration.of({"enableSecretMutable": "false"}).secret_mutable


def test_without_its_own_kubeconfig_the_provider_uses_the_current_environment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, "https://127.0.0.1:6443"))
    client, _ = _api_client(Configuration(context="homelab"))
    assert client.configuration.host == "https://127.0.0.1:6443"
