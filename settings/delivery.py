"""`delivery`: what the app's GitLab project gets from the program."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from settings.errors import refusal
from settings.section import RUNNING, Section, today
from settings.types import BranchName, Date, EnvironmentName, GitLabProject, HttpsUrl

LEAST_DAYS: Final = 14
"""Days that a token must remain valid: enough for somebody who looks once a week to see the warning twice."""
MOST_DAYS: Final = 400
"""Days beyond which a token is valid for too long: GitLab's limit for access tokens; it has none for deploy tokens.

https://docs.gitlab.com/user/profile/personal_access_tokens/#access-token-expiration
"""
_FOREVER: Final = dt.date(3000, 1, 1)
"""The date that GitLab stores for a deploy token that never expires (app/models/deploy_token.rb, lib/forever.rb)."""


class PullCredentialsSettings(Section):
    """Who writes the registry item: the user (`issue: false`) or this program, with its own deploy token."""

    issue: bool = False
    expires: Annotated[Date | None, Field(validate_default=True)] = None
    """Last day on which the deploy token is valid; a change issues a new token."""

    @field_validator("expires")
    @classmethod
    def _goes_with_issue(cls, expires: Date | None, info: ValidationInfo) -> Date | None:
        issue = info.data.get("issue")
        if issue and expires is None:
            raise refusal("a date like 2027-12-31, because issue is true, and every issued token expires")
        if issue is False and expires is not None:
            raise refusal("no date while issue is false, because the token is then the user's own")
        running = info.context and info.context.get(RUNNING)
        if expires is not None and expires <= today() and not running:
            raise refusal(
                "a day after today: the token would expire before the next pod uses it",
                given=repr(expires.isoformat()),
                fix="write a later date; a change issues a new token and revokes the old one once nothing uses it",
            )
        if expires is not None and expires >= _FOREVER:
            raise refusal(
                f"a day before {_FOREVER.year}: GitLab treats a later one as no expiry",
                given=repr(expires.isoformat()),
                fix=f"write a date within {MOST_DAYS} days; a change issues a new token and revokes the old one",
            )
        return expires

    def warning(self) -> str | None:
        """The warning about an expiry date that is too near or too far; None otherwise."""
        if self.expires is None:
            return None
        days = (self.expires - today()).days
        if days < LEAST_DAYS:
            return (
                f"the deploy token expires on {self.expires} (days left: {days}); set a later date, and `up` issues a "
                "new one"
            )
        if days > MOST_DAYS:
            return (
                f"the deploy token is valid for {days} days, until {self.expires}, and so is a stolen copy; "
                f"write a date within {MOST_DAYS} days, and `up` issues a new one"
            )
        return None


class EnvironmentSettings(Section):
    """The GitLab environment of the stack."""

    name: EnvironmentName
    tier: Literal["production", "staging", "testing", "development", "other"]


class DeliverySettings(Section):
    """What the app's GitLab project gets so that its pipeline can deploy into this stack."""

    gitlab: HttpsUrl = "https://gitlab.k8s.rommelporras.com"
    """The GitLab server; GITLAB_BASE_URL overrides it."""
    project: GitLabProject
    """The app's project."""
    environment: EnvironmentSettings
    """The GitLab environment of this stack."""
    branch: BranchName
    """Branch whose pipeline deploys into this stack."""
    admission_policy: bool = False
    """Let the API server compare what the pipeline's token writes with the stack's templates. The user of the
    kubeconfig needs permission to manage validatingadmissionpolicies and their bindings, which are cluster-scoped."""
    credentials: Literal["token", "id-token"] = "token"
    """How the pipeline authenticates to the API server: with a token that GitLab stores (`token`), or with the ID token
    that GitLab signs for each job (`id-token`); configure the API server to accept it (docs/app-pipeline.md)."""
    renew_token_by: Date | None = None
    """Day by which to renew the pipeline's token for the cluster. Another day creates a new token and revokes the old
    one; alerts fire before that day. Without a day, the token is valid until somebody deletes its Secret."""
    pull_credentials: PullCredentialsSettings = PullCredentialsSettings()

    @field_validator("renew_token_by")
    @classmethod
    def _is_to_come(cls, day: Date | None, info: ValidationInfo) -> Date | None:
        if day is not None and info.data.get("credentials") == "id-token":
            raise refusal(
                "no day while credentials is id-token, because GitLab then keeps no token", given=repr(day.isoformat())
            )
        running = info.context and info.context.get(RUNNING)
        if day is not None and not running and not today() < day <= today() + dt.timedelta(days=MOST_DAYS):
            raise refusal(
                f"a day after today and within {MOST_DAYS} days",
                given=repr(day.isoformat()),
                fix="write a later date; `up` creates a new token, gives it to the pipeline, and revokes the old one",
            )
        return day

    @property
    def has_id_tokens(self) -> bool:
        """Whether the pipeline's jobs authenticate to the API server with ID tokens from GitLab."""
        return self.credentials == "id-token"
