"""Longhorn: the labels by which its volumes join groups of recurring jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

DRIVER: Final = "driver.longhorn.io"
"""Provisioner of Longhorn's storage classes."""

_ENABLED: Final = "enabled"


def recurring_jobs(groups: Iterable[str]) -> dict[str, str]:
    """Labels with which a claim's volume joins these recurring job groups; no labels without groups.

    Longhorn reads the groups from the claim only if a label makes the claim their source ("Set Up Recurring Jobs on
    PersistentVolumeClaims" in its documentation). A volume in no group belongs to the group `default`.
    """
    labels = {f"recurring-job-group.longhorn.io/{group}": _ENABLED for group in groups}
    return {"recurring-job.longhorn.io/source": _ENABLED, **labels} if labels else {}
