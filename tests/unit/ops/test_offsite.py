"""The part of `ops restore --from s3:...` that needs no cluster."""

from __future__ import annotations

import signal
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import (
    ApiClient,
    V1Container,
    V1CronJob,
    V1CronJobSpec,
    V1JobSpec,
    V1JobTemplateSpec,
    V1ObjectMeta,
    V1PodSpec,
    V1PodTemplateSpec,
)

from ops import offsite
from ops.kube.cluster import ClusterError, StoppedError
from ops.kube.job import Job, JobFailedError, create
from ops.offsite import fetch, newest
from ops.restore import parse_request
from ops.restore.source import SourceError, parse_source
from ops.terminal import Terminal
from tests.stacks import DEV, PROD
from tests.unit.program import load_settings

NAME = "invoicetron-000012-20260205T030000Z"


@pytest.mark.parametrize("name", ["latest", NAME])
def test_a_source_is_on_the_volume_or_off_site(name: str) -> None:
    here, away = parse_source(name, names=DEV, limit=1), parse_source(f"s3:{name}", names=DEV, limit=1)
    assert (here.backup, here.offsite) == (name, False)
    assert (away.backup, away.offsite) == (name, True)
    assert "off-site" in str(away)
    assert "off-site" not in str(here)


def test_text_after_s3_that_names_no_backup_is_refused() -> None:
    with pytest.raises(SourceError, match=r"s3: is followed by latest or the name of a backup"):
        parse_source("s3:dump.sql", names=DEV, limit=1)


def test_a_stack_without_off_site_copies_is_refused_before_the_cluster_is_asked() -> None:
    with pytest.raises(SourceError, match=r"stack prod has no off-site copies \(backup.s3\)"):
        parse_request(load_settings("prod"), source="s3:latest", expect=None, clear_sessions=False)


def logs(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> mock.Mock:
    """Lets the Job succeed with this log; returns what creates it."""
    made = mock.Mock()
    monkeypatch.setattr(offsite, "create", made)
    monkeypatch.setattr(offsite, "cron_job", lambda *_, **__: mock.Mock())
    monkeypatch.setattr(Job, "follow", lambda job, **_: [job.say(line) for line in log])
    return made


def fetched(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> tuple[str, mock.Mock]:
    """What `fetch` returns if its Job succeeds with this log, and how the Job was created."""
    made = logs(monkeypatch, log)
    return fetch(mock.Mock(names=PROD), Terminal(), name="latest"), made


def test_the_job_reports_which_backup_it_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    name, made = fetched(monkeypatch, ["2026-02-05T03:00:01Z fetching it", f"2026-02-05T03:00:02Z FETCHED {NAME}"])
    assert name == NAME
    assert made.call_args.kwargs == {"environment": {"FETCH": "latest"}, "script": "fetch.sh"}


def test_a_job_that_does_not_report_what_it_fetched_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobFailedError, match="does not say what it fetched"):
        fetched(monkeypatch, ["nothing"])


def test_the_newest_copy_is_named_without_fetching_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = logs(monkeypatch, [f"2026-02-05T03:00:02Z NEWEST {NAME}"])
    assert newest(mock.Mock(names=PROD), Terminal()) == NAME
    assert made.call_args.kwargs == {"environment": {"FETCH": "latest", "NAME_ONLY": "true"}, "script": "fetch.sh"}


def test_if_nobody_can_say_which_copy_is_the_newest_the_command_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    logs(monkeypatch, [])
    with pytest.raises(JobFailedError, match="does not say which copy is the newest"):
        newest(mock.Mock(names=PROD), Terminal())
    monkeypatch.setattr(Job, "follow", mock.Mock(side_effect=JobFailedError("1 of the copies cannot be read")))
    with pytest.raises(JobFailedError, match="The newest copy could not be found: 1 of the copies cannot be read"):
        newest(mock.Mock(names=PROD), Terminal())


@pytest.mark.parametrize("error", [StoppedError(signal.SIGINT), ClusterError("the API server does not answer")])
def test_if_the_wait_for_the_fetch_ends_early_the_command_says_that_it_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: ClusterError
) -> None:
    monkeypatch.setattr(offsite, "create", mock.Mock())
    monkeypatch.setattr(offsite, "cron_job", mock.Mock())
    monkeypatch.setattr(Job, "follow", mock.Mock(side_effect=error))
    with pytest.raises(type(error)):
        fetch(mock.Mock(names=PROD, namespace=PROD.namespace), Terminal(), name="latest")
    assert (
        f"The fetch continues: kubectl -n {PROD.namespace} logs --follow job/{PROD.fetch}-" in capsys.readouterr().out
    )


def test_a_job_with_another_script_is_no_run_of_the_cron_job() -> None:
    container = V1Container(name="restic", command=["sh", "/scripts/upload.sh"])
    template = V1PodTemplateSpec(spec=V1PodSpec(containers=[container]))
    cron_job = V1CronJob(
        metadata=V1ObjectMeta(name="invoicetron-db-upload", uid="1"),
        spec=V1CronJobSpec(
            schedule="0 0 * * *",
            job_template=V1JobTemplateSpec(spec=V1JobSpec(backoff_limit=2, template=template)),
        ),
    )
    cluster: Any = mock.Mock(client=ApiClient(), persistently=lambda request: request())
    for script in (None, "fetch.sh"):
        create(Job(cluster=cluster, name="one", say=print), cron_job, script=script)
    upload, fetch_ = (call.args[1] for call in cluster.batch.create_namespaced_job.call_args_list)
    owners = [job["metadata"]["ownerReferences"][0] for job in (upload, fetch_)]
    assert [(one["name"], one["controller"]) for one in owners] == [
        ("invoicetron-db-upload", True),
        ("invoicetron-db-upload", False),
    ]
    assert upload["spec"]["template"]["spec"]["containers"][0]["command"] == ["sh", "/scripts/upload.sh"]
    assert fetch_["spec"]["template"]["spec"]["containers"][0]["command"] == ["sh", "/scripts/fetch.sh"]
    assert fetch_["spec"]["ttlSecondsAfterFinished"] == 3600
    assert fetch_["spec"]["backoffLimit"] == 0
