"""Database: PostgreSQL with its own volume, and a role whose password is set from the Secret at each start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pulumi
from pulumi import ResourceOptions

from components.availability import disruption_budget, lost_node_tolerations
from components.database_address import DatabaseAddress
from components.database_claims import FIRST_WITH_OWN_FOLDER, MAJOR, DatabaseClaims
from components.database_wires import DatabaseWires, NextVersion
from components.environment import Environment
from components.longhorn import recurring_jobs
from components.offsite_bucket import BucketSecrets
from components.pods import (
    Footprint,
    SecretData,
    container_resources,
    container_security,
    core,
    meta,
    pod_security,
    quantity,
    secret_variable,
)
from components.retained_volume import RetainedVolume
from lookups.r2 import R2Ids
from sdks import kubernetes
from settings.database import DatabaseSettings
from settings.images import postgres_major
from settings.names import PROGRAM

if TYPE_CHECKING:
    from components.database_tls import DatabaseTls

USER_ID: Final = 70
"""User and group `postgres` in the alpine images."""
PASSWORD_KEY: Final = "postgres-password"  # noqa: S105 - the key in the Secret, not a password

CONTAINER: Final = "postgresql"
"""Name of the server's container."""

MOUNT: Final = "/var/lib/postgresql"
"""Mount path of the volume: the parent of the data directory, which images since 18 name after the version."""

_SCRIPTS: Final = Path(__file__).parent / "scripts"
_GRACE_SECONDS: Final = 60
SHUTDOWN: Final = ["pg_ctl", "stop", "--mode=fast", "--wait", f"--timeout={_GRACE_SECONDS - 10}"]
"""Ends every session and writes at most the 128 MB of shared buffers."""


START_HOOK: Final = ("set-role-password.sh", "count-statements.sh", "include-rules.sh")
"""Scripts that only the server's own pod runs."""

STATEMENTS: Final = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track_utility": "off"}
"""Parameters with which the server counts statements. It keeps their texts without constants, but would keep those of
utility statements, which define, copy or set something, unchanged."""


def set_role_password(*, rules: str | None = None, statements: bool = False) -> list[str]:
    """Command that runs beside the server at each start.

    It contains the script, and the statements that make a new database's role an owner without SUPERUSER. If the script
    were in a ConfigMap, a change would not restart the pod by itself. `rules` is a file of rules for pg_hba.conf;
    `statements` says whether the server counts statements.
    """
    script, hand_over = without_comments("set-role-password.sh", "#"), without_comments("hand-over.sql", "--")
    command = ["sh", "-c", script, "set-role-password", "/proc/1/fd/2", hand_over]
    if statements:
        command[2] += without_comments("count-statements.sh", "#")
    if rules is not None:
        command[2] += without_comments("include-rules.sh", "#")
        command.append(rules)
    return command


def without_comments(script: str, mark: str) -> str:
    """The text of a script without its comment lines, so that a changed comment restarts nothing."""
    lines = (_SCRIPTS / script).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() and not line.lstrip().startswith(mark))


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """Settings and wires of the database."""

    settings: DatabaseSettings
    environment: Environment
    secret: SecretData
    """Has the key PASSWORD_KEY."""
    claims: DatabaseClaims
    """The claims that exist, and those to create."""
    alone: bool = True
    """False while a database of the other engine exists: both would use the same name for the PodDisruptionBudget, and
    CloudNativePG's operator deletes one of that name that it does not own."""
    wal: BucketSecrets | None = None
    """Keys of the bucket for the write-ahead log; None without an archive."""
    wal_r2: R2Ids | None = None
    """Ids for the bucket of the archive, if the program creates it."""
    statements: bool = False
    """Whether the server counts what each statement costs, for postgres_exporter."""


