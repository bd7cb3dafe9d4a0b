"""The one place that reads stack config: typed, closed, every mistake reported in one go."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Self, TypeVar

import pulumi
from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from settings.errors import explain, refusal
from settings.sections import (
    Access,
    App,
    Backup,
    Cluster,
    Database,
    Delivery,
    Monitoring,
    Registry,
    Repository,
    Secrets,
    Section,
)
from settings.types import Namespace, image_registry

PROJECT: Final = "invoicetron"

_T = TypeVar("_T")


class SettingsError(pulumi.RunError):
    """The stack file has mistakes; the message lists all of them, what is allowed, and how to fix each."""


def _absent_when_disabled(value: object) -> object:
    # Pulumi demands a value for every key its project file knows; Pulumi.yaml gives the optional sections this one.
    return None if value == {"enabled": False} else value


Optional = Annotated[_T | None, BeforeValidator(_absent_when_disabled)]


class Settings(Section):
    """Everything that one stack file says, checked."""

    stack: str
    """Name of the stack, as Pulumi knows it."""
    cluster: Cluster = Cluster()
    namespace: Namespace
    """invoicetron-<stack>: what people, pipelines and the tunnel's egress policy expect."""
    protect: Annotated[bool, Field(validate_default=True)] = False
    """Refuse to destroy the namespace, the database, its volume and the backups."""
    secrets: Secrets
    registry: Registry
    database: Database = Database()
    app: App
    access: Access
    backup: Optional[Backup] = None
    monitoring: Optional[Monitoring] = None
    delivery: Optional[Delivery] = None
    repository: Optional[Repository] = None

    @field_validator("namespace")
    @classmethod
    def _belongs_to_stack(cls, namespace: str, info: ValidationInfo) -> str:
        expected = f"{PROJECT}-{info.data['stack']}"
        if namespace != expected:
            raise refusal(f"{expected}, so that two stacks can never share a namespace")
        return namespace

    @field_validator("protect")
    @classmethod
    def _prod_is_protected(cls, protect: bool, info: ValidationInfo) -> bool:
        if info.data["stack"] == "prod" and not protect:
            raise refusal("true in the stack prod: its database holds the only copy of the invoices")
        return protect

    @field_validator("app")
    @classmethod
    def _image_is_in_registry(cls, app: App, info: ValidationInfo) -> App:
        registry: Registry | None = info.data.get("registry")
        if registry is not None and image_registry(app.image) != registry.server:
            raise refusal(
                f"an image in {registry.server}, the registry (registry.server) that the pull credentials are for",
                key="image",
                given=repr(app.image),
            )
        return app

    @field_validator("repository")
    @classmethod
    def _repository_has_a_project(cls, repository: Repository | None, info: ValidationInfo) -> Repository | None:
        if repository is not None and info.data.get("delivery", repository) is None:
            raise refusal("a repository only beside a section delivery, which names its GitLab project")
        return repository

    @classmethod
    def load(cls, stack: str, config: Mapping[str, Any], *, hidden: Collection[str] = ()) -> Self:
        """Checks the sections (name to decoded value) of a stack; SettingsError names every mistake at once.

        No value of the sections in `hidden` (those that Pulumi keeps encrypted) appears in the message.
        """
        try:
            return cls.model_validate({**config, "stack": stack})
        except ValidationError as error:
            raise SettingsError(explain(error, stack=stack, model=cls, hidden=hidden)) from None


def load_from_pulumi() -> Settings:
    """The settings of the stack that Pulumi is running; a key of the project that no section knows is a mistake too."""
    # pulumi.Config reads single keys only; the unknown ones are found in what it reads them from.
    source = pulumi.runtime.config
    prefix = f"{PROJECT}:"
    values = {**source.get_config_env(), **source.CONFIG.get()}
    sections = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    encrypted = {key.removeprefix(prefix) for key in values if source.is_config_secret(key)}
    encrypted |= {key.removeprefix(prefix) for key in source.get_config_secret_keys_env()}
    values = {name: decoded(name, value) for name, value in sections.items()}
    return Settings.load(pulumi.get_stack(), values, hidden=encrypted)


def decoded(section: str, value: str) -> Any:
    """What a text of Pulumi's stands for: it hands mappings and booleans over as JSON, and texts as they are."""
    if section == "namespace":
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
