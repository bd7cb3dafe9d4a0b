"""CloudNativePG's operator, asked for before the first resource of a stack whose database it is to run."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lookups.cluster import ForbiddenError
from lookups.operator import OperatorError, check_operator, find_problems, version_of
from settings.database import DatabaseSettings
from tests.unit.program import OPERATOR_DEPLOYMENT, load_settings

PLAIN = load_settings("dev")
DATABASE = DatabaseSettings(engine="cloudnative-pg", operator_namespace="databases")
SETTINGS = PLAIN.model_copy(update={"database": DATABASE})


class Cluster:
    """Has the API or not, and these Deployments in the namespace `databases`; None: they may not be read."""

    def __init__(self, *deployments: Any, api: bool = True, readable: bool = True) -> None:
        self._deployments, self._api, self._readable = deployments, api, readable

    def serves(self, api_version: str, resource: str) -> bool:
        return self._api and (api_version, resource) == ("postgresql.cnpg.io/v1", "clusters")

    def list(self, _version: str, resource: str, namespace: str) -> list[Any]:
        assert (resource, namespace) == ("deployments", "databases")
        if not self._readable:
            raise ForbiddenError("no")
        return list(self._deployments)


def deployment(image: str = "cloudnative-pg:1.27.0", **status: int) -> Any:
    one = copy.deepcopy(dict(OPERATOR_DEPLOYMENT))
    one["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return {**one, "status": status or {"availableReplicas": 1}}


def told(cluster: Cluster) -> list[str]:
    return [f"{what}: {fix}" for what, fix in find_problems(SETTINGS, cluster)]  # type: ignore[arg-type]


@pytest.mark.parametrize("image", ["cloudnative-pg:1.27.0", "a.example:5000/cnpg:v1.30.2@sha256:0", "cnpg@sha256:0"])
def test_an_operator_that_is_there_and_new_enough_is_no_problem(image: str) -> None:
    assert not told(Cluster(deployment(image)))


def test_what_is_missing_is_told_with_the_setting_that_leads_to_it() -> None:
    assert "no CloudNativePG" in told(Cluster(api=False))[0]
    stranger = {"metadata": {"name": "another", "labels": {}}}
    assert "database.operatorNamespace" in told(Cluster(stranger))[0]


def test_an_old_operator_that_does_not_run_is_told_both() -> None:
    away, old = told(Cluster(deployment("cloudnative-pg:1.26.1", replicas=1)))
    assert "not available" in away
    assert "cloudnative-pg:1.26.1, and 1.27 or newer is needed: upgrade it" in old


def test_all_of_it_is_one_message_and_nothing_is_asked_for_the_other_engine() -> None:
    with pytest.raises(OperatorError, match=r"(?s)database\.engine: cloudnative-pg.*Nothing was created.*install it"):
        check_operator(SETTINGS, Cluster(api=False))  # type: ignore[arg-type]
    check_operator(PLAIN, Cluster(api=False))  # type: ignore[arg-type]


def test_who_may_not_look_is_warned_and_not_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    assert not told(Cluster(readable=False))
    assert "databases, and is new enough, is not known" in warnings[0]


def test_a_version_is_read_from_the_tag_alone() -> None:
    assert version_of("registry.example.com:1.2/cnpg") is None
    assert version_of("ghcr.io/cloudnative-pg/cloudnative-pg:1.28.0-rc1") == (1, 28)
