"""What the program gives the app's pipeline in GitLab, and the mirror of its repository."""

from __future__ import annotations

from typing import Final

from components import deployer
from components.admission_names import ACCOUNT
from components.delivery import TOKEN, USER, variables
from lookups.cluster import connect
from lookups.gitlab import covers
from lookups.infrastructure import RELEASES, covers_releases, schedule_description
from lookups.job_identity import ROOT_CA, find_problems, in_base64, job_user
from ops.mirrors import bare, fingerprint, push_mirrors
from ops.verify.check import Check
from ops.verify.secrets import same, secret_data
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings import Settings
from settings.commands import ops_command, pulumi_command

_DEVELOPER: Final = 30
"""Access level of a Developer."""


def environment(systems: Systems) -> str:
    """GitLab has the environment, with its state, tier and address."""
    wanted, url = systems.delivery.environment, systems.settings.access.people_url
    found = next(iter(systems.project.environments.list(name=wanted.name, iterator=True)), None)
    if found is None:
        raise CheckError(f"the project has no environment {wanted.name}", systems.up)
    wrong = [
        f"{what} is {given!r}, not {right!r}"
        for what, given, right in (
            ("its state", found.state, "available"),
            ("its tier", found.tier, wanted.tier),
            ("its address", found.external_url, url),
        )
        if given != right
    ]
    if wrong:
        # GitLab's API cannot start an environment; its next deployment does.
        start = f"run the app's pipeline of branch {systems.delivery.branch}, whose deployment starts it again"
        stopped = found.state != "available"
        fixes = [*([start] if stopped else []), *([systems.up] if len(wrong) > stopped else [])]
        raise CheckError("; ".join(wrong), "; ".join(fixes))
    return f"{wanted.name} is available at {url}"


def ci_variables(systems: Systems) -> str:
    """The pipeline has its CI variables, each in the environment's own scope."""
    delivery = systems.delivery
    if delivery.has_id_tokens:
        authority = in_base64(systems.need("v1", "ConfigMap", ROOT_CA).get("data", {}).get("ca.crt", ""))
        credentials = {USER: job_user(str(systems.project.id), delivery)}
    else:
        authority = systems.need("v1", "Secret", deployer.token_secret(delivery)).get("data", {}).get("ca.crt", "")
        credentials = {}  # has a separate check
    wanted = variables(systems.settings, credentials=credentials, certificate_authority=authority)
    scope = delivery.environment.name
    listed = systems.project.variables.list(iterator=True)
    found = {one.key: one for one in listed if one.environment_scope == scope}
    wrong = []
    for key, value in wanted.items():
        if key not in found:
            wrong.append(f"{key} is missing")
        elif found[key].value != value:
            wrong.append(f"{key} is not what `up` sets")
        elif found[key].protected:
            wrong.append(f"{key} is protected")
    if wrong:
        raise CheckError(f"scope {scope}: {'; '.join(wrong)}", systems.up)
    return f"{len(wanted)} in scope {scope}: {', '.join(sorted(wanted))}"


def deployer_token(systems: Systems) -> str:
    """The pipeline's token is the cluster's, and no job's log shows it."""
    delivery = systems.delivery
    scope, secret = delivery.environment.name, deployer.token_secret(delivery)
    listed = systems.project.variables.list(iterator=True)
    found = next((one for one in listed if (one.key, one.environment_scope) == (TOKEN, scope)), None)
    if found is None:
        raise CheckError(f"{TOKEN} is missing in scope {scope}", systems.up)
    protected = _is_protected(systems)
    wrong = []
    if not found.masked:
        wrong.append("it is not masked, so job logs may show it")
    if protected and not found.protected:
        wrong.append(f"it is not protected, so every branch sees it, though {delivery.branch} is protected")
    if found.protected and not protected:
        wrong.append(f"it is protected, and branch {delivery.branch} is not, so its pipeline does not see it")
    if not same(found.value or "", secret_data(systems, secret).get("token", "")):
        wrong.append("it is not the cluster's")
    if wrong:
        fix = f"if others may have seen it, delete Secret {secret}, which makes a new one; then {systems.up}"
        raise CheckError("; ".join(wrong), fix)
    return f"{TOKEN} in scope {scope} is the cluster's, masked{', protected' if found.protected else ''}"


def deployer_identity(systems: Systems) -> str:
    """The cluster admits jobs of the right branch and environment, by GitLab's ID tokens, and no other user."""
    delivery, scope = systems.delivery, systems.delivery.environment.name
    user = job_user(str(systems.project.id), delivery)
    binding = systems.need("rbac.authorization.k8s.io/v1", "RoleBinding", ACCOUNT)
    bound = [f"{one['kind']} {one['name']}" for one in binding.get("subjects") or ()]
    wrong: list[tuple[str, str]] = list(find_problems(connect(systems.settings.cluster.context)))
    if bound != [f"User {user}"]:
        wrong.append((f"the Role is bound to {', '.join(bound) or 'nobody'}, not to User {user}", systems.up))
    if not _is_protected(systems):
        fix = f"protect {delivery.branch} (Settings > Repository)"
        wrong.append((f"branch {delivery.branch} is not protected, so the API server refuses its tokens", fix))
    listed = systems.project.variables.list(iterator=True)
    if any((one.key, one.environment_scope) == (TOKEN, scope) for one in listed):
        fix = "delete it (Settings > CI/CD > Variables), and in the cluster the Secret that it came from"
        wrong.append((f"{TOKEN} is still in scope {scope}", fix))
    if wrong:
        raise CheckError("; ".join(what for what, _ in wrong), "; ".join(dict.fromkeys(fix for _, fix in wrong)))
    return f"the Role is bound to User {user}, and GitLab keeps no token"


