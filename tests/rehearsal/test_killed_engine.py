"""The engine is killed while it works; `ops recover` and the next `up` put everything right."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from rehearsal.lifecycle import Lifecycle
from rehearsal.plugins.fork_server import SOCKET
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.server import Call
from tests.kills import kills
from tests.rehearsal.killed import wait_for_plugins
from tests.rehearsal.ops_command import ops


def recover(rehearsal: Rehearsal, stack: str) -> str:
    """`python -m ops recover`."""
    return ops(rehearsal, "recover", stack, timeout=120)


OWN = "processes of their own"


@pytest.fixture(params=["forks", OWN])
def either_way(rehearsal: Rehearsal, request: pytest.FixtureRequest) -> Rehearsal:
    """A rehearsal with each of the two ways in which stand-ins start."""
    if request.param == OWN:
        (rehearsal.program.directory.parent / "bin" / SOCKET).unlink(missing_ok=True)
    return rehearsal


def test_an_up_killed_repeatedly_is_finished_by_the_next_without_duplicates(
    either_way: Rehearsal, request: pytest.FixtureRequest
) -> None:
    rehearsal = either_way
    lifecycle = Lifecycle(rehearsal, "dev")
    rehearsal.program.init("dev")
    for number in range(kills(12) if OWN in request.node.name else 10):
        assert rehearsal.program.up_killed("dev", at=3), f"kill {number} came too late: the update had ended"
        wait_for_plugins(rehearsal)
        recover(rehearsal, "dev")
    rehearsal.program.up("dev", "--skip-preview")

    assert not rehearsal.program.up("dev", "--skip-preview").changes
    names = [resource["urn"] for resource in rehearsal.program.export("dev")["deployment"]["resources"]]
    assert len(names) == len(set(names))
    project = rehearsal.gitlab.project
    assert len(project.environments.entries({})) == 1
    assert len(project.deploy_tokens.entries({})) <= 1
    objects = lifecycle.objects()
    rehearsal.program.destroy("dev", "--skip-preview")
    assert objects
    assert not lifecycle.objects()


def killed_at(rehearsal: Rehearsal, stack: str, *paths: str) -> bool:
    """Starts an `up`, and kills the engine while GitLab makes the first object at one of these paths."""
    program = rehearsal.program
    command = [str(program.pulumi), "up", "--yes", "--skip-preview", "--stack", stack, "--non-interactive"]
    with subprocess.Popen(
        command, cwd=program.directory, env=dict(program.environment), stdout=subprocess.DEVNULL
    ) as engine:

        def kill(call: Call) -> None:
            if call.method == "POST" and call.path.endswith(paths):
                engine.kill()

        rehearsal.gitlab.app.before.append(kill)
        engine.wait(timeout=240)
        rehearsal.gitlab.app.before.remove(kill)
    wait_for_plugins(rehearsal)
    return engine.returncode == -signal.SIGKILL


def test_what_gitlab_had_made_and_the_next_up_would_not_find_is_recorded_and_not_made_twice(
    rehearsal: Rehearsal,
) -> None:
    project = rehearsal.gitlab.project
    project.licensed = True
    rehearsal.program.init("prod")
    rehearsal.configure("prod", "repository.protectedEnvironments[0]", "production")
    paths = ("/remote_mirrors", "/protected_environments")
    told, kills_left = "", len(paths)
    while killed_at(rehearsal, "prod", *paths):
        assert kills_left, f"GitLab is asked again for what it has made already:\n{told}"
        kills_left -= 1
        told += recover(rehearsal, "prod")
    assert re.search(r"^created, now recorded: \S+ProjectPushMirror::", told, flags=re.MULTILINE), told
    later = r"^created, recorded by the next `up`: \S+ProjectProtectedEnvironment::"
    assert re.search(later, told, flags=re.MULTILINE), told
    assert not rehearsal.program.up("prod", "--skip-preview").changes
    (mirror,) = project.mirrors.entries({})
    assert mirror["host_keys"]
    assert len(project.protected_environments.entries({})) == 1


def test_recover_says_so_if_nothing_is_wrong(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    asked = rehearsal.program.environment["GITLAB_BASE_URL"].partition("/api/")[0]
    assert recover(rehearsal, "dev").strip() == f"Using GitLab at {asked}.\nNow run: pulumi up -s dev"


def test_recover_leaves_a_running_up_alone(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    refused: list[str] = []

    def meanwhile(call: Call) -> None:
        if call.method == "POST" and "deploy_tokens" in call.path:
            arguments = [sys.executable, "-m", "ops", "recover", "--stack", "dev", "--yes"]
            directory, environment = rehearsal.program.directory, dict(rehearsal.program.environment)
            done = subprocess.run(
                arguments, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=60
            )
            refused.append(done.stderr)

    rehearsal.gitlab.app.before.append(meanwhile)
    rehearsal.program.up("dev", "--skip-preview")
    rehearsal.gitlab.app.before.clear()
    (words,) = refused
    assert "Stack dev is being worked on: process" in words
    assert "Traceback" not in words
    assert not rehearsal.program.up("dev", "--skip-preview").changes
    (token,) = rehearsal.gitlab.project.deploy_tokens.entries({})
    assert not token["revoked"]
