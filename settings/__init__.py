"""The only place that reads stack config: typed, no unknown keys, every mistake reported at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Final, Self, TypeVar

import pulumi
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from settings.access import AccessSettings, ServiceTokenSettings, url_of
from settings.app import AppSettings
from settings.backup import BackupSettings
from settings.bucket import ARCHIVE, COPIES, BucketSettings, R2BucketSettings, check_apart
from settings.cloudnative_pg import CLOUDNATIVE_PG
from settings.cluster import ClusterSettings
from settings.database import DatabaseSettings
from settings.delivery import DeliverySettings
from settings.errors import foreign_key, mistakes, nulls, paragraph, refusal, report
from settings.images import image_registry
from settings.monitoring import DatabaseMetricsSettings, MonitoringSettings
from settings.names import Names
from settings.offsite import S3Settings
from settings.references import ItemReference, SecretReference
from settings.registry import RegistrySettings
from settings.repository import RepositorySettings
from settings.secrets import SecretsSettings
from settings.section import RUNNING, Section
from settings.stack_file import split
from settings.wal import WalSettings

_T = TypeVar("_T")


class SettingsError(pulumi.RunError):
    """The stack file has mistakes; the message lists each one, what is allowed, and how to fix it."""


# Pulumi requires a value for every key that its project file declares; Pulumi.yaml gives optional sections this one.
_DISABLED: Final = {"enabled": False}


def _absent_when_disabled(value: object) -> object:
    return None if value == _DISABLED else value


def _allow_disabled(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"const": _DISABLED})


Optional = Annotated[_T | None, BeforeValidator(_absent_when_disabled), Field(json_schema_extra=_allow_disabled)]


class Settings(Section):
    """The checked contents of one stack file."""

    project: str
    """Name of the Pulumi project, which is also the app's name."""
    stack: str
    """Name of the stack, as Pulumi knows it."""
    released_namespace: SkipJsonSchema[str | None] = Field(default=None, alias="namespace")
    """A key of stack files up to the release of November 2026. It may still be set, to the value it had to have."""
    cluster: ClusterSettings = ClusterSettings()
    database: Optional[DatabaseSettings] = DatabaseSettings()
    """PostgreSQL; `{enabled: false}` for an app without one."""
    protect: Annotated[bool, Field(validate_default=True)] = False
    """Refuse to destroy the namespace, the database, its volume and the backups."""
    secrets: Annotated[SecretsSettings | None, Field(validate_default=True)] = None
    registry: RegistrySettings
    app: AppSettings
    access: AccessSettings
    backup: Annotated[Optional[BackupSettings], Field(validate_default=True)] = None
    monitoring: Optional[MonitoringSettings] = None
    delivery: Optional[DeliverySettings] = None
    repository: Optional[RepositorySettings] = None

    @property
    def names(self) -> Names:
        """Names of everything in the stack."""
        return Names(self.project, self.stack)

    @property
    def namespace(self) -> str:
        """The stack's namespace: <project>-<stack>."""
        return self.names.namespace

    @property
    def operated_database(self) -> DatabaseSettings | None:
        """The section `database` if CloudNativePG runs it; None for the other engine, and without a database."""
        return self.database if self.database and self.database.is_cluster else None

    @property
    def database_of_operator(self) -> DatabaseSettings | None:
        """The section `database` if CloudNativePG runs the live database, or the one beside it during a move."""
        return self.database if self.database and self.database.needs_operator else None

    @property
    def wal(self) -> WalSettings | None:
        """The section `database.wal`; None if the write-ahead log is not archived."""
        return self.database.wal if self.database else None

    @property
    def s3(self) -> S3Settings | None:
        """The section `backup.s3`; None if the stack has no off-site copies."""
        return self.backup.s3 if self.backup else None

    @property
    def r2(self) -> dict[str, R2BucketSettings]:
        """The buckets that the program creates, by their keys in the stack file."""
        sections: dict[str, BucketSettings | None] = {COPIES: self.s3, ARCHIVE: self.wal.s3 if self.wal else None}
        return {key: section.r2 for key, section in sections.items() if section and section.r2}

    @property
    def database_metrics(self) -> DatabaseMetricsSettings | None:
        """The section `monitoring.databaseMetrics`; None if the statistics are not exported."""
        return self.monitoring.database_metrics if self.monitoring else None

    @property
    def service_token(self) -> ServiceTokenSettings | None:
        """The section `access.public.serviceToken`; None if no health check comes from the internet."""
        return self.access.public.service_token if self.access.public else None

    @property
    def public_health_urls(self) -> list[str]:
        """The health check's public URLs, which need the service token; empty without one."""
        if self.access.public is None or self.service_token is None:
            return []
        return [f"{url_of(hostname)}{self.app.health_path}" for hostname in self.access.public.hostnames]

    @property
    def health_urls(self) -> list[str]:
        """The health check's internal URLs, which need no login; they answer 200 if app and database work."""
        return [f"{url}{self.app.health_path}" for url in self.access.urls]

    @field_validator("released_namespace")
    @classmethod
    def _follows(cls, namespace: str | None, info: ValidationInfo) -> str | None:
        follows = Names(info.data["project"], info.data["stack"]).namespace
        if namespace not in (None, follows):
            raise refusal(
                f"{follows}, which follows from the project and the stack, so that no two share one",
                fix="remove the key",
            )
        return namespace

    @property
    def alerts_page(self) -> str | None:
        """URL of docs/alerts.md; None if neither it nor this program's own project is in the stack file."""
        infrastructure = self.repository.infrastructure if self.repository else None
        if self.monitoring is not None and self.monitoring.runbook is not None:
            return self.monitoring.runbook
        if infrastructure is None or self.delivery is None:
            return None
        return f"{self.delivery.gitlab}/{infrastructure.project}/-/blob/{infrastructure.branch}/docs/alerts.md"

    @field_validator("protect")
    @classmethod
    def _prod_is_protected(cls, protect: bool, info: ValidationInfo) -> bool:
        if info.data["stack"] == "prod" and info.data.get("database") and not protect:
            raise refusal("true in the stack prod: its database holds the only copy of the data")
        return protect

    @field_validator("secrets")
    @classmethod
    def _secrets_are_those_of_the_database(
        cls, secrets: SecretsSettings | None, info: ValidationInfo
    ) -> SecretsSettings | None:
        if "database" not in info.data:  # reported as a separate mistake
            return secrets
        found = secrets or SecretsSettings()
        of_database = {"postgresPassword": found.postgres_password, "databaseUrl": found.database_url}
        if info.data["database"] is None:
            if given := [key for key, reference in of_database.items() if reference]:
                raise refusal(
                    "no database password and no database URL, because the stack has no database", key=given[0]
                )
            return secrets
        needed = {"postgresPassword": found.postgres_password, "betterAuthSecret": found.better_auth_secret}
        if missing := [key for key, reference in needed.items() if not reference]:
            raise refusal(
                f"op:// references of {' and '.join(missing)}, which an app with a database needs",
                key=missing[0] if secrets else "",
                given="nothing",
                fix="add it, or set database to {enabled: false}",
            )
        return secrets

    @field_validator("app")
    @classmethod
    def _image_is_in_registry(cls, app: AppSettings, info: ValidationInfo) -> AppSettings:
        registry: RegistrySettings | None = info.data.get("registry")
        if registry is not None and image_registry(app.image) != registry.server:
            raise refusal(
                f"an image in {registry.server}, the registry (registry.server) that the pull credentials are for",
                key="image",
                given=repr(app.image),
            )
        return app

    @field_validator("backup")
    @classmethod
    def _backup_has_a_database(cls, backup: BackupSettings | None, info: ValidationInfo) -> BackupSettings | None:
        if backup is not None and info.data.get("database", backup) is None:
            raise refusal(
                "no backup with database: {enabled: false}, because there is nothing to back up",
                given="a section",
                fix="remove the section backup",
            )
        database = info.data.get("database")
        if backup is None and database is not None and database.moving_from:
            raise refusal(
                "a section backup, as long as database.movingFrom is set: a move restores a backup in the new database",
                given="nothing",
                fix="add the section, e.g. {}",
            )
        return backup

    @field_validator("backup")
    @classmethod
    def _copies_are_not_in_the_archive(
        cls, backup: BackupSettings | None, info: ValidationInfo
    ) -> BackupSettings | None:
        database: DatabaseSettings | None = info.data.get("database")
        if backup and backup.s3 and database and database.wal:
            namespace = Names(info.data["project"], info.data["stack"]).namespace
            folders = backup.s3.folder(namespace), database.wal.s3.folder(namespace)
            check_apart(backup.s3, database.wal.s3, folders=folders)
        return backup

    @field_validator("monitoring")
    @classmethod
    def _metrics_have_a_database(
        cls, monitoring: MonitoringSettings | None, info: ValidationInfo
    ) -> MonitoringSettings | None:
        measured = monitoring is not None and monitoring.database_metrics is not None
        if measured and "database" in info.data and info.data["database"] is None:
            raise refusal(
                "no metrics of a database with database: {enabled: false}", key="databaseMetrics", given="a section"
            )
        metrics = monitoring.database_metrics if monitoring else None
        database: DatabaseSettings | None = info.data.get("database")
        if metrics is None or database is None:
            return monitoring
        if database.moving_from is not None:
            raise refusal(
                "no metrics of the database while it moves from one engine to the other (database.movingFrom)",
                key="databaseMetrics",
                given="a section",
                fix="remove it for that time",
            )
        if database.is_cluster and metrics.model_fields_set:
            raise refusal(
                f"an empty section with database.engine: {CLOUDNATIVE_PG}, whose instances export metrics themselves",
                key="databaseMetrics",
                given=", ".join(sorted(map(to_camel, metrics.model_fields_set))),
                fix="write databaseMetrics: {}",
            )
        if not database.is_cluster and metrics.password is None:
            raise refusal(
                "the op:// reference of a password for the exporter's role",
                key="databaseMetrics.password",
                given="nothing",
            )
        return monitoring

    @field_validator("monitoring")
    @classmethod
    def _probe_has_a_token(
        cls, monitoring: MonitoringSettings | None, info: ValidationInfo
    ) -> MonitoringSettings | None:
        access: AccessSettings | None = info.data.get("access")
        if monitoring is None or monitoring.public_module is None or access is None:
            return monitoring
        if access.public is None or access.public.service_token is None:
            raise refusal(
                "a module for the public hostnames only with access.public.serviceToken, whose headers it sends",
                key="publicModule",
                given=repr(monitoring.public_module),
            )
        return monitoring

    @field_validator("repository")
    @classmethod
    def _repository_has_a_project(
        cls, repository: RepositorySettings | None, info: ValidationInfo
    ) -> RepositorySettings | None:
        if repository is not None and info.data.get("delivery", repository) is None:
            raise refusal("a repository only with a section delivery, which names its GitLab project")
        return repository

    @model_validator(mode="after")
    def _upgrade_has_backups(self) -> Self:
        if self.database is not None and self.database.upgrade is not None and self.backup is None:
            raise refusal(
                "also a section backup, because `ops upgrade` takes a backup first",
                key="database.upgrade",
                given=self.database.upgrade.image,
                fix="add a section `backup: {}`",
            )
        return self

    @model_validator(mode="after")
    def _upgrade_has_an_archive_of_its_own(self) -> Self:
        upgrade = self.database.upgrade if self.database else None
        current = self.wal and (self.wal.archive or self.names.database)
        if upgrade is not None and upgrade.archive is not None and upgrade.archive == current:
            raise refusal(
                "a name other than that of the current archive", key="database.upgrade.archive", given=upgrade.archive
            )
        return self

    @model_validator(mode="after")
    def _each_secret_is_another(self) -> Self:
        database, s3, metrics = self.secrets or SecretsSettings(), self.s3, self.database_metrics
        wal = self.wal.s3 if self.wal else None
        references = {
            "secrets.postgresPassword": database.postgres_password,
            "secrets.betterAuthSecret": database.better_auth_secret,
            "secrets.databaseUrl": database.database_url,
            "backup.s3.accessKey": s3.access_key if s3 else None,
            "backup.s3.secretKey": s3.secret_key if s3 else None,
            "backup.s3.password": s3.password if s3 else None,
            "database.wal.s3.accessKey": wal.access_key if wal else None,
            "database.wal.s3.secretKey": wal.secret_key if wal else None,
            "monitoring.databaseMetrics.password": metrics.password if metrics else None,
        }
        keys: dict[SecretReference, str] = {}
        for key, reference in references.items():
            if reference is not None and (first := keys.setdefault(reference, key)) != key:
                raise refusal(f"a secret other than that of {first}", key=key, given=f"{reference}")
        return self

    @model_validator(mode="after")
    def _each_login_has_its_item(self) -> Self:
        """`up` writes the user name and password of an item, so a second login in it would overwrite the first."""
        token = self.service_token
        items = {
            "registry.item": self.registry.item,
            "access.public.serviceToken.item": token.item if token else None,
            **{f"{key}.item": r2.item for key, r2 in self.r2.items()},
        }
        keys: dict[ItemReference, str] = {}
        for key, item in items.items():
            if item is not None and (first := keys.setdefault(item, key)) != key:
                raise refusal(f"an item other than {first}, which holds another login", key=key, given=repr(str(item)))
        return self

    @classmethod
    def load(
        cls,
        names: Names,
        config: Mapping[str, Any],
        *,
        foreign: Iterable[str] = (),
        hidden: Collection[str] = (),
        running: bool = False,
    ) -> Self:
        """Checks the sections (name to decoded value) of a stack; SettingsError names every mistake at once.

        `foreign` are the stack file's keys in other namespaces: one that looks like a section of ours is a mistake.
        The message shows no value of the sections in `hidden` (those that Pulumi keeps encrypted).
        `running` means that the stack is up and only inspected: a date in the past is then no mistake.
        """
        project, stateless = names.project, config.get("database") == _DISABLED
        found = [paragraph(key, given=repr(given), allowed=rule) for key, given, rule in names.problems(stateless)]
        found += [mistake for key in foreign if (mistake := foreign_key(key, project=project, model=cls))]
        try:
            settings = cls.model_validate(
                {**config, "project": project, "stack": names.stack}, context={RUNNING: running}
            )
        except ValidationError as error:
            found += mistakes(error, project=project, model=cls, hidden=hidden)
            found += nulls(config, project=project, told=[details["loc"] for details in error.errors()])
        else:
            found += nulls(config, project=project)
        if found:
            raise SettingsError(report(names.stack, found))
        return settings


def load_from_pulumi() -> Settings:
    """The settings of the stack that Pulumi is running; an unknown key of the project is a mistake, too."""
    # pulumi.Config only reads keys whose name is known; its source also contains the unknown ones.
    source = pulumi.runtime.config
    names = Names(pulumi.get_project(), pulumi.get_stack())
    prefix = f"{names.project}:"
    values = {**source.get_config_env(), **source.CONFIG.get()}
    encrypted = {key.removeprefix(prefix) for key in values if source.is_config_secret(key)}
    encrypted |= {key.removeprefix(prefix) for key in source.get_config_secret_keys_env()}
    sections, foreign = split(values, names.project)
    settings = Settings.load(names, sections, foreign=foreign, hidden=encrypted)
    if settings.delivery and (warning := settings.delivery.pull_credentials.warning()):
        pulumi.log.warn(f"{prefix}delivery.pullCredentials.expires: {warning}")
    if settings.service_token and (warning := settings.service_token.warning()):
        pulumi.log.warn(f"{prefix}access.public.serviceToken.expires: {warning}")
    return settings
