"""CloudNativePG's operator and its plugin barman-cloud, as the cluster of the unit tests has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OPERATOR_DEPLOYMENT: Final[Mapping[str, Any]] = {
    "metadata": {"name": "cnpg-controller-manager", "labels": {"app.kubernetes.io/name": "cloudnative-pg"}},
    "spec": {"template": {"spec": {"containers": [{"image": "ghcr.io/cloudnative-pg/cloudnative-pg:1.28.1"}]}}},
    "status": {"availableReplicas": 1},
}
"""CloudNativePG's operator, as it is in the cluster."""
PLUGIN_SERVICE: Final[Mapping[str, Any]] = {"spec": {"selector": {"app": "barman-cloud"}}}
PLUGIN_DEPLOYMENT: Final[Mapping[str, Any]] = {
    "metadata": {"name": "barman-cloud", "labels": {"app": "barman-cloud"}},
    "spec": {"template": {"metadata": {"labels": {"app": "barman-cloud"}}}},
    "status": {"availableReplicas": 1},
}
"""Its plugin barman-cloud, as in the plugin's own manifest."""
LISTED: Final[Mapping[str, list[Mapping[str, Any]]]] = {
    "deployments": [OPERATOR_DEPLOYMENT, PLUGIN_DEPLOYMENT],
    "services": [PLUGIN_SERVICE],
}
"""What the cluster returns when all objects of a kind are listed."""
