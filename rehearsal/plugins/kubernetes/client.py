"""The cluster through the official client: any kind, found by discovery; errors with the API server's own message."""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any, Final

import kubernetes.client
import kubernetes.config
import urllib3.exceptions
from kubernetes.config.config_exception import ConfigException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
from kubernetes.dynamic.resource import Resource

from rehearsal.plugins.kubernetes.configuration import (
    Configuration,
    KubeconfigError,
    active_context,
    load_kubeconfig,
)
from rehearsal.plugins.kubernetes.objects import Kind, Name, Object


class ApiError(Exception):
    """The API server refused a request: its message, and its status as a dictionary."""

    def __init__(self, status: Object) -> None:
        super().__init__(status.get("message", ""))
        self.code = int(status.get("code") or 0)
        self.reason = status.get("reason", "")
        self.details: Object = status.get("details") or {}

    @property
    def is_not_found(self) -> bool:
        """Whether the object, or its namespace, is missing."""
        return self.code == 404

    @property
    def is_missing_namespace(self) -> bool:
        """Whether a namespace is what is missing."""
        return self.code == 404 and self.details.get("kind") == "namespaces"

    @property
    def is_forbidden(self) -> bool:
        """Whether the credentials lack the right, or admission refused."""
        return self.code == 403

    @property
    def is_conflict(self) -> bool:
        """Whether another manager owns a field that was to be applied."""
        return self.code == 409 and self.reason == "Conflict"

    @property
    def already_exists(self) -> bool:
        """Whether the name is taken."""
        return self.code == 409 and self.reason == "AlreadyExists"


