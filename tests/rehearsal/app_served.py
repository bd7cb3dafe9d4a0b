"""The app as a pipeline's job reaches it: HTTPS under its own host name, which curl's settings resolve here."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rehearsal.pipeline import AppRepository
from tests.rehearsal.certificates import self_signed

HOST: Final = "invoicetron.dev.k8s.rommelporras.com"


@contextmanager
def app(repository: AppRepository, directory: Path, *statuses: int) -> Iterator[list[str]]:
    """Serves the app under its host name; it answers with these statuses in turn, and then keeps to the last one."""
    answers = list(statuses)
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = [self.headers.get(f"CF-Access-Client-{part}") for part in ("Id", "Secret")]
            asked.append(f"{self.path} as {given[0]} with {given[1]}" if given[0] else self.path)
            status = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Location", "https://login.example.com/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keeps the test's output clean."""

    certificate = directory / "app.pem"
    certificate.write_text("".join(self_signed(HOST)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    repository.curlrc.write_text(
        f'connect-to = "{HOST}:443:127.0.0.1:{server.server_port}"\ncacert = "{certificate}"\nretry-delay = 1\n'
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
