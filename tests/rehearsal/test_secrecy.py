"""No secret that 1Password or GitLab handed out is readable anywhere afterwards."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.rehearsal import Rehearsal


def spellings(secret: str) -> set[str]:
    """The secret, and how it looks in base64 at any position in a longer text."""
    found = {secret}
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + secret.encode()).decode()
        found.add(encoded[4 if shift else 0 : len(encoded) - 8])
    return found


def use_every_secret(rehearsal: Rehearsal) -> None:
    """Gives prod everything else that takes a secret from 1Password."""
    fields = ("access-key", "secret-key", "copies", "monitor", "mail-key", "no url password")
    rehearsal.onepassword.put("Further", {field: f"{field} {secrets.token_hex(20)}" for field in fields[:3]})
    rehearsal.onepassword.put("More", {field: secrets.token_hex(20) for field in fields[3:]})
    for path, value in {
        "backup.s3.endpoint": "https://s3.example.com",
        "backup.s3.bucket": "homelab-backups",
        "backup.s3.accessKey": "op://Kubernetes/Further/access-key",
        "backup.s3.secretKey": "op://Kubernetes/Further/secret-key",
        "backup.s3.password": "op://Kubernetes/Further/copies",
        "monitoring.databaseMetrics.password": "op://Kubernetes/More/monitor",
        "app.secrets.MAIL_KEY": "op://Kubernetes/More/mail-key",
        "app.secrets.OTHER_PASSWORD": "op://Kubernetes/More/no url password",
    }.items():
        rehearsal.configure("prod", path, value)


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_no_secret_is_in_state_output_or_logs(rehearsal: Rehearsal, tmp_path: Path, stack: str) -> None:
    rehearsal.engine_logs.unlink()  # so that the engine writes them, and the test reads them, too
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    rehearsal = replace(rehearsal, program=rehearsal.program.with_environment({"TMPDIR": str(temporary)}))
    rehearsal.program.init(stack)
    if stack == "prod":
        use_every_secret(rehearsal)
    events = tmp_path / "rehearsal" / "events.json"
    texts = {"first up": rehearsal.program.up(stack, "--debug", "--event-log", str(events)).output}
    assert events.stat().st_size
    rehearsal.onepassword.rotate(stack)
    texts["rotation"] = rehearsal.program.up(stack, "--diff").output
    texts["state"] = json.dumps(rehearsal.program.export(stack))
    texts["preview"] = rehearsal.program.run("preview", "--stack", stack, "--json")
    texts["outputs"] = json.dumps(rehearsal.program.outputs(stack))
    for file in (tmp_path / "rehearsal").rglob("*"):
        if file.is_file() and not file.is_symlink():
            texts[str(file)] = file.read_text(errors="replace")

    handed_out = rehearsal.onepassword.handed_out | rehearsal.gitlab.handed_out
    assert len(handed_out) >= (10 if stack == "prod" else 4)
    shown = [
        name
        for name, text in texts.items()
        for secret in handed_out
        if len(secret) >= 8 and any(spelling in text for spelling in spellings(secret))
    ]
    assert shown == []
    assert not list(temporary.iterdir())


def looks(rehearsal: Rehearsal, tmp_path: Path) -> dict[str, str]:
    """What every way of looking at dev's next `up` prints, and that `up` itself; by its command."""
    program, events = rehearsal.program, tmp_path / "events.json"
    said = {
        "preview": program.preview("dev").output,
        "preview --diff": program.preview("dev", "--diff").output,
        "preview --json": program.run("preview", "--stack", "dev", "--json"),
        "preview --debug": program.preview("dev", "--debug", "--diff", "--event-log", str(events)).output,
    }
    said["the preview's event log"] = events.read_text()
    said["up --debug"] = program.up("dev", "--debug", "--diff", "--event-log", str(events)).output
    said["the event log"] = events.read_text()
    said["state"] = json.dumps(program.export("dev"))
    return said


def shown_in(said: dict[str, str], *secrets: str) -> list[str]:
    return [name for name, text in said.items() for one in secrets if any(form in text for form in spellings(one))]


def test_a_token_that_somebody_put_into_gitlab_by_hand_is_shown_nowhere(rehearsal: Rehearsal, tmp_path: Path) -> None:
    by_hand = "eyJhbGciOiJSUzI1NiJ9.a-token-that-a-person-made.c2lnbmF0dXJl"
    project = rehearsal.gitlab.project
    project.environments.create({"name": "development"})
    project.variables.create(
        {"key": "KUBE_TOKEN", "value": by_hand, "masked": True, "environment_scope": "development"}
    )
    rehearsal.program.init("dev")
    assert shown_in(looks(rehearsal, tmp_path), by_hand) == []
    assert project.variables.get("KUBE_TOKEN", "development")["value"] != by_hand
    assert not rehearsal.program.up("dev", "--skip-preview").changes


def test_a_value_written_over_a_secret_by_hand_is_shown_nowhere(rehearsal: Rehearsal, tmp_path: Path) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    by_hand = {
        name: f"written-by-hand-into-the-{name}" for name in ("variable", "app", "database", "pull-secret", "item")
    }
    rehearsal.gitlab.project.variables.update("KUBE_TOKEN", "development", {"value": by_hand["variable"]})
    login = {"auths": {"registry.k8s.rommelporras.com": {"username": "someone", "password": by_hand["pull-secret"]}}}
    for secret, key, value in (
        ("invoicetron-app", "better-auth-secret", by_hand["app"]),
        ("invoicetron-db", "postgres-password", by_hand["database"]),
        ("gitlab-registry", ".dockerconfigjson", json.dumps(login)),
    ):
        patch = json.dumps({"stringData": {key: value}})
        rehearsal.kubectl("-n", "invoicetron-dev", "patch", "secret", secret, "-p", patch)
    rehearsal.onepassword.set_field("Invoicetron Dev Deploy Token", "password", by_hand["item"])
    assert shown_in(looks(rehearsal, tmp_path), *by_hand.values()) == []
    assert not rehearsal.program.up("dev", "--skip-preview").changes
