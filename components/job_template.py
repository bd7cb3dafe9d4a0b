"""JobTemplate: the template of a CronJob's Jobs, as the API server returns it, with all defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import _types

from sdks import kubernetes


@dataclass(frozen=True)
class JobTemplate:
    """The part of a CronJob from which Jobs are created; computed only on access."""

    cron_job: kubernetes.batch.v1.CronJob

    @property
    def name(self) -> pulumi.Output[str]:
        """Name of the CronJob."""
        return self.cron_job.metadata.name

    @property
    def uid(self) -> pulumi.Output[str]:
        """UID of the CronJob."""
        return self.cron_job.metadata.uid

    @property
    def spec(self) -> pulumi.Output[Mapping[str, Any]]:
        """Spec of the Jobs, with the field names of the Kubernetes API."""
        return self.cron_job.spec.job_template.spec.apply(as_api)


def as_api(value: Any) -> Any:
    """An SDK output with the API's field names: `activeDeadlineSeconds`, not `active_deadline_seconds`."""
    if isinstance(value, dict):
        names = {python: api for python, api, _ in _types._py_properties(type(value))}  # noqa: SLF001 - nothing public
        # Not value.items(): a class with a field `items` hides that method.
        return {names.get(key, key): as_api(part) for key, part in dict.items(value) if part is not None}
    if isinstance(value, list):
        return [as_api(part) for part in value]
    return value
