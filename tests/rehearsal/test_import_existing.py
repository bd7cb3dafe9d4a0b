"""prod was made by hand; `ops import-existing`, `pulumi import` and one `up` take it over without losing anything.

An import with the stand-in plugins finds what the recorded facts say that one with the real plugins finds. What this
cannot show: that PostgreSQL itself comes back on the volume, and what the vendors' plugins do with properties that
nobody measured.
"""

from __future__ import annotations

import copy
import json
import shlex
from typing import Any

import pytest

from lookups.tunnel_document import AccessDemand, demand_of
from rehearsal.engine import Update
from rehearsal.homelab import TEAM
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.cloudflare import Cloudflare
from tests.rehearsal import by_hand
from tests.rehearsal.by_hand import CLAIM, HOSTNAME, IMAGE, NAMESPACE, live
from tests.rehearsal.ops_command import ops

LOST_WITH_A_REPLACEMENT = [
    ("namespace", NAMESPACE),
    ("persistentvolumeclaim", CLAIM),
    ("persistentvolumeclaim", "invoicetron-backups"),
    ("deployment", "invoicetron"),
    ("service", "invoicetron"),
    ("service", "invoicetron-db"),
    ("secret", "invoicetron-db"),
    ("secret", "gitlab-registry"),
    ("secret", "gitlab-deploy-token"),
    ("serviceaccount", "gitlab-deploy"),
    ("rolebinding", "gitlab-deploy"),
    ("httproute", "invoicetron"),
    ("cronjob", "invoicetron-db-backup"),
]


def import_existing(rehearsal: Rehearsal) -> str:
    """`python -m ops import-existing`."""
    return ops(rehearsal, "import-existing", "prod", timeout=300)


def follow(rehearsal: Rehearsal, told: str) -> None:
    """Runs the printed commands unchanged."""
    for line in told.splitlines():
        if line.startswith("kubectl "):
            rehearsal.kubectl(*shlex.split(line)[1:])
    command = next(line.partition("pulumi ")[2] for line in told.splitlines() if line.startswith("Then: "))
    rehearsal.program.run(*shlex.split(command), "--yes")


def uids(rehearsal: Rehearsal) -> dict[tuple[str, str], str]:
    return {one: live(rehearsal, *one)["metadata"]["uid"] for one in LOST_WITH_A_REPLACEMENT}


def named(told: str, title: str) -> set[str]:
    line = next(line for line in told.splitlines() if line.startswith(title))
    return set(line.partition(": ")[2].split(", "))


def created(preview: Update) -> set[str]:
    """Names of the resources that the preview would create, without providers, components and the stack."""
    made = [urn.split("::")[2:] for operation, urn in preview.steps if operation == "create"]
    ours = ("pulumi:", "invoicetron:")
    return {name for types, name in made if not types.rpartition("$")[2].startswith(ours)}


def others(cloudflare: Cloudflare) -> object:
    return copy.deepcopy(cloudflare.others_rules(HOSTNAME))


def test_objects_made_by_hand_are_taken_over_and_none_is_replaced(rehearsal: Rehearsal) -> None:
    made = by_hand.fill(rehearsal)
    volume = live(rehearsal, "persistentvolumeclaim", CLAIM)["spec"]["volumeName"]
    before, rules = uids(rehearsal), others(rehearsal.cloudflare)
    tunnel, tokens = rehearsal.cloudflare.version, rehearsal.gitlab.project.deploy_tokens.entries({})
    rehearsal.program.init("prod")

    told = import_existing(rehearsal)
    assert "--cascade=orphan" in told
    assert "mirror" in named(told, "imported with that file")
    assert uids(rehearsal) == before, "import-existing itself changes nothing"
    follow(rehearsal, told)
    assert live(rehearsal, "pod", "invoicetron-db-0")["status"]["phase"] == "Running"

    preview = rehearsal.program.preview("prod", "--diff")
    token = rehearsal.gitlab.project.variables.get("KUBE_TOKEN", "production")["value"]
    # Nothing that `pulumi import` has read, or that the first `up` would read, is shown or recorded in plain text.
    looked = (preview.output, rehearsal.program.run("preview", "--stack", "prod", "--json"))
    for text in (*looked, json.dumps(rehearsal.program.export("prod"))):
        assert not [one for one in (token, "a-token-made-by-hand") if one in text]
    assert not [step for step in preview.steps if "delete" in step[0] or "replace" in step[0]]
    # The StatefulSet was deleted without its pod; the tunnel's rule gets what cloudflared is to demand; the token in
    # GitLab is not read.
    taken_over = {f"tunnel-hostname-{HOSTNAME}", "KUBE_TOKEN"}
    assert created(preview) - named(told, "made by `up`") == {"database", *taken_over}

    rehearsal.program.up("prod", "--skip-preview")
    assert uids(rehearsal) == before
    assert live(rehearsal, "persistentvolumeclaim", CLAIM)["spec"]["volumeName"] == volume
    pod = live(rehearsal, "pod", "invoicetron-db-0")
    assert {"claimName": CLAIM} in [one.get("persistentVolumeClaim") for one in pod["spec"]["volumes"]]
    assert Lifecycle(rehearsal, "prod").image_running() == IMAGE
    assert set(rehearsal.cloudflare.applications) == {made.application}
    assert made.record in rehearsal.cloudflare.records
    assert rehearsal.cloudflare.version == tunnel + 1
    (rule,) = [one for one in rehearsal.cloudflare.document["ingress"] if one.get("hostname") == HOSTNAME]
    assert demand_of(rule) == AccessDemand(
        team=TEAM, audiences=(str(rehearsal.cloudflare.applications[made.application]["aud"]),)
    )
    assert others(rehearsal.cloudflare) == rules
    (mirror,) = rehearsal.gitlab.project.mirrors.entries({})
    assert mirror["host_keys"] == [{"fingerprint_sha256": "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"}]
    environments = rehearsal.gitlab.project.environments.entries({})
    assert [one["id"] for one in environments] == [made.environment]
    assert [one for one in rehearsal.gitlab.project.deploy_tokens.entries({}) if one in tokens] == tokens
    assert not rehearsal.program.up("prod", "--skip-preview").changes

    # An adopted Deployment keeps the pipeline's image like any other.
    Lifecycle(rehearsal, "prod").deployed_then_configured()


