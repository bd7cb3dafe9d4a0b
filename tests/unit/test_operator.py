"""CloudNativePG's operator, checked before the first resource of a stack whose database it is to run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from lookups.cluster import ForbiddenError
from lookups.operator import find_problems, upgrades_safely, version_of
from settings import Settings
from settings.database import DatabaseSettings
from tests.unit.operator_objects import OPERATOR_DEPLOYMENT, PLUGIN_DEPLOYMENT, PLUGIN_SERVICE
from tests.unit.program import load_settings
from tests.unit.test_wal_archive import WAL

PLAIN = load_settings("dev")
DATABASE = DatabaseSettings(engine="cloudnative-pg", operator_namespace="databases")
SETTINGS = PLAIN.model_copy(update={"database": DATABASE})
WITH_ARCHIVE = PLAIN.model_copy(
    update={
        "database": DatabaseSettings.model_validate(
            {"engine": "cloudnative-pg", "operatorNamespace": "databases", "wal": WAL}
        )
    }
)


class Cluster:
    """Serves the APIs or not; has these Deployments and Services in the namespace `databases`, if they can be read."""

    def __init__(
        self,
        *deployments: Any,
        api: bool = True,
        readable: bool = True,
        stores: bool = False,
        services: Sequence[Any] = (),
    ) -> None:
        self._readable = readable
        self._held = {"deployments": list(deployments), "services": list(services)}
        apis = {("postgresql.cnpg.io/v1", "clusters"): api, ("barmancloud.cnpg.io/v1", "objectstores"): stores}
        self._apis = {one for one, served in apis.items() if served}

    def serves(self, api_version: str, resource: str) -> bool:
        return (api_version, resource) in self._apis

    def list(self, _version: str, resource: str, namespace: str, *, selector: str | None = None) -> list[Any]:
        assert namespace == "databases"
        assert selector == (None if resource == "deployments" else "cnpg.io/pluginName=barman-cloud.cloudnative-pg.io")
        if not self._readable:
            raise ForbiddenError("no")
        return self._held[resource]


def deployment(image: str = "cloudnative-pg:1.27.0", **status: int) -> Any:
    one = copy.deepcopy(dict(OPERATOR_DEPLOYMENT))
    one["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return {**one, "status": status or {"availableReplicas": 1}}


def told(cluster: Cluster, settings: Settings = SETTINGS) -> list[str]:
    return [f"{what}: {fix}" for what, fix in find_problems(settings, cluster)]  # type: ignore[arg-type]


@pytest.mark.parametrize("image", ["cloudnative-pg:1.27.0", "a.example:5000/cnpg:v1.30.2@sha256:0", "cnpg@sha256:0"])
def test_an_operator_that_runs_and_is_new_enough_is_no_problem(image: str) -> None:
    assert not told(Cluster(deployment(image)))


def test_a_missing_operator_is_reported_with_the_setting_that_locates_it() -> None:
    (missing,) = told(Cluster(api=False))
    assert "CloudNativePG is not installed" in missing
    (elsewhere,) = told(Cluster({"metadata": {"name": "another", "labels": {}}}))
    assert "database.operatorNamespace" in elsewhere


def test_both_problems_of_an_old_operator_that_does_not_run_are_reported() -> None:
    away, old = told(Cluster(deployment("cloudnative-pg:1.26.1", replicas=1)))
    assert "not available" in away
    assert "cloudnative-pg:1.26.1, and 1.27 or newer is needed: upgrade it" in old


def test_a_user_who_may_not_look_is_warned_and_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    assert not told(Cluster(readable=False))
    assert "databases and is new enough." in warnings[0]


def test_a_version_is_read_from_the_tag_alone() -> None:
    assert version_of("registry.example.com:1.2/cnpg") is None
    assert version_of("ghcr.io/cloudnative-pg/cloudnative-pg:1.28.0-rc1") == (1, 28)


def test_the_plugin_is_required_only_if_the_log_is_archived() -> None:
    cluster = Cluster(deployment())
    assert not told(cluster)
    (missing,) = told(cluster, WITH_ARCHIVE)
    assert "The plugin barman-cloud, which database.wal needs, is not installed" in missing


def test_a_plugin_that_the_operator_finds_and_that_runs_is_no_problem() -> None:
    cluster = Cluster(deployment(), PLUGIN_DEPLOYMENT, stores=True, services=[PLUGIN_SERVICE])
    assert not told(cluster, WITH_ARCHIVE)


def test_a_plugin_in_another_namespace_or_without_a_pod_is_reported() -> None:
    (hidden,) = told(Cluster(deployment(), stores=True), WITH_ARCHIVE)
    assert "finds no plugin barman-cloud in databases" in hidden
    away = {**PLUGIN_DEPLOYMENT, "status": {"replicas": 1}}
    for found in (away, {**PLUGIN_DEPLOYMENT, "spec": {"template": {}}}):
        (said,) = told(Cluster(deployment(), found, stores=True, services=[PLUGIN_SERVICE]), WITH_ARCHIVE)
        assert said == "The plugin barman-cloud is not available: kubectl -n databases get pods -l app=barman-cloud"


def test_a_user_who_may_not_look_for_the_plugin_is_warned_too(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    assert not told(Cluster(readable=False, stores=True), WITH_ARCHIVE)
    assert "the plugin barman-cloud runs in databases." in warnings[1]


@pytest.mark.parametrize(
    ("tag", "safely"),
    [
        ("1.26.3", False),
        ("1.27.0", False),
        ("v1.27.4", True),
        ("1.28.1", False),
        ("1.28.2@sha256:0", True),
        ("1.29.0", True),
        ("2.0.0", True),
        ("nightly", True),
    ],
)
def test_upgrades_in_place_need_an_operator_that_rolls_back_a_failed_one(tag: str, safely: bool) -> None:
    assert upgrades_safely(f"ghcr.io/cloudnative-pg/cloudnative-pg:{tag}") is safely
