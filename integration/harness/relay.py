"""A port that stands for another one, as with address translation."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from enum import Enum
from queue import Queue

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
        with accepted, contextlib.suppress(OSError), self.greet(accepted) as client, self._connect() as server:
            for end in (client, server):
                # A relay shall not wait for the acknowledgement of what it passed on before.
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self.pass_back, args=(server, client), daemon=True)
            back.start()
            self.pass_on(client, server)
            back.join()

    def _connect(self) -> socket.socket:
        assert self.target, "no target was named"
        return socket.create_connection(self.target)

    def greet(self, accepted: socket.socket) -> socket.socket:
        """What comes before the first byte that is passed on."""
        return accepted

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """What the client sends."""
        _pump(client, server)

    def pass_back(self, server: socket.socket, client: socket.socket) -> None:
        """What the target answers."""
        _pump(server, client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK):
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class LossyRelay(Relay):
    """Swallows a reply of Redis when it is told to: the client takes each later reply for the one before it."""

    def __init__(self, target: tuple[str, int] | None = None):
        super().__init__(target)
        self.swallowed = 0
        self._wanted = threading.Event()

    def swallow(self) -> None:
        """Swallows the next reply."""
        self._wanted.set()

    def pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError), server.makefile("rb") as stream:
            while reply := _read_reply(stream):
                # Not a reply of the handshake, which would fail.
                if reply[:1] in b"$:" and self._wanted.is_set():
                    self._wanted.clear()
                    self.swallowed += 1
                else:
                    client.sendall(reply)
        for end in (server, client):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class SlowRelay(Relay):
    """Passes back `rate` bytes a second, in ten portions."""

    def __init__(self, target: tuple[str, int], rate: int):
        super().__init__(target)
        self._rate = rate

    def pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(self._rate // 10):
                client.sendall(chunk)
                time.sleep(len(chunk) / self._rate)
        for end in (server, client):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class ReconnectingRelay(Relay):
    """Connects to the target anew each time that the target ends the connection, and keeps that of the client."""

    def __init__(self, target: tuple[str, int] | None = None):
        self.reconnects = 0
        super().__init__(target)

    def _serve(self, accepted: socket.socket) -> None:
        servers = [self._connect()]
        threading.Thread(target=_pass_to_last, args=(accepted, servers), daemon=True).start()
        with accepted, contextlib.suppress(OSError):
            while servers:
                with servers[-1] as server, contextlib.suppress(OSError):
                    while chunk := server.recv(CHUNK):
                        accepted.sendall(chunk)
                if servers:
                    servers.append(self._connect())
                    self.reconnects += 1


def _pass_to_last(client: socket.socket, servers: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        while chunk := client.recv(CHUNK):
            with contextlib.suppress(OSError):
                servers[-1].sendall(chunk)
    last = servers[-1]
    servers.clear()
    with contextlib.suppress(OSError):
        last.shutdown(socket.SHUT_RDWR)


class Fault(Enum):
    """What happens to bytes on the way: some are lost, or all come much later. No connection breaks."""

    COMMANDS_LOST = "the commands are lost"
    REPLIES_LOST = "the replies are lost"
    ALL_LATE = "everything is late"


class FaultyRelay(Relay):
    """From `begin` to `end`, there is a fault.

    Late bytes come `delay` seconds later; no bytes overtake them. A connection that has lost bytes stays open and
    passes nothing more in that direction: no network loses bytes in the middle of a TCP connection.
    """

    def __init__(self, target: tuple[str, int]):
        self._fault: Fault | None = None
        self._delay = 0.0
        super().__init__(target)

    def begin(self, fault: Fault, *, delay: float = 10) -> None:
        self._fault, self._delay = fault, delay

    def end(self) -> None:
        self._fault = None

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        self._pass(client, server, Fault.COMMANDS_LOST)

    def pass_back(self, server: socket.socket, client: socket.socket) -> None:
        self._pass(server, client, Fault.REPLIES_LOST)

    def _pass(self, source: socket.socket, sink: socket.socket, lost: Fault) -> None:
        """Reads at once, so that the sender does not notice, and hands over when it is time. No bytes are the end."""
        late: Queue[tuple[float, bytes]] = Queue()
        writer = threading.Thread(target=_write_late, args=(late, sink), daemon=True)
        writer.start()
        due = 0.0
        is_lost = False
        chunk = b"the first"
        while chunk:
            try:
                chunk = source.recv(CHUNK)
            except OSError:
                chunk = b""
            due = max(due, time.monotonic() + (self._delay if self._fault is Fault.ALL_LATE else 0))
            is_lost = is_lost or self._fault is lost
            if not chunk or not is_lost:
                late.put((due, chunk))
        writer.join()


def _write_late(late: Queue[tuple[float, bytes]], sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            due, chunk = late.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not chunk:
                break
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def _read_reply(stream) -> bytes:
    """The bytes of the next reply, of the kinds without items; empty at the end of the stream."""
    line = stream.readline()
    if line[:1] == b"$" and line[:2] != b"$-":
        return line + stream.read(int(line[1:]) + 2)
    return line
