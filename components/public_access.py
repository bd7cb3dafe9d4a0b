"""PublicAccess: the app from the internet, behind a login: Access application, then tunnel rule, then DNS record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from components.network import CLOUDFLARED_EGRESS, network_policy, to_dns, to_names, to_pods
from components.ownership import Owner
from components.tunnel import ORIGIN, TARGET, TEAM_DOMAIN, TunnelHostname
from lookups.cloudflare import CloudflareIds
from sdks import cloudflare


@dataclass(frozen=True, kw_only=True)
class PublicAccessArgs:
    """Where the hostname leads, who is let in, and what exists already."""

    owner: Owner
    """Whose they are; the application's name and the record's comment say so."""
    hostname: str
    ids: CloudflareIds
    session_duration: str
    service: pulumi.Input[str]
    """Name of the app's Service."""
    namespace: pulumi.Input[str]
    port: pulumi.Input[int]
    pods: pulumi.Input[Mapping[str, str]]
    """Labels of the app's pods."""
    cloudflared_namespace: str
    cloudflared_pods: Mapping[str, str]
    adopt_application: str | None = None
    """Id of an Access application made by hand; so for the other two."""
    adopt_dns_record: str | None = None
    adopt_tunnel_rule: bool = False


class PublicAccess(pulumi.ComponentResource):
    """The public hostname. `url` is known once everything is in place.

    Each of the three depends on the one before, so that the app is never reachable without Access: not while it is
    made, not after a failure in between, and not while it is removed, which goes the other way.
    """

    url: pulumi.Output[str]

    def __init__(self, name: str, args: PublicAccessArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("invoicetron:public_access:PublicAccess", name, None, opts)
        ids = args.ids
        application = cloudflare.ZeroTrustAccessApplication(
            "access-application",
            account_id=ids.account_id,
            name=args.owner.title,
            type="self_hosted",
            domain=args.hostname,
            session_duration=args.session_duration,
            policies=[cloudflare.ZeroTrustAccessApplicationPolicyArgs(id=ids.policy_id, precedence=1)],
            allowed_idps=list(ids.identity_provider_ids) or None,
            app_launcher_visible=False,
            http_only_cookie_attribute=True,
            same_site_cookie_attribute="lax",
            opts=ResourceOptions(
                parent=self,
                # Changed in place, it would leave the old hostname without a login for as long as its record resolves.
                replace_on_changes=["domain"],
                import_=f"accounts/{ids.account_id}/{args.adopt_application}" if args.adopt_application else None,
            ),
        )
        address = pulumi.Output.format(ORIGIN, args.service, args.namespace, args.port)
        egress = network_policy(
            CLOUDFLARED_EGRESS,
            namespace=args.cloudflared_namespace,
            pods=args.cloudflared_pods,
            # Beside the policies that are there, if any: this one only adds a way out. If it were the only one and
            # restricted, every other hostname of the tunnel would go down.
            restricts=False,
            stack_namespace=args.namespace,
            ingress=None,
            egress=[
                pulumi.Output.from_input(args.pods).apply(
                    lambda pods: to_pods(pods, port=args.port, namespace=args.namespace)
                ),
                # It looks at the tokens that Access issues with the keys that are there.
                to_dns(learn_names=True),
                to_names([TEAM_DOMAIN.format(ids.team_name)]),
            ],
            opts=ResourceOptions(parent=self),
        )
        rule = TunnelHostname(
            "tunnel-hostname",
            account_id=ids.account_id,
            tunnel_id=ids.tunnel_id,
            hostname=args.hostname,
            service=address,
            team_name=ids.team_name,
            audience=application.aud,
            adopt=args.adopt_tunnel_rule,
            opts=ResourceOptions(parent=self, depends_on=[application, egress]),
        )
        record = cloudflare.DnsRecord(
            "dns-record",
            zone_id=ids.zone_id,
            name=args.hostname,
            type="CNAME",
            content=TARGET.format(ids.tunnel_id),
            proxied=True,
            ttl=1,
            comment=args.owner.mark,
            opts=ResourceOptions(
                parent=self,
                depends_on=[application, rule],
                import_=f"{ids.zone_id}/{args.adopt_dns_record}" if args.adopt_dns_record else None,
            ),
        )
        self.url = record.name.apply(lambda hostname: f"https://{hostname}")
        self.register_outputs({"url": self.url})
