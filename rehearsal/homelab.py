"""The names of this homelab: hosts, projects, vault, classes; the stack files and cluster/homelab.yaml use the same."""

from __future__ import annotations

from typing import Final

ZONE: Final = "rommelporras.com"
"""The Cloudflare zone."""
INTERNAL: Final = f"k8s.{ZONE}"
"""Where the internal resolver's wildcards lead to the Gateway."""
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
"""What the app's pipeline builds."""
HOSTNAMES: Final = {"dev": f"invoices.dev.{INTERNAL}", "prod": f"invoices.{INTERNAL}"}
"""Another internal hostname for each stack, which its listener serves too."""