def secret(rehearsal: Rehearsal, label: str) -> str:
    (value,) = [
        one["value"] for one in rehearsal.onepassword.item("Invoicetron Prod")["fields"] if one["label"] == label
    ]
    return str(value)


def from_secret(name: str, secret_name: str, key: str) -> str:
    """A variable as the manifests have it."""
    space = " " * 12
    reference = f"secretKeyRef: {{name: {secret_name}, key: {key}}}"
    return f"{space}- name: {name}\n{space}  valueFrom: {{{reference}}}\n"


def test_plaintext_secrets_never_reach_the_state_and_do_not_stop_the_adoption(rehearsal: Rehearsal) -> None:
    """As people write manifests: in the app, its init container, the database and the backup, in every possible way."""
    rehearsal.program.init("prod")
    url, key = secret(rehearsal, "database-url"), secret(rehearsal, "better-auth-secret")
    password = secret(rehearsal, "postgres-password")
    # For a secret that the stack file adds: its variable, and a copy under a name that reveals nothing.
    added = "4f1c0d7e9b2a58367cd0e1f2"
    rehearsal.onepassword.add_field("Invoicetron Prod", "stripe", added)
    rehearsal.configure("prod", "app.secrets.STRIPE", "op://Kubernetes/Invoicetron Prod/stripe")
    rehearsal.kubectl("create", "namespace", NAMESPACE)
    rehearsal.kubectl("-n", NAMESPACE, "create", "secret", "generic", "stripe", f"--from-literal=STRIPE={added}")
    made = ("-n", NAMESPACE, "create", "configmap", "settings", f"--from-literal=BETTER_AUTH_SECRET={key}")
    rehearsal.kubectl(*made)
    by_hand.fill(
        rehearsal,
        replacing={
            from_secret("DATABASE_URL", "invoicetron-app", "database-url"): (
                f"            - {{name: DATABASE_URL, value: '{url}'}}\n"
                f"            - {{name: STRIPE, value: '{added}'}}\n"
                f"            - {{name: STRIPE_AS_BEFORE, value: '{added}'}}\n"
            ),
            from_secret("BETTER_AUTH_SECRET", "invoicetron-app", "better-auth-secret"): "",
            "          livenessProbe: {httpGet: {path: /api/health, port: 3000}": (
                "          envFrom: [{configMapRef: {name: settings}}]\n"
                "          livenessProbe: {tcpSocket: {port: 3000}"
            ),
            "until nc -z invoicetron-db 5432; do sleep 2; done": f"PGPASSWORD={password} psql -h invoicetron-db",
            from_secret("POSTGRES_PASSWORD", "invoicetron-db", "postgres-password"): (
                f"            - {{name: POSTGRES_PASSWORD, value: '{password}'}}\n"
            ),
            "pg_dump -h invoicetron-db -U invoicetron -d invoicetron": f"pg_dump {url}",
        },
    )
    told = import_existing(rehearsal)
    for one in (url, key, password, added):
        assert one not in told
    follow(rehearsal, told)
    state = json.dumps(rehearsal.program.export("prod"))
    assert not [one for one in (url, key, password, added) if one in state], "a secret is in the state in plain text"
    rehearsal.program.up("prod", "--skip-preview")
    assert Lifecycle(rehearsal, "prod").image_running() == IMAGE
    assert not rehearsal.program.up("prod", "--skip-preview").changes


