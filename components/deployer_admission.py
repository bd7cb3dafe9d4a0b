"""DeployerAdmission: limits what the pipeline's token may write, more narrowly than RBAC can.

RBAC lets the token create Jobs and patch the app's Deployment, and a Job may mount any Secret in the namespace. With
these policies, the API server compares each Job with the CronJob it comes from, and each change to the Deployment with
the old object.

The policies contain the templates themselves, as the API server returns them, with its defaults. With a `paramKind`,
the API server would read the templates, but it stops watching a built-in kind for good once no binding has named it for
a second: after the policies are deleted and created again, it refuses every Job, or compares it with an outdated
template, until the API server restarts (kubernetes/kubernetes#130887, open in 1.36).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.admission_names import ACCOUNT, BACKUP, MIGRATION, policy_name
from components.app import App
from components.backup import Backup
from components.environment import Environment
from components.job_template import JobTemplate
from components.pods import PATCH_FORCE, meta
from sdks import kubernetes
from settings.app import AppSettings
from settings.images import image_repository
from settings.names import PROGRAM

_TAG_OR_DIGEST: Final = r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
# Defaults of batch/v1 that the API server sets in a new Job but not in a CronJob's template.
_JOB_DEFAULTS: Final = (
    "{'parallelism': dyn(1), 'completions': dyn(1), 'completionMode': dyn('NonIndexed'), 'suspend': dyn(false),"
    " 'manualSelector': dyn(false), 'podReplacementPolicy': dyn('TerminatingOrFailed'), 'backoffLimit': dyn(6)}"
)
_GENERATED_LABELS: Final = (
    "['controller-uid', 'job-name', 'batch.kubernetes.io/controller-uid', 'batch.kubernetes.io/job-name']"
)
# Fields that the API server itself updates on each write.
_KEPT_BY_SERVER: Final = "['generation', 'managedFields', 'resourceVersion']"


@dataclass(frozen=True, kw_only=True)
class DeployerAdmissionArgs:
    """The objects that the pipeline may create and change, and its user."""

    settings: AppSettings
    """Every image that the pipeline sets must come from the repository of `image`."""
    user: pulumi.Input[str]
    """Name of the pipeline's user to the API server."""
    environment: Environment
    app: App
    """Has the migrations' template, in which the pipeline sets an image."""
    backup: Backup | None
    """Has the backups' template, which the pipeline uses unchanged; None if the stack has no backups."""


