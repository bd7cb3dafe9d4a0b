"""Who may reach whom in each stack: stated here, derived from the policies, and shown in docs/network.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.network_page import edges
from tests.unit.program import Program, run
from tests.unit.reachability import ANY_OTHER_PORT, Outsider, Pod, Policies
from tests.unit.test_offsite import S3, VALUES
from tests.unit.test_wal_archive import VALUES as KEYS
from tests.unit.test_wal_archive import WAL

SQL, HTTP = "5432/TCP", "3000/TCP"
APP_CLIENTS = {
    "dev": {"the Gateway", "the pod's own node"},
    "prod": {"the Gateway", "the pod's own node", "cloudflared"},
}
DATABASE_CLIENTS = {"invoicetron", "invoicetron-migrate", "invoicetron-db-backup", "invoicetron-db-restore"}
CLOUDFLARED = Pod(name="cloudflared", namespace="cloudflare", labels={"app": "cloudflared"})
INTERNET = Outsider(name="the internet", entity="world")


def test_the_app_is_reached_by_the_gateway_the_kubelet_and_where_it_is_public_cloudflared(program: Program) -> None:
    found = {(source, port) for source, destination, port in edges(program) if destination == "invoicetron"}
    assert found == {(source, HTTP) for source in APP_CLIENTS[program.stack]}


def test_the_database_is_reached_by_app_migration_backup_and_restore(program: Program) -> None:
    found = {(source, port) for source, destination, port in edges(program) if destination == "invoicetron-db"}
    assert found == {(source, SQL) for source in DATABASE_CLIENTS}


def test_the_databases_clients_resolve_its_name_and_nobody_reaches_anything_else(program: Program) -> None:
    rest = {edge for edge in edges(program) if edge[1] not in {"invoicetron", "invoicetron-db"}}
    dns = {"53/TCP", "53/UDP"}
    assert rest == {(client, "the cluster's DNS", port) for client in DATABASE_CLIENTS for port in dns}


def test_the_drill_has_no_connections(prod: Program) -> None:
    assert any(each.inputs["metadata"]["name"] == "invoicetron-db-drill" for each, _ in prod.pods())
    assert not [edge for edge in edges(prod) if "invoicetron-db-drill" in edge]


def test_a_host_that_the_settings_list_is_reached_by_the_app_alone_over_https(dev: Program) -> None:
    opened = edges(run("dev", {"app.egress": ["api.example.com"]})) - edges(dev)
    assert opened == {("invoicetron", "api.example.com", "443/TCP")}


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ({}, {}),
        ({"app.egress": ["api.example.com"]}, {}),
        ({"backup.s3": S3}, VALUES),
        ({"database.engine": "cloudnative-pg", "database.wal": WAL}, KEYS),
    ],
)
def test_dns_goes_through_ciliums_proxy_only_where_names_are_allowed(
    changes: Mapping[str, Any], values: Mapping[str, str]
) -> None:
    for policy in run("prod", changes, values=values).of("CiliumNetworkPolicy"):
        rules = policy.inputs["spec"].get("egress", [])
        names = any("toFQDNs" in rule for rule in rules)
        proxied = any("rules" in ports for rule in rules for ports in rule.get("toPorts", []))
        assert proxied == names, policy.inputs["metadata"]["name"]


def test_the_shared_tunnels_other_egress_is_unaffected(prod: Program) -> None:
    alone = Policies([each.inputs for each in prod.of("CiliumNetworkPolicy")])
    assert alone.allows(CLOUDFLARED, INTERNET, ANY_OTHER_PORT)
