"""Checks that the stack's own state knows what exists under the stack's name, and in the same cluster.

A second state of that name (in another backend or organization, or as a replacement for a lost one) does not know these
resources. Its `up` would take over what the first one created, and its `destroy` would delete it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi

from lookups.cluster import Cluster, Object
from lookups.own_outputs import full_name, read_own_state
from settings import Settings
from settings.commands import ops_command, pulumi_command
from settings.ownership import Owner

_NAMESPACE: Final = "kubernetes:core/v1:Namespace"
_PROVIDER: Final = "pulumi:providers:kubernetes"


class StateError(pulumi.RunError):
    """The stack's resources exist, but this state has none of them, or has them under another cluster's identifier."""


def check_own_state(settings: Settings, cluster: Cluster, *, outputs: Mapping[str, Any]) -> None:
    """Raises `StateError`. A preview only warns of a state without the namespace: `ops import-existing` needs one.

    `outputs` are the stack's; a new stack has none, and then its state is read only if its namespace exists.
    """
    namespace = cluster.get("v1", "namespaces", settings.namespace)
    exists = namespace is not None and _is_own(settings, namespace)
    if not outputs and not exists:
        return
    # As of the start of this run, including the refresh before it.
    known = read_own_state("readStackResourceOutputs", stackName=full_name())
    _check_identifier(settings, known)
    if not exists or _has_namespace(known):
        return
    told = (
        f"The namespace {settings.namespace} was made by stack {settings.stack} of {settings.project}, and the state "
        f"of {full_name()} in this backend has none of it"
    )
    if pulumi.runtime.is_dry_run():
        pulumi.log.warn(f"{told}. `up` will refuse.")
        return
    raise StateError(
        f"{told}. Nothing was created or changed.\n\n"
        "Log in to the backend and the organization with the stack's state (pulumi whoami --verbose). After an `up` "
        f"that was killed: {ops_command('recover', settings.stack)}. If the state is lost, adopt everything: "
        f"{ops_command('import-existing', settings.stack)}."
    )


def _is_own(settings: Settings, namespace: Object) -> bool:
    if namespace["metadata"].get("deletionTimestamp"):
        return False  # by a `destroy`, or by hand; `volumes.py` checks what becomes of the volumes
    # Another's, or one made by hand: `ownership.py` checks the owner.
    return Owner.of_labels(namespace["metadata"].get("labels")) == settings.names.owner


def _check_identifier(settings: Settings, known: Mapping[str, Any]) -> None:
    """With another `cluster.identifier`, the engine would replace every object, the database's claim included."""
    wanted = settings.cluster.identifier
    providers = (one.get("outputs") or {} for one in known.values() if one.get("type") == _PROVIDER)
    others = {one["clusterIdentifier"] for one in providers if "clusterIdentifier" in one} - {wanted}
    if others and _has_namespace(known):
        was = " and ".join(sorted(others))
        raise StateError(
            f"cluster.identifier is {wanted}, and the state of {full_name()} has its objects under {was}: `up` would "
            "delete and create all of them, namespace and database included. Nothing was created or changed.\n\n"
            f"Set it to {was}. To change it, copy a backup off the cluster, delete the stack with "
            f"{pulumi_command('destroy', settings.stack)}, and restore (docs/runbook/up.md, Taking prod down for good)"
        )


def _has_namespace(known: Mapping[str, Any]) -> bool:
    return any(f"{_NAMESPACE}::" in urn for urn in known)
