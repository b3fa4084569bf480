"""Strangers with made-up callbacks, each on a connection that stays open."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from collections import Counter
from urllib.parse import parse_qs, quote, urlsplit

from .known_secrets import SECRETS
from .ports import address_of

# A connection without an answer by then gets none.
SECONDS = 30


class Strangers:
    """Callbacks with made-up codes, under way at the same time.

        with Strangers(running.url, 400) as strangers:
            ...
        assert strangers.statuses() == {503: 400}

    Each is of a sign-in of its own, or all are of one.
    """

    def __init__(self, url: str, count: int, *, sign_ins: int | None = None):
        self._address = urlsplit(url)
        begun = [self._begin() for _ in range(sign_ins or count)]
        self._targets = [begun[number % len(begun)] for number in range(count)]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Strangers:
        for number, (cookie, state) in enumerate(self._targets):
            connection = socket.create_connection(address_of(self._address.geturl()), timeout=SECONDS)
            path = f"/oauth2/callback?code=guess-{number}&state={quote(state)}"
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nhost: {self._address.netloc}\r\ncookie: {cookie}\r\n\r\n".encode()
            )
            self._sockets.append(connection)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._sockets:
            connection.close()

    def statuses(self) -> Counter:
        """How many answers have each status, once all came; None for no answer."""
        return Counter(_status(connection) for connection in self._sockets)

    def _begin(self) -> tuple[str, str]:
        """The cookies and the state of a sign-in that begins."""
        connection = http.client.HTTPConnection(self._address.netloc, timeout=SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", "/oauth2/start")
            answer = connection.getresponse()
            answer.read()
        cookies = [header.partition(";")[0] for name, header in answer.getheaders() if name == "set-cookie"]
        for cookie in cookies:
            SECRETS.add("a cookie", cookie.partition("=")[2])
        return "; ".join(cookies), parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]


def _status(connection: socket.socket) -> int | None:
    try:
        head = connection.recv(65536)
    except OSError:
        return None
    found = re.match(rb"HTTP/1.1 (\d+)", head)
    return int(found[1]) if found else None
