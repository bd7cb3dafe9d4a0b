"""The only place where secrets enter the program: op:// references become validated, secret outputs.

Plain, blocking look-ups before the first resource: a check inside an `apply` would run when resources already exist.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import pulumi
import pulumi_onepassword as onepassword

from components.app import AUTH_SECRET, DATABASE_URL
from components.database import PASSWORD_KEY
from components.database_address import DatabaseAddress
from components.offsite_bucket import BucketSecrets
from components.pods import SecretData
from components.postgres_exporter import PASSWORD as MONITOR_PASSWORD
from lookups.database_url import Complaint, url_complaint, url_warning
from lookups.onepassword import FieldMissingError, ItemPlace, PluginAccount, SecretProblemError, Vaults
from lookups.onepassword_item import SECTION, TOKEN
from settings import Settings
from settings.bucket import ARCHIVE, COPIES
from settings.cloudnative_pg import STATEFUL_SET, EngineSettings
from settings.names import PROGRAM, Names
from settings.references import ItemReference, SecretReference

_URL_SAFE: Final = re.compile(r"[A-Za-z0-9._~-]+")  # RFC 3986 "unreserved": needs no escaping in any part of a URL
_SHORTEST_AUTH_SECRET: Final = 32  # characters; Better Auth's requirement
_SHORTEST_COPY_PASSWORD: Final = 20  # characters; the password of a leaked bucket can be guessed for years
_CHECKSUM_KEY: Final = f"{PROGRAM} checksum key 1".encode()

Check: TypeAlias = Callable[[str], Complaint | None]


class SecretsError(pulumi.RunError):
    """1Password does not hold what the stack needs; the message lists every problem and never a value."""


@dataclass(frozen=True, kw_only=True, eq=False)
class S3Secrets:
    """The secrets of the off-site copies."""

    keys: BucketSecrets
    password: pulumi.Output[str]
    """restic's password, marked secret."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StackSecrets:
    """The secrets of one stack, each marked secret.

    Either the registry's two are set, or the item to which the program writes newly issued credentials.
    """

    postgres_password: pulumi.Output[str] | None
    """None, like `database_url`, for an app without a database."""
    better_auth_secret: pulumi.Output[str] | None
    database_url: pulumi.Output[str] | None
    registry_username: pulumi.Output[str] | None
    registry_password: pulumi.Output[str] | None
    registry_item: ItemPlace | None
    s3: S3Secrets | None
    """None if the stack has no off-site copies."""
    wal: BucketSecrets | None
    """None if the write-ahead log is not archived."""
    app: Mapping[str, pulumi.Output[str]]
    """The secrets of `app.secrets`, by name of the variable."""
    service_token_item: ItemPlace | None
    """Item for the Access service token; None if the stack has none."""
    monitor_password: pulumi.Output[str] | None
    """None if the stack has no postgres_exporter."""
    _plain: Mapping[str, str] = field(repr=False)

    @property
    def of_database(self) -> SecretData | None:
        """The database's secrets; None without a database."""
        if self.postgres_password is None:
            return None
        return SecretData(values={PASSWORD_KEY: self.postgres_password}, checksum=self.checksum("postgres_password"))

    @property
    def of_app(self) -> SecretData:
        """The app's secrets; perhaps none."""
        own = {DATABASE_URL: self.database_url, AUTH_SECRET: self.better_auth_secret}
        given = {"database_url": self.database_url, "better_auth_secret": self.better_auth_secret}
        names = [*(name for name, value in given.items() if value is not None), *map(app_secret, self.app)]
        return SecretData(
            values={key: value for key, value in {**own, **self.app}.items() if value is not None},
            checksum=self.checksum(*names),
        )

    @property
    def of_exporter(self) -> SecretData | None:
        """postgres_exporter's secrets; None if the stack does not run it."""
        if self.monitor_password is None:
            return None
        return SecretData(values={MONITOR_PASSWORD: self.monitor_password}, checksum=self.checksum("monitor_password"))

    def checksum(self, *names: str) -> str:
        """Hexadecimal checksum of the named secrets that is safe to publish, for example as an annotation.

        A name is that of an attribute above, or one from `app_secret`.

        It changes when one of the secrets changes. It is an HMAC-SHA256 with a key derived from the stack's
        better-auth-secret, so that nobody can test guesses of a weak password against it. Rotating better-auth-secret
        therefore changes every checksum, and also restarts the database's pod. Without that secret, each guess costs an
        scrypt of 16 MiB. Raises KeyError for a secret that the stack does not read.
        """
        message = b"".join(_framed(text) for name in sorted(names) for text in (name, self._plain[name]))
        if (auth := self._plain.get("better_auth_secret")) is None:
            return hashlib.scrypt(message, salt=_CHECKSUM_KEY, n=2**14, r=8, p=1, dklen=32).hex()
        # One-step derivation (RFC 5869's expand with one block): the input itself has at least 32 characters.
        key = hmac.digest(auth.encode(), _CHECKSUM_KEY, hashlib.sha256)
        return hmac.new(key, message, hashlib.sha256).hexdigest()


