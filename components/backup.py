"""Backup: a volume for dumps of the database, and three CronJobs: back up, test the newest backup, restore one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.availability import same_node
from components.database import MOUNT, START_HOOK, USER_ID
from components.database_address import DatabaseAddress
from components.database_wires import DatabaseWires, NextVersion
from components.environment import Environment
from components.job_template import JobTemplate
from components.longhorn import recurring_jobs
from components.network import network_policy, to_dns, to_pods
from components.pods import (
    NEVER,
    PATCH_FORCE,
    Footprint,
    container_resources,
    container_security,
    core,
    label_variable,
    meta,
    pod_security,
    quantity,
)
from components.retained_volume import RetainedVolume
from sdks import kubernetes
from settings.backup import BackupSettings
from settings.names import PROGRAM
from settings.section import Resources

batch = kubernetes.batch.v1

OFFSITE_SCRIPTS: Final = ("check-offsite.sh", "fetch.sh", "offsite.sh", "upload.sh")
CONTAINER: Final = "postgresql-client"
UPLOAD: Final = "/upload"
"""Folder in the restore's container for a file from outside."""
DRILL_HISTORY: Final = 8
"""Number of drills whose results are kept: two months' if they run weekly."""
RESULT: Final = "/dev/termination-log"
"""File in a container whose content Kubernetes keeps in the pod's status."""

_HOURLY: Final = "0 * * * *"
_SCRIPTS: Final = Path(__file__).parent / "scripts"
# A dump of 1 GB takes half a minute at full speed; with half a core and a slow volume still far less than the deadline.
_DEADLINE_SECONDS: Final = 3600
# For half a day, Kubernetes makes up for a missed run (the cluster was down at three) instead of skipping it.
_CATCH_UP_SECONDS: Final = 12 * 3600


@dataclass(frozen=True, kw_only=True)
class BackupArgs:
    """Settings and wires of the backups."""

    settings: BackupSettings
    environment: Environment
    database: DatabaseWires
    target: DatabaseWires | None = None
    """The database that `ops move-database` is to fill; None if nothing moves, or the move is done."""


