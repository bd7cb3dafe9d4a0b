"""App and hostnames are named in one place: after a rename there, the old names are gone everywhere."""

from __future__ import annotations

import json

import pytest

from settings.names import PROGRAM
from tests.unit.answers import REGISTRY
from tests.unit.program import Program, run
from tests.unit.test_offsite import S3, VALUES

OLD = {
    "access.hostname": "invoicetron.k8s.rommelporras.com",
    "access.public.hostname": "invoicetron.rommelporras.com",
}
NEW = {
    "access.hostname": "rechnungen.k8s.rommelporras.com",
    "access.public.hostname": "rechnungen.rommelporras.com",
}


@pytest.fixture(scope="module")
def renamed() -> Program:
    """prod with everything it has, under another stack's name, because the namespace contains the name."""
    return run("staging", NEW, file="prod")


def places(program: Program, name: str) -> list[str]:
    """Resources and outputs that contain the name."""
    inputs = [each.urn for each in program.registrations if name in json.dumps(each.inputs)]
    return inputs + [key for key, value in program.outputs.items() if name in json.dumps(value)]


@pytest.mark.parametrize("setting", NEW)
def test_a_renamed_hostname_is_renamed_everywhere(renamed: Program, prod: Program, setting: str) -> None:
    assert places(renamed, OLD[setting]) == []
    assert len(places(renamed, NEW[setting])) == len(places(prod, OLD[setting])) > 0


def test_a_stack_with_another_name_has_its_own_namespace(renamed: Program, prod: Program) -> None:
    assert places(renamed, "invoicetron-prod") == []
    assert len(places(renamed, "invoicetron-staging")) == len(places(prod, "invoicetron-prod")) > 0


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_an_app_with_another_name_shares_nothing_with_the_first(stack: str) -> None:
    gitlab = {"getProject": {"containerRegistryImagePrefix": REGISTRY.replace("invoicetron", "ledger")}}
    other = run(stack, {"backup.s3": S3}, values=VALUES, gitlab=gitlab, project="ledger")
    kept = {f'"{PROGRAM}/deploy-token": "gitlab+deploy-token-2"': "", f'"{PROGRAM}/postgres-major": "18"': ""}
    for each in other.registrations:
        text = json.dumps(each.inputs)
        for same_for_all, nothing in kept.items():
            text = text.replace(same_for_all, nothing)
        assert "invoicetron" not in text.lower(), f"{each.urn}: {text}"
        assert "invoicetron" not in each.name
    assert "invoicetron" not in json.dumps(other.outputs)
    assert other.outputs["namespace"] == f"ledger-{stack}"


def test_the_tunnel_and_cloudflared_s_policy_lead_to_the_renamed_namespace(renamed: Program) -> None:
    (rule,) = renamed.of("TunnelHostname")
    assert rule.inputs["service"] == "http://invoicetron.invoicetron-staging.svc.cluster.local:3000"
    policy = renamed.one("CiliumNetworkPolicy", "invoicetron-cloudflared-egress")
    assert "invoicetron-staging" in json.dumps(policy.inputs["spec"]["egress"])
    assert policy.inputs["metadata"]["namespace"] == "cloudflare"
