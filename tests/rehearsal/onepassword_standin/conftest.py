"""The stand-in for pulumi-onepassword, configured for an emulated Connect server of each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearsal.plugins.values import Properties, Secret
from rehearsal.vendors.onepassword import OnePassword
from rehearsal.vendors.server import serve
from tests.rehearsal.onepassword_standin.provider import Item, Provider


@pytest.fixture
def onepassword() -> OnePassword:
    return OnePassword.seeded()


@pytest.fixture
def url(onepassword: OnePassword) -> Iterator[str]:
    with serve(onepassword.app) as base:
        yield base


@pytest.fixture(scope="module")
def process() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def provider(process: Provider, onepassword: OnePassword, url: str) -> Provider:
    process.configure(url=url, token=onepassword.token)
    return process


@pytest.fixture
def vault(provider: Provider) -> str:
    return str(provider.invoke("getVault", name="Kubernetes")["uuid"])


@pytest.fixture
def item(provider: Provider) -> Item:
    return Item(provider)


@pytest.fixture
def inputs(vault: str) -> Properties:
    return {
        "vault": vault,
        "title": "Invoicetron Dev Registry",
        "category": "login",
        "username": "gitlab+deploy-token-7",
        "password": Secret("gldt-first"),
    }
