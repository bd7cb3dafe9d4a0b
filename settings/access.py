"""`access`: how people reach the app, inside the network and from the internet."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from settings.errors import refusal
from settings.section import Section
from settings.types import (
    AccessSelector,
    CloudflareId,
    DnsLabel,
    DnsName,
    LabelKey,
    LabelValue,
    Name,
    ResourceName,
    SessionDuration,
    TeamName,
    Uuid,
)


class GatewaySettings(Section):
    """The Gateway listener that the internal route attaches to."""

    name: ResourceName = "homelab-gateway"
    namespace: DnsLabel = "default"
    listener: ResourceName
    """Name of the listener (`sectionName`) that serves the hostname."""


class CloudflaredSettings(Section):
    """The pods of the shared tunnel's connector, for the policy that lets them reach the app."""

    namespace: DnsLabel = "cloudflare"
    pod_labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = Field(default={"app": "cloudflared"})


class AdoptSettings(Section):
    """Ids of what already exists by hand and is taken over instead of created."""

    application: Uuid | None = None
    """Id of the Access application."""
    dns_record: CloudflareId | None = None
    """Id of the DNS record."""
    tunnel_rule: bool = False
    """Take over a rule for the hostname that the tunnel already has."""


class PublicAccessSettings(Section):
    """The public side: Access application, rule of the shared tunnel, DNS record."""

    zone: DnsName
    """Name of the Cloudflare zone that holds the hostname."""
    hostname: DnsName
    """Public hostname, directly below the zone unless `advancedCertificate` is true."""
    zone_id: CloudflareId | None = None
    """Looked up by name where it is absent, which needs the Zone Read permission."""
    account_id: CloudflareId | None = None
    """The zone's account where it is absent."""
    tunnel: Name
    """Name of the shared tunnel."""
    tunnel_id: Uuid | None = None
    """Looked up by name where it is absent."""
    policy_name: Name
    """Name that the reusable Access policy must bear."""
    policy_id: Uuid | None = None
    """Looked up by name among the account's reusable policies where it is absent."""
    allow_selectors: Annotated[tuple[AccessSelector, ...], Field(strict=False)] = ()
    """Selectors the policy may use beside those that name people: `email_domain` lets in a whole domain."""
    team_name: TeamName | None = None
    """The Zero Trust team, as in <team>.cloudflareaccess.com; looked up in the account where it is absent."""
    session_duration: SessionDuration = "24h"
    """How long a login lasts; a duration of the policy's own beats it."""
    one_time_pin: bool = False
    """Allow the one-time PIN only, instead of every identity provider of the account."""
    advanced_certificate: bool = False
    """Whether the zone has a certificate of Advanced Certificate Manager that covers a hostname further down."""
    cloudflared: CloudflaredSettings = CloudflaredSettings()
    adopt: AdoptSettings = AdoptSettings()

    @field_validator("hostname")
    @classmethod
    def _is_in_zone(cls, hostname: str, info: ValidationInfo) -> str:
        zone = info.data.get("zone")
        if zone is not None and not hostname.endswith(f".{zone}"):
            raise refusal(f"a hostname inside the zone {zone}")
        return hostname


class AccessSettings(Section):
    """How people reach the app: inside the network always, from the internet where `public` is given."""

    hostname: DnsName
    """Internal hostname."""
    gateway: GatewaySettings
    """The listener that serves it."""
    public: PublicAccessSettings | None = None

    @property
    def url(self) -> str:
        """Where the app is inside the network."""
        return f"https://{self.hostname}"

    @property
    def people_url(self) -> str:
        """Where people reach the app."""
        return f"https://{self.public.hostname}" if self.public else self.url

    @field_validator("public")
    @classmethod
    def _is_another_hostname(
        cls, public: PublicAccessSettings | None, info: ValidationInfo
    ) -> PublicAccessSettings | None:
        if public is not None and public.hostname == info.data.get("hostname"):
            raise refusal(
                "another hostname than access.hostname, which the gateway serves without Cloudflare Access",
                key="hostname",
                given=repr(public.hostname),
            )
        return public

    @field_validator("public")
    @classmethod
    def _has_a_certificate(cls, public: PublicAccessSettings | None) -> PublicAccessSettings | None:
        # https://developers.cloudflare.com/ssl/edge-certificates/universal-ssl/limitations/#hostname-coverage
        if public is None or public.advanced_certificate or "." not in public.hostname.removesuffix(f".{public.zone}"):
            return public
        raise refusal(
            f"a hostname directly below {public.zone}: Cloudflare's universal certificate covers none further down, "
            "so that browsers refuse it (ERR_SSL_VERSION_OR_CIPHER_MISMATCH)",
            key="hostname",
            given=repr(public.hostname),
            fix=f"name one like {public.hostname.partition('.')[0]}.{public.zone}; or order a certificate for it "
            "(Advanced Certificate Manager), and set access.public.advancedCertificate to true",
        )
