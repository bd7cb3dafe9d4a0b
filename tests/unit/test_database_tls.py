"""`database.tls`: who gets the certificate and the key, who checks them, and that a stack without it has none of it."""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import PurePosixPath
from typing import Any
from unittest import mock

import httpx
import pytest
from cryptography import x509

from components import server_certificate
from components.database_address import AUTHORITY
from components.server_certificate import LIFETIME_DAYS, _ServerCertificateProvider
from ops.verify import database
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.delivery import LEAST_DAYS
from tests.stacks import PROD
from tests.unit.program import Program, load_settings, run
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_postgres_exporter import METRICS, VALUES

FOLDER = str(PurePosixPath(AUTHORITY).parent)
OF_DATABASE = {"invoicetron-db-backup", "invoicetron-db-restore", PROD.upgrade}
CLIENTS = {"invoicetron", "invoicetron-migrate", PROD.exporter} | OF_DATABASE


@pytest.fixture(scope="module")
def encrypted() -> Program:
    images = {"database.image": "postgres:17-alpine", "database.upgrade.image": "postgres:18-alpine"}
    return run("prod", {"database.tls": "required", "monitoring": METRICS, **images}, values=VALUES)


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def test_every_client_of_the_database_has_the_authority_and_checks_the_server_by_it(encrypted: Program) -> None:
    has = set()
    for owner, pod in encrypted.pods():
        sources = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        for container in containers(pod):
            mounted = {mount["mountPath"]: mount for mount in container.get("volumeMounts", [])}
            if FOLDER in mounted:
                has.add(owner.inputs["metadata"]["name"])
                assert mounted[FOLDER]["readOnly"]
                assert sources[mounted[FOLDER]["name"]]["configMap"]["name"] == PROD.database_authority
            variables = {each["name"]: each.get("value") for each in container.get("env", [])}
            if "PGHOST" in variables:
                assert (variables["PGSSLMODE"], variables["PGSSLROOTCERT"]) == ("verify-full", AUTHORITY)
                assert FOLDER in mounted
    assert has == CLIENTS
    (exporter,) = encrypted.one("Deployment", PROD.exporter).inputs["spec"]["template"]["spec"]["containers"]
    (address,) = [each["value"] for each in exporter["env"] if each["name"] == "DATA_SOURCE_URI"]
    assert f"sslmode=verify-full&sslrootcert={AUTHORITY}" in address
    url = encrypted.one("Secret", PROD.app_secret).inputs["stringData"]["database-url"]
    assert url.endswith(f"/invoicetron?sslmode=verify-full&sslrootcert={AUTHORITY}")


def test_the_state_shows_neither_the_servers_key_nor_the_authoritys(encrypted: Program) -> None:
    (made,) = encrypted.of("ServerCertificate")
    assert {"key", "authority_key"} <= set(made.request.additionalSecretOutputs)


def test_only_the_server_has_the_key_with_the_mode_that_postgresql_accepts(encrypted: Program) -> None:
    secret = encrypted.one("Secret", PROD.database_tls)
    assert secret.secret_inputs == {"stringData"}
    key = secret.inputs["stringData"]["tls.key"]
    for each in encrypted.registrations:
        assert each is secret or key not in str(each.inputs), each.urn
    pod = encrypted.one("StatefulSet").inputs["spec"]["template"]["spec"]
    (volume,) = [each["secret"] for each in pod["volumes"] if "secret" in each]
    assert volume == {"secretName": PROD.database_tls, "defaultMode": 0o640}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    job = encrypted.one("CronJob", PROD.upgrade).inputs["spec"]["jobTemplate"]["spec"]["template"]
    (filling,) = containers(job)
    assert "ssl" not in str(filling["command"]), (
        "the server that is filled has no certificate, and its socket needs none"
    )


def test_the_certificate_names_every_name_of_the_server_and_a_new_one_restarts_it(encrypted: Program) -> None:
    pem = encrypted.one("Secret", PROD.database_tls).inputs["stringData"]["tls.crt"]
    alternatives = x509.load_pem_x509_certificate(pem.encode()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert set(alternatives.value.get_values_for_type(x509.DNSName)) == {
        "invoicetron-db",
        "invoicetron-db.invoicetron-prod",
        "invoicetron-db.invoicetron-prod.svc",
        "invoicetron-db.invoicetron-prod.svc.cluster.local",
    }
    again = run("prod", {"database.tls": "required"})
    marks = [
        each.one("StatefulSet").inputs["spec"]["template"]["metadata"]["annotations"] for each in (encrypted, again)
    ]
    assert marks[0] != marks[1]


def test_the_server_refuses_clients_without_tls_only_if_it_is_required(encrypted: Program) -> None:
    def rules(program: Program) -> tuple[bool, bool]:
        (server,) = program.one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"]
        command = server["lifecycle"]["postStart"]["exec"]["command"]
        has = "pg_hba.conf" in program.one("Secret", PROD.database_tls).inputs["stringData"]
        return has, any(part.endswith("/pg_hba.conf") for part in command)

    assert rules(encrypted) == (True, True)
    assert rules(run("prod", {"database.tls": "offered"})) == (False, False)


def test_a_stack_without_tls_has_none_of_its_parts(prod: Program) -> None:
    names = {each.inputs.get("metadata", {}).get("name") for each in prod.registrations}
    assert names.isdisjoint({PROD.database_tls, PROD.database_authority})
    assert not prod.of("ServerCertificate")
    assert "ssl" not in str([each.inputs for each in prod.registrations if each.kind in {"StatefulSet", "CronJob"}])


def test_the_operator_s_engine_has_its_own_tls() -> None:
    refused = refusal("prod", with_value("prod", "database", {"engine": "cloudnative-pg", "tls": "required"}))
    assert "CloudNativePG has TLS, with certificates that the operator makes and renews" in refused
    moving = {"engine": "statefulset", "movingFrom": "cloudnative-pg", "tls": "required"}
    assert "nothing while the database moves" in refusal("prod", with_value("prod", "database", moving))


@pytest.mark.parametrize(
    ("days", "good"), [(LIFETIME_DAYS, True), (LEAST_DAYS + 1, True), (LEAST_DAYS, False), (-1, False)]
)
def test_verify_says_when_the_certificate_expires_and_fails_beforehand(days: int, good: bool) -> None:
    with (
        mock.patch.object(server_certificate, "LIFETIME_DAYS", days),
        mock.patch.object(server_certificate, "_EARLY", dt.timedelta(days=2)),
    ):
        made = _ServerCertificateProvider().create({"hosts": ["db"]}).outs
    assert made
    data = {"tls.crt": base64.b64encode(made["certificate"].encode()).decode()}

    class Cluster(Systems):
        def get(self, *_: Any) -> Any:
            return {"data": data}

    systems = Cluster(load_settings("prod"), http=httpx.Client())
    if good:
        seen = database.certificate(systems)
        assert "ends on 2" in seen
        assert f"(days left: {days - 1})" in seen
    else:
        with pytest.raises(CheckError, match="the minimum is"):
            database.certificate(systems)
    data.clear()
    with pytest.raises(CheckError, match="holds no certificate"):
        database.certificate(systems)
