"""What a restore does with the app and the Job, whatever happens to either."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient, V1Job, V1ObjectMeta

from ops import restore as module
from ops.kube.cluster import Cluster, ClusterError, Interrupts, StoppedError
from ops.kube.job import Job, JobFailedError
from ops.restore import Restore, RestoreRequest, look, migration, parse_request
from ops.restore.app_stop import App, PreviousState
from ops.restore.source import Source
from settings.cloudnative_pg import STATEFUL_SET
from settings.database import DatabaseSettings
from tests.stacks import DEV
from tests.unit.program import load_settings

OTHER = "invoicetron-db-restore-another"
MIGRATION = "invoicetron-migrate-1a2b3c4d"


class Stage:
    """The cluster during one restore: what happens, in order, and what its calls return."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        self.running: list[str] = []
        """The restores that are under way."""
        self.migrations: list[str] = []
        """The migrations that are under way."""
        self.ours = True
        self.complete = False
        self.terminal = mock.MagicMock()
        self.follow: Callable[[], None] = lambda: None
        monkeypatch.setattr(module, "unfinished", lambda *_: list(self.running))
        monkeypatch.setattr(migration, "_migrations", lambda _: self._migrations())
        monkeypatch.setattr(module, "create", self._does("create"))
        monkeypatch.setattr(module, "delete", lambda _, name: self._ended(name))
        monkeypatch.setattr(module, "lent", lambda *_: nullcontext({}))
        monkeypatch.setattr(App, "stop", self._does("stop"))
        monkeypatch.setattr(App, "start", self._does("start"))
        monkeypatch.setattr(App, "is_ours", lambda _: self.ours)
        monkeypatch.setattr(Job, "follow", lambda *_, **__: self.follow())
        monkeypatch.setattr(Job, "is_complete", lambda _: self.complete)
        monkeypatch.setattr(Job, "end", self._does("end"))

    def _does(self, what: str) -> Callable[..., None]:
        return lambda *_, **__: self.happened.append(what)

    def _migrations(self) -> tuple[list[V1Job], list[V1Job]]:
        since = dt.datetime(2026, 2, 5, 3, tzinfo=dt.UTC)
        metadata = [V1ObjectMeta(name=name, uid=name, creation_timestamp=since) for name in self.migrations]
        jobs = [V1Job(metadata=each) for each in metadata]
        return jobs, jobs

    def _ended(self, name: str) -> None:
        self.happened.append(f"delete {name}")
        self.running.remove(name)

    def fails(self, error: Exception) -> None:
        def follow() -> None:
            raise error

        self.follow = follow

    @property
    def said(self) -> list[str]:
        return [call.args[0] for call in self.terminal.say.call_args_list]

    def restore(self, *, left: list[str] | None = None) -> None:
        cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
        request = RestoreRequest(stack="dev", source=Source(backup="b"), expectation=None, clear_sessions=False)
        template: Any = SimpleNamespace(metadata=SimpleNamespace(name="invoicetron-db-restore"))
        was = PreviousState(replicas=1, ready=True, remembered=False)
        app = App(cluster=cluster, run="run")
        Restore(
            cluster=cluster,
            terminal=self.terminal,
            request=request,
            template=template,
            app=app,
            was=was,
            left=left or [],
        ).run()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_the_app_is_stopped_first_and_started_last(stage: Stage) -> None:
    stage.restore()
    assert stage.happened == ["stop", "create", "start"]
    assert "The database of dev now holds the backup b." in stage.said


def test_an_abandoned_restore_is_ended_once_the_app_is_stopped(stage: Stage) -> None:
    stage.running = [OTHER]
    stage.restore(left=[OTHER])
    assert stage.happened == ["stop", f"delete {OTHER}", "create", "start"]


def test_a_restore_that_has_begun_in_the_meantime_is_not_disturbed(stage: Stage) -> None:
    stage.running = [OTHER]
    with pytest.raises(ClusterError, match=f"has started in the meantime: wait for {OTHER} to finish"):
        stage.restore()
    assert stage.happened == []


def test_the_app_stays_stopped_while_another_restore_runs(stage: Stage) -> None:
    def follow() -> None:
        stage.running.append(OTHER)
        raise JobFailedError("another restore is running")

    stage.follow = follow
    with pytest.raises(ClusterError, match=f"(?s)another restore is running.*stays stopped.*{OTHER}"):
        stage.restore()
    assert stage.happened == ["stop", "create"]


def test_a_migration_that_runs_already_is_refused_while_the_app_runs(stage: Stage) -> None:
    stage.migrations = [MIGRATION]
    with pytest.raises(ClusterError, match=f"a migration runs.*{MIGRATION}, since 2026-02-05 03:00:00 UTC"):
        stage.restore()
    assert stage.happened == []


def test_a_migration_that_begins_while_the_app_stops_is_refused_and_the_app_starts_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: App) -> None:
        stage.happened.append("stop")
        stage.migrations.append(MIGRATION)

    monkeypatch.setattr(App, "stop", stop)
    with pytest.raises(ClusterError, match=f"kubectl -n invoicetron-dev delete job {MIGRATION} --cascade=foreground"):
        stage.restore()
    assert stage.happened == ["stop", "start"]


def test_a_migration_that_begins_during_the_restore_is_reported_although_the_data_is_restored(stage: Stage) -> None:
    stage.follow = lambda: stage.migrations.append(MIGRATION)
    with pytest.raises(ClusterError, match=f"a migration began during the restore: {MIGRATION}"):
        stage.restore()
    assert "The database of dev now holds the backup b." in stage.said
    assert stage.happened == ["stop", "create", "start"]


