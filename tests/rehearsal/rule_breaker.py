"""A Pulumi program with something against every rule of the policy pack."""

from __future__ import annotations

import pulumi
import pulumi_cloudflare as cloudflare
import pulumi_kubernetes as kubernetes

core = kubernetes.core.v1
in_cluster = pulumi.ResourceOptions(provider=kubernetes.Provider("kubernetes"))
at_cloudflare = pulumi.ResourceOptions(provider=cloudflare.Provider("cloudflare"))

core.Namespace("unprotected", metadata={"name": "unprotected"}, opts=in_cluster)
core.PersistentVolumeClaim("data", metadata={"name": "data", "namespace": "unprotected"}, opts=in_cluster)
core.ConfigMap(
    "plaintext",
    metadata={"name": "c", "namespace": "default"},
    data={"url": "postgresql://shop:no-secret@localhost/shop"},
    opts=in_cluster,
)
core.Pod(
    "pod",
    metadata={"name": "pod", "namespace": "default"},
    spec=core.PodSpecArgs(
        containers=[
            core.ContainerArgs(
                name="web",
                image="web:latest",
                ports=[core.ContainerPortArgs(container_port=80)],
                env_from=[core.EnvFromSourceArgs(secret_ref=core.SecretEnvSourceArgs(name="s"))],
            )
        ]
    ),
    opts=in_cluster,
)
cloudflare.ZeroTrustAccessApplication(
    "application", account_id="a" * 32, type="self_hosted", domain="shop.example.com", opts=at_cloudflare
)
cloudflare.ZeroTrustAccessPolicy(
    "everybody",
    account_id="a" * 32,
    name="everybody",
    decision="allow",
    includes=[{"everyone": {}}],
    opts=at_cloudflare,
)
cloudflare.DnsRecord(
    "record",
    zone_id="b" * 32,
    name="shop.example.com",
    type="CNAME",
    ttl=1,
    content="example.com",
    opts=at_cloudflare,
)
