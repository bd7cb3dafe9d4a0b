"""What an upgrade does with the app and the StatefulSet, whatever happens: one of two servers, or none."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient
from urllib3.exceptions import ProtocolError

from ops import upgrade as module
from ops.kube.cluster import Cluster, ClusterError, Interrupts, StoppedError
from ops.kube.job import Job, JobFailedError
from ops.restore.app_stop import App, PreviousState
from ops.upgrade import Discard, Upgrade
from settings.database import DatabaseSettings
from tests.stacks import DEV
from tests.unit.program import load_settings

SETTINGS = load_settings("dev")
ANOTHER = "invoicetron-db-upgrade-another"


class Stage:
    """What happens in the cluster of one upgrade, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        self.running: list[str] = []
        self.ours = True
        self.terminal = mock.MagicMock()
        self.raised: dict[str, BaseException] = {}
        monkeypatch.setattr(module, "unfinished", lambda _, template: list(self.running) if template else [])
        monkeypatch.setattr(module, "running_writer", lambda _: None)
        monkeypatch.setattr("ops.kube.job.create", self._does("create"))
        monkeypatch.setattr(module, "delete", lambda _, name: self.happened.append(f"delete {name}"))
        monkeypatch.setattr(module, "lent", lambda *_: nullcontext({}))
        monkeypatch.setattr(module, "_kept", lambda _: [])
        for name, owner in (("stop", App), ("start", App), ("follow", Job), ("end", Job)):
            monkeypatch.setattr(owner, name, self._does(name))
        monkeypatch.setattr(App, "is_ours", lambda _: self.ours)
        for name in ("_mark", "_wait"):
            monkeypatch.setattr(Upgrade, name, self._does(name.removeprefix("_")))
        monkeypatch.setattr(Upgrade, "_switch", lambda _, **options: self._does("try" if options else "switch")())

    def _does(self, what: str) -> Callable[..., None]:
        def does(*_: Any, **__: Any) -> None:
            self.happened.append(what)
            if what in self.raised:
                raise self.raised[what]

        return does

    def upgrade(self, *, left: list[str] | None = None, switched: bool = False, interrupted: bool = False) -> None:
        cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
        template: Any = SimpleNamespace(metadata=SimpleNamespace(name="invoicetron-db-upgrade"))
        Upgrade(
            cluster=cluster,
            terminal=self.terminal,
            settings=SETTINGS,
            major=18,
            image="postgres:18-alpine",
            template=None if switched else template,
            claim="data-invoicetron-db-0",
            app=App(cluster=cluster, run="upgrade-1"),
            was=PreviousState(replicas=1, ready=True, remembered=interrupted),
            interrupted=interrupted,
            left=left or [],
        ).run()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


@pytest.mark.parametrize(
    ("live", "to", "told"),
    [
        ("postgres:17-alpine", 19, "upgraded to PostgreSQL 18$"),
        ("postgres:17-alpine", 16, "upgraded to PostgreSQL 18$"),
        ("postgres:17-alpine", 0, "upgraded to PostgreSQL 18$"),
        ("postgres:18-alpine", 19, "this program knows no later version"),
        ("postgres:18-alpine", 17, "no way back to an earlier one but a backup"),
    ],
)
def test_an_unsupported_version_is_refused_without_advice_that_would_fail(
    monkeypatch: pytest.MonkeyPatch, live: str, to: int, told: str
) -> None:
    monkeypatch.setattr(module, "_server", lambda _: (live, "data-invoicetron-db-0"))
    with pytest.raises(ClusterError, match=f"--to {to}: the server has {live}.*{told}"):
        Upgrade.look(mock.MagicMock(names=DEV), mock.Mock(), SETTINGS, to)