def app_secret(variable: str) -> str:
    """Name of a secret of `app.secrets` among the others."""
    return f"app.secrets.{variable}"


def _framed(text: str) -> bytes:
    """The text, preceded by its length, so that no two lists of texts yield the same bytes."""
    data = text.encode()
    return len(data).to_bytes(8, "big") + data


@dataclass(frozen=True, kw_only=True)
class Values:
    """A stack's values in 1Password, in plain text: for `read_secrets`, and for `ops` to compare with."""

    plain: Mapping[str, str] = field(repr=False)
    """Values by the names that `StackSecrets.checksum` takes, without those that have a problem."""
    registry_item: ItemPlace | None
    service_token_item: ItemPlace | None
    r2_items: Mapping[str, ItemPlace | None]
    """Items for the buckets that the program creates, by the buckets' keys in the stack file."""
    problems: Sequence[SecretProblemError]


def read_values(settings: Settings, vaults: Vaults) -> Values:
    """Reads and checks every value that the stack needs but does not issue itself."""
    reader, names = _Reader(vaults), settings.names
    wanted, values = settings.secrets, dict[str, str | None]()
    if wanted and wanted.postgres_password:
        password = values["postgres_password"] = reader.read(wanted.postgres_password, _password_complaint)
        engine = settings.database or STATEFUL_SET
        values["database_url"] = reader.read_database_url(wanted.database_url, password, names, engine)
    if wanted and wanted.better_auth_secret:
        values["better_auth_secret"] = reader.read(wanted.better_auth_secret, _auth_secret_complaint)
    for variable, reference in settings.app.secrets.items():
        values[app_secret(variable)] = reader.read(reference)
    for name, bucket in (("s3", settings.s3), ("wal", settings.wal.s3 if settings.wal else None)):
        if bucket and bucket.access_key and bucket.secret_key:
            values[f"{name}_access_key"] = reader.read(bucket.access_key)
            values[f"{name}_secret_key"] = reader.read(bucket.secret_key)
    if settings.s3 is not None:
        values["s3_password"] = reader.read(settings.s3.password, _copy_password_complaint)
    if (metrics := settings.database_metrics) is not None and metrics.password:
        values["monitor_password"] = reader.read(metrics.password, _password_complaint)
    tokens = {COPIES: names.offsite_token, ARCHIVE: names.wal_token}
    r2_items = {
        key: reader.locate(r2.item, tokens[key], f"{names.owner}", f"{key}.item") for key, r2 in settings.r2.items()
    }
    registry_item = None
    if settings.delivery is not None and settings.delivery.pull_credentials.issue:
        registry_item = reader.locate(settings.registry.item, names.deploy_token, f"{names.owner}")
    else:
        reader.refuse_own(settings.registry.item, names.deploy_token)
        values["registry_username"] = reader.read(settings.registry.username, _username_complaint)
        values["registry_password"] = reader.read(settings.registry.password)
    service_token_item = None
    if (token := settings.service_token) is not None:
        service_token_item = reader.locate(
            token.item, names.service_token, f"{names.owner}", "access.public.serviceToken.item"
        )
    reader.refuse_shared()
    plain = {name: value for name, value in values.items() if value is not None}
    return Values(
        plain=plain,
        registry_item=registry_item,
        service_token_item=service_token_item,
        r2_items=r2_items,
        problems=reader.problems,
    )


