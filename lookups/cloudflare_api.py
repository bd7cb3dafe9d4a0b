"""Cloudflare's API, as far as `up` asks it before and beside the provider's plugin.

The plugin's typed answers drop keys that it does not know, a selector of a policy or a key of the tunnel's document
among them, and its functions take page 1 for all there is. The official client, which `ops` uses, costs a second
of every start (docs/measurements.md).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import httpx
import pulumi

from lookups.answers import json_object

URL: Final = "https://api.cloudflare.com/client/v4"
"""Where the API is unless CLOUDFLARE_BASE_URL says otherwise."""

_ATTEMPTS: Final = 5
_LONGEST_WAIT: Final = 30.0  # seconds
_PER_PAGE: Final = 50  # the most that all of the lists take
_T = TypeVar("_T")


class CloudflareError(pulumi.RunError):
    """Cloudflare could not be asked, or refuses; the message holds its own words and never the token.

    Where nothing catches it, it ends the program without a traceback.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of a refusal; None where there was no answer of Cloudflare's."""

    @property
    def forbidden(self) -> bool:
        """Whether the token is refused, or lacks the permission."""
        return self.status in {401, 403}

    def with_permission(self, permission: str) -> str:
        """The message, and the permission where it is the token that is refused."""
        return f"{self}. The token needs {permission}" if self.forbidden else str(self)


class TransientError(Exception):
    """Worth another attempt, after `wait` seconds."""

    def __init__(self, what: str, wait: float) -> None:
        super().__init__(what)
        self.wait = wait


class CloudflareApi:
    """Calls with the token of the environment, which is read each time and never recorded.

    `patience` is how many seconds one answer may take. Raises `CloudflareError` where there is no token.
    """

    def __init__(self, *, pause: Callable[[float], None] = time.sleep, patience: float = 30.0) -> None:
        token = os.environ.get("CLOUDFLARE_API_TOKEN", "")
        if not token:
            raise CloudflareError("CLOUDFLARE_API_TOKEN is not set: export an API token")
        base = os.environ.get("CLOUDFLARE_BASE_URL", URL).rstrip("/")
        self._client = httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=patience)
        self._pause = pause

    def get(self, path: str) -> dict[str, Any]:
        """One object. Raises `CloudflareError`, after several attempts where there is no answer."""
        result: dict[str, Any] = self.attempts(f"GET {path}", lambda: self.call("GET", path))["result"]
        return result

    def list_all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All objects of a list, of every page. Raises `CloudflareError`."""
        found: list[dict[str, Any]] = []
        page = 1
        while True:
            asked = {**query, "page": str(page), "per_page": str(_PER_PAGE)}
            answer = self.attempts(f"GET {path}", partial(self.call, "GET", path, params=asked))
            found += answer["result"] or []
            paged = answer.get("result_info")
            # Some lists have no `total_count`, so only an empty page marks their end; some are not paged at all.
            total = (paged or {}).get("total_count")
            if not answer["result"] or not paged or (total is not None and len(found) >= total):
                return found
            page += 1

    def call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """One attempt: the whole answer. Raises `TransientError`, or `CloudflareError` for a refusal."""
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise TransientError(f"{method}: {type(error).__name__}", 1.0) from error
        # Before the body: a proxy's refusal is a page.
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TransientError(f"status {answer.status_code}", _seconds(answer.headers.get("Retry-After")))
        body = json_object(answer.content)
        if body is None and answer.is_success:
            raise TransientError(f"{method}: the answer is no JSON object", 1.0)
        if body is None:
            # Without its status: a proxy's 404 does not mean that something is gone, nor its 403 what the token may.
            raise CloudflareError(
                f"{self._client.base_url} answers {answer.status_code} with no JSON, so it is not Cloudflare's API: "
                "check the proxy of this machine, and CLOUDFLARE_BASE_URL where it is set"
            )
        if not answer.is_success:
            said = "; ".join(f"{one.get('message')} ({one.get('code')})" for one in body.get("errors") or [])
            raise CloudflareError(
                f"Cloudflare answers {answer.status_code}: {said or 'no reason'}", status=answer.status_code
            )
        return body

    def attempts(self, what: str, run: Callable[[], _T]) -> _T:
        """The outcome of `run`, repeated while it raises `TransientError`; `CloudflareError` where that lasts."""
        problem = ""
        for attempt in range(_ATTEMPTS):
            try:
                return run()
            except TransientError as error:
                problem = str(error)
                if attempt + 1 < _ATTEMPTS:
                    self._pause(min(error.wait, _LONGEST_WAIT))
        raise CloudflareError(
            f"Cloudflare does not answer: {what} failed {_ATTEMPTS} times, the last time with: {problem}. Try later"
        )


def _seconds(retry_after: str | None) -> float:
    # Whole seconds, or a date, as HTTP allows.
    return float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,9}", retry_after) else 1.0
