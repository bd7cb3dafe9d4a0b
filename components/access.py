"""Access: how people reach the app, always inside the network, and from the internet if the stack is public."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.app import App
from components.environment import Environment
from components.network import network_policy, to_dns, to_names, to_pods
from components.public_hostname import PublicHostname, PublicHostnameArgs
from components.public_names import COMPONENT, RELEASED_TYPE, of_hostname
from components.service_token import ServiceToken, ServiceTokenArgs
from components.tunnel import ORIGIN, TEAM_DOMAIN
from lookups.cloudflare import CloudflareIds
from lookups.onepassword import ItemPlace
from sdks import kubernetes
from settings.access import AccessSettings, PublicAccessSettings
from settings.names import PROGRAM

_ACCEPTED: Final = (
    "jsonpath={.status.parents"
    '[?(@.parentRef.name=="%s" && @.parentRef.namespace=="%s" && @.parentRef.sectionName=="%s")]'
    '.conditions[?(@.type=="Accepted")].status}=True'
)
"""Not the first parent: until June 2026 Cilium left what it had said about former ones (cilium/cilium#46296)."""


@dataclass(frozen=True, kw_only=True)
class AccessArgs:
    """The app to publish, and the Cloudflare ids for its public address."""

    settings: AccessSettings
    environment: Environment
    app: App
    ids: CloudflareIds | None
    """None if the stack has no public address."""
    service_token_item: ItemPlace | None
    """Item for the service token; None if the stack has none."""


class Access(pulumi.ComponentResource):
    """The route from the Gateway, and the public hostnames. `url` is the URL of the first internal hostname."""

    url: pulumi.Output[str]
    public_url: pulumi.Output[str] | None
    """The first public URL, known once all public hostnames work; None if the stack has no public side."""
    service_token: ServiceToken | None
    """The token with which machines get in from outside; None if the stack has none."""

    def __init__(self, name: str, args: AccessArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:access:Access", name, None, opts)
        gateway, names = args.settings.gateway, args.environment.names
        kubernetes.apiextensions.CustomResource(
            "route",
            api_version="gateway.networking.k8s.io/v1",
            kind="HTTPRoute",
            # The condition is under status.parents[], where `condition=Accepted` does not look.
            metadata=args.environment.metadata(
                names.app,
                annotations={"pulumi.com/waitFor": _ACCEPTED % (gateway.name, gateway.namespace, gateway.listener)},
            ),
            spec={
                "parentRefs": [{"name": gateway.name, "namespace": gateway.namespace, "sectionName": gateway.listener}],
                "hostnames": list(args.settings.hostnames),
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "backendRefs": [{"name": args.app.service, "port": args.app.port}],
                    }
                ],
            },
            # A Gateway accepts within seconds or never: the listener does not exist, or serves other hostnames.
            opts=ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="2m", update="2m")),
        )
        self.url = pulumi.Output.from_input(args.settings.url)
        public = args.settings.public
        self.service_token = None
        if public and public.service_token and args.ids and args.service_token_item:
            self.service_token = ServiceToken(
                "service-token",
                ServiceTokenArgs(
                    names=names,
                    account_id=args.ids.account_id,
                    expires=public.service_token.expires,
                    item=args.service_token_item,
                ),
                ResourceOptions(parent=self),
            )
        self.public_url = self._publish(args, public, args.ids) if public and args.ids else None
        self.register_outputs({"url": self.url, "public_url": self.public_url})

    def _publish(self, args: AccessArgs, public: PublicAccessSettings, ids: CloudflareIds) -> pulumi.Output[str]:
        names, namespace = args.environment.names, args.environment.namespace
        released = pulumi.create_urn(COMPONENT, RELEASED_TYPE)
        egress = network_policy(
            names.cloudflared_egress,
            environment=args.environment,
            namespace=public.cloudflared.namespace,
            pods=public.cloudflared.pod_labels,
            # Only adds egress to what existing policies allow. If it were the only policy and restricted egress, every
            # other hostname of the tunnel would go down.
            restricts=False,
            ingress=None,
            egress=[
                to_pods(args.app.pods, port=args.app.port, namespace=namespace),
                # cloudflared verifies Access tokens with the keys of the team domain.
                to_dns(learn_names=True),
                to_names([TEAM_DOMAIN.format(ids.team_name)]),
            ],
            opts=ResourceOptions(parent=self, aliases=[pulumi.Alias(parent=released)]),
        )
        after: list[pulumi.Resource] = [egress]
        urls = []
        for hostname in public.hostnames:
            # Up to the release of November 2026, a stack had one public hostname, whose resources had other names.
            before = released if hostname == public.hostnames[0] else None
            made = PublicHostname(
                of_hostname(COMPONENT, hostname),
                PublicHostnameArgs(
                    owner=names.owner,
                    hostname=hostname,
                    ids=ids,
                    policy_ids=(ids.policy_id, *([self.service_token.policy_id] if self.service_token else [])),
                    session_duration=public.session_duration,
                    service=pulumi.Output.format(ORIGIN, args.app.service, namespace, args.app.port),
                    adopt=public.adopted(hostname),
                    after=tuple(after),
                    released=before,
                ),
                ResourceOptions(parent=self, aliases=[before] if before else []),
            )
            after.append(made.rule)
            urls.append(made.url)
        return pulumi.Output.all(*urls).apply(lambda known: str(known[0]))
