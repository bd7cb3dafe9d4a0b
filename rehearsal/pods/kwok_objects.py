"""Tells kwok about the logs and commands of a pod that really runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubernetes.client.exceptions import ApiException

from rehearsal.pods.postgres import PostgresServer

_KWOK: Final = {"group": "kwok.x-k8s.io", "version": "v1alpha1"}
_PLURALS: Final = {"Exec": "execs", "Logs": "logs"}


def as_account(variables: Mapping[str, str], server: PostgresServer) -> dict[str, Any]:
    """How kwok runs a command in a pod: with these variables, as the account that the server runs as."""
    local: dict[str, Any] = {"envs": [{"name": name, "value": value} for name, value in variables.items()]}
    if server.account:
        local["securityContext"] = {"runAsUser": server.account["user"], "runAsGroup": server.account["group"]}
    return local


def tell_kwok(
    custom: Any,
    namespace: str,
    pod: str,
    kind: str,
    spec: Mapping[str, Any],
    *,
    owners: Sequence[Mapping[str, str]] = (),
) -> None:
    """Creates the object of this kind for a pod, or changes the existing one."""
    where = {**_KWOK, "namespace": namespace, "plural": _PLURALS[kind]}
    body = {
        "apiVersion": "{group}/{version}".format_map(_KWOK),
        "kind": kind,
        "metadata": {"name": pod, "ownerReferences": list(owners)},
        "spec": spec,
    }
    try:
        custom.create_namespaced_custom_object(**where, body=body)
    except ApiException as error:
        if error.status != 409:
            raise
        custom.patch_namespaced_custom_object(**where, name=pod, body={"spec": spec})
