"""A server that answers in RESP as a test wants it: for replies that a real Redis never gives."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from .listener import Listener
from .ports import HOST

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
NIL = b"$-1\r\n"


class FakeRedis:
    """Answers each command with `answer(words)`.

    Bytes are sent as they are; None closes the connection; a generator is sent piece by piece, so it may
    sleep between two pieces. `answer` passes commands that it does not know to `default_answer`.
    `answer` can be replaced while the server runs, and `commands` has the first word of each command.
    """

    def __init__(self, answer: Callable | None = None):
        self.answer = answer or default_answer
        self.commands: list[str] = []
        self._listener = Listener(self._serve)
        self.port = self._listener.port
        self.url = f"redis://{HOST}:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, contextlib.suppress(OSError, ValueError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while words := read_command(stream):
                self.commands.append(words[0].decode().upper())
                answer = self.answer(words)
                if answer is None:
                    return
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    client.sendall(piece)


def read_command(stream) -> list[bytes]:
    """The next command; an empty list if the client is gone."""
    line = stream.readline()
    if not line:
        return []
    words = []
    for _ in range(int(line[1:])):
        length = int(stream.readline()[1:])
        words.append(stream.read(length + 2)[:-2])
    return words


def default_answer(words: list[bytes]) -> bytes:
    """The answers of an empty Redis that stores nothing."""
    name = words[0].upper()
    if name == b"PING":
        return PONG
    if name == b"GET":
        return NIL
    if name in (b"DEL", b"EVAL", b"EXISTS"):
        return b":0\r\n"
    return OK


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(value), value)


def array(*items: bytes) -> bytes:
    """An array; its items are encoded replies."""
    return b"*%d\r\n%s" % (len(items), b"".join(items))


def integer(value: int) -> bytes:
    return b":%d\r\n" % value


class Keeper:
    """The answers of a server that keeps sessions: a test changes only the reply that shall be a lie. It can be the
    master of a Sentinel, or the only node of a Cluster."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def __call__(self, words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"SETEX":
            self.values[words[1]] = words[3]
        elif name == b"GET" and words[1] in self.values:
            return bulk(self.values[words[1]])
        elif name == b"ROLE":
            return array(bulk(b"master"), integer(0), array())
        return default_answer(words)


def all_slots(host: str, port: int) -> bytes:
    """An answer to CLUSTER SLOTS: this node has all of them."""
    return array(array(integer(0), integer(16383), array(bulk(host.encode()), integer(port))))


def master(host: str, port: int) -> bytes:
    """An answer to SENTINEL get-master-addr-by-name."""
    return array(bulk(host.encode()), bulk(str(port).encode()))


def subscribed(channel: bytes) -> bytes:
    return array(bulk(b"subscribe"), bulk(channel), integer(1))


def message(channel: bytes, text: str) -> bytes:
    """What a server pushes to its subscribers."""
    return array(bulk(b"message"), bulk(channel), bulk(text.encode()))
