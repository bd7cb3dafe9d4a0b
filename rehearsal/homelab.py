"""The names of this homelab: hosts, projects, vault, classes; the stack files and cluster/homelab.yaml use the same."""

from __future__ import annotations

from typing import Final

ZONE: Final = "rommelporras.com"
"""The Cloudflare zone."""
INTERNAL: Final = f"k8s.{ZONE}"
"""The internal domain: the internal resolver's wildcard records under it point to the Gateway."""
GITLAB: Final = f"gitlab.{INTERNAL}"
REGISTRY: Final = f"registry.{INTERNAL}"
APP_PROJECT: Final = "0xwsh/invoicetron"
"""Path of the app's GitLab project."""
INFRASTRUCTURE_PROJECT: Final = "0xwsh/invoicetron-infra"
"""Path of this repository's GitLab project."""
TUNNEL: Final = "homelab"
"""The shared Cloudflare Tunnel."""
TEAM: Final = "homelab"
"""The Zero Trust team: its login pages are at <team>.cloudflareaccess.com."""
VAULT: Final = "Kubernetes"
"""The vault in 1Password."""
STORAGE_CLASS: Final = "longhorn"
PIPELINE_IMAGE: Final = f"{REGISTRY}/{APP_PROJECT}/{{stack}}:{{tag}}"
"""The image that the app's pipeline builds."""
HOSTNAMES: Final = {"dev": f"invoices.dev.{INTERNAL}", "prod": f"invoices.{INTERNAL}"}
"""A second internal hostname for each stack, which the stack's listener serves too."""
