"""A server that speaks RESP as a test tells it to: for what a real Redis cannot be made to say."""

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
    """Answers each command with what `answer(words)` gives.

    Bytes are sent as they are; None closes the connection; a generator is taken piece by piece, so it may
    sleep between two pieces. Commands that `answer` does not know, it hands to `default_answer`.
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
    """The next command; nothing where the client is gone."""
    line = stream.readline()
    if not line:
        return []
    words = []
    for _ in range(int(line[1:])):
        length = int(stream.readline()[1:])
        words.append(stream.read(length + 2)[:-2])
    return words


def default_answer(words: list[bytes]) -> bytes:
    """A Redis that is empty, and stays so."""
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
