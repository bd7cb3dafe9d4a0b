"""The moment when restored and old data change places: what restore.sh reports, and keeps, when it is interrupted."""

from __future__ import annotations

import time

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, databases
from tests.database.pod import Pod


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_the_renaming_loses_no_dump_of_replaced_data(
    pod: Pod, server: PostgresServer, backup: str, signal: str, when: str
) -> None:
    for _ in range(3):
        assert pod.run("restore.sh", RESTORE_FROM=backup).returncode == 0
    server.sql("DELETE FROM invoice_items")
    before, old = pod.names(), content(server)
    swap = pod.scripts / "swap.sql"
    renaming, kill = swap.read_text(), f"\\! kill -{signal} 0\n"
    swap.write_text(kill + renaming if when == "before" else renaming + kill)
    assert pod.run("restore.sh", RESTORE_FROM=backup).returncode != 0
    assert pod.run("backup.sh").returncode == 0, "which prunes"
    assert set(before) <= set(pod.names())
    swap.write_text(renaming)
    (saved,) = (name for name in set(pod.names()) - set(before) if name.startswith("before-restore"))
    assert (content(server) == old) == (when == "before")
    assert pod.run("restore.sh", RESTORE_FROM=saved).returncode == 0
    assert content(server) == old


def test_a_server_that_crashes_right_after_the_renaming_has_the_new_data_and_says_so(
    pod: Pod, server: PostgresServer, backup: str
) -> None:
    pid = (server.data / "postmaster.pid").read_text().split()[0]
    with (pod.scripts / "swap.sql").open("a") as swap:
        swap.write(f"\\! kill -KILL {pid}\nSELECT pg_sleep(60);\n")
    process = pod.start("restore.sh", RESTORE_FROM=backup)
    deadline = time.monotonic() + 60
    while server.running and time.monotonic() < deadline:
        time.sleep(0.05)
    server.kill()
    server.start()
    log, _ = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert "the restored data is in place" in log
    assert server.sql("SELECT count(*) FROM invoice_items") == "1000"
    assert databases(server) == ["invoicetron", "postgres"]


def test_a_server_that_stays_away_after_the_renaming_leaves_open_which_data_is_in_place(
    pod: Pod, server: PostgresServer, backup: str
) -> None:
    (pod.scripts / "swapped.sql").write_text("SELECT 1 / 0")
    with (pod.scripts / "swap.sql").open("a") as swap:
        swap.write("SELECT pg_terminate_backend(pg_backend_pid());\n")
    script = pod.scripts / "incoming.sh"
    script.write_text(script.read_text().replace("sleep 3", "sleep 0.01"))
    done = pod.run("restore.sh", RESTORE_FROM=backup)
    assert done.returncode != 0
    assert "untouched" not in done.stdout
    assert "FAILED: the server does not say which data is in place" in done.stdout.splitlines()[-1]
    assert databases(server) == ["invoicetron", "invoicetron_replaced", "postgres"]
    assert len(pod.names()) == 2, "the dump of the old data is gone"
