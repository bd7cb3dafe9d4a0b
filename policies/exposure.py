"""Rules against loss of data, and against access by people who should have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policies.rule import Resource, Rule, Violation, known

_ACCESS = "ZeroTrustAccessApplication"
_ACCESS_POLICY = "ZeroTrustAccessPolicy"
_REFERENCE = frozenset({"id", "precedence"})
_RECORDS = frozenset({"DnsRecord", "Record"})
_DATA = frozenset({"Namespace", "StatefulSet", "Cluster", "PersistentVolumeClaim", "PersistentVolume"})


def _data_is_protected(resources: Sequence[Resource]) -> Iterator[Violation]:
    """In prod, neither `pulumi destroy` nor a replacement can delete the namespace, the database and the volumes.

    A stack without a volume has no data, so its namespace contains none.
    """
    holding = [each for each in resources if each.type.startswith("kubernetes:") and each.kind in _DATA]
    if all(each.kind == "Namespace" for each in holding):
        return
    for resource in holding:
        if resource.stack == "prod" and not resource.protect:
            message = f"a {resource.kind} of prod holds data: register it with protect=True"
            yield Violation(message=message, urn=resource.urn)


def _applications_have_policies(resource: Resource) -> Iterator[str]:
    """The policies are policies of the account, by id: an application can also define one inline, for anybody."""
    if resource.kind != _ACCESS:
        return
    policies = resource.inputs.get("policies")
    if not policies:
        yield "an Access application without a policy: Cloudflare detaches every policy that is not named here"
    elif known(policies) and any("id" not in each or set(each) - _REFERENCE for each in policies):
        yield "an Access application with a policy of its own: name a policy of the account by its id"


def _policies_let_in_a_token(resource: Resource) -> Iterator[str]:
    """The owner decides in Cloudflare which people to let in: the program only creates policies for tokens."""
    if resource.kind != _ACCESS_POLICY:
        return
    includes = resource.inputs.get("includes") or []
    if not known(includes):
        return
    if resource.inputs.get("decision") != "non_identity" or [sorted(each) for each in includes] != [["serviceToken"]]:
        yield "an Access policy that lets in more than one service token (decision non_identity, one include)"


def _dns_comes_after_access(resources: Sequence[Resource]) -> Iterator[Violation]:
    by_urn = {resource.urn: resource for resource in resources}
    for record in resources:
        if record.kind not in _RECORDS:
            continue
        before = [by_urn[urn] for urn in _before(record, by_urn)]
        name = record.inputs.get("name")
        protected = {each.inputs.get("domain") for each in before if each.kind == _ACCESS}
        unknown = not all(known(each) for each in (name, *protected))
        if not protected or not (unknown or name in protected):
            yield Violation(
                message=f"{name} may resolve before an Access application for it exists: let this record depend on one",
                urn=record.urn,
            )


def _before(resource: Resource, by_urn: Mapping[str, Resource]) -> set[str]:
    """URNs of the resources that exist before `resource` does."""
    seen: set[str] = set()
    waiting = list(resource.dependencies)
    while waiting:
        urn = waiting.pop()
        if urn not in seen and urn in by_urn:
            seen.add(urn)
            waiting.extend(by_urn[urn].dependencies)
    return seen


RULES = (
    Rule(name="data-is-protected", description="What holds prod's data is protected.", all=_data_is_protected),
    Rule(
        name="access-applications-have-policies",
        description="Every Access application names its policy, by id.",
        each=_applications_have_policies,
    ),
    Rule(
        name="access-policies-let-in-a-token",
        description="An Access policy of the program lets in one service token, and nobody else.",
        each=_policies_let_in_a_token,
    ),
    Rule(
        name="dns-comes-after-access",
        description="A public name resolves only once its Access application exists.",
        all=_dns_comes_after_access,
    ),
)
