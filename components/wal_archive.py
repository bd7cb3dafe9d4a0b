"""WalArchive: where CloudNativePG's plugin barman-cloud keeps the write-ahead log and the base backups of a Cluster.

The plugin adds a container to each instance, which archives the log and takes the base backups. Nothing is encrypted on
the cluster's side: the database is written to the bucket as it is (docs/decisions/31-write-ahead-log.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi import ResourceOptions

from components.environment import Environment
from components.network import Rule, to_names
from components.offsite_bucket import BucketSecrets, Purpose, bucket_keys
from components.pods import core, quantities
from lookups.r2 import R2Ids, no_lock
from sdks import kubernetes
from settings.bucket import ARCHIVE
from settings.names import PROGRAM, Names
from settings.wal import WalSettings

API: Final = "barmancloud.cnpg.io/v1"
RESOURCE: Final = "objectstores"
PLUGIN: Final = "barman-cloud.cloudnative-pg.io"
"""The plugin's name, under which the operator knows it."""
PLUGIN_LABEL: Final = "cnpg.io/pluginName"
"""Label of a plugin's Service in the operator's namespace, by which the operator finds it."""
BACKUPS_API: Final = "postgresql.cnpg.io/v1"
BACKUPS_KIND: Final = "ScheduledBackup"
BACKUPS_RESOURCE: Final = "scheduledbackups"

_ACCESS_KEY: Final = "access-key"
_SECRET_KEY: Final = "secret-key"  # noqa: S105 - the key in the Secret
_REGION: Final = "region"
# Endpoints other than Amazon's refuse the checksums that its SDK sends by default, or do not need them (the plugin's
# documentation, "Object Store Providers").
_CHECKSUMS: Final = ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION")


@dataclass(frozen=True, kw_only=True)
class WalArchiveArgs:
    """The section of the stack file, and the keys or ids for its bucket."""

    settings: WalSettings
    environment: Environment
    secrets: BucketSecrets
    r2: R2Ids | None = None
    """Ids for the bucket, if the program creates it."""


class WalArchive(pulumi.ComponentResource):
    """The ObjectStore and the Secret with its keys; the Cluster refers to it by `plugin`."""

    plugin: dict[str, Any]
    """Entry for the Cluster's `plugins`."""

    def __init__(self, name: str, args: WalArchiveArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:wal_archive:WalArchive", name, None, opts)
        environment, names, bucket = args.environment, args.environment.names, args.settings.s3
        purpose = Purpose(key=ARCHIVE, resource="wal", token=names.wal_token, rules=tuple(no_lock(names.owner.mark)))
        access_key, secret_key = bucket_keys(
            bucket, args.secrets, purpose, environment=environment, ids=args.r2, opts=ResourceOptions(parent=self)
        )
        keys = core.Secret(
            "wal-keys",
            metadata=environment.metadata(names.wal, app=names.database),
            string_data=pulumi.Output.secret(
                {
                    _ACCESS_KEY: access_key,
                    _SECRET_KEY: secret_key,
                    **({_REGION: region} if (region := bucket.signing_region) else {}),
                }
            ),
            opts=ResourceOptions(parent=self),
        )
        kubernetes.apiextensions.CustomResource(
            "wal-store",
            api_version=API,
            kind="ObjectStore",
            metadata=environment.metadata(names.database),
            spec=_store(args.settings, names),
            opts=ResourceOptions(parent=self, depends_on=[keys]),
        )
        self.plugin = {
            "name": PLUGIN,
            "enabled": True,
            "isWALArchiver": True,
            "parameters": {"barmanObjectName": names.database, "serverName": archive(args.settings, names)},
        }
        self.register_outputs({})


def archive(settings: WalSettings, names: Names) -> str:
    """Name of the archive: its folder below the bucket's path."""
    return settings.archive or names.database


def way_out(settings: WalSettings) -> Rule:
    """Egress rule for the instances' network policy; its DNS rule must have `learn_names` set."""
    return to_names([settings.s3.host], port=settings.s3.port)


def scheduled_backup(settings: WalSettings, names: Names) -> dict[str, Any]:
    """Spec of the ScheduledBackup: base backups, the first one at once, because a recovery needs one."""
    return {
        "schedule": f"0 {settings.schedule}",  # the operator's schedules begin with the seconds
        "immediate": True,
        # The Backup objects describe the Cluster and are deleted with it; the backups themselves stay in the bucket.
        "backupOwnerReference": "cluster",
        "cluster": {"name": names.database},
        "method": "plugin",
        "pluginConfiguration": {"name": PLUGIN},
    }


def _store(settings: WalSettings, names: Names) -> dict[str, Any]:
    bucket = settings.s3
    asked = bucket.server_side_encryption
    # R2 only accepts a base backup in parts of equal size. With gzip they are: Python's tarfile writes it in blocks.
    # What barman compresses itself (snappy, lz4) comes in parts of different sizes (barman issue 954).
    form = {"compression": "gzip", **({} if asked == "bucket-default" else {"encryption": asked})}
    keys = {
        "accessKeyId": _ACCESS_KEY,
        "secretAccessKey": _SECRET_KEY,
        **({"region": _REGION} if bucket.signing_region else {}),
    }
    return {
        "configuration": {
            "destinationPath": bucket.path(names.namespace),
            "endpointURL": bucket.url,
            "s3Credentials": {credential: {"name": names.wal, "key": key} for credential, key in keys.items()},
            "wal": form,
            "data": form,
        },
        "retentionPolicy": f"{settings.retention_days}d",
        "instanceSidecarConfiguration": {
            "env": [{"name": variable, "value": "when_required"} for variable in _CHECKSUMS],
            "resources": {
                "requests": quantities(settings.resources.requests),
                "limits": quantities(settings.resources.limits),
            },
        },
    }
