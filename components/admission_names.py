"""Names of the admission policies for the pipeline's account. Imports no SDK or component, so lookups can use it."""

from __future__ import annotations

from typing import Final

API_VERSION: Final = "admissionregistration.k8s.io/v1"
POLICIES: Final = "validatingadmissionpolicies"
"""Plural of the kind; Kubernetes 1.30 or newer serves it."""
MIGRATION: Final = "migration"
BACKUP: Final = "backup"
PARTS: Final = ("deployment", "jobs", MIGRATION, BACKUP)
"""What each policy is for; the policies' names end in these."""

ACCOUNT: Final = "gitlab-deploy"
"""The ServiceAccount of the app's pipeline."""


def policy_name(namespace: str, what: str) -> str:
    """Name of a policy and its binding; both are cluster-scoped, so the name contains the namespace."""
    return f"{namespace}-{ACCOUNT}-{what}"