class Database(DatabaseWires):
    """The server, with its volume and its Secret."""

    @staticmethod
    def footprint(settings: DatabaseSettings | None) -> Footprint:
        """One pod, as a StatefulSet stops the old one before it starts the new one; nothing without a database.

        During an upgrade there is a second pod, in which the next version's server is filled.
        """
        return Footprint.of(settings.resources, pods=2 if settings.upgrade else 1) if settings else Footprint()

    def __init__(self, name: str, args: DatabaseArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:database:Database", name, None, opts)
        settings, environment, names = args.settings, args.environment, args.environment.names
        address, selector = DatabaseAddress.of(names), {"app": names.database}
        tls = _tls(args, ResourceOptions(parent=self))
        secret = core.Secret(
            "database-secret",
            metadata=environment.metadata(names.database),
            type="Opaque",  # explicit: a Secret made by hand has it, and dropping it would replace the Secret
            string_data={key: pulumi.Output.secret(value) for key, value in args.secret.values.items()},
            opts=ResourceOptions(parent=self),
        )
        service = core.Service(
            "database-service",
            metadata=environment.metadata(names.database),
            spec=core.ServiceSpecArgs(
                cluster_ip="None",
                selector=selector,
                ports=[core.ServicePortArgs(name="postgresql", port=address.port, target_port="postgresql")],
            ),
            opts=ResourceOptions(parent=self),
        )
        claims = args.claims
        for kept, major in claims.kept.items():
            self._retained(args, kept, self._claim(args, kept, major))
        claim = self._claim(args, claims.current, str(postgres_major(settings.image)))
        if settings.upgrade is not None and claims.next is not None:
            following = postgres_major(settings.upgrade.image)
            self.next = NextVersion(
                image=settings.upgrade.image,
                claim=self._claim(args, claims.next, str(following), holds_data=False).metadata.name,
                resources=settings.resources,
                parameters=_parameters(settings),
            )
        stateful_set = kubernetes.apps.v1.StatefulSet(
            "database",
            metadata=environment.metadata(names.database),
            spec=kubernetes.apps.v1.StatefulSetSpecArgs(
                service_name=names.database,
                replicas=1,
                # A single replica needs no order, and otherwise a corrected template would not replace a pod that never
                # became ready.
                pod_management_policy="Parallel",
                # The API's default, explicit: an imported or recovered StatefulSet has it, and dropping it would
                # replace the StatefulSet.
                revision_history_limit=10,
                selector=meta.LabelSelectorArgs(match_labels=selector),
                template=_pod(args, tls),
            ),
            opts=ResourceOptions(parent=self, protect=environment.protect, depends_on=[secret, service, claim]),
        )
        if args.alone:
            disruption_budget(
                "database-disruption-budget",
                name=names.database,
                environment=environment,
                pods=selector,
                opts=ResourceOptions(parent=self),
            )
        # Derived from the StatefulSet, so that resources that use the host wait until the server is ready.
        self.host = stateful_set.spec.service_name
        self.port = service.spec.ports[0].port
        self.pods, self.ingress, self.egress = selector, (), ()
        self.administrator = self.owner = address.user
        self.secret, self.password_key = secret.metadata.name, PASSWORD_KEY
        self.container, self.watched_pods, self.instances = CONTAINER, None, 1
        self.image, self.size = settings.image, settings.size
        self.claim = claim.metadata.name
        self.authority, self.certificate_ends = (tls.authority, tls.ends) if tls else (None, None)
        self.identity = pulumi.Output.all(
            uid=claim.metadata.uid, volume=claim.spec.volume_name, image=settings.image, name=claim.metadata.name
        )
        # The claim is bound by then, even if its class waits for the first pod.
        self._retained(args, claims.current, claim, stateful_set)
        self.register_outputs({"host": self.host, "port": self.port, "secret": self.secret})

    def _claim(
        self, args: DatabaseArgs, name: str, major: str | None, *, holds_data: bool = True
    ) -> core.PersistentVolumeClaim:
        """Not a claim template: a change to one deletes the StatefulSet and leaves the claim at its old size."""
        settings, environment = args.settings, args.environment
        return core.PersistentVolumeClaim(
            _resource(args, "database-volume", name),
            metadata=environment.metadata(
                name,
                app=environment.names.database,
                labels=recurring_jobs(settings.recurring_job_groups),
                annotations={MAJOR: major} if major else {},
            ),
            spec=core.PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                storage_class_name=settings.storage_class,
                resources=core.VolumeResourceRequirementsArgs(
                    requests={"storage": quantity(settings.size.amount, binary=True)}
                ),
            ),
            opts=ResourceOptions(
                parent=self,
                protect=environment.protect and holds_data,
                retain_on_delete=environment.protect and holds_data,
                # The cluster assigns it; an imported claim has it, and dropping it would replace the claim.
                ignore_changes=["spec.volumeName"],
            ),
        )

    def _retained(
        self, args: DatabaseArgs, name: str, claim: core.PersistentVolumeClaim, *after: pulumi.Resource
    ) -> None:
        """In a protected stack, makes the volume of a claim with data outlive the claim."""
        if args.environment.protect:
            RetainedVolume(
                _resource(args, "database-volume-retained", name),
                context=args.environment.context,
                namespace=args.environment.namespace,
                claim=claim.metadata.name,
                opts=ResourceOptions(parent=self, depends_on=[claim, *after]),
            )


def _resource(args: DatabaseArgs, resource: str, claim: str) -> str:
    """Pulumi's name for a resource that belongs to a claim."""
    names = args.environment.names
    return resource if claim == names.database_claim else f"{resource}-{claim.removeprefix(f'data-{names.database}-')}"


def _parameters(settings: DatabaseSettings) -> list[str]:
    """The server's arguments. The image's entrypoint puts `postgres` before arguments that begin with a hyphen."""
    return _arguments(settings.server_parameters)


def _arguments(parameters: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in parameters.items()]


def data_directory(image: str) -> list[core.EnvVarArgs]:
    """PGDATA for images before FIRST_WITH_OWN_FOLDER, whose default is elsewhere: in an anonymous volume that ends with
    the container."""
    major = postgres_major(image)
    folder = f"{MOUNT}/{major}/docker"
    return [] if major >= FIRST_WITH_OWN_FOLDER else [core.EnvVarArgs(name="PGDATA", value=folder)]


