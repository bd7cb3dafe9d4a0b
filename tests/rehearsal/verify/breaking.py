"""Ways to break one thing in a whole system for a while: each is a context manager that repairs it at the end."""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final
from unittest import mock

from lookups.database_claims import STOPPED_BY
from rehearsal.vendors.server import Fault, Service
from tests.rehearsal.verify.live import HOST, NAMESPACE, REGISTRY, SCOPE, STACK, Live
from tests.stacks import PROD

ABSENT: Final = object()
"""No value at all."""


def at(body: Any, path: str) -> Any:
    """The value that a JSON pointer refers to."""
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/")
        try:
            body = body[int(key) if isinstance(body, list) else key]
        except (KeyError, IndexError):
            return ABSENT
    return body


@contextmanager
def edited(live: Live, kind: str, name: str, path: str, value: Any, *, namespace: str = NAMESPACE) -> Iterator[None]:
    """Changes one value of an object for a while; `ABSENT` removes it."""
    before = at(live.get(kind, name, namespace), path)

    def write(was: Any, now: Any) -> None:
        operation = {"op": "remove"} if now is ABSENT else {"op": "add" if was is ABSENT else "replace", "value": now}
        live.patch(kind, name, [operation | {"path": path}], "--type=json", namespace=namespace)

    write(before, value)
    try:
        yield
    finally:
        write(value, before)


@contextmanager
def deleted(live: Live, kind: str, name: str, *, namespace: str = NAMESPACE) -> Iterator[None]:
    """An object is gone for a while."""
    body = live.get(kind, name, namespace)
    live.rehearsal.kubectl("-n", namespace, "delete", kind, name)
    try:
        yield
    finally:
        recreate(live, body)


def recreate(live: Live, body: Any) -> None:
    for made in ("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"):
        body["metadata"].pop(made, None)
    body.pop("status", None)
    live.rehearsal.kubectl("create", "--filename=-", stdin=json.dumps(body))


@contextmanager
def lost(live: Live, claim: str) -> Iterator[None]:
    """The volume behind a claim is gone: what Longhorn or somebody with `kubectl delete pv` leaves."""
    volume = live.get("pvc", claim)["spec"]["volumeName"]
    body = live.get("pv", volume)
    live.rehearsal.kubectl("delete", "pv", volume, "--wait=false")
    live.patch("pv", volume, {"metadata": {"finalizers": None}}, "--type=merge")
    try:
        yield
    finally:
        recreate(live, body)


@contextmanager
def stopped_for_a_restore(live: Live) -> Iterator[None]:
    """As `ops restore` leaves the app while it runs, or where it was killed."""
    mark = f"/metadata/annotations/{STOPPED_BY.replace('/', '~1')}"
    with (
        edited(live, "deployment", PROD.app, mark, "a-run"),
        edited(live, "deployment", PROD.app, "/spec/replicas", 0),
    ):
        yield


@contextmanager
def image(live: Live, reference: str) -> Iterator[None]:
    """`kubectl set image` of the app, as its pipeline does it."""
    before = live.get("deployment", PROD.app)["spec"]["template"]["spec"]["containers"][0]["image"]

    def deploy(now: str) -> None:
        target = ["set", "image", f"deployment/{PROD.app}", f"{PROD.app}={now}", "--field-manager=gitlab-ci"]
        live.rehearsal.kubectl("-n", NAMESPACE, *target)

    deploy(reference)
    try:
        yield
    finally:
        deploy(before)


@contextmanager
def failed_job(live: Live, cron_job: str) -> Iterator[None]:
    """A newer Job has failed: its image cannot be pulled, and its deadline was one second."""
    body = live.get("cronjob", cron_job)["spec"]["jobTemplate"]["spec"]["template"]
    # A pod that runs one of our scripts would run it here, whatever its image.
    body["spec"]["containers"][0] |= {"image": f"{REGISTRY}/prod:placeholder", "command": ["true"]}
    name = f"{cron_job}-{secrets.token_hex(4)}"
    live.run(cron_job, name, activeDeadlineSeconds=1, template=body)
    live.ended(name, "failed")
    try:
        yield
    finally:
        live.rehearsal.kubectl("-n", NAMESPACE, "delete", "job", name)


@contextmanager
def waiting_job(live: Live, cron_job: str) -> Iterator[None]:
    """A newer Job has begun and not ended."""
    name = f"{cron_job}-{secrets.token_hex(4)}"
    live.run(cron_job, name, suspend=True)
    try:
        yield
    finally:
        live.rehearsal.kubectl("-n", NAMESPACE, "delete", "job", name)


@contextmanager
def no_job(live: Live, prefix: str) -> Iterator[None]:
    """The Jobs of that name have been removed."""
    jobs = live.rehearsal.get("jobs", namespace=NAMESPACE)["items"]
    gone = [one for one in jobs if one["metadata"]["name"].startswith(f"{prefix}-")]
    assert gone
    with ExitStack() as stack:
        for one in gone:
            stack.enter_context(_removed(live, one))
        yield