class NoMatchError(Exception):
    """The API server does not know the kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(f'no matches for kind "{kind.name}" in version "{kind.api_version}"')


class UnreachableError(Exception):
    """There is no cluster to talk to; the message says why."""


_NO_FILE: Final = f"{os.devnull}/discovery.json"
"""With each kind, the client writes all that it has discovered into a file, by default a shared one, and goes on if it
cannot. Nobody would read the file."""


class Cluster:
    """One API server. Raises `UnreachableError` when it cannot be reached at the start."""

    def __init__(self, configuration: Configuration) -> None:
        try:
            api, self.default_namespace = _api_client(configuration)
        except (KubeconfigError, ConfigException) as error:
            raise UnreachableError(
                f"failed to parse kubeconfig data in `kubernetes:config:kubeconfig`- {error}"
            ) from error
        self._lock = threading.Lock()
        self._resources: dict[Kind, Resource] = {}
        try:
            self._client = DynamicClient(api, cache_file=_NO_FILE)
        except (urllib3.exceptions.HTTPError, kubernetes.client.ApiException, ValueError) as error:
            raise UnreachableError(f"unable to load schema information from the API server: {error}") from error

    def is_namespaced(self, kind: Kind) -> bool:
        """Whether objects of a kind live in a namespace; assumed of kinds that the server does not know."""
        try:
            return bool(self._resource(kind).namespaced)
        except NoMatchError:
            return True

    def knows(self, kind: Kind) -> bool:
        """Whether the API server serves the kind."""
        try:
            self._resource(kind)
        except NoMatchError:
            return False
        return True

    def get(self, kind: Kind, name: Name) -> Object:
        """The live object."""
        return self._request("get", kind, name=name.name, namespace=self._namespace(kind, name.namespace))

    def in_namespace(self, kind: Kind, namespace: str) -> list[Object]:
        """The live objects in a namespace, each with its kind, which the API server's lists leave out."""
        found = self._request("get", kind, namespace=namespace)
        return [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in found["items"]]

    def create(self, obj: Object, *, manager: str, dry_run: bool) -> Object:
        """Creates an object that does not exist yet; `manager` then owns its fields, with operation Update."""
        return self._request(
            "create",
            Kind.of(obj),
            body=obj,
            namespace=self._namespace(Kind.of(obj), Name.of(obj).namespace),
            field_manager=manager,
            dry_run="All" if dry_run else None,
        )

    def apply(self, obj: Object, *, manager: str, force: bool, dry_run: bool) -> Object:
        """Server-side apply; raises an `ApiError` that `is_conflict` if another manager owns a field."""
        return self._request(
            "server_side_apply",
            Kind.of(obj),
            body=obj,
            name=Name.of(obj).name,
            namespace=self._namespace(Kind.of(obj), Name.of(obj).namespace),
            field_manager=manager,
            force_conflicts="true" if force else "false",
            dry_run="All" if dry_run else None,
        )

    def replace_managed_fields(self, live: Object, managed_fields: list[Object]) -> Object:
        """Writes the ownership of the object's fields, unless the object has changed since it was read."""
        version = live["metadata"]["resourceVersion"]
        return self._request(
            "patch",
            Kind.of(live),
            body=[
                {"op": "replace", "path": "/metadata/managedFields", "value": managed_fields},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            ],
            name=Name.of(live).name,
            namespace=self._namespace(Kind.of(live), Name.of(live).namespace),
            content_type="application/json-patch+json",
        )

    def delete(self, kind: Kind, name: Name, *, propagation: str) -> None:
        """Requests deletion; `propagation` is Foreground, Background or Orphan."""
        self._request(
            "delete",
            kind,
            name=name.name,
            namespace=self._namespace(kind, name.namespace),
            body={"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation},
        )

    def _namespace(self, kind: Kind, namespace: str) -> str | None:
        return (namespace or self.default_namespace) if self._resource(kind).namespaced else None

    def _resource(self, kind: Kind) -> Resource:
        with self._lock:  # the discovery client fills its cache without a lock
            if kind not in self._resources:
                try:
                    self._resources[kind] = self._client.resources.get(api_version=kind.api_version, kind=kind.name)
                except ResourceNotFoundError as error:
                    raise NoMatchError(kind) from error
            return self._resources[kind]

    def _request(self, verb: str, kind: Kind, **arguments: Any) -> Object:
        resource = self._resource(kind)
        try:
            response = getattr(self._client, verb)(resource, serialize=False, **arguments)
            body: Object = json.loads(response.data)
        except DynamicApiError as error:
            raise ApiError(_status(error)) from error
        for warning in response.headers.getlist("Warning"):
            _report_warning(warning, kind, arguments)
        return body


def _api_client(configuration: Configuration) -> tuple[kubernetes.client.ApiClient, str]:
    settings = kubernetes.client.Configuration()
    # Without a kubeconfig in its configuration, the plugin uses the environment's. The client's own default would be
    # that of the environment in which the client was imported.
    own = configuration.kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config")
    kubeconfig = load_kubeconfig(own)
    name = configuration.context
    context = active_context(kubeconfig, name)
    if context is None:
        raise KubeconfigError(f'context "{name}" does not exist')
    if configuration.cluster:
        context["cluster"] = configuration.cluster
        contexts = [{"name": "chosen", "context": context}]
        kubeconfig, name = {**kubeconfig, "contexts": contexts, "current-context": "chosen"}, "chosen"
    kubernetes.config.load_kube_config_from_dict(
        kubeconfig, context=name, client_configuration=settings, persist_config=False
    )
    namespace = configuration.namespace or context.get("namespace") or "default"
    settings.retries = False  # here a refused connection is an answer, not a reason to wait
    settings.connection_pool_maxsize = 32  # as many as the plugin has threads
    return kubernetes.client.ApiClient(settings), namespace


def _status(error: DynamicApiError) -> Object:
    try:
        status = json.loads(error.body or "")
    except (TypeError, ValueError):
        status = None
    if not isinstance(status, dict):
        return {"code": error.status, "message": f"{error.status} {error.reason}"}
    return status


def _report_warning(header: str, kind: Kind, arguments: dict[str, Any]) -> None:
    """Writes the API server's warning (`299 - "text"`) to standard error, which the engine shows.

    The real plugin drops these warnings; a rehearsal is where they should be seen.
    """
    text = header.partition('"')[2].rpartition('"')[0].replace('\\"', '"')
    name = arguments.get("name") or Name.of(arguments.get("body") or {}).name
    sys.stderr.write(f"warning: {kind.name} {name}: {text}\n")
    sys.stderr.flush()
