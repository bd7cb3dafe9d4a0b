"""DatabaseCluster: PostgreSQL with standbys, run by the operator CloudNativePG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
from pulumi import ResourceOptions

from components.availability import EVICTION_SECONDS, LOST_NODE
from components.database import DatabaseArgs
from components.database_address import DatabaseAddress
from components.database_wires import DatabaseWires, Peers
from components.environment import Environment
from components.longhorn import recurring_jobs
from components.network import from_kubelet, from_pods, to_api_server, to_dns, to_pods
from components.pods import PATCH_FORCE, Footprint, core, meta, quantities, quantity
from components.random_password import RandomPassword
from components.retained_volume import RetainedVolumes
from components.wal_archive import (
    BACKUPS_API,
    BACKUPS_KIND,
    WalArchive,
    WalArchiveArgs,
    scheduled_backup,
    way_out,
)
from sdks import kubernetes
from settings.database import DatabaseSettings
from settings.names import PROGRAM, Names

API: Final = "postgresql.cnpg.io/v1"
RESOURCE: Final = "clusters"
KIND: Final = "Cluster"
PASSWORD_KEY: Final = "password"  # noqa: S105 - the key in the Secrets, not a password
CONTAINER: Final = "postgres"
"""The operator's name for the server's container."""
HEALTHY: Final = "Cluster in healthy state"
"""The phase of a Cluster for which the operator has nothing to do."""
CLUSTER_LABEL: Final = "cnpg.io/cluster"
"""Label of everything that the operator creates for a Cluster."""
STATUS_PORT: Final = 8000
"""Port on which the instances answer the operator, the kubelet's probes and each other."""
OPERATOR: Final[Mapping[str, str]] = {"app.kubernetes.io/name": "cloudnative-pg"}
"""Labels of the operator's pods and Deployment, in the release's manifest and in its Helm chart."""

# The operator gives a terminating pod the whole `stopDelay`, half an hour by default. The app keeps its connections
# open, so a smart shutdown would always wait in vain.
_STOP_SECONDS: Final = 120
_SMART_STOP_SECONDS: Final = 10


def administrator(names: Names) -> str:
    """Role of backup and restore, a superuser. The app's own role is not one."""
    return f"{names.database_role}_admin"


def instances(names: Names) -> str:
    """Regular expression for the names of pods and claims, which end in increasing numbers from 1, never reused.

    A StatefulSet's pod is number 0.
    """
    return f"{names.database}-[1-9][0-9]*"


def pods_in_quota(settings: DatabaseSettings) -> int:
    """Every instance, and one more: for the Job that copies a new standby, or a pod stuck on a lost node.

    With an archive, also the single instance of a Cluster that is recovered from it beside the live one.
    """
    return settings.instances + (1 if settings.wal is None else 2)


