"""Several hostnames: everything that names a hostname follows from one list."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from components.alerts import Watched, alerts
from lookups.cluster import Cluster
from lookups.ownership import in_cluster
from ops import verify
from ops.verify.check import examine
from ops.verify.systems import Systems
from settings import Settings
from tests.stacks import PROD
from tests.unit.program import Program, run
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_ownership import SERVES, Held, route

INSIDE = ["a.k8s.rommelporras.com", "b.k8s.rommelporras.com"]
PUBLIC = ["c.rommelporras.com", "d.rommelporras.com"]


def config(internal: list[str], public: list[str]) -> dict[str, object]:
    sections = with_value("prod", "access.hostname", None)
    del sections["access"]["public"]["hostname"]
    sections["access"]["hostnames"] = internal
    sections["access"]["public"]["hostnames"] = public
    return sections


@pytest.fixture(scope="module")
def several() -> Program:
    access = config(INSIDE, PUBLIC)["access"]
    return run("prod", {"access": access})


@pytest.fixture
def settings() -> Settings:
    return Settings.load(PROD, config(INSIDE, PUBLIC))


def test_route_origins_and_probe_follow_the_list(several: Program) -> None:
    assert several.one("HTTPRoute").inputs["spec"]["hostnames"] == INSIDE
    (container,) = several.one("Deployment").inputs["spec"]["template"]["spec"]["containers"]
    origins = {each["name"]: each.get("value") for each in container["env"]}["ADDITIONAL_TRUSTED_ORIGINS"]
    assert origins.split(",") == [f"https://{hostname}" for hostname in INSIDE + PUBLIC]
    probed = several.one("Probe").inputs["spec"]["targets"]["staticConfig"]["static"]
    assert probed == [f"https://{hostname}/api/health" for hostname in INSIDE]
    assert several.of("ProjectEnvironment")[0].inputs["externalUrl"] == f"https://{PUBLIC[0]}"


def test_each_public_hostname_has_all_three_in_the_order_of_exposure(several: Program) -> None:
    for hostname in PUBLIC:
        (application,) = [each for each in several.of("ZeroTrustAccessApplication") if hostname in each.name]
        (rule,) = [each for each in several.of("TunnelHostname") if hostname in each.name]
        (record,) = [each for each in several.of("DnsRecord") if hostname in each.name]
        named = application.inputs["domain"], rule.inputs["hostname"], record.inputs["name"]
        assert named == (hostname, hostname, hostname)
        assert application.urn in several.waits_for(rule)
        assert {application.urn, rule.urn} <= several.waits_for(record)


def test_the_tunnels_rules_are_written_one_after_the_other(several: Program) -> None:
    first, second = sorted(several.of("TunnelHostname"), key=lambda each: each.name)
    assert first.urn in several.waits_for(second)


def test_only_the_first_public_hostname_takes_the_names_of_the_last_release(several: Program) -> None:
    taking = [
        each.name
        for each in several.registrations
        if any("PublicAccess" in f"{alias.urn}{alias.spec.parentUrn}" for alias in each.request.aliases)
    ]
    assert not [name for name in taking if PUBLIC[1] in name]
    assert len([name for name in taking if PUBLIC[0] in name]) == 4


def test_a_missing_probe_of_one_hostname_alerts_even_if_another_answers() -> None:
    urls = [f"https://{hostname}/api/health" for hostname in INSIDE]
    found = {rule["alert"]: rule for rule in alerts(Watched(names=PROD, claims=["c"], health_urls=urls))}
    rule = found["InvoicetronNotProbed"]
    for url in urls:
        assert f'absent(probe_success{{job="{PROD.namespace}-health", instance="{url}"}})' in rule["expr"]


def test_each_hostname_is_verified_by_its_name(settings: Settings) -> None:
    names = [one.name for check in verify.CHECKS for one in check.each(settings)]
    for check, hostnames in (
        ("internal-url", INSIDE),
        ("access-application", PUBLIC),
        ("tunnel-rule", PUBLIC),
        ("dns-record", PUBLIC),
        ("public-url", PUBLIC),
    ):
        assert [name for name in names if name.startswith(check)] == [f"{check} {hostname}" for hostname in hostnames]
    assert names.count("route") == names.count("cloudflared-egress") == 1


def test_a_check_asks_for_its_own_hostname(settings: Settings) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.url.host == INSIDE[0] else 503)

    systems = Systems(settings, http=httpx.Client(transport=httpx.MockTransport(answer)))
    checks = [one for check in verify.CHECKS for one in check.each(settings) if one.name.startswith("internal-url")]
    assert [examine(check, systems).ok for check in checks] == [True, False]


@pytest.mark.parametrize("hostname", INSIDE)
def test_another_s_route_for_any_of_the_hostnames_is_refused(settings: Settings, hostname: str) -> None:
    theirs = route(settings, SERVES)
    theirs["spec"]["hostnames"] = [hostname]
    cluster: Cluster = Held(httproutes=[theirs])
    (claim,) = in_cluster(settings, cluster)
    assert (claim.what, claim.setting) == (f"the hostname {hostname}", "access.hostnames")


@pytest.mark.parametrize(
    ("internal", "public", "said"),
    [
        (INSIDE, [PUBLIC[0], INSIDE[0]], "without Cloudflare Access"),
        ([INSIDE[0], INSIDE[0]], PUBLIC, "each hostname once"),
        (INSIDE, [PUBLIC[0], PUBLIC[0]], "each hostname once"),
        ([], PUBLIC, "at least one hostname"),
        (INSIDE, [], "at least one hostname"),
        (INSIDE, ["c.example.org"], "inside the zone rommelporras.com"),
        (INSIDE, [PUBLIC[0], "x.d.rommelporras.com"], "universal certificate covers none further down"),
        (["A.example.com"], PUBLIC, "in lower case"),
    ],
)
def test_invalid_lists_are_refused_with_the_reason(internal: list[str], public: list[str], said: str) -> None:
    message = refusal("prod", config(internal, public))
    assert "1 mistake." in message
    assert said in " ".join(message.split())


@pytest.mark.parametrize("section", ["access", "access.public"])
def test_one_hostname_and_a_list_together_are_refused(section: str) -> None:
    assert "hostname or hostnames, not both" in refusal("prod", with_value("prod", f"{section}.hostnames", ["a.b"]))


@pytest.mark.parametrize("section", ["access", "access.public"])
def test_neither_a_hostname_nor_a_list_is_refused(section: str) -> None:
    message = refusal("prod", with_value("prod", f"{section}.hostname", None))
    assert f"invoicetron:{section}.hostnames\n      given:   nothing" in message


def test_the_ids_of_the_first_hostname_adopt_nothing_for_another() -> None:
    sections: Any = config(INSIDE, PUBLIC)
    sections["access"]["public"]["adopt"] = {"dnsRecord": "a" * 32}
    public = Settings.load(PROD, sections).access.public
    assert public
    assert [public.adopted(hostname).dns_record for hostname in PUBLIC] == ["a" * 32, None]


def test_ids_to_adopt_are_given_by_hostname() -> None:
    sections = json.loads(json.dumps(config(INSIDE, PUBLIC)))
    sections["access"]["public"]["adopt"] = {"tunnelRule": True, "hostnames": {PUBLIC[1]: {"dnsRecord": "a" * 32}}}
    public = Settings.load(PROD, sections).access.public
    assert public is not None
    assert [public.adopted(hostname).tunnel_rule for hostname in PUBLIC] == [True, False]
    assert [public.adopted(hostname).dns_record for hostname in PUBLIC] == [None, "a" * 32]
    sections["access"]["public"]["adopt"]["hostnames"] = {"other.rommelporras.com": {}}
    assert "hostnames of the stack: c.rommelporras.com, d.rommelporras.com" in refusal("prod", sections)


@pytest.mark.parametrize("own", [{"application": "0" * 8 + "-0000" * 3 + "-" + "0" * 12}, {"tunnelRule": True}])
def test_ids_of_the_first_hostname_are_not_given_in_two_places(own: dict[str, Any]) -> None:
    first = {"hostnames": {PUBLIC[0]: {"dnsRecord": "a" * 32}}}
    sections = json.loads(json.dumps(config(INSIDE, PUBLIC)))
    sections["access"]["public"]["adopt"] = {**own, **first}
    (key,) = own
    message = refusal("prod", sections)
    assert "1 mistake." in message
    assert f"invoicetron:access.public.adopt.{key}\n" in message
    assert f"adopt.hostnames[{PUBLIC[0]}]" in message
    sections["access"]["public"]["adopt"] = first
    assert Settings.load(PROD, sections)
