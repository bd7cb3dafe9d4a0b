"""Every call that `up` and `destroy` of prod make to Cloudflare fails once, in each way in which Cloudflare can fail.

As in test_gitlab_faults.py: a fault that passes within the client's retries heals unseen. Any other ends the run with a
message, and the next run gets one call further. Nobody else's hostname is touched, and the app is never public without
Access. The engine is also killed at each write.
"""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from rehearsal.engine import EngineError, Update
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.cloudflare import Cloudflare
from rehearsal.vendors.server import Call, Fault
from tests.rehearsal.killed import wait_for_plugins
from tests.rehearsal.test_delivery import pull_login
from tests.rehearsal.test_gitlab_faults import until_it_passes
from tests.rehearsal.test_killed_engine import recover
from tests.rehearsal.test_public_access import OURS, destroy, watched

ERROR = json.dumps({"success": False, "errors": [{"code": 9999, "message": "no"}], "messages": [], "result": None})
TOO_MANY = Fault(status=429, headers={"Retry-After": "0"}, body=ERROR.encode())
BROKEN = Fault(status=500, headers={"Retry-After": "0"}, body=ERROR.encode())
REFUSED = Fault(status=400, body=ERROR.encode())
BY_HAND = ("gitlab+deploy-token-1", "a-token-made-by-hand")
LOST = Fault(reset=True, after_effect=True)


class Others:
    """Everything at Cloudflare that is not ours, as it was before."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.cloudflare: Cloudflare = rehearsal.cloudflare
        self._document = copy.deepcopy(self.cloudflare.document)
        self._records = dict(self.cloudflare.records)
        self._exposed = watched(rehearsal)

    def are_untouched(self) -> bool:
        mine = {id_ for id_, record in self.cloudflare.records.items() if record["name"] == OURS}
        records = {id_: record for id_, record in self.cloudflare.records.items() if id_ not in mine}
        rules = self.cloudflare.others_rules(OURS)
        rest = {**self.cloudflare.document, "ingress": rules}
        return rest == self._document and records == self._records and self._exposed == []

    def are_alone(self) -> bool:
        """Whether nothing of ours is left."""
        return self.are_untouched() and self.cloudflare.document == self._document and not self.cloudflare.applications


def own(cloudflare: Cloudflare) -> tuple[int, int, int]:
    """How many applications, rules and records there are for our hostname."""
    return (
        sum(one["domain"] == OURS for one in cloudflare.applications.values()),
        sum(rule.get("hostname") == OURS for rule in cloudflare.document["ingress"]),
        sum(record["name"] == OURS for record in cloudflare.records.values()),
    )


@pytest.fixture
def others(rehearsal: Rehearsal) -> Iterator[Others]:
    others = Others(rehearsal)
    rehearsal.program.init("prod")
    # A test of Cloudflare alone does not need the time that these take.
    for section in ("delivery", "repository", "monitoring", "backup"):
        rehearsal.program.run("config", "rm", "--stack", "prod", f"invoicetron:{section}")
    username, password = BY_HAND
    rehearsal.onepassword.put("Invoicetron Prod Deploy Token", {}, username=username, password=password)
    yield others
    assert others.are_untouched()


@pytest.mark.parametrize("fault", [TOO_MANY, BROKEN], ids=["429", "500"])
def test_a_transient_fault_heals_at_every_call_of_up_and_destroy(
    rehearsal: Rehearsal, others: Others, fault: Fault
) -> None:
    rehearsal.cloudflare.app.fail_each(fault)
    rehearsal.program.up("prod")
    assert own(rehearsal.cloudflare) == (1, 1, 1)
    assert pull_login(rehearsal, "prod") == BY_HAND, "without delivery, the user keeps the credentials"
    rehearsal.cloudflare.app.forget()
    rehearsal.cloudflare.app.fail_each(fault)
    destroy(rehearsal)
    assert others.are_alone()


def test_a_refused_call_is_reported_and_a_later_run_finishes(rehearsal: Rehearsal, others: Others) -> None:
    rehearsal.cloudflare.app.fail_each(REFUSED)
    said = until_it_passes(lambda: rehearsal.program.up("prod", "--skip-preview"))
    assert len(said) > 4
    assert not [output for output in said if "Traceback" in output]
    assert all("9999" in output and "no" in output for output in said), "each message has Cloudflare's own words"
    assert own(rehearsal.cloudflare) == (1, 1, 1)
    rehearsal.cloudflare.app.forget()
    rehearsal.cloudflare.app.fail_each(REFUSED)
    rehearsal.program.run("state", "unprotect", "--all", "--yes", "--stack", "prod")
    until_it_passes(lambda: rehearsal.program.destroy("prod", "--skip-preview"))
    assert others.are_alone()


def test_recover_records_what_a_call_created_whose_answer_was_lost(rehearsal: Rehearsal, others: Others) -> None:
    rehearsal.cloudflare.app.fail_each(LOST, method="POST")
    rehearsal.cloudflare.app.fail_each(LOST, method="PUT")

    def up_and_recover() -> Update:
        try:
            return rehearsal.program.up("prod", "--skip-preview")
        except EngineError:
            recover(rehearsal, "prod")
            raise

    assert until_it_passes(up_and_recover)
    assert own(rehearsal.cloudflare) == (1, 1, 1)
    rehearsal.cloudflare.app.fail_each(Fault(delay=0.3))
    assert not rehearsal.program.up("prod", "--skip-preview").changes
    rehearsal.cloudflare.app.fail_each(LOST, method="DELETE")
    rehearsal.program.run("state", "unprotect", "--all", "--yes", "--stack", "prod")
    until_it_passes(lambda: rehearsal.program.destroy("prod", "--skip-preview"))
    assert others.are_alone()


def killed_at_the_next_new_write(rehearsal: Rehearsal, operation: str, seen: set[tuple[str, str]]) -> bool:
    """Kills the engine once Cloudflare has done a write not in `seen`, and adds it; returns whether it was killed."""
    command = [
        str(rehearsal.program.pulumi),
        operation,
        "--yes",
        "--skip-preview",
        "--stack",
        "prod",
        "--non-interactive",
    ]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            command,
            cwd=rehearsal.program.directory,
            env=dict(rehearsal.program.environment),
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as engine,
    ):

        def kill(call: Call) -> None:
            if call.method != "GET" and (call.method, call.path) not in seen and engine.poll() is None:
                seen.add((call.method, call.path))
                engine.send_signal(signal.SIGKILL)

        rehearsal.cloudflare.app.after.append(kill)
        try:
            status = engine.wait(timeout=600)
        finally:
            rehearsal.cloudflare.app.after.remove(kill)
        said.seek(0)
        output = said.read()
    wait_for_plugins(rehearsal)
    assert status in {0, -signal.SIGKILL}, output
    return status != 0


def test_an_engine_that_is_killed_at_any_write_loses_nothing_and_exposes_nothing(
    rehearsal: Rehearsal, others: Others
) -> None:
    for operation, writes in (("up", ["POST", "POST", "PUT"]), ("destroy", ["DELETE", "DELETE", "PUT"])):
        seen: set[tuple[str, str]] = set()
        while killed_at_the_next_new_write(rehearsal, operation, seen):
            recover(rehearsal, "prod")
            assert others.are_untouched()
        assert sorted(method for method, _ in seen) == writes
        if operation == "up":
            assert own(rehearsal.cloudflare) == (1, 1, 1)
            assert not rehearsal.program.up("prod", "--skip-preview").changes
            rehearsal.program.run("state", "unprotect", "--all", "--yes", "--stack", "prod")
    assert others.are_alone()
