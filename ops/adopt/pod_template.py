"""What in an existing pod template prevents its adoption: secrets in plain text, and fields that exclude the program's.

`pulumi import` records an object whole, so a secret in it stays in the state for good. And where the API allows one of
several fields (a variable's `value` or `valueFrom`, a probe's `exec` or `httpGet`), it refuses the program's field
beside another one (kubernetes#46861), in every preview and `up` from then on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policies.rule import UNKNOWN
from policies.secrets import MARKED
from policies.shapes import SECRET_NAME, SHAPES

Object = Mapping[str, Any]
Operation = dict[str, Any]

_ASSIGNED: Final = re.compile(
    r"(?i)(?:^|\s)(?:-{0,2}[\w-]*(?:password|passwd|passphrase|secret|token)=|--[\w-]*(?:password|token)\s+)"
    r"[\"']?(?![\"'$-])[^\s\"']+"
)
"""A password among the words of a command; a reference to a variable does not count."""
_REFERENCE: Final = re.compile(r"\$\([\w.-]+\)")
"""A reference that Kubernetes expands. Any other dollar sign belongs to the value."""
_OF_SHELL: Final = re.compile(r"\$\w+|\$\{[^}]*\}")
_HANDLERS: Final = frozenset({"exec", "httpGet", "tcpSocket", "grpc", "sleep"})
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_ADMINISTRATOR: Final = frozenset({"SYS_ADMIN", "CAP_SYS_ADMIN"})
_HOOKS: Final = ("postStart", "preStop")


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """What counts as a secret in plain text: by name, by shape, or as the value of a Secret in the namespace."""

    values: Collection[str] = ()

    def shows(self, text: str, name: str = "") -> bool:
        """Whether `text`, the value of something called `name`, reveals a secret. `$(VARIABLE)` does not."""
        said = _REFERENCE.sub("", text)
        shaped = any(shape.search(said) for shape in SHAPES.values())
        return bool(said) and (bool(SECRET_NAME.search(name)) or shaped or any(value in said for value in self.values))

    def in_command(self, words: Sequence[str]) -> bool:
        """Whether a command reveals a secret. `$VARIABLE`, which a shell expands, does not."""
        text = " ".join(words)
        return self.shows(_OF_SHELL.sub("", text)) or bool(_ASSIGNED.search(text))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One field that has to be removed or replaced."""

    where: str
    """The field, in words."""
    secret: bool
    """Whether it holds a secret in plain text."""
    operations: tuple[Operation, ...]
    """JSON patch of the pod's spec that removes or replaces the field. It holds no secret."""


def faults(live: Object, wanted: Object, secrets: Secrets, config_maps: Mapping[str, Object]) -> list[Fault]:
    """The faults of the pod spec `live`, for which the program has `wanted`; `config_maps` maps names to data."""
    found = [*_volumes(live, wanted), *_grace_period(live, wanted)]
    for section in ("initContainers", "containers"):
        own = {one["name"]: one for one in wanted.get(section) or []}
        names = {one["name"] for one in live.get(section) or []}
        for index, container in enumerate(live.get(section) or []):
            counterpart = successor = own.get(container["name"], {})
            if (section, index) == ("containers", 0) and not own.keys() & names:
                successor = next(iter(own.values()), {})  # whatever its name, `up` keeps its image
            path = f"/{section}/{index}"
            found += _variables(container, successor, path, secrets)
            found += _sources(container, successor, path, secrets, config_maps)
            found += _handlers(container, counterpart, path, secrets)
            found += _command(container, counterpart, path, secrets)
            found += _rights(container, counterpart, path)
    return found


def _variables(container: Object, wanted: Object, path: str, secrets: Secrets) -> Iterator[Fault]:
    own = {one["name"]: one for one in wanted.get("env") or []}
    # From the last to the first, because a removal shifts those behind it.
    for index, variable in reversed(list(enumerate(container.get("env") or []))):
        name, value = variable["name"], variable.get("value", "")
        counterpart = own.get(name)
        secret = "value" in variable and (
            secrets.shows(value, name) or bool(value and counterpart and "valueFrom" in counterpart)
        )
        if not secret and (counterpart is None or _source(counterpart) == _source(variable)):
            continue
        at = f"{path}/env/{index}"
        test = {"op": "test", "path": f"{at}/name", "value": name}
        yield Fault(
            where=f"the variable {name} of container {container['name']}",
            secret=secret,
            operations=(test, _replace(at, counterpart)),
        )


def _source(variable: Object) -> str:
    return next(iter(variable.get("valueFrom") or {}), "value")