class DeployerAdmission(pulumi.ComponentResource):
    """ValidatingAdmissionPolicies, each with a binding: for the Deployment, for all Jobs, and for each template."""

    def __init__(self, name: str, args: DeployerAdmissionArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:deployer_admission:DeployerAdmission", name, None, opts)
        repository = image_repository(args.settings.image)
        by_part = {MIGRATION: args.app.migration} if args.app.migration else {}
        if args.backup:
            by_part[BACKUP] = args.backup.template
        names = pulumi.Output.all(*(template.name for template in by_part.values()))
        self._policy(
            "deployment",
            args,
            group="apps",
            resource="deployments",
            rules=_deployment(args.environment.names.app, repository),
        )
        if by_part:  # without templates, RBAC lets the pipeline create no Jobs
            self._policy(
                "jobs",
                args,
                group="batch",
                resource="jobs",
                rules=names.apply(lambda known: [_from_template(sorted(known))]),
            )
        for what, template in by_part.items():
            image = repository if what == MIGRATION else None
            self._policy(
                what,
                args,
                group="batch",
                resource="jobs",
                rules=pulumi.Output.all(template.name, template.uid).apply(partial(_job, image)),
                template=template,
            )
        self.register_outputs({})

    def _policy(
        self,
        what: str,
        args: DeployerAdmissionArgs,
        *,
        group: str,
        resource: str,
        rules: pulumi.Input[Sequence[Mapping[str, str]]],
        template: JobTemplate | None = None,
    ) -> None:
        """`rules` are CEL expressions with messages; all must hold for whatever the pipeline's user writes."""
        admission = kubernetes.admissionregistration.v1
        names = args.environment.names
        metadata = meta.ObjectMetaArgs(
            name=policy_name(names.namespace, what),
            labels={**names.labels(ACCOUNT), **names.owner_labels},
            annotations=PATCH_FORCE,
        )
        conditions = [
            admission.MatchConditionArgs(
                name="the-pipeline",
                # The user name cannot contain a quote: neither a branch nor an environment can.
                expression=pulumi.Output.format("request.userInfo.username == '{0}'", args.user),
            )
        ]
        if template is not None:
            conditions.append(
                admission.MatchConditionArgs(
                    name="of-this-template",
                    expression=pulumi.Output.format(
                        "has(object.metadata.ownerReferences) && "
                        "object.metadata.ownerReferences.exists(o, o.name == '{0}')",
                        template.name,
                    ),
                )
            )
        policy = admission.ValidatingAdmissionPolicy(
            f"{what}-policy",
            metadata=metadata,
            spec=admission.ValidatingAdmissionPolicySpecArgs(
                # If an expression cannot be evaluated, the API server refuses the request.
                failure_policy="Fail",
                match_constraints=admission.MatchResourcesArgs(
                    resource_rules=[
                        admission.NamedRuleWithOperationsArgs(
                            api_groups=[group],
                            api_versions=["*"],
                            operations=["CREATE", "UPDATE"],
                            resources=[resource],
                        )
                    ]
                ),
                match_conditions=conditions,
                variables=[admission.VariableArgs(name="template", expression=template.spec.apply(literal))]
                if template
                else None,
                validations=pulumi.Output.from_input(rules).apply(
                    lambda found: [admission.ValidationArgs(**rule) for rule in found]
                ),
            ),
            opts=ResourceOptions(parent=self),
        )
        admission.ValidatingAdmissionPolicyBinding(
            f"{what}-binding",
            metadata=metadata,
            spec=admission.ValidatingAdmissionPolicyBindingSpecArgs(
                policy_name=policy.metadata.name,
                validation_actions=["Deny"],
            ),
            opts=ResourceOptions(parent=self),
        )


def _deployment(name: str, repository: str) -> list[dict[str, str]]:
    old, new = "dyn(oldObject)", "dyn(object)"
    pod_old, pod_new = f"{old}.spec.template.spec", f"{new}.spec.template.spec"
    return [
        _rule(
            "the pipeline changes no Deployment but the app's, and creates none",
            f"request.operation == 'UPDATE' && object.metadata.name == '{name}'",
        ),
        _rule("the pipeline changes no metadata", _same(f"{old}.metadata", f"{new}.metadata", _KEPT_BY_SERVER)),
        _rule(
            "the pipeline changes no more than the image of the app's container",
            _all(
                _same(old, new, "['metadata', 'spec', 'status']"),
                _same(f"{old}.spec", f"{new}.spec", "['template']"),
                _same(f"{old}.spec.template", f"{new}.spec.template", "['spec']"),
                _same(pod_old, pod_new, "['containers']"),
                _same_containers(pod_old, pod_new, f"c.name == '{name}'"),
            ),
        ),
        _rule(
            f"the image has to be one of {repository}",
            f"{new}.spec.template.spec.containers.all(c, {_image_of(repository)} || "
            f"{old}.spec.template.spec.containers.exists(w, w.name == c.name && w.image == c.image))",
        ),
    ]


def _from_template(names: Sequence[str]) -> dict[str, str]:
    listed = ", ".join(f"'{name}'" for name in names)
    return _rule(
        f"the pipeline creates Jobs from these CronJobs only (kubectl create job --from): {', '.join(names)}",
        "request.operation == 'CREATE' && has(object.metadata.ownerReferences) && "
        f"object.metadata.ownerReferences.size() == 1 && object.metadata.ownerReferences[0].name in [{listed}]",
    )


def _job(image_repository: str | None, cron_job: Sequence[str]) -> list[dict[str, str]]:
    """Rules for Jobs of `cron_job` (name and UID). With `image_repository`, their containers may use its images."""
    name, uid = cron_job
    job, template = "dyn(object.spec)", "variables.template"
    pod, wanted = f"{job}.template.spec", f"{template}.template.spec"
    rules = [
        _rule(
            "the Job has to name the CronJob as its owner, and to be named after it",
            f"object.metadata.ownerReferences[0].uid == '{uid}' && "
            "object.metadata.ownerReferences[0].kind == 'CronJob' && "
            f"object.metadata.name.startsWith('{name}-') && !has(object.metadata.finalizers)",
        ),
        _rule(
            "the Job's settings have to be those of the CronJob's template",
            _all(
                f"{template}.all(k, k in {job})",
                f"{job}.all(k, k in ['template', 'selector'] || "
                f"(k in {template} ? {job}[k] == {template}[k] : "
                f"k in {_JOB_DEFAULTS} && {job}[k] == {_JOB_DEFAULTS}[k]))",
            ),
        ),
        _rule(
            "labels and annotations of the Job's pods have to be those of the CronJob's template",
            _all(
                _same(f"{template}.template.metadata", f"{job}.template.metadata", "['labels', 'creationTimestamp']"),
                _same(f"{template}.template.metadata.labels", f"{job}.template.metadata.labels", _GENERATED_LABELS),
            ),
        ),
        _rule(
            "the Job's pods have to be those of the CronJob's template, but for the migration's image",
            _all(
                _same(f"{template}.template", f"{job}.template", "['metadata', 'spec']"),
                _same(wanted, pod, "['containers']"),
                _same_containers(wanted, pod, "true" if image_repository else "c.image == w.image"),
            ),
        ),
    ]
    if image_repository:
        rules.append(
            _rule(
                f"the image has to be one of {image_repository}",
                f"{pod}.containers.all(c, {_image_of(image_repository)})",
            )
        )
    return rules


def literal(value: object) -> str:
    """CEL for a value of the Kubernetes API. Each part is `dyn`: Kubernetes' CEL refuses maps of mixed types."""
    if isinstance(value, Mapping):
        found = ", ".join(f"{json.dumps(key)}: dyn({literal(part)})" for key, part in sorted(value.items()))
        return f"{{{found}}}"
    if isinstance(value, list):
        return f"[{', '.join(f'dyn({literal(part)})' for part in value)}]"
    if isinstance(value, float) and value.is_integer():  # the engine passes every number as a float
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def _rule(message: str, expression: str) -> dict[str, str]:
    return {"expression": expression, "message": message, "reason": "Forbidden"}


def _all(*expressions: str) -> str:
    return " && ".join(f"({one})" for one in expressions)


def _same(old: str, new: str, but: str) -> str:
    """CEL: two maps have the same keys and values, except for the keys in the list `but`."""
    return _all(
        f"{new}.all(k, k in {but} || (k in {old} && {new}[k] == {old}[k]))", f"{old}.all(k, k in {but} || k in {new})"
    )


def _same_containers(old: str, new: str, may: str) -> str:
    """CEL: the same containers in the same order. If `may` holds for container `c` (before: `w`), images may differ."""
    return _all(
        f"{new}.containers.map(c, c.name) == {old}.containers.map(w, w.name)",
        f"{new}.containers.all(c, {old}.containers.exists(w, w.name == c.name && "
        f"c.all(k, (k == 'image' && ({may})) || (k in w && c[k] == w[k])) && w.all(k, k in c)))",
    )


def _image_of(repository: str) -> str:
    """CEL: the image of container `c` comes from this repository, with a tag or a digest."""
    pattern = f"^{re.escape(repository)}{_TAG_OR_DIGEST}$"
    return f"(c.image.matches(r'{pattern}') && c.image != '{repository}')"
