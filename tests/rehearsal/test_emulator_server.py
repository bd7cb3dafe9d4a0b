"""An emulator's server: what it logs, how it fails when told to, and how it stops."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal.vendors.server import Call, Fault, Service, serve


class Counter:
    """The smallest emulator: a number that GET shows and POST raises."""

    def __init__(self) -> None:
        self.number = 0
        self.app = Service(
            Starlette(
                routes=[
                    Route("/number", self._show),
                    Route("/number", self._raise, methods=["POST"]),
                    Route("/broken", self._break),
                ]
            )
        )

    async def _show(self, _request: Request) -> Response:
        return JSONResponse(self.number)

    async def _raise(self, _request: Request) -> Response:
        self.number += 1
        return JSONResponse(self.number, status_code=201)

    async def _break(self, _request: Request) -> Response:
        raise ZeroDivisionError


@dataclass(frozen=True)
class Served:
    counter: Counter
    client: httpx.Client

    @property
    def service(self) -> Service:
        return self.counter.app

    def statuses(self) -> list[int | None]:
        return [call.status for call in self.service.log]


@pytest.fixture
def served() -> Iterator[Served]:
    counter = Counter()
    with serve(counter.app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield Served(counter, client)


def test_it_listens_on_loopback_only(served: Served) -> None:
    port = served.client.base_url.port
    assert port is not None
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    with pytest.raises((ConnectionRefusedError, TimeoutError)):  # another address of this machine
        socket.create_connection(("127.0.0.2", port), timeout=1)


def test_nothing_listens_after_the_context_has_ended() -> None:
    with serve(Counter().app) as url:
        httpx.get(f"{url}/number", trust_env=False)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/number", trust_env=False)


def test_neither_an_open_connection_nor_a_call_in_progress_delays_the_stop() -> None:
    counter = Counter()
    with httpx.Client(trust_env=False) as kept, httpx.Client(trust_env=False) as waiting:
        with serve(counter.app) as url:
            kept.get(f"{url}/number")
            counter.app.fail(Fault(delay=60))
            with pytest.raises(httpx.ReadTimeout):
                waiting.get(f"{url}/number", timeout=0.1)
            start = time.monotonic()
        assert time.monotonic() - start < 5


def test_the_log_has_every_call_by_the_time_its_answer_arrives(served: Served) -> None:
    for _ in range(20):
        served.client.get("/number?of=things")
        served.client.post("/number")
    assert [(call.method, call.path, call.status) for call in served.service.log[:2]] == [
        ("GET", "/number?of=things", 200),
        ("POST", "/number", 201),
    ]
    assert [call.number for call in served.service.log] == list(range(40))
    assert len(served.service.writes) == 20


def test_the_log_keeps_neither_headers_nor_bodies(served: Served) -> None:
    served.client.post("/number", headers={"Authorization": "Bearer hush"}, content=b"hush")
    assert "hush" not in repr(served.service.log)


def test_a_failure_in_the_emulator_is_a_500_in_the_log_too(served: Served) -> None:
    assert served.client.get("/broken").status_code == 500
    assert served.statuses() == [500]


def test_the_nth_call_fails_and_no_other(served: Served) -> None:
    served.service.fail(Fault(status=503), call=1)
    assert [served.client.get("/number").status_code for _ in range(3)] == [200, 503, 200]


def test_a_fault_for_a_method_and_path_waits_for_the_call_that_matches(served: Served) -> None:
    served.service.fail(Fault(status=503), method="POST", path=r"/number$", times=2)
    assert served.client.get("/number").status_code == 200
    assert [served.client.post("/number").status_code for _ in range(3)] == [503, 503, 201]


def test_two_planned_faults_come_one_after_the_other(served: Served) -> None:
    served.service.fail(Fault(status=500))
    served.service.fail(Fault(status=429))
    assert [served.client.get("/number").status_code for _ in range(3)] == [500, 429, 200]


def test_an_error_carries_its_body_and_headers(served: Served) -> None:
    body = json.dumps({"errors": [{"code": 10000}]}).encode()
    served.service.fail(Fault(status=429, headers={"Retry-After": "7"}, body=body))
    answer = served.client.get("/number")
    assert (answer.headers["retry-after"], answer.headers["content-type"]) == ("7", "application/json")
    assert answer.json() == {"errors": [{"code": 10000}]}


def test_a_call_that_fails_has_no_effect(served: Served) -> None:
    served.service.fail(Fault(status=500))
    served.client.post("/number")
    assert served.counter.number == 0


@pytest.mark.parametrize("fault", [Fault(reset=True, after_effect=True), Fault(status=502, after_effect=True)])
def test_a_lost_answer_leaves_the_effect(served: Served, fault: Fault) -> None:
    served.service.fail(fault)
    try:
        assert served.client.post("/number").status_code == 502
    except httpx.ReadError:
        assert fault.reset
    assert served.counter.number == 1


def test_a_reset_breaks_the_connection_and_is_logged_without_a_status(served: Served) -> None:
    served.service.fail(Fault(reset=True))
    with pytest.raises(httpx.ReadError, match="reset"):
        served.client.get("/number")
    assert served.statuses() == [None]
    assert served.client.get("/number").json() == 0


def test_a_slow_answer_is_still_the_right_one(served: Served) -> None:
    served.service.fail(Fault(delay=0.2))
    start = time.monotonic()
    assert served.client.post("/number").json() == 1
    assert time.monotonic() - start >= 0.2


def test_a_slow_call_does_not_delay_others(served: Served) -> None:
    served.service.fail(Fault(delay=5), path="number.slow")
    with pytest.raises(httpx.ReadTimeout):
        served.client.get("/number?slow", timeout=0.1)
    assert served.client.get("/number", timeout=10).status_code == 200


@pytest.mark.parametrize("mistaken", [{}, {"after_effect": True, "delay": 1.0}, {"reset": True, "status": 500}])
def test_an_ambiguous_fault_is_refused(mistaken: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a fault"):
        Fault(**mistaken)  # type: ignore[arg-type] # on purpose


def test_hooks_see_the_state_before_and_after_each_call(served: Served) -> None:
    seen: list[tuple[str, int, int | None]] = []
    served.service.before.append(lambda call: seen.append(("before", served.counter.number, call.status)))
    served.service.after.append(lambda call: seen.append(("after", served.counter.number, call.status)))
    served.client.post("/number")
    assert seen == [("before", 0, None), ("after", 1, 201)]


def test_the_hook_after_a_call_has_run_when_the_answer_arrives(served: Served) -> None:
    done: list[int] = []

    def slowly(call: Call) -> None:
        time.sleep(0.05)
        done.append(call.number)

    served.service.after.append(slowly)
    served.client.get("/number")
    assert done == [0]


def test_a_hook_may_call_the_emulator_as_a_concurrent_editor_does(served: Served) -> None:
    def edit(call: Call) -> None:
        if call.number == 0:
            httpx.post(f"{served.client.base_url}/number", trust_env=False)

    served.service.before.append(edit)
    assert served.client.get("/number").json() == 1


def test_forgetting_restarts_the_count_and_drops_planned_faults(served: Served) -> None:
    served.client.get("/number")
    served.service.fail(Fault(status=500))
    served.service.forget()
    assert served.client.get("/number").status_code == 200
    assert [call.number for call in served.service.log] == [0]


def test_each_call_fails_the_first_time_whatever_its_query(served: Served) -> None:
    served.service.fail_each(Fault(status=503))
    asked = [("GET", "/number"), ("GET", "/number?page=2"), ("POST", "/number"), ("POST", "/number")]
    assert [served.client.request(*call).status_code for call in asked] == [503, 200, 503, 201]
