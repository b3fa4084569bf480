"""The upstream: it keeps every request that arrives, byte for byte."""

from __future__ import annotations

import queue
import socket
from dataclasses import dataclass

from harness.listener import Listener

ANSWER = b"HTTP/1.1 200 OK\r\nx-upstream: yes\r\ncontent-length: 2\r\n\r\n"


@dataclass
class Arrival:
    """A request as Envoy forwarded it. Its trailers are among the headers, as some services read them."""

    line: bytes
    headers: list[tuple[bytes, bytes]]

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def path(self) -> bytes:
        return self.line.split(b" ")[1]

    def values(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.headers if other.lower() == name]


class Arrivals:
    """Listens in threads of its own."""

    def __init__(self) -> None:
        self._listener = Listener(self._serve)
        self.address = f"127.0.0.1:{self._listener.port}"
        self.seen: queue.SimpleQueue[Arrival] = queue.SimpleQueue()

    def stop(self) -> None:
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                while arrival := read(stream):
                    self.seen.put(arrival)
                    body = b"" if arrival.method == b"HEAD" else b"ok"
                    connection.sendall(ANSWER + body)
            except (OSError, ValueError):
                pass  # the request ended in the middle


def read(stream) -> Arrival | None:
    """The next request with its body; None at the end."""
    line = stream.readline().rstrip(b"\r\n")
    if not line:
        return None
    arrival = Arrival(line, read_fields(stream))
    if b"chunked" in b",".join(arrival.values(b"transfer-encoding")).lower():
        while size := int(stream.readline().split(b";")[0], 16):
            stream.read(size + 2)
        arrival.headers.extend(read_fields(stream))
    elif length := arrival.values(b"content-length"):
        stream.read(int(length[0]))
    return arrival


def read_fields(stream) -> list[tuple[bytes, bytes]]:
    fields = []
    while raw := stream.readline().rstrip(b"\r\n"):
        name, _, value = raw.partition(b":")
        fields.append((name, value.strip(b" \t")))
    return fields
