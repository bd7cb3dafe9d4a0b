"""What an upgrade in place does with the app, the backup and the Cluster, whatever happens; and what it refuses."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import pytest
from kubernetes.client import ApiClient
from urllib3.exceptions import ProtocolError

from ops.kube.cluster import Cluster, ClusterError, Interrupts, StoppedError
from ops.kube.job import JobFailedError
from ops.restore.app_stop import App, PreviousState
from ops.upgrade import Discard, conditions
from ops.upgrade import operated as module
from ops.upgrade.conditions import SCRIPT, find_problems
from ops.upgrade.operated import BACKUP, OperatedUpgrade
from ops.upgrade.operated_cluster import OperatedCluster
from settings.database import DatabaseSettings
from tests.stacks import DEV
from tests.unit.program import load_settings
from tests.unit.test_wal_archive import BUCKET

OLD, NEW = (f"ghcr.io/cloudnative-pg/postgresql:{version}-minimal-trixie" for version in ("17.9", "18.6"))
DATABASE: Final = DatabaseSettings.model_validate(
    {
        "engine": "cloudnative-pg",
        "image": "postgres:17-alpine",
        "operandImage": OLD,
        "upgrade": {"image": "postgres:18-alpine", "operandImage": NEW, "archive": "second"},
        "wal": {"s3": BUCKET},
    }
)
SETTINGS: Final = load_settings("dev").model_copy(update={"database": DATABASE})
PLUGIN: Final = {
    "name": "barman-cloud.cloudnative-pg.io",
    "enabled": True,
    "parameters": {"barmanObjectName": "invoicetron-db", "serverName": "invoicetron-db"},
}
LIVE: Final[dict[str, Any]] = {
    "metadata": {"uid": "1", "annotations": {}},
    "spec": {"imageName": OLD, "instances": 2, "plugins": [PLUGIN]},
    "status": {
        "phase": "Cluster in healthy state",
        "readyInstances": 2,
        "pgDataImageInfo": {"image": OLD, "majorVersion": 17},
        "conditions": [{"type": "ContinuousArchiving", "status": "True", "message": ""}],
    },
}


class Stage:
    """The Cluster and what happens to it, in order; `ends` is the outcome of the operator's Job."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.happened: list[str] = []
        self.live = copy.deepcopy(LIVE)
        self.ends: str = "Complete"
        self.raised: dict[str, BaseException] = {}
        self.terminal = mock.MagicMock()
        self.ours = True
        monkeypatch.setattr(module, "_LOOK", 0)
        monkeypatch.setattr(module, "START_PATIENCE", 0)
        monkeypatch.setattr(module, "cron_job", lambda *_: SimpleNamespace(metadata=SimpleNamespace(name="backup")))
        monkeypatch.setattr(module, "run", lambda *_, script, **__: self.does(script))
        monkeypatch.setattr(module, "written_by", lambda _: "before-restore-1")
        monkeypatch.setattr(App, "stop", lambda _: self.does("stop"))
        monkeypatch.setattr(App, "start", lambda _: self.does("start"))
        monkeypatch.setattr(App, "is_ours", lambda _: self.ours)
        monkeypatch.setattr(OperatedCluster, "read", lambda _: self.live)
        monkeypatch.setattr(OperatedCluster, "patch", self._patch)
        monkeypatch.setattr(OperatedCluster, "jobs", self._jobs)
        monkeypatch.setattr(
            OperatedCluster, "not_started", lambda *_: "no such image" if self.ends == "never" else None
        )
        monkeypatch.setattr(OperatedCluster, "last_words", lambda *_: "checking for presence of required libraries")
        monkeypatch.setattr(
            OperatedCluster,
            "create_base_backup",
            lambda _, **how: self.does("try a base backup" if how else "base backup"),
        )
        monkeypatch.setattr(OperatedUpgrade, "_wait_for_server", lambda _: self.does("server"))
        monkeypatch.setattr(Cluster, "pods_of", lambda *_: SimpleNamespace(listed=lambda _: []))

    def does(self, what: str) -> None:
        self.happened.append(what)
        if what in self.raised:
            raise self.raised[what]

    def _patch(self, body: dict[str, Any], **options: str) -> None:
        image = body.get("spec", {}).get("imageName")
        self.does("try" if options else f"ask for {image}" if image else "forget the backup")
        if not options:
            self.live["spec"] |= body.get("spec", {})
            self.live["metadata"]["annotations"] |= body["metadata"]["annotations"]

    def _jobs(self) -> list[Any]:
        """The Job that the operator creates on request; seen while it runs, and then at its end."""
        if self.ends == "Complete":
            self.live["status"]["pgDataImageInfo"] = {"image": NEW, "majorVersion": 18}
        conditions = [SimpleNamespace(type=self.ends, status="True")] if self.ends == "Failed" else None
        return [
            SimpleNamespace(
                metadata=SimpleNamespace(name="db-1-major-upgrade"), status=SimpleNamespace(conditions=conditions)
            )
        ]

    def upgrade(self, *, asked: bool = False, interrupted: bool = False, backup: str | None = None) -> None:
        cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
        OperatedUpgrade(
            cluster=cluster,
            terminal=self.terminal,
            settings=SETTINGS,
            database=DATABASE,
            major=18,
            found=self.live["status"]["pgDataImageInfo"]["majorVersion"],
            asked=asked,
            backup=backup,
            app=App(cluster=cluster, run="upgrade-1"),
            was=PreviousState(replicas=1, ready=True, remembered=interrupted),
            interrupted=interrupted,
        ).run()

    @property
    def archive(self) -> str:
        (plugin,) = self.live["spec"]["plugins"]
        name: str = plugin["parameters"]["serverName"]
        return name


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


