"""Kubernetes objects as plain dictionaries, as inputs and outputs of resources hold them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from rehearsal.plugins.values import plain

Object: TypeAlias = dict[str, Any]

AUTONAMED: Final = "pulumi.com/autonamed"
SKIP_AWAIT: Final = "pulumi.com/skipAwait"
WAIT_FOR: Final = "pulumi.com/waitFor"
TIMEOUT_SECONDS: Final = "pulumi.com/timeoutSeconds"
PATCH_FORCE: Final = "pulumi.com/patchForce"
DELETION_PROPAGATION: Final = "pulumi.com/deletionPropagationPolicy"


class Kind(NamedTuple):
    """An object's kind, e.g. `Kind("apps/v1", "Deployment")`; the core group has no group in its version."""

    api_version: str
    name: str

    @property
    def group(self) -> str:
        """Its API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    @classmethod
    def of(cls, obj: Object) -> Kind:
        """The kind that an object states about itself."""
        return cls(str(obj.get("apiVersion") or "").removeprefix("core/"), str(obj.get("kind") or ""))

    @classmethod
    def of_token(cls, token: str) -> Kind:
        """The kind of a type token: `kubernetes:core/v1:Secret`; raises ValueError for a token without a version."""
        _, api_version, name = token.split(":")
        group, slash, version = api_version.partition("/")
        if not slash:
            raise ValueError(f"apiVersion does not have both a group and a version: {api_version!r}")
        return cls(version if group == "core" else api_version, name)

    @property
    def path(self) -> str:
        """As the API machinery's messages write it: `apps/v1/Deployment`, `v1/Secret`."""
        return f"{self.api_version}/{self.name}"


class Name(NamedTuple):
    """An object's namespace and name; the namespace is empty for cluster-scoped objects."""

    namespace: str
    name: str

    @property
    def id(self) -> str:
        """The id of the resource: `namespace/name` or `name`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @classmethod
    def of(cls, obj: Object) -> Name:
        """The name that an object carries."""
        return cls(metadata(obj, "namespace") or "", metadata(obj, "name") or "")

    @classmethod
    def of_id(cls, id_: str) -> Name:
        """The name in a resource's id."""
        namespace, _, name = id_.rpartition("/")
        return cls(namespace, name)


def strip(value: Any) -> Any:
    """A copy without secret marks and without keys whose value is None; so the real plugin reads properties."""
    if isinstance(value, dict):
        return {key: strip(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [strip(item) for item in value]
    bare = plain(value)
    return strip(bare) if isinstance(bare, dict | list) else bare


def pluck(obj: Any, *path: str) -> Any:
    """The value at a path of keys, None if the path does not exist."""
    for key in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(key)
    return obj


def metadata(obj: Object, key: str) -> Any:
    """A field of the object's metadata, None if it is missing."""
    return pluck(obj, "metadata", key)


def annotation(obj: Object, key: str) -> str | None:
    """An annotation's value, None if it is missing or not known yet."""
    value = pluck(obj, "metadata", "annotations", key)
    return value if isinstance(value, str) else None


def is_marked(obj: Object, key: str) -> bool:
    """Whether an annotation is `true`."""
    return annotation(obj, key) == "true"


def condition(obj: Object, type_: str) -> Object | None:
    """The status condition of a type, None if the object has none."""
    for found in pluck(obj, "status", "conditions") or []:
        if found.get("type") == type_:
            return dict(found)
    return None


def is_owned_by(obj: Object, owner: Object) -> bool:
    """Whether the object's owner references name the owner."""
    uid = metadata(owner, "uid")
    return any(reference.get("uid") == uid for reference in metadata(obj, "ownerReferences") or [])
