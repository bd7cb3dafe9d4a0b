"""`ops verify` on a whole system, on one that it cannot access, and as a command."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from components import deployer
from ops.clients import load_settings
from rehearsal.cluster.controlplane import CONTEXT
from rehearsal.pipeline import AppRepository
from rehearsal.processes import free_port
from rehearsal.rehearsal import REPOSITORY
from rehearsal.vendors.cloudflare import DNS_EDIT
from rehearsal.vendors.gitlab import DEVELOPER
from tests.rehearsal.certificates import self_signed
from tests.rehearsal.verify.breaking import environment, without
from tests.rehearsal.verify.live import NAMESPACE, STACK, Live

IN_ONEPASSWORD: Final = {"secret-database", "secret-app", "secret-registry"}
IN_CLOUDFLARE: Final = {"access-application", "tunnel-rule", "dns-record", "cloudflare-token"}
IN_GITLAB: Final = {
    *("environment", "ci-variables", "deployer-token", "deploy-token", "push-mirror", "registry", "gitlab-token"),
}
WORKLOADS: Final = {"rollout", "image", "migration"}
IN_CLUSTER: Final = {
    *("namespace", "database", "database-volume", "database-role", "backup-volume"),
    *("node-loss", *WORKLOADS, *IN_ONEPASSWORD),
    *("route", "cloudflared-egress", "ci-variables", "deployer-token", "pipeline-token", "registry"),
    *("backup", "drill", "prober"),
}


def dead() -> str:
    """An address at which nobody listens."""
    return f"127.0.0.1:{free_port()}"


def kubeconfig(directory: Path, live: Live, *, server: str = "", authority: str = "", token: str | None = None) -> str:
    """A kubeconfig for the rehearsal's cluster, except for what is given."""
    plane = live.rehearsal.control_plane
    pem = base64.b64encode((authority or plane.ca).encode()).decode()
    content = {
        "clusters": [{"name": CONTEXT, "cluster": {"server": server or plane.url, "certificate-authority-data": pem}}],
        "users": [{"name": "user", "user": {"token": token or "unknown"}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "user"}}],
    }
    file = directory / "kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
    return str(file)


def deployer_token(live: Live) -> str:
    delivery = load_settings(STACK).delivery
    assert delivery
    return base64.b64decode(live.get("secret", deployer.token_secret(delivery))["data"]["token"]).decode()


Change = dict[str, str | None]
NO_CONNECT: Final[Change] = {"OP_CONNECT_HOST": None, "OP_CONNECT_TOKEN": None}

TROUBLES: Final[Mapping[str, tuple[Callable[[Live, Path], Change], set[str], str]]] = {
    "a kubeconfig that is not there": (
        lambda _live, folder: {"KUBECONFIG": str(folder / "none")},
        IN_CLUSTER,
        "KUBECONFIG names no file that exists",
    ),
    "an API server that is away": (
        lambda live, folder: {"KUBECONFIG": kubeconfig(folder, live, server=f"https://{dead()}")},
        IN_CLUSTER,
        "no answer: MaxRetryError",
    ),
    "an API server that another authority vouches for": (
        lambda live, folder: {"KUBECONFIG": kubeconfig(folder, live, authority=self_signed("elsewhere")[1])},
        IN_CLUSTER,
        "CERTIFICATE_VERIFY_FAILED",
    ),
    "a token that the API server does not know": (
        lambda live, folder: {"KUBECONFIG": kubeconfig(folder, live)},
        IN_CLUSTER,
        "the API server answers 401",
    ),
    "the rights of the app's pipeline in the cluster": (
        lambda live, folder: {"KUBECONFIG": kubeconfig(folder, live, token=deployer_token(live))},
        IN_CLUSTER - WORKLOADS - {"backup", "registry"},
        "the API server answers 403 Forbidden",
    ),
    "no credentials of 1Password": (
        lambda _live, _folder: NO_CONNECT,
        IN_ONEPASSWORD,
        "export OP_CONNECT_HOST and OP_CONNECT_TOKEN",
    ),
    "a token that 1Password does not know": (
        lambda _live, _folder: {"OP_CONNECT_TOKEN": "x"},
        IN_ONEPASSWORD,
        "status 401: Invalid token signature",
    ),
    "a Connect server that is away": (
        lambda _live, _folder: {"OP_CONNECT_HOST": f"http://{dead()}"},
        IN_ONEPASSWORD,
        "Connection refused",
    ),
    "no `op` command": (
        lambda _live, _folder: {**NO_CONNECT, "OP_SERVICE_ACCOUNT_TOKEN": "x", "OP_CLI_PATH": "/nowhere/op"},
        IN_ONEPASSWORD,
        "there is no command /nowhere/op",
    ),
    "no token for GitLab": (lambda _live, _folder: {"GITLAB_TOKEN": None}, IN_GITLAB, "GITLAB_TOKEN is not set"),
    "a token that GitLab does not know": (
        lambda _live, _folder: {"GITLAB_TOKEN": "x"},
        IN_GITLAB,
        "GitLab answers 401",
    ),
    "a Developer's token in GitLab": (
        lambda live, _folder: {"GITLAB_TOKEN": live.rehearsal.gitlab.issue_token("api", level=DEVELOPER)},
        IN_GITLAB - {"environment", "registry", "gitlab-token"},
        "GitLab answers 40",  # 401 for mirrors, 403 for the rest
    ),
    "a GitLab that is away": (
        lambda _live, _folder: {"GITLAB_BASE_URL": f"http://{dead()}/api/v4/"},
        IN_GITLAB,
        "GitLab does not answer at http://127.0.0.1:",
    ),
    "no token for Cloudflare": (
        lambda _live, _folder: {"CLOUDFLARE_API_TOKEN": None},
        IN_CLOUDFLARE,
        "CLOUDFLARE_API_TOKEN is not set",
    ),
    "a token for Cloudflare that may edit DNS only": (
        lambda live, _folder: {"CLOUDFLARE_API_TOKEN": live.rehearsal.cloudflare.issue_token(DNS_EDIT)},
        IN_CLOUDFLARE - {"cloudflare-token"},
        "Cloudflare answers 403: Actor ",
    ),
    "a Cloudflare that is away": (
        lambda _live, _folder: {"CLOUDFLARE_BASE_URL": f"http://{dead()}/client/v4"},
        IN_CLOUDFLARE,
        "Cloudflare does not answer",
    ),
}


