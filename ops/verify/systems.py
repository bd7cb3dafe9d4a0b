"""The live systems of one stack, connected to on first use; the checks only read them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx
from cloudflare import Cloudflare
from gitlab import Gitlab
from gitlab.exceptions import GitlabError
from gitlab.v4.objects import Project
from kubernetes.client import VersionApi
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError
from requests import RequestException
from urllib3.exceptions import HTTPError

from lookups import deploy_tokens
from lookups.cloudflare import find_place, find_tunnel
from lookups.cloudflare_api import CloudflareApi
from lookups.cluster import ClusterError
from lookups.credentials import (
    CredentialsError,
    cloudflare_problems,
    gitlab_problems,
    kubeconfig_problems,
)
from lookups.onepassword import Vaults
from lookups.onepassword_client import client, onepassword_problems
from lookups.secrets import Values, read_values
from ops.clients import check_gitlab, cloudflare_client, dynamic_client, kubernetes_client
from ops.verify.trouble import NETWORK_FIX, CheckError
from settings import Settings
from settings.access import PublicAccessSettings, ServiceTokenSettings
from settings.commands import pulumi_command
from settings.database import DatabaseSettings
from settings.delivery import DeliverySettings
from settings.monitoring import MonitoringSettings
from settings.repository import InfrastructureSettings, RepositorySettings

Object = dict[str, Any]
"""An object of the cluster, as in its JSON."""

_OF_THE_CLUSTER: Final = {"Namespace", "PersistentVolume", "StorageClass"}
_SERVER_ERROR: Final = 500
_PATIENCE: Final = 15.0  # seconds for one answer; a slow system is a finding, too
_T = TypeVar("_T")


class cached_outcome(Generic[_T]):  # noqa: N801 - used like `cached_property`
    """A cached property that also keeps a failure: otherwise each check would wait again for a system that is down."""

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = f"_{name}"

    def __get__(self, instance: object, _owner: type) -> _T:
        outcomes = vars(instance)
        if self._name not in outcomes:
            try:
                outcomes[self._name] = (self._make(instance), None)
            except Exception as error:  # noqa: BLE001 - raised again, below
                outcomes[self._name] = (None, error)
        value, failure = outcomes[self._name]
        if failure is not None:
            raise failure
        found: _T = value
        return found


@dataclass(frozen=True, kw_only=True)
class Ids:
    """Ids of the account and zone that the stack file names."""

    account: str
    zone: str


class Systems:
    """The systems that the checks of one run query. `http` is for the app's own addresses, and follows no redirects."""

    def __init__(self, settings: Settings, *, http: httpx.Client, patience: float = _PATIENCE) -> None:
        self.settings = settings
        self.names = settings.names
        self.patience = patience
        """Seconds for one answer."""
        self.http = http
        self.now = dt.datetime.now(dt.UTC)
        self.up = f"run `{pulumi_command('up', settings.stack)}`"
        """The usual fix."""
        self._silence: HTTPError | None = None

    @property
    def public(self) -> PublicAccessSettings:
        """The section, in a stack that has it; the same holds for the properties below."""
        return _given(self.settings.access.public)

    @property
    def service_token(self) -> ServiceTokenSettings:
        """The token for checking the public side from outside."""
        return _given(self.settings.service_token)

    @property
    def database(self) -> DatabaseSettings:
        """The section `database`."""
        return _given(self.settings.database)

    @property
    def delivery(self) -> DeliverySettings:
        """What the program gives the app's GitLab project."""
        return _given(self.settings.delivery)

    @property
    def repository(self) -> RepositorySettings:
        """The section `repository`: what the stacks share in GitLab."""
        return _given(self.settings.repository)

    @property
    def infrastructure(self) -> InfrastructureSettings:
        """The GitLab project of this program itself."""
        return _given(self.repository.infrastructure)

    @property
    def monitoring(self) -> MonitoringSettings:
        """The section `monitoring`: the probe and the alerts."""
        return _given(self.settings.monitoring)

    @cached_outcome
    def cluster(self) -> DynamicClient:
        """A client for the cluster's context that the settings name."""
        _require(kubeconfig_problems(self.settings.cluster.context, os.environ))
        client = kubernetes_client(self.settings)
        with self._api_server():
            # The client's own discovery would wait for ever.
            VersionApi(client).get_code(_request_timeout=self.patience)
            return dynamic_client(client)

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """The object of that name, in the stack's namespace by default; None if it does not exist."""
        try:
            with self._api_server():
                api = self.cluster.resources.get(api_version=api_version, kind=kind)
                found: Object = api.get(
                    name=name, namespace=namespace or self.settings.namespace, _request_timeout=self.patience
                ).to_dict()
        except NotFoundError:
            return None
        return found

    def need(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        """As `get`, but raises `CheckError` if the object does not exist."""
        found = self.get(api_version, kind, name, namespace)
        if found is None:
            place = name if kind in _OF_THE_CLUSTER else f"{namespace or self.settings.namespace}/{name}"
            raise CheckError(f"there is no {kind} {place}", self.up)
        return found

    def list(self, api_version: str, kind: str) -> list[Object]:
        """Every object of the kind in the stack's namespace."""
        with self._api_server():
            api = self.cluster.resources.get(api_version=api_version, kind=kind)
            listed = api.get(namespace=self.settings.namespace, _request_timeout=self.patience).to_dict()
            found: list[Object] = listed["items"]
        return found

    @contextmanager
    def _api_server(self) -> Iterator[None]:
        """Raises `ClusterError` where the client would fail in its own ways: on the page of a proxy or a login.

        An API server that has not answered, after all attempts of the client, is not asked again.
        """
        if self._silence is not None:
            raise self._silence
        try:
            yield
        except HTTPError as error:
            self._silence = error
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = "what answers at its address is not an API server"
            raise ClusterError(reason, reason=reason) from error

    @cached_outcome
    def vaults(self) -> Vaults:
        """1Password, with the access that the environment gives."""
        _require(onepassword_problems(os.environ))
        return Vaults(client(os.environ))

    @cached_outcome
    def values(self) -> Values:
        """What 1Password holds for the stack."""
        return read_values(self.settings, self.vaults)

    @cached_outcome
    def gitlab(self) -> Gitlab:
        """A client for GitLab, which has answered once: the client would wait minutes for one that is down."""
        _require(gitlab_problems(os.environ))
        client = deploy_tokens.connect(self.delivery.gitlab)
        client.timeout = self.patience
        try:
            check_gitlab(client, patience=self.patience)
        except (GitlabError, RequestException) as error:
            status = getattr(error, "response_code", None)
            if isinstance(error, GitlabError) and status is not None and status < _SERVER_ERROR:
                raise
            # A new token would not help: GitLab has checked neither its scopes nor its age yet.
            came = f"{status}" if status else type(error).__name__
            seen = f"could not be checked: GitLab does not answer at {client.url}: {came}"
            raise CheckError(seen, NETWORK_FIX) from error
        return client

    @cached_outcome
    def project(self) -> Project:
        """The app's project in GitLab."""
        return self.gitlab.projects.get(self.delivery.project)

    @cached_outcome
    def cloudflare(self) -> Cloudflare:
        """Cloudflare's official client."""
        _require(cloudflare_problems(os.environ))
        return cloudflare_client(patience=self.patience)

    @cached_outcome
    def cloudflare_api(self) -> CloudflareApi:
        """The client with which `up` looks up Cloudflare's ids."""
        _require(cloudflare_problems(os.environ))
        return CloudflareApi(patience=self.patience)

    @cached_outcome
    def ids(self) -> Ids:
        """Looks them up by name if the stack file has no id; like `up`, refuses a zone that serves nothing."""
        place = find_place(self.public, self.cloudflare_api)
        return Ids(account=place.account_id, zone=place.zone_id)

    def access_group(self, id_: str) -> Object:
        """The Access group of that id, with its rules."""
        return self.cloudflare_api.get(f"/accounts/{self.ids.account}/access/groups/{id_}")

    @cached_outcome
    def tunnel_id(self) -> str:
        """Id of the shared tunnel."""
        return find_tunnel(self.public, self.ids.account, self.cloudflare_api)


def _given(section: _T | None) -> _T:
    assert section is not None  # noqa: S101 - `Check.applies` leaves out what the stack has no section for
    return section


def _require(problems: Iterable[str]) -> None:
    if listed := list(problems):
        raise CredentialsError("; ".join(listed))
