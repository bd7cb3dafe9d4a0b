"""What a move does with the app, its Job and the mark on the namespace, whichever step fails."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import pytest
from kubernetes.client import ApiClient

from lookups.live_database import ANNOTATION
from ops import move as module
from ops.kube.cluster import Cluster, ClusterError, Interrupts, StoppedError
from ops.kube.job import JobFailedError
from ops.move import Move, MoveError, discard
from ops.move.databases import claims_of, fix_of_url, moved_url, uid_of
from ops.move.discard import Discarding
from ops.restore import app_stop
from ops.restore.app_stop import App, PreviousState
from ops.verify.database import move as move_check
from ops.verify.trouble import CheckError
from settings import Settings
from settings.cloudnative_pg import Engine, other_engine
from settings.database import DatabaseSettings
from tests.stacks import DEV
from tests.unit.program import load_settings

CLUSTER: Final = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
BASE: Final = load_settings("dev")
URL: Final = "postgresql://invoicetron:p@invoicetron-db:5432/invoicetron?connection_limit=5"


def settings(live: Engine | None = None, **database: Any) -> Settings:
    """The settings of dev, with a live database on this engine."""
    section = DatabaseSettings().model_copy(update=database)
    if live:
        section = section.with_live(live)
    return BASE.model_copy(update={"database": section})


THERE: Final = {"engine": "cloudnative-pg", "moving_from": "statefulset"}


def template(host: str) -> Any:
    container = SimpleNamespace(env=[SimpleNamespace(name="PGHOST", value=host)])
    pod = SimpleNamespace(spec=SimpleNamespace(containers=[container]))
    job = SimpleNamespace(spec=SimpleNamespace(template=pod))
    return SimpleNamespace(spec=SimpleNamespace(job_template=job), metadata=SimpleNamespace(name="x", uid="x"))


class Stage:
    """The cluster during one move: what happens, in order, and what fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        self.failing: dict[str, Exception] = {}
        self.terminal = mock.MagicMock()
        self.patch = monkeypatch

    def does(self, what: str) -> Callable[..., None]:
        def do(*_: object, **__: object) -> None:
            self.happened.append(what)
            if what in self.failing:
                raise self.failing[what]

        return do

    def move(self, live: Engine = "statefulset") -> Move:
        current = settings(live, **THERE)
        assert current.database
        app = App(cluster=CLUSTER, run="run")
        for name in ("stop", "end_earlier", "fill", "mark", "point", "start"):
            self.patch.setattr(Move, f"_{name}", self.does(name))
        self.patch.setattr(Move, "_give_up", self.does("give up"))
        return Move(
            cluster=CLUSTER,
            terminal=self.terminal,
            settings=current,
            database=current.database,
            target=current.database.with_live("cloudnative-pg"),
            uid="uid",
            template=template("invoicetron-db-rw"),
            app=app,
            was=PreviousState(replicas=1, ready=True, remembered=False),
            url=URL,
            is_pointed=False,
        )


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_the_app_is_stopped_first_and_started_last_and_its_url_changes_after_the_mark(stage: Stage) -> None:
    stage.move().run()
    assert stage.happened == ["stop", "end_earlier", "fill", "mark", "point", "start"]
    (said,) = (call.args[0] for call in stage.terminal.say.call_args_list)
    assert "Now: pulumi up -s dev" in said
    assert "--discard" in said


def test_a_database_that_was_already_moved_is_not_filled_again(stage: Stage) -> None:
    stage.move("cloudnative-pg").run()
    assert stage.happened == ["stop", "point", "start"]


@pytest.mark.parametrize("step", ["stop", "end_earlier", "fill"])
def test_a_failure_before_the_mark_returns_to_the_old_database(stage: Stage, step: str) -> None:
    stage.failing = {step: JobFailedError("no room")}
    with pytest.raises(JobFailedError, match=r"^no room$"):
        stage.move().run()
    assert stage.happened[-2:] == [step, "give up"]
    assert "mark" not in stage.happened


def test_a_failed_rollback_says_how_to_continue(stage: Stage) -> None:
    stage.failing = {"fill": JobFailedError("no room"), "give up": ClusterError("no answer")}
    with pytest.raises(ClusterError, match=r"(?s)no room.*no answer.*may still be closed.*Run this again"):
        stage.move().run()
    assert "mark" not in stage.happened