@contextmanager
def _removed(live: Live, job: Any) -> Iterator[None]:
    name = job["metadata"]["name"]
    live.rehearsal.kubectl("-n", NAMESPACE, "delete", "job", name)
    try:
        yield
    finally:
        job["spec"].pop("selector")
        template = job["spec"]["template"]["metadata"]["labels"]
        for label in [one for one in template if one.endswith(("controller-uid", "job-name"))]:
            del template[label]
        recreate(live, job)
        live.ended(name, "complete")


@contextmanager
def last_success(live: Live, cron_job: str, when: str | None) -> Iterator[None]:
    """The CronJob's last successful run was then, or never."""
    with no_job(live, cron_job):
        status = {"status": {"lastSuccessfulTime": when}}
        live.patch("cronjob", cron_job, status, "--type=merge", "--subresource=status")
        yield


@contextmanager
def superuser(live: Live) -> Iterator[None]:
    """The app's role is a superuser, and the last backup has seen it."""
    server = live.rehearsal.control_plane.pods.database(NAMESPACE)

    def back_up() -> None:
        name = f"{PROD.backup}-{secrets.token_hex(4)}"
        live.run(PROD.backup, name)
        live.ended(name, "complete")

    server.sql(f"ALTER ROLE {PROD.database_role} SUPERUSER")
    back_up()
    yield
    server.sql(f"ALTER ROLE {PROD.database_role} NOSUPERUSER")
    back_up()


def ago(**time: float) -> str:
    return (dt.datetime.now(dt.UTC) - dt.timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_days(days: int) -> dt.date:
    return dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days)


def changed(body: dict[str, Any], **values: Any) -> AbstractContextManager[None]:
    """Changes values in an emulator's object for a while."""
    return mock.patch.dict(body, values)


@contextmanager
def without(body: dict[Any, Any], key: Any) -> Iterator[None]:
    """An emulator's object is gone for a while."""
    with mock.patch.dict(body):
        del body[key]
        yield


def emptied(body: dict[Any, Any]) -> AbstractContextManager[None]:
    """All of an emulator's objects are gone for a while."""
    return mock.patch.dict(body, clear=True)


def with_entry(body: dict[Any, Any], key: Any, entry: Any) -> AbstractContextManager[None]:
    """An emulator has one more object for a while."""
    return mock.patch.dict(body, {key: entry})


def token(variable: str, value: str) -> AbstractContextManager[None]:
    """The command is run with another token."""
    return mock.patch.dict(os.environ, {variable: value})


def variable(live: Live, key: str, **values: Any) -> AbstractContextManager[None]:
    return changed(live.project.variables.get(key, SCOPE), **values)


@contextmanager
def rule(live: Live, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Iterator[None]:
    """Somebody edits the tunnel in the dashboard."""
    before = live.rehearsal.cloudflare.document
    live.rehearsal.cloudflare.write({**before, "ingress": edit(before["ingress"])})
    try:
        yield
    finally:
        live.rehearsal.cloudflare.write(before)


def demand(live: Live, access: dict[str, Any] | None) -> AbstractContextManager[None]:
    """cloudflared demands something else of requests for the hostname, or nothing if `access` is None."""

    def edit(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        request = {} if access is None else {"access": access}
        return [one | {"originRequest": request} if one.get("hostname") == HOST else one for one in rules]

    return rule(live, edit)


@contextmanager
def both(*breakages: AbstractContextManager[None]) -> Iterator[None]:
    """Several things are broken at once."""
    with ExitStack() as stack:
        for one in breakages:
            stack.enter_context(one)
        yield


def policy(live: Live) -> dict[str, Any]:
    (found,) = application(live)["policies"]
    return dict(found)


def application(live: Live) -> dict[str, Any]:
    (found,) = live.rehearsal.cloudflare.applications.values()
    return found


def record(live: Live) -> dict[str, Any]:
    (found,) = [one for one in live.rehearsal.cloudflare.records.values() if one["name"] == HOST]
    return found


def deploy_token(live: Live) -> dict[str, Any]:
    (found,) = live.project.deploy_tokens._by_id.values()
    return found


def environment(live: Live) -> dict[str, Any]:
    (found,) = [one for one in live.project.environments._by_id.values() if one["name"] == SCOPE]
    return found


def mirror(live: Live) -> dict[str, Any]:
    (found,) = live.project.mirrors.entries({})
    return found


@contextmanager
def answering(service: Service, fault: Fault, path: str = "") -> Iterator[None]:
    """The service in front of the app answers with this fault instead."""
    service.fail(fault, path=path, times=1000)
    try:
        yield
    finally:
        service.forget()


def item(live: Live, title: str, label: str, value: str) -> AbstractContextManager[None]:
    """Somebody changes a field in 1Password, and runs no `up`."""
    (field,) = [one for one in live.rehearsal.onepassword.item(title)["fields"] if one["label"] == label]
    return changed(field, value=value)


@contextmanager
def rotated(live: Live) -> Iterator[None]:
    """The database's password and URL are changed in 1Password, and no `up` is run."""
    fields = live.rehearsal.onepassword.item("Invoicetron Prod")["fields"]
    with ExitStack() as stack:
        for field in fields:
            stack.enter_context(mock.patch.dict(field))
        live.rehearsal.onepassword.rotate(STACK)
        yield


def source(live: Live, source: str) -> AbstractContextManager[None]:
    (tunnel,) = live.rehearsal.cloudflare.tunnels
    return changed(tunnel, config_src=source)
