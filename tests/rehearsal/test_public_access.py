"""prod's public side under the real engine: never a moment without Access, and nobody else's hostname touched."""

from __future__ import annotations

import copy
import json

import pytest

from rehearsal.engine import EngineError
from rehearsal.homelab import ZONE
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.server import Call, Fault

OURS = f"invoicetron.{ZONE}"


def watched(rehearsal: Rehearsal) -> list[str]:
    """Hostnames that were found exposed; checked after every call that Cloudflare answers."""
    exposed: list[str] = []

    def look(call: Call) -> None:
        exposed.extend(f"{name} after {call.method} {call.path}" for name in rehearsal.cloudflare.exposed())

    rehearsal.cloudflare.app.after.append(look)
    return exposed


def destroy(rehearsal: Rehearsal) -> None:
    rehearsal.program.run("state", "unprotect", "--all", "--yes", "--stack", "prod")
    rehearsal.program.destroy("prod", "--skip-preview")


def test_the_app_is_never_reachable_without_access_and_nobody_elses_hostname_is_touched(rehearsal: Rehearsal) -> None:
    exposed = watched(rehearsal)
    before = copy.deepcopy(rehearsal.cloudflare.document)
    records = set(rehearsal.cloudflare.records)
    rehearsal.program.init("prod")
    rehearsal.cloudflare.app.fail(
        Fault(status=400, body=b'{"success": false, "errors": [{"code": 9999, "message": "no"}]}'),
        method="POST",
        path="dns_records",
    )
    with pytest.raises(EngineError):
        rehearsal.program.up("prod", "--skip-preview")
    rehearsal.program.up("prod", "--skip-preview")
    (application,) = rehearsal.cloudflare.applications.values()
    assert application["domain"] == OURS
    assert [policy["id"] for policy in application["policies"]] == [rehearsal.cloudflare.policy_id]
    assert rehearsal.cloudflare.others_rules(OURS) == before["ingress"]
    destroy(rehearsal)
    assert exposed == []
    assert rehearsal.cloudflare.document == before
    assert set(rehearsal.cloudflare.records) == records
    assert not rehearsal.cloudflare.applications


def test_a_policy_that_would_let_everybody_in_stops_the_program_before_anything_is_made(rehearsal: Rehearsal) -> None:
    wrong = rehearsal.cloudflare.add_policy("Allow Admin", decision="bypass")
    rehearsal.program.init("prod")
    rehearsal.configure("prod", "access.public.policyId", wrong)
    with pytest.raises(EngineError, match="decision") as refused:
        rehearsal.program.up("prod")
    assert "Traceback" not in str(refused.value)
    assert not rehearsal.cloudflare.app.writes
    assert "invoicetron-prod" not in rehearsal.kubectl("get", "namespaces", "-o", "name")


def test_a_record_that_points_elsewhere_is_adopted_only_if_the_stack_file_says_so(rehearsal: Rehearsal) -> None:
    record = rehearsal.cloudflare.add_record(OURS)
    rehearsal.cloudflare.records[record]["content"] = "old.example.com"
    rehearsal.program.init("prod")
    with pytest.raises(EngineError, match=f"adopt.dnsRecord to {record}"):
        rehearsal.program.preview("prod")
    rehearsal.configure("prod", "access.public.adopt.dnsRecord", record)
    assert rehearsal.program.preview("prod").changes[f"dns-record-{OURS}"] in {"import", "update"}


def test_the_old_hostname_appears_nowhere_after_a_rename(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("prod")
    rehearsal.program.up("prod", "--skip-preview")
    rehearsal.configure("prod", "access.public.hostname", f"rechnungen.{ZONE}")
    exposed = watched(rehearsal)
    rehearsal.program.up("prod", "--skip-preview")
    everywhere = [
        json.dumps(list(rehearsal.cloudflare.applications.values())),
        json.dumps(rehearsal.cloudflare.document),
        json.dumps(list(rehearsal.cloudflare.records.values())),
        rehearsal.kubectl("-n", "invoicetron-prod", "get", "deployments,httproutes,probes,configmaps", "-o", "json"),
    ]
    assert [text for text in everywhere if OURS in text] == []
    assert sum(f"rechnungen.{ZONE}" in text for text in everywhere) == len(everywhere)
    assert exposed == []


def test_objects_missing_from_the_state_are_adopted_by_id_and_only_their_differences_change(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.program.init("prod")
    rehearsal.program.up("prod", "--skip-preview")
    assert rehearsal.cloudflare.token not in json.dumps(rehearsal.program.export("prod"))
    (application,) = rehearsal.cloudflare.applications
    (record,) = [id_ for id_, one in rehearsal.cloudflare.records.items() if one["name"] == OURS]
    # The first depends on all the others, and `state delete` deletes nothing that something else depends on.
    public = [f"{name}-{OURS}" for name in ("dns-record", "tunnel-hostname", "access-application")]
    for name in ["namespace-deletion", *public]:
        urn = next(one for one in _urns(rehearsal) if one.endswith(f"::{name}"))
        rehearsal.program.run("state", "delete", "--yes", "--force", "--stack", "prod", urn)  # one is protected
    rehearsal.configure("prod", "access.public.adopt.application", application)
    rehearsal.configure("prod", "access.public.adopt.dnsRecord", record)
    rehearsal.cloudflare.applications[application]["session_duration"] = "12h"
    update = rehearsal.program.up("prod")
    assert update.changes == {
        f"access-application-{OURS}": "update",
        f"dns-record-{OURS}": "import",
        f"tunnel-hostname-{OURS}": "create",
        "namespace-deletion": "create",
    }
    assert f"access-application-{OURS} update [diff: ~sessionDuration]" in update.output
    assert rehearsal.cloudflare.applications[application]["session_duration"] == "24h"
    assert set(rehearsal.cloudflare.applications) == {application}
    assert not rehearsal.program.up("prod", "--skip-preview").changes, "the ids may stay in the stack file"


def _urns(rehearsal: Rehearsal) -> list[str]:
    return [resource["urn"] for resource in rehearsal.program.export("prod")["deployment"]["resources"]]
