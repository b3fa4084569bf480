"""Requests in HTTP/1, whole and broken, and how they are sent."""

from __future__ import annotations

import random
import re
import socket

from . import words

VERSIONS = (b"HTTP/1.1",) * 15 + (b"HTTP/1.0",)
ODD_VERSIONS = (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.1 ", b"http/1.1", b"HTTP/11", b"")
HOSTS, ODD_HOSTS = (b"localhost", b"evil.example", b"[::1]:80"), (b"a b", b"\xff", b"", b"a@b")
STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


def messages(chance: random.Random, session: bytes) -> bytes:
    """What one connection gets: one request, or several behind each other."""
    many = chance.choice((1, 1, 2, 4, 8))
    data = b"".join(message(chance, session) for _ in range(many))
    return words.mutated(chance, data) if chance.random() < 0.3 else data


def message(chance: random.Random, session: bytes) -> bytes:
    end = b"\r\n" if chance.random() < 0.99 else chance.choice((b"\n", b"\r"))
    method = words.pick(chance, words.METHODS, words.ODD_METHODS)
    lines = [b" ".join((method, words.path(chance), words.pick(chance, VERSIONS, ODD_VERSIONS)))]
    hosts = words.pick(chance, (1,), (0, 2))
    lines += [b"host: " + words.pick(chance, HOSTS, ODD_HOSTS)] * hosts
    for name, value in words.headers(chance, session):
        line = name + chance.choice((b": ", b":", b": ", b":\t")) + value
        if chance.random() < 0.005:
            line = chance.choice(
                (b" " + line, name + b" : " + value, line + b"\r\n folded", line.replace(b":", b""), b":" + line)
            )
        lines.append(line)
    body = b""
    kind = chance.random()
    if kind < 0.1:
        # Trailers may claim an identity, too.
        lines.append(
            b"transfer-encoding: " + chance.choice((b"chunked", b"chunked", b"Chunked", b"gzip, chunked", b"\tchunked"))
        )
        trailer = b"".join(
            b"%s: %s\r\n" % (words.name_of_ours(chance), words.FORGED) for _ in range(chance.randrange(3))
        )
        body = chance.choice(
            (b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n", b"0\r\n\r\n", b"ffffffffff\r\nx", b"-1\r\n", b"3;x=y\r\nabc")
        )
    elif kind < 0.2:
        body = chance.randbytes(chance.randrange(50)) + b"GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
        length = chance.choice((len(body), 0, len(body) - 1, 10))
        lines.append(
            b"content-length: "
            + chance.choice((b"%d" % length, b"+%d" % length, b"0x5", b"-1", b"%d, %d" % (length, length)))
        )
        if chance.random() < 0.3:
            lines.append(
                chance.choice((b"transfer-encoding: chunked", b"content-length: 0", b"transfer_encoding: chunked"))
            )
    return end.join(lines) + end + end + body


def exchange(
    chance: random.Random, address: tuple[str, int], session: bytes, patience: float
) -> list[tuple[int, bool]]:
    """Sends the bytes; returns for each answer its status, and whether it has a content type."""
    data = messages(chance, session)
    received = b""
    with socket.create_connection(address, timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for part in parts(chance, data):
                connection.sendall(part)
            if chance.random() < 0.03:
                return []  # gone before the answer
            # An incomplete request gets no answer, so this does not wait for one.
            connection.shutdown(socket.SHUT_WR) if chance.random() < 0.05 else None
            connection.settimeout(patience)
            while len(received) < 1 << 20 and (more := connection.recv(65536)):
                received += more
        except (ConnectionError, socket.timeout):
            pass
    return answers(received)


def parts(chance: random.Random, data: bytes) -> list[bytes]:
    """The bytes in pieces, most of the time in one."""
    if chance.random() < 0.8 or len(data) < 4:
        return [data]
    cuts = sorted(chance.sample(range(1, len(data)), min(3, len(data) - 1)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)])]


def answers(received: bytes) -> list[tuple[int, bool]]:
    found = list(STATUS.finditer(received))
    ends = [match.start() for match in found[1:]] + [len(received)]
    heads = [received[match.end() : end].partition(b"\r\n\r\n")[0].lower() for match, end in zip(found, ends)]
    return [(int(match[1]), b"\ncontent-type:" in head) for match, head in zip(found, heads)]
