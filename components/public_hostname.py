"""PublicHostname: a hostname of the app on the internet, behind a login: Access application, tunnel rule, DNS record.

A part of `Access`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from components.cloudflare_resources import AccessApplication, DnsRecord
from components.public_names import APPLICATION, COMPONENT_TYPE, RECORD, RULE, of_hostname
from components.tunnel import TARGET, TunnelHostname
from lookups.cloudflare import CloudflareIds
from settings.access import AdoptedIds, url_of
from settings.ownership import Owner


@dataclass(frozen=True, kw_only=True)
class PublicHostnameArgs:
    """The service behind the hostname, the policies of its application, and what exists already."""

    owner: Owner
    """The owner of the resources, as the application's name and the record's comment state it."""
    hostname: str
    ids: CloudflareIds
    policy_ids: Sequence[pulumi.Input[str]]
    """Ids of the Access policies, in the order in which Access evaluates them."""
    session_duration: str
    service: pulumi.Input[str]
    """URL of the app's Service."""
    adopt: AdoptedIds
    after: Sequence[pulumi.Resource]
    """What must exist before the tunnel rule.

    This includes the rules of the hostnames before this one: each rule is a change to the tunnel's whole document, and
    two changes at once would undo each other.
    """
    released: pulumi.Input[str] | None
    """URN under which the last release registered this component, for the one hostname that a stack had then."""


class PublicHostname(pulumi.ComponentResource):
    """`url` is known once everything is in place.

    Each of the three resources depends on the one before, so that the app is never reachable without Access: not during
    creation, not after a failure half-way, and not during deletion, which runs in reverse order.
    """

    url: pulumi.Output[str]
    rule: TunnelHostname

    def __init__(self, name: str, args: PublicHostnameArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(COMPONENT_TYPE, name, None, opts)
        ids, hostname = args.ids, args.hostname

        def released(name_: str) -> list[pulumi.Alias]:
            return [pulumi.Alias(name=name_, parent=args.released)] if args.released else []

        application = AccessApplication(
            of_hostname(APPLICATION, hostname),
            account_id=ids.account_id,
            name=args.owner.title,
            domain=hostname,
            session_duration=args.session_duration,
            policy_ids=args.policy_ids,
            identity_provider_ids=ids.identity_provider_ids,
            opts=ResourceOptions(
                parent=self,
                aliases=released(APPLICATION),
                # An update in place would leave the old hostname without a login while its record still resolves.
                replace_on_changes=["domain"],
                import_=f"accounts/{ids.account_id}/{args.adopt.application}" if args.adopt.application else None,
            ),
        )
        self.rule = TunnelHostname(
            of_hostname(RULE, hostname),
            account_id=ids.account_id,
            tunnel_id=ids.tunnel_id,
            hostname=hostname,
            service=args.service,
            team_name=ids.team_name,
            audience=application.aud,
            adopt=args.adopt.tunnel_rule,
            opts=ResourceOptions(parent=self, aliases=released(RULE), depends_on=[application, *args.after]),
        )
        record = DnsRecord(
            of_hostname(RECORD, hostname),
            zone_id=ids.zone_id,
            name=hostname,
            content=TARGET.format(ids.tunnel_id),
            comment=args.owner.mark,
            opts=ResourceOptions(
                parent=self,
                aliases=released(RECORD),
                depends_on=[application, self.rule],
                import_=f"{ids.zone_id}/{args.adopt.dns_record}" if args.adopt.dns_record else None,
            ),
        )
        self.url = record.name.apply(url_of)
        self.register_outputs({"url": self.url})
