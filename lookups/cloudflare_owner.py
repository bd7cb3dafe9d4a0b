"""Finds what belongs to another stack among a public hostname's Access application, tunnel rule and DNS record."""

from __future__ import annotations

from collections.abc import Iterator

from lookups.cloudflare import CloudflareIds
from lookups.cloudflare_api import CloudflareApi
from lookups.cloudflare_recorded import namespace_of
from lookups.cluster import Cluster
from lookups.ownership import Claim, owner_of_namespace
from lookups.tunnel_document import Document, find
from settings.access import PublicAccessSettings
from settings.ownership import Owner


def foreign(public: PublicAccessSettings, ids: CloudflareIds, own: Owner, cluster: Cluster) -> Iterator[Claim]:
    """What has another stack's mark, and a rule that points to another's namespace. Raises `CloudflareError`."""
    api = CloudflareApi()
    configuration = api.get(f"/accounts/{ids.account_id}/cfd_tunnel/{ids.tunnel_id}/configurations")
    document = configuration.get("config") or {}
    for hostname in public.hostnames:
        for what, owner, evidence in _seen(hostname, ids, api, document, own=own, cluster=cluster):
            if owner is not None and owner != own:
                yield Claim(
                    what=f"the {what} of {hostname}", owner=f"{owner}", evidence=evidence, setting=public.hostname_key
                )


def _seen(
    hostname: str, ids: CloudflareIds, api: CloudflareApi, document: Document, *, own: Owner, cluster: Cluster
) -> Iterator[tuple[str, Owner | None, str]]:
    for application in api.list_all(f"/accounts/{ids.account_id}/access/apps", domain=hostname, exact="true"):
        if application.get("domain") == hostname:
            yield "Access application", Owner.titled(application.get("name")), "its name"
    if (rule := find(document, hostname)) is not None:
        leads_to = namespace_of(rule)
        yield (
            "tunnel's rule",
            owner_of_namespace(cluster, leads_to, project=own.project) if leads_to else None,
            "where it leads",
        )
    for record in api.list_all(f"/zones/{ids.zone_id}/dns_records", **{"name.exact": hostname}):
        yield "DNS record", Owner.marked(record.get("comment")), "its comment"
