"""What a GitLab project holds for deployments: environments, CI variables, deploy tokens."""

from __future__ import annotations

import datetime as dt
import re
import secrets
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from rehearsal.vendors.gitlab.answers import Body, RefusedError, invalid, missing, now, required

_TIERS: Final = {"production", "staging", "testing", "development", "other"}
_GUESSED: Final = {
    r"dev|review|trunk": "development",
    r"test|tst|int|ac(ce|)pt|qa|qc|control|quality": "testing",
    r"st(a|)g|mod(e|)l|pre|demo|non": "staging",
    r"pr(o|)d|live": "production",
}
_MASKABLE: Final = re.compile(r"[a-zA-Z0-9_+=/@:.~-]{8,}")  # Ci::Maskable::REGEX, for values with expansion
_MASKABLE_RAW: Final = re.compile(r"\S{8,}")  # Ci::Maskable::MASK_AND_RAW_REGEX
_SCOPE: Final = re.compile(r"[a-zA-Z0-9_ .\-/${}*]{1,255}")
_TOKEN_SCOPES: Final = {
    "read_repository",
    "read_registry",
    "write_registry",
    "read_virtual_registry",
    "write_virtual_registry",
    "read_package_registry",
    "write_package_registry",
}


class Environments:
    """`/projects/:id/environments`."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._by_id: dict[int, Body] = {}

    def entries(self, query: Body) -> list[Body]:
        name = query.get("name")
        return [_listed(env) for env in self._by_id.values() if name in (None, env["name"])]

    def create(self, body: Body) -> Body:
        required(body, "name")
        if any(env["name"] == body["name"] for env in self._by_id.values()):
            raise invalid(name="has already been taken")
        if not re.fullmatch(r"[\w/ $.{}-]{1,255}", body["name"]):
            raise invalid(name="can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', and spaces")
        environment: Body = {
            "id": next(self._ids),
            "name": body["name"],
            "slug": re.sub(r"[^a-z0-9]+", "-", body["name"].lower())[:24].strip("-"),
            "description": None,
            "external_url": None,
            "state": "available",
            "tier": _tier(body["name"]),
            "created_at": now(),
            "updated_at": now(),
            "auto_stop_at": None,
            "auto_stop_setting": "always",
            "kubernetes_namespace": None,
            "flux_resource_path": None,
            "cluster_agent": None,
            "last_deployment": None,
        }
        self._change(environment, body)
        self._by_id[environment["id"]] = environment
        return _listed(environment)

    def get(self, id_: str) -> Body:
        environment = self._find(id_)
        answer = dict(environment)
        if environment["state"] == "stopping":  # its stop action has ended by the next request
            environment["state"] = "stopped"
        return answer

    def update(self, id_: str, body: Body) -> Body:
        environment = self._find(id_)
        # Since GitLab 16.0 the name cannot be changed; GitLab silently drops the parameter.
        self._change(environment, {key: value for key, value in body.items() if key != "name"})
        return _listed(environment)

    def stop(self, id_: str, _body: Body) -> Body:
        environment = self._find(id_)
        if environment["state"] == "available":
            environment["state"] = "stopping"
        return _listed(environment)

    def deployed(self, name: str) -> None:
        """A job has deployed to it: starts it (GitLab's `Deployments::UpdateEnvironmentService`)."""
        for environment in self._by_id.values():
            if environment["name"] == name:
                environment["state"] = "available"

    def delete(self, id_: str) -> None:
        if self._find(id_)["state"] != "stopped":
            raise RefusedError(403, {"message": "403 Forbidden"})
        del self._by_id[int(id_)]

    def _find(self, id_: str) -> Body:
        try:
            return self._by_id[int(id_)]
        except (KeyError, ValueError):
            raise missing("Environment") from None

    @staticmethod
    def _change(environment: Body, body: Body) -> None:
        tier, url = body.get("tier"), body.get("external_url")
        if tier is not None and tier not in _TIERS:
            raise RefusedError(400, {"error": "tier does not have a valid value"})
        if url and urlsplit(url).scheme not in {"http", "https"}:
            raise invalid(external_url="is blocked: Only allowed schemes are http, https")
        if body.get("auto_stop_setting", "always") not in {"always", "with_action"}:
            raise RefusedError(400, {"error": "auto_stop_setting does not have a valid value"})
        known = {
            "external_url",
            "tier",
            "description",
            "auto_stop_setting",
            "kubernetes_namespace",
            "flux_resource_path",
        }
        environment |= {key: value for key, value in body.items() if key in known}
        environment["updated_at"] = now()


def _tier(name: str) -> str:
    """The tier that GitLab guesses from a name (app/models/environment.rb, guess_tier)."""
    return next((tier for pattern, tier in _GUESSED.items() if re.search(pattern, name, re.IGNORECASE)), "other")


def _listed(environment: Body) -> Body:
    """An environment in any answer but the one to a request for it alone."""
    return {key: value for key, value in environment.items() if key != "last_deployment"}


class Variables:
    """`/projects/:id/variables`: unique by key and environment scope."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[str, str], Body] = {}

    def entries(self, _query: Body) -> list[Body]:
        return [dict(_shown(variable)) for variable in self._by_key.values()]

    def stored(self) -> list[Body]:
        """All variables as jobs get them, with the values of hidden ones."""
        return [dict(variable) for variable in self._by_key.values()]

    def create(self, body: Body) -> Body:
        required(body, "key")
        if "value" not in body:
            raise RefusedError(400, {"error": "value is missing"})
        if not re.fullmatch(r"\w{1,255}", body["key"], re.ASCII):
            raise invalid(key="can contain only letters, digits and '_'.")
        scope = body.get("environment_scope") or "*"
        if not _SCOPE.fullmatch(scope):
            raise invalid(environment_scope="can contain only letters, digits, '-', '_', '/', '$', '{', '}', '.', '*'")
        if (body["key"], scope) in self._by_key:
            raise invalid(key=f"({body['key']}) has already been taken")
        hidden = bool(body.get("masked_and_hidden"))
        variable: Body = {
            "key": body["key"],
            "value": "",
            "variable_type": "env_var",
            "protected": False,
            "masked": hidden,
            "hidden": hidden,
            "raw": False,
            "environment_scope": scope,
            "description": None,
        }
        self._change(variable, body)
        self._by_key[body["key"], scope] = variable
        return _shown(variable)

    def get(self, key: str, scope: str | None) -> Body:
        return _shown(self._find(key, scope))

    def _find(self, key: str, scope: str | None) -> Body:
        found = [v for (k, s), v in self._by_key.items() if k == key and scope in (None, s)]
        if not found:
            raise missing("Variable")
        if len(found) > 1:
            reason = "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'"
            raise RefusedError(409, {"message": reason})
        return found[0]

    def update(self, key: str, scope: str | None, body: Body) -> Body:
        variable = self._find(key, scope)
        if variable["hidden"] and body.get("masked", True) is not True:
            raise invalid(base="The visibility setting cannot be changed for masked and hidden variables.")
        self._change(variable, {k: v for k, v in body.items() if k != "key"})
        self._by_key = {(v["key"], v["environment_scope"]): v for v in self._by_key.values()}
        return _shown(variable)

    def delete(self, key: str, scope: str | None) -> None:
        variable = self._find(key, scope)
        del self._by_key[key, variable["environment_scope"]]

    @staticmethod
    def _change(variable: Body, body: Body) -> None:
        known = {"value", "variable_type", "protected", "masked", "raw", "environment_scope", "description"}
        changed = variable | {key: value for key, value in body.items() if key in known and value is not None}
        if changed["variable_type"] not in {"env_var", "file"}:
            raise RefusedError(400, {"error": "variable_type does not have a valid value"})
        if len(changed["value"]) > 10_000:
            raise invalid(value="is too long (maximum is 10000 characters)")
        rule = _MASKABLE_RAW if changed["raw"] else _MASKABLE
        if changed["masked"] and not rule.fullmatch(changed["value"]):
            raise invalid(value="is invalid")
        variable |= changed


def _shown(variable: Body) -> Body:
    """A variable as the API shows it: without its value if it is hidden."""
    return {**variable, "value": None} if variable["hidden"] else variable


class DeployTokens:
    """`/projects/:id/deploy_tokens`: no update; GitLab shows a token only once, when it is created."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._by_id: dict[int, Body] = {}
        self.handed_out: set[str] = set()

    def entries(self, _query: Body) -> list[Body]:
        return [self.get(str(id_)) for id_ in self._by_id]

    def create(self, body: Body) -> Body:
        required(body, "name", "scopes")
        if not set(body["scopes"]) <= _TOKEN_SCOPES:
            raise RefusedError(400, {"error": "scopes does not have a valid value"})
        id_ = next(self._ids)
        token = f"gldt-{secrets.token_urlsafe(15)}"
        self._by_id[id_] = {
            "id": id_,
            "name": body["name"],
            "username": body.get("username") or f"gitlab+deploy-token-{id_}",
            "expires_at": self._time(body.get("expires_at")),
            "scopes": sorted(body["scopes"]),
            "revoked": False,
            "token": token,
        }
        self.handed_out.add(token)
        return {**self.get(str(id_)), "token": token}

    def get(self, id_: str) -> Body:
        try:
            token = self._by_id[int(id_)]
        except (KeyError, ValueError):
            raise missing() from None
        shown = {key: value for key, value in token.items() if key != "token"}
        return {**shown, "expired": self._has_expired(token)}

    def delete(self, id_: str) -> None:
        del self._by_id[self.get(id_)["id"]]

    def may_pull(self, username: str, password: str) -> bool:
        """Whether the registry would accept these credentials for a pull."""
        return any(
            (token["username"], token["token"]) == (username, password)
            and "read_registry" in token["scopes"]
            and not self._has_expired(token)
            for token in self._by_id.values()
        )

    @staticmethod
    def _has_expired(token: Body) -> bool:
        expires = token["expires_at"]
        return expires is not None and dt.datetime.fromisoformat(expires) <= dt.datetime.now(dt.UTC)

    @staticmethod
    def _time(value: str | None) -> str | None:
        if not value:
            return None
        try:
            moment = dt.datetime.fromisoformat(value).astimezone(dt.UTC)
        except ValueError:
            raise RefusedError(400, {"error": "expires_at is invalid"}) from None
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
