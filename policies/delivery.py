"""Rules for the app's pipeline: what GitLab gives it, what it may do in the cluster, who may change what it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.rule import Resource, Rule, known
from policies.shapes import SECRET_NAME

_LOOKS: Final = frozenset({"get", "list", "watch"})
_WRITES: Final[Mapping[tuple[str, str, str], str]] = {
    ("apps", "deployments", "patch"): "the deploy job sets the app's image",
    ("apps", "deployments", "update"): "so does `kubectl set image` of some versions",
    ("batch", "jobs", "create"): "migration and backup, from their CronJobs",
    ("batch", "jobs", "delete"): "a second migration of the same commit starts afresh",
}
"""Group, resource and verb of everything that a Role in this program may allow to change, each with its reason."""
_UNREAD: Final[Mapping[str, str]] = {
    "secrets": "they hold the database's password",
    "configmaps": "scripts of backups, of which the pipeline needs none",
    "pods/exec": "a shell in the database's pod",
    "pods/attach": "the same",
    "pods/portforward": "the database without a network policy",
    "pods/proxy": "the app and its metrics without a network policy",
    "services/proxy": "the same",
    "serviceaccounts/token": "tokens of other accounts",
}
"""Resources that not even a read-only Role may name, each with its reason."""
_CLUSTER_WIDE: Final = frozenset({"ClusterRole", "ClusterRoleBinding"})
_CREATORS: Final = frozenset({"maintainer", "admin", "no one"})
_PULL: Final = frozenset({"read_registry"})


def _variables_of_secrets_are_masked(resource: Resource) -> Iterator[str]:
    if resource.kind != "ProjectVariable" or not SECRET_NAME.search(str(resource.inputs.get("key", ""))):
        return
    key = resource.inputs["key"]
    if resource.inputs.get("masked") is not True:
        yield f"{key} is not masked: a job's log may show it"
    if resource.inputs.get("raw") is not True:
        yield f"{key} is not raw: GitLab would expand a $ in it, and mask something else"
    if resource.inputs.get("environmentScope", "*") == "*":
        yield f"{key} has the scope of every environment: a job of dev would see prod's"


def _roles_have_least_rights(resource: Resource) -> Iterator[str]:
    if resource.kind in _CLUSTER_WIDE:
        yield f"a {resource.kind}: nobody to whom this program grants access needs rights beyond the stack's namespace"
    if resource.kind != "Role":
        return
    for rule in resource.inputs.get("rules") or []:
        for group in rule.get("apiGroups", []):
            for name in rule.get("resources", []):
                yield from _right(group, name, rule.get("verbs", []))


def _right(group: str, name: str, verbs: list[str]) -> Iterator[str]:
    what = f"{name}.{group}" if group else name
    if "*" in {group, name, *verbs}:
        yield f"a Role with a wildcard ({', '.join(verbs)} {what}): name what is called"
        return
    if name in _UNREAD:
        yield f"a Role that may {', '.join(verbs)} {what}: {_UNREAD[name]}"
        return
    if writes := [verb for verb in verbs if verb not in _LOOKS and (group, name, verb) not in _WRITES]:
        yield f"a Role that may {', '.join(writes)} {what}, which no job of the pipeline does"


def _bindings_name_one_account(resource: Resource) -> Iterator[str]:
    """The account must be a ServiceAccount in the namespace, or the user of one project's branch and environment."""
    if resource.kind != "RoleBinding":
        return
    if resource.inputs.get("roleRef", {}).get("kind") != "Role":
        yield "a RoleBinding to a ClusterRole, whose rights somebody else decides: bind a Role of the namespace"
    subjects: list[dict[str, Any]] = resource.inputs.get("subjects") or []
    if len(subjects) != 1:
        yield f"a RoleBinding of {len(subjects)} subjects: bind one, or nobody sees who has the rights"
    for subject in subjects:
        kind, name = subject.get("kind"), subject.get("name", "")
        if kind == "ServiceAccount":
            others = known(subject.get("namespace")) and subject.get("namespace") != resource.namespace
            if others and known(resource.namespace):
                yield f"a RoleBinding of the ServiceAccount {name} of another namespace"
        elif kind == "User":
            if known(name) and not _is_of_one_job(name):
                yield f"a RoleBinding of the user {name}, who is not of one project, branch and environment"
        else:
            yield f"a RoleBinding of the {kind} {name}: a group is whoever a token says it is"


def _is_of_one_job(name: str) -> bool:
    parts = name.split(":")
    labels = ("gitlab", "project", "branch", "environment")
    return len(parts) == 7 and (parts[0], *parts[1::2]) == labels and all(parts)


def _admission_denies(resource: Resource) -> Iterator[str]:
    spec = resource.inputs.get("spec") or {}
    if resource.kind == "ValidatingAdmissionPolicy" and spec.get("failurePolicy") != "Fail":
        yield "a ValidatingAdmissionPolicy that lets through what it cannot evaluate: failurePolicy has to be Fail"
    if resource.kind == "ValidatingAdmissionPolicyBinding" and spec.get("validationActions") != ["Deny"]:
        yield "a ValidatingAdmissionPolicyBinding that does not deny: validationActions has to be Deny alone"


def _what_pipelines_run_is_protected(resource: Resource) -> Iterator[str]:
    """Protected branches, and tags at which others include a pipeline, decide what jobs run."""
    if resource.kind == "BranchProtection" and resource.inputs.get("allowForcePush"):
        yield "a protected branch that may be force-pushed: what was reviewed need not be what is deployed"
    if resource.kind == "TagProtection" and resource.inputs.get("createAccessLevel") not in _CREATORS:
        yield "a protected tag that Developers may create: others include this pipeline by it"


def _deploy_tokens_pull_and_end(resource: Resource) -> Iterator[str]:
    if resource.kind != "ProjectDeployToken":
        return
    if further := sorted(set(resource.inputs.get("scopes") or []) - _PULL):
        yield f"a deploy token that may do more than pull: {', '.join(further)}"
    if not resource.inputs.get("expiresAt"):
        yield "a deploy token that never expires"


RULES = (
    Rule(
        name="ci-secrets-are-masked",
        description="A CI variable that holds a secret is masked, and of one environment.",
        each=_variables_of_secrets_are_masked,
    ),
    Rule(
        name="roles-have-least-rights",
        description="A Role allows what the pipeline's jobs call, and nothing else.",
        each=_roles_have_least_rights,
    ),
    Rule(
        name="bindings-name-one-account",
        description="A RoleBinding names one account of the namespace, or one job's user.",
        each=_bindings_name_one_account,
    ),
    Rule(name="admission-denies", description="Admission policies deny, even if in doubt.", each=_admission_denies),
    Rule(
        name="what-pipelines-run-is-protected",
        description="Branches and tags that pipelines run from are not rewritten.",
        each=_what_pipelines_run_is_protected,
    ),
    Rule(
        name="deploy-tokens-pull-and-end",
        description="A deploy token can only pull images, and expires.",
        each=_deploy_tokens_pull_and_end,
    ),
)
