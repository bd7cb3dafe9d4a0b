"""The alerts of the stack prod, as its program makes them, under Prometheus' own `promtool test rules`."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from components.alerts import Watched, alerts
from rehearsal import optional_tools
from tests.stacks import PROD
from tests.unit.program import Program, run

HOUR: Final = 60
DAY: Final = 24 * HOUR

Steps = Sequence[tuple[int, float | None]]
"""The minutes at which a series changes its value; None where it ends."""
NEVER: Final[Steps] = ()

OURS: Final = 'namespace="invoicetron-prod"'
PROBE: Final = (
    'probe_success{job="invoicetron-prod-health", instance="https://invoicetron.k8s.rommelporras.com/api/health"}'
)
CERTIFICATE: Final = PROBE.replace("probe_success", "probe_ssl_earliest_cert_expiry")  # blackbox_exporter, for https
# kube-state-metrics' docs/metrics/workload.
READY: Final = f'kube_statefulset_status_replicas_ready{{{OURS}, statefulset="invoicetron-db"}}'
WANTED: Final = f'kube_statefulset_replicas{{{OURS}, statefulset="invoicetron-db"}}'
BACKUP_CREATED: Final = f'kube_cronjob_created{{{OURS}, cronjob="invoicetron-db-backup"}}'
BACKUP_GOOD: Final = f'kube_cronjob_status_last_successful_time{{{OURS}, cronjob="invoicetron-db-backup"}}'
DRILL_CREATED: Final = f'kube_cronjob_created{{{OURS}, cronjob="invoicetron-db-drill"}}'
DRILL_GOOD: Final = f'kube_cronjob_status_last_successful_time{{{OURS}, cronjob="invoicetron-db-drill"}}'
SIZE: Final = 1000.0

DOWN, NOT_PROBED = "InvoicetronDown", "InvoicetronNotProbed"
CERTIFICATE_ENDS, NOT_READY = "InvoicetronCertificateEnds", "InvoicetronDatabaseNotReady"
RESTARTS, OUT_OF_MEMORY = "InvoicetronRestarts", "InvoicetronOutOfMemory"
TOKEN_SOON, TOKEN_ENDS = "InvoicetronDeployTokenEndsSoon", "InvoicetronDeployTokenEnds"
FULL: Final = "InvoicetronVolumeNearlyFull"
BACKUP_OLD, BACKUP_FAILED = "InvoicetronBackupTooOld", "InvoicetronBackupFailed"
DRILL_OLD, DRILL_FAILED = "InvoicetronDrillTooOld", "InvoicetronDrillFailed"


def volume(part: str, claim: str, node: str = "one") -> str:
    return f'kubelet_volume_stats_{part}_bytes{{{OURS}, persistentvolumeclaim="{claim}", node="{node}"}}'


def restarts(container: str) -> str:
    pod = {"postgresql": "invoicetron-db-0"}.get(container, "invoicetron-5d4-x7")
    return f'kube_pod_container_status_restarts_total{{{OURS}, pod="{pod}", container="{container}", uid="1"}}'


def killed(container: str) -> str:
    """Exists for as long as the container's last termination was an OOM kill."""
    labels = restarts(container).partition("{")[2].removesuffix("}")
    return f'kube_pod_container_status_last_terminated_reason{{{labels}, reason="OOMKilled"}}'


def failed_job(name: str, *, at: int, namespace: str = "invoicetron-prod") -> dict[str, Steps]:
    """A Job that started in this minute and failed five minutes later; it is kept for its log."""
    job = f'namespace="{namespace}", job_name="{name}"'
    return {
        f'kube_job_failed{{{job}, condition="true"}}': [(at + 5, 1)],
        f"kube_job_status_start_time{{{job}}}": [(at, at * 60)],
    }


DRIFT_OLD, VERIFY_OLD = "InvoicetronDriftTooOld", "InvoicetronVerifyTooOld"

DATA, BACKUPS = "data-invoicetron-db-0", "invoicetron-backups"

