"""prod with several hostnames: each is guarded before it resolves, and adding or removing one changes no other."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from rehearsal.engine import EngineError
from rehearsal.homelab import ZONE
from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.test_public_access import destroy, watched

FIRST, SECOND, THIRD = (f"{name}.{ZONE}" for name in ("invoicetron", "rechnungen", "invoices"))
INSIDE = ("invoicetron.k8s.rommelporras.com", "rechnungen.k8s.rommelporras.com")
PARTS = ("access-application", "dns-record", "public-access", "tunnel-hostname")
"""The resources of a public hostname, by the beginnings of their names."""


def name_hostnames(rehearsal: Rehearsal, *, internal: Sequence[str], public: Sequence[str]) -> None:
    """Writes both lists into the stack file, in place of the present hostnames."""
    file = rehearsal.program.directory / "Pulumi.prod.yaml"
    content = yaml.safe_load(file.read_text())
    access = content["config"]["invoicetron:access"]
    for section, hostnames in ((access, internal), (access["public"], public)):
        section.pop("hostname", None)
        section["hostnames"] = list(hostnames)
    file.write_text(yaml.safe_dump(content))


def of(rehearsal: Rehearsal, *hostnames: str) -> dict[str, Any]:
    """What Cloudflare has for these hostnames, with ids."""
    cloudflare = rehearsal.cloudflare
    found: dict[str, Any] = {
        "applications": {id_: one for id_, one in cloudflare.applications.items() if one["domain"] in hostnames},
        "records": {id_: one for id_, one in cloudflare.records.items() if one["name"] in hostnames},
        "rules": [one for one in cloudflare.document["ingress"] if one.get("hostname") in hostnames],
    }
    assert {len(each) for each in found.values()} == {len(hostnames)}
    return copy.deepcopy(found)


def parts(*hostnames: str) -> set[str]:
    return {f"{part}-{hostname}" for part in PARTS for hostname in hostnames}


def inside(rehearsal: Rehearsal) -> tuple[list[str], str, list[str]]:
    """Hostnames of the route, the origins from which the app accepts logins, and the probed URLs."""

    def spec(kind: str) -> Any:
        return rehearsal.get(kind, "invoicetron", namespace="invoicetron-prod")["spec"]

    (container,) = spec("deployment")["template"]["spec"]["containers"]
    origins = {one["name"]: one.get("value") for one in container["env"]}["ADDITIONAL_TRUSTED_ORIGINS"]
    probed = spec("probe")["targets"]["staticConfig"]["static"]
    return spec("httproute")["hostnames"], origins, probed


def test_adding_and_removing_hostnames_changes_nothing_of_the_others(rehearsal: Rehearsal) -> None:
    exposed = watched(rehearsal)
    document, records = copy.deepcopy(rehearsal.cloudflare.document), set(rehearsal.cloudflare.records)
    rehearsal.program.init("prod")
    rehearsal.program.up("prod", "--skip-preview")
    first = of(rehearsal, FIRST)

    name_hostnames(rehearsal, internal=INSIDE, public=[FIRST, SECOND])
    added = rehearsal.program.up("prod", "--skip-preview").changes
    assert {name for name, op in added.items() if op == "create"} == parts(SECOND)
    assert not parts(FIRST) & added.keys()
    assert of(rehearsal, FIRST) == first
    assert inside(rehearsal) == (
        list(INSIDE),
        ",".join(f"https://{hostname}" for hostname in (*INSIDE, FIRST, SECOND)),
        [f"https://{hostname}/api/health" for hostname in INSIDE],
    )
    assert not rehearsal.program.up("prod", "--skip-preview").changes
    both = of(rehearsal, FIRST, SECOND)
    second = of(rehearsal, SECOND)

    # In another order, and a third one at the head of the list.
    name_hostnames(rehearsal, internal=INSIDE, public=[THIRD, SECOND, FIRST])
    changes = rehearsal.program.up("prod", "--skip-preview").changes
    assert {name for name, op in changes.items() if op == "create"} == parts(THIRD)
    assert not parts(FIRST, SECOND) & changes.keys()
    assert of(rehearsal, FIRST, SECOND) == both

    # Two are removed at once, among them the original one.
    name_hostnames(rehearsal, internal=INSIDE[1:], public=[SECOND])
    changes = rehearsal.program.up("prod", "--skip-preview").changes
    assert {name for name, op in changes.items() if op == "delete"} == parts(FIRST, THIRD)
    assert not parts(SECOND) & changes.keys()
    assert of(rehearsal, SECOND) == second
    assert inside(rehearsal)[0] == [INSIDE[1]]

    destroy(rehearsal)
    assert exposed == []
    assert rehearsal.cloudflare.document == document
    assert set(rehearsal.cloudflare.records) == records
    assert not rehearsal.cloudflare.applications


def test_objects_made_by_hand_for_a_further_hostname_are_adopted_under_its_name(rehearsal: Rehearsal) -> None:
    cloudflare = rehearsal.cloudflare
    application, record = cloudflare.add_application(SECOND, name="By hand"), cloudflare.add_record(SECOND)
    other = cloudflare.add_application(FIRST, name="By hand")
    rehearsal.program.init("prod")
    name_hostnames(rehearsal, internal=INSIDE, public=[FIRST, SECOND])
    rehearsal.configure("prod", f'access.public.adopt.hostnames["{SECOND}"].application', other)
    with pytest.raises(EngineError) as refused:
        rehearsal.program.preview("prod")
    told = str(refused.value)
    assert f"access.public.adopt.hostnames[{SECOND}].application is {other}" in told
    assert f"give {application}" in told
    rehearsal.configure("prod", f'access.public.adopt.hostnames["{SECOND}"].application', application)
    rehearsal.configure("prod", f'access.public.adopt.hostnames["{SECOND}"].dnsRecord', record)
    rehearsal.configure("prod", "access.public.adopt.application", other)
    changes = rehearsal.program.preview("prod").changes
    adopted = (f"access-application-{SECOND}", f"dns-record-{SECOND}", f"access-application-{FIRST}")
    assert {changes[name] for name in adopted} <= {"import", "update"}


def test_a_new_policy_replaces_the_old_one(rehearsal: Rehearsal) -> None:
    exposed = watched(rehearsal)
    rehearsal.program.init("prod")
    rehearsal.program.up("prod", "--skip-preview")
    family = rehearsal.cloudflare.add_policy("Allow Family", decision="allow", reusable=True)
    rehearsal.configure("prod", "access.public.policyName", "Allow Family")
    assert rehearsal.program.up("prod", "--skip-preview").changes == {f"access-application-{FIRST}": "update"}
    (application,) = rehearsal.cloudflare.applications.values()
    assert [policy["id"] for policy in application["policies"]] == [family]
    assert exposed == []
