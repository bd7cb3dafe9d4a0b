"""Names of the policies about the pipeline's account. Needs no SDK and no component, so that lookups can use it."""

from __future__ import annotations

from typing import Final

API_VERSION: Final = "admissionregistration.k8s.io/v1"
POLICIES: Final = "validatingadmissionpolicies"
"""Plural of the kind; Kubernetes 1.30 or newer serves it."""
MIGRATION: Final = "migration"
BACKUP: Final = "backup"
PARTS: Final = ("deployment", "jobs", MIGRATION, BACKUP)
"""What there is a policy for; names of policies end in these."""

ACCOUNT: Final = "gitlab-deploy"
"""The ServiceAccount of the app's pipeline."""


def policy_name(namespace: str, what: str) -> str:
    """Name of a policy and its binding; they belong to the cluster, so it names the namespace."""
    return f"{namespace}-{ACCOUNT}-{what}"
