"""Reports the mistakes of a stack file: all at once, each with its key as the file spells it, and never a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticCustomError

from settings.commands import pulumi_command

_BEGINNINGS: Final = (
    # docs.gitlab.com/security/tokens, "Token prefixes"
    r"gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|wt|soat|ffct)-",
    r"gh[pousr]_|github_pat_",  # GitHub
    r"ops_eyJ|eyJ",  # 1Password's service accounts, and JWTs: Connect's and Kubernetes'
    r"cf(?:k|ut|at)_",  # Cloudflare
    r"A[KS]IA[A-Z0-9]{16}",  # S3
    r"xox[abeprs]-|[rs]k_(?:live|test)_|hv[bsr]\.",  # Slack, Stripe, Vault
    r"-----BEGIN",
)
TOKEN_BEGINNING: Final = f"(?:{'|'.join(_BEGINNINGS)})"
"""Pattern of how tokens, JWTs and keys begin; no name of anything begins like that."""
# What secrets look like: tokens, a password inside a URL, a long run of mixed letters and digits.
_SECRET_LOOK: Final = re.compile(
    rf"{TOKEN_BEGINNING}|://[^/\s]*:[^/\s]*@"
    r"|(?=[\w+/=-]*\d)(?=[\w+/=-]*[A-Za-z])[\w+/=]{20,}"
)
_LONGEST_SHOWN: Final = 120
_OTHERS: Final = {"pulumi", "kubernetes", "onepassword", "gitlab", "cloudflare"}
"""Namespaces of Pulumi itself and of the providers."""
_OTHERS_KEYS: Final = {"kubernetes:cluster"}
"""Keys in those namespaces that have the name of a section."""


_ENCRYPTED: Final = "secure"
"""The only key of a mapping that stands for an encrypted value in a stack file."""
NO_KEYS: Final = ("project", "stack", "released_namespace")
"""Fields of the settings that no stack file needs: Pulumi provides them, or they follow from what it provides."""


def refusal(allowed: str, *, key: str = "", given: str | None = None, fix: str | None = None) -> PydanticCustomError:
    """The error of a check that needs more than its own field's value.

    `key` is the path below the field that the validator is for; the message shows `given` instead of the field's value.
    """
    return PydanticCustomError("settings", "{allowed}", {"allowed": allowed, "key": key, "given": given, "fix": fix})


def mistakes(
    error: ValidationError, *, project: str, model: type[BaseModel], hidden: Collection[str] = ()
) -> list[str]:
    """A paragraph for each mistake in the keys of `project`, without the values of the sections in `hidden`."""
    return [_mistake(details, project, model, hidden) for details in error.errors()]


def nulls(config: Mapping[str, Any], *, project: str, told: Collection[tuple[int | str, ...]] = ()) -> list[str]:
    """A paragraph for each key whose value is null, except those in `told`, which already have one.

    A key whose lines are all commented out is null. Read as "no such section", it would delete the section's resources.
    """
    return [
        paragraph(
            _spelled(project, list(path)),
            given="nothing (null)",
            allowed="a value, or no such key",
            fix="write a value, or remove the key",
        )
        for path in _nulls(config, ())
        if path not in told
    ]


def _nulls(value: object, path: tuple[int | str, ...]) -> Iterator[tuple[int | str, ...]]:
    match value:
        case None:
            yield path
        case Mapping():
            for key, below in value.items():
                yield from _nulls(below, (*path, key))
        case list():
            for place, below in enumerate(value):
                yield from _nulls(below, (*path, place))


def foreign_key(key: str, *, project: str, model: type[BaseModel]) -> str | None:
    """A paragraph about a key in another namespace if it is probably a section of `model` with a mistyped prefix.

    Pulumi ignores such a key, and the section counts as absent: `invoicetorn:backup` would delete the backups.
    """
    namespace, _, name = key.partition(":")
    near = difflib.get_close_matches(namespace.strip().casefold(), [project], cutoff=0.7)
    # In a namespace that does not resemble the project's, the section's name has to match more closely.
    alike = 0.6 if near else 1.0 if namespace in _OTHERS else 0.8
    sections = {section.casefold(): section for section in _keys(model)}
    found = difflib.get_close_matches(name.strip().casefold(), sections, n=1, cutoff=alike)
    section = sections[found[0]] if found else None
    if key in _OTHERS_KEYS or not (near or section):
        return None
    return paragraph(
        key,
        given=f"a key of the namespace {namespace!r}, which nothing reads",
        allowed=f"keys of {project}, of Pulumi and of its providers",
        fix=f"did you mean {project}:{section}?" if section else "remove it",
    )


def report(stack: str, paragraphs: Sequence[str]) -> str:
    """The message for the person who wrote the stack file."""
    command = pulumi_command("config set", stack, "--path '<key>' '<value>'")
    count = f"{len(paragraphs)} mistakes" if len(paragraphs) > 1 else "1 mistake"
    return "\n".join(
        [
            f"The settings of stack {stack!r} have {count}. Nothing was created or changed.",
            *paragraphs,
            f"\nEdit Pulumi.{stack}.yaml, or run: {command}",
        ]
    )


def _mistake(details: ErrorDetails, project: str, model: type[BaseModel], hidden: Collection[str]) -> str:
    context = details.get("ctx", {})
    path = [*_in_file(model, details), *filter(None, str(context.get("key") or "").split("."))]
    allowed, fix = _allowed_and_fix(details, model)
    given = context["given"] if context.get("given") else _shown(details)
    if reason := _why_not(details, model):
        given, fix = "a parameter that cannot be set here", f"remove it: {reason}"
    if _is_encrypted(details):
        path = path[:-1] if path[-1] == _ENCRYPTED else path
        given = "an encrypted value"
        fix = "set it again with --plaintext, because only Pulumi can decrypt it; secrets stay in 1Password"
    if path and path[0] in hidden:
        given = "(not shown: the section is encrypted)"
    return paragraph(_spelled(project, path), given=given, allowed=allowed, fix=fix)


def _is_encrypted(details: ErrorDetails) -> bool:
    """Whether the value is as `pulumi config set --secret` writes it; Pulumi passes the value itself to a run."""
    if details["type"] == "extra_forbidden":
        return details["loc"][-1] == _ENCRYPTED
    value = details["input"]
    return details["type"] != "missing" and isinstance(value, dict) and value.keys() == {_ENCRYPTED}


def paragraph(key: str, *, given: str, allowed: str, fix: str | None = None) -> str:
    """One mistake, as `report` lists them."""
    lines = [f"\n  {key}", f"      given:   {given}", f"      allowed: {allowed}"]
    return "\n".join([*lines, f"      fix:     {fix}"] if fix else lines)


def _spelled(project: str, path: list[int | str]) -> str:
    first, *rest = (part for part in path if part != "[key]")  # pydantic adds it after the key of a mapping
    return f"{project}:{first}" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _shown(details: ErrorDetails) -> str:
    value, kind = details["input"], details["type"]
    if kind == "missing":
        return "nothing"
    if kind == "extra_forbidden":
        return "a key that does not exist"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str) and value.startswith("op://"):
        return f"op:// and {value.count('/') - 1} parts (not shown: one may be a secret)"
    if kind == "address" or kind.startswith("model"):
        return "(not shown: it may be a secret)"
    shown = f"{value}" if isinstance(value, str) else f"{value!r} ({type(value).__name__})"
    if _SECRET_LOOK.search(shown):
        return f"(not shown: {len(shown)} characters that look like a secret)"
    return repr(shown[:_LONGEST_SHOWN]) if isinstance(value, str) else shown


def _allowed_and_fix(details: ErrorDetails, model: type[BaseModel]) -> tuple[str, str | None]:
    context = details.get("ctx", {})
    match details["type"]:
        case "settings":
            return context["allowed"], context["fix"]
        case "address":
            given = str(details["input"])
            if not given.startswith("op://") or _SECRET_LOOK.search(given):
                return context["allowed"], (
                    "keep the value in 1Password, write its reference here, and change the secret: it was in a file"
                )
            return context["allowed"], "write a title that has / ? or # as its UUID" if re.search(
                "[?#]", given
            ) else None
        case "extra_forbidden":
            key, owner = str(details["loc"][-1]), _model_at(model, details["loc"][:-1])
            known = sorted(_keys(owner))
            if "." in key:
                return ", ".join(known), "remove it, and set the key inside the section with `pulumi config set --path`"
            near = difflib.get_close_matches(key, known, n=1)
            return ", ".join(known), f"did you mean {near[0]}?" if near else "remove it"
        case "missing":
            owner = _model_at(model, details["loc"][:-1])
            return _described(owner, str(details["loc"][-1])), None
        case "value_error":
            return str(context["error"]), None
        case "model_type" | "model_attributes_type":
            known = sorted(_keys(_model_at(model, details["loc"])))
            return f"a mapping with the keys {', '.join(known)}", None
        case "string_type":
            return "a text, in quotes if it looks like a number or a date", None
        case "dict_type":
            return "a mapping", None
        case _:
            return details["msg"].removeprefix("Input should be ").replace("valid tuple", "list"), None


def _why_not(details: ErrorDetails, model: type[BaseModel]) -> str | None:
    """The reason why a section does not accept a key (`why_not`), if it gives one."""
    if details["type"] != "extra_forbidden":
        return None
    why_not = getattr(_model_at(model, details["loc"][:-1]), "why_not", None)
    return why_not(str(details["loc"][-1])) if why_not else None


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if name not in NO_KEYS]


def _described(model: type[BaseModel], key: str) -> str:
    """What a missing key takes, by the schema of its type."""
    field = next((copy(field) for name, field in model.model_fields.items() if key in (name, field.alias)), None)
    if field is None:
        return "a value; the key is required"
    field.description = None  # what the key is for, once settings/schema.py has run in this process
    only: dict[str, Any] = {key: (field.annotation, field)}
    (schema,) = create_model("Section", **only).model_json_schema()["properties"].values()
    match schema:
        case {"$ref": _}:
            return f"a mapping with the keys {', '.join(sorted(_keys(_model_at(model, (key,)))))}"
        case {"description": str(allowed)}:
            return allowed
        case {"enum": [*choices, last]}:
            return f"{', '.join(choices)} or {last}"
        case {"examples": [example, *_]}:
            return f"a value, for example {example}"
        case _:
            return "a value; the key is required"


def _in_file(model: type[BaseModel], details: ErrorDetails) -> list[int | str]:
    """The path as the stack file spells it: for a refused default, pydantic gives the field's name in Python."""
    *above, last = details["loc"] or ("",)
    field = _model_at(model, tuple(above)).model_fields.get(str(last))
    known = field is not None and details["type"] != "extra_forbidden"
    return [*above, field.alias] if known and field and field.alias else [*details["loc"]]


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that the keys of `path` lead to, or the nearest one above if the path leaves the models."""
    for key in path:
        for name, field in model.model_fields.items():
            if key in (name, field.alias):
                model = next(filter(_is_model, [field.annotation, *get_args(field.annotation)]), model)
    return model


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
