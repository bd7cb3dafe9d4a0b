"""Checks that the program itself reaches the Connect server; the plugin, which reads the items, connects by itself.

With another trust (macOS' keychain) or other proxies, `up` would fail to write its first item, half-way.
"""

from __future__ import annotations

import os

import pulumi

from lookups.onepassword_client import AccountError, client
from lookups.secrets import StackSecrets


class UnreachableError(pulumi.RunError):
    """The plugin reaches the Connect server, and this program does not; the message says why."""


def check_reach(secrets: StackSecrets) -> None:
    """Raises `UnreachableError` if `up` has items to write and could not.

    Not for the command `op`, which the plugin uses, too; nor for a preview, which writes nothing.
    """
    buckets = (secrets.s3.keys if secrets.s3 else None, secrets.wal)
    places = [secrets.registry_item, secrets.service_token_item, *(one.item for one in buckets if one)]
    vaults = [one.vault for one in places if one]
    if not vaults or pulumi.runtime.is_dry_run() or not os.environ.get("OP_CONNECT_HOST"):
        return
    try:
        client(os.environ).vault(vaults[0])
    except AccountError as error:
        raise UnreachableError(
            "The provider's plugin reads from 1Password, and this program, which writes the stack's items itself, does "
            f"not get through to it. Nothing was created or changed.\n\n  {error}\n\n"
            "Check the proxies in the environment (NO_PROXY). If a private authority has signed the server's "
            "certificate, export SSL_CERT_FILE with a file of certificates that has the authority's: macOS' keychain "
            "is not read."
        ) from None
