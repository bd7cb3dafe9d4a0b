"""Which checks a stack gets, what happens if one goes wrong, and what the report looks like."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import pytest
from cloudflare import APIStatusError
from gitlab.exceptions import GitlabGetError
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import api_exception
from rich.console import Console
from typer.testing import CliRunner
from urllib3.exceptions import MaxRetryError, ReadTimeoutError

from ops import verify
from ops.clients import load_settings as load_stack_file
from ops.commands import app
from ops.verify import backups, cluster
from ops.verify.check import Check, Result, examine
from ops.verify.systems import Systems, cached_outcome
from ops.verify.trouble import explain
from settings import Settings, SettingsError
from settings.database import DatabaseSettings
from tests.stacks import PROD, STACKS
from tests.unit.program import load_settings
from tests.unit.stack_files import with_value
from tests.unit.test_offsite import load as with_copies
from tests.unit.test_postgres_exporter import METRICS
from tests.unit.test_r2 import MADE
from tests.unit.test_r2 import load as with_bucket
from tests.unit.test_service_token import SERVICE_TOKEN
from tests.unit.test_wal_archive import WAL
from tests.unit.test_wal_bucket import MADE as MADE_FOR_THE_LOG

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook" / "verify.md"
OFFSITE = {"upload", "offsite-check", "offsite-drill"}
BUCKET = {"offsite-bucket"}
OPERATED = {"database-operator"}
OWN_PROJECT = {"infrastructure"}
WITH_ID_TOKENS = {"deployer-identity"}
ARCHIVED = {"wal-archive"}
WAL_BUCKET = {"wal-bucket"}
MEASURED = {"secret-exporter"}
MOVING = {"database-move"}
ENCRYPTED = {"database-certificate"}
ASKED_FROM_OUTSIDE = {"public-path", "service-token"}
PUBLIC = {"access-application", "tunnel-rule", "dns-record", "cloudflared-egress", "public-url", "cloudflare-token"}


def names(stack: str, **changes: Any) -> set[str]:
    settings = load_settings(stack).model_copy(update=changes)
    return {check.name for check in verify.CHECKS if check.applies(settings)}


def systems() -> Systems:
    return Systems(load_settings("prod"), http=httpx.Client())


def test_each_stack_gets_the_checks_that_it_has_sections_for() -> None:
    others = (
        OFFSITE | BUCKET | OPERATED | MEASURED | ASKED_FROM_OUTSIDE | ARCHIVED | WITH_ID_TOKENS | OWN_PROJECT | MOVING
    )
    others |= ENCRYPTED | WAL_BUCKET
    assert names("prod") == {check.name for check in verify.CHECKS} - others
    delivery = load_settings("prod").delivery
    assert delivery
    signed = delivery.model_copy(update={"credentials": "id-token"})
    assert names("prod", delivery=signed) == names("prod") - {"deployer-token", "pipeline-token"} | WITH_ID_TOKENS
    assert names("prod", database=DatabaseSettings(tls="offered")) == names("prod") | ENCRYPTED
    operated = DatabaseSettings(engine="cloudnative-pg")
    assert names("prod", database=operated) == names("prod") - {"node-loss"} | OPERATED
    assert "database-role" in names("prod", database=operated, backup=None)
    archived = DatabaseSettings.model_validate({"engine": "cloudnative-pg", "wal": WAL})
    assert names("prod", database=archived) == names("prod", database=operated) | ARCHIVED
    made = DatabaseSettings.model_validate({"engine": "cloudnative-pg", "wal": {"s3": MADE_FOR_THE_LOG}})
    assert names("prod", database=made) == names("prod", database=archived) | WAL_BUCKET
    moving = DatabaseSettings(engine="cloudnative-pg", moving_from="statefulset")
    assert names("prod", database=moving) == names("prod", database=operated) | MOVING
    assert names("dev").isdisjoint(PUBLIC | OFFSITE | MEASURED | {"push-mirror", "prober"})
    assert names("prod", backup=None) == names("prod") - {"backup", "drill", "backup-volume", "database-role"}
    assert names("prod", backup=with_copies().backup) == names("prod") | OFFSITE
    assert names("prod", backup=with_bucket(MADE).backup) == names("prod") | OFFSITE | BUCKET
    measured = Settings.load(PROD, with_value("prod", "monitoring", METRICS)).monitoring
    assert names("prod", monitoring=measured) == names("prod") | MEASURED
    asked = Settings.load(PROD, with_value("prod", "access.public.serviceToken", SERVICE_TOKEN)).access
    assert names("prod", access=asked) == names("prod") | ASKED_FROM_OUTSIDE
    assert names("prod", delivery=None, repository=None) == names("prod") - {
        "environment",
        "ci-variables",
        "deployer-token",
        "pipeline-token",
        "deploy-token",
        "gitlab-token",
        "push-mirror",
        "registry",
    }


def test_an_unforeseen_error_is_a_failure_that_reveals_no_data() -> None:
    def look(_systems: Systems) -> str:
        raise RuntimeError("hunter2")

    result = examine(Check(name="one", look=look), systems())
    assert (result.ok, result.seen) == (False, "could not be checked: RuntimeError")
    assert "hunter2" not in str(result)


def refusals(status: int) -> list[Exception]:
    """The answer of each system's client to this status."""
    response = httpx.Response(status, request=httpx.Request("GET", "https://api.example.com"))
    return [
        ApiException(status=status, reason="said"),
        api_exception(ApiException(status=status, reason="said")),
        GitlabGetError("said", response_code=status),
        APIStatusError("said", response=response, body=None),
    ]