class Backup(pulumi.ComponentResource):
    """The backups, and the drill that tests them."""

    pods: Mapping[str, str]
    """Labels of the pods that must reach the database."""
    watched_claims: Sequence[pulumi.Output[str]]
    """Claims whose fill level the alerts watch; none for an NFS export, which others fill, too."""
    backup: pulumi.Output[str]
    """Name of the CronJob that takes the backups."""
    template: JobTemplate
    """The template of the backup Jobs."""
    drill: pulumi.Output[str]
    """Name of the CronJob that tests the backups."""

    @staticmethod
    def footprint(settings: BackupSettings | None) -> Footprint:
        """A backup, a drill and a restore at the same time; nothing if the stack has no backups."""
        if settings is None:
            return Footprint()
        return Footprint.total([Footprint.of(settings.resources, pods=2), Footprint.of(settings.drill_resources)])

    def __init__(self, name: str, args: BackupArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:backup:Backup", name, None, opts)
        settings, environment, names = args.settings, args.environment, args.environment.names
        child = ResourceOptions(parent=self)
        self.pods = {"app": names.backup}
        servers = args.database, args.target, args.database.recovered
        network_policy(
            names.backup,
            environment=environment,
            pods=self.pods,
            egress=[
                to_dns(),
                *(to_pods(one.pods, port=one.port) for one in servers if one),
            ],
            opts=child,
        )
        network_policy(names.drill, environment=environment, pods={"app": names.drill}, opts=child)
        scripts = core.ConfigMap(
            "backup-scripts",
            metadata=environment.metadata(names.backup),
            data={path.name: path.read_text(encoding="utf-8") for path in _files()},
            opts=child,
        )
        claim = self._claim(args)
        if environment.protect and settings.nfs is None:
            RetainedVolume(
                "backup-volume-retained",
                context=environment.context,
                namespace=environment.namespace,
                claim=claim.metadata.name,
                opts=ResourceOptions(parent=self, depends_on=[claim]),
            )
        needed = ResourceOptions(parent=self, depends_on=[scripts, claim])
        connection = args.database.connection(patience=30)
        owner, administrator = args.database.owner, args.database.administrator
        owned = [core.EnvVarArgs(name="OWNER", value=owner)] if owner != administrator else []
        retention = settings.retention
        keep = {"KEEP_DAILY": retention.daily, "KEEP_WEEKLY": retention.weekly, "KEEP_MONTHLY": retention.monthly}
        kept = [core.EnvVarArgs(name=variable, value=str(value)) for variable, value in keep.items()]
        # For the manifest, unless the creator of the Job sets something better, as `ops backup` does.
        kept.append(label_variable("TAKEN_BY", label="batch.kubernetes.io/job-name"))
        if settings.schedule is None:
            kept.append(core.EnvVarArgs(name="HOURLY_IF_SMALL", value="true"))
        if settings.s3 is not None:
            kept.append(core.EnvVarArgs(name="DUMP_COMPRESSION", value="none"))
        said = core.EnvVarArgs(name="RESULT", value=RESULT)
        backup = batch.CronJob(
            "backup",
            metadata=environment.metadata(names.backup),
            spec=cron_job_spec(
                settings,
                schedule=settings.schedule or _HOURLY,
                retries=2,
                pod=_pod(args, "backup.sh", app=names.backup, env=[*connection, *kept, said]),
            ),
            opts=needed,
        )
        drill = batch.CronJob(
            "drill",
            metadata=environment.metadata(names.drill),
            spec=cron_job_spec(
                settings, schedule=settings.drill_schedule, retries=1, pod=_drill_pod(args), history=DRILL_HISTORY
            ),
            opts=needed,
        )
        batch.CronJob(
            "restore",
            metadata=environment.metadata(names.restore, app=names.backup),
            spec=cron_job_spec(
                settings,
                schedule=NEVER,
                retries=0,
                suspended=True,
                pod=_pod(
                    args,
                    "restore.sh",
                    app=names.backup,
                    env=[*connection, *kept, *owned, core.EnvVarArgs(name="UPLOAD", value=UPLOAD)],
                    scratch=UPLOAD,
                ),
            ),
            opts=needed,
        )
        if args.target is not None:
            self._move(args, args.target, kept, needed)
        if args.database.next is not None:
            self._upgrade(args, args.database.next, [*connection, *kept, said], needed)
        self.watched_claims = [] if settings.nfs else [claim.metadata.name]
        self.template = JobTemplate(backup)
        self.backup, self.drill = backup.metadata.name, drill.metadata.name
        self.register_outputs({"claim": claim.metadata.name, "backup": self.backup, "drill": self.drill})

    def _move(
        self, args: BackupArgs, target: DatabaseWires, kept: list[core.EnvVarArgs], opts: ResourceOptions
    ) -> None:
        """Template of `ops move-database`'s Job: a restore into the other database, from a backup of this one."""
        names, source = args.environment.names, args.database
        env = [
            *target.connection(patience=30),
            *source.connection(patience=30, prefix="SOURCE_"),
            core.EnvVarArgs(name="SOURCE_PGUSER", value=source.administrator),
            core.EnvVarArgs(name="OWNER", value=target.owner),
            core.EnvVarArgs(name="UPLOAD", value=UPLOAD),
            *kept,
        ]
        batch.CronJob(
            "move",
            metadata=args.environment.metadata(names.move, app=names.backup),
            spec=cron_job_spec(
                args.settings,
                schedule=NEVER,
                retries=0,
                suspended=True,
                pod=_pod(replace(args, database=target), "move.sh", app=names.backup, env=env, scratch=UPLOAD),
            ),
            opts=opts,
        )

    def _upgrade(
        self, args: BackupArgs, following: NextVersion, env: list[core.EnvVarArgs], opts: ResourceOptions
    ) -> None:
        """Template of `ops upgrade`'s Job: a server of the next version, filled from the current server."""
        pod = _pod(
            args,
            "upgrade.sh",
            app=args.environment.names.backup,
            env=[*env, core.EnvVarArgs(name="UPLOAD", value=UPLOAD), core.EnvVarArgs(name="VOLUME", value=MOUNT)],
            scratch=UPLOAD,
            following=following,
        )
        batch.CronJob(
            "upgrade",
            metadata=args.environment.metadata(args.environment.names.upgrade, app=args.environment.names.backup),
            spec=cron_job_spec(args.settings, schedule=NEVER, retries=0, suspended=True, pod=pod),
            opts=opts,
        )

    def _claim(self, args: BackupArgs) -> core.PersistentVolumeClaim:
        settings, environment, names = args.settings, args.environment, args.environment.names
        kept = ResourceOptions(
            parent=self,
            protect=environment.protect,
            retain_on_delete=environment.protect,
            # The cluster assigns it; an imported claim has it, and dropping it would replace the claim.
            ignore_changes=[] if settings.nfs else ["spec.volumeName"],
        )
        storage = {"storage": quantity(settings.size.amount, binary=True)}
        spec = core.PersistentVolumeClaimSpecArgs(
            storage_class_name=settings.storage_class,
            access_modes=["ReadWriteOnce"],
            resources=core.VolumeResourceRequirementsArgs(requests=storage),
        )
        if settings.nfs is not None:
            spec.storage_class_name, spec.access_modes = "", ["ReadWriteMany"]
            # Not an NFS volume in the pod, which the pod-security level `restricted` forbids.
            volume = core.PersistentVolume(
                "backup-export",
                metadata=meta.ObjectMetaArgs(
                    name=names.backups_export,
                    labels={**names.labels(names.backup), **names.owner_labels},
                    annotations=PATCH_FORCE,
                ),
                spec=core.PersistentVolumeSpecArgs(
                    capacity=storage,
                    access_modes=spec.access_modes,
                    persistent_volume_reclaim_policy="Retain",
                    # No storage_class_name: the API server drops an empty one, and every `up` would add it again.
                    claim_ref=core.ObjectReferenceArgs(namespace=environment.namespace, name=names.backups_claim),
                    nfs=core.NFSVolumeSourceArgs(server=settings.nfs.server, path=settings.nfs.path),
                ),
                opts=kept,
            )
            spec.volume_name = volume.metadata.name
        labels = recurring_jobs(settings.recurring_job_groups)
        metadata = environment.metadata(names.backups_claim, app=names.backup, labels=labels)
        return core.PersistentVolumeClaim("backup-volume", metadata=metadata, spec=spec, opts=kept)


def _files() -> list[Path]:
    """The scripts of this component; those of the database and of its exporter are in their own pods."""
    others = {*START_HOOK, "create-monitor-role.sh", *OFFSITE_SCRIPTS}
    return sorted(path for path in _SCRIPTS.iterdir() if path.name not in others)


def cron_job_spec(
    settings: BackupSettings,
    *,
    schedule: str,
    retries: int,
    pod: core.PodTemplateSpecArgs,
    deadline: int = _DEADLINE_SECONDS,
    suspended: bool = False,
    history: int = 3,
) -> batch.CronJobSpecArgs:
    """A CronJob whose Jobs work on the backups or on copies. `deadline` is in seconds, for all attempts together."""
    return batch.CronJobSpecArgs(
        schedule=schedule,
        time_zone=settings.time_zone,
        suspend=suspended,
        concurrency_policy="Forbid",
        starting_deadline_seconds=_CATCH_UP_SECONDS,
        successful_jobs_history_limit=history,
        failed_jobs_history_limit=3,
        job_template=batch.JobTemplateSpecArgs(
            spec=batch.JobSpecArgs(backoff_limit=retries, active_deadline_seconds=deadline, template=pod)
        ),
    )


def drill_variables(origin: str) -> list[core.EnvVarArgs]:
    """The variables that drill.sh reads besides the common ones; `origin` is where the backup comes from."""
    values = {"DRILL": "/drill", "DRILLED_FROM": origin, "RESULT": RESULT}
    return [core.EnvVarArgs(name=variable, value=value) for variable, value in values.items()]


def _drill_pod(args: BackupArgs) -> core.PodTemplateSpecArgs:
    env = drill_variables("volume")
    return _pod(
        args,
        "drill.sh",
        app=args.environment.names.drill,
        env=env,
        scratch="/drill",
        resources=args.settings.drill_resources,
        read_only=True,
    )


def _pod(
    args: BackupArgs,
    script: str,
    *,
    app: str,
    env: list[core.EnvVarArgs],
    scratch: str | None = None,
    resources: Resources | None = None,
    read_only: bool = False,
    following: NextVersion | None = None,
) -> core.PodTemplateSpecArgs:
    """A pod that runs one script and ends.

    `scratch` is a folder for as much data as the database's volume holds; `read_only` applies to the backups.
    `following` is the version of PostgreSQL whose server runs in the pod, on that version's volume.
    """
    names = args.environment.names
    address = DatabaseAddress.of(names)
    mounts = {"backups": "/backups", "scripts": "/scripts", "tmp": "/tmp"}  # noqa: S108 - the container's own
    claim = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=names.backups_claim)
    volumes = [
        core.VolumeArgs(name="backups", persistent_volume_claim=claim),
        core.VolumeArgs(name="scripts", config_map=core.ConfigMapVolumeSourceArgs(name=names.backup)),
        core.VolumeArgs(name="tmp", empty_dir=core.EmptyDirVolumeSourceArgs(size_limit="64Mi")),
    ]
    if scratch is not None:
        mounts["scratch"] = scratch
        limit = quantity(args.database.size.amount, binary=True)
        volumes.append(core.VolumeArgs(name="scratch", empty_dir=core.EmptyDirVolumeSourceArgs(size_limit=limit)))
    if following is not None:
        mounts["data"] = MOUNT
        data = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=following.claim)
        volumes.append(core.VolumeArgs(name="data", persistent_volume_claim=data))
        resources = following.resources
    sharing = [names.backup, names.drill, *([names.offsite] if args.settings.s3 else [])]
    client_mounts: list[core.VolumeMountArgs] = []
    if app != names.drill:  # the drill has its own server
        volumes += args.database.client_volumes
        client_mounts = args.database.client_mounts
    container = core.ContainerArgs(
        name=CONTAINER,
        image=following.image if following else args.database.image,
        command=["sh", f"/scripts/{script}", *(following.parameters if following else [])],
        env=[
            core.EnvVarArgs(name="PGUSER", value=args.database.administrator),
            core.EnvVarArgs(name="PGDATABASE", value=address.database),
            core.EnvVarArgs(name="BACKUPS", value="/backups"),
            *env,
        ],
        resources=container_resources(resources or args.settings.resources),
        security_context=container_security(read_only=True),
        volume_mounts=[
            core.VolumeMountArgs(name=volume, mount_path=path, read_only=(read_only and volume == "backups") or None)
            for volume, path in mounts.items()
        ]
        + client_mounts,
    )
    return core.PodTemplateSpecArgs(
        metadata=meta.ObjectMetaArgs(labels=names.labels(app)),
        spec=core.PodSpecArgs(
            automount_service_account_token=False,
            enable_service_links=False,
            restart_policy="Never",
            # An NFS export can be mounted on any number of nodes.
            affinity=None if args.settings.nfs else same_node(sharing),
            security_context=pod_security(user=USER_ID, group=USER_ID, volumes=True),
            containers=[container],
            volumes=volumes,
        ),
    )
