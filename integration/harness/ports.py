"""Ports of loopback for servers that have to be told theirs, and that have it again after a restart."""

from __future__ import annotations

import os
import random
import re
import socket
from urllib.parse import urlsplit

HOST = "127.0.0.1"

# Below the ports that the kernel gives by itself (Linux: from 32768 on), so that no connection and no server that
# asks for any port gets one meanwhile. The bus of a Cluster has 10000 more, and these are no ports of ours either.
# Browsers refuse 10080.
FIRST = 11_000
COUNT = 9_000
# Test processes that run beside each other (pytest-xdist calls them gw0, gw1, …) take from parts of their own.
PARTS = 8

_given: set[int] = set()


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a URL that has both."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def free_port() -> int:
    """A port that is free, and that is never given out again."""
    part = COUNT // PARTS
    number = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or PARTS - 1) % PARTS
    first = FIRST + number * part
    for port in random.sample(range(first, first + part), part):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no port from {first} to {first + part - 1} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
