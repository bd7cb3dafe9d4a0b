"""A Connect server that only the plugin reaches is reported before the first resource."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pulumi
import pytest
from starlette.types import ASGIApp

from lookups.onepassword import ItemPlace
from lookups.onepassword_reach import UnreachableError, check_reach
from rehearsal.vendors.onepassword import OnePassword

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(params=["registry_item", "service_token_item"])
def written(request: pytest.FixtureRequest) -> mock.Mock:
    """The secrets of a stack that writes one item."""
    return stack(**{request.param: ItemPlace(vault="v" * 26, title="Token", item=None)})


def stack(**items: ItemPlace) -> mock.Mock:
    return mock.Mock(**{"registry_item": None, "service_token_item": None, "s3": None, "wal": None, **items})


@pytest.fixture(autouse=True)
def _unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OP_CONNECT_HOST", NOWHERE)
    monkeypatch.setenv("OP_CONNECT_TOKEN", "token-of-mine")
    monkeypatch.delenv("OP_SERVICE_ACCOUNT_TOKEN", raising=False)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)


def test_a_server_that_the_program_does_not_reach_is_reported(written: mock.Mock) -> None:
    with pytest.raises(UnreachableError, match=f"{NOWHERE} does not answer: ConnectError") as refused:
        check_reach(written)
    assert "Nothing was created or changed." in str(refused.value)
    assert "SSL_CERT_FILE" in str(refused.value)
    assert "token-of-mine" not in str(refused.value)


def test_buckets_have_items_of_their_own() -> None:
    keys = mock.Mock(item=ItemPlace(vault="v" * 26, title="Keys", item=None))
    for secrets in (stack(s3=mock.Mock(keys=keys)), stack(wal=keys)):
        with pytest.raises(UnreachableError):
            check_reach(secrets)


def test_one_that_it_reaches_is_enough(monkeypatch: pytest.MonkeyPatch, served: Callable[[ASGIApp], str]) -> None:
    server = OnePassword()
    vault = server.add_vault("Kubernetes")
    monkeypatch.setenv("OP_CONNECT_HOST", served(server.app))
    monkeypatch.setenv("OP_CONNECT_TOKEN", server.token)
    check_reach(stack(registry_item=ItemPlace(vault=vault, title="Token", item=None)))


def test_what_is_not_written_or_not_by_connect_is_not_checked(
    monkeypatch: pytest.MonkeyPatch, written: mock.Mock
) -> None:
    check_reach(stack())
    with monkeypatch.context() as preview:
        preview.setattr(pulumi.runtime, "is_dry_run", lambda: True)
        check_reach(written)
    monkeypatch.delenv("OP_CONNECT_HOST")
    monkeypatch.delenv("OP_CONNECT_TOKEN")
    monkeypatch.setenv("OP_SERVICE_ACCOUNT_TOKEN", "ops_token")
    check_reach(written)
