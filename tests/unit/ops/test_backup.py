"""The part of `ops backup` that needs no cluster."""

from __future__ import annotations

import signal
from unittest import mock

import pytest

from ops import backup
from ops.backup import NearlyFullError, back_up
from ops.kube.cluster import ClusterError, StoppedError
from ops.kube.job import Job
from ops.terminal import Terminal
from tests.stacks import DEV


def taken(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """Runs `back_up` with a Job that succeeds with this log."""

    monkeypatch.setattr(backup, "create", lambda *_, **__: None)
    monkeypatch.setattr(backup, "labels", lambda _: {})
    monkeypatch.setattr(Job, "follow", lambda job, **_: any(map(job.say, log)))
    back_up(mock.Mock(names=DEV), Terminal())


@pytest.mark.parametrize("error", [StoppedError(signal.SIGINT), ClusterError("the API server does not answer")])
def test_if_the_wait_for_the_backup_ends_early_the_command_says_that_it_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: ClusterError
) -> None:
    monkeypatch.setattr(backup, "create", lambda *_, **__: None)
    monkeypatch.setattr(backup, "labels", lambda _: {})
    monkeypatch.setattr(Job, "follow", mock.Mock(side_effect=error))
    with pytest.raises(type(error)):
        back_up(mock.Mock(names=DEV, namespace=DEV.namespace), Terminal())
    assert f"The backup continues: kubectl -n {DEV.namespace} logs --follow job/" in capsys.readouterr().out


def test_a_good_backup_on_a_nearly_full_volume_is_distinguished_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = "2026-02-05T03:00:01Z backup invoicetron-000001-20260205T030000Z is complete"
    told = "2026-02-05T03:00:02Z NEARLY FULL: the backup is good, but its volume is 81 % full"
    taken(monkeypatch, [complete])
    with pytest.raises(NearlyFullError, match=r"^the backup is good, but its volume is 81 % full$"):
        taken(monkeypatch, [complete, told, "one more line"])
