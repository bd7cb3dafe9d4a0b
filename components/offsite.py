"""Off-site: encrypted copies of the backups in a bucket, by restic; two CronJobs, one that uploads and one that checks.

The pods that hold the bucket's keys reach the endpoint and no database; those of the backups, the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.availability import same_node
from components.backup import OFFSITE_SCRIPTS, Backup
from components.database import USER_ID
from components.environment import Environment
from components.network import network_policy, to_dns, to_names
from components.pods import (
    Footprint,
    container_resources,
    container_security,
    core,
    meta,
    pod_security,
    secret_variable,
)
from lookups.secrets import S3Secrets
from sdks import kubernetes
from settings.backup import BackupSettings
from settings.names import PROGRAM
from settings.offsite import S3Settings

batch = kubernetes.batch.v1

CONTAINER: Final = "restic"
IMAGE: Final = "docker.io/restic/restic:0.18.1@sha256:39d9072fb5651c80d75c7a811612eb60b4c06b32ffe87c2e9f3c7222e1797e76"

_SCRIPTS: Final = Path(__file__).parent / "scripts"
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RESTIC_PASSWORD")
# The first upload of 1 GB over a line of 1 Mbit/s takes 2.2 hours.
_DEADLINE_SECONDS: Final = 6 * 3600
# restic's index cache and the packs that it is about to send: five of 16 MiB, and what a prune writes again.
_SCRATCH: Final = "1Gi"


@dataclass(frozen=True, kw_only=True)
class OffsiteArgs:
    """The section of the stack file, and what is copied."""

    settings: BackupSettings
    environment: Environment
    backup: Backup
    """Whose volume is copied."""
    secrets: S3Secrets

    @property
    def s3(self) -> S3Settings:
        """The part about the bucket; ValueError where there is none."""
        if self.settings.s3 is None:
            raise ValueError("backup.s3 is not set")
        return self.settings.s3


class Offsite(pulumi.ComponentResource):
    """The copies. `upload` and `check` are the names of the CronJobs."""

    upload: pulumi.Output[str]
    check: pulumi.Output[str]

    @staticmethod
    def footprint(settings: BackupSettings | None) -> Footprint:
        """An upload, a check and a restore that fetches, at the same time; nothing where there are no copies."""
        return Footprint.of(settings.s3.resources, pods=3) if settings and settings.s3 else Footprint()

    def __init__(self, name: str, args: OffsiteArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:offsite:Offsite", name, None, opts)
        child, environment, names = ResourceOptions(parent=self), args.environment, args.environment.names
        network_policy(
            names.offsite,
            environment=environment,
            pods={"app": names.offsite},
            egress=[to_dns(), to_names([args.s3.host], port=args.s3.port)],
            opts=child,
        )
        values = (args.secrets.access_key, args.secrets.secret_key, args.secrets.password)
        secret = core.Secret(
            "offsite-keys",
            metadata=environment.metadata(names.offsite),
            string_data=dict(zip(_KEYS, values, strict=True)),
            opts=child,
        )
        scripts = core.ConfigMap(
            "offsite-scripts",
            metadata=environment.metadata(names.offsite),
            data={each: (_SCRIPTS / each).read_text(encoding="utf-8") for each in ("common.sh", *OFFSITE_SCRIPTS)},
            opts=child,
        )
        needed = ResourceOptions(parent=self, depends_on=[secret, scripts, args.backup])
        crons = {
            script: batch.CronJob(
                resource,
                metadata=environment.metadata(cron_job, app=names.offsite),
                spec=_cron_job(args, schedule, script),
                opts=needed,
            )
            for resource, cron_job, schedule, script in (
                ("upload", names.upload, args.s3.schedule, "upload.sh"),
                ("offsite-check", names.offsite_check, args.s3.check_schedule, "check-offsite.sh"),
            )
        }
        self.upload = crons["upload.sh"].metadata.name
        self.check = crons["check-offsite.sh"].metadata.name
        self.register_outputs({"upload": self.upload, "check": self.check})


def _cron_job(args: OffsiteArgs, schedule: str, script: str) -> batch.CronJobSpecArgs:
    return batch.CronJobSpecArgs(
        schedule=schedule,
        time_zone=args.settings.time_zone,
        suspend=False,
        concurrency_policy="Forbid",
        starting_deadline_seconds=12 * 3600,
        successful_jobs_history_limit=3,
        failed_jobs_history_limit=3,
        job_template=batch.JobTemplateSpecArgs(
            spec=batch.JobSpecArgs(
                backoff_limit=2, active_deadline_seconds=_DEADLINE_SECONDS, template=_pod(args, script)
            )
        ),
    )


def _pod(args: OffsiteArgs, script: str) -> core.PodTemplateSpecArgs:
    retention, names = args.s3.retention, args.environment.names
    repository = args.s3.repository(names.namespace)
    plain = {
        "RESTIC_REPOSITORY": repository,
        "STACK": names.namespace,
        "BACKUPS": "/backups",
        "PGDATABASE": names.database_role,
        "TMPDIR": "/tmp",  # noqa: S108 - the container's own
        "RESTIC_CACHE_DIR": "/tmp/cache",  # noqa: S108 - as above
        "KEEP_DAILY": str(retention.daily),
        "KEEP_WEEKLY": str(retention.weekly),
        "KEEP_MONTHLY": str(retention.monthly),
        **({"AWS_DEFAULT_REGION": args.s3.region} if args.s3.region else {}),
    }
    mounts = {"backups": "/backups", "scripts": "/scripts", "tmp": "/tmp"}  # noqa: S108 - as above
    claim = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=names.backups_claim)
    container = core.ContainerArgs(
        name=CONTAINER,
        image=IMAGE,
        command=["sh", f"/scripts/{script}"],
        env=[
            *(core.EnvVarArgs(name=variable, value=value) for variable, value in plain.items()),
            *(secret_variable(key, secret=names.offsite, key=key) for key in _KEYS),
        ],
        resources=container_resources(args.s3.resources),
        security_context=container_security(read_only=True),
        volume_mounts=[core.VolumeMountArgs(name=volume, mount_path=path) for volume, path in mounts.items()],
    )
    return core.PodTemplateSpecArgs(
        metadata=meta.ObjectMetaArgs(labels=names.labels(names.offsite)),
        spec=core.PodSpecArgs(
            automount_service_account_token=False,
            enable_service_links=False,
            restart_policy="Never",
            affinity=None if args.settings.nfs else same_node([names.backup, names.drill, names.offsite]),
            # The account that the backups belong to.
            security_context=pod_security(user=USER_ID, group=USER_ID, volumes=True),
            containers=[container],
            volumes=[
                core.VolumeArgs(name="backups", persistent_volume_claim=claim),
                core.VolumeArgs(name="scripts", config_map=core.ConfigMapVolumeSourceArgs(name=names.offsite)),
                core.VolumeArgs(name="tmp", empty_dir=core.EmptyDirVolumeSourceArgs(size_limit=_SCRATCH)),
            ],
        ),
    )
