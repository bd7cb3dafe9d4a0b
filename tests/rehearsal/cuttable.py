"""A connection to the API server that can be cut: a TCP relay on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from rehearsal.cluster.controlplane import ControlPlane


class Cuttable:
    """Context manager; relays until it is cut, then refuses everything until it is mended."""

    def __init__(self, control_plane: ControlPlane, *, after: int | None = None) -> None:
        """Cuts itself once one connection has sent more than `after` bytes."""
        target = urlsplit(control_plane.url)
        self._target = (str(target.hostname), int(target.port or 443))
        self._control_plane = control_plane
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._whole = threading.Event()
        self._whole.set()
        self._open: set[socket.socket] = set()
        self.refused = threading.Semaphore(0)
        """Released at every connection that is refused."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def kubeconfig(self, directory: Path) -> str:
        """Path of a kubeconfig that points here; the server's certificate holds for this address, whatever the port."""
        host, port = self._listener.getsockname()
        file = directory / "kubeconfig"
        text = self._control_plane.kubeconfig.read_text()
        file.write_text(text.replace(self._control_plane.url, f"https://{host}:{port}"))
        return str(file)

    def cut(self) -> None:
        """Ends every connection."""
        self._whole.clear()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Lets connections through again, whatever they send."""
        self._after = None
        self._whole.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                if not self._whole.is_set():
                    client.close()
                    self.refused.release()
                    continue
                server = socket.create_connection(self._target)
                self._open |= {client, server}
                for source, sink in ((client, server), (server, client)):
                    limited = source is client
                    threading.Thread(target=self._relay, args=(source, sink, limited), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, limited: bool) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
                sent += len(piece)
                if limited and self._after is not None and sent > self._after:
                    self.cut()
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
