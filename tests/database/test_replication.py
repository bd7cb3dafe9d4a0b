"""Restores of a database that others replicate from, or that itself replicates: real publisher, real subscriber."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import databases, fill
from tests.database.pod import Pod

LOGICAL = {"wal_level": "logical"}


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A publisher, and a subscriber to its products that has caught up."""
    with PostgresServer(settings=LOGICAL) as publisher, PostgresServer(settings=LOGICAL) as subscriber:
        fill(publisher)
        publisher.sql("CREATE PUBLICATION bills FOR TABLE products")
        subscriber.sql("CREATE TABLE products (id serial PRIMARY KEY, name text); CREATE TABLE own (id integer)")
        subscriber.sql(
            f"CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port={publisher.port} dbname=invoicetron"
            f" user=invoicetron password={publisher.password}' PUBLICATION bills"
        )
        deadline = time.monotonic() + 60
        while subscriber.sql("SELECT count(*) FROM products") != "39" and time.monotonic() < deadline:
            time.sleep(0.1)
        yield publisher, subscriber


def restored(server: PostgresServer) -> str:
    """Takes a backup and restores it; returns the restore's log."""
    directory = server.directory / "pod"
    directory.mkdir()
    pod = Pod(server, directory)
    done = pod.run("backup.sh")
    assert done.returncode == 0, done.stdout
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0])
    assert done.returncode == 0, done.stdout
    assert databases(server) == ["invoicetron", "postgres"]
    return done.stdout


def test_a_publisher_is_restored_under_its_subscriber_and_says_that_the_slot_is_gone(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    publisher, _ = pair
    log = restored(publisher)
    assert "the replication slot sub of invoicetron_replaced is dropped with it" in log
    assert publisher.sql("SELECT pubname FROM pg_publication") == "bills"
    assert publisher.sql("SELECT count(*) FROM products") == "39"


def test_a_subscriber_is_restored_while_it_receives_and_its_subscription_waits(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    publisher, subscriber = pair
    log = restored(subscriber)
    assert "its slot on the publisher stays there" in log
    assert "these subscriptions wait to be enabled and refreshed" in log
    assert publisher.password not in log
    assert subscriber.sql("SELECT subname, subenabled FROM pg_subscription") == "sub|f"
    assert subscriber.sql("SELECT count(*) FROM products") == "39"
    subscriber.sql("ALTER SUBSCRIPTION sub ENABLE")
    subscriber.sql("ALTER SUBSCRIPTION sub REFRESH PUBLICATION WITH (copy_data = false)")
    publisher.sql("INSERT INTO products (name) VALUES ('newer')")
    deadline = time.monotonic() + 60
    while subscriber.sql("SELECT count(*) FROM products WHERE name = 'newer'") != "1" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert subscriber.sql("SELECT count(*) FROM products WHERE name = 'newer'") == "1"
