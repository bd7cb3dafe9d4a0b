"""`ops verify` on a system in which one thing is broken: its check fails and says what it saw; no other check fails."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest

from components import app, database, pull_credentials
from components.network import POD_NAMESPACE
from ops.clients import load_settings
from ops.verify import CHECKS
from rehearsal.homelab import TEAM, ZONE
from rehearsal.vendors.server import Fault
from tests.rehearsal.verify.breaking import (
    ABSENT,
    ago,
    answering,
    application,
    both,
    changed,
    deleted,
    demand,
    edited,
    failed_job,
    image,
    item,
    last_success,
    lost,
    no_job,
    policy,
    record,
    rotated,
    rule,
    source,
    stopped_for_a_restore,
    superuser,
    waiting_job,
    with_entry,
    without,
)
from tests.rehearsal.verify.delivery_breakages import OF_DELIVERY
from tests.rehearsal.verify.live import ADDED_FIELD, ADDED_SECRET, HOST, NAMESPACE, REGISTRY, STACK, Live
from tests.stacks import PROD

TOKEN_ITEM: Final = "Invoicetron Prod Deploy Token"
EGRESS: Final = "/spec/egress/0"
PROBER: Final = "blackbox-exporter-prometheus-blackbox-exporter"
MONITORING: Final = "monitoring"
BYPASS: Any = {"name": "by hand", "decision": "bypass", "id": "1", "reusable": True}

BREAKAGES: Mapping[str, tuple[Callable[[Live], AbstractContextManager[None]], dict[str, str]]] = {
    "the namespace takes privileged pods": (
        lambda live: edited(
            live, "namespace", NAMESPACE, "/metadata/labels/pod-security.kubernetes.io~1enforce", "privileged"
        ),
        {"namespace": "enforce is 'privileged', not 'baseline'"},
    ),
    "the database is scaled down": (
        lambda live: edited(live, "statefulset", PROD.database, "/spec/replicas", 0),
        {"database": "scaled to 0"},
    ),
    "the database's pod finds no node": (
        lambda live: edited(live, "statefulset", PROD.database, "/spec/template/spec/nodeSelector", {"disk": "none"}),
        {"database": "0 of 1 replicas ready"},
    ),
    "the database's volume is lost": (
        lambda live: lost(live, PROD.database_claim),
        {"database-volume": f"{PROD.database_claim} is Lost"},
    ),
    "the database's volume would go with its claim": (
        lambda live: edited(
            live,
            "pv",
            live.get("pvc", PROD.database_claim)["spec"]["volumeName"],
            "/spec/persistentVolumeReclaimPolicy",
            "Delete",
        ),
        {"database-volume": "has the reclaim policy Delete: it is deleted with the claim"},
    ),
    "Longhorn leaves the database on a node that is gone": (
        lambda live: edited(
            live,
            "settings.longhorn.io",
            "node-down-pod-deletion-policy",
            "/value",
            "do-nothing",
            namespace="longhorn-system",
        ),
        {"node-loss": "node-down-pod-deletion-policy is do-nothing: the database stays"},
    ),
    "the backups' volume is lost": (
        lambda live: lost(live, PROD.backups_claim),
        {"backup-volume": f"{PROD.backups_claim} is Lost"},
    ),
    "the backups' volume would go with its claim": (
        lambda live: edited(
            live,
            "pv",
            live.get("pvc", PROD.backups_claim)["spec"]["volumeName"],
            "/spec/persistentVolumeReclaimPolicy",
            "Delete",
        ),
        {"backup-volume": "has the reclaim policy Delete: it is deleted with the claim"},
    ),
    "the app's new pod finds no node": (
        lambda live: edited(live, "deployment", PROD.app, "/spec/template/spec/nodeSelector", {"disk": "none"}),
        {"rollout": "1 of an older version still run"},
    ),
    "the app is scaled down": (
        lambda live: edited(live, "deployment", PROD.app, "/spec/replicas", 0),
        {"rollout": "scaled to 0", "internal-url": "answers 503"},
    ),
    "the app is stopped for a restore": (
        stopped_for_a_restore,
        {"rollout": "stopped for a restore", "internal-url": "answers 503"},
    ),
    "the other stack's image is deployed": (
        lambda live: image(live, f"{REGISTRY}/dev:1a2b3c4d"),
        {"image": f"whose images are in {REGISTRY}/prod"},
    ),
    "the placeholder is back": (
        lambda live: image(live, f"{REGISTRY}/prod:placeholder"),
        {"image": "still the placeholder", "rollout": "1 of an older version still run"},
    ),
    "the last migration failed": (
        lambda live: failed_job(live, PROD.migration),
        {"migration": "failed: DeadlineExceeded"},
    ),
    "the last migration has not ended": (
        lambda live: waiting_job(live, PROD.migration),
        {"migration": "has not ended since"},
    ),
    "no migration has run": (lambda live: no_job(live, PROD.migration), {"migration": "no migration has run"}),
    "the database's Secret is edited": (
        lambda live: edited(live, "secret", PROD.database, f"/data/{database.PASSWORD_KEY}", "b3RoZXI="),
        {"secret-database": "postgres-password is not what 1Password holds"},
    ),
    "the app's Secret loses a key": (
        lambda live: edited(live, "secret", PROD.app_secret, f"/data/{app.AUTH_SECRET}", ABSENT),
        {"secret-app": "better-auth-secret is missing"},
    ),
    "1Password has another session key": (
        lambda live: item(live, "Invoicetron Prod", "better-auth-secret", secrets.token_hex(32)),
        {"secret-app": "better-auth-secret is not what 1Password holds"},
    ),
    "1Password has an empty session key": (
        lambda live: item(live, "Invoicetron Prod", "better-auth-secret", ""),
        {"secret-app": "1Password: op://Kubernetes/Invoicetron Prod/better-auth-secret: the field is empty"},
    ),
    "1Password has another value of a secret that the stack file adds": (
        lambda live: item(live, "Invoicetron Prod", ADDED_FIELD, "another-api-key"),
        {"secret-app": f"{ADDED_SECRET} is not what 1Password holds"},
    ),
    "the database's password is rotated and no `up` was run": (
        rotated,
        {"secret-database": "postgres-password", "secret-app": "database-url"},
    ),
    "the pull secret is gone": (
        lambda live: deleted(live, "secret", pull_credentials.SECRET),
        {"secret-registry": "there is no Secret"},
    ),
    "the pull secret is of another token": (
        lambda live: item(live, TOKEN_ITEM, "password", "gldt-another-token"),
        {"secret-registry": "another login"},
    ),
    "the pull secret is for another registry": (
        lambda live: edited(
            live,
            "secret",
            pull_credentials.SECRET,
            f"/data/{pull_credentials.CONFIG}",
            base64.b64encode(pull_credentials.docker_config("docker.io", "user", "password").encode()).decode(),
        ),
        {"secret-registry": "a login for docker.io, not for registry.k8s.rommelporras.com"},
    ),
    "the route names no listener that exists": (
        lambda live: edited(live, "httproute", PROD.app, "/spec/parentRefs/0/sectionName", "htps"),
        {"route": 'Accepted is False: NoMatchingParent, no listener "htps"', "internal-url": "answers 404"},
    ),
    "the route leads to no Service": (
        lambda live: edited(live, "httproute", PROD.app, "/spec/rules/0/backendRefs/0/name", "elsewhere"),
        {"route": "ResolvedRefs is False: BackendNotFound", "internal-url": "answers 404"},
    ),
    "the route serves another hostname": (
        lambda live: edited(live, "httproute", PROD.app, "/spec/hostnames/0", "other.k8s.rommelporras.com"),
        {"route": "serves other.k8s.rommelporras.com, not invoicetron.k8s", "internal-url": "answers 404"},
    ),
    "the app has lost its database": (
        lambda live: answering(live.gateway.app, Fault(status=503)),
        {"internal-url": "answers 503, not 200"},
    ),
    "the Gateway does not answer": (
        lambda live: answering(live.gateway.app, Fault(reset=True)),
        {"internal-url": "could not be checked: no answer"},
    ),
    "Cloudflare's edge does not answer": (
        lambda live: answering(live.edge.app, Fault(reset=True)),
        {"public-url": "could not be checked: no answer"},
    ),
    "the Access application is gone": (
        lambda live: without(live.rehearsal.cloudflare.applications, application(live)["id"]),
        {"access-application": f"no Access application is for {HOST}", "public-url": "answers 403, not 302"},
    ),
    "the Access application has lost its policy": (
        lambda live: changed(application(live), policies=[]),
        {"access-application": "its policies are none"},
    ),
    "a policy lets everybody past": (
        lambda live: changed(application(live), policies=[*application(live)["policies"], BYPASS]),
        {"access-application": "by hand (bypass)", "public-url": "answers 403, not 302"},
    ),
    "the policy lets in everyone": (
        lambda live: changed(application(live), policies=[{**policy(live), "include": [{"everyone": {}}]}]),
        {"access-application": "more than known people: everyone"},
    ),
    "cloudflared demands nothing, and the Access application is gone": (
        lambda live: both(demand(live, None), without(live.rehearsal.cloudflare.applications, application(live)["id"])),
        {
            "access-application": f"no Access application is for {HOST}",
            "tunnel-rule": "cloudflared demands no token",
            "public-url": "ANYBODY CAN OPEN IT",
        },
    ),
    "cloudflared demands the token of another application": (
        lambda live: demand(live, {"required": True, "teamName": TEAM, "audTag": ["b" * 64]}),
        {"tunnel-rule": "the token of another Access application"},
    ),
    "cloudflared demands the token of another team": (
        lambda live: demand(live, {"required": True, "teamName": "b", "audTag": [application(live)["aud"]]}),
        {"tunnel-rule": "a token of the team b, and the account's is homelab"},
    ),
    "the tunnel's rule leads to another namespace": (
        lambda live: rule(
            live,
            lambda rules: [one | {"service": one["service"].replace(NAMESPACE, "invoicetron")} for one in rules],
        ),
        {"tunnel-rule": "leads to http://invoicetron.invoicetron.svc.cluster.local:3000, not to"},
    ),
    "the tunnel's rule is gone": (
        lambda live: rule(live, lambda rules: [one for one in rules if one.get("hostname") != HOST]),
        {"tunnel-rule": "has no rule for"},
    ),
    "an earlier wildcard takes the hostname": (
        lambda live: rule(live, lambda rules: [{"hostname": f"*.{ZONE}", "service": "http_status:403"}, *rules]),
        {"tunnel-rule": "an earlier rule"},
    ),
    "a path of the hostname leads elsewhere": (
        lambda live: rule(
            live, lambda rules: [{"hostname": HOST, "path": "^/api", "service": "http://elsewhere"}, *rules]
        ),
        {"tunnel-rule": f"^/api of {HOST} leads to http://elsewhere, without the token"},
    ),
    "the tunnel is configured by a file": (
        lambda live: source(live, "local"),
        {"tunnel-rule": "could not be checked: tunnel"},
    ),
    "the DNS record is not proxied": (
        lambda live: changed(record(live), proxied=False),
        {"dns-record": "not proxied", "public-url": "could not be checked: no answer"},
    ),
    "the DNS record leads to another tunnel": (
        lambda live: changed(record(live), content="elsewhere.cfargotunnel.com"),
        {"dns-record": "CNAME to elsewhere.cfargotunnel.com", "public-url": "could not be checked: no answer"},
    ),
    "a second DNS record leads elsewhere": (
        lambda live: with_entry(
            live.rehearsal.cloudflare.records, "x", {**record(live), "id": "x", "type": "A", "content": "203.0.113.7"}
        ),
        {"dns-record": "has 2 address records, not one"},
    ),
    "the DNS record is gone": (
        lambda live: without(live.rehearsal.cloudflare.records, record(live)["id"]),
        {"dns-record": "has 0 address records", "public-url": "Name or service not known"},
    ),
    "the public address is a server error": (
        lambda live: answering(live.edge.app, Fault(status=502), "^/$"),
        {"public-url": "answers 502, not 302"},
    ),
    "the public address redirects into the app": (
        lambda live: answering(live.edge.app, Fault(status=302, headers={"Location": f"https://{HOST}/login"}), "^/$"),
        {"public-url": "/ answers 302 to itself without a login: ANYBODY CAN OPEN IT"},
    ),
    "only the health page is open to everybody": (
        lambda live: answering(live.edge.app, Fault(status=200), "^/api/health$"),
        {"public-url": "/api/health answers 200 without a login"},
    ),
    "cloudflared may reach another namespace": (
        lambda live: edited(
            live,
            "ciliumnetworkpolicy",
            PROD.cloudflared_egress,
            f"{EGRESS}/toEndpoints/0/matchLabels/{POD_NAMESPACE.replace('/', '~1')}",
            "invoicetron",
            namespace="cloudflare",
        ),
        {"cloudflared-egress": f"'{POD_NAMESPACE}': 'invoicetron'}} at 3000"},
    ),
    "cloudflared may reach another port": (
        lambda live: edited(
            live,
            "ciliumnetworkpolicy",
            PROD.cloudflared_egress,
            f"{EGRESS}/toPorts/0/ports/0/port",
            "80",
            namespace="cloudflare",
        ),
        {"cloudflared-egress": "at 80, not"},
    ),
    "cloudflared may not fetch the keys of Access": (
        lambda live: edited(
            live,
            "ciliumnetworkpolicy",
            PROD.cloudflared_egress,
            "/spec/egress/2/toFQDNs",
            ABSENT,
            namespace="cloudflare",
        ),
        {"cloudflared-egress": "does not let cloudflared fetch the keys of Access"},
    ),
    "the policy is about other pods than cloudflared's": (
        lambda live: edited(
            live,
            "ciliumnetworkpolicy",
            PROD.cloudflared_egress,
            "/spec/endpointSelector/matchLabels/app",
            "tunnel",
            namespace="cloudflare",
        ),
        {"cloudflared-egress": "it selects pods {'app': 'tunnel'}, not {'app': 'cloudflared'}"},
    ),
    "cloudflared's way out is gone": (
        lambda live: deleted(live, "ciliumnetworkpolicy", PROD.cloudflared_egress, namespace="cloudflare"),
        {"cloudflared-egress": f"there is no CiliumNetworkPolicy cloudflare/{PROD.cloudflared_egress}"},
    ),
    **OF_DELIVERY,
    "the last good backup is old": (
        lambda live: last_success(live, PROD.backup, ago(hours=30)),
        {"backup": "30 hours ago (most: 26)"},
    ),
    "the app's role is a superuser": (superuser, {"database-role": "was a superuser at the last backup"}),
    "no backup was ever good": (
        lambda live: last_success(live, PROD.backup, None),
        {"backup": "has never succeeded"},
    ),
    "the last backup failed": (lambda live: failed_job(live, PROD.backup), {"backup": "has failed since"}),
    "the backups are suspended": (
        lambda live: edited(live, "cronjob", PROD.backup, "/spec/suspend", True),
        {"backup": "is suspended"},
    ),
    "the last good drill is old": (
        lambda live: last_success(live, PROD.drill, ago(days=9)),
        {"drill": "216 hours ago (most: 192)"},
    ),
    "the prober's Service has another name": (
        lambda live: deleted(live, "service", PROBER, namespace=MONITORING),
        {"prober": f"there is no Service {MONITORING}/{PROBER}"},
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_breakage_fails_its_own_check_with_a_clear_message_and_no_other(live: Live, name: str) -> None:
    broken, expected = BREAKAGES[name]
    with broken(live):
        live.expect(expected)  # by then the breakage before this one is repaired, too


def test_all_checks_pass_once_everything_is_repaired(live: Live) -> None:
    live.expect({})


def test_every_check_of_the_stack_is_broken_by_some_test(live: Live) -> None:
    settings = load_settings(STACK)
    made = {check.name: check.applies(settings) for check in CHECKS}
    assert live.rehearsal
    broken = {check for _, expected in BREAKAGES.values() for check in expected}
    broken |= {"pipeline-token"}  # in tests/unit/ops/test_checks.py: the live one is made for the day in the stack file
    assert broken == {name for name in made if made[name]}
    not_in_this_stack = {"upload", "offsite-check", "offsite-drill", "secret-exporter", "database-operator"}
    not_in_this_stack |= {"wal-archive"}  # broken in tests/unit/ops/test_wal_archive.py
    not_in_this_stack |= {"database-move"}  # broken in tests/unit/ops/test_move.py
    not_in_this_stack |= {"public-path", "service-token"}  # broken in tests/rehearsal/test_service_token.py
    not_in_this_stack |= {"offsite-bucket"}  # broken in tests/unit/test_r2.py
    not_in_this_stack |= {"wal-bucket"}  # broken in tests/unit/test_wal_bucket.py
    not_in_this_stack |= {"deployer-identity"}  # broken in tests/rehearsal/test_id_tokens.py
    not_in_this_stack |= {"database-certificate"}  # broken in tests/unit/ops/test_certificate.py
    not_in_this_stack |= {"infrastructure"}  # broken in tests/unit/test_infrastructure.py
    assert {name for name in made if not made[name]} == not_in_this_stack
