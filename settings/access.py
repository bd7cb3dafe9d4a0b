"""`access`: how people reach the app, inside the network and from the internet."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from settings.delivery import LEAST_DAYS
from settings.errors import refusal
from settings.references import ItemReference
from settings.section import RUNNING, Section, today
from settings.types import (
    AccessSelector,
    CloudflareId,
    Date,
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


def _one_list(hostnames: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """`hostname` or `hostnames`, whichever is given, as one list."""
    if "hostname" not in info.data:  # reported as a separate mistake
        return hostnames
    single: str | None = info.data["hostname"]
    if single is not None and hostnames:
        raise refusal("hostname or hostnames, not both", fix=f"put {single} into the list, and remove the key hostname")
    if single is None and not hostnames:
        raise refusal("at least one hostname, as hostname: <name> or in the list hostnames", given="nothing")
    if twice := sorted({name for name in hostnames if hostnames.count(name) > 1}):
        raise refusal("each hostname once", given=", ".join(map(repr, twice)))
    return hostnames or (single or "",)


def url_of(hostname: str) -> str:
    """The app's URL under this hostname; the app refuses logins from other origins."""
    return f"https://{hostname}"


Hostnames = Annotated[tuple[DnsName, ...], AfterValidator(_one_list), Field(strict=False, validate_default=True)]


class GatewaySettings(Section):
    """The Gateway listener that the internal route attaches to."""

    name: ResourceName = "homelab-gateway"
    namespace: DnsLabel = "default"
    listener: ResourceName
    """Name of the listener (`sectionName`) that serves the hostname."""


class CloudflaredSettings(Section):
    """The pods of cloudflared, which runs the shared tunnel: a network policy lets them reach the app."""

    namespace: DnsLabel = "cloudflare"
    pod_labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = Field(default={"app": "cloudflared"})


class AdoptedIds(Section):
    """Ids of one hostname's manually created resources, which `up` adopts instead of creating new ones."""

    application: Uuid | None = None
    """Id of the Access application."""
    dns_record: CloudflareId | None = None
    """Id of the DNS record."""
    tunnel_rule: bool = False
    """Adopt the rule that the tunnel already has for the hostname."""


class AdoptSettings(AdoptedIds):
    """Ids for the first hostname, and by hostname for the others."""

    hostnames: dict[DnsName, AdoptedIds] = Field(default={})
    """Ids by hostname, for the other hostnames of a list."""


_LONGEST: Final = dt.timedelta(days=365)
"""How long Cloudflare honours a service token (components/service_token.py)."""


class ServiceTokenSettings(Section):
    """An Access service token, for health checks of the public hostnames by the probe and the pipeline."""

    item: ItemReference
    """The 1Password item to which `up` writes the token: user name (client id) and password (client secret)."""
    expires: Date
    """Day by which to renew the token, within a year; another date issues a new token and revokes the old one."""

    @field_validator("expires")
    @classmethod
    def _is_within_a_year(cls, expires: dt.date, info: ValidationInfo) -> dt.date:
        running = info.context and info.context.get(RUNNING)
        if not today() < expires <= today() + _LONGEST and not (running and expires <= today()):
            raise refusal(
                f"a day after today and within {_LONGEST.days} days, because Cloudflare accepts a token for no longer",
                given=repr(expires.isoformat()),
            )
        return expires

    def warning(self) -> str | None:
        """The warning about a day of renewal that is too near; None otherwise."""
        days = (self.expires - today()).days
        if days >= LEAST_DAYS:
            return None
        return (
            f"the service token is to be renewed by {self.expires} (days left: {days}); set a later date, and `up` "
            "issues a new one"
        )


