"""TLS between the server and its clients, with the certificates of `database.tls`: who is let in, and renewals."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest

from components import server_certificate
from components.database_address import AUTHORITY
from components.server_certificate import LIFETIME_DAYS, RENEWAL_DAYS, _ServerCertificateProvider, days_left
from lookups.database_url import url_complaint
from rehearsal.pods.postgres import DATABASE, USER, PostgresServer, programs
from settings.database import DatabaseSettings
from tests.database.invoices import content, fill
from tests.database.pod import Pod
from tests.database.start_hook import start_hook
from tests.stacks import DEV

HOSTS = {"hosts": ["localhost"]}
RULES = "hostnossl all,replication all all reject\n"


def issued(olds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    provider = _ServerCertificateProvider()
    done = provider.create(HOSTS) if olds is None else provider.update("id", dict(olds), HOSTS)
    assert done.outs is not None
    return done.outs


@dataclass(kw_only=True)
class Secured:
    """A server with a certificate, and the folder that stands for its Secret and its clients' ConfigMap."""

    server: PostgresServer
    folder: Path
    recorded: dict[str, Any]

    @property
    def rules(self) -> Path:
        return self.folder / "pg_hba.conf"

    @property
    def parameters(self) -> dict[str, str]:
        """The server's parameters."""
        files = {"ssl_cert_file": str(self.folder / "tls.crt"), "ssl_key_file": str(self.folder / "tls.key")}
        return {"ssl": "on", **files}

    @property
    def client(self) -> dict[str, str]:
        """The variables of a pod's container."""
        return {"PGHOST": "localhost", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.folder / "ca.crt")}

    def write(self, recorded: dict[str, Any]) -> None:
        self.recorded = recorded
        self.put("ca.crt", recorded["authority"])
        self.put("tls.crt", recorded["certificate"])
        self.put("tls.key", recorded["key"])

    def put(self, name: str, text: str) -> Path:
        """Writes a file as the kubelet does for a pod whose group is the account's."""
        file = self.folder / name
        file.write_text(text)
        file.chmod(0o640 if self.server.account else 0o600)
        if self.server.account:
            os.chown(file, 0, self.server.account["group"])
        return file

    def hook(self, *, required: bool = True) -> None:
        if required:
            self.put("pg_hba.conf", RULES)
        done = start_hook(self.server, self.server.password, rules=self.rules if required else None)
        assert done.returncode == 0, done.stderr

    def encrypted(self, host: str = "localhost", *, sslmode: str, sslrootcert: str | None = None) -> bool:
        """Whether a client is let in with TLS; raises if it is not let in."""
        with psycopg.connect(
            host=host,
            hostaddr="127.0.0.1",
            port=self.server.port,
            user=USER,
            dbname=DATABASE,
            password=self.server.password,
            sslmode=sslmode,
            sslrootcert=sslrootcert,
        ) as connection:
            row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
        assert row
        return bool(row[0])

    def verified(self, authority: Path | None = None) -> bool:
        return self.encrypted(sslmode="verify-full", sslrootcert=str(authority or self.folder / "ca.crt"))


@contextmanager
def securing(server: PostgresServer) -> Iterator[Secured]:
    """Starts a server with a new certificate; its hook has not run."""
    try:
        folder = server.directory / "tls"
        folder.mkdir()
        made = Secured(server=server, folder=folder, recorded={})
        made.write(issued())
        server.settings |= made.parameters
        server.__enter__()
        yield made
    finally:
        server.__exit__()


@pytest.fixture
def secured() -> Iterator[Secured]:
    """A server whose hook has not run."""
    with securing(PostgresServer()) as made:
        yield made


def test_who_is_let_in_offered_required_and_without(secured: Secured) -> None:
    server = secured.server
    secured.hook(required=False)
    assert not secured.encrypted(sslmode="disable")
    assert secured.verified()

    secured.hook()
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match=r"pg_hba.conf rejects connection.*no encryption"):
            secured.encrypted(sslmode="disable")
        assert secured.verified()
        # The new database's superuser is still let in from no other host.
        with pytest.raises(psycopg.OperationalError, match=r'pg_hba.conf rejects connection.*"postgres"'):
            psycopg.connect(f"postgresql://postgres:x@127.0.0.1:{server.port}/postgres?sslmode=require")
        server.restart()
        secured.hook()
    lines = (server.data / "pg_hba.conf").read_text().splitlines()
    assert lines.count(f"include_if_exists {secured.rules}") == 1
    stranger = secured.put("stranger.crt", issued()["authority"])
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        secured.verified(stranger)
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        secured.encrypted(host="other", sslmode="verify-full", sslrootcert=str(secured.folder / "ca.crt"))

    # `tls` is unset again: the Secret is gone, and the rule with it.
    secured.rules.unlink()
    server.settings["ssl"] = "off"
    server.restart()
    assert not secured.encrypted(sslmode="disable")


def test_an_error_in_the_rules_fails_the_start_and_not_silently_lets_everybody_in(secured: Secured) -> None:
    secured.put("pg_hba.conf", "hostnossl nonsense\n")
    done = start_hook(secured.server, secured.server.password, rules=secured.rules)
    assert done.returncode == 1
    assert "connections without TLS may be let in" in done.stderr


