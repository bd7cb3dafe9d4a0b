"""DatabaseWires: the interface of the stack's database, the same for both engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import pulumi

from components.database_address import AUTHORITY
from components.network import Rule
from components.pods import core, secret_variable
from settings.quantities import Quantity
from settings.section import Resources


@dataclass(frozen=True, kw_only=True)
class NextVersion:
    """The major version of PostgreSQL to which `ops upgrade` moves the database."""

    image: str
    claim: pulumi.Output[str]
    """Name of the claim for its data."""
    resources: Resources
    """Resources of the server."""
    parameters: Sequence[str]
    """Command-line arguments of the server."""


_VOLUME: Final = "database-tls"


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Pods, with their connections besides those of the database's clients."""

    pods: Mapping[str, str]
    """Labels of the pods."""
    port: int
    """The server's port."""
    ingress: Sequence[pulumi.Input[Rule]]
    egress: Sequence[pulumi.Input[Rule]]


class DatabaseWires(pulumi.ComponentResource):
    """Base of the engines' components, which set all of these attributes."""

    host: pulumi.Output[str]
    """Known once the server is ready."""
    port: pulumi.Output[int]
    pods: Mapping[str, str]
    """Labels of its pods."""
    ingress: Sequence[pulumi.Input[Rule]]
    """Ingress rules of its pods, besides those for its clients."""
    egress: Sequence[pulumi.Input[Rule]]
    """Egress rules of its pods."""
    recovered: Peers | None = None
    """Pods of the database that a point-in-time recovery creates beside this one; only backups connect to it."""
    administrator: str
    """The superuser's role, which backups and restores use."""
    secret: pulumi.Output[str]
    """Name of the Secret that holds the administrator's password."""
    password_key: str
    """Key of the password in that Secret."""
    owner: str
    """The app's role, which owns everything restored from a dump made elsewhere."""
    image: str
    """Image with pg_dump and pg_restore of the server's version."""
    claim: pulumi.Output[str]
    """Name of its volume's claim, or a regular expression that matches the names of all of them."""
    size: Quantity
    """Size of each volume."""
    container: str
    """Name of the server's container."""
    watched_pods: str | None
    """Regular expression for the names of its pods; None if a StatefulSet counts them."""
    instances: int
    """Number of pods that serve or stand by."""
    next: NextVersion | None = None
    """The version to which the database is to be upgraded."""
    identity: pulumi.Output[dict[str, str | None]]
    """`uid` of what holds the data: a claim, with its `volume`, or an object of another `kind`.

    A later `up` compares it to tell whether the database is still the same.
    """

    authority: pulumi.Output[str] | None = None
    """Name of the ConfigMap with the CA certificate for clients; None without TLS."""
    certificate_ends: pulumi.Output[str] | None = None
    """The day on which the server's certificate ends, ISO 8601; None if there is no TLS, or the engine renews it."""

    @property
    def client_volumes(self) -> list[core.VolumeArgs]:
        """Volumes of a client's pod with the CA certificate, for `client_mounts`; none without TLS."""
        if self.authority is None:
            return []
        return [core.VolumeArgs(name=_VOLUME, config_map=core.ConfigMapVolumeSourceArgs(name=self.authority))]

    @property
    def client_mounts(self) -> list[core.VolumeMountArgs]:
        """Mounts of a client's container."""
        if self.authority is None:
            return []
        return [core.VolumeMountArgs(name=_VOLUME, mount_path=str(PurePosixPath(AUTHORITY).parent), read_only=True)]

    def connection(self, *, patience: int, prefix: str = "") -> list[core.EnvVarArgs]:
        """libpq's variables for connecting to the server as its administrator; the caller sets PGUSER.

        `patience` is the connection timeout in seconds; without one, the kernel decides how long a client waits for a
        server that is gone. `prefix` is for the names, in a pod that uses two servers.
        """
        verified = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": AUTHORITY} if self.authority is not None else {}
        return [
            core.EnvVarArgs(name=f"{prefix}PGHOST", value=self.host),
            core.EnvVarArgs(name=f"{prefix}PGPORT", value=self.port.apply(lambda port: str(int(port)))),
            secret_variable(f"{prefix}PGPASSWORD", secret=self.secret, key=self.password_key),
            core.EnvVarArgs(name=f"{prefix}PGCONNECT_TIMEOUT", value=str(patience)),
            *(core.EnvVarArgs(name=f"{prefix}{name}", value=value) for name, value in verified.items()),
        ]
