"""The services of the compose network, as the client sees them."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass

from harness import redis
from harness.browser import Browser
from harness.redis import RedisError

TOPOLOGY = os.environ["TOPOLOGY"]
# Two, as in production: one reads what the other has written.
ENVOYS = ("http://envoy-a:8080", "http://envoy-b:8080")
PROVIDER_CONTROL = "http://provider:9001"
COOKIE = "_oauth2_proxy"
# run.py gives it to the filter; see `cookie_refresh` there.
REFRESH_SECONDS = 8


@dataclass
class Envoy:
    """One of the Envoys; the harness' load asks for its `url`."""

    url: str

    def browser(self) -> Browser:
        return Browser(self.url)


class Connection(redis.Connection):
    """A connection to a server that is not on loopback, other than those of the harness."""

    def __init__(self, host: str, port: int = 6379, seconds: float = 10):
        self._socket = socket.create_connection((host, port), timeout=seconds)
        self._file = self._socket.makefile("rb")
        self.command("AUTH", os.environ["OAUTH2_PROXY_REDIS_PASSWORD"])


class Redis:
    """All servers as one: keys of every master, commands at the master that has the key."""

    nodes = os.environ["REDIS_NODES"].split(",")

    def masters(self) -> list[str]:
        return [node for node in self.nodes if ask(node, "ROLE")[0] == b"master"]

    def replicas(self) -> list[str]:
        return [node for node in self.nodes if ask(node, "ROLE")[0] == b"slave"]

    def keys(self) -> set[str]:
        return {key.decode() for node in self.masters() for key in ask(node, "KEYS", "*")}

    def owner(self, key: str) -> str | None:
        """The master that has the key."""
        return next((node for node in self.masters() if key.encode() in ask(node, "KEYS", "*")), None)

    def command(self, word: str, key: str, *more: object):
        """A command about one key, at the master of its slot."""
        for node in self.masters():
            try:
                return ask(node, word, key, *more)
            except RedisError as error:
                if not str(error).startswith("MOVED"):
                    raise
        raise RedisError(f"no master has the slot of {key}")


def ask(node: str, *words: object):
    """One command on a connection of its own."""
    with Connection(node) as connection:
        return connection.command(*words)


def until(holds, what: str, *, seconds: float = 15, pause: float = 0.1):
    """Waits until a function returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {what}"
        time.sleep(pause)
    return result
