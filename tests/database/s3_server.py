"""A real S3 server on loopback, and an endpoint in front of it that fails as real ones do."""

from __future__ import annotations

import http.client
import re
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rehearsal import optional_tools
from rehearsal.processes import free_port, running, wait_until


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """An S3 server's keys, bucket and location."""

    port: int
    access_key: str
    secret_key: str
    folder: Path
    bucket: str = "homelab-backups"

    def environment(self, prefix: str) -> dict[str, str]:
        """The environment of the off-site copies' pods."""
        return {
            "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{self.port}/{self.bucket}/{prefix}",
            "RESTIC_PASSWORD": "a password of the off-site copies",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "STACK": "invoicetron-dev",
            "LOCK_PATIENCE": "1s",
        }


@contextmanager
def s3_server(
    directory: Path, *, access_key: str = "tester", secret_key: str | None = None, region: str = "us-east-1"
) -> Iterator[S3Server]:
    """Runs `versitygw` on an empty bucket below `directory`, with these keys; clients sign requests for `region`."""
    server = S3Server(
        port=free_port(),
        access_key=access_key,
        secret_key=secret_key or secrets.token_hex(16),
        folder=directory / "buckets",
    )
    (server.folder / server.bucket).mkdir(parents=True)
    command: list[str | Path] = [
        optional_tools.versitygw(),
        "--quiet",
        "--region",
        region,
        "--port",
        f"127.0.0.1:{server.port}",
        "posix",
        server.folder,
    ]
    environment = {"ROOT_ACCESS_KEY": server.access_key, "ROOT_SECRET_KEY": server.secret_key}
    with running(command, log=directory / "versitygw.log", environment=environment) as child:
        wait_until(lambda: _answers(server.port), what="the S3 server", children=[child], timeout=30)
        yield server


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


_ERRORS = {
    "500": (500, "InternalError", "We encountered an internal error."),
    "clock": (
        403,
        "RequestTimeTooSkewed",
        "The difference between the request time and the server's time is too large.",
    ),
    "full": (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold."),
    "object lock": (403, "AccessDenied", "Access Denied because object protected by object lock."),
    "bucket lock": (409, "ObjectLockedByBucketPolicy", "The object is locked by the bucket policy."),
}


class Front(BaseHTTPRequestHandler):
    """Answers in front of an S3 server, or passes requests on to it."""

    def answer(self) -> None:
        """Answers one request of any method."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Called by the library, like the others of these names."""
        self.answer()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the library's names

    def body(self) -> bytes:
        """The request's body; it can be read only once."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answers with an S3 error."""
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def pass_on(self, port: int, body: bytes | None = None) -> None:
        """Lets the server answer; `body` is what `body()` returned, if it was called."""
        if body is None:
            body = self.body()
        server = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # including the host's name, which is signed
            server.putheader(name, value)
        server.endheaders(body)
        answer = server.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        self.wfile.write(content)
        server.close()

    def log_message(self, *_: Any) -> None:
        """Logs nothing."""


def at_port(offsite: Mapping[str, str], port: int) -> dict[str, str]:
    """The same repository, at another port of this machine."""
    repository = re.sub(r"(?<=127\.0\.0\.1:)\d+", str(port), offsite["RESTIC_REPOSITORY"])
    return {**offsite, "RESTIC_REPOSITORY": repository}


@contextmanager
def serving(handler: type[Front]) -> Iterator[int]:
    """Serves the handler for the duration of the context; yields its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@contextmanager
def failing_endpoint(fault: str, behind: int | None = None) -> Iterator[int]:
    """The port of an endpoint that refuses with an S3 error, resets (`reset`), or never answers (`slow`).

    With `behind`, the port of a server, only writes fail; the endpoint passes the rest on to that server. With `object
    lock` (S3's error) and `bucket lock` (Cloudflare R2's), only the deletion of what such a lock protects fails: of
    everything but restic's locks and indexes.
    """
    stopped = threading.Event()

    class Handler(Front):
        def answer(self) -> None:
            if behind is not None and not self._is_refused():
                self.pass_on(behind)
                return
            if fault in _ERRORS:
                self.refuse(*_ERRORS[fault])
            elif fault == "slow":
                stopped.wait(60)
            self.close_connection = True
            self.connection.close()

        def _is_refused(self) -> bool:
            if fault in {"object lock", "bucket lock"}:
                return self.command == "DELETE" and not re.search("/(locks|index)/", self.path)
            return self.command == "PUT"

    with serving(Handler) as port:
        try:
            yield port
        finally:
            stopped.set()
