"""Off-site: encrypted copies of the backups in a bucket, by restic; CronJobs that upload, check and drill them.

The pods with the bucket's keys can reach the endpoint but no database; for the pods of the backups, it is the reverse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.availability import same_node
from components.backup import CONTAINER as CLIENT
from components.backup import DRILL_HISTORY, OFFSITE_SCRIPTS, RESULT, Backup, cron_job_spec, drill_variables
from components.database import USER_ID
from components.database_wires import DatabaseWires
from components.environment import Environment
from components.network import network_policy, to_dns, to_names
from components.offsite_bucket import MARGIN, Purpose, bucket_keys
from components.pods import (
    Footprint,
    container_resources,
    container_security,
    core,
    meta,
    pod_security,
    quantity,
    secret_variable,
)
from lookups.r2 import R2Ids, lock_rules
from lookups.secrets import S3Secrets
from sdks import kubernetes
from settings.backup import BackupSettings
from settings.bucket import COPIES
from settings.names import PROGRAM, Names
from settings.offsite import S3Settings
from settings.section import Resources

batch = kubernetes.batch.v1

CONTAINER: Final = "restic"
IMAGE: Final = "docker.io/restic/restic:0.18.1@sha256:39d9072fb5651c80d75c7a811612eb60b4c06b32ffe87c2e9f3c7222e1797e76"

_SCRIPTS: Final = Path(__file__).parent / "scripts"
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RESTIC_PASSWORD")
# The first upload of 1 GB over a line of 1 Mbit/s takes 2.2 hours.
_DEADLINE_SECONDS: Final = 6 * 3600
# restic's index cache and the packs that it is about to send: five of 16 MiB, and what a prune rewrites.
_SCRATCH: Final = "1Gi"


@dataclass(frozen=True, kw_only=True)
class OffsiteArgs:
    """Settings and wires of the off-site copies."""

    settings: BackupSettings
    s3: S3Settings
    environment: Environment
    backup: Backup
    """The backups whose volume is copied."""
    database: DatabaseWires
    """The database whose image and size the drill uses."""
    secrets: S3Secrets
    r2: R2Ids | None = None
    """Ids for the bucket that the program creates; None for the user's own bucket."""


class Offsite(pulumi.ComponentResource):
    """The copies. `upload`, `check` and `drill` are the names of the CronJobs."""

    upload: pulumi.Output[str]
    check: pulumi.Output[str]
    drill: pulumi.Output[str]

    @staticmethod
    def footprint(settings: BackupSettings | None) -> Footprint:
        """An upload, a check, a fetch and a drill at the same time; nothing if there are no copies."""
        if settings is None or settings.s3 is None:
            return Footprint()
        return Footprint.total([Footprint.of(settings.s3.resources, pods=3), Footprint.of(settings.drill_resources)])

    def __init__(self, name: str, args: OffsiteArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:offsite:Offsite", name, None, opts)
        child, environment, names = ResourceOptions(parent=self), args.environment, args.environment.names
        network_policy(
            names.offsite,
            environment=environment,
            pods={"app": names.offsite},
            egress=[to_dns(learn_names=True), to_names([args.s3.host], port=args.s3.port)],
            opts=child,
        )
        keys = bucket_keys(args.s3, args.secrets.keys, _purpose(args), environment=environment, ids=args.r2, opts=child)
        values = (*keys, args.secrets.password)
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
        pods = {
            "upload": (names.upload, args.s3.schedule, _pod(args, "upload.sh")),
            "offsite-check": (names.offsite_check, args.s3.check_schedule, _pod(args, "check-offsite.sh")),
            "offsite-drill": (names.offsite_drill, args.s3.drill_schedule, _drill_pod(args)),
        }
        self.upload, self.check, self.drill = (
            batch.CronJob(
                resource,
                metadata=environment.metadata(cron_job, app=names.offsite),
                spec=cron_job_spec(
                    args.settings,
                    schedule=schedule,
                    retries=2,
                    pod=pod,
                    deadline=_DEADLINE_SECONDS,
                    history=DRILL_HISTORY if resource == "offsite-drill" else 3,
                ),
                opts=needed,
            ).metadata.name
            for resource, (cron_job, schedule, pod) in pods.items()
        )
        self.register_outputs({"upload": self.upload, "check": self.check, "drill": self.drill})


def _purpose(args: OffsiteArgs) -> Purpose:
    """The purpose of the bucket, for when the program creates it."""
    names, r2 = args.environment.names, args.s3.r2
    rules = lock_rules(r2, args.s3.folder(names.namespace), names.owner.mark) if r2 else ()
    return Purpose(key=COPIES, resource="offsite", token=names.offsite_token, rules=tuple(rules))


def _pod(args: OffsiteArgs, script: str) -> core.PodTemplateSpecArgs:
    """A pod with the backup volume."""
    retention, names = args.s3.retention, args.environment.names
    plain = {
        "KEEP_DAILY": str(retention.daily),
        "KEEP_WEEKLY": str(retention.weekly),
        "KEEP_MONTHLY": str(retention.monthly),
        "RESULT": RESULT,
        "CRON_JOB": names.upload,
        **({"KEEP_WITHIN": f"{args.s3.r2.lock_days + MARGIN}d"} if args.s3.r2 else {}),
    }
    claim = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=names.backups_claim)
    return _template(
        names,
        containers=[_restic(args, script, plain=plain, resources=args.s3.resources)],
        volumes=[core.VolumeArgs(name="backups", persistent_volume_claim=claim), *_of_restic(names)],
        affinity=None if args.settings.nfs else same_node([names.backup, names.drill, names.offsite]),
    )


