"""Rules about what may be lost, read or reached by somebody who should not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.rule import Resource, Rule, Violation

_ACCESS = "ZeroTrustAccessApplication"
_DATA = frozenset({"Namespace", "StatefulSet", "PersistentVolumeClaim"})


def data_is_protected(stack: str) -> Rule:
    """In prod: namespace, database and volumes cannot be destroyed by a `pulumi destroy` or a replacement."""

    def check(resource: Resource) -> Iterator[str]:
        if (
            stack == "prod"
            and resource.type.startswith("kubernetes:")
            and resource.kind in _DATA
            and not resource.protect
        ):
            yield f"a {resource.kind} of prod holds data: register it with protect=True"

    return Rule(name="data-is-protected", description="What holds prod's data is protected.", each=check)


def _applications_have_policies(resource: Resource) -> Iterator[str]:
    if resource.kind == _ACCESS and not resource.inputs.get("policies"):
        yield "an Access application without a policy: Cloudflare detaches every policy that is not named here"


def _dns_comes_after_access(resources: Sequence[Resource]) -> Iterator[Violation]:
    by_urn = {resource.urn: resource for resource in resources}
    for record in resources:
        if record.kind != "DnsRecord":
            continue
        seen: set[str] = set()
        waiting = list(record.dependencies)
        while waiting:
            urn = waiting.pop()
            if urn not in seen and urn in by_urn:
                seen.add(urn)
                waiting.extend(by_urn[urn].dependencies)
        if not any(by_urn[urn].kind == _ACCESS for urn in seen):
            yield Violation(
                message="this record may exist before its Access application does: let it depend on the application",
                urn=record.urn,
            )


RULES = (
    Rule(
        name="access-applications-have-policies",
        description="Every Access application names its policy.",
        each=_applications_have_policies,
    ),
    Rule(
        name="dns-comes-after-access",
        description="A public name resolves only once its Access application exists.",
        all=_dns_comes_after_access,
    ),
)
