"""DatabaseTls: the database server's certificate, in a Secret, and the CA certificate with which clients verify it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.database_address import AUTHORITY, DatabaseAddress
from components.environment import Environment
from components.pods import core
from components.server_certificate import ServerCertificate, ends
from settings.names import PROGRAM

CERTIFICATE: Final = "tls.crt"
"""Key in the Secret, and name of the file."""
FOLDER: Final = "/etc/database-tls/server"
"""Mount path of the Secret in the server's pod."""

_RULES: Final = "pg_hba.conf"
_VOLUME: Final = "tls"
_KEY_MODE: Final = 0o640
"""PostgreSQL's rule for a key that root owns: the group, which is the pod's, may read it."""
_ONLY_TLS: Final = "hostnossl all,replication all all reject\n"


class DatabaseTls(pulumi.ComponentResource):
    """The certificate, its Secret, and the ConfigMap with the certificate of its authority."""

    authority: pulumi.Output[str]
    """Name of the ConfigMap."""
    checksum: pulumi.Output[str]
    """Changes with the certificate, which the server reads when it starts."""

    ends: pulumi.Output[str]
    """The day on which the certificate ends, ISO 8601."""
    rules: str | None
    """File for the server's pg_hba.conf to include, which refuses clients without TLS; None if TLS is not required."""

    def __init__(self, name: str, *, environment: Environment, required: bool, opts: ResourceOptions) -> None:
        super().__init__(f"{PROGRAM}:database_tls:DatabaseTls", name, None, opts)
        names, child = environment.names, ResourceOptions(parent=self)
        hosts = sorted(DatabaseAddress.of(names).hosts(names.namespace), key=len)
        certificate = ServerCertificate("database-certificate", hosts=hosts, opts=child)
        data: dict[str, pulumi.Input[str]] = {CERTIFICATE: certificate.certificate, "tls.key": certificate.key}
        data |= {_RULES: _ONLY_TLS} if required else {}
        secret = core.Secret(
            "database-tls-secret",
            metadata=environment.metadata(names.database_tls, app=names.database),
            type="kubernetes.io/tls",
            string_data={key: pulumi.Output.secret(value) for key, value in data.items()},
            opts=child,
        )
        authority = core.ConfigMap(
            "database-authority",
            metadata=environment.metadata(names.database_authority, app=names.database),
            data={PurePosixPath(AUTHORITY).name: certificate.authority},
            opts=child,
        )
        self.rules = f"{FOLDER}/{_RULES}" if required else None
        self.secret, self.authority = secret.metadata.name, authority.metadata.name
        self.checksum = certificate.certificate.apply(lambda pem: hashlib.sha256(pem.encode()).hexdigest())
        self.ends = certificate.certificate.apply(lambda pem: ends(pem).date().isoformat())
        self.register_outputs({"secret": self.secret, "authority": self.authority})

    @property
    def parameters(self) -> Sequence[str]:
        """TLS parameters for the server's command line."""
        return ("--ssl=on", f"--ssl_cert_file={FOLDER}/{CERTIFICATE}", f"--ssl_key_file={FOLDER}/tls.key")

    @property
    def volume(self) -> core.VolumeArgs:
        """Volume for the server's pod."""
        source = core.SecretVolumeSourceArgs(secret_name=self.secret, default_mode=_KEY_MODE)
        return core.VolumeArgs(name=_VOLUME, secret=source)

    @property
    def mount(self) -> core.VolumeMountArgs:
        """Mount for the server's container."""
        return core.VolumeMountArgs(name=_VOLUME, mount_path=FOLDER, read_only=True)