def _drill_pod(args: OffsiteArgs) -> core.PodTemplateSpecArgs:
    """A pod that fetches the newest copy and restores it into its own server; it has no backup volume."""
    resources, names = args.settings.drill_resources, args.environment.names
    limit = quantity(args.database.size.amount, binary=True)
    scratch = core.EmptyDirVolumeSourceArgs(size_limit=limit)
    mounts = {"backups": "/backups", "backup-scripts": "/scripts", "scratch": "/drill", "tmp": "/tmp"}  # noqa: S108 - the container's own
    drill = core.ContainerArgs(
        name=CLIENT,
        image=args.database.image,
        command=["sh", "/scripts/drill.sh"],
        env=[
            core.EnvVarArgs(name="PGUSER", value=args.database.administrator),
            core.EnvVarArgs(name="PGDATABASE", value=names.database_role),
            core.EnvVarArgs(name="BACKUPS", value="/backups"),
            *drill_variables("s3"),
        ],
        resources=container_resources(resources),
        security_context=container_security(read_only=True),
        volume_mounts=[core.VolumeMountArgs(name=volume, mount_path=path) for volume, path in mounts.items()],
    )
    return _template(
        names,
        # The same resources: a quota counts an init container's if they are larger.
        init_containers=[_restic(args, "fetch.sh", plain={"FETCH": "latest"}, resources=resources)],
        containers=[drill],
        volumes=[
            core.VolumeArgs(name="backups", empty_dir=scratch),
            core.VolumeArgs(name="scratch", empty_dir=scratch),
            core.VolumeArgs(name="backup-scripts", config_map=core.ConfigMapVolumeSourceArgs(name=names.backup)),
            *_of_restic(names),
        ],
    )


def _restic(args: OffsiteArgs, script: str, *, plain: Mapping[str, str], resources: Resources) -> core.ContainerArgs:
    """The container with the bucket's keys."""
    names = args.environment.names
    variables = {
        "RESTIC_REPOSITORY": args.s3.repository(names.namespace),
        "STACK": names.namespace,
        "BACKUPS": "/backups",
        "PGDATABASE": names.database_role,
        "TMPDIR": "/tmp",  # noqa: S108 - the container's own
        "RESTIC_CACHE_DIR": "/tmp/cache",  # noqa: S108 - as above
        **plain,
        **({"AWS_DEFAULT_REGION": region} if (region := args.s3.signing_region) else {}),
    }
    mounts = {"backups": "/backups", "scripts": "/scripts", "tmp": "/tmp"}  # noqa: S108 - as above
    return core.ContainerArgs(
        name=CONTAINER,
        image=IMAGE,
        command=["sh", f"/scripts/{script}"],
        env=[
            *(core.EnvVarArgs(name=variable, value=value) for variable, value in variables.items()),
            *(secret_variable(key, secret=names.offsite, key=key) for key in _KEYS),
        ],
        resources=container_resources(resources),
        security_context=container_security(read_only=True),
        volume_mounts=[core.VolumeMountArgs(name=volume, mount_path=path) for volume, path in mounts.items()],
    )


def _of_restic(names: Names) -> list[core.VolumeArgs]:
    """The volumes that restic's container needs besides the backups."""
    return [
        core.VolumeArgs(name="scripts", config_map=core.ConfigMapVolumeSourceArgs(name=names.offsite)),
        core.VolumeArgs(name="tmp", empty_dir=core.EmptyDirVolumeSourceArgs(size_limit=_SCRATCH)),
    ]


def _template(
    names: Names,
    *,
    containers: Sequence[core.ContainerArgs],
    volumes: Sequence[core.VolumeArgs],
    init_containers: Sequence[core.ContainerArgs] | None = None,
    affinity: core.AffinityArgs | None = None,
) -> core.PodTemplateSpecArgs:
    return core.PodTemplateSpecArgs(
        metadata=meta.ObjectMetaArgs(labels=names.labels(names.offsite)),
        spec=core.PodSpecArgs(
            automount_service_account_token=False,
            enable_service_links=False,
            restart_policy="Never",
            affinity=affinity,
            # The user that owns the backups.
            security_context=pod_security(user=USER_ID, group=USER_ID, volumes=True),
            init_containers=init_containers,
            containers=containers,
            volumes=volumes,
        ),
    )
