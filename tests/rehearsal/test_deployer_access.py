"""What the pipeline's token may do, according to the real API server: what the pipeline does, and no more."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable

from rehearsal.rehearsal import Rehearsal

NAMESPACE = "invoicetron-dev"

ALLOWED = [
    ("get", "deployments.apps"),
    ("patch", "deployments.apps"),
    ("watch", "deployments.apps"),
    ("list", "replicasets.apps"),
    ("list", "pods"),
    ("get", "pods", "--subresource=log"),
    ("get", "cronjobs.batch/invoicetron-migrate"),
    ("get", "cronjobs.batch/invoicetron-db-backup"),
    ("create", "jobs.batch"),
    ("get", "jobs.batch"),
    ("watch", "jobs.batch"),
    ("delete", "jobs.batch"),
]
REFUSED = [
    ("get", "secrets"),
    ("list", "secrets"),
    ("create", "secrets"),
    ("create", "pods", "--subresource=exec"),
    ("create", "pods"),
    ("delete", "deployments.apps"),
    ("create", "deployments.apps"),
    ("patch", "statefulsets.apps"),
    ("delete", "persistentvolumeclaims"),
    ("get", "cronjobs.batch/invoicetron-db-restore"),
    ("list", "cronjobs.batch"),
    ("patch", "cronjobs.batch"),
    ("create", "roles.rbac.authorization.k8s.io"),
    ("patch", "rolebindings.rbac.authorization.k8s.io"),
    ("create", "serviceaccounts", "--subresource=token"),
]


def test_the_deployer_may_do_what_the_pipeline_does_and_nothing_else(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    may = asking(rehearsal)
    assert [call for call in ALLOWED if not may(*call)] == []
    assert [call for call in REFUSED if may(*call)] == []
    assert not may("get", "deployments.apps", namespace="default")
    assert not may("get", "nodes", namespace=None)


def test_a_forbidden_call_is_refused_by_the_server_and_not_only_by_auth_can_i(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    done = as_deployer(rehearsal, "-n", NAMESPACE, "get", "secret", "invoicetron-db", "-o", "yaml")
    assert done.returncode != 0
    assert "Forbidden" in done.stderr
    assert done.stdout == ""


def asking(rehearsal: Rehearsal) -> Callable[..., bool]:
    def may(*call: str, namespace: str | None = NAMESPACE) -> bool:
        where = ["-n", namespace] if namespace else []
        return as_deployer(rehearsal, *where, "auth", "can-i", *call).stdout.strip() == "yes"

    return may


def as_deployer(rehearsal: Rehearsal, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """kubectl with the token that `up` gave the pipeline, and without the administrator's credentials."""
    secret = rehearsal.get("secret", "gitlab-deploy-token", namespace=NAMESPACE)
    token = base64.b64decode(secret["data"]["token"]).decode()
    return with_token(rehearsal, token, *arguments, stdin=stdin)


def with_token(
    rehearsal: Rehearsal, token: str, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """kubectl with a bearer token, and without the administrator's credentials."""
    kubeconfig = rehearsal.program.directory / "deployer.kubeconfig"
    authority = base64.b64encode(rehearsal.control_plane.ca.encode()).decode()
    cluster = {"server": rehearsal.control_plane.url, "certificate-authority-data": authority}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    kubeconfig.write_text(json.dumps(config))
    return subprocess.run(
        [str(rehearsal.tools.kubectl), "--kubeconfig", str(kubeconfig), *arguments],
        env=dict(rehearsal.program.environment),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