def read_secrets(settings: Settings, provider: onepassword.Provider) -> StackSecrets:
    """Reads and checks every secret of the stack; SecretsError names all problems at once."""
    values = read_values(settings, Vaults(PluginAccount(provider)))
    if values.problems:
        raise SecretsError(_message(settings.stack, values.problems))
    secret = {name: pulumi.Output.secret(value) for name, value in values.plain.items()}

    def bucket(name: str, key: str) -> BucketSecrets:
        return BucketSecrets(
            access_key=secret.get(f"{name}_access_key"),
            secret_key=secret.get(f"{name}_secret_key"),
            item=values.r2_items.get(key),
        )

    return StackSecrets(
        postgres_password=secret.get("postgres_password"),
        better_auth_secret=secret.get("better_auth_secret"),
        database_url=secret.get("database_url"),
        registry_username=secret.get("registry_username"),
        registry_password=secret.get("registry_password"),
        registry_item=values.registry_item,
        s3=S3Secrets(keys=bucket("s3", COPIES), password=secret["s3_password"]) if settings.s3 else None,
        wal=bucket("wal", ARCHIVE) if settings.wal else None,
        service_token_item=values.service_token_item,
        app={variable: secret[app_secret(variable)] for variable in settings.app.secrets},
        monitor_password=secret.get("monitor_password"),
        _plain=values.plain,
    )


