"""Longhorn: the labels by which its volumes join groups of recurring jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

DRIVER: Final = "driver.longhorn.io"
"""Provisioner of its storage classes."""

_ENABLED: Final = "enabled"


def recurring_jobs(groups: Iterable[str]) -> dict[str, str]:
    """Labels by which a claim's volume joins these groups of recurring jobs; none for no group.

    Longhorn takes the groups from the claim only where the claim says that it is their source ("Set Up Recurring Jobs
    on PersistentVolumeClaims" of its documentation). A volume in no group is in the group `default`.
    """
    labels = {f"recurring-job-group.longhorn.io/{group}": _ENABLED for group in groups}
    return {"recurring-job.longhorn.io/source": _ENABLED, **labels} if labels else {}
