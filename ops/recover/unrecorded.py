"""Records what Cloudflare created when its answer was lost, so that the next `up` does not create it again.

The engine considers such a create failed, so nothing is pending, and Cloudflare refuses a second application or record
for a hostname. GitLab and 1Password do not need this: the program itself imports what it finds there, or deletes what
was lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from cloudflare import Cloudflare

from components.public_names import APPLICATION, COMPONENT, COMPONENT_TYPE, RECORD, RELEASED_TYPE, of_hostname
from lookups.cloudflare import UnusableError, find_place
from lookups.cloudflare_api import CloudflareApi, CloudflareError
from ops.command_line import PulumiError, pulumi
from ops.recover.state_import import UnrecordedResource, import_into_state
from settings import Settings
from settings.access import PublicAccessSettings
from settings.ownership import DNS_COMMENT, Owner

_APPLICATION_TYPE: Final = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication"
_RECORD_TYPE: Final = "cloudflare:index/dnsRecord:DnsRecord"
_UNMARKED: Final = "Invoicetron"
"""Name of invoicetron's application, up to the release of November 2026."""
_PROVIDER: Final = "::pulumi:providers:cloudflare::"


def record_lost(settings: Settings, client: Cloudflare) -> Mapping[str, str]:
    """Imports what this stack created and its state lacks; returns name to import id. Raises `PulumiError`."""
    public = settings.access.public
    state = json.loads(pulumi("stack", "export", "--stack", settings.stack))["deployment"].get("resources") or []
    urns = [resource["urn"] for resource in state]
    provider = next((urn for urn in urns if _PROVIDER in urn), None)
    if public is None or provider is None:
        return {}
    recorded = {(resource["type"], _hostname(resource.get("inputs") or {})) for resource in state}
    unrecorded = [
        UnrecordedResource(type=type_, name=of_hostname(name, hostname), id=id_, parent=parent, provider=provider)
        for hostname in public.hostnames
        if (parent := _parent(urns, hostname)) is not None
        for type_, name, id_ in _made(public, hostname, client, settings.names.owner)
        if (type_, hostname) not in recorded
    ]
    import_into_state(settings.stack, unrecorded)
    return {one.name: one.id for one in unrecorded}


def _parent(urns: Iterable[str], hostname: str) -> str | None:
    """URN of the hostname's component, which may be the one of the last release."""
    own = f"{COMPONENT_TYPE}::{of_hostname(COMPONENT, hostname)}"
    return next((urn for urn in urns if urn.endswith((own, f"::{RELEASED_TYPE}::{COMPONENT}"))), None)


def _hostname(inputs: Mapping[str, Any]) -> str | None:
    """The hostname that a recorded application or record is for."""
    found: str | None = inputs.get("domain") or inputs.get("name")
    return found


def _made(
    public: PublicAccessSettings, hostname: str, client: Cloudflare, own: Owner
) -> Iterator[tuple[str, str, str]]:
    """Type, name and import id of objects with this program's marks; manually created ones have others."""
    try:
        place = find_place(public, CloudflareApi())
    except (CloudflareError, UnusableError) as error:
        raise PulumiError(f"zone {public.zone}: {error}") from None
    zone, account = place.zone_id, place.account_id
    for application in client.zero_trust.access.applications.list(account_id=account, domain=hostname):
        found: Mapping[str, Any] = application.to_dict()
        named = found.get("name") in {own.title, _UNMARKED}
        ours = named and found.get("app_launcher_visible") is False and found.get("same_site_cookie_attribute") == "lax"
        if found.get("domain") == hostname and ours:
            yield _APPLICATION_TYPE, APPLICATION, f"accounts/{account}/{found['id']}"
    for record in client.dns.records.list(zone_id=zone, name={"exact": hostname}):
        # A record of another type may stand beside it with a copied comment.
        if record.type == "CNAME" and record.comment in {own.mark, DNS_COMMENT}:
            yield _RECORD_TYPE, RECORD, f"{zone}/{record.id}"