class DatabaseCluster(DatabaseWires):
    """The Cluster, with the Secrets of its roles."""

    @staticmethod
    def footprint(settings: DatabaseSettings | None) -> Footprint:
        """The pods of the quota; with an archive, each with the plugin's container."""
        if settings is None:
            return Footprint()
        containers = settings.resources, *([settings.wal.resources] if settings.wal else [])
        return Footprint.total(Footprint.of(each, pods=pods_in_quota(settings)) for each in containers)

    def __init__(self, name: str, args: DatabaseArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:cloudnative_pg:DatabaseCluster", name, None, opts)
        settings, environment, names = args.settings, args.environment, args.environment.names
        namespace, address = environment.namespace, DatabaseAddress.of(names, settings)
        (password,) = args.secret.values.values()
        owners = self._secret("database-secret", owners_secret(names), environment, address.user, password)
        made_up = RandomPassword("database-administrator-password", ResourceOptions(parent=self))
        administrators = self._secret(
            "database-administrator",
            _administrators_secret(names),
            environment,
            administrator(names),
            made_up.result,
        )
        wal = self._archive(args)
        cluster = kubernetes.apiextensions.CustomResource(
            "database",
            api_version=API,
            kind=KIND,
            metadata={
                "name": names.database,
                "namespace": namespace,
                "labels": {**names.labels(names.database), **names.owner_labels},
                "annotations": {**PATCH_FORCE, "pulumi.com/waitFor": "condition=Ready"},
            },
            spec={**_spec(args), **({"plugins": [wal.plugin]} if wal else {})},
            opts=ResourceOptions(
                parent=self,
                protect=environment.protect,
                retain_on_delete=environment.protect,
                depends_on=[owners, administrators, *([wal] if wal else [])],
            ),
        )
        made: pulumi.Output[Any] = pulumi.get(cluster, "metadata")  # the SDK has no type for it
        # Derived from the Cluster, so that resources that use the host wait until it is ready.
        self.host = made.apply(lambda _: address.host)
        self.port = pulumi.Output.from_input(address.port)
        peers = _peers(names.database, settings, port=address.port)
        self.pods, self.ingress, self.egress = peers.pods, peers.ingress, peers.egress
        if settings.wal:
            self.recovered = _peers(names.recovered, settings, port=address.port)
        self.administrator, self.owner = administrator(names), address.user
        self.secret, self.password_key = administrators.metadata.name, PASSWORD_KEY
        self.image, self.size, self.instances = settings.image, settings.size, settings.instances
        self.container, self.watched_pods = CONTAINER, instances(names)
        self.claim = made.apply(lambda _: instances(names))
        self.identity = pulumi.Output.all(uid=made.apply(_uid), kind=KIND)
        if environment.protect:
            RetainedVolumes(
                "database-volumes-retained",
                context=environment.context,
                namespace=namespace,
                claims=f"{CLUSTER_LABEL}={names.database}",
                opts=ResourceOptions(parent=self, depends_on=[cluster]),
            )
        if settings.wal:
            kubernetes.apiextensions.CustomResource(
                "base-backups",
                api_version=BACKUPS_API,
                kind=BACKUPS_KIND,
                metadata=environment.metadata(names.database),
                spec=scheduled_backup(settings.wal, names),
                opts=ResourceOptions(parent=self, depends_on=[cluster]),
            )
        self.register_outputs({"host": self.host, "port": self.port, "secret": self.secret})

    def _archive(self, args: DatabaseArgs) -> WalArchive | None:
        """Creates the archive before the Cluster, which the plugin makes wait for it."""
        if args.settings.wal is None:
            return None
        if args.wal is None:
            raise ValueError("read_secrets gave no keys of the archive's bucket")
        made = WalArchiveArgs(
            settings=args.settings.wal, environment=args.environment, secrets=args.wal, r2=args.wal_r2
        )
        return WalArchive("wal-archive", made, ResourceOptions(parent=self))

    def _secret(
        self, resource: str, name: str, environment: Environment, role: str, password: pulumi.Input[str]
    ) -> core.Secret:
        names = environment.names
        return core.Secret(
            resource,
            metadata=meta.ObjectMetaArgs(
                name=name,
                namespace=environment.namespace,
                # With the last label, the operator sets a new password in the role at once.
                labels={**names.labels(names.database), **names.owner_labels, "cnpg.io/reload": "true"},
                annotations=PATCH_FORCE,
            ),
            type="kubernetes.io/basic-auth",
            string_data=pulumi.Output.secret({"username": role, PASSWORD_KEY: password}),
            opts=ResourceOptions(parent=self),
        )


def owners_secret(names: Names) -> str:
    """Secret of the app's role. The StatefulSet's Secret has the database's name, and both exist during a move."""
    return f"{names.database}-owner"


def _peers(cluster: str, settings: DatabaseSettings, *, port: int) -> Peers:
    """The peers of a Cluster's instances."""
    pods, operator = {CLUSTER_LABEL: cluster}, settings.operator_namespace
    return Peers(
        pods=pods,
        port=port,
        ingress=(
            from_pods(pods, port=port),
            from_pods(pods, port=STATUS_PORT),
            *(from_pods(OPERATOR, port=each, namespace=operator) for each in (STATUS_PORT, port)),
            from_kubelet(port=STATUS_PORT),
        ),
        egress=(
            to_dns(learn_names=settings.wal is not None),
            to_api_server(),
            to_pods(pods, port=port),
            to_pods(pods, port=STATUS_PORT),
            *([way_out(settings.wal)] if settings.wal else []),
        ),
    )


def _administrators_secret(names: Names) -> str:
    return f"{names.database}-admin"


def _uid(metadata: Any) -> str | None:
    uid: str | None = metadata.get("uid")  # not known in a preview
    return uid


def _spec(args: DatabaseArgs) -> dict[str, Any]:
    settings, environment, names = args.settings, args.environment, args.environment.names
    address = DatabaseAddress.of(names, settings)
    several = settings.instances > 1
    spec: dict[str, Any] = {
        "instances": settings.instances,
        "imageName": settings.operand_image,
        # A standby takes over before the old primary is replaced; a single instance can only restart.
        "primaryUpdateStrategy": "unsupervised",
        "primaryUpdateMethod": "switchover" if several else "restart",
        "enableSuperuserAccess": False,
        # A budget for a single instance would block every drain.
        "enablePDB": several and args.alone,
        "bootstrap": {
            "initdb": {
                "database": address.database,
                "owner": address.user,
                "secret": {"name": owners_secret(names)},
                "encoding": "UTF8",
                # Sorts by bytes, as the alpine image does, independently of the image's C library.
                "localeProvider": "builtin",
                "builtinLocale": "C.UTF-8",
                "dataChecksums": True,
            }
        },
        "postgresql": {"parameters": settings.server_parameters},
        "managed": {
            "roles": [
                # The operator sets these only when the Cluster changes, so no restore changes them: see roles.sql.
                _role(address.user, secret=owners_secret(names), superuser=False),
                _role(administrator(names), secret=_administrators_secret(names), superuser=True),
            ]
        },
        "storage": {
            "storageClass": settings.storage_class,
            "size": quantity(settings.size.amount, binary=True),
            "resizeInUseVolumes": True,
        },
        "resources": {
            "requests": quantities(settings.resources.requests),
            "limits": quantities(settings.resources.limits),
        },
        "affinity": {
            "enablePodAntiAffinity": True,
            "topologyKey": "kubernetes.io/hostname",
            # Not `required`: with fewer nodes than instances, one would wait for ever.
            "podAntiAffinityType": "preferred",
            "tolerations": [
                {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": EVICTION_SECONDS}
                for taint in LOST_NODE
            ],
        },
        "seccompProfile": {"type": "RuntimeDefault"},
        "stopDelay": _STOP_SECONDS,
        "smartShutdownTimeout": _SMART_STOP_SECONDS,
    }
    if environment.priority_class is not None:
        spec["priorityClassName"] = environment.priority_class
    if labels := recurring_jobs(settings.recurring_job_groups):
        # The operator puts them on everything it creates, including claims; Longhorn reads only those on claims.
        spec["inheritedMetadata"] = {"labels": labels}
    if settings.synchronous is not None:
        durability = {"method": "any", "number": 1, "dataDurability": settings.synchronous}
        spec["postgresql"]["synchronous"] = durability
    return spec


def _role(name: str, *, secret: str, superuser: bool) -> dict[str, Any]:
    return {
        "name": name,
        "ensure": "present",
        "login": True,
        "superuser": superuser,
        "passwordSecret": {"name": secret},
    }
