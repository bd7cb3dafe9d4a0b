"""A superuser is lent for a restore and revoked whatever happens; a revocation announces what it will do."""

from __future__ import annotations

import re
import signal
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient

from ops import superuser as module
from ops.kube.cluster import Cluster, ClusterError, Interrupts, StoppedError
from ops.superuser import PSQL, DatabasePod, Revocation, Role, lent
from tests.stacks import DEV
from tests.unit.program import load_settings

CLUSTER = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())


class Server:
    """The database's pod: which statements it got, and which rights the app's role has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, superuser: bool = False, first: bool = False) -> None:
        self.superuser, self.first, self.asked, self.gone = superuser, first, [], False
        monkeypatch.setattr(DatabasePod, "of", lambda cluster: DatabasePod(cluster=cluster, name="pod"))
        monkeypatch.setattr(module, "run_in", self.run)

    asked: list[str]

    def run(self, *_: object, given: str) -> str:
        if self.gone:
            raise ClusterError("the pod is gone")
        self.asked.append(given)
        if given.startswith("SELECT rolsuper"):
            return f"{'t' if self.superuser else 'f'}|{'t' if self.first else 'f'}\n"
        self.superuser = " SUPERUSER" in given
        return ""


def template(*variables: str) -> Any:
    container = SimpleNamespace(env=[SimpleNamespace(name=name) for name in variables])
    pod = SimpleNamespace(spec=SimpleNamespace(containers=[container]))
    job = SimpleNamespace(spec=SimpleNamespace(template=pod))
    return SimpleNamespace(spec=SimpleNamespace(job_template=job))


def test_a_superuser_is_lent_for_the_duration_of_the_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)
    lending = lent(CLUSTER, mock.MagicMock(), template("PGUSER"))
    assert lending.__enter__() == {"RESTORE_LENT": "true"}
    assert server.superuser
    failure = KeyboardInterrupt()
    assert not lending.__exit__(KeyboardInterrupt, failure, None), "it is not swallowed"
    assert not server.superuser


def test_a_superuser_left_by_an_earlier_restore_is_revoked_with_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, superuser=True)
    with lent(CLUSTER, mock.MagicMock(), template("PGUSER")) as environment:
        assert environment == {"RESTORE_LENT": "true"}
    assert not server.superuser


def test_a_role_that_is_the_servers_own_superuser_is_lent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, superuser=True, first=True)
    with lent(CLUSTER, mock.MagicMock(), template("PGUSER")) as environment:
        assert environment == {}
    assert server.superuser
    server.asked.clear()
    with lent(CLUSTER, mock.MagicMock(), template("PGUSER", "OWNER")) as environment:
        assert environment == {}
    assert server.asked == [], "an administrator of CloudNativePG's has its own role"


def test_a_failed_revocation_is_reported_with_the_command_that_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    server, terminal = Server(monkeypatch), mock.MagicMock()
    with lent(CLUSTER, terminal, template("PGUSER")):
        server.gone = True
    (said,) = (call.args[0] for call in terminal.say.call_args_list)
    assert "the pod is gone" in said
    assert "python -m ops revoke-superuser --stack dev" in said


def test_a_superuser_is_revoked_if_the_lending_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch)

    def stopped(*names: object, given: str) -> str:
        answer = server.run(*names, given=given)
        if server.superuser:
            raise StoppedError(signal.SIGINT)
        return answer

    monkeypatch.setattr(module, "run_in", stopped)
    with pytest.raises(StoppedError), lent(CLUSTER, mock.MagicMock(), template("PGUSER")):
        pytest.fail("nothing was lent for sure")
    assert not server.superuser


@pytest.mark.parametrize(
    ("role", "words"),
    [
        (Role(superuser=True, first=True), "It becomes the owner of its database"),
        (Role(superuser=True, first=False), "a restore that did not end"),
        (Role(superuser=False, first=False), "is no superuser"),
    ],
    ids=["live", "left", "done"],
)
def test_the_revocation_announces_what_it_finds(monkeypatch: pytest.MonkeyPatch, role: Role, words: str) -> None:
    Server(monkeypatch, superuser=role.superuser, first=role.first)
    monkeypatch.setattr(module, "cron_job", mock.Mock())
    monkeypatch.setattr(module, "unfinished", lambda *_: [])
    revocation = Revocation.look(CLUSTER, load_settings("dev"))
    assert revocation.before == role
    assert words in revocation.announcement


def test_a_revocation_is_refused_while_a_restore_needs_the_superuser(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, superuser=True)
    monkeypatch.setattr(module, "cron_job", mock.Mock())
    monkeypatch.setattr(module, "unfinished", lambda *_: ["invoicetron-db-restore-1"])
    with pytest.raises(ClusterError, match="wait for the end of invoicetron-db-restore-1"):
        Revocation.look(CLUSTER, load_settings("dev"))
    assert server.asked == []


def test_a_restore_that_has_begun_since_the_confirmation_is_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    server, running = Server(monkeypatch, superuser=True), list[str]()
    monkeypatch.setattr(module, "cron_job", mock.Mock())
    monkeypatch.setattr(module, "unfinished", lambda *_: running)
    revocation = Revocation.look(CLUSTER, load_settings("dev"))
    running.append("invoicetron-db-restore-1")
    with pytest.raises(ClusterError, match="wait for the end of invoicetron-db-restore-1"):
        revocation.run()
    assert server.superuser


def test_a_session_has_the_options_of_the_script_that_sets_the_password() -> None:
    """Otherwise a role's own timeout would cut the hand-over short, and the server's log would show a hash."""
    (usual,) = re.findall(r"^usual='([^']*)'$", PSQL, re.MULTILINE)
    (silent,) = re.findall(r"^silent='([^']*)'$", PSQL, re.MULTILINE)
    assert {"role=none", "lock_timeout=0", "idle_session_timeout=0"} <= set(usual.split())
    assert {"log_statement=none", "event_triggers=off"} <= set(silent.split())
