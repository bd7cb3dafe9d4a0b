"""Names of a public hostname's resources, in the state and in Cloudflare. Imports no SDK: lookups and ops use it."""

from __future__ import annotations

from typing import Final

from settings.names import PROGRAM

COMPONENT_TYPE: Final = f"{PROGRAM}:access:PublicHostname"
COMPONENT: Final = "public-access"
APPLICATION: Final = "access-application"
RULE: Final = "tunnel-hostname"
RECORD: Final = "dns-record"

NON_IDENTITY: Final = "non_identity"
"""Decision of a policy that asks nobody to log in; "Service Auth" in the dashboard."""

NAME_UNTIL: Final = "{0} until {1}"
"""The service token's name in Cloudflare: its policy's name, and the day by which to renew the token."""

RELEASED_TYPE: Final = f"{PROGRAM}:public_access:PublicAccess"
"""Type of the component up to the release of November 2026. A stack then had one public hostname, whose resources had
the names above without the hostname."""


def of_hostname(name: str, hostname: str) -> str:
    """The name for one hostname.

    It contains the hostname and not its position in the list, so that removing one hostname does not rename the others.
    """
    return f"{name}-{hostname}"