def test_what_other_tools_and_names_have_made_is_taken_over_with_its_image(rehearsal: Rehearsal) -> None:
    """Helm or Argo CD as field manager, edits in k9s, two pods, another container, other ports and labels."""
    template = "    metadata: {{labels: {{app: {}}}}}\n    spec:\n      securityContext: {{seccompProfile"
    by_hand.fill(
        rehearsal,
        replacing={
            "[{name: http, port: 3000, targetPort: 3000}]": "[{name: http, port: 80, targetPort: 3000}]",
            "backendRefs: [{name: invoicetron, port: 3000}]": "backendRefs: [{name: invoicetron, port: 80}]",
            "  clusterIP: None\n": "  type: NodePort\n",
            "  selector: {app: invoicetron-db}": "  selector: {app: postgres}",
            "selector: {matchLabels: {app: invoicetron-db}}": "selector: {matchLabels: {app: postgres}}",
            template.format("invoicetron-db"): template.format("postgres"),
        },
    )

    def kubectl(*arguments: str, **more: Any) -> str:
        return rehearsal.kubectl("-n", NAMESPACE, *arguments, **more)

    def patch(*arguments: str) -> None:
        kubectl("patch", "deployment", "invoicetron", *arguments)

    selector = {"matchLabels": {"app": "invoicetron"}}
    budget = {"metadata": {"name": "invoicetron"}, "spec": {"minAvailable": 1, "selector": selector}}
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **budget}))
    container = "/spec/template/spec/containers/0/name"
    patch("--type=json", "-p", json.dumps([{"op": "replace", "path": container, "value": "web"}]))
    kubectl("scale", "deployment", "invoicetron", "--replicas=2")
    edited = {
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "web", "env": [{"name": "NODE_ENV", "value": "staging"}]}],
    }
    patch("--field-manager=k9s", "-p", json.dumps({"spec": {"template": {"spec": edited}}}))
    managed = json.loads(kubectl("get", "deployment", "invoicetron", "-o", "json", "--show-managed-fields"))
    managers = [one["manager"] for one in managed["metadata"]["managedFields"]]
    path = f"/metadata/managedFields/{managers.index('kubectl-client-side-apply')}/manager"
    patch("--type=json", "-p", json.dumps([{"op": "replace", "path": path, "value": "helm"}]))
    rehearsal.program.init("prod")

    follow(rehearsal, import_existing(rehearsal))
    rehearsal.program.preview("prod")
    rehearsal.program.up("prod", "--skip-preview")
    deployment = live(rehearsal, "deployment", "invoicetron")
    assert deployment["metadata"]["uid"] == managed["metadata"]["uid"]
    assert deployment["spec"]["replicas"] == 1
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (only["name"], only["image"]) == ("invoicetron", IMAGE)
    assert [one["port"] for one in live(rehearsal, "service", "invoicetron")["spec"]["ports"]] == [3000]
    owned = live(rehearsal, "pod", "invoicetron-db-0")["metadata"]["ownerReferences"]
    assert [one["kind"] for one in owned] == ["StatefulSet"]
    assert not rehearsal.program.up("prod", "--skip-preview").changes


USER = "            - {name: POSTGRES_USER, value: invoicetron}\n"
IN_A_FOLDER = {
    "{name: data, mountPath: /var/lib/postgresql}": "{name: data, mountPath: /var/lib/postgresql/data}",
    USER: f"{USER}            - {{name: PGDATA, value: /var/lib/postgresql/data/pgdata}}\n",
}
ON_ANOTHER_CLAIM = {
    "{name: data, mountPath: /var/lib/postgresql}": "{name: pgdata, mountPath: /var/lib/postgresql}",
    "- metadata: {name: data}": "- metadata: {name: pgdata}",
}


@pytest.mark.parametrize(
    ("replacing", "said"),
    [
        (IN_A_FOLDER, "PGDATA is /var/lib/postgresql/data/pgdata"),
        (ON_ANOTHER_CLAIM, "the data is on the claim pgdata-invoicetron-db-0, not on the claim data-invoicetron-db-0"),
    ],
)
def test_data_elsewhere_is_reported_before_anything_is_removed(
    rehearsal: Rehearsal, replacing: dict[str, str], said: str
) -> None:
    by_hand.fill(rehearsal, replacing=replacing)
    rehearsal.program.init("prod")
    told = import_existing(rehearsal)
    assert said in told
    assert "kubectl" not in told
    assert "pulumi import" not in told
    assert not (rehearsal.program.directory / "import.json").exists()