def test_a_backup_and_a_restore_pass_by_tls_and_a_renewal_loses_nothing(secured: Secured) -> None:
    server = secured.server
    secured.hook()
    fill(server)
    then = content(server)
    directory = server.directory / "pod"
    directory.mkdir()
    pod = Pod(server, directory)
    tls = secured.client
    refused = pod.run("backup.sh", PGSSLMODE="disable")
    assert refused.returncode == 1
    assert "no encryption" in refused.stdout
    done = pod.run("backup.sh", **tls)
    assert done.returncode == 0, done.stdout

    before = secured.put("before.crt", secured.recorded["authority"])
    secured.write(issued(secured.recorded))
    server.restart()
    secured.hook()
    assert secured.verified()
    # A client that was started with the previous authority accepts the renewed certificate.
    assert secured.verified(before)
    assert content(server) == then
    server.sql("DELETE FROM invoice_items", user=server.superuser)
    server.sql(f"ALTER ROLE {USER} SUPERUSER")  # what `ops restore` lends
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0], **tls)
    assert done.returncode == 0, done.stdout
    assert content(server) == then


def test_an_upgrade_to_the_next_major_version_passes_by_tls_and_the_new_server_refuses_who_comes_without() -> None:
    with securing(PostgresServer(major=17)) as old:
        old.hook()
        fill(old.server)
        then = content(old.server)
        directory = old.server.directory / "pod"
        directory.mkdir()
        pod = Pod(old.server, directory, clients=programs(18, directory, old.server.account, tls=True))
        volume = pod.folder(directory / "volume")
        old.server.sql(f"ALTER ROLE {USER} SUPERUSER")  # what `ops upgrade` lends
        job = {"VOLUME": str(volume), "RESTORE_LENT": "true"}
        refused = pod.run("upgrade.sh", PGSSLMODE="disable", **job)
        assert refused.returncode == 1
        assert "no encryption" in refused.stdout
        done = pod.run("upgrade.sh", **job, **old.client)
        assert done.returncode == 0, done.stdout
        old.server.stop()
        data = volume / "18" / "docker"
        with PostgresServer(password=old.server.password, settings=old.parameters, data=data) as server:
            new = Secured(server=server, folder=old.folder, recorded=old.recorded)
            new.hook()
            assert new.verified()
            with pytest.raises(psycopg.OperationalError, match=r"pg_hba.conf rejects connection.*no encryption"):
                new.encrypted(sslmode="disable")
            assert server.sql("SHOW server_version_num").startswith("18")
            assert content(server) == then


def test_a_certificate_is_renewed_when_it_is_due_and_its_authority_before_it_ends_under_the_same_key(
    secured: Secured,
) -> None:
    provider = _ServerCertificateProvider()
    first = secured.recorded
    assert days_left(first["certificate"]) == LIFETIME_DAYS - 1
    for days, due in ((LIFETIME_DAYS, False), (RENEWAL_DAYS + 2, False), (RENEWAL_DAYS, True), (0, True)):
        with mock.patch.object(server_certificate, "LIFETIME_DAYS", days):
            aged = issued()
        assert provider.diff("id", aged, HOSTS).changes is due, days
    assert provider.diff("id", first, {"hosts": ["localhost", "db"]}).changes
    assert issued(first)["authority"] == first["authority"]

    # An authority that would expire before the certificate that it signs.
    with mock.patch.object(server_certificate, "_AUTHORITY_DAYS", LIFETIME_DAYS - 10):
        old = issued()
    renewed = issued(old)
    assert renewed["authority"] != old["authority"]
    assert renewed["authority_key"] == old["authority_key"]
    secured.write(renewed)
    secured.server.restart()
    secured.hook(required=False)
    assert secured.verified()
    assert secured.verified(secured.put("old.crt", old["authority"]))


QUERIES = [
    "",
    *(f"sslmode={mode}" for mode in ("disable", "allow", "prefer")),
    *(f"sslmode={mode}&sslrootcert={AUTHORITY}" for mode in ("require", "verify-ca", "verify-full")),
    f"sslmode=verify-full&sslrootcert={AUTHORITY}.not",
    "sslmode=verify-full",
    f"channel_binding=require&sslmode=verify-full&sslrootcert={AUTHORITY}",
]


def test_a_url_that_is_taken_connects_and_one_that_cannot_is_refused(secured: Secured) -> None:
    for tls in ("offered", "required"):
        secured.hook(required=tls == "required")
        for query in QUERIES:
            url = f"postgresql://{USER}:secret@invoicetron-db:5432/{DATABASE}?{query}"
            taken = url_complaint(url, "secret", DEV, DatabaseSettings(tls=tls)) is None
            here = query.replace(AUTHORITY, str(secured.folder / "ca.crt"))
            address = f"postgresql://{USER}:{secured.server.password}@localhost:{secured.server.port}"
            try:
                psycopg.connect(f"{address}/{DATABASE}?hostaddr=127.0.0.1&{here}").close()
            except psycopg.OperationalError:
                connects = False
            else:
                connects = True
            # libpq, which prefers TLS, gets in with these; node-postgres, which by default uses none, does not.
            if tls == "required" and query in {"", "sslmode=allow", "sslmode=prefer"}:
                connects = False
            assert taken is connects, (tls, query)
