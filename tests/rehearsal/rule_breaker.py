"""A Pulumi program that breaks every rule of the policy pack."""

from __future__ import annotations

import pulumi
import pulumi_cloudflare as cloudflare
import pulumi_gitlab as gitlab
import pulumi_kubernetes as kubernetes

core = kubernetes.core.v1
in_cluster = pulumi.ResourceOptions(provider=kubernetes.Provider("kubernetes"))
at_cloudflare = pulumi.ResourceOptions(provider=cloudflare.Provider("cloudflare"))

rbac = kubernetes.rbac.v1
admission = kubernetes.admissionregistration.v1
in_gitlab = pulumi.ResourceOptions(provider=gitlab.Provider("gitlab"))

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
rbac.Role(
    "everything",
    metadata={"name": "everything", "namespace": "default"},
    rules=[rbac.PolicyRuleArgs(api_groups=["*"], resources=["*"], verbs=["*"])],
    opts=in_cluster,
)
rbac.RoleBinding(
    "everyone",
    metadata={"name": "everyone", "namespace": "default"},
    subjects=[rbac.SubjectArgs(kind="Group", name="system:authenticated", api_group="rbac.authorization.k8s.io")],
    role_ref=rbac.RoleRefArgs(kind="Role", name="everything", api_group="rbac.authorization.k8s.io"),
    opts=in_cluster,
)
admission.ValidatingAdmissionPolicyBinding(
    "warns",
    metadata={"name": "warns"},
    spec=admission.ValidatingAdmissionPolicyBindingSpecArgs(policy_name="a", validation_actions=["Warn"]),
    opts=in_cluster,
)
gitlab.ProjectVariable("shown", project="57", key="KUBE_TOKEN", value=pulumi.Output.secret("x"), opts=in_gitlab)
gitlab.TagProtection("movable", project="57", tag="v*", create_access_level="developer", opts=in_gitlab)
gitlab.ProjectDeployToken("pushes", project="57", name="pushes", scopes=["write_registry"], opts=in_gitlab)
