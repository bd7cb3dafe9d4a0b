"""The part of Cloudflare's API that `up` calls itself, before the provider's plugin runs and beside it.

The plugin's typed answers drop keys that it does not know, which may be a selector in a policy or a key in the tunnel's
document, and its functions return only page 1. The official client, which `ops` uses, adds a second to every start
(docs/measurements.md).
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
from lookups.http import PluginTransport

URL: Final = "https://api.cloudflare.com/client/v4"
"""URL of the API unless CLOUDFLARE_BASE_URL overrides it."""

_ATTEMPTS: Final = 5
_LONGEST_WAIT: Final = 30.0  # seconds
_PER_PAGE: Final = 50  # the largest page that all of the lists allow
_T = TypeVar("_T")


class CloudflareError(pulumi.RunError):
    """Cloudflare could not be reached, or refuses; the message contains Cloudflare's own words and never the token.

    If nothing catches it, it ends the program without a traceback.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of a refusal; None if there was no answer from Cloudflare."""

    @property
    def forbidden(self) -> bool:
        """Whether Cloudflare refuses the token, or the token lacks the permission."""
        return self.status in {401, 403}

    def with_permission(self, permission: str) -> str:
        """The message, with the permission if the token is the reason for the refusal."""
        return f"{self}. The token needs {permission}" if self.forbidden else str(self)


class TransientError(Exception):
    """A failure that is worth another attempt after `wait` seconds."""

    def __init__(self, what: str, wait: float) -> None:
        super().__init__(what)
        self.wait = wait


class CloudflareApi:
    """Calls with the token from the environment, which is read each time and never recorded.

    `patience` is how many seconds one answer may take. Raises `CloudflareError` if there is no token.
    """

    def __init__(self, *, pause: Callable[[float], None] = time.sleep, patience: float = 30.0) -> None:
        token = os.environ.get("CLOUDFLARE_API_TOKEN", "")
        if not token:
            raise CloudflareError("CLOUDFLARE_API_TOKEN is not set: export an API token")
        base = os.environ.get("CLOUDFLARE_BASE_URL", URL)
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=base, headers=headers, timeout=patience, transport=PluginTransport())
        self._pause = pause

    def get(self, path: str) -> dict[str, Any]:
        """One object. Raises `CloudflareError`; if there is no answer, only after several attempts."""
        result: dict[str, Any] = self.attempts(f"GET {path}", lambda: self.call("GET", path))["result"]
        return result

    def list_all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """All objects of a list, from every page. Raises `CloudflareError`."""
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
        """The whole answer, in one attempt. Raises `TransientError`, or `CloudflareError` for a refusal."""
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise TransientError(f"{method}: {type(error).__name__} {error}".strip(), 1.0) from error
        # Checked before the body: a proxy's refusal is a page.
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TransientError(f"status {answer.status_code}", _seconds(answer.headers.get("Retry-After")))
        body = json_object(answer.content)
        if body is None and answer.is_success:
            raise TransientError(f"{method}: the answer is not a JSON object", 1.0)
        if body is None:
            # Without the status: a proxy's 404 does not mean that something is gone, nor its 403 that the token lacks a
            # permission.
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
        """The result of `run`, repeated while it raises `TransientError`; `CloudflareError` if that persists."""
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
    # HTTP allows whole seconds or a date.
    return float(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,9}", retry_after) else 1.0
