"""The plugin: what each of the engine's requests does to the cluster."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from rehearsal.plugins.base import Call, Diff, InitFailedError, Plugin, PluginError, State
from rehearsal.plugins.kubernetes import field_managers
from rehearsal.plugins.kubernetes.awaiting import Awaiter, NotReadyError
from rehearsal.plugins.kubernetes.checkpoint import checkpoint, mark_secrets, recorded, recorded_field_manager
from rehearsal.plugins.kubernetes.client import ApiError, Cluster, NoMatchError, UnreachableError
from rehearsal.plugins.kubernetes.configuration import Configuration, diff_configuration
from rehearsal.plugins.kubernetes.diff import changes
from rehearsal.plugins.kubernetes.force_new import force_new_fields
from rehearsal.plugins.kubernetes.normalization import model_of, normalize
from rehearsal.plugins.kubernetes.objects import (
    AUTONAMED,
    DELETION_PROPAGATION,
    Kind,
    Name,
    Object,
    annotation,
    is_marked,
    metadata,
    pluck,
    strip,
)
from rehearsal.plugins.kubernetes.pruning import prune
from rehearsal.plugins.values import UNKNOWN, Properties, has_unknown

REFUSED_KINDS: Final = frozenset({"DaemonSet", "ReplicationController", "Ingress", "CustomResourceDefinition"})
"""Kinds that the real plugin treats in ways that this stand-in does not implement."""

_CONFLICT_HELP: Final = (
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/managing-resources-with-server-side-apply/"
    "#handle-field-conflicts-on-existing-resources"
)

_EXISTS_HELP: Final = """

The resource already exists in the cluster. This can happen when:

  - Renaming a Pulumi resource: use an alias to preserve the identity,
    or use deleteBeforeReplace if the resource needs replacement.
  - Managing an existing resource: use a Patch resource (e.g. NamespacePatch)
    to manage specific fields without owning the resource lifecycle.
  - Adopting a resource into Pulumi: use `pulumi import`. Note that
    protected resources (e.g. kube-system) cannot be deleted on destroy.
  - Intentional upsert: set upsertExistingObjects on the provider to allow
    server-side apply to update existing objects on create."""

_NOT_INPUTS: Final = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

_T = TypeVar("_T")


class ConflictError(Exception):
    """Another manager owns a field that was to be applied; the message is the real plugin's."""

    def __init__(self, manager: str, error: ApiError) -> None:
        super().__init__(
            f"server-side apply field conflict detected, see {_CONFLICT_HELP} for troubleshooting help\n"
            f'The resource managed by field manager "{manager}" had an apply conflict: {error}'
        )


