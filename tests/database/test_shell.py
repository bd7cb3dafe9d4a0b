"""The scripts run in BusyBox, as in the image, if this machine has it (Debian: busybox-static)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rehearsal.pods.postgres import PostgresServer
from rehearsal.pods.shell import link_applets
from tests.database.pod import Pod
from tests.database.start_hook import start_hook

BUSYBOX = shutil.which("busybox")
needs_busybox = pytest.mark.skipif(
    BUSYBOX is None,
    reason="BusyBox is not installed: the scripts run in this machine's shell, which is not the image's",
)
SHELL = "readlink /proc/$$/exe"


@needs_busybox
def test_a_pods_script_and_all_that_it_starts_are_busyboxs(pod: Pod) -> None:
    awk = "awk 'BEGIN { system(\"readlink /proc/$PPID/exe\") }'"
    (pod.scripts / "which.sh").write_text(f"{SHELL}\nsh -c '{SHELL}'\n{awk}\n")
    said = pod.run("which.sh").stdout.split()
    assert len(said) == 3
    assert {Path(each).resolve() for each in said} == {Path(str(BUSYBOX)).resolve()}


@needs_busybox
def test_the_databases_start_hook_is_busyboxs() -> None:
    with PostgresServer() as server:
        spy = server.directory / "shell-spy"
        spy.mkdir()
        spy.chmod(0o777)
        psql = spy / "psql"
        psql.write_text(f'#!/bin/sh\nreadlink /proc/$PPID/exe >{spy}/seen\nexec {server.bin}/psql "$@"\n')
        psql.chmod(0o755)
        done = start_hook(server, server.password, path=spy)
        assert done.returncode == 0, done.stderr
        assert Path((spy / "seen").read_text().strip()).resolve() == Path(str(BUSYBOX)).resolve()


def test_without_busybox_the_machines_own_programs_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    link_applets(tmp_path)
    assert not list(tmp_path.iterdir())