def test_a_failed_restore_does_not_report_a_migration_of_the_old_data(stage: Stage) -> None:
    def follow() -> None:
        stage.migrations.append(MIGRATION)
        raise JobFailedError("the dump could not be restored")

    stage.follow = follow
    with pytest.raises(JobFailedError, match=r"the dump could not be restored$"):
        stage.restore()


def test_a_run_from_which_another_has_taken_the_app_restores_nothing(stage: Stage) -> None:
    stage.ours = False
    with pytest.raises(ClusterError, match="another restore has stopped the app in the meantime"):
        stage.restore()
    assert "create" not in stage.happened


def test_a_job_that_may_have_been_created_is_ended_before_the_app_starts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "create", mock.Mock(side_effect=ClusterError("the API server does not answer")))
    with pytest.raises(ClusterError):
        stage.restore()
    assert stage.happened == ["stop", "end", "start"]


def test_a_restore_that_finished_while_the_api_server_was_away_has_succeeded(stage: Stage) -> None:
    stage.complete = True
    stage.fails(ClusterError("the API server does not answer"))
    stage.restore()
    assert stage.happened == ["stop", "create", "start"]
    assert "The database of dev now holds the backup b." in stage.said


def test_a_signal_after_the_job_is_complete_still_reports_the_restored_database(stage: Stage) -> None:
    stage.complete = True
    stage.fails(StoppedError(signal.SIGINT))
    with pytest.raises(StoppedError):
        stage.restore()
    assert stage.happened == ["stop", "create", "start"]
    assert "The database of dev now holds the backup b." in stage.said


def test_a_signal_before_the_job_is_complete_ends_the_job_first(stage: Stage) -> None:
    stage.fails(StoppedError(signal.SIGINT))
    with pytest.raises(StoppedError):
        stage.restore()
    assert stage.happened == ["stop", "create", "end", "start"]
    assert "The database of dev now holds the backup b." not in stage.said


def look_at(stage: Stage, monkeypatch: pytest.MonkeyPatch, source: Source, *, needs_loan: mock.Mock) -> None:
    monkeypatch.setattr(module, "cron_job", mock.Mock())
    monkeypatch.setattr(module, "labels", lambda _: {})
    monkeypatch.setattr(App, "before", lambda _: PreviousState(replicas=1, ready=True, remembered=False))
    monkeypatch.setattr(module, "needs_loan", needs_loan)
    request = RestoreRequest(stack="dev", source=source, expectation=None, clear_sessions=False)
    Restore.look(Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts()), stage.terminal, request)


def test_a_server_that_cannot_lend_a_superuser_is_found_before_the_app_is_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_loan = mock.Mock(side_effect=ClusterError("no command can be run in the pod"))
    with pytest.raises(ClusterError, match="no command can be run in the pod"):
        look_at(stage, monkeypatch, Source(backup="b"), needs_loan=needs_loan)


@pytest.mark.parametrize(
    ("source", "then"),
    [
        (Source(backup="b"), "Then run this again"),
        (
            Source(
                backup="recovered-000012-20260120T150000Z", recovered=dt.datetime(2026, 1, 20, 14, 5, tzinfo=dt.UTC)
            ),
            "Then: python -m ops restore --stack dev --from recovered-000012-20260120T150000Z",
        ),
    ],
)
def test_a_running_migration_is_found_before_the_user_is_asked_and_no_recovery_is_repeated_for_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, source: Source, then: str
) -> None:
    stage.migrations = [MIGRATION]
    with pytest.raises(ClusterError, match=f"{MIGRATION} --cascade=foreground\n{then}$"):
        look_at(stage, monkeypatch, source, needs_loan=mock.Mock())


def leading_to(host: str) -> Any:
    """A CronJob whose Jobs connect to the database at `host`."""
    container = SimpleNamespace(env=[SimpleNamespace(name="PGHOST", value=host)])
    job = SimpleNamespace(spec=SimpleNamespace(template=SimpleNamespace(spec=SimpleNamespace(containers=[container]))))
    return SimpleNamespace(spec=SimpleNamespace(job_template=job))


@pytest.mark.parametrize("into", [None, "lost"])
def test_between_a_move_and_the_next_up_nothing_is_restored_into_the_database_that_was_left(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, into: str | None
) -> None:
    monkeypatch.setattr(module, "cron_job", lambda *_: leading_to("invoicetron-db"))
    database = DatabaseSettings(engine="cloudnative-pg", moving_from="statefulset").with_live("cloudnative-pg")
    settings = load_settings("prod").model_copy(update={"database": database})
    request = parse_request(settings, source="latest", expect=None, clear_sessions=False, into=into)
    cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
    begin = partial(look.look_into, engine=database) if into else Restore.look
    with pytest.raises(ClusterError, match=r"lead to invoicetron-db, .* at invoicetron-db-rw: run `pulumi up -s dev`"):
        begin(cluster, stage.terminal, request)
    assert not stage.happened


def test_a_look_into_a_backup_does_not_start_while_a_restore_runs(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(_cluster: Cluster, _terminal: object, request: RestoreRequest) -> RestoreRequest:
        stage.running.append(OTHER)
        return request

    lending = mock.Mock()
    monkeypatch.setattr(module, "cron_job", mock.Mock())
    monkeypatch.setattr(look, "unfinished", lambda *_: list(stage.running))
    monkeypatch.setattr(look, "brought", fetched)
    monkeypatch.setattr(look, "lent", lending)
    source = Source(backup="b", offsite=True)
    request = RestoreRequest(stack="dev", source=source, expectation=None, clear_sessions=False, into="lost")
    cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
    with pytest.raises(ClusterError, match=f"wait for the end of {OTHER}"):
        look.look_into(cluster, stage.terminal, request, STATEFUL_SET)
    lending.assert_not_called()
