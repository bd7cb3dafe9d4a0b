"""What a stack needs in its cluster, checked before the first resource."""

from __future__ import annotations

from typing import Any

import pytest

from lookups.prerequisites import PrerequisitesError, check_prerequisites
from settings import Settings
from settings.database import DatabaseSettings
from tests.stacks import PROD
from tests.unit.answers import HELD
from tests.unit.program import load_settings
from tests.unit.stack_files import sections
from tests.unit.test_postgres_exporter import METRICS

PLAIN, MONITORED = load_settings("dev"), load_settings("prod")
OPERATED = PLAIN.model_copy(update={"database": DatabaseSettings(engine="cloudnative-pg")})
CILIUM, GATEWAY_API = "ciliumnetworkpolicies (cilium.io/v2)", "gateways and httproutes (gateway.networking.k8s.io/v1)"
KINDS = ("ciliumnetworkpolicies", "gateways", "httproutes", "probes", "prometheusrules")
PROMETHEUS = "probes and prometheusrules (monitoring.coreos.com/v1)"


class Cluster:
    """Serves these API groups, and has the Gateway of any stack file, with a listener of every name that is used."""

    def __init__(self, *groups: str) -> None:
        self._groups = groups

    def serves(self, api_version: str, _resource: str) -> bool:
        return api_version.partition("/")[0] in self._groups

    def served(self, api_version: str) -> tuple[str, ...]:
        return KINDS if self.serves(api_version, "") else ()

    def get(self, api_version: str, resource: str, _name: str, _namespace: str | None = None) -> Any:
        assert api_version == "v1" or self.serves(api_version, resource)
        if resource in {"namespaces", "gatewayclasses"}:
            return HELD.get(resource, {})
        return HELD["gateways"]

    def list(self, _api_version: str, resource: str, _namespace: str, *, selector: str) -> Any:
        return [{"metadata": {"labels": selector}}] if resource == "pods" else []


def refused(settings: Settings, *groups: str) -> str:
    with pytest.raises(PrerequisitesError) as caught:
        check_prerequisites(settings, Cluster(*groups))  # type: ignore[arg-type] # a fake
    return str(caught.value)


def test_everything_that_is_missing_is_reported_at_once() -> None:
    message = refused(OPERATED)
    assert "The cluster homelab is not ready for stack 'dev'. Nothing was created or changed." in message
    assert all(one in message for one in (CILIUM, GATEWAY_API, "CloudNativePG is not installed"))


@pytest.mark.parametrize("stack", [PLAIN, MONITORED])
def test_apis_that_the_stack_does_not_use_may_be_missing(stack: Settings) -> None:
    every = ("cilium.io", "gateway.networking.k8s.io")
    monitoring = ("monitoring.coreos.com",) if stack.monitoring else ()
    check_prerequisites(stack, Cluster(*every, *monitoring))  # type: ignore[arg-type] # a fake
    assert (PROMETHEUS in refused(stack, "cilium.io")) is bool(stack.monitoring)
    assert CILIUM not in refused(stack, "cilium.io")


def test_the_database_s_metrics_need_another_kind_of_the_prometheus_operator() -> None:
    measured = Settings.load(PROD, {**sections("prod"), "monitoring": METRICS})
    message = refused(measured, "cilium.io", "gateway.networking.k8s.io", "monitoring.coreos.com")
    assert "does not know podmonitors (monitoring.coreos.com/v1)" in message