class KubernetesPlugin(Plugin):
    """Serves one provider resource of the program, and so one cluster."""

    version: ClassVar[str] = "4.34.2"

    retry_delays: ClassVar[tuple[float, ...]] = (1, 2, 4, 8, 16, 32)
    """Seconds between attempts to create an object whose kind or namespace does not exist yet: 63 s in all."""

    def __init__(self) -> None:
        self._configuration = Configuration()
        self._cluster: Cluster | None = None
        self._unreachable = "the provider is not configured"
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ends all waiting; objects still waited for are recorded as not ready."""
        self._cancelled.set()

    def diff_config(self, olds: Properties, news: Properties) -> Diff:
        """See `configuration.diff_configuration`."""
        return diff_configuration(olds, news)

    def configure(self, config: Properties) -> None:
        """Connects; operations that need the cluster report if it cannot be reached."""
        self._configuration = Configuration.of(config)
        try:
            self._cluster = Cluster(self._configuration)
        except UnreachableError as error:
            self._unreachable = str(error)

    def check(self, call: Call) -> Properties:
        """Inputs in canonical form, with a name and a namespace. Unknown kinds pass: their CRD may be created later."""
        _refuse_unsupported(call)
        inputs = normalize(strip(call.inputs))
        _assign_name(inputs, strip(call.old_inputs), call.name)
        if "generateName" in inputs["metadata"] and "name" not in inputs["metadata"]:
            raise PluginError("the `.metadata.generateName` field is not supported in Server-Side Apply mode")
        cluster = self._cluster
        if cluster and "namespace" not in inputs["metadata"] and cluster.is_namespaced(Kind.of_token(call.type)):
            inputs["metadata"]["namespace"] = cluster.default_namespace
        return mark_secrets(inputs, call.inputs)

    def diff(self, call: Call) -> Diff:
        """Compares the recorded live state, in the recorded inputs' shape, with the wanted inputs; asks no server."""
        old_inputs, old_live = recorded(call.olds)
        new = normalize(strip(call.inputs))
        old = prune(old_live, normalize(old_inputs))
        for obj in (old, new):
            meta = obj.setdefault("metadata", {})
            if self._cluster is None or self._cluster.is_namespaced(Kind.of(new)):
                meta["namespace"] = meta.get("namespace") or "default"
            else:
                meta.pop("namespace", None)
        old["metadata"].pop("resourceVersion", None)
        if metadata(new, "name"):
            old["metadata"]["name"] = metadata(old_live, "name")
        for key in ("apiVersion", "kind"):
            old.setdefault(key, new.get(key))
        force_new = force_new_fields(
            new,
            secret_mutable=self._configuration.secret_mutable,
            config_map_mutable=self._configuration.config_map_mutable,
        )
        found = Diff(changes=changes(old, new, force_new=force_new, ignore=call.ignore_changes), input_diff=False)
        stays = Name.of(new) == Name.of(old_live) and metadata(new, "name") is not UNKNOWN
        named = bool(metadata(new, "name")) and not is_marked(new, AUTONAMED)
        return replace(found, delete_before_replace=bool(found.replaces) and named and stays)

    def create(self, call: Call) -> tuple[str, Properties]:
        """Creates the object client-side and waits until it is ready. A preview is a dry run if one is possible."""
        inputs: Object = strip(call.inputs)
        cluster = self._reachable_unless(call.preview)
        if cluster is None or (call.preview and (has_unknown(inputs) or not cluster.knows(Kind.of(inputs)))):
            return "", call.inputs
        try:
            live = self._patiently(lambda: self._create(cluster, inputs, call), once=call.preview)
        except NoMatchError as error:
            raise PluginError(
                f'creation of resource "{call.urn}" with kind {Kind.of(inputs).path} failed because the Kubernetes API '
                "server reported that the apiVersion for this resource does not exist. Verify that any required CRDs "
                f"have been created: {error}"
            ) from error
        except ApiError as error:
            # A preview cannot tell if an earlier step makes the namespace, removes a predecessor or grants a right.
            if call.preview and (error.is_forbidden or error.is_missing_namespace or error.already_exists):
                return "", call.inputs
            help_ = _EXISTS_HELP if error.already_exists else ""
            raise PluginError(
                f'resource "{call.urn}" was not successfully created by the Kubernetes API server: {error}{help_}'
            ) from error
        manager = f"{field_managers.CREATOR}-{secrets.token_hex(4)}"
        if call.preview:
            live.pop("status", None)
            return "", checkpoint(live=live, inputs=inputs, secrets_of=call.inputs, field_manager=manager)
        try:
            live = self._awaiter(cluster).ready(live, inputs, timeout=call.timeout)
        except NotReadyError as error:
            message = (
                f'resource "{call.urn}" was successfully created, but the Kubernetes API server reported that it '
                f"failed to fully initialize or become live: {error}"
            )
            raise self._unready(message, error.reasons, live=live, inputs=inputs, call=call, manager=manager) from error
        return Name.of(live).id, checkpoint(live=live, inputs=inputs, secrets_of=call.inputs, field_manager=manager)

    def _create(self, cluster: Cluster, inputs: Object, call: Call) -> Object:
        return cluster.create(inputs, manager=field_managers.CREATOR, dry_run=call.preview)

    def update(self, call: Call) -> Properties:
        """Applies the inputs server-side and waits. A refusal is recorded like an object that is not ready."""
        inputs: Object = normalize(strip(call.inputs))
        cluster = self._reachable_unless(call.preview)
        if cluster is None or (call.preview and (has_unknown(inputs) or not cluster.knows(Kind.of(inputs)))):
            return call.inputs
        _, old_live = recorded(call.olds)
        manager = recorded_field_manager(call.olds) or f"{field_managers.CREATOR}-{secrets.token_hex(4)}"
        try:
            live = self._apply(cluster, inputs, Name.of(old_live), manager, call)
            if not call.preview:
                live = self._awaiter(cluster).ready(live, inputs, timeout=call.timeout)
        except NoMatchError as error:
            raise PluginError(
                f'update of resource "{call.urn}" failed because the Kubernetes API server reported that the '
                f"apiVersion for this resource does not exist. Verify that any required CRDs have been created: {error}"
            ) from error
        except (ApiError, ConflictError, NotReadyError) as error:
            if call.preview and isinstance(error, ApiError) and error.is_forbidden:
                return call.inputs
            reasons = error.reasons if isinstance(error, NotReadyError) else []
            raise self._failed_update(
                cluster, error, reasons=reasons, inputs=inputs, call=call, manager=manager
            ) from error
        return checkpoint(live=live, inputs=inputs, secrets_of=call.inputs, field_manager=manager)

    def _apply(self, cluster: Cluster, inputs: Object, name: Name, manager: str, call: Call) -> Object:
        live = cluster.get(Kind.of(inputs), name)
        if not call.preview:
            owners = field_managers.absorb(live, manager)
            if owners is not None:
                live = cluster.replace_managed_fields(live, owners)
        wanted = field_managers.without_ignored(inputs, live, call.ignore_changes, manager)
        enabled = self._configuration.patch_force
        force = field_managers.must_force(inputs, live, preview=call.preview, enabled=enabled)
        try:
            return cluster.apply(wanted, manager=manager, force=force, dry_run=call.preview)
        except ApiError as error:
            if error.is_conflict:
                raise ConflictError(manager, error) from error
            raise

    def _failed_update(
        self, cluster: Cluster, error: Exception, *, reasons: list[str], inputs: Object, call: Call, manager: str
    ) -> Exception:
        _, old_live = recorded(call.olds)
        try:
            live = cluster.get(Kind.of(old_live), Name.of(old_live))
        except ApiError as missing:
            return PluginError(
                f'update of resource "{call.urn}" failed: {error}\nunable to get cluster state: {missing}'
            )
        message = (
            f'the Kubernetes API server reported that "{Name.of(live).id}" failed to fully initialize or become live: '
            f"{error}"
        )
        return self._unready(message, reasons, live=live, inputs=inputs, call=call, manager=manager)

    def read(self, call: Call) -> State | None:
        """The live object; its inputs are the live values of the recorded inputs' fields, or in an import all."""
        cluster = self._cluster
        if cluster is None:
            self._refuse_to_read_unreachable()
            return None
        old_inputs: Object = normalize(strip(call.old_inputs))
        _, old_live = recorded(call.olds)
        known = old_inputs if old_inputs.get("kind") else old_live
        imported = not known.get("kind")
        kind = Kind.of_token(call.type) if imported else Kind.of(known)
        try:
            live = cluster.get(kind, Name.of_id(call.id))
        except NoMatchError:
            return None
        except ApiError as error:
            if error.is_not_found:
                return None
            raise PluginError(str(error)) from error
        inputs = _imported_inputs(live) if imported else prune(live, old_inputs)
        manager = recorded_field_manager(call.olds) or f"{field_managers.CREATOR}-{secrets.token_hex(4)}"
        outputs = checkpoint(live=live, inputs=inputs, secrets_of=call.old_inputs, field_manager=manager)
        state = State(id=call.id, outputs=outputs, inputs=mark_secrets(inputs, call.old_inputs))
        try:
            if not imported:
                self._awaiter(cluster).check(live, old_inputs)
        except NotReadyError as error:
            raise InitFailedError(state.id, state.outputs, state.inputs, [str(error), *error.reasons]) from error
        return state

    def _refuse_to_read_unreachable(self) -> None:
        _log(f"configured Kubernetes cluster is unreachable: {self._unreachable}")
        if not self._configuration.delete_unreachable:
            raise PluginError(
                "failed to read resource state due to unreachable cluster. If the cluster was deleted, you can remove "
                "this resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE "
                'environment variable set to "true"'
            )

    def delete(self, call: Call) -> None:
        """Deletes the object and waits; dependents first, unless an annotation in the recorded inputs differs."""
        if self._cluster is None:
            _log(f"configured Kubernetes cluster is unreachable: {self._unreachable}")
            if self._configuration.delete_unreachable:
                return
            raise PluginError(
                "configured Kubernetes cluster is unreachable. If the cluster was deleted, you can remove this "
                "resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE "
                'environment variable set to "true"'
            )
        inputs, live = recorded(call.olds)
        kind, name = Kind.of(live), Name.of_id(call.id)
        try:
            self._cluster.delete(kind, name, propagation=_propagation(inputs))
            self._awaiter(self._cluster).gone(kind, name, inputs, timeout=call.timeout)
        except NoMatchError:
            return
        except ApiError as error:
            if not error.is_not_found:
                raise PluginError(str(error)) from error
        except NotReadyError as error:
            manager = recorded_field_manager(call.olds) or ""
            raise self._unready(
                str(error), error.reasons, live=live, inputs=inputs, call=call, manager=manager
            ) from error

    def _reachable_unless(self, preview: bool) -> Cluster | None:
        if self._cluster is None and not preview:
            raise PluginError(f"configured Kubernetes cluster is unreachable: {self._unreachable}")
        return self._cluster

    def _awaiter(self, cluster: Cluster) -> Awaiter:
        return Awaiter(cluster=cluster, cancelled=self._cancelled)

    def _unready(
        self, message: str, reasons: list[str], *, live: Object, inputs: Object, call: Call, manager: str
    ) -> InitFailedError:
        outputs = checkpoint(live=live, inputs=inputs, secrets_of=call.inputs or call.olds, field_manager=manager)
        return InitFailedError(Name.of(live).id, outputs, {}, [message, *reasons])

    def _patiently(self, create: Callable[[], _T], *, once: bool) -> _T:
        """Retries while the kind or the namespace is missing: another resource of the program may create it."""
        for delay in () if once else self.retry_delays:
            try:
                return create()
            except NoMatchError as error:
                _log(f"creation failed, trying again in {delay} s: {error}")
            except ApiError as error:
                if not error.is_not_found:
                    raise
                _log(f"creation failed, trying again in {delay} s: {error}")
            time.sleep(delay)
        return create()


