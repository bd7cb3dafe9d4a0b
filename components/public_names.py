"""Names of what a public hostname is made of, in the state and in Cloudflare. Needs no SDK: lookups and ops use it."""

from __future__ import annotations

from typing import Final

from settings.names import PROGRAM

COMPONENT_TYPE: Final = f"{PROGRAM}:access:PublicHostname"
COMPONENT: Final = "public-access"
APPLICATION: Final = "access-application"
RULE: Final = "tunnel-hostname"
RECORD: Final = "dns-record"

NON_IDENTITY: Final = "non_identity"
"""Decision of a policy, "Service Auth" in the dashboard, that asks nobody to log in."""

NAME_UNTIL: Final = "{0} until {1}"
"""The service token's name in Cloudflare: its policy's, and the day by which it is to be changed."""

RELEASED_TYPE: Final = f"{PROGRAM}:public_access:PublicAccess"
"""Type of the component up to the release of November 2026. A stack had one public hostname then, whose resources bore
the names above and no hostname."""


def of_hostname(name: str, hostname: str) -> str:
    """The name for one hostname.

    It holds the hostname and not its place in the list, so that nothing of the others moves when one is removed.
    """
    return f"{name}-{hostname}"
