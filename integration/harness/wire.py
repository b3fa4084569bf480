"""HTTP/1.1 and HTTP/2 byte by byte: an upstream that reports all that arrived, and clients that send any header.
Tests look at the very things that a library would tidy up: names, `connection`, trailers.

    upstream = Recorder()
    answer = ask(url, "GET", "/x", [("x.odd", "1")], trailers=[("x-late", "2")], http2=True)
    answer.arrived["trailers"]
"""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Iterable, Sequence
from typing import cast
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from .listener import Listener
from .ports import address_of

Fields = list[tuple[str, str]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SECONDS = 20
# A header of the Recorder's answers, with JSON.
ARRIVED = "x-arrived"


class Recorder:
    """Answers each request with what arrived: 200, or 101 if it asks for an upgrade.

    Each `header` and each `trailer` in the query is one of the response: `?trailer=x-late:1`.
    """

    def __init__(self):
        self._listener = Listener(serve)
        self.address = f"127.0.0.1:{self._listener.port}"

    def close(self) -> None:
        self._listener.close()


@dataclasses.dataclass
class Answer:
    """Status 0: there was no answer; the stream or the connection was reset."""

    status: int = 0
    headers: Fields = dataclasses.field(default_factory=list)
    body: bytes = b""
    trailers: Fields = dataclasses.field(default_factory=list)

    @property
    def arrived(self) -> dict[str, Fields] | None:
        """The `headers` and `trailers` that arrived at the Recorder; None if something else answered."""
        told = dict(self.headers).get(ARRIVED)
        return (
            {part: [(name, value) for name, value in pairs] for part, pairs in json.loads(told).items()}
            if told
            else None
        )


def ask(
    url: str,
    method: str,
    target: str,
    headers: Fields,
    *,
    trailers: Sequence[tuple[str, str]] = (),
    http2: bool = False,
) -> Answer:
    """One request on a connection of its own, with a body of four bytes if it has trailers."""
    parts = urlsplit(url)
    with socket.create_connection(address_of(url), timeout=SECONDS) as connection:
        exchange = exchange_in_http2 if http2 else exchange_in_http1
        try:
            return exchange(connection, parts.netloc, method, target, headers, list(trailers))
        except (ConnectionError, ValueError):
            return Answer()  # it was cut off


# ---- the upstream ----


def serve(client: socket.socket) -> None:
    with client:
        client.settimeout(SECONDS)
        try:
            beginning = client.recv(len(PREFACE), socket.MSG_PEEK | socket.MSG_WAITALL)
            serve_http2(client) if beginning == PREFACE else serve_http1(client, client.makefile("rb"))
        except (OSError, ValueError, h2.exceptions.H2Error):
            pass  # it was cut off


def asked_for(target: str, what: str) -> Fields:
    pairs = (pair.partition(":") for pair in parse_qs(urlsplit(target).query).get(what, []))
    return [(name, value) for name, _, value in pairs]


def told(headers: Fields, trailers: Fields) -> Fields:
    # The first one marks the upstream's responses; those of the filter do not have it.
    return [("x-upstream", "yes"), (ARRIVED, json.dumps({"headers": headers, "trailers": trailers}))]


def serve_http1(client: socket.socket, reader) -> None:
    while start := reader.readline():
        target = start.split()[1].decode("latin-1")
        headers = read_fields(reader)
        if "upgrade" in dict(headers):
            upgraded = [*told(headers, []), ("connection", "upgrade"), ("upgrade", dict(headers)["upgrade"])]
            client.sendall(b"HTTP/1.1 101 Switching Protocols\r\n" + lines(upgraded) + b"\r\n")
            return
        _, trailers = read_body(reader, headers)
        head = [*told(headers, trailers), ("transfer-encoding", "chunked"), *asked_for(target, "header")]
        client.sendall(
            b"HTTP/1.1 200 OK\r\n"
            + lines(head)
            + b"\r\n4\r\nbody\r\n0\r\n"
            + lines(asked_for(target, "trailer"))
            + b"\r\n"
        )


def serve_http2(client: socket.socket) -> None:
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=False,
            header_encoding="latin-1",
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    connection.initiate_connection()
    client.sendall(connection.data_to_send())
    arrived: dict[int, tuple[Fields, Fields]] = {}
    for event in events(client, connection):
        if isinstance(event, h2.events.RequestReceived):
            arrived[event.stream_id] = (fields_of(event), [])
        elif isinstance(event, h2.events.TrailersReceived):
            arrived[event.stream_id][1].extend(fields_of(event))
        elif isinstance(event, h2.events.StreamEnded):
            headers, trailers = arrived.pop(event.stream_id)
            target = dict(headers)[":path"]
            head = [(":status", "200"), *told(headers, trailers), *asked_for(target, "header")]
            connection.send_headers(event.stream_id, head)
            late = asked_for(target, "trailer")
            connection.send_data(event.stream_id, b"body", end_stream=not late)
            if late:
                connection.send_headers(event.stream_id, late, end_stream=True)
        client.sendall(connection.data_to_send())


# ---- the clients ----


def exchange_in_http1(
    connection: socket.socket, host: str, method: str, target: str, headers: Fields, trailers: Fields
) -> Answer:
    head = [("host", host), *headers, *([("transfer-encoding", "chunked")] if trailers else [])]
    body = b"4\r\nbody\r\n0\r\n" + lines(trailers) + b"\r\n" if trailers else b""
    connection.sendall(f"{method} {target} HTTP/1.1\r\n".encode() + lines(head) + b"\r\n" + body)
    reader = connection.makefile("rb")
    start = reader.readline().split()
    if len(start) < 2:
        return Answer()
    answer = Answer(int(start[1]), read_fields(reader))
    if answer.status != 101:
        answer.body, answer.trailers = read_body(reader, answer.headers)
    return answer


def exchange_in_http2(
    connection: socket.socket, host: str, method: str, target: str, headers: Fields, trailers: Fields
) -> Answer:
    http = h2.connection.H2Connection(
        h2.config.H2Configuration(
            header_encoding="latin-1",
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    http.initiate_connection()
    head = [(":method", method), (":scheme", "http"), (":authority", host), (":path", target), *headers]
    http.send_headers(1, head, end_stream=not trailers)
    if trailers:
        http.send_data(1, b"body")
        http.send_headers(1, trailers, end_stream=True)
    connection.sendall(http.data_to_send())
    answer = Answer()
    for event in events(connection, http):
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = [(name, value) for name, value in fields_of(event) if name != ":status"]
            answer.status = int(dict(fields_of(event))[":status"])
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers.extend(fields_of(event))
        elif isinstance(event, h2.events.StreamReset):
            return Answer()
        elif isinstance(event, h2.events.StreamEnded):
            break
        connection.sendall(http.data_to_send())
    return answer


# ---- both sides ----


def events(connection: socket.socket, http: h2.connection.H2Connection) -> Iterable[h2.events.Event]:
    """What comes, until the other side closes."""
    while data := connection.recv(65536):
        for event in http.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            yield event
        connection.sendall(http.data_to_send())


def fields_of(event: h2.events.RequestReceived | h2.events.ResponseReceived | h2.events.TrailersReceived) -> Fields:
    """They are text because of `header_encoding`, which the types of h2 do not know."""
    return cast(Fields, list(event.headers))


def lines(fields: Fields) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


def read_fields(reader) -> Fields:
    fields = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name, value.strip(" \t\r\n")))
    return fields


def read_body(reader, headers: Fields) -> tuple[bytes, Fields]:
    """The body and the trailers, with a length or chunked (RFC 9112 section 7.1)."""
    values = {name.lower(): value for name, value in headers}
    if values.get("transfer-encoding", "").lower() != "chunked":
        return reader.read(int(values.get("content-length", 0))), []
    body = b""
    while size := int(reader.readline().split(b";")[0], 16):
        body += reader.read(size)
        reader.readline()
    return body, read_fields(reader)
