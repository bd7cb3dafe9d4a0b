"""`secrets`: where the stack's secrets are in 1Password."""

from __future__ import annotations

from settings.references import SecretReference
from settings.section import Section


class SecretsSettings(Section):
    """Where the stack's secrets are in 1Password. An app with a database needs the first two."""

    postgres_password: SecretReference | None = None
    """Password of the database's role: an op:// reference; the value is URL-safe."""
    better_auth_secret: SecretReference | None = None
    """Key of the app's sessions: an op:// reference; the value has at least 32 characters."""
    database_url: SecretReference | None = None
    """If set, checked against the other values; otherwise derived from them."""
