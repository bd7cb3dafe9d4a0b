"""DatabaseWires: what the rest of a stack sees of its database, whichever engine runs it."""

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
    """The major version of PostgreSQL that `ops upgrade` moves the database to."""

    image: str
    claim: pulumi.Output[str]
    """Name of the claim for its data."""
    resources: Resources
    """Of the server."""
    parameters: Sequence[str]
    """Arguments that the server is started with."""


_VOLUME: Final = "database-tls"


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Whom pods reach and who reaches them, besides the clients of a database."""

    pods: Mapping[str, str]
    """Their labels."""
    port: int
    """The server's."""
    ingress: Sequence[pulumi.Input[Rule]]
    egress: Sequence[pulumi.Input[Rule]]


class DatabaseWires(pulumi.ComponentResource):
    """Base of the engines' components, each of which sets all of this."""

    host: pulumi.Output[str]
    """Known once the server is ready."""
    port: pulumi.Output[int]
    pods: Mapping[str, str]
    """Labels of its pods."""
    ingress: Sequence[pulumi.Input[Rule]]
    """Who reaches its pods besides its clients."""
    egress: Sequence[pulumi.Input[Rule]]
    """Whom its pods reach."""
    recovered: Peers | None = None
    """Pods of the database that a recovery to a moment makes beside this one, whose one client is a backup."""
    administrator: str
    """A superuser's role: who takes backups and puts them back."""
    secret: pulumi.Output[str]
    """Name of the Secret that holds the administrator's password."""
    password_key: str
    """Under which key."""
    owner: str
    """The role that the app logs in as, to which what is restored from elsewhere belongs."""
    image: str
    """pg_dump and pg_restore must be of its version."""
    claim: pulumi.Output[str]
    """Name of its volume's claim, or the regular expression that the names of all of them match."""
    size: Quantity
    """Of each volume."""
    container: str
    """Name of the server's container."""
    watched_pods: str | None
    """Regular expression of the names of its pods, where no StatefulSet counts them."""
    instances: int
    """How many pods serve or stand by."""
    next: NextVersion | None = None
    """What the database is to be upgraded to."""
    identity: pulumi.Output[dict[str, str | None]]
    """`uid` of what holds the data: a claim, with its `volume`, or an object of another `kind`.

    It says, later, whether the database is still the same.
    """

    authority: pulumi.Output[str] | None = None
    """Name of the ConfigMap with the certificate that clients know the server by; None where there is no TLS."""
    certificate_ends: pulumi.Output[str] | None = None
    """The day on which the server's certificate ends, ISO 8601; None where there is no TLS, or the engine renews it."""

    @property
    def client_volumes(self) -> list[core.VolumeArgs]:
        """What a client's pod needs to know the server by: no volume, or one for `client_mounts`."""
        if self.authority is None:
            return []
        return [core.VolumeArgs(name=_VOLUME, config_map=core.ConfigMapVolumeSourceArgs(name=self.authority))]

    @property
    def client_mounts(self) -> list[core.VolumeMountArgs]:
        """Of a client's container."""
        if self.authority is None:
            return []
        return [core.VolumeMountArgs(name=_VOLUME, mount_path=str(PurePosixPath(AUTHORITY).parent), read_only=True)]

    def connection(self, *, patience: int, prefix: str = "") -> list[core.EnvVarArgs]:
        """libpq's variables that lead to the server as its administrator, whose name PGUSER is the caller's to set.

        `patience` is in seconds; without it a server that is gone is waited for as long as the kernel likes. `prefix`
        is put before the names, where a pod has to do with two servers.
        """
        verified = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": AUTHORITY} if self.authority is not None else {}
        return [
            core.EnvVarArgs(name=f"{prefix}PGHOST", value=self.host),
            core.EnvVarArgs(name=f"{prefix}PGPORT", value=self.port.apply(lambda port: str(int(port)))),
            secret_variable(f"{prefix}PGPASSWORD", secret=self.secret, key=self.password_key),
            core.EnvVarArgs(name=f"{prefix}PGCONNECT_TIMEOUT", value=str(patience)),
            *(core.EnvVarArgs(name=f"{prefix}{name}", value=value) for name, value in verified.items()),
        ]
