"""Checks that the stack's own state knows what exists in the cluster under the stack's name.

A second state of that name (in another backend or organization, or as a replacement for a lost one) does not know these
resources. Its `up` would take over what the first one created, and its `destroy` would delete it.
"""

from __future__ import annotations

import pulumi

from lookups.cluster import Cluster
from lookups.own_outputs import full_name, read_own_state
from settings import Settings
from settings.commands import ops_command
from settings.ownership import Owner

_NAMESPACE = "kubernetes:core/v1:Namespace"


class StateError(pulumi.RunError):
    """The stack's resources exist, but this state has none of them."""


def check_own_state(settings: Settings, cluster: Cluster) -> None:
    """Raises `StateError` in an `up`, and warns in a preview: `ops import-existing` needs one."""
    namespace = cluster.get("v1", "namespaces", settings.namespace)
    if namespace is None or Owner.of_labels(namespace["metadata"].get("labels")) != settings.names.owner:
        return  # a new stack; or made by hand, and `ownership.py` checks the owner
    if namespace["metadata"].get("deletionTimestamp"):
        return  # by a `destroy`, or by hand; `volumes.py` checks what becomes of the volumes
    if _knows_a_namespace():
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


def _knows_a_namespace() -> bool:
    # From the state as of the start of this run, including the refresh before it.
    known = read_own_state("readStackResourceOutputs", stackName=full_name())
    return any(f"{_NAMESPACE}::" in urn for urn in known)