def _sources(
    container: Object, wanted: Object, path: str, secrets: Secrets, config_maps: Mapping[str, Object]
) -> Iterator[Fault]:
    """`envFrom` of ConfigMaps that hold a secret; the program's variables from a Secret replace it."""
    own = {one["name"]: one for one in wanted.get("env") or [] if "valueFrom" in one and _known(one)}
    there = {one["name"] for one in container.get("env") or []}
    for index, source in reversed(list(enumerate(container.get("envFrom") or []))):
        config_map = (source.get("configMapRef") or {}).get("name", "")
        prefix = source.get("prefix") or ""
        named = {f"{prefix}{key}": str(value) for key, value in config_maps.get(config_map, {}).items()}
        plain = [key for key, value in named.items() if secrets.shows(value, key) or (value and key in own)]
        if not plain:
            continue
        added = [own[key] for key in plain if key in own and key not in there]
        operations: list[Operation] = [{"op": "remove", "path": f"{path}/envFrom/{index}"}]
        if container.get("env"):
            operations += [{"op": "add", "path": f"{path}/env/-", "value": one} for one in added]
        elif added:
            operations.append({"op": "add", "path": f"{path}/env", "value": added})
        yield Fault(
            where=f"{', '.join(sorted(plain))} from the ConfigMap {config_map} of container {container['name']}",
            secret=True,
            operations=tuple(operations),
        )


def _handlers(container: Object, wanted: Object, path: str, secrets: Secrets) -> Iterator[Fault]:
    pairs = [(container.get(probe), wanted.get(probe), probe) for probe in _PROBES]
    hooks, own_hooks = container.get("lifecycle") or {}, wanted.get("lifecycle") or {}
    pairs += [(hooks.get(hook), own_hooks.get(hook), f"lifecycle/{hook}") for hook in _HOOKS]
    for live, own, name in pairs:
        secret = bool(live and _handler_shows(live, secrets))
        if secret or (live and own and _HANDLERS & live.keys() != _HANDLERS & own.keys()):
            where = f"the {name.rpartition('/')[2]} of container {container['name']}"
            yield Fault(where=where, secret=secret, operations=(_replace(f"{path}/{name}", own),))


def _handler_shows(handler: Object, secrets: Secrets) -> bool:
    """Whether a probe or a hook reveals a secret: in its command, or in its HTTP request."""
    asked = handler.get("httpGet") or {}
    headers = asked.get("httpHeaders") or []
    return (
        secrets.in_command((handler.get("exec") or {}).get("command") or [])
        or secrets.shows(str(asked.get("path") or ""))
        or any(secrets.shows(str(one.get("value") or ""), str(one.get("name"))) for one in headers)
    )


def _command(container: Object, wanted: Object, path: str, secrets: Secrets) -> Iterator[Fault]:
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    if secrets.in_command(words):
        yield Fault(
            where=f"the command of container {container['name']}",
            secret=True,
            operations=tuple(
                _replace(f"{path}/{name}", wanted.get(name)) for name in ("command", "args") if name in container
            ),
        )


def _rights(container: Object, wanted: Object, path: str) -> Iterator[Fault]:
    """Rights that the API server refuses beside `allowPrivilegeEscalation: false`."""
    rights, own = container.get("securityContext") or {}, wanted.get("securityContext") or {}
    added = (rights.get("capabilities") or {}).get("add") or []
    if own.get("allowPrivilegeEscalation") is False and (rights.get("privileged") or _ADMINISTRATOR & set(added)):
        where = f"the securityContext of container {container['name']}"
        yield Fault(where=where, secret=False, operations=(_replace(f"{path}/securityContext", own),))


def _grace_period(live: Object, wanted: Object) -> Iterator[Fault]:
    """A grace period too short for the pause of the program's preStop hooks, where the program leaves the default."""
    hooks = [(one.get("lifecycle") or {}).get("preStop") or {} for one in wanted.get("containers") or []]
    pause = max(((hook.get("sleep") or {}).get("seconds", 0) for hook in hooks), default=0)
    name = "terminationGracePeriodSeconds"
    if name not in wanted and pause and live.get(name, pause + 1) <= pause:
        where = f"{name} of {live[name]}, less than the pause of {pause} in the preStop hook"
        yield Fault(where=where, secret=False, operations=({"op": "remove", "path": f"/{name}"},))


def _volumes(live: Object, wanted: Object) -> Iterator[Fault]:
    own = {one["name"]: one for one in wanted.get("volumes") or []}
    for index, volume in enumerate(live.get("volumes") or []):
        counterpart = own.get(volume["name"])
        if counterpart is not None and volume.keys() != counterpart.keys():
            where = f"the volume {volume['name']}"
            yield Fault(where=where, secret=False, operations=(_replace(f"/volumes/{index}", counterpart),))


def _replace(path: str, wanted: Any) -> Operation:
    """Replaces the field by the program's if that is known before the `up`; otherwise removes it."""
    if wanted is None or not _known(wanted):
        return {"op": "remove", "path": path}
    return {"op": "replace", "path": path, "value": wanted}


def _known(wanted: Any) -> bool:
    text = json.dumps(wanted)
    return MARKED not in text and not any(unknown in text for unknown in UNKNOWN)
