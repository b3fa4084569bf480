"""Requests in HTTP/2 (RFC 9113), frame by frame, whole and broken."""

from __future__ import annotations

import contextlib
import random
import socket
import struct

import hpack

from . import words

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(fields: list[tuple[bytes, bytes]]) -> bytes:
    """HPACK (RFC 7541) without tables: any bytes, even those that no encoder writes."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in fields)


def text(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes([len(value)]) + value
    length, rest = b"\x7f", len(value) - 127
    while rest >= 128:
        length, rest = length + bytes([rest % 128 | 128]), rest // 128
    return length + bytes([rest]) + value


def fields(chance: random.Random, session: bytes) -> list[tuple[bytes, bytes]]:
    """The header list of one request."""
    pseudo = [
        (b":method", words.pick(chance, words.METHODS, words.ODD_METHODS)),
        (b":scheme", words.pick(chance, (b"http", b"https"), (b"x", b""))),
        (b":authority", words.pick(chance, (b"localhost", b"evil.example"), (b"", b"a b"))),
        (b":path", words.path(chance)),
    ]
    if chance.random() < 0.03:
        pseudo.append(
            chance.choice(((b":protocol", b"websocket"), (b":path", b"/public/x"), (b":x", b"y"), (b":status", b"200")))
        )
    if chance.random() < 0.02:
        pseudo.pop(chance.randrange(len(pseudo)))
    ordinary = [
        (name if chance.random() < 0.005 else name.lower(), value) for name, value in words.headers(chance, session)
    ]
    if chance.random() < 0.03:
        ordinary.append(
            chance.choice(
                (
                    (b"host", b"evil.example"),
                    (b"connection", b"x-forwarded-user"),
                    (b"transfer-encoding", b"chunked"),
                    (b"content-length", b"5"),
                )
            )
        )
    if chance.random() < 0.02:
        ordinary.insert(0, pseudo.pop())
    return pseudo + ordinary


def request(chance: random.Random, encoder: hpack.Encoder, stream: int, session: bytes) -> bytes:
    """The frames of one request."""
    wanted = fields(chance, session)
    block = literal(wanted)
    if chance.random() < 0.5:
        with contextlib.suppress(UnicodeError):
            block = encoder.encode(wanted, huffman=chance.random() < 0.5)
    has_body = chance.random() < 0.2
    pieces = [block]
    if len(block) > 16384 or chance.random() < 0.1:
        size = max(1, min(16384, len(block) // chance.choice((1, 2, 5)) or 1))
        pieces = [block[at : at + size] for at in range(0, len(block), size)]
    data = b""
    for number, piece in enumerate(pieces):
        flags = END_HEADERS if number == len(pieces) - 1 else 0
        if number == 0:
            data += frame(HEADERS, flags | (0 if has_body else END_STREAM), stream, piece)
        else:
            data += frame(CONTINUATION, flags, stream, piece)
    if has_body:
        has_trailers = chance.random() < 0.5
        data += frame(DATA, 0 if has_trailers else END_STREAM, stream, chance.randbytes(chance.randrange(30)))
        if has_trailers:
            trailers = [(words.name_of_ours(chance).lower(), words.FORGED) for _ in range(chance.randrange(1, 4))]
            data += frame(HEADERS, END_HEADERS | END_STREAM, stream, literal(trailers))
    if chance.random() < 0.05:
        data += frame(RST_STREAM, 0, stream, struct.pack(">I", chance.choice((8, 0, 99))))
    return data


def noise(chance: random.Random, stream: int) -> bytes:
    """A frame between the requests."""
    return chance.choice(
        (
            frame(PING, 0, 0, b"12345678"),
            frame(PING, 0, stream, b"1"),
            frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)),
            frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", 0)),
            frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 0)),
            frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
            frame(PRIORITY, 0, stream, struct.pack(">IB", stream, 1)),
            frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)),
            frame(PUSH_PROMISE, 4, stream, struct.pack(">I", 2)),
            frame(DATA, PADDED, stream, b"\xff"),
            frame(250, 255, stream, b"?"),
            frame(CONTINUATION, 4, stream, b""),
        )
    )


def connection(chance: random.Random, session: bytes) -> bytes:
    """What one connection gets."""
    encoder = hpack.Encoder()
    data = PREFACE + frame(SETTINGS, 0, 0, b"") + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24))
    for number in range(chance.choice((1, 5, 10, 30))):
        stream = 2 * number + 1 if chance.random() < 0.98 else chance.randrange(60)
        data += request(chance, encoder, stream, session)
        if chance.random() < 0.01:
            data += noise(chance, stream)
    if chance.random() < 0.3:
        # The preface stays as it is: without it, this is HTTP/1.
        return PREFACE + words.mutated(chance, data[len(PREFACE) :])
    return data


def exchange(
    chance: random.Random, address: tuple[str, int], session: bytes, patience: float
) -> list[tuple[int, bool]]:
    """Sends the bytes; returns for each answer its status, and whether it has a content type."""
    data = connection(chance, session)
    received = b""
    with socket.create_connection(address, timeout=5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            client.sendall(data)
            if chance.random() < 0.05:
                return []
            client.settimeout(patience)
            while len(received) < 1 << 22 and (more := client.recv(65536)):
                received += more
        except (ConnectionError, socket.timeout):
            pass
    return answers(received)


def answers(received: bytes) -> list[tuple[int, bool]]:
    decoder, found, block = hpack.Decoder(max_header_list_size=1 << 24), [], b""
    while len(received) >= 9:
        length, kind, flags = int.from_bytes(received[:3], "big"), received[3], received[4]
        payload, received = received[9 : 9 + length], received[9 + length :]
        if kind not in (HEADERS, CONTINUATION) or len(payload) < length:
            continue
        block += payload
        if flags & END_HEADERS:
            answer = dict(decoder.decode(block, raw=True))
            block = b""
            if b":status" in answer:
                found.append((int(answer[b":status"]), b"content-type" in answer))
    return found
