"""Every call that `up` and `destroy` of dev make to GitLab fails once, in each way in which GitLab can fail.

A call is a method and a path; the variables, which share one, fail once together. A fault that passes within the
plugin's retries must heal unseen. Any other ends the run with a message. The next run gets one call further, and so on
until a run passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from rehearsal.engine import EngineError, Update
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.server import Fault
from tests.rehearsal.test_delivery import active_tokens, gitlab, pull_login

NOTHING: dict[str, list[str]] = {"environments": [], "variables": [], "tokens": []}
RUNS = 25
"""More than there are calls that wait for one another."""

TOO_MANY = Fault(status=429, headers={"Retry-After": "0"}, body=b'{"message": "429 Too Many Requests"}')
BROKEN = Fault(status=502, body=b"<html>Bad Gateway</html>", headers={"Content-Type": "text/html"})
SLOW = Fault(delay=0.3)
REFUSED = Fault(status=400, body=b'{"message": "400 Bad request"}')
LOST = Fault(reset=True, after_effect=True)
UNASKED = Fault(reset=True)


def until_it_passes(run: Callable[[], Update]) -> list[str]:
    """Repeats the run until it passes; returns the output of those that failed."""
    said: list[str] = []
    while len(said) < RUNS:
        try:
            run()
        except EngineError as error:
            said.append(str(error))
        else:
            return said
    raise AssertionError(f"no run passed; the last one said:\n{said[-1]}")


def errors(output: str) -> list[str]:
    """The errors of a run, each with the lines that belong to it."""
    diagnostics = output.rpartition("\nDiagnostics:\n")[2].partition("\nResources:\n")[0]
    found = re.findall(r"^ {4}error: (.*?)(?=^ {0,4}\S|\Z)", diagnostics, flags=re.MULTILINE | re.DOTALL)
    ended = "an unhandled error occurred: program exited with non-zero exit code: 1"
    return [one.strip() for one in found if one.strip() not in {"update failed", "preview failed", ended}]


def assert_clear(said: list[str], rehearsal: Rehearsal) -> None:
    for output in said:
        assert "Traceback" not in output
        assert not [secret for secret in rehearsal.gitlab.handed_out if secret in output]
        told = errors(output)
        assert told, output
        for error in told:
            assert "GitLab" in error, output
            assert len(error) < 900, error


@pytest.mark.parametrize(("first", "second"), [(TOO_MANY, BROKEN), (BROKEN, TOO_MANY)], ids=["429", "502"])
def test_a_transient_fault_heals_at_every_call_of_up_and_destroy(
    rehearsal: Rehearsal, first: Fault, second: Fault
) -> None:
    rehearsal.program.init("dev")
    rehearsal.gitlab.app.fail_each(first)
    rehearsal.program.up("dev")
    assert len(active_tokens(rehearsal)) == len(gitlab(rehearsal)["environments"]) == 1
    rehearsal.gitlab.app.forget()
    rehearsal.gitlab.app.fail_each(second)
    rehearsal.program.destroy("dev")
    assert gitlab(rehearsal) == NOTHING


@pytest.mark.parametrize("fault", [REFUSED, UNASKED], ids=["refused", "not asked"])
def test_any_other_fault_is_one_message_for_each_call_and_a_later_run_finishes(
    rehearsal: Rehearsal, fault: Fault
) -> None:
    rehearsal.program.init("dev")
    rehearsal.gitlab.app.fail_each(fault)
    said = until_it_passes(lambda: rehearsal.program.up("dev", "--skip-preview"))
    assert_clear(said, rehearsal)
    assert len(said) > 5
    rehearsal.gitlab.app.forget()
    rehearsal.gitlab.app.fail_each(SLOW)
    assert not rehearsal.program.up("dev", "--skip-preview").changes
    assert len(active_tokens(rehearsal)) == len(gitlab(rehearsal)["environments"]) == 1
    rehearsal.gitlab.app.forget()
    rehearsal.gitlab.app.fail_each(fault)
    assert_clear(until_it_passes(lambda: rehearsal.program.destroy("dev", "--skip-preview")), rehearsal)
    assert gitlab(rehearsal) == NOTHING


def test_after_a_lost_answer_objects_are_found_again_and_a_lost_token_is_revoked(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.program.init("dev")
    rehearsal.gitlab.app.fail_each(LOST, method="POST")
    assert_clear(until_it_passes(lambda: rehearsal.program.up("dev", "--skip-preview")), rehearsal)
    # GitLab shows a token once: `up` cannot know the lost one. It issues another, and revokes the one that is lost.
    (token,) = active_tokens(rehearsal)
    assert rehearsal.gitlab.project.deploy_tokens.may_pull(*pull_login(rehearsal, "dev"))
    assert token["username"] == pull_login(rehearsal, "dev")[0]
    rehearsal.gitlab.app.forget()
    assert not rehearsal.program.up("dev", "--skip-preview").changes
    for method in ("POST", "DELETE"):
        rehearsal.gitlab.app.fail_each(LOST, method=method)
    assert_clear(until_it_passes(lambda: rehearsal.program.destroy("dev", "--skip-preview")), rehearsal)
    assert gitlab(rehearsal) == NOTHING


def test_after_a_lost_answer_no_second_mirror_stays_and_a_protected_environment_is_found_again(
    rehearsal: Rehearsal,
) -> None:
    project = rehearsal.gitlab.project
    project.licensed = True
    by_hand = project.mirrors.create({"url": "ssh://git@github.com/rommelporras/elsewhere.git", "enabled": True})
    rehearsal.program.init("prod")
    rehearsal.configure("prod", "repository.protectedEnvironments[0]", "production")
    rehearsal.gitlab.app.fail_each(LOST, method="POST", path="/(remote_mirrors|protected_environments)$")
    said = until_it_passes(lambda: rehearsal.program.up("prod", "--skip-preview"))
    assert_clear(said, rehearsal)
    assert len(said) <= 2, "one for each lost answer"
    other, own = project.mirrors.entries({})
    assert other == by_hand
    resources = rehearsal.program.export("prod")["deployment"]["resources"]
    assert f"57:{own['id']}" in [one["id"] for one in resources if one["type"].endswith("ProjectPushMirror")]
    assert len(project.protected_environments.entries({})) == 1
    assert not rehearsal.program.up("prod", "--skip-preview").changes
