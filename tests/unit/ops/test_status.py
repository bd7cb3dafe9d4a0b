"""`ops status`: what Prometheus answers, how long ago something happened, and a system that is unreachable."""

from __future__ import annotations

import datetime as dt
import io
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes.client import ApiClient, Configuration
from rich.console import Console
from typer.testing import CliRunner

from ops import status
from ops.commands import app
from ops.status import alerts, workloads
from ops.terminal import age
from ops.verify import tokens
from ops.verify.check import Check, Result, examine
from ops.verify.systems import Systems
from ops.verify.trouble import NETWORK_FIX, CheckError
from settings import Settings
from tests.stacks import PROD, STACKS
from tests.unit.ops.test_checks import IMAGE, NEW, READY, Cluster, workload
from tests.unit.program import load_settings

DOWN = "InvoicetronDown"
PROXY = "/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy/api/v1/rules?type=alert"


def alert(
    name: str,
    state: str = "firing",
    namespace: str = "invoicetron-prod",
    severity: str = "critical",
    **annotations: str,
) -> dict[str, Any]:
    """An active alert as in Prometheus' API (prometheus.io/docs/prometheus/latest/querying/api/#rules)."""
    return {
        "activeAt": "2026-11-27T08:00:00.60602144Z",
        "annotations": annotations,
        "labels": {"alertname": name, "namespace": namespace, "severity": severity},
        "state": state,
        "value": "1e+00",
    }


def rule(name: str, *active: dict[str, Any], namespace: str | None = "invoicetron-prod") -> dict[str, Any]:
    """An alerting rule from the same API; the rules of other collections set no namespace."""
    labels = {"namespace": namespace} if namespace else {}
    return {"type": "alerting", "name": name, "labels": labels, "alerts": list(active)}


@contextmanager
def api_server(code: int, body: str, others: Mapping[str, str] | None = None) -> Iterator[tuple[ApiClient, list[str]]]:
    """A server in place of an API server's proxy: it answers with `body`, or with the answer in `others` for a path."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(code)
            self.end_headers()
            self.wfile.write((others or {}).get(self.path, body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield ApiClient(Configuration(host=f"http://127.0.0.1:{server.server_port}")), asked
        server.shutdown()


class Live(Systems):
    """Systems of which only the cluster exists."""

    def __init__(self, client: ApiClient) -> None:
        super().__init__(load_settings("prod"), http=httpx.Client(), patience=5)
        self.now = dt.datetime(2026, 11, 27, 9, 30, 1, tzinfo=dt.UTC)
        self._client = client

    @property
    def cluster(self) -> Any:
        return type("Cluster", (), {"client": self._client})


def answered(*found: dict[str, Any], own: Sequence[dict[str, Any]] = (rule(DOWN),)) -> str:
    """What `firing` says if these alerts are active, and Prometheus has the stack's `own` rules."""
    others = [rule(one["labels"]["alertname"], one, namespace=None) for one in found]
    groups = [{"name": "ours", "rules": own}, {"name": "others", "rules": others}]
    with api_server(200, json.dumps({"status": "success", "data": {"groups": groups}})) as (client, asked):
        try:
            return alerts.firing(Live(client))
        finally:
            assert asked == [PROXY]


def test_only_alerts_of_the_stack_s_namespace_are_reported() -> None:
    assert answered() == "none fires"
    assert answered(alert("KubeletDown", namespace="kube-system"), alert("Watchdog", namespace="")) == "none fires"
    assert answered(alert("InvoicetronDown", "pending")) == "none fires; pending: InvoicetronDown"


def test_alerts_that_are_not_meant_to_notify_anybody_are_not_reported() -> None:
    """kube-prometheus-stack's rules for a quota, and the rule that makes Alertmanager hide them."""
    quota, hidden = alert("KubeQuotaFullyUsed", severity="info"), alert("InfoInhibitor", severity="none")
    assert answered(quota, hidden) == "none fires"
    with pytest.raises(CheckError, match="KubeJobFailed"):
        answered(quota, hidden, alert("KubeJobFailed", severity="warning"))


