"""What `ops verify` says about the database server's certificate, read from the Secret that the server uses."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from components import server_certificate
from ops.verify.database import certificate
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.delivery import LEAST_DAYS
from tests.unit.program import load_settings


class Cluster(Systems):
    """A cluster in which the server's Secret holds this certificate."""

    def __init__(self, pem: str) -> None:
        super().__init__(load_settings("prod"), http=httpx.Client())
        self._pem = pem

    def get(self, _api_version: str, _kind: str, name: str, *_: Any) -> Any:
        assert name == "invoicetron-db-tls"
        return {"data": {"tls.crt": base64.b64encode(self._pem.encode()).decode()}}


def issued(monkeypatch: pytest.MonkeyPatch, days: int) -> str:
    monkeypatch.setattr(server_certificate, "LIFETIME_DAYS", days)
    pem: str = server_certificate._issued(["invoicetron-db"], None)["certificate"]
    return pem


def test_a_certificate_far_from_its_expiry_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = certificate(Cluster(issued(monkeypatch, LEAST_DAYS + 1)))
    assert seen.startswith("the server's certificate ends on 2")
    assert seen.endswith(f"(days left: {LEAST_DAYS})")


def test_a_certificate_that_expires_soon_fails_and_up_renews_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckError) as told:
        certificate(Cluster(issued(monkeypatch, LEAST_DAYS)))
    assert "ends on 2" in told.value.seen
    assert f"(days left: {LEAST_DAYS - 1})" in told.value.seen
    assert "up -s prod`, which renews it" in told.value.fix


def test_a_secret_without_a_certificate_fails() -> None:
    with pytest.raises(CheckError) as told:
        certificate(Cluster("nonsense"))
    assert told.value.seen == "Secret invoicetron-db-tls holds no certificate"
