"""What can break in GitLab and with the tokens: how, and what the checks then report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from rehearsal.vendors.cloudflare import SCOPES
from tests.rehearsal.verify.breaking import (
    ago,
    changed,
    deploy_token,
    emptied,
    environment,
    in_days,
    mirror,
    token,
    variable,
    with_entry,
    without,
)
from tests.rehearsal.verify.live import REGISTRY, SCOPE, STACK, Live

OF_DELIVERY: Mapping[str, tuple[Callable[[Live], AbstractContextManager[None]], dict[str, str]]] = {
    "the GitLab environment is stopped": (
        lambda live: changed(environment(live), state="stopped"),
        {"environment": "its state is 'stopped'"},
    ),
    "the GitLab environment has another address": (
        lambda live: changed(environment(live), external_url="https://example.com"),
        {"environment": "its address is 'https://example.com', not"},
    ),
    "the GitLab environment is gone": (
        lambda live: without(live.project.environments._by_id, environment(live)["id"]),
        {"environment": f"no environment {SCOPE}"},
    ),
    "a CI variable has another value": (
        lambda live: variable(live, "KUBE_NAMESPACE", value="invoicetron-dev"),
        {"ci-variables": "KUBE_NAMESPACE is not what"},
    ),
    "a CI variable has the scope of every environment": (
        lambda live: variable(live, "APP_URL", environment_scope="*"),
        {"ci-variables": "APP_URL is missing"},
    ),
    "a CI variable is protected": (
        lambda live: variable(live, "HEALTH_URL", protected=True),
        {"ci-variables": "HEALTH_URL is protected"},
    ),
    "the deployer's token is an older one": (
        lambda live: variable(live, "KUBE_TOKEN", value="an.older.token"),
        {"deployer-token": "not the cluster's"},
    ),
    "the deployer's token shows in logs": (
        lambda live: variable(live, "KUBE_TOKEN", masked=False),
        {"deployer-token": "not masked"},
    ),
    "every branch sees the deployer's token": (
        lambda live: variable(live, "KUBE_TOKEN", protected=False),
        {"deployer-token": "every branch sees it"},
    ),
    "the deploying branch is no longer protected": (
        lambda live: without(live.project.branches._protected, "main"),
        {"deployer-token": "its pipeline does not see it"},
    ),
    "the deployer's token is in no variable": (
        lambda live: variable(live, "KUBE_TOKEN", environment_scope="staging"),
        {"deployer-token": "is missing"},
    ),
    "the registry has lost the image that runs": (
        lambda live: emptied(live.project.registry._tags[f"{REGISTRY}/{STACK}"]),
        {"registry": "no longer has"},
    ),
    "a clean-up policy keeps no number of tags": (
        lambda live: changed(live.project.clean_up, enabled=True, keep_n=None),
        {"registry": "which run, or which a rollback would deploy"},
    ),
    "the deploy token expires in ten days": (
        lambda live: changed(deploy_token(live), expires_at=ago(days=-10, hours=-1)),
        {"deploy-token": "expires on 20 ... (days left: 10)"},
    ),
    "the deploy token has expired": (
        lambda live: changed(deploy_token(live), expires_at=ago(days=2)),
        {"deploy-token": "expired on 20"},
    ),
    "a second deploy token was left behind": (
        lambda live: with_entry(live.project.deploy_tokens._by_id, 1, {**deploy_token(live), "id": 1}),
        {"deploy-token": "2 deploy tokens invoicetron-pull-prod"},
    ),
    "the deploy token never expires": (
        lambda live: changed(deploy_token(live), expires_at=None),
        {"deploy-token": "never expires"},
    ),
    "the deploy token is revoked": (
        lambda live: changed(deploy_token(live), revoked=True),
        {"deploy-token": "no deploy token invoicetron-pull-prod"},
    ),
    "GITLAB_TOKEN expires in a week": (
        lambda live: token("GITLAB_TOKEN", live.rehearsal.gitlab.issue_token("api", expires=in_days(8))),
        {"gitlab-token": "pulumi expires on 20 ... (days left: 7)"},
    ),
    "CLOUDFLARE_API_TOKEN expires tomorrow": (
        lambda live: token(
            "CLOUDFLARE_API_TOKEN", live.rehearsal.cloudflare.issue_token(*SCOPES, expires=ago(days=-1, minutes=-5))
        ),
        {"cloudflare-token": "CLOUDFLARE_API_TOKEN expires on 20 ... (days left: 1)"},
    ),
    "the Cloudflare account's own token expires tomorrow": (
        lambda live: token(
            "CLOUDFLARE_API_TOKEN",
            live.rehearsal.cloudflare.issue_token(*SCOPES, expires=ago(days=-1, minutes=-5), of_account=True),
        ),
        {"cloudflare-token": "CLOUDFLARE_API_TOKEN expires on 20 ... (days left: 1)"},
    ),
    "GitHub refuses the mirror": (
        lambda live: changed(mirror(live), update_status="failed", last_error="ERROR: Permission to o/r.git denied"),
        {"push-mirror": "Permission to o/r.git denied (last success: 20"},
    ),
    "the mirror has never pushed": (
        lambda live: changed(mirror(live), last_successful_update_at=None),
        {"push-mirror": "nothing has been pushed yet"},
    ),
    "GitLab has lost the mirror's host keys": (
        lambda live: changed(mirror(live), host_keys=[]),
        {"push-mirror": "it trusts no host key"},
    ),
    "the mirror is disabled": (lambda live: changed(mirror(live), enabled=False), {"push-mirror": "disabled"}),
    "the mirror is to another repository": (
        lambda live: changed(mirror(live), url="ssh://git@github.com/someone/else.git"),
        {"push-mirror": "no push mirror to ssh://"},
    ),
}