BEGUN = ["try", "try a base backup", "stop", "backup.sh", f"ask for {NEW}"]


def test_the_app_is_started_once_the_rows_are_those_of_the_backup(stage: Stage) -> None:
    stage.upgrade()
    assert stage.happened == [*BEGUN, "server", SCRIPT, "start", "base backup", "forget the backup"]
    assert stage.archive == "second"
    assert stage.live["metadata"]["annotations"] == {BACKUP: None}


@pytest.mark.parametrize("at", ["try", "try a base backup", "stop", "backup.sh"])
@pytest.mark.parametrize("error", [ClusterError("no"), JobFailedError("no"), StoppedError(signal.SIGINT)])
def test_whatever_fails_before_the_operator_is_asked_leaves_the_app_on_the_old_version(
    stage: Stage, at: str, error: BaseException
) -> None:
    stage.raised[at] = error
    with pytest.raises(type(error)):
        stage.upgrade()
    assert stage.happened[-1] == "start"
    assert stage.live["spec"] == LIVE["spec"]


def test_no_version_is_requested_if_another_run_has_stopped_the_app_since(stage: Stage) -> None:
    stage.ours = False
    with pytest.raises(ClusterError, match="another run of ops has stopped the app in the meantime"):
        stage.upgrade()
    assert stage.live["spec"] == LIVE["spec"]


@pytest.mark.parametrize(("ends", "words"), [("Failed", "presence of required libraries"), ("never", "no such image")])
def test_an_upgrade_whose_job_fails_or_never_starts_is_rolled_back_completely(
    stage: Stage, ends: str, words: str
) -> None:
    stage.ends = ends
    with pytest.raises(JobFailedError, match=rf"(?s)is on PostgreSQL 17 again, as it was: .*{words}"):
        stage.upgrade()
    assert stage.happened == [*BEGUN, f"ask for {OLD}", "server", "start"]
    assert stage.archive == "invoicetron-db"


def test_a_failed_rollback_is_reported_with_the_failure_that_caused_it(stage: Stage) -> None:
    stage.ends = "Failed"
    stage.raised["server"] = ClusterError("no node")
    with pytest.raises(
        JobFailedError, match=r"(?s)required libraries.*was put back, but then: no node.*before-restore-1"
    ):
        stage.upgrade()
    assert "start" not in stage.happened


@pytest.mark.parametrize("at", ["server", SCRIPT])
def test_a_failure_after_the_job_leaves_the_app_stopped_and_says_how_to_continue(stage: Stage, at: str) -> None:
    stage.raised[at] = ClusterError("no node") if at == "server" else JobFailedError("table invoices: 2 rows expected")
    with pytest.raises(
        ClusterError, match=r"(?s)stays stopped.*before-restore-1.*python -m ops upgrade --stack dev --to 18"
    ):
        stage.upgrade()
    assert stage.happened[-1] == at


