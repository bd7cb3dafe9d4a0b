"""Namespace and hostnames stand once, in the stack file: renamed there, the old ones are nowhere any more."""

from __future__ import annotations

import json

import pytest

from tests.unit.program import Program, run

OLD = {
    "namespace": "invoicetron-prod",
    "access.hostname": "invoicetron.k8s.rommelporras.com",
    "access.public.hostname": "invoicetron.rommelporras.com",
}
NEW = {
    "namespace": "invoicetron-staging",
    "access.hostname": "rechnungen.k8s.rommelporras.com",
    "access.public.hostname": "rechnungen.rommelporras.com",
}


@pytest.fixture(scope="module")
def renamed() -> Program:
    """prod with everything it has, under another stack's name, because the namespace bears that."""
    return run("staging", NEW, file="prod")


def places(program: Program, name: str) -> list[str]:
    """Resources and outputs in which the name stands."""
    inputs = [each.urn for each in program.registrations if name in json.dumps(each.inputs)]
    return inputs + [key for key, value in program.outputs.items() if name in json.dumps(value)]


@pytest.mark.parametrize("setting", NEW)
def test_a_renamed_namespace_or_hostname_is_everywhere_the_new_one(
    renamed: Program, prod: Program, setting: str
) -> None:
    assert places(renamed, OLD[setting]) == []
    assert len(places(renamed, NEW[setting])) == len(places(prod, OLD[setting])) > 0


def test_the_tunnel_and_cloudflared_s_policy_lead_to_the_renamed_namespace(renamed: Program) -> None:
    (rule,) = renamed.of("TunnelHostname")
    assert rule.inputs["service"] == "http://invoicetron.invoicetron-staging.svc.cluster.local:3000"
    policy = renamed.one("CiliumNetworkPolicy", "invoicetron-cloudflared-egress")
    assert "invoicetron-staging" in json.dumps(policy.inputs["spec"]["egress"])
    assert policy.inputs["metadata"]["namespace"] == "cloudflare"
