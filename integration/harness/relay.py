"""A port that stands for another one, as where addresses are translated."""

from __future__ import annotations

import contextlib
import socket
import threading

from .listener import Listener

CHUNK = 64 * 1024


class Relay:
    """Listens on a port of its own and passes each connection on to `target`, which may be named later."""

    def __init__(self, target: tuple[str, int] | None = None):
        self.target = target
        self._listener = Listener(self._serve)
        self.port = self._listener.port

    def close(self) -> None:
        self._listener.close()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            with self.greet(accepted) as client, socket.create_connection(self.target) as server:
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                _pump(client, server)
                back.join()

    def greet(self, accepted: socket.socket) -> socket.socket:
        """What comes before the first byte that is passed on."""
        return accepted


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