@pytest.mark.parametrize(
    "own", [[], [rule(DOWN, namespace="invoicetron-dev")], [rule("KubeJobFailed")]], ids=["none", "dev's", "another's"]
)
def test_a_prometheus_that_does_not_have_the_stack_s_rules_does_not_count_as_silent(own: list[dict[str, Any]]) -> None:
    """kube-prometheus-stack's default `ruleSelector` is the label `release` with the name of its Helm release."""
    with pytest.raises(CheckError, match="Prometheus has no alert of this stack, so none can fire") as told:
        answered(own=own)
    assert "monitoring.labels" in told.value.fix
    assert "release: prometheus" in told.value.fix


def test_a_firing_alert_is_reported_with_its_age_and_summary() -> None:
    with pytest.raises(CheckError) as told:
        answered(alert(DOWN, summary="invoicetron does not answer"), alert("InvoicetronRestarts", "pending"))
    assert told.value.seen == ("InvoicetronDown for 90 min (invoicetron does not answer); pending: InvoicetronRestarts")
    with pytest.raises(CheckError, match=r"KubePodCrashLooping for 90 min \(critical\)"):
        answered(alert("KubePodCrashLooping"))


@pytest.mark.parametrize(
    ("code", "body", "seen", "fix"),
    [
        (404, "{}", "could not be queried: 404 of prometheus-operated.monitoring", "correct monitoring.prometheus"),
        (503, "no endpoints", "could not be queried: 503", "why Prometheus does not answer"),
        (403, "{}", "could not be queried: 403", "services/proxy in namespace monitoring"),
        (200, "<html>", "does not answer as Prometheus does", "correct monitoring.prometheus"),
        (200, '{"data": null}', "does not answer as Prometheus does", "correct monitoring.prometheus"),
    ],
)
def test_a_prometheus_that_cannot_be_asked_does_not_count_as_silent(code: int, body: str, seen: str, fix: str) -> None:
    with api_server(code, body) as (client, _), pytest.raises(CheckError) as told:
        alerts.firing(Live(client))
    assert seen in told.value.seen
    assert fix in told.value.fix


VERSION = json.dumps(
    {
        **dict.fromkeys(("buildDate", "compiler", "gitCommit", "gitTreeState", "gitVersion", "goVersion"), "x"),
        "major": "1",
        "minor": "36",
        "platform": "x",
    }
)
PAGE = "<html>log in</html>"


@pytest.mark.parametrize("version", [PAGE, "{}", "[]", VERSION], ids=["page", "object", "list", "version"])
@pytest.mark.parametrize("rest", [PAGE, "{}", "[]"], ids=["page", "object", "list"])
def test_a_page_in_place_of_the_api_server_is_reported_as_such(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, rest: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the client caches the APIs it has discovered
    monkeypatch.setattr("ops.verify.systems.kubeconfig_problems", lambda *_: [])
    with api_server(200, rest, {"/version/": version}) as (client, _):
        monkeypatch.setattr("ops.verify.systems.kubernetes_client", lambda _: client)
        systems = Systems(load_settings("prod"), http=httpx.Client(), patience=5)
        for look in (workloads.app_runs, workloads.database_runs):
            result = examine(Check(name="one", look=look), systems)
            assert not result.ok
            assert "what answers at its address is not an API server" in result.seen
            assert result.fix == NETWORK_FIX


def database(*containers: dict[str, Any]) -> Cluster:
    """A ready StatefulSet, whose pod has these containers; and a pod of the backup's."""
    of_backup = {"metadata": {"name": PROD.backup}, "status": {"containerStatuses": [server("running")]}}
    pod = {"metadata": {"name": f"{PROD.database}-0"}, "status": {"containerStatuses": list(containers)}}
    systems = Cluster(StatefulSet=workload(name="postgresql", **READY, **NEW), Pod=[of_backup, pod])
    systems.now = dt.datetime(2026, 11, 27, 9, 30, tzinfo=dt.UTC)
    return systems


def server(state: str, *, name: str = "postgresql", restarts: int = 0) -> dict[str, Any]:
    return {"name": name, "restartCount": restarts, "state": {state: {"startedAt": "2026-11-27T08:00:00Z"}}}


def test_the_database_is_shown_with_its_start_and_its_restarts() -> None:
    seen = workloads.database_runs(database(server("terminated", name="sidecar"), server("running")))
    assert seen == f"1 of 1 replicas ready, {IMAGE} since 2026-11-27 08:00 UTC (90 min)"
    assert workloads.database_runs(database(server("running", restarts=2))).endswith("(90 min), 2 restarts")


@pytest.mark.parametrize("containers", [[server("waiting")], [server("running", name="sidecar")], []])
def test_a_database_whose_container_does_not_run_fails(containers: list[dict[str, Any]]) -> None:
    with pytest.raises(CheckError, match="and its container does not run"):
        workloads.database_runs(database(*containers))


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (dt.timedelta(seconds=-3), "0 min"),  # two clocks differ
        (dt.timedelta(minutes=119), "119 min"),
        (dt.timedelta(hours=2), "2 h"),
        (dt.timedelta(hours=49), "2 days"),
    ],
)
def test_an_age_is_rounded_to_a_readable_unit(time: dt.timedelta, text: str) -> None:
    assert age(time) == text


