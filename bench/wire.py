"""Requests as bytes, and their clients: HTTP/1.1 written by hand, and HTTP/2 with HPACK.

The client is slow. That does not matter: Envoy's CPU time is measured.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import h2.config
import h2.connection
import h2.events
from hpack import NeverIndexedHeaderTuple

HOST = "app.example.com"
# Requests under way at the same time: connections of HTTP/1.1, streams of HTTP/2. So the next one always waits for the
# worker, which wakes up once for many.
AT_A_TIME = 64
SECONDS = 60


@dataclass(frozen=True)
class Request:
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"

    @property
    def size(self) -> int:
        """Bytes of its headers, as Envoy has them."""
        return len(self.path) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other == name]


@dataclass(frozen=True)
class Sent:
    answers: list[Answer]
    bytes: int
    """On the wire, to Envoy."""


class Closed(Exception):
    """Envoy closed the connection without an answer."""


class Client(Protocol):
    """A client whose connections are open already."""

    def exchange(self, requests: Sequence[Request]) -> Sent:
        """Sends all requests; returns the answers in their order."""

    def close(self) -> None: ...


def connect(port: int, http2: bool = False) -> Client:
    return Http2(port) if http2 else Http1(port)


def batches(items: Sequence, size: int = AT_A_TIME) -> Iterator[Sequence]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Http1:
    def __init__(self, port: int):
        self._connections = [Connection(port) for _ in range(AT_A_TIME)]
        self.exchange([Request("/x")] * AT_A_TIME)

    def exchange(self, requests: Sequence[Request]) -> Sent:
        answers, size = [], 0
        messages = [message(request) for request in requests]
        for batch in batches(messages):
            for connection, sent in zip(self._connections, batch):
                connection.socket.sendall(sent)
                size += len(sent)
            answers += [connection.receive() for connection, _ in zip(self._connections, batch)]
        return Sent(answers, size)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


def message(request: Request) -> bytes:
    lines = [f"{request.method} {request.path} HTTP/1.1", f"host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Connection:
    """One connection of HTTP/1.1; opened again after an answer that closes it."""

    def __init__(self, port: int):
        self._port = port
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def receive(self) -> Answer:
        line = self._file.readline()
        if not line:
            raise Closed("Envoy closed a connection without an answer")
        headers = []
        while header := self._file.readline().rstrip(b"\r\n"):
            name, _, value = header.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        answer = Answer(int(line.split()[1]), tuple(headers))
        self._file.read(int((answer.all("content-length") or ["0"])[0]))
        if "close" in answer.all("connection"):
            self.close()
            self._open()
        return answer


class Http2:
    """One connection; its HPACK tables remember what was sent."""

    def __init__(self, port: int):
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        self._connection.initiate_connection()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.exchange([Request("/x")] * AT_A_TIME)

    def exchange(self, requests: Sequence[Request]) -> Sent:
        answers, size = [], 0
        for batch in batches(requests):
            streams = [self._begin(request) for request in batch]
            sent = self._connection.data_to_send()
            self._socket.sendall(sent)
            size += len(sent)
            begun = self._receive(len(streams))
            answers += [begun[number] for number in streams]
        return Sent(answers, size)

    def _begin(self, request: Request) -> int:
        number = self._connection.get_next_available_stream_id()
        # Otherwise two entries would evict each other from a table that the path fills.
        host = NeverIndexedHeaderTuple(":authority", HOST)
        headers: list[Any] = [(":method", request.method), (":scheme", "http"), host, (":path", request.path)]
        self._connection.send_headers(number, [*headers, *request.headers], end_stream=True)
        return number

    def _receive(self, count: int) -> dict[int, Answer]:
        begun, ended = {}, 0
        while ended < count:
            received = self._socket.recv(1 << 16)
            if not received:
                raise Closed("Envoy closed a connection without an answer")
            for event in self._connection.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    # Text because of `header_encoding`, which the types of h2 do not know.
                    headers = cast("tuple[tuple[str, str], ...]", tuple(event.headers))
                    begun[event.stream_id] = Answer(int(dict(headers)[":status"]), headers)
                elif isinstance(event, h2.events.DataReceived):
                    self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    ended += 1
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise Closed("Envoy reset a stream")
            # Acknowledgements, which belong to no request.
            self._socket.sendall(self._connection.data_to_send())
        return begun

    def close(self) -> None:
        self._socket.close()
