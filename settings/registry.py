"""`registry`: the container registry of the app's image."""

from __future__ import annotations

from settings.references import ItemReference, SecretReference
from settings.section import Section
from settings.types import RegistryHost


class RegistrySettings(Section):
    """The container registry of the app's image, and the 1Password item with the credentials that pull it."""

    server: RegistryHost
    """Host of the registry, the one that app.image names."""
    item: ItemReference
    """Item whose username and password pull the image; `delivery.pullCredentials.issue` says who writes it."""

    @property
    def username(self) -> SecretReference:
        """Reference to the user name that pulls the image."""
        return self.item.field("username")

    @property
    def password(self) -> SecretReference:
        """Reference to the password that pulls the image."""
        return self.item.field("password")
