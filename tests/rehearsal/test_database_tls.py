"""`database.tls` on a live stack: after one `up` its backups use TLS; one more renews the certificate when due."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from unittest import mock

import psycopg
import pytest

from components import server_certificate
from components.database_address import AUTHORITY
from components.server_certificate import RENEWAL_DAYS, _ServerCertificateProvider
from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.backed_up import BackedUp
from tests.stacks import DEV


def test_a_stack_and_its_backups_switch_to_tls_and_its_certificate_is_renewed(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    stack = BackedUp(rehearsal=rehearsal)
    stack.prepare()
    then = stack.fill()
    rehearsal.configure("dev", "database.tls", "required")
    with pytest.raises(EngineError, match=r"the URL does not demand TLS \(sslmode\)"):
        rehearsal.program.up("dev", "--skip-preview")
    rehearsal.onepassword.remove_field("Invoicetron Dev", "database-url")
    rehearsal.program.up("dev")

    server = stack.server
    assert stack.content() == then
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(f"{server.url}?sslmode=disable")
    done = stack.ops("backup")
    assert done.returncode == 0, done.stdout
    assert not rehearsal.program.up("dev", "--skip-preview").changes

    data: dict[str, str] = rehearsal.get("configmap", DEV.database_authority, namespace=DEV.namespace)["data"]
    assert list(data) == [AUTHORITY.rpartition("/")[2]]
    checkpoint = rehearsal.program.export("dev")
    assert "PRIVATE KEY" not in json.dumps(checkpoint)

    # A year later.
    resources = checkpoint["deployment"]["resources"]
    (made,) = [one["outputs"] for one in resources if one["type"].endswith("ServerCertificate")]
    first = made["certificate"]
    with mock.patch.object(server_certificate, "LIFETIME_DAYS", RENEWAL_DAYS):
        aged = _ServerCertificateProvider().create({"hosts": made["hosts"]}).outs
    assert aged
    made["certificate"] = aged["certificate"]
    rehearsal.program.run("stack", "import", "--stack", "dev", stdin=json.dumps(checkpoint))
    changes = rehearsal.program.up("dev", "--skip-preview").changes
    assert changes["database-certificate"] == changes["database"] == "update"
    assert "app" not in changes, "a client that trusts the authority trusts the new certificate"
    secret = rehearsal.get("secret", DEV.database_tls, namespace=DEV.namespace)
    assert base64.b64decode(secret["data"]["tls.crt"]).decode() not in {first, aged["certificate"]}
    assert stack.content() == then
    authority = tmp_path / "ca.crt"
    authority.write_text(data[authority.name])
    url = stack.server.url.replace("127.0.0.1", DEV.database)
    psycopg.connect(f"{url}?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={authority}").close()
