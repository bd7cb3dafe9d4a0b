"""after-upgrade.sh, on a PostgreSQL 17 server that the real pg_upgrade has upgraded to 18."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.pods.pg_upgrade import upgraded
from rehearsal.pods.postgres import PostgresServer, programs
from tests.database.invoices import content, fill
from tests.database.pod import Pod


@pytest.fixture(scope="module")
def upgrade() -> Iterator[tuple[Pod, str, str]]:
    """A pod of the old version beside the upgraded server, the name of the backup before, and the content then."""
    # Neither the server's own folder, which the upgrade removes, nor pytest's, which only root can reach.
    with tempfile.TemporaryDirectory(prefix="upgrade-") as folder, PostgresServer(major=17) as old:
        directory = Path(folder)
        directory.chmod(0o755)
        fill(old)
        before = content(old)
        (directory / "pod").mkdir()
        pod = Pod(old, directory / "pod", clients=programs(17, directory / "program", old.account))
        done = pod.run("backup.sh", KIND="before-restore")
        assert done.returncode == 0, done.stdout
        with upgraded(old, 18) as new:
            pod.server = new
            (backup,) = pod.names()
            yield pod, backup, before


def test_all_of_it_is_there_and_analyzed(upgrade: tuple[Pod, str, str]) -> None:
    pod, backup, before = upgrade
    assert content(pod.server) == before
    done = pod.run("after-upgrade.sh", BACKUP=backup, MAJOR="18", PATIENCE="60")
    assert done.returncode == 0, done.stdout
    assert "PostgreSQL 18 has all of it" in done.stdout
    analyzed = "SELECT bool_and(last_analyze IS NOT NULL) FROM pg_stat_user_tables"
    assert pod.server.sql(analyzed) == "t"


def test_a_row_that_is_missing_and_a_server_of_another_version_are_told(upgrade: tuple[Pod, str, str]) -> None:
    pod, backup, _ = upgrade
    pod.server.sql("CREATE TABLE since (id int); INSERT INTO since VALUES (1)")
    done = pod.run("after-upgrade.sh", BACKUP=backup, MAJOR="18", PATIENCE="60")
    assert done.returncode
    assert "table since: no rows expected, 1 found" in done.stdout
    assert "the server is PostgreSQL 18, and not 19" in pod.run("after-upgrade.sh", BACKUP=backup, MAJOR="19").stdout
    assert "is no whole backup" in pod.run("after-upgrade.sh", BACKUP="another", MAJOR="18").stdout
