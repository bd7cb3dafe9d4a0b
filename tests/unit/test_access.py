"""The internal route, from the gateway's listener to the app, and the earlier URNs of the public side."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.proto.alias_pb2 import Alias

from rehearsal.plugins.kubernetes.wait_for import expectations
from tests.unit.program import Program, Registration


def test_the_route_leads_from_the_listener_of_the_stack_to_the_apps_service(dev: Program, prod: Program) -> None:
    for program, listener in ((dev, "https-dev"), (prod, "https")):
        route = program.one("HTTPRoute").inputs["spec"]
        assert route["parentRefs"] == [{"name": "homelab-gateway", "namespace": "default", "sectionName": listener}]
        (rule,) = route["rules"]
        (backend,) = rule["backendRefs"]
        (port,) = program.one("Service", backend["name"]).inputs["spec"]["ports"]
        assert backend["port"] == port["port"]


def answer(parent: dict[str, str], accepted: str) -> dict[str, Any]:
    return {"parentRef": parent, "conditions": [{"type": "Accepted", "status": accepted}]}


def test_an_update_waits_a_limited_time_for_the_gateway_to_accept_the_route(program: Program) -> None:
    route = program.one("HTTPRoute")
    (accepted,) = expectations(route.inputs["metadata"]["annotations"]["pulumi.com/waitFor"])
    parent = route.inputs["spec"]["parentRefs"][0]
    for change in ({"name": "former"}, {"namespace": "former"}, {"sectionName": "former"}):
        for status in ("True", "False"):
            said = [answer({**parent, **change}, "False"), answer(parent, status)]
            assert accepted.is_met({"status": {"parents": said}}) == (status == "True")
            assert not accepted.is_met({"status": {"parents": [answer({**parent, **change}, status)]}})
    timeouts = route.request.customTimeouts
    assert timeouts.create == timeouts.update == "2m"


def test_the_url_in_the_outputs_is_the_one_that_the_route_serves(program: Program) -> None:
    (hostname,) = program.one("HTTPRoute").inputs["spec"]["hostnames"]
    assert program.outputs["url"] == f"https://{hostname}"


RELEASED = "urn:pulumi:prod::invoicetron::invoicetron:public_access:PublicAccess"


@pytest.mark.parametrize(
    ("kind", "urn"),
    [
        ("PublicHostname", f"{RELEASED}::public-access"),
        (
            "ZeroTrustAccessApplication",
            f"{RELEASED}$cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication::access-application",
        ),
        ("TunnelHostname", f"{RELEASED}$pulumi-python:dynamic/tunnel:TunnelHostname::tunnel-hostname"),
        ("DnsRecord", f"{RELEASED}$cloudflare:index/dnsRecord:DnsRecord::dns-record"),
        (
            "CiliumNetworkPolicy",
            f"{RELEASED}$kubernetes:cilium.io/v2:CiliumNetworkPolicy::invoicetron-cloudflared-egress",
        ),
    ],
)
def test_public_resources_of_the_last_release_keep_their_identity(prod: Program, kind: str, urn: str) -> None:
    assert urn in {aliased(each, alias) for each in prod.of(kind) for alias in each.request.aliases}


def aliased(resource: Registration, alias: Alias) -> str:
    """The URN that an alias stands for."""
    if alias.urn:
        return alias.urn
    *project, types, _ = (alias.spec.parentUrn or resource.parent).split("::")
    return "::".join([*project, f"{types}${alias.spec.type or resource.type}", alias.spec.name or resource.name])