def test_a_failure_to_take_over_the_stopped_app_says_how_to_continue(stage: Stage) -> None:
    stage.raised["stop"] = ClusterError("no answer")
    with pytest.raises(ClusterError, match=r"(?s)no answer.*stays stopped.*python -m ops upgrade --stack dev --to 18"):
        stage.upgrade(asked=True, interrupted=True, backup="before-restore-1")


def test_an_api_server_that_restarts_before_the_comparison_does_not_end_the_upgrade(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.kube.cluster._AGAIN", 0.0)
    found = SimpleNamespace(metadata=SimpleNamespace(name="backup"))
    # For the backup; then for the comparison, once the API server is back.
    monkeypatch.setattr(module, "cron_job", mock.Mock(side_effect=[found, ProtocolError("Connection aborted."), found]))
    stage.upgrade()
    assert stage.happened[-4:] == [SCRIPT, "start", "base backup", "forget the backup"]


def test_missing_rows_are_reported_with_the_command_that_restores_them(stage: Stage) -> None:
    stage.raised[SCRIPT] = JobFailedError("table invoices: 2 rows expected, 1 found")
    with pytest.raises(ClusterError, match=r"(?s)1 found.*python -m ops restore --stack dev --from before-restore-1"):
        stage.upgrade()


def test_the_same_command_continues_where_the_last_one_was_killed(stage: Stage) -> None:
    stage.upgrade(asked=True, interrupted=True, backup="before-restore-1")
    assert stage.happened == ["stop", "server", SCRIPT, "start", "base backup", "forget the backup"]


def test_rows_are_not_compared_once_the_app_may_have_changed_them(stage: Stage) -> None:
    stage.upgrade(asked=True, backup="before-restore-1")
    assert stage.happened == ["server", "base backup", "forget the backup"]


def test_a_database_that_is_already_upgraded_is_left_alone(stage: Stage) -> None:
    stage.live["status"]["pgDataImageInfo"] = {"image": NEW, "majorVersion": 18}
    stage.upgrade(asked=True)
    assert stage.happened == ["server"]


class Objects:
    """The part of the API that the conditions read."""

    def __init__(
        self, image: str = "cloudnative-pg:1.27.4", *, store: Any = None, scripts: tuple[str, ...] = (SCRIPT,)
    ) -> None:
        container = SimpleNamespace(image=image)
        template = SimpleNamespace(spec=SimpleNamespace(containers=[container]))
        operator = SimpleNamespace(spec=SimpleNamespace(template=template))
        self.names, self.namespace = DEV, DEV.namespace
        self.apps = mock.MagicMock()
        self.apps.list_namespaced_deployment.return_value.items = [operator]
        self.core = mock.MagicMock()
        self.core.read_namespaced_config_map.return_value.data = dict.fromkeys(scripts, "")
        self._store = store

    def custom_object(self, *_: str) -> Any:
        return self._store


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    monkeypatch.setattr(conditions, "cron_job", lambda *_: None)
    monkeypatch.setattr(conditions, "running_writer", lambda _: None)

    def found(live: dict[str, Any] = LIVE, objects: Any = None, to: int = 18, **database: Any) -> list[str]:
        given = DATABASE.model_copy(update=database)
        cluster: Any = objects or Objects()
        return list(find_problems(cluster, SETTINGS, given, live, to))

    return found


def changed(**status: Any) -> dict[str, Any]:
    return {**LIVE, "status": {**LIVE["status"], **status}}


def test_a_healthy_cluster_has_no_problems(problems: Callable[..., list[str]]) -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"live": changed(readyInstances=1)}, "1 of 2 instances are ready"),
        ({"live": changed(phase="Failing over")}, "Failing over"),
        ({"live": changed(pgDataImageInfo=None)}, "does not say which version"),
        ({"live": changed(pgDataImageInfo={"majorVersion": 19})}, "which no earlier version can read"),
        ({"live": changed(conditions=[])}, "nothing has been archived yet"),
        (
            {"live": changed(conditions=[{"type": "ContinuousArchiving", "status": "False", "message": "denied"}])},
            "not archived: denied",
        ),
        (
            {"objects": Objects(store={"status": {"serverRecoveryWindow": {"second": {}}}})},
            "already has an archive of that name",
        ),
        ({"objects": Objects("cloudnative-pg:1.27.3")}, "1.27.4, 1.28.2, 1.29 or newer"),
        ({"objects": Objects(scripts=())}, "pulumi up -s dev"),
        ({"to": 19}, "this program knows PostgreSQL 17 and 18, not 19"),
        ({"upgrade": None}, "database.upgrade.operandImage"),
    ],
)
def test_each_unmet_condition_is_reported(
    problems: Callable[..., list[str]], given: dict[str, Any], words: str
) -> None:
    (problem,) = problems(**given)
    assert words in problem


