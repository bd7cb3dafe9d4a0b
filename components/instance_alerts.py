"""PromQL on the metrics of CloudNativePG's instances, for alerts and dashboard.

The metrics' names are those of its default queries (`cnpg_<query>_<column>`), of its collector (`cnpg_collector_...`)
and of the plugin barman-cloud. Every instance exports all of them, standbys too; some are meaningful only on the
primary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.ages import too_old
from settings.schedules import BACKUP_HOURS

_WAITING: Final = 10  # segments of 16 MB: written in 50 quiet minutes, or in a few seconds of a migration


def near_limit(namespace: str, *, share: float) -> str:
    """An instance has more than this share of its connections open."""
    opened = f'sum by (namespace, pod) (cnpg_backends_total{{namespace="{namespace}"}})'
    most = f'max by (namespace, pod) (cnpg_pg_settings_setting{{namespace="{namespace}", name="max_connections"}})'
    return f"max by (namespace) ({opened} / on (namespace, pod) {most}) > {share}"


def up(namespace: str) -> str:
    """1 for each instance whose exporter reaches its server."""
    return f'cnpg_collector_up{{namespace="{namespace}"}}'


def not_archived(namespace: str) -> str:
    """The primary's last segment was not archived, or segments pile up."""
    of = f'namespace="{namespace}"'
    failed, archived = (f"cnpg_pg_stat_archiver_last_{what}_time{{{of}}}" for what in ("failed", "archived"))
    # A former primary keeps reporting the state of its last segments.
    primary = f"cnpg_pg_replication_in_recovery{{{of}}} == 0"
    waiting = f'cnpg_collector_pg_wal_archive_status{{{of}, value="ready"}} > {_WAITING}'
    found = " or ".join(f"max by (namespace, pod) ({one})" for one in (f"{failed} > {archived}", waiting))
    return f"max by (namespace) (({found}) and on (namespace, pod) ({primary}))"


def base_backup_too_old(namespace: str) -> str:
    """No instance knows a recent enough base backup; an archive without any reports 0."""
    last = f'barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{{namespace="{namespace}"}}'
    newest = f"max by (namespace) ({last})"
    return f"{too_old(newest, hours=BACKUP_HOURS)} or {newest} == 0 or absent({last})"


def panels(namespace: str, *, rate: str) -> Mapping[str, tuple[Mapping[str, str], str | None]]:
    """The dashboard's panels: for each title, the queries by legend, and the unit."""
    of = f'namespace="{namespace}"'
    hit, read = (f"sum(rate(cnpg_pg_stat_database_blks_{part}{{{of}}}{rate}))" for part in ("hit", "read"))
    return {
        "Connections": (
            {
                "{{state}}": f"sum by (state) (cnpg_backends_total{{{of}}})",
                "limit": f'max(cnpg_pg_settings_setting{{{of}, name="max_connections"}})',
            },
            None,
        ),
        "Waiting for a lock": ({"{{pod}}": f"max by (pod) (cnpg_backends_waiting_total{{{of}}})"}, None),
        "Longest transaction": (
            {"{{state}}": f"max by (state) (cnpg_backends_max_tx_duration_seconds{{{of}}})"},
            "s",
        ),
        "Size": ({"{{datname}}": f"max by (datname) (cnpg_pg_database_size_bytes{{{of}}})"}, "bytes"),
        "Found in the cache": ({"of all blocks": f"{hit} / ({hit} + {read})"}, "percentunit"),
        "Transactions a second": (
            {part: f"sum(rate(cnpg_pg_stat_database_xact_{part}{{{of}}}{rate}))" for part in ("commit", "rollback")},
            None,
        ),
        "Behind the primary": ({"{{pod}}": f"max by (pod) (cnpg_pg_replication_lag{{{of}}})"}, "s"),
    }
