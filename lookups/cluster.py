"""Looks up what already exists in the cluster, before the first resource is registered.

pulumi_kubernetes has no function that lists objects, and its function that reads a single object records it in the
state. So this module calls the API server itself, through the official client. It uses that client's connection and
credentials but not its models, which would take a quarter of the program's start-up (docs/measurements.md).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import pulumi
from kubernetes.client import ApiClient
from kubernetes.client.rest import RESTResponse
from urllib3.exceptions import HTTPError

from lookups.answers import json_object
from lookups.cluster_client import api_client

Object = Mapping[str, Any]
"""An object in the cluster, as in its JSON."""

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_REVIEW: Final = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}

_TIMEOUT: Final = (5.0, 30.0)
"""Seconds to connect, and to wait for an answer."""


class ClusterError(pulumi.RunError):
    """The API server gives no usable answer; the message says which one, why, and what to do.

    `reason` is only the API server's answer, for a caller that has changed something before the call.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class ForbiddenError(ClusterError):
    """The kubeconfig's user may not read this."""


class Cluster:
    """One API server; only `patch` changes something. `client` is the official client for the context."""

    def __init__(self, context: str, client: ApiClient) -> None:
        self._context, self._client = context, client

    def get(self, api_version: str, resource: str, name: str, namespace: str | None = None) -> Object | None:
        """The object of that name; None if it or its API does not exist.

        `resource` is the plural, as in URL paths, e.g. `persistentvolumeclaims`. Raises `ForbiddenError` and
        `ClusterError`.
        """
        return self._ask("GET", f"{_path(api_version, resource, namespace)}/{name}")

    def list(
        self, api_version: str, resource: str, namespace: str | None = None, *, selector: str | None = None
    ) -> list[Object]:
        """Every object of the kind, by default in all namespaces; none if the API does not exist.

        `selector` filters them by label, as `kubectl get --selector` does. Raises as `get` does.
        """
        query = {"labelSelector": selector} if selector else {}
        found = self._ask("GET", _path(api_version, resource, namespace), query=query)
        return list(found["items"]) if found is not None else []

    def patch(self, api_version: str, resource: str, name: str, change: Object) -> None:
        """Merges `change` (RFC 7386) into a cluster-scoped object.

        Raises as `get` does, and `ClusterError` if the object does not exist.
        """
        path = f"{_path(api_version, resource, None)}/{name}"
        if self._ask("PATCH", path, change, kind="application/merge-patch+json") is None:
            reason = f"404: there is no {path}"
            raise ClusterError(f"The cluster {self._context}: {reason}", reason=reason)

    def serves(self, api_version: str, resource: str) -> bool:
        """Whether the API server knows the kind whose plural is `resource`. Raises as `get` does."""
        return resource in self.served(api_version)

    def served(self, api_version: str) -> Collection[str]:
        """Plurals of the kinds that the API server knows in this version; none if the API does not exist.

        Raises as `get` does.
        """
        found = self._ask("GET", f"/{'apis' if '/' in api_version else 'api'}/{api_version}")
        return {str(one["name"]) for one in found["resources"]} if found is not None else set()

    def may(self, verb: str, group: str, resource: str, namespace: str | None = None) -> bool:
        """Whether the kubeconfig's user may do this, by default in all namespaces.

        `resource` may have a subresource, e.g. `pods/log`. Raises as `get` does; `ForbiddenError` if the API server
        does not say.
        """
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace or ""}
        if "/" in resource:
            attributes["resource"], _, attributes["subresource"] = resource.partition("/")
        asked = self._ask("POST", _REVIEWS, {**_REVIEW, "spec": {"resourceAttributes": attributes}})
        if asked is None:
            raise ForbiddenError(f"The cluster {self._context} has no {_REVIEWS}")
        return bool((asked.get("status") or {}).get("allowed"))

    def _ask(
        self,
        method: str,
        path: str,
        sent: Object | None = None,
        *,
        kind: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Object | None:
        """The answer; None for 404. `kind` is the media type of `sent`."""
        headers = {"Accept": "application/json", **({"Content-Type": kind} if sent else {})}
        try:
            answer = self._request(method, path, headers, sent, query)
        # OSError: for example from a proxy, or for a missing certificate file.
        except (HTTPError, OSError) as error:
            raise ClusterError(
                f"The cluster {self._context} does not answer at {self._client.configuration.host}. Nothing was "
                f"created or changed.\n\n  {error}\n\nCheck that it runs, that this machine reaches it, and that the "
                "kubeconfig's address and certificates are right.",
                reason=str(error),
            ) from None
        body = json_object(answer.data)
        # For an API that it does not serve, the API server answers in plain text; it always serves the core API.
        if answer.status == 404 and (body is not None or not path.startswith("/api/")):
            return None
        if answer.status in {200, 201} and body is not None:
            return body
        message = (body or {}).get("message") or "the answer is not JSON, so this is not an API server"
        said = f"{answer.status}: {message}"
        where = f"The cluster {self._context} at {self._client.configuration.host}"
        if answer.status == 401:
            raise ClusterError(
                f"{where} does not know the kubeconfig's user. Nothing was created or changed.\n\n  {said}\n\n"
                "Renew the credentials in the kubeconfig, and try them with kubectl auth whoami.",
                reason=said,
            )
        refused, fix = (
            (ForbiddenError, "Grant it with a Role or ClusterRole, or set KUBECONFIG to that of another user (README).")
            if answer.status == 403
            else (ClusterError, "Try again later; else check the server's address in the kubeconfig, and any proxy.")
        )
        raise refused(
            f"{where} does not show {path}. Nothing was created or changed.\n\n  {said}\n\n{fix}", reason=said
        )

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], sent: Object | None, query: Mapping[str, str] | None
    ) -> RESTResponse:
        request = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=dict(headers),
            body=sent,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request, _request_timeout=_TIMEOUT)
        answer.read()
        return answer


def _path(api_version: str, resource: str, namespace: str | None) -> str:
    root = "apis" if "/" in api_version else "api"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/{root}/{api_version}{within}/{resource}"


def connect(context: str) -> Cluster:
    """The cluster of that context. Raises `CredentialsError` if the kubeconfig does not lead to one."""
    return Cluster(context, api_client(context, retries=1))
