"""How `up` handles Cloudflare's answers, and those that a proxy gives in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lookups.cloudflare_api import CloudflareApi, CloudflareError

ZONE = JSONResponse({"success": True, "result": {"id": "z"}})
PAGE = "<html>a login page</html>"


class Api:
    """The client, with a server that gives these answers in turn; `waited` holds the seconds between its attempts."""

    def __init__(
        self, served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch, answers: Iterator[Response]
    ) -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await next(answers)(scope, receive, send)

        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "token-of-theirs")
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", served(app))
        self.waited: list[float] = []
        self.client = CloudflareApi(pause=self.waited.append)


@pytest.mark.parametrize(
    ("busy", "seconds"),
    [
        (JSONResponse({"errors": []}, 429, {"Retry-After": "7"}), 7.0),
        (JSONResponse({"errors": []}, 429), 1.0),
        (JSONResponse({"errors": []}, 500), 1.0),
        (JSONResponse({"errors": []}, 429, {"Retry-After": "3600"}), 30.0),
        (JSONResponse({"errors": []}, 429, {"Retry-After": "-5"}), 1.0),
        (JSONResponse({"errors": []}, 429, {"Retry-After": "nan"}), 1.0),
        (JSONResponse({"errors": []}, 429, {"Retry-After": "Fri, 27 Nov 2026 12:00:00 GMT"}), 1.0),
        (PlainTextResponse("error code: 1015", 429, {"Retry-After": "7"}), 7.0),
        (PlainTextResponse(PAGE, 503, {"Retry-After": "2"}), 2.0),
        (PlainTextResponse('{"success": true, "result": {"id"'), 1.0),
        (PlainTextResponse(PAGE), 1.0),
        (JSONResponse("ok"), 1.0),
        (JSONResponse([]), 1.0),
    ],
)
def test_a_temporary_failure_is_retried_after_the_time_it_names(
    served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch, busy: Response, seconds: float
) -> None:
    api = Api(served, monkeypatch, iter([busy, ZONE]))
    assert api.client.get("/zones/z") == {"id": "z"}
    assert api.waited == [seconds]


def test_a_failure_that_stays_is_reported_without_a_further_wait(
    served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Api(served, monkeypatch, iter([PlainTextResponse(PAGE, 503)] * 5))
    with pytest.raises(CloudflareError, match="GET /zones/z failed 5 times, the last time with: status 503"):
        api.client.get("/zones/z")
    assert api.waited == [1.0] * 4


@pytest.mark.parametrize(("status", "lacks"), [(401, True), (403, True), (400, False), (404, False), (None, False)])
def test_only_a_refusal_of_the_token_names_the_permission(status: int | None, *, lacks: bool) -> None:
    told = CloudflareError("no", status=status).with_permission("Zone > DNS: Edit")
    assert told == ("no. The token needs Zone > DNS: Edit" if lacks else "no")


def test_without_a_token_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    with pytest.raises(CloudflareError, match="CLOUDFLARE_API_TOKEN is not set"):
        CloudflareApi()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"errors": [{"message": "Actor lacks it", "code": 10000}]}, 403, r"answers 403: Actor lacks it \(10000\)$"),
        ({"errors": None}, 404, "answers 404: no reason$"),
        ({}, 400, "answers 400: no reason$"),
    ],
)
def test_a_refusal_is_reported_at_once_in_its_own_words(
    served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch, body: object, status: int, words: str
) -> None:
    api = Api(served, monkeypatch, iter([JSONResponse(body, status)]))
    with pytest.raises(CloudflareError, match=words) as refused:
        api.client.get("/zones/z")
    assert refused.value.status == status
    assert api.waited == []


@pytest.mark.parametrize(
    "refusal",
    [
        PlainTextResponse(PAGE, 404),
        PlainTextResponse(PAGE, 403),
        PlainTextResponse("", 401),
        PlainTextResponse("", 302, {"Location": "https://login.example/"}),
        JSONResponse(["no"], 407),
    ],
)
def test_a_proxy_s_refusal_is_not_taken_for_an_answer_from_cloudflare(
    served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch, refusal: Response
) -> None:
    api = Api(served, monkeypatch, iter([refusal]))
    with pytest.raises(CloudflareError, match=f"answers {refusal.status_code} with no JSON") as refused:
        api.client.get("/zones/z")
    assert refused.value.status is None
    assert not refused.value.forbidden
    assert "token-of-theirs" not in str(refused.value)
    assert api.waited == []


def listing(length: int, *, total: bool, longest: int = 50) -> Callable[[Request], Response]:
    """A list of that length, which gives its total, or has to be read until a page is empty."""

    def page(request: Request) -> Response:
        number, size = (int(request.query_params[key]) for key in ("page", "per_page"))
        size = min(size, longest)
        found = [{"id": one} for one in range(length)][(number - 1) * size : number * size]
        info = {"page": number, "per_page": size, "count": len(found), **({"total_count": length} if total else {})}
        return JSONResponse({"result": found, "result_info": info})

    return page


@pytest.mark.parametrize("total", [True, False], ids=["with a total", "without"])
@pytest.mark.parametrize("longest", [50, 20], ids=["as asked", "shorter pages"])
@pytest.mark.parametrize("length", [0, 1, 49, 50, 51, 100])
def test_every_page_is_read_whatever_their_number(
    served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch, length: int, longest: int, total: bool
) -> None:
    page = listing(length, total=total, longest=longest)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await page(Request(scope))(scope, receive, send)

    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "t")
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", served(app))
    found = CloudflareApi().list_all("/zones")
    assert [one["id"] for one in found] == list(range(length))


@pytest.mark.parametrize("result", [[{"id": "a"}, {"id": "b"}], [], None])
def test_a_list_without_pages_is_read_once(
    served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch, result: list[dict[str, str]] | None
) -> None:
    api = Api(served, monkeypatch, iter([JSONResponse({"result": result})]))
    assert api.client.list_all("/zones") == (result or [])