@pytest.mark.parametrize(
    ("status", "fix"), [(403, "this kubeconfig|GITLAB_TOKEN|CLOUDFLARE_API_TOKEN"), (429, "again"), (503, "again")]
)
def test_a_busy_system_is_to_be_asked_again_and_its_credentials_are_not_blamed(status: int, fix: str) -> None:
    for error in refusals(status):
        seen, advice = explain(error)
        assert f"answers {status}" in seen
        assert re.search(fix, advice), advice


def test_a_system_that_failed_once_is_not_asked_again() -> None:
    asked = []

    class Once:
        @cached_outcome
        def system(self) -> str:
            asked.append(1)
            raise TimeoutError("away")

    once = Once()
    for _ in range(2):
        with pytest.raises(TimeoutError, match="away"):
            _ = once.system
    assert len(asked) == 1


def test_an_api_server_that_no_longer_answers_is_waited_for_once() -> None:
    """Without a quorum of etcd, for example, it says its version at once, and of objects nothing for a minute."""
    asked = []

    class Silent:
        resources = property(lambda self: self)

        def get(self, **options: Any) -> Any:
            if "api_version" in options:
                return self
            asked.append(options["_request_timeout"])
            raise MaxRetryError(mock.Mock(), "/api", ReadTimeoutError(mock.Mock(), "/api", "timed out"))

    stuck = systems()
    vars(stuck)["_cluster"] = (Silent(), None)
    for one in (*cluster.CHECKS, *backups.CHECKS):
        result = examine(one, stuck)
        assert not result.ok
        assert result.seen.startswith("could not be checked: no answer: MaxRetryError")
    assert len(asked) == 1


GOOD = Result(check="one", ok=True, seen="well")
BAD = Result(check="another", ok=False, seen="a line\nbreak " + "x" * 200, fix="mend it")


def test_the_report_has_one_line_per_check_however_long() -> None:
    shown = io.StringIO()
    verify.show([GOOD, BAD], Console(file=shown, width=80))
    first, second, last = shown.getvalue().splitlines()
    assert first == "ok     one      well"
    assert second.startswith("FAILED another  a line break xxx")
    assert second.endswith(". Fix: mend it")
    assert last == "1 of 2 checks passed"


@pytest.mark.parametrize(("results", "status"), [([GOOD], 0), ([GOOD, BAD], 1)])
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_the_command_exits_with_1_where_a_check_failed(
    monkeypatch: pytest.MonkeyPatch, results: list[Result], status: int, options: list[str]
) -> None:
    monkeypatch.setattr(verify, "verify", lambda _settings: results)
    monkeypatch.chdir(STACKS)
    done = CliRunner().invoke(app, ["verify", "--stack", "dev", *options])
    assert done.exit_code == status
    if options:
        assert json.loads(done.stdout)["ok"] is (status == 0)


def test_a_stack_without_a_stack_file_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"Pulumi\.staging\.yaml cannot be read"):
        load_stack_file("staging")


def test_the_runbook_explains_every_check_and_no_other() -> None:
    section = RUNBOOK.read_text().partition("\n## Verify the live system")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == [check.name for check in verify.CHECKS]