def _tls(args: DatabaseArgs, opts: ResourceOptions) -> DatabaseTls | None:
    if args.settings.tls is None:
        return None
    from components.database_tls import DatabaseTls  # noqa: PLC0415 - takes a fifth of a second, and few stacks need it

    required = args.settings.tls == "required"
    return DatabaseTls("database-tls", environment=args.environment, required=required, opts=opts)


def _pod(args: DatabaseArgs, tls: DatabaseTls | None) -> core.PodTemplateSpecArgs:
    names = args.environment.names
    address = DatabaseAddress.of(names)
    claim = core.PersistentVolumeClaimVolumeSourceArgs(claim_name=args.claims.current)
    return core.PodTemplateSpecArgs(
        metadata=meta.ObjectMetaArgs(
            labels=names.labels(names.database),
            annotations={
                "checksum/postgres-password": args.secret.checksum,
                **({"checksum/certificate": tls.checksum} if tls else {}),
            },
        ),
        spec=core.PodSpecArgs(
            automount_service_account_token=False,
            enable_service_links=False,
            termination_grace_period_seconds=_GRACE_SECONDS,
            priority_class_name=args.environment.priority_class,
            tolerations=lost_node_tolerations(),
            security_context=pod_security(user=USER_ID, group=USER_ID, volumes=True),
            containers=[
                core.ContainerArgs(
                    name=CONTAINER,
                    image=args.settings.image,
                    args=[
                        *_parameters(args.settings),
                        *_arguments(STATEMENTS if args.statements else {}),
                        *(tls.parameters if tls else ()),
                    ],
                    ports=[core.ContainerPortArgs(name="postgresql", container_port=address.port)],
                    env=[
                        core.EnvVarArgs(name="POSTGRES_USER", value=address.user),
                        core.EnvVarArgs(name="POSTGRES_DB", value=address.database),
                        secret_variable("POSTGRES_PASSWORD", secret=names.database, key=PASSWORD_KEY),
                        *data_directory(args.settings.image),
                    ],
                    resources=container_resources(args.settings.resources),
                    security_context=container_security(read_only=True),
                    lifecycle=_lifecycle(
                        set_role_password(rules=tls.rules if tls else None, statements=args.statements)
                    ),
                    # The other probes wait for this one: replaying the log after a crash is no reason to kill the
                    # server. 300 s, as long as the script waits.
                    startup_probe=_probe(address, period=5, failures=60),
                    readiness_probe=_probe(address, period=5),
                    liveness_probe=_probe(address, period=10),
                    volume_mounts=[
                        core.VolumeMountArgs(name="data", mount_path=MOUNT),
                        core.VolumeMountArgs(name="run", mount_path="/var/run/postgresql"),
                        core.VolumeMountArgs(name="shm", mount_path="/dev/shm"),  # noqa: S108 - the container's own
                        core.VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 - the container's own
                        *([tls.mount] if tls else []),
                    ],
                )
            ],
            volumes=[
                core.VolumeArgs(name="data", persistent_volume_claim=claim),
                core.VolumeArgs(name="run", empty_dir=core.EmptyDirVolumeSourceArgs()),
                # The container runtime's default is 64 MB, with which a parallel query with a large hash table fails.
                core.VolumeArgs(
                    name="shm",
                    empty_dir=core.EmptyDirVolumeSourceArgs(medium="Memory", size_limit=_shared_memory(args)),
                ),
                core.VolumeArgs(name="tmp", empty_dir=core.EmptyDirVolumeSourceArgs()),
                *([tls.volume] if tls else []),
            ],
        ),
    )


def _shared_memory(args: DatabaseArgs) -> str:
    """Size of /dev/shm, which counts towards the container's memory: a quarter of the limit, in whole MiB."""
    mebibytes = int(args.settings.resources.limits.memory.amount) // 4 // 2**20
    return quantity(Decimal(mebibytes * 2**20), binary=True)


def _lifecycle(start_hook: list[str]) -> core.LifecycleArgs:
    return core.LifecycleArgs(
        post_start=core.LifecycleHandlerArgs(exec_=core.ExecActionArgs(command=start_hook)),
        # A fast shutdown, whichever signal the image stops the server with: after SIGTERM it would wait until the app
        # disconnects, and be killed.
        pre_stop=core.LifecycleHandlerArgs(exec_=core.ExecActionArgs(command=SHUTDOWN)),
    )


def _probe(address: DatabaseAddress, *, period: int, failures: int = 3) -> core.ProbeArgs:
    # Over TCP, because the temporary server during initialisation answers on the socket.
    command = ["pg_isready", "--host=localhost", f"--username={address.user}"]
    return core.ProbeArgs(
        exec_=core.ExecActionArgs(command=command), period_seconds=period, timeout_seconds=3, failure_threshold=failures
    )
