"""Kubernetes' SDK, its API groups loaded piece by piece: `from components.kubernetes_sdk import kubernetes`."""

from __future__ import annotations

from components.lazy_sdk import load_lazily

for _group in ("apps", "batch", "core", "meta", "rbac"):
    load_lazily(f"pulumi_kubernetes.{_group}.v1")

import pulumi_kubernetes as kubernetes  # noqa: E402 - now it finds the lazy ones

__all__ = ["kubernetes"]
