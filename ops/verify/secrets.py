"""The stack's Secrets hold the same values as 1Password. Compares digests; never shows either side."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping

from components import app, cloudnative_pg, database, postgres_exporter, pull_credentials
from lookups.secrets import app_secret as name_of
from ops.verify.check import Check
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings import Settings


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, by their digests."""
    digests = (hashlib.sha256(text.encode()).digest() for text in (one, other))
    return hmac.compare_digest(*digests)


def secret_data(systems: Systems, name: str) -> Mapping[str, str]:
    """The Secret's values as text; bytes that are not UTF-8 are replaced."""
    data = systems.need("v1", "Secret", name).get("data") or {}
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}


def database_secret(systems: Systems) -> str:
    """The password of the app's role."""
    name, key = systems.names.database, database.PASSWORD_KEY
    if systems.settings.operated_database:
        name, key = cloudnative_pg.owners_secret(systems.names), cloudnative_pg.PASSWORD_KEY
    return _compared(systems, name, {key: "postgres_password"})


def app_secret(systems: Systems) -> str:
    """The app's database URL and session secret, and the secrets that the stack file adds."""
    return _compared(systems, systems.names.app_secret, _of_app(systems.settings))


def _of_app(settings: Settings) -> Mapping[str, str]:
    """Keys of the app's Secret, and the names of 1Password's values for them."""
    return {
        **({app.DATABASE_URL: "database_url"} if settings.database else {}),
        **({app.AUTH_SECRET: "better_auth_secret"} if settings.secrets and settings.secrets.better_auth_secret else {}),
        **{variable: name_of(variable) for variable in settings.app.secrets},
    }


def exporter_secret(systems: Systems) -> str:
    """The password of the role that reads the database's statistics."""
    return _compared(systems, systems.names.exporter, {postgres_exporter.PASSWORD: "monitor_password"})


def _has_exporter(settings: Settings) -> bool:
    return settings.database_metrics is not None and settings.database_metrics.password is not None


def _compared(systems: Systems, name: str, keys: Mapping[str, str]) -> str:
    values = systems.values
    if any(wanted not in values.plain for wanted in keys.values()):
        problems = values.problems
        raise CheckError(
            f"1Password: {'; '.join(f'{problem.subject}: {problem.what}' for problem in problems)}",
            "; ".join(dict.fromkeys(problem.fix for problem in problems)),
        )
    found = secret_data(systems, name)
    wrong = [
        f"{key} is {'not what 1Password holds' if key in found else 'missing'}"
        for key, wanted in keys.items()
        if not same(found.get(key, ""), values.plain[wanted])
    ]
    if wrong:
        raise CheckError(f"{name}: {', '.join(wrong)}", systems.up)
    return f"{name} equals 1Password ({', '.join(keys)})"


def pull_secret(systems: Systems) -> str:
    """The login for pulling the image."""
    registry, name = systems.settings.registry, pull_credentials.SECRET
    username, password = systems.vaults.read(registry.username), systems.vaults.read(registry.password)
    found = secret_data(systems, name).get(pull_credentials.CONFIG, "")
    try:
        logins = json.loads(found)["auths"]
    except (ValueError, KeyError, TypeError):
        raise CheckError(f"{name} holds no registry login", systems.up) from None
    if registry.server not in logins:
        raise CheckError(
            f"{name} has a login for {', '.join(logins) or 'no server'}, not for {registry.server}", systems.up
        )
    wanted = json.loads(pull_credentials.docker_config(registry.server, username, password))["auths"]
    if not same(*(json.dumps(auths[registry.server], sort_keys=True) for auths in (logins, wanted))):
        raise CheckError(f"{name} has another login for {registry.server} than {registry.item}", systems.up)
    return f"{name} equals {registry.item}"


CHECKS = (
    Check(name="secret-database", look=database_secret, applies=lambda settings: settings.database is not None),
    Check(name="secret-app", look=app_secret, applies=lambda settings: bool(_of_app(settings))),
    Check(name="secret-exporter", look=exporter_secret, applies=_has_exporter),
    Check(name="secret-registry", look=pull_secret),
)
