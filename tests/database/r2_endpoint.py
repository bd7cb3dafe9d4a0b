"""Refuses what Cloudflare R2 refuses and other S3 servers accept, in front of one of those.

https://developers.cloudflare.com/r2/objects/multipart-objects/#limitations, https://developers.cloudflare.com/r2/api/s3/api/
and https://developers.cloudflare.com/r2/buckets/bucket-locks/#notes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.database.s3_server import Front, S3Server, serving


@dataclass
class R2Endpoint:
    """The endpoint's port, and what it was asked."""

    port: int = 0
    is_locked: bool = False
    """Whether a rule without a prefix locks the whole bucket."""
    parts: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """Sizes of each upload's parts, by number."""


@contextmanager
def r2_endpoint(behind: S3Server) -> Iterator[R2Endpoint]:
    """Runs in front of the server. Does not check deletions of several objects at a time."""
    endpoint = R2Endpoint()

    class Handler(Front):
        def answer(self) -> None:
            url, body = urlsplit(self.path), self.body()
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            upload, number = query.get("uploadId"), query.get("partNumber")
            if self.command in {"PUT", "POST"} and "x-amz-server-side-encryption" in self.headers:
                self.refuse(501, "NotImplemented", "Header 'x-amz-server-side-encryption' not implemented")
            elif endpoint.is_locked and self._changes(url.path, query):
                self.refuse(409, "ObjectLockedByBucketPolicy", "The object is locked by the bucket policy.")
            elif self.command == "POST" and upload and not _are_of_one_size(endpoint.parts[upload]):
                self.refuse(400, "InvalidPart", "All non-trailing parts must have the same length.")
            else:
                if upload and number:
                    endpoint.parts[upload][int(number)] = len(body)
                self.pass_on(behind.port, body)

        def _changes(self, path: str, query: dict[str, str]) -> bool:
            """Whether the request would delete or replace an existing object."""
            written = self.command in {"PUT", "DELETE"} and "uploadId" not in query
            completed = self.command == "POST" and "uploadId" in query
            return (written or completed) and (behind.folder / path.lstrip("/")).is_file()

    with serving(Handler) as port:
        endpoint.port = port
        yield endpoint


def _are_of_one_size(parts: dict[int, int]) -> bool:
    sizes = [size for _, size in sorted(parts.items())]
    return len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0]
