"""`cluster`: which Kubernetes cluster the stack is on."""

from __future__ import annotations

from settings.section import Section
from settings.types import DnsLabel, HttpsUrl, Name, ResourceName


class ClusterSettings(Section):
    """The Kubernetes cluster. The kubeconfig itself comes from KUBECONFIG, never from a stack file."""

    context: Name = "homelab"
    """Context in the kubeconfig; the current context is never used."""
    identifier: DnsLabel = "homelab"
    """Name under which Pulumi knows the cluster. Fixed while the stack exists: a change would replace all."""
    priority_class: ResourceName | None = None
    """PriorityClass of the app's and the database's pods; it must exist. Default: the cluster's."""
    api_url: HttpsUrl = "https://api.k8s.rommelporras.com:6443"
    """URL at which the app's pipeline reaches the API server (KUBE_API_URL)."""