class PublicAccessSettings(Section):
    """The app's public address: Access application, rule in the shared tunnel, DNS record."""

    zone: DnsName
    """Name of the Cloudflare zone that holds the hostnames."""
    hostname: DnsName | None = None
    """Public hostname, directly below the zone unless `advancedCertificate` is true. Or set `hostnames`."""
    hostnames: Hostnames = ()
    """Several public hostnames, instead of `hostname`; links use the first. In Python always the whole list."""
    zone_id: CloudflareId | None = None
    """Default: looked up by name, which needs the Zone Read permission."""
    account_id: CloudflareId | None = None
    """Default: the zone's account."""
    tunnel: Name
    """Name of the shared tunnel."""
    tunnel_id: Uuid | None = None
    """Default: looked up by name."""
    policy_name: Name
    """Name that the reusable Access policy must have."""
    policy_id: Uuid | None = None
    """Default: looked up by name among the account's reusable policies."""
    allow_selectors: Annotated[tuple[AccessSelector, ...], Field(strict=False)] = ()
    """Selectors the policy may use besides those that name people: `email_domain` lets in a whole domain."""
    team_name: TeamName | None = None
    """The Zero Trust team, as in <team>.cloudflareaccess.com. Default: looked up in the account."""
    session_duration: SessionDuration = "24h"
    """How long a login lasts, unless the policy sets its own duration."""
    one_time_pin: bool = False
    """Allow the one-time PIN only, instead of every identity provider of the account."""
    advanced_certificate: bool = False
    """Whether the zone has a certificate of Advanced Certificate Manager that covers a deeper hostname."""
    service_token: ServiceTokenSettings | None = None
    """Let the probe and the app's pipeline past the login, with the stack's own service token. Off by default."""
    cloudflared: CloudflaredSettings = CloudflaredSettings()
    adopt: AdoptSettings = AdoptSettings()

    @property
    def hostname_key(self) -> str:
        """The key in the stack file that names the hostnames."""
        return f"access.public.{'hostname' if self.hostname else 'hostnames'}"

    def adopted(self, hostname: str) -> AdoptedIds:
        """The adopted resources of one hostname."""
        first = self.adopt if hostname == self.hostnames[0] else AdoptedIds()
        return self.adopt.hostnames.get(hostname, first)

    def adopt_key(self, hostname: str) -> str:
        """The key in the stack file that holds `adopted`."""
        by_name = hostname in self.adopt.hostnames or hostname != self.hostnames[0]
        return f"access.public.adopt.hostnames[{hostname}]" if by_name else "access.public.adopt"

    @field_validator("hostname", "hostnames")
    @classmethod
    def _is_in_zone(cls, given: str | tuple[str, ...] | None, info: ValidationInfo) -> str | tuple[str, ...] | None:
        zone = info.data.get("zone")
        for hostname in (given,) if isinstance(given, str) else given or ():
            if zone is not None and not hostname.endswith(f".{zone}"):
                raise refusal(f"a hostname inside the zone {zone}", given=repr(hostname))
        return given

    @field_validator("adopt")
    @classmethod
    def _adopts_what_it_has(cls, adopt: AdoptSettings, info: ValidationInfo) -> AdoptSettings:
        hostnames = info.data.get("hostnames")
        if hostnames and (others := [name for name in adopt.hostnames if name not in hostnames]):
            raise refusal(f"hostnames of the stack: {', '.join(hostnames)}", key="hostnames", given=", ".join(others))
        own = [name for name in AdoptedIds.model_fields if getattr(adopt, name)]
        if hostnames and own and hostnames[0] in adopt.hostnames:
            raise refusal(
                f"the ids of {hostnames[0]} here or in adopt.hostnames[{hostnames[0]}], not in both",
                key=to_camel(own[0]),
                given=f"{getattr(adopt, own[0])}",
                fix="move it there",
            )
        return adopt


class AccessSettings(Section):
    """How people reach the app: always inside the network, and from the internet if `public` is set."""

    hostname: DnsName | None = None
    """Internal hostname. Or set `hostnames`."""
    hostnames: Hostnames = ()
    """Several internal hostnames, instead of `hostname`; probes and pipelines use the first. In Python always the whole
    list."""
    gateway: GatewaySettings
    """The Gateway listener that serves the internal hostnames."""
    public: PublicAccessSettings | None = None

    @property
    def hostname_key(self) -> str:
        """The key in the stack file that names the internal hostnames."""
        return f"access.{'hostname' if self.hostname else 'hostnames'}"

    @property
    def all_hostnames(self) -> tuple[str, ...]:
        """Every hostname under which people reach the app."""
        return (*self.hostnames, *(self.public.hostnames if self.public else ()))

    @property
    def urls(self) -> list[str]:
        """The app's URLs inside the network."""
        return [url_of(hostname) for hostname in self.hostnames]

    @property
    def url(self) -> str:
        """The app's first URL inside the network."""
        return self.urls[0]

    @property
    def people_url(self) -> str:
        """The URL for links to the app."""
        return url_of(self.public.hostnames[0]) if self.public else self.url

    @field_validator("public")
    @classmethod
    def _is_another_hostname(
        cls, public: PublicAccessSettings | None, info: ValidationInfo
    ) -> PublicAccessSettings | None:
        both = sorted(set(public.hostnames if public else ()) & set(info.data.get("hostnames", ())))
        if public is not None and both:
            raise refusal(
                "hostnames other than the internal ones, which the gateway serves without Cloudflare Access",
                key=public.hostname_key.rpartition(".")[2],
                given=", ".join(map(repr, both)),
            )
        return public

    @field_validator("public")
    @classmethod
    def _has_a_certificate(cls, public: PublicAccessSettings | None) -> PublicAccessSettings | None:
        # https://developers.cloudflare.com/ssl/edge-certificates/universal-ssl/limitations/#hostname-coverage
        if public is None or public.advanced_certificate:
            return public
        for hostname in public.hostnames:
            if "." in hostname.removesuffix(f".{public.zone}"):
                raise refusal(
                    f"a hostname directly below {public.zone}: Cloudflare's universal certificate covers none further "
                    "down, so that browsers refuse it (ERR_SSL_VERSION_OR_CIPHER_MISMATCH)",
                    key=public.hostname_key.rpartition(".")[2],
                    given=repr(hostname),
                    fix=f"name one like {hostname.partition('.')[0]}.{public.zone}; or order a certificate for it "
                    "(Advanced Certificate Manager), and set access.public.advancedCertificate to true",
                )
        return public
