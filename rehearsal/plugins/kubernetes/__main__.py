"""The executable behind `pulumi-resource-kubernetes`."""

from __future__ import annotations

from rehearsal.plugins.base import serve
from rehearsal.plugins.kubernetes.provider import KubernetesPlugin

if __name__ == "__main__":
    serve(KubernetesPlugin())