def _is_protected(systems: Systems) -> bool:
    """Whether the deploying branch is protected; not asked of the branch, which may not have a commit yet."""
    rules = systems.project.protectedbranches.list(iterator=True)
    return any(covers(rule.name, systems.delivery.branch) for rule in rules)


def mirror(systems: Systems) -> str:
    """Every mirror that pushes to GitHub has succeeded, so GitHub has what GitLab has."""
    url = systems.repository.mirror
    found = push_mirrors(systems.project, url)
    if not found:
        raise CheckError(f"the project has no push mirror to {url}", systems.up)
    pushing = [one for one in found if one.enabled]
    if not pushing:
        raise CheckError("it is disabled", systems.up)
    # GitLab does not say which of them is the program's.
    several = f"; {len(pushing)} mirrors push there: delete the one made by hand" if len(pushing) > 1 else ""
    push = ops_command("sync-mirror", systems.settings.stack)
    show_key = pulumi_command("stack output", systems.settings.stack, "mirror_key")
    trusted = sorted(fingerprint(key) for key in systems.repository.host_keys)
    for one in pushing:
        seen = sorted(bare(key["fingerprint_sha256"]) for key in one.host_keys)
        if one.url.startswith("ssh:") and seen != trusted:
            shown = ", ".join(f"SHA256:{each}" for each in seen) or "no host key"
            wanted = ", ".join(f"SHA256:{each}" for each in trusted)
            raise CheckError(f"it trusts {shown}, but repository.hostKeys says {wanted}{several}", systems.up)
        since, why = one.last_successful_update_at, one.last_error
        if why or one.update_status == "failed":
            raise CheckError(
                f"the last push failed: {why or 'no reason given'} (last success: {since or 'none'}){several}",
                f"check that GitHub has its key with write access: `{show_key}` says where to add it; then run "
                f"`{push}`",
            )
        if since is None:
            raise CheckError(f"nothing has been pushed yet{several}", f"run `{push}`")
    return f"last success {min(one.last_successful_update_at for one in pushing)}, no error{several}"


def infrastructure(systems: Systems) -> str:
    """This program's own project checks the stacks every day, and only Maintainers make its releases."""
    own = systems.infrastructure
    project = systems.gitlab.projects.get(own.project)
    description = schedule_description(systems.names)
    schedules = project.pipelineschedules.list(iterator=True)
    schedule = next((one for one in schedules if one.description == description), None)
    tags = {one.name: one.create_access_levels for one in project.protectedtags.list(iterator=True)}
    wrong: list[tuple[str, str]] = []
    if schedule is None:
        wrong.append((f"it has no schedule {description!r}", systems.up))
    elif not schedule.active:
        wrong.append(("its schedule is inactive, so the stacks are not checked", systems.up))
    elif (schedule.cron, schedule.cron_timezone) != (own.schedule, own.time_zone):
        wrong.append((f"its schedule is {schedule.cron} ({schedule.cron_timezone}), not {own.schedule}", systems.up))
    if RELEASES not in tags:
        wrong.append(
            (f"tags {RELEASES}, which other projects use to include its pipeline, are not protected", systems.up)
        )
    for name, levels in tags.items():
        developers = any(one["access_level"] == _DEVELOPER for one in levels)
        named = any(one.get("user_id") or one.get("group_id") for one in levels)  # their roles are not shown
        if covers_releases(name) and (developers or named):
            fix = "allow only Maintainers (Settings > Repository > Protected tags)"
            wrong.append((f"{'Developers' if developers else 'named users or groups'} may create tags {name}", fix))
    if wrong:
        seen = "; ".join(what for what, _ in wrong)
        raise CheckError(f"{own.project}: {seen}", "; ".join(dict.fromkeys(fix for _, fix in wrong)))
    looks = f"checks the stacks at {own.schedule} ({own.time_zone})"
    return f"{own.project} {looks}, and only Maintainers create tags {RELEASES}"


def _has_delivery(settings: Settings) -> bool:
    return settings.delivery is not None


def _has_id_tokens(settings: Settings) -> bool:
    return settings.delivery is not None and settings.delivery.has_id_tokens


CHECKS = (
    Check(name="environment", look=environment, applies=_has_delivery),
    Check(name="ci-variables", look=ci_variables, applies=_has_delivery),
    Check(
        name="deployer-token",
        look=deployer_token,
        applies=lambda settings: _has_delivery(settings) and not _has_id_tokens(settings),
    ),
    Check(name="deployer-identity", look=deployer_identity, applies=_has_id_tokens),
    Check(name="push-mirror", look=mirror, applies=lambda settings: settings.repository is not None),
    Check(
        name="infrastructure",
        look=infrastructure,
        applies=lambda settings: settings.repository is not None and settings.repository.infrastructure is not None,
    ),
)
