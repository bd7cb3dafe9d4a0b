"""What `ops upgrade` asks the API server about a Cluster, and how it handles the answers."""

from __future__ import annotations

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3 import HTTPResponse

from ops.kube.cluster import Cluster, ClusterError, Interrupts
from ops.upgrade.operated_cluster import OperatedCluster, messages, serves
from tests.stacks import DEV
from tests.unit.ops.test_operated_upgrade import LIVE, NEW, OLD


class Api:
    """The operator's objects; the API server refuses every change with `error`, if it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: ApiException | None = None
        self.bodies: list[dict[str, Any]] = []
        self.cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
        self.live = OperatedCluster(cluster=self.cluster)
        monkeypatch.setattr("kubernetes.client.CustomObjectsApi.patch_namespaced_custom_object", self._answer)
        monkeypatch.setattr("kubernetes.client.CustomObjectsApi.create_namespaced_custom_object", self._answer)
        monkeypatch.setattr(Cluster, "custom_object", lambda *_: LIVE)

    def _answer(self, *arguments: Any, **_: Any) -> None:
        self.bodies.append(arguments[-1])
        if self.error is not None:
            raise self.error


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    return Api(monkeypatch)


def refusal_of(status: int) -> ApiException:
    error = ApiException(status=status, reason="refused")
    error.body = '{"message": "can\'t downgrade from major 18 to 17"}'
    return error


def test_a_webhooks_refusal_is_reported_in_its_own_words(api: Api) -> None:
    api.error = refusal_of(422)
    with pytest.raises(ClusterError, match=r"^can't downgrade from major 18 to 17$"):
        api.live.patch({})


def test_a_base_backup_is_taken_from_the_primary_and_owned_by_the_cluster(api: Api) -> None:
    name = api.live.create_base_backup()
    (body,) = api.bodies
    assert body["metadata"]["name"] == name
    assert (body["spec"]["method"], body["spec"]["target"]) == ("plugin", "primary")
    assert [one["uid"] for one in body["metadata"]["ownerReferences"]] == [LIVE["metadata"]["uid"]]


def test_a_base_backup_from_an_earlier_attempt_is_reused(api: Api) -> None:
    api.error = refusal_of(409)
    assert api.live.create_base_backup().startswith("invoicetron-db-upgraded-")


@pytest.mark.parametrize(
    ("pods", "reason"),
    [
        ([], "no pod was made"),
        (["Pending"], "its container is being created"),
        (["Running"], None),
        (["Succeeded"], None),
    ],
)
def test_a_job_has_not_started_until_its_own_container_has(
    api: Api, monkeypatch: pytest.MonkeyPatch, pods: list[str], reason: str | None
) -> None:
    found = [
        SimpleNamespace(status=SimpleNamespace(phase=phase, container_statuses=None, conditions=None)) for phase in pods
    ]
    monkeypatch.setattr(Cluster, "pods_of", lambda *_: SimpleNamespace(listed=lambda _: found))
    assert api.live.not_started("db-1-major-upgrade") == reason


def test_only_a_ready_instance_of_the_image_serves() -> None:
    def pod(image: str, *, ready: str = "True", deleted: str | None = None) -> Any:
        return SimpleNamespace(
            metadata=SimpleNamespace(deletion_timestamp=deleted),
            spec=SimpleNamespace(containers=[SimpleNamespace(image=image)]),
            status=SimpleNamespace(conditions=[SimpleNamespace(type="Ready", status=ready)]),
        )

    assert serves([pod(OLD), pod(NEW)], image=NEW)
    assert not serves([pod(OLD), pod(NEW, ready="False"), pod(NEW, deleted="now")], image=NEW)


def test_the_operators_log_is_shown_as_plain_messages() -> None:
    log = (
        '{"level":"info","msg":"Running pg_upgrade"}\nplain\n{"level":"error","msg":"failed","error":"exit status 1"}\n'
    )
    assert messages(log) == ["Running pg_upgrade", "plain", "failed: exit status 1"]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (b"", "its Job has failed, and left no log; see: kubectl -n invoicetron-dev logs job/db-1-major-upgrade"),
        (
            b'{"msg":"Running pg_upgrade"}\nYour installation contains \xff\n',
            "\n  Running pg_upgrade\n  Your installation",
        ),
    ],
)
def test_a_failed_job_is_reported_with_the_end_of_its_log_if_there_is_one(
    api: Api, monkeypatch: pytest.MonkeyPatch, log: bytes, words: str
) -> None:
    pod = SimpleNamespace(metadata=SimpleNamespace(name="db-1-major-upgrade-x"))
    monkeypatch.setattr(Cluster, "pods_of", lambda *_: SimpleNamespace(listed=lambda _: [pod]))
    answer = HTTPResponse(BytesIO(log), headers={"Content-Type": "text/plain"}, status=200, preload_content=False)
    monkeypatch.setattr("urllib3.PoolManager.request", lambda *_, **__: answer)
    assert api.live.last_words("db-1-major-upgrade").startswith(words)