@pytest.mark.parametrize(
    ("database", "said"),
    [
        (None, ("has no StatefulSet of PostgreSQL", "has no StatefulSet of PostgreSQL")),
        (
            DatabaseSettings(engine="cloudnative-pg"),
            ("has no StatefulSet of PostgreSQL", "keeps nothing of an earlier version"),
        ),
    ],
)
def test_without_a_stateful_set_there_is_nothing_to_upgrade_or_discard(
    database: DatabaseSettings | None, said: tuple[str, str]
) -> None:
    cluster, settings = mock.MagicMock(names=DEV), SETTINGS.model_copy(update={"database": database})
    with pytest.raises(ClusterError, match=said[0]):
        Upgrade.look(cluster, mock.Mock(), settings, 18)
    with pytest.raises(ClusterError, match=said[1]):
        Discard.look(cluster, settings)
    assert not cluster.mock_calls


def test_the_app_is_started_once_the_new_server_answers(stage: Stage) -> None:
    stage.upgrade()
    assert stage.happened == ["try", "stop", "create", "follow", "mark", "switch", "wait", "start"]


@pytest.mark.parametrize("at", ["try", "stop", "create", "follow", "mark"])
@pytest.mark.parametrize(
    "error", [ClusterError("no"), JobFailedError("no"), StoppedError(signal.SIGINT), KeyboardInterrupt()]
)
def test_whatever_fails_before_the_switch_leaves_the_app_on_the_old_server(
    stage: Stage, at: str, error: BaseException
) -> None:
    stage.raised[at] = error
    with pytest.raises(type(error)):
        stage.upgrade()
    assert stage.happened[-1] == "start"
    assert "switch" not in stage.happened


@pytest.mark.parametrize("at", ["switch", "wait"])
def test_a_failure_from_the_switch_on_leaves_the_app_stopped_and_says_how_to_continue(stage: Stage, at: str) -> None:
    stage.raised[at] = ClusterError("no node")
    with pytest.raises(ClusterError, match=r"(?s)no node.*stays stopped.*python -m ops upgrade --stack dev --to 18"):
        stage.upgrade()
    assert stage.happened[-1] == at


def test_nothing_is_switched_if_another_run_has_stopped_the_app_since(stage: Stage) -> None:
    stage.ours = False
    with pytest.raises(ClusterError, match="another run of ops has stopped the app in the meantime"):
        stage.upgrade()
    assert "switch" not in stage.happened


def test_the_same_command_continues_after_the_switch_without_filling_again(stage: Stage) -> None:
    stage.upgrade(switched=True, interrupted=True)
    assert stage.happened == ["wait", "stop", "start"]


def test_a_failure_to_take_over_the_stopped_app_says_how_to_continue(stage: Stage) -> None:
    stage.raised["stop"] = ClusterError("no answer")
    with pytest.raises(ClusterError, match=r"(?s)no answer.*stays stopped.*python -m ops upgrade --stack dev --to 18"):
        stage.upgrade(switched=True, interrupted=True)


def test_the_next_steps_are_told_although_the_api_server_restarts_before_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.kube.cluster._AGAIN", 0.0)
    monkeypatch.setattr(module, "_kept", mock.Mock(side_effect=[ProtocolError("Connection aborted."), []]))
    stage.upgrade()
    assert stage.terminal.say.call_args.args[0].startswith("The database of dev is on PostgreSQL 18.")


def test_an_app_that_others_have_stopped_is_left_alone(stage: Stage) -> None:
    stage.upgrade(switched=True)
    assert stage.happened == ["wait"]


def test_an_abandoned_job_is_ended_and_one_that_has_begun_since_is_not_disturbed(stage: Stage) -> None:
    stage.running = [ANOTHER]
    stage.upgrade(left=[ANOTHER])
    assert stage.happened[1:3] == ["stop", f"delete {ANOTHER}"]
    stage.happened.clear()
    with pytest.raises(ClusterError, match=f"has started in the meantime: wait for {ANOTHER} to finish"):
        stage.upgrade()
    assert "stop" not in stage.happened