def _refuse_unsupported(call: Call) -> None:
    kind = Kind.of_token(call.type)
    if kind.name in REFUSED_KINDS or kind.name.endswith(("List", "Patch")):
        raise PluginError(
            f"the stand-in for pulumi-kubernetes does not support {kind.name}; rehearse {call.name} with the real "
            "plugin (REHEARSAL_PLUGINS=real), or add support for it to the stand-in"
        )


def _assign_name(inputs: Object, old_inputs: Object, resource: str) -> None:
    """If the program gives no name: the resource's name and eight random digits, kept by later updates."""
    meta = inputs.setdefault("metadata", {})
    if "name" in meta or "generateName" in meta:
        return
    if is_marked(old_inputs, AUTONAMED):
        meta["name"] = metadata(old_inputs, "name")
    elif old_inputs:
        return
    else:
        meta["name"] = f"{resource}-{secrets.token_hex(4)}"
    meta["annotations"] = {**(pluck(meta, "annotations") or {}), AUTONAMED: "true"}


def _imported_inputs(live: Object) -> Object:
    """The live object without what no program states; of a custom resource, whose schema is unknown, only the name."""
    if model_of(Kind.of(live)) is None:
        name = {"name": live["metadata"]["name"]}
        return prune(live, {"apiVersion": "", "kind": "", "metadata": {**name, "namespace": ""}})
    inputs: dict[str, Any] = {key: value for key, value in live.items() if key != "status"}
    meta = {key: value for key, value in live["metadata"].items() if key not in _NOT_INPUTS}
    kept = (pluck(meta, "annotations") or {}).items()
    annotations = {key: value for key, value in kept if key not in (_LAST_APPLIED, "deployment.kubernetes.io/revision")}
    if "annotations" in meta:
        meta["annotations"] = annotations
    return {**inputs, "metadata": meta}


def _propagation(inputs: Object) -> str:
    asked = (annotation(inputs, DELETION_PROPAGATION) or "").lower()
    return {"orphan": "Orphan", "background": "Background"}.get(asked, "Foreground")


def _log(text: str) -> None:
    sys.stderr.write(f"{text}{os.linesep}")
    sys.stderr.flush()
