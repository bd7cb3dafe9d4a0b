"""The policy pack as the engine starts it; `pulumi preview --policy-pack policies`."""

from __future__ import annotations

import sys
from pathlib import Path

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

# The engine runs this folder as a program, with the folder itself on the path but not its parent.
sys.path.insert(0, str(Path(__file__).parents[1]))

from policies import delivery, exposure, pods, secrets
from policies.rule import Resource, Rule, plain


def _resource_policy(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        assert rule.each is not None  # noqa: S101 - chosen by `_policy`
        for message in rule.each(_resource(args)):
            report(message, None)

    return ResourceValidationPolicy(name=rule.name, description=rule.description, validate=validate)


def _stack_policy(rule: Rule) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        assert rule.all is not None  # noqa: S101 - chosen by `_policy`
        resources = []
        for one in args.resources:
            parent = [one.parent.urn] if one.parent else []
            urns = tuple([dependency.urn for dependency in one.dependencies] + parent)
            resources.append(
                Resource(
                    type=one.resource_type,
                    urn=one.urn,
                    inputs=plain(one.props),
                    protect=one.opts.protect,
                    dependencies=urns,
                )
            )
        for violation in rule.all(resources):
            report(violation.message, violation.urn)

    return StackValidationPolicy(name=rule.name, description=rule.description, validate=validate)


def _policy(rule: Rule) -> Policy:
    return _resource_policy(rule) if rule.each else _stack_policy(rule)


def _resource(args: ResourceValidationArgs) -> Resource:
    return Resource(type=args.resource_type, urn=args.urn, inputs=plain(args.props), protect=args.opts.protect)


class _NoPlaintextSecrets(ResourceValidationPolicy):
    """Only a remediation sees which inputs are marked secret: it checks but changes nothing, and validation reports."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}
        super().__init__(
            name="no-plaintext-secrets",
            description="Every secret input is marked secret.",
            enforcement_level=EnforcementLevel.REMEDIATE,
            remediate=self._look,
            validate=self._report,
        )

    def _look(self, args: ResourceValidationArgs) -> None:
        resource = Resource(type=args.resource_type, urn=args.urn, inputs=secrets.mark(args.props))
        self._found[args.urn] = list(secrets.plaintext(resource))

    def _report(self, args: ResourceValidationArgs, report: ReportViolation) -> None:
        for message in self._found.pop(args.urn, []):
            report(message, None)


RULES = (*pods.RULES, *exposure.RULES, *delivery.RULES)

PolicyPack(
    name="invoicetron",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[_NoPlaintextSecrets(), *(_policy(rule) for rule in RULES)],
)