@pytest.mark.parametrize("step", ["mark", "point", "start"])
def test_nothing_is_rolled_back_after_the_mark(stage: Stage, step: str) -> None:
    stage.failing = {step: ClusterError("no answer")}
    with pytest.raises(ClusterError, match=r"(?s)no answer.*The new database holds the data.*run this again: python"):
        stage.move().run()
    assert "give up" not in stage.happened


def move_that_gives_up(stage: Stage, monkeypatch: pytest.MonkeyPatch, *, owns_the_stop: bool) -> Move:
    """A move on the stage, except its way back; `owns_the_stop`: this run has stopped the app."""
    give_up = Move._give_up
    move = stage.move()
    monkeypatch.setattr(Move, "_give_up", give_up)
    monkeypatch.setattr(Move, "_run_job", stage.does("job"))
    monkeypatch.setattr(App, "is_ours", lambda _: owns_the_stop)
    monkeypatch.setattr(App, "start", stage.does("start the app"))
    monkeypatch.setattr(module, "lent", lambda *_: nullcontext({}))
    return move


def test_a_move_that_another_command_continues_is_left_to_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other command has stopped the app since: this one neither ends its Job nor reopens the old database."""
    move = move_that_gives_up(stage, monkeypatch, owns_the_stop=False)
    stage.failing = {"fill": JobFailedError("its Job was deleted")}
    with pytest.raises(ClusterError, match="takes over from this one"):
        move.run()
    assert stage.happened == ["stop", "end_earlier", "fill"]


@pytest.mark.parametrize("error", [StoppedError(signal.SIGINT), ClusterError("no answer")])
@pytest.mark.parametrize("stopped", [False, True])
def test_a_move_that_has_not_stopped_the_app_has_nothing_to_give_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: ClusterError, stopped: bool
) -> None:
    move = move_that_gives_up(stage, monkeypatch, owns_the_stop=stopped)
    stage.failing = {"stop": error}
    with pytest.raises(type(error), match=f"^{error}$"):
        move.run()
    assert stage.happened == ["stop", *(["end_earlier", "job", "start the app"] if stopped else [])]


class World:
    """What a move changes, each part by a step of its own."""

    def __init__(self, patch: pytest.MonkeyPatch, source: Engine) -> None:
        self.patch, self.source, self.target = patch, source, other_engine(source)
        self.live = self.app_at = source
        self.runs, self.stopped_by_a_move, self.is_closed, self.is_filled, self.job_runs = (
            True,
            False,
            False,
            False,
            False,
        )

    def check(self) -> None:
        """The app runs on the live database, which is open and complete, or it does not run."""
        if self.runs:
            assert self.app_at == self.live
            assert not (self.is_closed and self.live == self.source)
            assert self.is_filled or self.live == self.source

    def steps(self) -> list[Callable[[], None]]:
        """The steps of a command that starts from the current state."""
        self.patch.setattr(App, "stop", lambda _: self.now(runs=False, stopped_by_a_move=True))
        self.patch.setattr(App, "start", lambda _: self.now(runs=True, stopped_by_a_move=False))
        self.patch.setattr(App, "is_ours", lambda _: True)
        self.patch.setattr(module, "delete", lambda *_: self.now(job_runs=False))
        self.patch.setattr(Move, "_run_job", lambda *_: self.now(is_closed=True, is_filled=True))
        self.patch.setattr(module, "lent", lambda *_: nullcontext({}))
        self.patch.setattr(module, "labels", lambda *_: {})
        self.patch.setattr(Move, "_mark", lambda _: self.now(live=self.target))
        self.patch.setattr(module, "set_app_url", lambda *_: self.now(app_at=self.target))
        current = settings(self.live, engine=self.target, moving_from=self.source)
        hosts: dict[Engine, str] = {"statefulset": "invoicetron-db", "cloudnative-pg": "invoicetron-db-rw"}
        move = look(
            self.patch,
            current,
            self.target,
            template=template(hosts[self.target]),
            url=moved_url(URL, hosts[self.app_at]),
            remembered=self.stopped_by_a_move,
        )
        self.patch.setattr(module, "unfinished", lambda *_: ["left"] if self.job_runs else [])
        return [] if move.is_done else [step.do for step in move.steps]

    def now(self, **changed: Any) -> str:
        for name, value in changed.items():
            setattr(self, name, value)
        return ""


@pytest.mark.parametrize("source", ["statefulset", "cloudnative-pg"])
@pytest.mark.parametrize("first", range(7))
def test_a_move_that_is_killed_after_any_step_is_finished_by_the_next_command(
    monkeypatch: pytest.MonkeyPatch, source: Engine, first: int
) -> None:
    for second in range(7):
        world = World(monkeypatch, source)
        for killed_after in (first, second, 99):
            for do in world.steps()[:killed_after]:
                do()
                world.check()
        assert (world.live, world.app_at, world.runs, world.is_closed) == (world.target, world.target, True, True)
        assert world.steps() == []


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        (URL, "postgresql://invoicetron:p@new:5432/invoicetron?connection_limit=5"),
        ("postgres://u:p@old/x", "postgres://u:p@new/x"),
        ("postgres://u:p@old.ns.svc.cluster.local:5432/x", "postgres://u:p@new:5432/x"),
    ],
)
def test_a_moved_url_changes_only_its_host(url: str, moved: str) -> None:
    assert moved_url(url, "new") == moved


def test_a_url_that_the_new_server_cannot_serve_is_refused_before_the_app_stops() -> None:
    url = "postgresql://invoicetron:p@invoicetron-db/invoicetron?sslmode=require"
    assert "TLS, which this database does not have" in (fix_of_url(url, DEV, DatabaseSettings()) or "")
    cluster = DatabaseSettings(engine="cloudnative-pg")
    assert fix_of_url(moved_url(url, "invoicetron-db-rw"), DEV, cluster) is None


# What is refused


def look(monkeypatch: pytest.MonkeyPatch, current: Settings, to: Engine, **more: Any) -> Move:
    for each in (module, app_stop):
        monkeypatch.setattr(each, "cron_job", lambda *_: more.get("template", template("invoicetron-db-rw")))
        monkeypatch.setattr(each, "unfinished", lambda *_: more.get("running", []))
    monkeypatch.setattr(module, "needs_loan", lambda *_: True)
    monkeypatch.setattr(module, "app_url", lambda *_: more.get("url", URL))
    monkeypatch.setattr(module, "uid_of", lambda *_: "uid")
    was = PreviousState(replicas=1, ready=True, remembered=more.get("remembered", False))
    monkeypatch.setattr(App, "before", lambda _: was)
    return Move.look(CLUSTER, mock.MagicMock(), current, to)


@pytest.mark.parametrize(
    ("current", "to", "more", "said"),
    [
        (settings(), "cloudnative-pg", {}, "set database.engine: cloudnative-pg and database.movingFrom: statefulset"),
        (settings("statefulset", **THERE), "statefulset", {}, "moves from statefulset, not to it"),
        (
            settings("statefulset", **THERE),
            "cloudnative-pg",
            {"template": template("invoicetron-db")},
            "leads to another database: run `pulumi up -s dev` first",
        ),
        (settings("statefulset", **THERE), "cloudnative-pg", {"running": ["r-1"]}, "wait for the end of r-1"),
        (
            settings("cloudnative-pg", engine="statefulset", moving_from="cloudnative-pg"),
            "statefulset",
            {"template": template("invoicetron-db"), "url": URL.replace("?", "?sslmode=require&")},
            "Change the field database-url in 1Password, or delete it",
        ),
    ],
)
def test_an_impossible_move_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, current: Settings, to: Engine, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(MoveError, match=said):
        look(monkeypatch, current, to, **more)


@pytest.mark.parametrize(
    ("live", "url", "remembered", "is_done"),
    [
        ("statefulset", URL, False, False),
        ("cloudnative-pg", URL, False, False),
        ("cloudnative-pg", moved_url(URL, "invoicetron-db-rw"), True, False),
        ("cloudnative-pg", moved_url(URL, "invoicetron-db-rw"), False, True),
    ],
)
def test_a_move_is_done_once_the_app_runs_on_the_new_database(
    monkeypatch: pytest.MonkeyPatch, live: Engine, url: str, remembered: bool, is_done: bool
) -> None:
    move = look(monkeypatch, settings(live, **THERE), "cloudnative-pg", url=url, remembered=remembered)
    assert move.is_done == is_done
    assert URL not in repr(move)


@pytest.mark.parametrize(
    ("said", "backups_at", "complaint"),
    [
        (None, "invoicetron-db-rw", "there is nothing to discard"),
        ("statefulset/x", "invoicetron-db-rw", "there is nothing to discard"),
        ("cloudnative-pg/x", "invoicetron-db", "run `pulumi up -s dev` first"),
    ],
)
def test_the_old_database_is_discarded_only_once_nothing_needs_it(
    monkeypatch: pytest.MonkeyPatch, said: str | None, backups_at: str, complaint: str
) -> None:
    annotations = {ANNOTATION: said} if said else {}
    monkeypatch.setattr(discard, "read_namespace", lambda _: {"metadata": {"annotations": annotations}})
    monkeypatch.setattr(discard, "cron_job", lambda *_: template(backups_at))
    with pytest.raises(ClusterError, match=complaint):
        Discarding.look(CLUSTER, mock.MagicMock(), settings("cloudnative-pg", **THERE))


@pytest.mark.parametrize("engine", ["statefulset", "cloudnative-pg"])
def test_no_request_of_a_discard_waits_for_ever(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    cluster = mock.MagicMock(names=DEV)
    monkeypatch.setattr("kubernetes.client.CustomObjectsApi", lambda _: cluster.custom)
    monkeypatch.setattr(discard, "cluster_of", lambda _: None)
    monkeypatch.setattr(discard, "_claims", lambda *_: [])
    monkeypatch.setattr(discard, "claims_of", lambda _: ["data-invoicetron-db-0"])
    terminal = mock.MagicMock()
    Discarding(cluster=cluster, terminal=terminal, settings=settings(), engine=engine, volumes=[]).run()
    deletions = [call for call in cluster.mock_calls if ".delete_" in call[0]]
    assert deletions
    assert all("_request_timeout" in call.kwargs for call in deletions)


@pytest.mark.parametrize(
    ("live", "host", "said"),
    [
        ("statefulset", "invoicetron-db", "next: python -m ops move-database --stack dev --to cloudnative-pg"),
        ("cloudnative-pg", "invoicetron-db-rw", "move-database --stack dev --discard"),
        ("cloudnative-pg", "invoicetron-db", "backups still use the old database"),
    ],
)
def test_verify_names_the_next_step_and_fails_while_backups_use_the_closed_database(
    live: Engine, host: str, said: str
) -> None:
    containers = [{"env": [{"name": "PGUSER", "value": "x"}, {"name": "PGHOST", "value": host}]}]
    cron_job = {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": containers}}}}}}
    systems: Any = mock.Mock(settings=settings(live, **THERE), names=DEV, up="run `up`")
    systems.database, systems.need.return_value = systems.settings.database, cron_job
    if "backups" in said:
        with pytest.raises(CheckError, match=said):
            move_check(systems)
    else:
        assert said in move_check(systems)


def test_after_an_upgrade_the_mounted_claim_is_the_live_one_and_all_are_discarded() -> None:
    """`ops upgrade` moves the database to a claim of its version, and keeps the earlier one."""
    claims = ["data-invoicetron-db-0", "data-invoicetron-db-pg18", "invoicetron-backups"]
    listed = [SimpleNamespace(metadata=SimpleNamespace(name=name, uid=f"of {name}")) for name in claims]
    mounted = {"persistentVolumeClaim": {"claimName": "data-invoicetron-db-pg18"}}
    cluster: Any = mock.MagicMock(names=DEV, namespace=DEV.namespace)
    cluster.core.list_namespaced_persistent_volume_claim.return_value.items = listed
    cluster.client.sanitize_for_serialization.return_value = {"spec": {"template": {"spec": {"volumes": [mounted]}}}}
    assert uid_of(cluster, "statefulset") == "of data-invoicetron-db-pg18"
    assert set(claims_of(cluster)) == {"data-invoicetron-db-0", "data-invoicetron-db-pg18"}
