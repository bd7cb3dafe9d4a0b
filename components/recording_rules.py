"""Recording rules: metrics that no exporter keeps long enough or under a stable name, for alerts and dashboard."""

from __future__ import annotations

from typing import Any, Final

from components.alerts import VOLUME_USED, Watched, volume_selector

DURATION: Final = "namespace_cronjob:kube_job_duration_seconds:last"
"""Seconds that the last good Job of each CronJob took. Its label `cronjob` outlives the Jobs."""
VOLUME_BYTES: Final = "namespace_persistentvolumeclaim:kubelet_volume_stats_used_bytes:max"
"""Bytes in use on each volume, while a pod mounts it."""
BACKUP_ROWS: Final = "namespace_cronjob:backup_rows:last"
"""Rows in the last good backup, or restored by the last good drill; `ops record` writes the rule."""
BACKUP_BYTES: Final = "namespace_cronjob:backup_bytes:last"
"""Size in bytes of the last good backup's dump; `ops record` writes the rule."""
BACKUP_SECONDS: Final = "namespace_cronjob:backup_seconds:last"
"""Seconds that the last good backup or drill took; `ops record` writes the rule. DURATION also counts a run that had
nothing to do."""


def recording_rules(watched: Watched) -> list[dict[str, Any]]:
    """The rules; Prometheus must evaluate them before the alerts that read them."""
    return [*_volumes(watched), *(_duration(watched, name) for _, name, _ in watched.cron_jobs)]


def _volumes(watched: Watched) -> list[dict[str, Any]]:
    if not watched.claims:
        return []
    used, size = (f"kubelet_volume_stats_{part}_bytes{{{volume_selector(watched)}}}" for part in ("used", "capacity"))
    # Without the kubelet's labels, so that a volume stays the same series when another node mounts it.
    return [
        {"record": VOLUME_USED, "expr": f"max by (namespace, persistentvolumeclaim) ({used} / {size})"},
        {"record": VOLUME_BYTES, "expr": f"max by (namespace, persistentvolumeclaim) ({used})"},
    ]


def _duration(watched: Watched, cron_job: str) -> dict[str, Any]:
    jobs = f'namespace="{watched.namespace}", job_name=~"{cron_job}-.+"'
    # A failed Job has no completion time. While one kube-state-metrics pod replaces another, each Job has two series.
    ended, started = (
        f"max by (namespace, job_name) (kube_job_status_{part}_time{{{jobs}}})" for part in ("completion", "start")
    )
    last = f"{ended} == on (namespace) group_left max by (namespace) ({ended})"
    return {
        "record": DURATION,
        "expr": f"max by (namespace) (({last}) - {started})",
        "labels": {"cronjob": cron_job},
    }