class _Reader:
    """Reads values and collects their problems, so that one run reports all of them."""

    def __init__(self, vaults: Vaults) -> None:
        self._vaults = vaults
        self._read: list[SecretReference] = []
        self._located: dict[str, ItemReference] = {}
        self.problems: list[SecretProblemError] = []

    def read(self, reference: SecretReference, check: Check | None = None) -> str | None:
        """The value, or None after noting its problems."""
        try:
            value = self._value(reference)
        except SecretProblemError as problem:
            self._note(problem)
            return None
        return self._checked(reference, value, check)

    def read_database_url(
        self, reference: SecretReference | None, password: str | None, names: Names, engine: EngineSettings
    ) -> str | None:
        """The URL in 1Password if there is one, else the URL derived from the password and the address."""
        if reference is not None:
            try:
                value = self._value(reference)
            except FieldMissingError as missing:
                pulumi.log.info(f"{missing.subject}: {missing.what}. It is derived from the database password instead.")
            except SecretProblemError as problem:
                self._note(problem)
                return None
            else:
                if engine.beside and not engine.is_moved:
                    pulumi.log.warn(
                        f"{reference}: this URL names the host of the database as it is. After `ops move-database`, "
                        f"and before the next `up`, write {DatabaseAddress.of(names, engine.beside).host} in its "
                        "place; or delete the field now, then it follows the database."
                    )
                checked = self._checked(reference, value, lambda url: url_complaint(url, password, names, engine))
                if checked and (warning := url_warning(checked, engine)):
                    pulumi.log.warn(f"{reference}: {warning}")
                return checked
        return DatabaseAddress.of(names, engine).url(password) if password else None

    def locate(
        self, reference: ItemReference, token: str, owner: str, setting: str = "registry.item"
    ) -> ItemPlace | None:
        """The place of the item that `setting` names, existing or not; None after noting a problem."""
        self._located[setting] = reference
        try:
            return self._vaults.locate(reference, token=token, owner=owner, setting=setting)
        except SecretProblemError as problem:
            self._note(problem)
            return None

    def refuse_own(self, reference: ItemReference, token: str) -> None:
        """Notes a problem if a stack issued the token in the item: without `issue`, `up` deletes item and token."""
        try:
            own = self._vaults.read(SecretReference(reference.vault, reference.item, SECTION, TOKEN)) == token
        except SecretProblemError:  # a user's item; other mistakes are reported when its fields are read
            return
        if own:
            self._note(
                SecretProblemError(
                    str(reference),
                    "the stack issued the token in this item, and deletes both once it no longer issues one",
                    "name another item in registry.item, or leave delivery.pullCredentials.issue as it was",
                )
            )

    def refuse_shared(self) -> None:
        """Notes each item to which `up` writes a login and that has another use, also if it is named in two ways."""
        used = {uuid: str(one) for one in reversed(self._read) if (uuid := self._vaults.uuid(one.of_item))}
        for setting, item in self._located.items():
            uuid = self._vaults.uuid(item)
            if uuid is None:
                continue
            if (use := used.setdefault(uuid, setting)) != setting:
                what = f"`up` writes a login to this item, and deletes it with the stack, but it is also that of {use}"
                self._note(SecretProblemError(str(item), what, f"name another item in {setting}"))

    def _value(self, reference: SecretReference) -> str:
        self._read.append(reference)
        return self._vaults.read(reference)

    def _checked(self, reference: SecretReference, value: str, check: Check | None) -> str | None:
        text = value.strip()
        complaints = [_text_complaint(value), check(text) if check and text else None]
        for complaint in filter(None, complaints):
            self._note(SecretProblemError(str(reference), *complaint))
        return None if any(complaints) else value

    def _note(self, problem: SecretProblemError) -> None:
        # One missing item is one problem, however many of its fields are needed.
        if problem.args not in [known.args for known in self.problems]:
            self.problems.append(problem)


def _text_complaint(value: str) -> Complaint | None:
    if not value.strip():
        return "the field is empty", "fill it in; an `op` session that has expired writes empty values"
    if value != value.strip():
        return "the value begins or ends with a space or a line break", "paste it again without"
    if not value.isprintable():
        return (
            "the value contains an invisible character, such as a line break, NUL or a no-break space",
            "type it again, or paste it from its source",
        )
    return None


def _username_complaint(value: str) -> Complaint | None:
    if ":" not in value:
        return None
    return (
        "the user name contains a colon, where registries cut it off",
        "write only the user name; the password has its own field",
    )


def _password_complaint(value: str) -> Complaint | None:
    if _URL_SAFE.fullmatch(value):
        return None
    return (
        "the password is not URL-safe: other than letters, digits and - . _ ~ it would break the database URL",
        "change it to the output of: openssl rand -hex 20",
    )


def _auth_secret_complaint(value: str) -> Complaint | None:
    if len(value) >= _SHORTEST_AUTH_SECRET:
        return None
    return (
        f"the secret is shorter than {_SHORTEST_AUTH_SECRET} characters",
        "change it to the output of: openssl rand -hex 32 (everybody has to log in again)",
    )


def _copy_password_complaint(value: str) -> Complaint | None:
    if len(value) >= _SHORTEST_COPY_PASSWORD:
        return None
    return (
        f"the password of the off-site copies is shorter than {_SHORTEST_COPY_PASSWORD} characters",
        "before the first upload: change it to the output of: openssl rand -hex 20",
    )


def _message(stack: str, problems: Sequence[SecretProblemError]) -> str:
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    return "\n".join(
        [
            f"1Password does not hold what the stack {stack!r} needs ({count}). Nothing was created or changed.",
            *(f"\n  {each.subject}\n      problem: {each.what}\n      fix:     {each.fix}" for each in problems),
        ]
    )