def test_the_systems_are_asked_concurrently_and_shown_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=5)

    def look(_systems: Systems) -> str:
        together.wait()
        return "well"

    def away(_systems: Systems) -> str:
        together.wait()
        raise httpx.ConnectTimeout("timed out")

    monkeypatch.setattr(status, "SYSTEMS", ((Check(name="one", look=away),), (Check(name="two", look=look),)))
    first, second = status.status(load_settings("dev"))
    assert (first.check, first.ok) == ("one", False)
    assert "no answer: ConnectTimeout" in first.seen
    assert second == Result(check="two", ok=True, seen="well")


def test_everything_that_ends_on_a_day_is_shown() -> None:
    shown = {check.name for checks in status.SYSTEMS for check in checks}
    ends = {check.name for check in tokens.CHECKS} | {"database-certificate"}
    assert ends <= shown


def test_the_screen_names_the_stack_and_cuts_nothing_off() -> None:
    shown = io.StringIO()
    results = [Result(check="app", ok=True, seen="runs"), Result(check="drill", ok=False, seen="x " * 60, fix="mend")]
    Console(file=shown, width=60).print(status.screen(load_settings("dev"), results, at="now"))
    text = shown.getvalue()
    assert "invoicetron-dev, now" in text
    assert text.count("x") == 60
    assert "LOOK" in text
    assert "mend" in text


@pytest.mark.parametrize("width", [30, 40, 80])
def test_a_path_is_not_cut_in_a_narrow_terminal(width: int) -> None:
    shown, path = io.StringIO(), "/home/rommel/.kube/a-folder-of-mine/config-of-the-homelab"
    results = [Result(check="database-operator", ok=False, seen=f"{path} does not exist", fix=f"mend {path}")]
    Console(file=shown, width=width).print(status.screen(load_settings("dev"), results, at="now"))
    assert "".join(shown.getvalue().split()).count(path) == 2


@pytest.mark.parametrize(("options", "looks"), [([], 1), (["--watch"], 3)])
def test_watch_refreshes_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, options: list[str], looks: int
) -> None:
    seen: list[Settings] = []

    def sleep(seconds: float) -> None:
        assert seconds == status.INTERVAL
        if len(seen) == looks:
            raise KeyboardInterrupt

    def look(settings: Settings) -> list[Result]:
        seen.append(settings)
        return [Result(check="app", ok=True, seen="runs")]

    monkeypatch.setattr(status, "status", look)
    monkeypatch.setattr(status, "sleep", sleep)
    monkeypatch.chdir(STACKS)
    done = CliRunner().invoke(app, ["status", "--stack", "dev", *options])
    assert done.exit_code == 0, done.output
    assert len(seen) == looks
    assert done.output.count(seen[0].namespace) == looks
