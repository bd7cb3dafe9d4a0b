"""`registry`: the container registry of the app's image."""

from __future__ import annotations

from settings.references import ItemReference, SecretReference
from settings.section import Section
from settings.types import RegistryHost


class RegistrySettings(Section):
    """The container registry of the app's image, and the 1Password item with the pull credentials."""

    server: RegistryHost
    """Host of the registry; the same as in app.image."""
    item: ItemReference
    """Item whose username and password pull the image; `delivery.pullCredentials.issue` decides who writes it."""

    @property
    def username(self) -> SecretReference:
        """Reference to the user name of the pull credentials."""
        return self.item.field("username")

    @property
    def password(self) -> SecretReference:
        """Reference to the password of the pull credentials."""
        return self.item.field("password")
