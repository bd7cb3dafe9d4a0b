"""How long the tokens remain valid: the one that the cluster pulls with, and those that `up` and this command use.

1Password's tokens are not here: neither Connect nor `op` says when they expire.
"""

from __future__ import annotations

import datetime as dt

from cloudflare import AuthenticationError, PermissionDeniedError

from components import deployer
from components.public_names import NAME_UNTIL
from lookups.deploy_tokens import active
from ops.verify.check import Check
from ops.verify.cluster import moment
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.commands import ops_command
from settings.delivery import LEAST_DAYS


def deploy_token(systems: Systems) -> str:
    """The token for pulling the image remains valid for a while."""
    name = systems.names.deploy_token
    fix = f"set a later delivery.pullCredentials.expires in Pulumi.{systems.settings.stack}.yaml, then {systems.up}"
    tokens = active(systems.project, name)
    if not tokens:
        raise CheckError(f"GitLab has no deploy token {name}", fix)
    if len(tokens) > 1:
        orphans = ops_command("recover", systems.settings.stack)
        raise CheckError(f"GitLab has {len(tokens)} deploy tokens {name}, of which one is in use", f"run `{orphans}`")
    (token,) = tokens
    if token.expires_at is None:
        raise CheckError(f"{token.username} never expires", fix)
    return _lives(systems, str(token.username), moment(token.expires_at), fix)


def pipeline_token(systems: Systems) -> str:
    """The token that the pipeline deploys with is not due for renewal, if the stack file has a date for that."""
    day = systems.delivery.renew_token_by
    secret = systems.need("v1", "Secret", deployer.token_secret(systems.delivery))
    seen = f"made on {moment(secret['metadata']['creationTimestamp']):%Y-%m-%d}"
    if day is None:
        return f"{seen}, and has no date of renewal (delivery.renewTokenBy)"
    left = dt.datetime.combine(day, dt.time(), dt.UTC) - systems.now
    if left <= dt.timedelta():
        fix = f"set a later delivery.renewTokenBy in Pulumi.{systems.settings.stack}.yaml, then {systems.up}"
        raise CheckError(f"{seen}, and should have been renewed by {day}", fix)
    return f"{seen}, to be renewed by {day} (days left: {left.days})"


def service_token(systems: Systems) -> str:
    """The token for checking the public side from outside exists, and remains valid for a while."""
    wanted = systems.service_token
    fix = f"set a later access.public.serviceToken.expires in Pulumi.{systems.settings.stack}.yaml, then {systems.up}"
    name = NAME_UNTIL.format(systems.names.service_token, wanted.expires.isoformat())
    listed = systems.cloudflare.zero_trust.access.service_tokens.list(account_id=systems.ids.account)
    found = [one for one in listed if one.name == name]
    if len(found) != 1:
        several = f"in Zero Trust, delete all but the one whose client id is in {wanted.item}"
        raise CheckError(
            f"Cloudflare has {len(found)} service tokens {name!r}, not one", several if found else systems.up
        )
    end = dt.datetime.combine(wanted.expires, dt.time(), dt.UTC)
    return _lives(systems, name, min(end, found[0].expires_at or end), fix)


def gitlab_token(systems: Systems) -> str:
    """GITLAB_TOKEN remains valid for a while: `up` needs it."""
    token = systems.gitlab.personal_access_tokens.get("self")
    if token.expires_at is None:
        return f"{token.name} does not expire"
    # The day on which it expires, in UTC.
    end = dt.datetime.combine(dt.date.fromisoformat(token.expires_at), dt.time(), dt.UTC)
    return _lives(systems, token.name, end, "make a new token in GitLab, and put it wherever GITLAB_TOKEN is set")


def cloudflare_token(systems: Systems) -> str:
    """CLOUDFLARE_API_TOKEN remains valid for a while: `up` needs it, too."""
    end = _end_of_cloudflare_token(systems)
    if end is None:
        return "CLOUDFLARE_API_TOKEN does not expire"
    fix = "roll the token in Cloudflare's dashboard, and put the new one wherever CLOUDFLARE_API_TOKEN is set"
    return _lives(systems, "CLOUDFLARE_API_TOKEN", end, fix)


def _end_of_cloudflare_token(systems: Systems) -> dt.datetime | None:
    try:
        of_user = systems.cloudflare.user.tokens.verify()
    except (AuthenticationError, PermissionDeniedError):  # the answer to an account's own token
        buckets = list(systems.settings.r2.values())
        account = systems.ids.account if systems.settings.access.public else buckets[0].account_id
        of_account = systems.cloudflare.accounts.tokens.verify(account_id=account)
        return of_account.expires_on if of_account else None
    return of_user.expires_on if of_user else None


def _lives(systems: Systems, what: str, end: dt.datetime, fix: str) -> str:
    left = end - systems.now
    if left < dt.timedelta():
        raise CheckError(f"{what} expired on {end:%Y-%m-%d}", fix)
    seen = f"{what} expires on {end:%Y-%m-%d} (days left: {left.days})"
    if left.days < LEAST_DAYS:
        raise CheckError(f"{seen}; the minimum is {LEAST_DAYS}", fix)
    return seen


CHECKS = (
    Check(
        name="deploy-token",
        look=deploy_token,
        applies=lambda settings: settings.delivery is not None and settings.delivery.pull_credentials.issue,
    ),
    Check(
        name="pipeline-token",
        look=pipeline_token,
        applies=lambda settings: settings.delivery is not None and not settings.delivery.has_id_tokens,
    ),
    Check(name="service-token", look=service_token, applies=lambda settings: settings.service_token is not None),
    Check(name="gitlab-token", look=gitlab_token, applies=lambda settings: settings.delivery is not None),
    Check(
        name="cloudflare-token",
        look=cloudflare_token,
        applies=lambda settings: settings.access.public is not None or bool(settings.r2),
    ),
)