def test_a_whole_system_passes_every_check_and_says_what_was_seen(live: Live) -> None:
    live.expect({})  # by then the last breakage of another file is repaired, too
    results = live.verify()
    assert [one for one in results if not one.ok] == []
    assert all(one.seen for one in results)


@pytest.mark.parametrize("name", TROUBLES)
def test_a_check_that_cannot_run_fails_and_says_why_and_the_others_still_run(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    change, expected, words = TROUBLES[name]
    for variable, value in change(live, tmp_path).items():
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value)
    seen = live.failing()
    assert seen.keys() == expected
    for text in seen.values():
        assert words in text


def test_a_stack_that_does_not_exist_fails_its_checks_with_clear_messages(live: Live) -> None:
    live.rehearsal.program.init("dev")
    results = live.verify("dev")
    assert [one.check for one in results if one.ok] == ["node-loss", "gitlab-token"]  # neither depends on the stack
    assert results[0].seen == "there is no Namespace invoicetron-dev"
    assert [one.seen for one in results if "could not be checked" in one.seen and "op://" not in one.seen] == []


def test_the_fix_for_a_stopped_environment_starts_it(live: Live, tmp_path: Path) -> None:
    environment(live)["state"] = "stopped"
    (failed,) = [one for one in live.verify() if not one.ok]
    assert (failed.check, failed.seen) == ("environment", "its state is 'stopped', not 'available'")
    branch = re.fullmatch(r"run the app's pipeline of branch (\w+), whose deployment starts it again", failed.fix or "")
    assert branch
    live.rehearsal.program.up(STACK, "--skip-preview")
    assert [one.check for one in live.verify() if not one.ok] == ["environment"], "an `up` does not"
    live.deploy(AppRepository(tmp_path / "app", branch=branch[1]))
    live.expect({})


def test_a_protected_branch_that_nobody_has_pushed_yet_is_no_trouble(live: Live) -> None:
    with without(live.project.branches._commits, "main"):
        live.expect({})


def test_verify_changes_nothing_anywhere(live: Live) -> None:
    services = [live.rehearsal.onepassword.app, live.rehearsal.gitlab.app, live.rehearsal.cloudflare.app]
    for service in services:
        service.forget()
    looked_at = ["-n", NAMESPACE, "get", "all,secrets,pvc,httproutes", "--output=json"]
    before = live.rehearsal.kubectl(*looked_at)
    assert live.failing() == {}
    assert [call for service in services for call in service.writes] == []
    assert live.rehearsal.kubectl(*looked_at) == before


def command(*options: str) -> subprocess.CompletedProcess[str]:
    """`python -m ops verify`, as a user runs it in the program's directory; the app's own addresses are unreachable."""
    nowhere = {"HTTPS_PROXY": f"http://{dead()}", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-m", "ops", "verify", "--stack", STACK, *options],
        env={**os.environ, **nowhere, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_command_prints_a_line_for_each_check_and_fails_if_one_did(live: Live) -> None:
    done = command()
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    live.assert_no_secret(done.stdout)
    *lines, last = done.stdout.splitlines()
    assert {line.split()[0] for line in lines} == {"ok", "FAILED"}
    failed = [line for line in lines if line.startswith("FAILED")]
    assert [line.split()[1] for line in failed] == ["internal-url", "public-url"]
    assert all("Fix: " in line for line in failed)
    assert last == f"{len(lines) - 2} of {len(lines)} checks passed"


def test_the_command_has_a_machine_readable_report(live: Live) -> None:
    done = command("--json")
    assert done.returncode == 1, done.stderr
    live.assert_no_secret(done.stdout)
    report = json.loads(done.stdout)
    assert (report["stack"], report["ok"]) == (STACK, False)
    assert [one["check"] for one in report["checks"]] == [one.check for one in live.verify()]
    assert [one["check"] for one in report["checks"] if one["fix"]] == ["internal-url", "public-url"]