# Each series as the minutes at which its value changes. All is well: everything succeeds an hour after the start, and
# from then on backups succeed daily and drills weekly.
WELL: Final[Mapping[str, Steps]] = {
    PROBE: [(0, 1)],
    CERTIFICATE: [(0, 60 * DAY * 60)],
    READY: [(0, 1)],
    WANTED: [(0, 1)],
    restarts("invoicetron"): [(0, 0)],
    restarts("postgresql"): [(0, 0)],
    BACKUP_CREATED: [(0, 0)],
    BACKUP_GOOD: [(day * DAY + HOUR, (day * DAY + HOUR) * 60) for day in range(10)],
    DRILL_CREATED: [(0, 0)],
    DRILL_GOOD: [(week * 7 * DAY + HOUR, (week * 7 * DAY + HOUR) * 60) for week in range(2)],
    volume("capacity", DATA): [(0, SIZE)],
    volume("used", DATA): [(0, SIZE * 0.79)],
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What Prometheus has seen instead of `WELL`, and the alerts that fire in one minute: these, and no others."""

    seen: Mapping[str, Steps] = field(default_factory=dict)
    minute: int
    fire: frozenset[str] = frozenset()


def fires(*alerts: str) -> frozenset[str]:
    return frozenset(alerts)


# A success an hour after the start, and none since.
ONCE: Final[Steps] = [(HOUR, HOUR * 60.0)]
# A success that a clock a year ahead has dated.
AHEAD: Final[Steps] = [(HOUR, 365 * DAY * 60.0)]
STATE_METRICS: Final = (BACKUP_CREATED, BACKUP_GOOD, DRILL_CREATED, DRILL_GOOD)
BACKUP_VOLUME: Final[Mapping[str, Steps]] = {  # five minutes are one sample in tests of days
    volume("capacity", BACKUPS): [(0, SIZE), (5, None)],
    volume("used", BACKUPS): [(0, SIZE * 0.81), (5, None)],
}
MOVED: Final[Mapping[str, Steps]] = {
    volume("capacity", DATA): [(0, SIZE), (60, None)],
    volume("used", DATA): [(0, SIZE * 0.81), (60, None)],
    volume("capacity", DATA, "two"): [(60, SIZE * 2)],
    volume("used", DATA, "two"): [(60, SIZE * 0.81)],
}
RENAMED: Final[Mapping[str, Steps]] = {
    PROBE.replace("invoicetron.k8s", "bills.k8s"): [(0, 1), (100, None)],
    PROBE: [(100, 1)],
}
# A day later the backups' volume, twice as large, is mounted on another node.
GROWN: Final[Mapping[str, Steps]] = {
    **BACKUP_VOLUME,
    volume("capacity", BACKUPS, "two"): [(DAY, SIZE * 2), (DAY + 5, None)],
    volume("used", BACKUPS, "two"): [(DAY, SIZE * 0.81), (DAY + 5, None)],
}

CASES: Final = {
    "all is well for nine days": Case(minute=9 * DAY),
    "the app is down for four minutes": Case(seen={PROBE: [(0, 1), (100, 0)]}, minute=104),
    "the app is down for six minutes": Case(seen={PROBE: [(0, 1), (100, 0)]}, minute=106, fire=fires(DOWN)),
    "the app is up again": Case(seen={PROBE: [(0, 1), (100, 0), (110, 1)]}, minute=111),
    "nobody ever probed the app": Case(seen={PROBE: NEVER}, minute=50),
    "nobody ever probed the app, for over an hour": Case(seen={PROBE: NEVER}, minute=70, fire=fires(NOT_PROBED)),
    "nobody probes the app any more": Case(seen={PROBE: [(0, 1), (100, None)]}, minute=112, fire=fires(DOWN)),
    # A new hostname or health path: an address that nobody probes any more does not count as down.
    "the app was probed at another address until today": Case(seen=RENAMED, minute=112),
    "the certificate is renewed in time": Case(seen={CERTIFICATE: [(0, 15 * DAY * 60)]}, minute=DAY),
    "the certificate is not renewed": Case(
        seen={CERTIFICATE: [(0, 15 * DAY * 60)]}, minute=DAY + 70, fire=fires(CERTIFICATE_ENDS)
    ),
    "the database starts": Case(seen={READY: [(0, 0), (9, 1)]}, minute=12),
    "the database does not start": Case(seen={READY: [(0, 0)]}, minute=11, fire=fires(NOT_READY)),
    "the database's StatefulSet is gone, or nobody counts its pods": Case(
        seen={READY: [(0, 1), (20, None)], WANTED: [(0, 1), (20, None)]}, minute=31, fire=fires(NOT_READY)
    ),
    "the database is stopped on purpose": Case(seen={READY: [(0, 0)], WANTED: [(0, 0)]}, minute=30),
    "the app restarts twice": Case(seen={restarts("invoicetron"): [(0, 0), (10, 1), (20, 2)]}, minute=25),
    # `increase` extrapolates: for a pod that is older than the hour, two restarts count as 2.03.
    "the app of yesterday restarts twice": Case(seen={restarts("invoicetron"): [(0, 1), (80, 2), (90, 3)]}, minute=110),
    "the app of yesterday restarts again and again": Case(
        seen={restarts("invoicetron"): [(0, 1), (80, 2), (90, 3), (100, 4)]}, minute=110, fire=fires(RESTARTS)
    ),
    "the app restarts again and again": Case(
        seen={restarts("invoicetron"): [(0, 0), (10, 1), (20, 2), (30, 3)]}, minute=35, fire=fires(RESTARTS)
    ),
    "the database is killed for its memory": Case(
        seen={restarts("postgresql"): [(0, 0), (10, 1)], killed("postgresql"): [(10, 1)]},
        minute=15,
        fire=fires(OUT_OF_MEMORY),
    ),
    "the database was killed for its memory, hours ago": Case(
        seen={restarts("postgresql"): [(0, 0), (10, 1)], killed("postgresql"): [(10, 1)]}, minute=5 * HOUR
    ),
    "a backup's container restarts": Case(
        seen={restarts("postgresql-client"): [(0, 0), (10, 1), (20, 2), (30, 3)]}, minute=35
    ),
    "the last good backup is 26 hours old": Case(seen={BACKUP_GOOD: ONCE}, minute=27 * HOUR),
    "the last good backup is older": Case(seen={BACKUP_GOOD: ONCE}, minute=27 * HOUR + 20, fire=fires(BACKUP_OLD)),
    "the last good backup is of a time to come": Case(
        seen={BACKUP_GOOD: AHEAD}, minute=2 * HOUR, fire=fires(BACKUP_OLD)
    ),
    "the last good backup is of a time to come, by two clocks that differ": Case(
        seen={BACKUP_GOOD: [(HOUR, (HOUR + 30) * 60.0)]}, minute=HOUR + 20
    ),
    "no backup has succeeded yet": Case(seen={BACKUP_GOOD: NEVER}, minute=26 * HOUR),
    "no backup ever succeeds": Case(seen={BACKUP_GOOD: NEVER}, minute=26 * HOUR + 20, fire=fires(BACKUP_OLD)),
    "the last good drill is eight days old": Case(seen={DRILL_GOOD: ONCE}, minute=8 * DAY + HOUR),
    "the last good drill is older": Case(seen={DRILL_GOOD: ONCE}, minute=8 * DAY + HOUR + 20, fire=fires(DRILL_OLD)),
    "no drill ever succeeds": Case(seen={DRILL_GOOD: NEVER}, minute=8 * DAY + 20, fire=fires(DRILL_OLD)),
    "kube-state-metrics is gone": Case(
        seen={name: [(0, 0), (HOUR, None)] for name in STATE_METRICS},
        minute=2 * HOUR,
        fire=fires(BACKUP_OLD, DRILL_OLD),
    ),
    "the database's volume is over 80 % full": Case(
        seen={volume("used", DATA): [(0, SIZE * 0.81)]}, minute=16, fire=fires(FULL)
    ),
    "the volume has grown": Case(
        seen={volume("used", DATA): [(0, SIZE * 0.81)], volume("capacity", DATA): [(0, SIZE), (60, SIZE * 2)]},
        minute=61,
    ),
    "the volume has grown, and its pod has moved": Case(seen=MOVED, minute=80),
    # A backup stays for 150 s if its volume is nearly full. The kubelet measures within 60 s of its start, then once a
    # minute (its volumeStatsAggPeriod), so a scrape every minute finds it once or twice.
    "one scrape has seen the backups' volume full, a day ago": Case(
        seen=BACKUP_VOLUME, minute=25 * HOUR, fire=fires(FULL)
    ),
    "the backups' volume was seen full, more than a day ago": Case(seen=BACKUP_VOLUME, minute=26 * HOUR + 10),
    "the backups' volume has grown since, and was mounted on another node": Case(seen=GROWN, minute=25 * HOUR),
    "a backup fails": Case(seen=failed_job("invoicetron-db-backup-29", at=90), minute=95, fire=fires(BACKUP_FAILED)),
    "the very first backup fails": Case(
        seen={BACKUP_GOOD: NEVER, **failed_job("invoicetron-db-backup-1", at=10)}, minute=15, fire=fires(BACKUP_FAILED)
    ),
    "a backup has succeeded since": Case(seen=failed_job("invoicetron-db-backup-29", at=90), minute=DAY + HOUR + 5),
    "a drill fails": Case(seen=failed_job("invoicetron-db-drill-29", at=90), minute=DAY, fire=fires(DRILL_FAILED)),
    "a backup of another namespace fails": Case(
        seen=failed_job("invoicetron-db-backup-29", at=90, namespace="invoicetron-dev"), minute=95
    ),
    "another Job fails": Case(seen=failed_job("invoicetron-migrate-29", at=90), minute=95),
}


def values(steps: Steps, *, until: int, every: int) -> str:
    """The series in promtool's notation, with one sample every `every` minutes."""
    parts = [f"_x{steps[0][0] // every}"] if steps[0][0] else []
    ends = [minute for minute, _ in steps[1:]] + [until]
    for (minute, value), end in zip(steps, ends, strict=True):
        if (samples := (min(end, until) - minute) // every) > 0:
            # What a scrape no longer finds gets a staleness marker, and no rule sees it from then on.
            parts.append(f"stale _x{samples - 1}" if value is None else f"{value:.0f}x{samples - 1}")
    return " ".join(parts)


def question(case: Case) -> dict[str, Any]:
    """The case as a promtool test. Cases of days are sampled every five minutes, into which all their changes fit."""
    every = 5 if case.minute >= DAY else 1
    series = []
    for name, steps in {**WELL, **case.seen}.items():
        if steps:
            series.append({"series": name, "values": values(steps, until=case.minute + every, every=every)})
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(case.fire)]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    asked = {"expr": firing, "eval_time": f"{case.minute}m", "exp_samples": expected}
    return {"interval": f"{every}m", "input_series": series, "promql_expr_test": [asked]}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return optional_tools.promtool()


@pytest.fixture(scope="module")
def prod() -> Program:
    return run("prod")


def rules_of(program: Program, directory: Path) -> Path:
    """The PrometheusRule's spec, which is what the operator gives to Prometheus."""
    file = directory / "rules.yaml"
    file.write_text(json.dumps(program.one("PrometheusRule").inputs["spec"]))
    return file


@pytest.fixture
def rules(prod: Program, tmp_path: Path) -> Path:
    return rules_of(prod, tmp_path)


def assert_fires(promtool: Path, rules: Path, case: Case) -> None:
    file, test = rules.with_name("test.yaml"), question(case)
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": test["interval"], "tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_exactly_the_expected_alerts_fire(promtool: Path, rules: Path, case: Case) -> None:
    assert_fires(promtool, rules, case)


@pytest.mark.parametrize(
    ("left", "fire"),
    [(31, set()), (29, {TOKEN_SOON}), (8, {TOKEN_SOON}), (6, {TOKEN_SOON, TOKEN_ENDS}), (-1, {TOKEN_SOON, TOKEN_ENDS})],
)
def test_a_deploy_token_fires_alerts_a_month_and_a_week_before_it_expires(
    promtool: Path, tmp_path: Path, left: int, fire: set[str]
) -> None:
    ends = dt.date(1970, 1, 1) + dt.timedelta(days=left + 2)  # Prometheus' tests begin in 1970
    made = alerts(Watched(names=PROD, claims=["data"], token_expires=ends))
    rules = tmp_path / "rules.yaml"
    of_token = [rule for rule in made if "Token" in rule["alert"]]
    rules.write_text(json.dumps({"groups": [{"name": "token", "rules": of_token}]}))
    assert_fires(promtool, rules, Case(minute=2 * DAY, fire=frozenset(fire)))


def test_an_nfs_export_that_others_fill_fires_no_alert(promtool: Path, tmp_path: Path) -> None:
    export = run("prod", {"backup.nfs": {"server": "10.10.30.4", "path": "/exports/invoicetron"}})
    assert_fires(promtool, rules_of(export, tmp_path), Case(seen=BACKUP_VOLUME, minute=25 * HOUR))


def test_every_alert_fires_in_some_case_and_is_checked_by_promtool(promtool: Path, rules: Path) -> None:
    subprocess.run([promtool, "check", "rules", "--lint=all", "--lint-fatal", rules], check=True)
    (group,) = json.loads(rules.read_text())["groups"]
    assert {rule["alert"] for rule in group["rules"] if "alert" in rule} == {
        *(alert for case in CASES.values() for alert in case.fire),
        *(TOKEN_SOON, TOKEN_ENDS),
        *(DRIFT_OLD, VERIFY_OLD),  # test_check_alerts.py
    }


def instance(number: int, name: str = "invoicetron-db", exporter: str = "one") -> str:
    return f'kube_pod_status_ready{{{OURS}, pod="{name}-{number}", condition="true", instance="{exporter}"}}'


def instance_volume(part: str) -> str:
    return volume(part, "invoicetron-db-4")


OPERATED_WELL: Final[Mapping[str, Steps]] = {READY: NEVER, instance(3): [(0, 1)], instance(4): [(0, 1)]}
OPERATED_CASES: Final = {
    "both instances are ready": Case(seen=OPERATED_WELL, minute=60),
    "the standby is replaced by another within minutes": Case(
        seen={**OPERATED_WELL, instance(4): [(0, 1), (20, None)], instance(5): [(25, 0), (28, 1)]}, minute=60
    ),
    "the standby is lost": Case(
        seen={**OPERATED_WELL, instance(4): [(0, 1), (20, 0)]}, minute=31, fire=fires(NOT_READY)
    ),
    # Two replicas, or one that replaces another: each sees every pod.
    "the standby is lost, and there are two of kube-state-metrics": Case(
        seen={
            **{instance(3, exporter=each): [(0, 1)] for each in ("one", "two")},
            **{instance(4, exporter=each): [(0, 1), (20, 0)] for each in ("one", "two")},
            READY: NEVER,
        },
        minute=31,
        fire=fires(NOT_READY),
    ),
    "no pod is left": Case(
        seen={instance(3): [(0, 1), (20, None)], instance(4): [(0, 1), (20, None)], READY: NEVER},
        minute=40,
        fire=fires(NOT_READY),
    ),
    "another database's pod is ready": Case(
        seen={READY: NEVER, instance(3): [(0, 1)], instance(4, "another-db"): [(0, 1)]},
        minute=11,
        fire=fires(NOT_READY),
    ),
    "the volume of an instance is over 80 % full": Case(
        seen={**OPERATED_WELL, instance_volume("capacity"): [(0, SIZE)], instance_volume("used"): [(0, SIZE * 0.81)]},
        minute=16,
        fire=fires(FULL),
    ),
}


@pytest.fixture(scope="module")
def operated() -> Program:
    return run("prod", {"database.engine": "cloudnative-pg"})


@pytest.mark.parametrize("case", OPERATED_CASES.values(), ids=list(OPERATED_CASES))
def test_on_cloudnative_pg_the_instances_are_watched(
    promtool: Path, operated: Program, tmp_path: Path, case: Case
) -> None:
    assert_fires(promtool, rules_of(operated, tmp_path), case)
