"""A second app beside invoicetron, on the same cluster and at the same vendors: nothing of invoicetron changes."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ops.clients import dynamic_client
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError, Program
from rehearsal.homelab import APP_PROJECT, ZONE
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.pages import REPOSITORY, blocks
from tests.rehearsal.cleanup import NAMESPACED, namespaced_kinds, rehearsed
from tests.rehearsal.test_pages import run

PROJECT = APP_PROJECT.replace("invoicetron", "ledger")
STACKS = ("dev", "prod")
HOST = f"ledger.{ZONE}"
CHANGING = {"Event", "Lease"}
"""Kinds that change by themselves."""


def recipe(words: str) -> str:
    """The block of docs/recipes.md that contains these words."""
    (block,) = (one for one in blocks(REPOSITORY / "docs" / "recipes.md") if words in one.text)
    assert block.mark == f"rehearsed-by {__name__.replace('.', '/')}.py"
    return block.text


def vendors_hold(rehearsal: Rehearsal) -> None:
    """Makes what users make for a second app before its first `up`: a GitLab project, items in 1Password."""
    rehearsal.gitlab.add_project(PROJECT)
    for stack in STACKS:
        password = secrets.token_hex(20)
        rehearsal.onepassword.put(
            f"Ledger {stack.capitalize()}",
            {
                "postgres-password": password,
                "better-auth-secret": secrets.token_hex(32),
                "database-url": f"postgresql://ledger:{password}@ledger-db:5432/ledger",
                "bank-key": secrets.token_hex(16),
            },
        )


def versions(rehearsal: Rehearsal) -> dict[str, str]:
    """UID and version of every object of invoicetron, wherever it is."""
    cluster = dynamic_client(rehearsal.client)
    of_namespaces = {
        f"{kind.kind} {one.metadata.namespace}/{one.metadata.name}": _version(one)
        for kind in namespaced_kinds(cluster)
        if kind.kind not in CHANGING
        for one in kind.get().items
        if one.metadata.namespace in {f"invoicetron-{stack}" for stack in STACKS}
        or "invoicetron" in str(one.metadata.labels)
    }
    of_cluster = {
        f"{kind} {one.metadata.name}": _version(one)
        for kind in ("Namespace", "PersistentVolume")
        for one in cluster.resources.get(api_version="v1", kind=kind).get().items
        if "invoicetron" in one.metadata.name or "invoicetron" in str((one.spec or {}).get("claimRef"))
    }
    return of_namespaces | of_cluster


def _version(one: Any) -> str:
    return f"{one.metadata.uid} {one.metadata.resourceVersion}"


def settled(rehearsal: Rehearsal) -> dict[str, str]:
    """The same, once the controllers have come to rest."""
    before = versions(rehearsal)
    for _ in range(60):
        time.sleep(1)
        now = versions(rehearsal)
        if now == before:
            return now
        before = now
    raise TimeoutError("the cluster does not come to rest")


def at_vendors(rehearsal: Rehearsal) -> dict[str, Any]:
    """What invoicetron has in GitLab, 1Password and Cloudflare."""
    project, cloudflare = rehearsal.gitlab.project, rehearsal.cloudflare
    titles = [f"Invoicetron {stack}{what}" for stack in ("Dev", "Prod") for what in ("", " Deploy Token")]
    found = {
        "environments": project.environments.entries({}),
        "variables": project.variables.stored(),
        "tokens": sorted(project.deploy_tokens.handed_out),
        "branches": project.branches.entries({}),
        "items": [rehearsal.onepassword.item(title) for title in titles],
        "applications": [one for one in cloudflare.applications.values() if "ledger" not in one["domain"]],
        "records": [one for one in cloudflare.records.values() if "ledger" not in one["name"]],
        "rules": cloudflare.others_rules(HOST),
    }
    copied: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return copied


@pytest.fixture(scope="module")
def live(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """Both stacks of invoicetron, with the app deployed."""
    with rehearsed(tools, control_plane, tmp_path_factory.mktemp("apps") / "rehearsal") as one:
        for stack in reversed(STACKS):  # prod protects the branch that dev's token is protected for
            one.program.init(stack)
            one.program.up(stack, "--skip-preview")
            lifecycle = Lifecycle(one, stack)
            lifecycle.deploy(lifecycle.image)
        vendors_hold(one)
        yield one


@pytest.fixture(scope="module")
def before(live: Rehearsal) -> tuple[dict[str, str], dict[str, Any]]:
    """What invoicetron had before the second app was added."""
    return settled(live), at_vendors(live)


@pytest.fixture(scope="module")
def app(live: Rehearsal, before: object) -> Program:
    """The second app, both stacks deployed as the recipe says: with another port and user, and one more secret."""
    assert before
    status, output = run(live, recipe("mkdir -p apps/ledger"))
    assert status == 0, output
    assert "Now run: pulumi -C apps/ledger up -s dev" in output
    assert "$PATH" not in output  # the engine's warning about a plugin that it finds there
    program = replace(live.program, directory=live.program.directory / "apps" / "ledger")
    program.init("prod")
    for stack in STACKS:
        for path, value in (("app.port", "8080"), ("app.user", "2002")):
            program.run("config", "set", "--stack", stack, "--path", f"ledger:{path}", value)
        reference = f"op://Kubernetes/Ledger {stack.capitalize()}/bank-key"
        program.run(
            "config", "set", "--stack", stack, "--plaintext", "--path", "ledger:app.secrets.BANK_KEY", reference
        )
    program.up("prod", "--skip-preview")  # first: it protects the branch that dev's token is protected for
    program.up("dev", "--skip-preview")
    return program


def test_its_stacks_match_their_files_and_stay_unchanged(live: Rehearsal, app: Program) -> None:
    for stack in STACKS:
        assert not app.up(stack, "--skip-preview").changes
        assert app.outputs(stack)["namespace"] == f"ledger-{stack}"
        pod = live.get("deployment", "ledger", namespace=f"ledger-{stack}")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert (container["name"], container["ports"][0]["containerPort"]) == ("ledger", 8080)
        assert pod["securityContext"]["runAsUser"] == 2002
        assert "BANK_KEY" in {one["name"] for one in container["env"]}
        database = live.get("statefulset", "ledger-db", namespace=f"ledger-{stack}")
        assert database["status"]["readyReplicas"] == 1


def test_nothing_in_its_namespaces_bears_the_first_app_s_name(live: Rehearsal, app: Program) -> None:
    assert app
    for stack in STACKS:
        names = live.kubectl("-n", f"ledger-{stack}", "get", NAMESPACED, "-o", "name").split()
        assert names
        assert not [name for name in names if "invoicetron" in name]


def test_nothing_of_invoicetron_has_changed(
    live: Rehearsal, app: Program, before: tuple[dict[str, str], dict[str, Any]]
) -> None:
    assert app
    assert (settled(live), at_vendors(live)) == before
    for stack in STACKS:
        assert not live.program.preview(stack).changes


def test_ops_works_on_the_app_in_the_given_folder(live: Rehearsal, app: Program) -> None:
    def ops(*arguments: str) -> str:
        command = ["python", "-m", "ops", "-C", "apps/ledger", *arguments, "--stack", "dev"]
        done = subprocess.run(
            command,
            cwd=live.program.directory,
            env=dict(live.program.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    assert app
    server = live.control_plane.pods.database("ledger-dev")
    server.sql("CREATE TABLE entries AS SELECT generate_series(1, 10) AS id")
    live.kubectl("-n", "ledger-dev", "set", "image", "deployment/ledger", "ledger=registry.example.com/ledger:1")
    assert "The backup is complete" in ops("backup")
    server.sql("DELETE FROM entries")
    assert "now holds" in ops("restore", "--from", "latest", "--yes")
    assert server.sql("SELECT count(*) FROM entries") == "10"
    assert "begun and never made" not in ops("recover")


@pytest.mark.parametrize(
    ("stack", "hostname", "shown"),
    [
        ("dev", "invoicetron.dev.k8s.rommelporras.com", ["the HTTPRoute invoicetron-dev/invoicetron"]),
        ("prod", f"invoicetron.{ZONE}", ["its name", "where it leads", "its comment"]),
    ],
)
def test_a_hostname_of_the_other_app_is_refused(app: Program, stack: str, hostname: str, shown: list[str]) -> None:
    setting = "access.public.hostname" if stack == "prod" else "access.hostname"
    file = app.directory / f"Pulumi.{stack}.yaml"
    kept = file.read_text()
    app.run("config", "set", "--stack", stack, "--path", f"ledger:{setting}", hostname)
    try:
        with pytest.raises(EngineError) as refused:
            app.up(stack)
    finally:
        file.write_text(kept)
    message = str(refused.value)
    assert message.count(f"belongs to invoicetron/{stack}") == len(shown)
    assert all(f"as {one} shows: change {setting}" in message for one in shown)


def test_destroying_it_leaves_nothing_behind_and_invoicetron_unchanged(
    live: Rehearsal, app: Program, before: tuple[dict[str, str], dict[str, Any]]
) -> None:
    app.run("state", "unprotect", "--all", "--yes", "--stack", "prod")
    for stack in STACKS:
        app.destroy(stack, "--skip-preview")
        app.run("stack", "rm", stack, "--yes")
    assert "ledger" not in live.kubectl("get", "namespaces", "-o", "name")
    assert "ledger" not in live.kubectl("get", "ciliumnetworkpolicies", "-A", "-o", "name")
    project = live.gitlab.projects[PROJECT]
    assert not project.variables.stored()
    assert not [one for one in live.cloudflare.records.values() if one["name"] == HOST]
    assert not [one for one in live.cloudflare.applications.values() if one["domain"] == HOST]
    assert HOST not in json.dumps(live.cloudflare.document)
    assert (settled(live), at_vendors(live)) == before


def test_a_renamed_project_counts_as_another_app(live: Rehearsal) -> None:
    files = [live.program.directory / name for name in ("Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml")]
    kept = [file.read_text() for file in files]
    try:
        status, output = run(live, recipe("name: rechnungen"))
        assert status == 0, output
        live.program.run("stack", "init", "review")
        (live.program.directory / "Pulumi.review.yaml").write_text(files[1].read_text())
        with pytest.raises(EngineError) as refused:
            live.program.preview("review")
    finally:
        for file, text in zip(files, kept, strict=True):
            file.write_text(text)
    owner = r"the hostname invoicetron\.dev\.k8s\.rommelporras\.com\s+belongs to invoicetron/dev, as"
    assert re.search(owner, str(refused.value)), refused.value
