"""Many requests at once, each on a connection of its own: all are sent before the first answer is read."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import time
from dataclasses import dataclass, field

from .ports import address_of

# At least ten times as many as a worker of Envoy can answer or resume in one callback.
MANY = 5000
SECONDS = 60


@dataclass
class Answer:
    """The answer on a connection; empty if Envoy closed it without one."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def parse(cls, received: bytes) -> Answer:
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if not lines[0].startswith("HTTP/1.1 "):
            return cls()
        headers = (line.split(": ", 1) for line in lines[1:])
        return cls(int(lines[0].split(" ")[1]), {name.lower(): value for name, value in headers}, body)


@contextlib.contextmanager
def many_files():
    """Raises the limit of open files to what the system allows; children started inside inherit it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2 * MANY + 500:
        raise OSError(f"{before[1]} files are too few for this test: ulimit -Hn has to be {2 * MANY + 500}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def request(target: str, *headers: str) -> bytes:
    """A GET whose answer ends with its connection."""
    return "\r\n".join(
        [f"GET {target} HTTP/1.1", "host: burst.example", "connection: close", *headers, "", ""]
    ).encode()


class Burst:
    """Sends the requests, and then reads the answers, in the order of the requests.

    burst = Burst(service.url, [request("/ready")] * MANY)
    redis.resume()
    assert {answer.status for answer in burst.answers()} == {200}
    """

    def __init__(self, url: str, requests: list[bytes]):
        self._sockets = [socket.create_connection(address_of(url), timeout=SECONDS) for _ in requests]
        for connection, sent in zip(self._sockets, requests):
            connection.sendall(sent)
        self._began = time.monotonic()
        self.seconds = 0.0  # until the last answer

    def answers(self) -> list[Answer]:
        received = dict.fromkeys(self._sockets, b"")
        with selectors.DefaultSelector() as selector:
            for connection in self._sockets:
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ, connection)
            while selector.get_map() and time.monotonic() < self._began + SECONDS:
                for key, _ in selector.select(1):
                    connection = key.data
                    part = self._read(connection)
                    received[connection] += part
                    if not part:
                        selector.unregister(connection)
                        self.seconds = time.monotonic() - self._began
        self.leave()
        return [Answer.parse(received[connection]) for connection in self._sockets]

    def leave(self) -> None:
        """Closes all connections, whether or not an answer came."""
        for connection in self._sockets:
            connection.close()

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        try:
            return connection.recv(65536)
        except OSError:
            return b""
