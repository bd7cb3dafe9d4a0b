"""`ops record`: what it reports if the account may not write the Lease; and what `ops status` reads from the Lease."""

from __future__ import annotations

import datetime as dt
import socket
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from ops import checks
from ops.status.checks import passed
from ops.verify.trouble import CheckError
from tests.stacks import PROD


def refused(monkeypatch: pytest.MonkeyPatch, status: int) -> str:
    api = mock.Mock()
    api.return_value.patch_namespaced_lease.side_effect = ApiException(status=status)
    monkeypatch.setattr(checks, "CoordinationV1Api", api)
    return checks.record(mock.Mock(), PROD, "drift")


def test_missing_permissions_are_reported_and_do_not_fail_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    told = refused(monkeypatch, 403)
    assert told.startswith("Not recorded: this account may not create and patch the Lease invoicetron-prod-drift")
    assert "docs/merge-requests.md" in told


def test_any_other_error_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApiException):
        refused(monkeypatch, 500)


def test_an_api_server_that_does_not_answer_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "REQUEST_TIMEOUT", (5, 0.1), raising=False)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = ApiClient(Configuration(host=f"http://127.0.0.1:{silent.getsockname()[1]}", retries=0))
        for call in (checks.record, checks.last):
            with pytest.raises(HTTPError):
                call(client, PROD, "drift")


class Cluster:
    """Systems with a Lease for each of these checks, renewed this many hours ago."""

    names = PROD
    now = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)

    def __init__(self, *, archive: bool = False, **hours: int) -> None:
        self.settings = mock.Mock(wal=mock.Mock() if archive else None)
        self._renewed = {PROD.check_lease(check): self.now - dt.timedelta(hours=ago) for check, ago in hours.items()}

    def get(self, _api: str, _kind: str, name: str) -> Any:
        renewed = self._renewed.get(name)
        return renewed and {"spec": {"renewTime": renewed.isoformat(timespec="microseconds")}}


def look(*, archive: bool = False, **hours: int) -> str:
    return passed(Cluster(archive=archive, **hours))  # type: ignore[arg-type]


def test_a_check_that_passed_recently_or_was_never_recorded_passes() -> None:
    assert look(drift=3, verify=26) == "drift passed 3 h ago; verify passed 26 h ago"
    assert look(drift=3) == "drift passed 3 h ago; verify was never recorded"


def test_a_recovery_drill_of_a_stack_with_an_archive_counts_for_eight_days() -> None:
    assert look(archive=True, drift=3, verify=3, recovery=100).endswith("; recovery passed 4 days ago")
    with pytest.raises(CheckError):
        look(archive=True, drift=3, verify=3, recovery=8 * 24 + 1)


def test_a_check_that_passed_too_long_ago_fails() -> None:
    with pytest.raises(CheckError) as told:
        look(drift=27, verify=3)
    assert told.value.seen == "drift passed 27 h ago; verify passed 3 h ago"


def test_a_time_to_come_was_recorded_by_a_wrong_clock_and_fails() -> None:
    with pytest.raises(CheckError) as told:
        look(drift=3, verify=-300)
    assert told.value.seen == "drift passed 3 h ago; verify was recorded at 2026-12-10 00:00 UTC, in the future"
    assert "clock" in told.value.fix


@pytest.mark.parametrize(
    ("status", "spec", "when"), [(404, None, None), (None, mock.Mock(renew_time=Cluster.now), Cluster.now)]
)
def test_when_a_check_last_passed_is_read_from_its_lease(
    monkeypatch: pytest.MonkeyPatch, status: int | None, spec: Any, when: dt.datetime | None
) -> None:
    api = mock.Mock()
    read = api.return_value.read_namespaced_lease
    read.return_value.spec = spec
    read.side_effect = ApiException(status=status) if status else None
    monkeypatch.setattr(checks, "CoordinationV1Api", api)
    assert checks.last(mock.Mock(), PROD, "recovery") == when