def test_all_problems_are_reported_at_once(problems: Callable[..., list[str]]) -> None:
    live = changed(readyInstances=0, conditions=[])
    assert len(problems(live, Objects("cloudnative-pg:1.27.0", scripts=()), upgrade=None)) == 5


def test_a_running_writer_and_missing_backups_are_reported(
    problems: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "running_writer", lambda _: "a restore runs")
    assert problems() == ["a restore runs"]
    monkeypatch.setattr(conditions, "cron_job", mock.Mock(side_effect=ClusterError("there is no CronJob")))
    assert problems() == ["there is no CronJob"]


def test_an_upgrade_in_place_leaves_nothing_to_discard() -> None:
    with pytest.raises(ClusterError, match="upgrades in place"):
        Discard.look(mock.MagicMock(), SETTINGS)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., OperatedUpgrade]:
    """Looks at a Cluster with these `problems`, whose app was stopped by `stopped`."""

    def looked(live: dict[str, Any] | None, *, stopped: str | None = None, problems: tuple[str, ...] = ()) -> Any:
        cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
        monkeypatch.setattr(Cluster, "custom_object", lambda *_: live)
        monkeypatch.setattr(App, "stopped_by", lambda _: stopped)
        monkeypatch.setattr(App, "before", lambda _: PreviousState(replicas=2, ready=True, remembered=False))
        monkeypatch.setattr(module, "labels", lambda _: {})
        monkeypatch.setattr(module, "find_problems", lambda *_: iter(problems))
        return OperatedUpgrade.look(cluster, mock.MagicMock(), SETTINGS, 18)

    return looked


def asked(major: int) -> dict[str, Any]:
    """The Cluster once 18 has been requested of the operator, while its data is of this version."""
    live = copy.deepcopy(changed(pgDataImageInfo={"image": OLD, "majorVersion": major}))
    live["spec"]["imageName"] = NEW
    live["metadata"]["annotations"] = {BACKUP: "before-restore-1"}
    return live


def test_all_problems_are_in_one_message(look: Callable[..., OperatedUpgrade]) -> None:
    with pytest.raises(
        ClusterError, match=r"(?s)to PostgreSQL 18 as it is\. Nothing was changed\.\n  one\n  two\n  .*restore"
    ):
        look(LIVE, stopped="0a1b", problems=("one", "two"))
    with pytest.raises(ClusterError, match="run `pulumi up -s dev` first"):
        look(None)


def test_the_announcement_says_what_will_happen_and_what_it_costs(look: Callable[..., OperatedUpgrade]) -> None:
    said = look(LIVE).announcement
    for words in (f"from PostgreSQL 17 to {NEW};", "the only way back", "archive second", "scaled back to 2 replicas"):
        assert words in said


@pytest.mark.parametrize("major", [17, 18])
def test_an_upgrade_that_was_begun_continues_whatever_the_clusters_state(
    look: Callable[..., OperatedUpgrade], major: int
) -> None:
    found = look(asked(major), stopped="upgrade-0", problems=("the Cluster is not well",))
    assert (found.asked, found.interrupted, found.backup) == (True, True, "before-restore-1")
    assert "goes on" in found.announcement


def test_the_announcement_says_if_the_database_already_has_the_version(look: Callable[..., OperatedUpgrade]) -> None:
    assert look(asked(18)).announcement == "The database of dev is on PostgreSQL 18."
