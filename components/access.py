"""Access: how people reach the app inside the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.pods import metadata
from sdks import kubernetes

NAME: Final = "invoicetron"
"""Of the route."""

_ACCEPTED: Final = 'jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True'


@dataclass(frozen=True, kw_only=True)
class AccessArgs:
    """The route from a listener of a Gateway to a Service."""

    namespace: pulumi.Input[str]
    hostname: str
    gateway: str
    gateway_namespace: str
    listener: str
    """Name of the listener that serves the hostname."""
    service: pulumi.Input[str]
    port: pulumi.Input[int]


class Access(pulumi.ComponentResource):
    """The route; `url` is where it leads from."""

    url: pulumi.Output[str]

    def __init__(self, name: str, args: AccessArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("invoicetron:access:Access", name, None, opts)
        kubernetes.apiextensions.CustomResource(
            "route",
            api_version="gateway.networking.k8s.io/v1",
            kind="HTTPRoute",
            # Under status.parents[], where `condition=Accepted` does not look.
            metadata=metadata(NAME, args.namespace, app=NAME, annotations={"pulumi.com/waitFor": _ACCEPTED}),
            spec={
                "parentRefs": [
                    {"name": args.gateway, "namespace": args.gateway_namespace, "sectionName": args.listener}
                ],
                "hostnames": [args.hostname],
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "backendRefs": [{"name": args.service, "port": args.port}],
                    }
                ],
            },
            # A Gateway answers within seconds, or never: no such listener, or one that serves other hostnames.
            opts=ResourceOptions(parent=self, custom_timeouts=pulumi.CustomTimeouts(create="2m", update="2m")),
        )
        self.url = pulumi.Output.from_input(f"https://{args.hostname}")
        self.register_outputs({"url": self.url})
