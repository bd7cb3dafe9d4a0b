"""The internal route: from the gateway's listener to the app."""

from __future__ import annotations

from tests.unit.program import Program


def test_the_route_leads_from_the_listener_of_the_stack_to_the_apps_service(dev: Program, prod: Program) -> None:
    for program, listener in ((dev, "https-dev"), (prod, "https")):
        route = program.one("HTTPRoute").inputs["spec"]
        assert route["parentRefs"] == [{"name": "homelab-gateway", "namespace": "default", "sectionName": listener}]
        (rule,) = route["rules"]
        (backend,) = rule["backendRefs"]
        (port,) = program.one("Service", backend["name"]).inputs["spec"]["ports"]
        assert backend["port"] == port["port"]


def test_an_update_waits_until_the_gateway_has_accepted_the_route_but_not_for_ever(program: Program) -> None:
    route = program.one("HTTPRoute")
    assert "Accepted" in route.inputs["metadata"]["annotations"]["pulumi.com/waitFor"]
    timeouts = route.request.customTimeouts
    assert timeouts.create == timeouts.update == "2m"


def test_the_url_that_people_are_told_is_the_one_that_the_route_serves(program: Program) -> None:
    (hostname,) = program.one("HTTPRoute").inputs["spec"]["hostnames"]
    assert program.outputs["url"] == f"https://{hostname}"
